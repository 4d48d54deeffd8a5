"""Every user error is one line that names the file and the remedy, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from launch import evaluate, finetune, pack, pretrain
from launch.cli.errors import UserErrors
from launch.cli.parser import start, start_choice
from launch.pretrain import Options
from launch.recipes import RECIPES

Break = Callable[[Path], None]


def truncate(shards: Path) -> None:
    file = next(shards.glob("*.tar"))
    file.write_bytes(file.read_bytes()[:-2048])


def flip(shards: Path) -> None:
    file = next(shards.glob("*.tar"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def forget_manifest(shards: Path) -> None:
    (shards / "manifest.json").unlink()


def empty(shards: Path) -> None:
    for file in shards.iterdir():
        file.unlink()


def lose_shard(shards: Path) -> None:
    next(shards.glob("*.tar")).unlink()


def run_pretrain(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The sentence that the command ends in."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        start_choice(pretrain.main, "recipe", RECIPES, Options, list(words))
    assert stopped.value.code == 2
    return one_sentence(capsys)


def one_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("packing")]
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (truncate, ".tar"),
        (flip, ".tar"),
        (lose_shard, ".tar"),
        (forget_manifest, "manifest.json"),
        (empty, "manifest.json"),
    ],
)
def test_damaged_shards(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Break, names: str
) -> None:
    broken, run = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(shards, broken)
    damage(broken)
    said = run_pretrain(capsys, "byol-small", "--data", str(broken), "--run", str(run), "--no-track")
    assert names in said and str(broken) in said
    assert not run.exists()


def test_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run_pretrain(
        capsys, "byol-small", "--data", str(tmp_path / "none"), "--run", str(tmp_path / "run"), "--no-track"
    )
    assert str(tmp_path / "none") in said
    assert not (tmp_path / "run").exists()


def test_unknown_recipe_and_misspelled_option(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean demo" in run_pretrain(capsys, "dem", "--data", str(shards), "--run", "never")
    said = run_pretrain(capsys, "byol-small", "--data", str(shards), "--run", "never", "--encoder.widht", "2")
    assert "did you mean --encoder.width" in said
    assert not Path("never").exists()


def test_impossible_values(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("byol-small", "--data", str(shards), "--run", str(tmp_path / "run"), "--no-track")
    assert "--schedule.group" in run_pretrain(capsys, *common, "--schedule.group", "7")
    assert "--encoder" in run_pretrain(capsys, *common, "--encoder.width", "-1")
    assert "split" in run_pretrain(capsys, *common, "--split", "cross-planet")
    assert "--workers 2 cannot divide" in run_pretrain(capsys, *common, "--schedule.group", "64", "--workers", "2")
    assert not (tmp_path / "run").exists()


def test_another_configuration_in_the_run_directory(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"result": {"seed": 5}, "info": {}}))
    said = run_pretrain(capsys, "byol-small", "--data", str(shards), "--run", str(run), "--no-track")
    assert "other settings" in said and str(run) in said
    (run / "run.json").unlink()
    (run / "thesis.txt").write_text("mine")
    said = run_pretrain(capsys, "byol-small", "--data", str(shards), "--run", str(run), "--no-track")
    assert "not empty" in said
    assert [file.name for file in run.iterdir()] == ["thesis.txt"]


def test_not_a_model(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", str(tmp_path), "--data", str(shards), "--labels", "0.5", "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stopped:
        start(finetune.main, finetune.Options, words)
    assert stopped.value.code == 2
    assert "model.json does not exist" in one_sentence(capsys)
    with pytest.raises(SystemExit):
        words = ["test", "--model", str(tmp_path), "--data", str(shards)]
        start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, words)
    assert "model.json does not exist" in one_sentence(capsys)


def test_a_split_without_test_recordings_is_refused_before_any_feature_is_computed(
    chain: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "shards"  # whoever reads the training recordings first says something else
    shutil.copytree(shards, broken)
    for file in broken.glob("*.tar"):
        file.write_bytes(bytes(file.stat().st_size))
    words = ["knn", "--model", str(chain / "pretrained"), "--data", str(broken), "--no-track"]
    with pytest.raises(SystemExit) as stopped:
        start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, [*words, "--split", "all"])
    assert stopped.value.code == 2
    assert "the test side of split all, of recordings with a label, leaves no recording" in one_sentence(capsys)


def test_packing_nothing_and_packing_over_something(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    words = ["nw-ucla", "--input", str(tmp_path / "empty"), "--output", str(tmp_path / "shards")]
    with pytest.raises(SystemExit) as stopped:
        start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    assert stopped.value.code == 2
    assert str(tmp_path / "empty") in one_sentence(capsys)
    assert not (tmp_path / "shards").exists()


def test_recordings_with_nan_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "ucla"
    folder.mkdir()
    frames = [[[0.1 * j, 0.2, 2.0] for j in range(20)] for _ in range(12)]
    frames[3][5][1] = float("nan")
    file = folder / "a01_s01_e00_v01.json"
    file.write_text(json.dumps({"file_name": file.stem, "skeletons": frames, "label": 1}))
    words = ["nw-ucla", "--input", str(folder), "--output", str(tmp_path / "shards")]
    with pytest.raises(SystemExit) as stopped:
        start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    assert stopped.value.code == 2
    assert file.name in one_sentence(capsys)
    assert not (tmp_path / "shards").exists()


def test_a_missing_file_without_a_name_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose working directory was removed said "no such file or directory", and nothing else."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError), UserErrors():
        Path.cwd()
    with pytest.raises(SystemExit, match="2"), UserErrors():
        (tmp_path / "absent").read_text()
