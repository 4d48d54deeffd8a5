"""The packing command: what it prints, and that every mistake is one sentence, exit code 2 and no folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launch.cli import start_choice
from launch.pack import FORMATS, Options, main
from shards.reader import Resident

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three NW-UCLA files of two performances."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed, name in enumerate(("a01_s01_e00_v01", "a01_s01_e00_v02", "a12_s02_e00_v01")):
        skeletons = np.random.default_rng(seed).normal(0, 0.4, (4 + seed, 20, 3)).tolist()
        (folder / f"{name}.json").write_text(json.dumps({"skeletons": skeletons}))
    return folder


def run(*words: object) -> None:
    start_choice(main, "format", FORMATS, Options, [str(word) for word in words])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run, expect exit code 2, and return the one sentence."""
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    return lines[-1]


def test_the_summary_tells_what_was_packed(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shards"
    run("nw-ucla", "--input", recordings, "--output", output)
    printed = capsys.readouterr()
    data = Resident.load(output)
    size = sum(path.stat().st_size for path in output.glob("*.tar"))
    assert printed.out.split("\n") == [
        f"{output}: nw-ucla, layout kinect20, 10 classes",
        "  performances 2",
        "  views        3",
        "  frames       15",
        f"  bytes        {size} in 1 shards, float16",
        "  dropped      0",
        f"  digest       {data.manifest.digest}",
        "",
    ]
    assert printed.err == "packing 2/2 performances, 0 s left\n"


def test_dropped_files_are_listed_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("synthetic", "--subjects", 1, "--repetitions", 1, "--input", tmp_path / "raw", "--output", tmp_path / "a")
    capsys.readouterr()
    names = sorted(path.stem for path in (tmp_path / "raw").iterdir())
    (tmp_path / "raw" / f"{names[0]}.skeleton").write_text("1\n0\n")
    (tmp_path / "missing.txt").write_text("\n".join(names[1:6]))
    run("ntu", "--input", tmp_path / "raw", "--missing", tmp_path / "missing.txt", "--output", tmp_path / "b")
    listed = capsys.readouterr().out.splitlines()
    assert listed[-4:-1] == [
        "  dropped      6",
        f"    5 x listed as missing: {', '.join(f'{name}.skeleton' for name in names[1:4])}, ...",
        f"    1 x no body in any frame: {names[0]}.skeleton",
    ]


def test_synthetic_recordings_go_through_the_ntu_parser(tmp_path: Path) -> None:
    run("synthetic", "--subjects", 1, "--repetitions", 1, "--output", tmp_path / "shards")
    data = Resident.load(tmp_path / "shards")
    assert (data.manifest.name, data.layout.name) == ("synthetic", "ntu25")
    assert len(data.performance_key) == len(data.manifest.classes) == len(set(data.performance_label))
    assert len(data.manifest.classes) >= 12 and len(data) == 3 * len(data.manifest.classes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards"]


def test_the_shard_size_is_obeyed(recordings: Path, tmp_path: Path) -> None:
    run("nw-ucla", "--input", recordings, "--output", tmp_path / "shards", "--dtype", "float32")
    manifest = Resident.load(tmp_path / "shards").manifest
    assert (manifest.dtype, len(manifest.shards)) == ("float32", 1)


def test_mistakes_are_one_sentence(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "shards"
    (tmp_path / "empty").mkdir()
    for words, message in (
        (("nw-ucla", "--output", output), "nw-ucla needs --input, the folder that holds the recordings"),
        (("nw-ucla", "--input", tmp_path / "empty", "--output", output), "no aAA_sSS_eEE_vVV.json files"),
        (("ntu", "--input", recordings, "--output", output), "no .skeleton files"),
        (("ntu", "--input", recordings, "--output", recordings), "is already there and not empty"),
        (("nw-ucla", "--inptu", recordings, "--output", output), "unknown option --inptu; did you mean --input?"),
        (("nw-ulca", "--input", recordings, "--output", output), "unknown format nw-ulca; did you mean nw-ucla?"),
        (("synthetic", "--output", output, "--setups", 9), "--setups must be 1 to 4, got 9"),
        (("synthetic", "--output", output, "--subjects", 0), "--subjects must be 1 to 999"),
    ):
        assert message in refused(capsys, *words)
        assert not output.exists()


def test_nan_joints_name_the_file(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recordings / "a12_s02_e00_v01.json"
    skeletons = json.loads(path.read_text())["skeletons"]
    skeletons[2][5][1] = float("nan")
    path.write_text(json.dumps({"skeletons": skeletons}))
    message = refused(capsys, "nw-ucla", "--input", recordings, "--output", tmp_path / "shards")
    assert "a12_s02_e00_v01.json: body 0 has NaN or infinite joints in frame 2" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings"]


@pytest.mark.parametrize("start", [["launch/pack.py"], ["-m", "launch.pack"]])
def test_the_help_teaches_by_examples(start: list[str]) -> None:
    done = subprocess.run([sys.executable, *start, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python launch/pack.py nw-ucla --input" in done.stdout
    assert all(name in done.stdout for name in FORMATS)
