"""launch/streams.py: settings from held-out recordings alone, figures of test recordings, and of untrimmed ones."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from bonestrap.layouts import NTU25
from bonestrap.serialization import load, save
from bonestrap.stream import config
from launch import streams
from launch.cli.parser import start_choice
from shards.packing.pack import pack
from shards.sources.datasets.pku_mmd import ACTIONS, PKUMMD
from tests.bonestrap.stream.test_recogniser import model
from tests.shards.sources.test_pku_mmd import recording, write

VIDEOS = 20  # of which two are held out and four test
LEFT_OUT = 1  # "brushing hair"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, their shards, and a random model that was told of all classes but one."""
    root = tmp_path_factory.mktemp("streams")
    for number in range(VIDEOS):
        rows = [(1, 1, 20), (2, 21, 40), (3, 45, 60)]
        write(root / "recordings", f"{number:04}-L", recording(60, number, persons=1), rows)
    manifest = pack(PKUMMD(root / "recordings"), root / "shards")
    lineage = {
        "data": manifest.name,
        "digest": manifest.digest,
        "split": "split",
        "run": "r",
        "labels": 1.0,
        "labelled": 1,
    }
    lineage |= {"seed": 0, "steps": 1, "device_hours": 0.0, "left_out": [LEFT_OUT]}
    made = model(NTU25)
    made.description = dataclasses.replace(made.description, classes=ACTIONS[:3], lineage=lineage)
    save(root / "model", made)
    return root


def run(line: str) -> None:
    start_choice(streams.main, "part", streams.CHOICES, streams.Options, line.split())


def chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    run(f"choose --model {folder}/model --data {folder}/shards --lengths 0.6 --false-alarms 0.2 --json")
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_settings_are_chosen_on_held_out_recordings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = chosen(folder, capsys)
    kept = config.read(config.beside(folder / "model"))
    assert found.pop("chosen")["digest"] == load(folder / "model").description.lineage["digest"]  # type: ignore[index]
    assert found == vars(kept) and (kept.window, kept.rate) == (0.6, 30.0)
    options = streams.Options(model=folder / "model")
    made = streams.Choose(data=str(folder / "shards"))
    for held_out, videos in ((True, 2), (False, 4)):
        (stream,) = streams.build_streams(options, made, load(folder / "model"), held_out=held_out)[:1]
        parts = streams.build_streams(options, made, load(folder / "model"), held_out=held_out)
        labels = sorted(segment.label for each in parts for segment in each.segments)
        assert labels == sorted([0, 2] * videos)  # two of the three actions of each video: one was left out
        assert np.isfinite(stream.joints).all() and stream.joints.shape[1] == 1


def test_figures_of_made_and_of_whole_recordings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen(folder, capsys)
    for part in (f"test --data {folder}/shards", f"pku-mmd --input {folder}/recordings --split split --limit 2"):
        run(f"{part} --model {folder}/model --json")
        rows = json.loads(capsys.readouterr().out)
        assert set(rows) == {"recogniser", "naive window"}
        for figures in rows.values():
            fractions = [*figures["at_once"].values(), *figures["afterwards"].values(), *figures["precision"].values()]
            assert all(0 <= fraction <= 1 for fraction in fractions) and len(fractions) == 9
            assert figures["cpu_ms"] > 0 and figures["load"] == pytest.approx(figures["cpu_ms"] * 0.03)
        assert rows["naive window"]["at_once"]["nothing"] < 0.2  # which it never answers, but before its first window
    run(f"test --model {folder}/model --data {folder}/shards")
    assert "naive window" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("test --data {0}/shards --model {0}/bare", "run launch/streams.py choose first"),
        ("pku-mmd --input {0}/recordings --split cross-view --model {0}/model", "no recording in cross-view/test"),
        ("test --data {0}/shards --model {0}/planar", "the model's layout is kinect20"),
    ],
)
def test_mistakes_are_one_sentence(folder: Path, capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    about = load(folder / "model").description
    for name, layout in (("bare", NTU25), ("planar", None)):
        made = model(layout) if layout else model()
        made.description = dataclasses.replace(about, layout=made.layout)
        save(folder / name, made)
    config.write(folder / "planar", config.StreamConfig(), {})
    config.write(folder / "model", config.StreamConfig(), {})
    with pytest.raises(SystemExit) as end:
        run(line.format(folder))
    printed = capsys.readouterr().err
    assert end.value.code == 2 and said in printed and printed.count("\n") == 1
