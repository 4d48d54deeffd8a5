"""What is installed is the library alone, and it does by itself what README.md says: without checkout or extras."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import bonestrap
from bonestrap.layouts import KINECT20
from bonestrap.serialization import save
from tests.bonestrap.recordings.shards_by_hand import packed
from tests.bonestrap.test_model import model, recording

ROOT = Path(__file__).resolve().parents[1]
INFO = f"bonestrap-{bonestrap.__version__}.dist-info"
# Run before everything else: of what is installed here, only what `pip install bonestrap` brings can be imported.
ALONE = """
import sys
ABSENT = sys.argv[1].split(",")
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""
ABSENT = "numba,pyarrow,webdataset,ray,mlflow,onnx,onnxscript,scipy,sklearn,matplotlib,pandas,shards,distributed,launch"


COMMANDS = """
from pathlib import Path
import bonestrap
from bonestrap.commands.main import main
assert Path(bonestrap.__file__).parents[1] == Path("site").resolve()
for words in sys.argv[2:]:
    print("$", words)
    try:
        main(words.split())
    except SystemExit as end:
        print("exit", end.code)
"""
WORKING = {
    "predict wave.npy fall.npy --model runs/student": "wave.npy  ",
    "embed packed/nw-ucla --model runs/pretrained --output f.npz": "f.npz: 24 recordings x 32 features",
    "embed packed/nw-ucla --model bonestrap-small --output small.npz": "small.npz: 24 recordings x 64 features",
    "neighbours f.npz --key p03 --count 2": "nearest to p03.c1",
}
REFUSED = {
    "export --model runs/student": "export: exporting needs onnx, which is not installed: pip install onnx onnxscript",
    "embed packed/nw-ucla --model runs/pretrained --output f.parquet": "embed: f.parquet: .parquet needs pyarrow",
    "pretrain nw-ucla": "pretrain: what is installed is the library alone",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def place(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a trained model and shards, and the unpacked wheel in `site`."""
    folder = tmp_path_factory.mktemp("user")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "runs").mkdir()
    save(folder / "runs" / "student", model())
    save(folder / "runs" / "pretrained", model(classes=()))
    packed(folder / "packed" / "nw-ucla")
    for name, seed in (("wave.npy", 0), ("fall.npy", 1)):
        np.save(folder / name, recording(20, seed=seed, layout=KINECT20))
    return folder


def test_the_wheel_holds_the_library_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"bonestrap", INFO}
    assert {"bonestrap/layouts/sensors.py", "bonestrap/py.typed", "bonestrap/commands/main.py"} <= set(names)
    files = ("README.md", "labelled.npy", "model.json", "model.safetensors", "trained.npy")
    weights = {f"bonestrap/weights/bonestrap-small/{file}" for file in files}
    assert {name for name in names if name.endswith((".pyc", ".json", ".md", ".npy", ".safetensors"))} == weights


def test_the_wheel_has_the_command_and_the_version(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        entry, about = (archive.read(f"{INFO}/{name}").decode() for name in ("entry_points.txt", "METADATA"))
    assert entry.split() == ["[console_scripts]", "bonestrap", "=", "bonestrap.commands.main:main"]
    assert f"\nVersion: {bonestrap.__version__}\n" in about


def test_the_readme_holds_of_the_wheel_alone(place: Path) -> None:
    """Its lines of Python, then the commands; in one process, because each would import torch."""
    readme = (ROOT / "README.md").read_text().partition("## Use what was trained")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    program = (
        f"{ALONE}\nimport numpy\njoints = numpy.load('wave.npy')\n{code}\nprint(tuple(features.shape))\n{COMMANDS}"
    )
    env = os.environ | {"PYTHONPATH": str(place / "site")}
    command = [sys.executable, "-c", program, ABSENT, *WORKING, *REFUSED]
    done = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, check=False)
    shown, *answers = done.stdout.split("$ ")
    assert done.returncode == 0 and len(answers) == len(WORKING) + len(REFUSED), done.stderr
    assert shown.split()[0] in ("wave", "drop", "throw") and shown.splitlines()[-1] == "(24, 32)"
    for answer, (words, said) in zip(answers, WORKING.items(), strict=False):
        assert answer.startswith(f"{words}\n{said}"), done.stderr
    for answer, (words, said) in zip(answers[len(WORKING) :], REFUSED.items(), strict=True):
        assert answer == f"{words}\nexit 2\n" and f"bonestrap {said}" in done.stderr
