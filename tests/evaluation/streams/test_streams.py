"""Untrimmed recordings that are made and those of PKU-MMD, and what is chosen and scored on them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bonestrap.layouts import KINECT20, NTU25
from bonestrap.model import Model
from bonestrap.stream.config import StreamConfig
from evaluation.streams import answers, choose
from evaluation.streams.made import between, known, moved
from evaluation.streams.untrimmed import NOTHING, Segment, Untrimmed, pku_mmd
from tests.bonestrap.stream.test_recogniser import model, walk
from tests.shards.sources.test_pku_mmd import recording, write

CONFIG = StreamConfig(rate=20, window=1.0, stride=2, threshold=0.4, release=0.3, start_after=1)


def test_a_piece_begins_where_the_last_one_ended() -> None:
    random = np.random.default_rng(0)
    piece, end = (random.normal(size=(9, 20, 3)).astype(np.float32) for _ in range(2))
    out = moved(piece, end[-1], KINECT20)
    np.testing.assert_allclose(out[0, KINECT20.root], end[-1, KINECT20.root], atol=1e-6)
    right, left = KINECT20.shoulders
    (x, y, _), (u, v, _) = out[0, right] - out[0, left], end[-1, right] - end[-1, left]
    assert x * v - y * u == pytest.approx(0, abs=1e-5) and x * u + y * v > 0
    # A rigid motion about z: distances, and heights above one another, stay.
    spread = [np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) for x in (piece, out)]
    np.testing.assert_allclose(spread[0], spread[1], atol=1e-5)
    np.testing.assert_allclose(np.diff(out[..., 2], axis=1), np.diff(piece[..., 2], axis=1), atol=1e-5)
    way = between(end[-1], out[0], 3)
    np.testing.assert_allclose(way[1], (end[-1] + out[0]) / 2, atol=1e-6)
    steps = np.diff(np.concatenate([end[-1:], way, out[:1]]), axis=0)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-5)


def test_classes_that_training_left_out_are_not_known() -> None:
    assert known(("a", "b", "c", "d"), ("d", "b", "a"), left_out=(1,)) == {0: 2, 3: 0}


def untrimmed(seed: int) -> Untrimmed:
    random = np.random.default_rng(seed)
    poses = np.repeat(random.normal(0, 1, (4, 1, 20, 3)), 40, 0)
    joints = (poses + walk(random, 160, KINECT20)).astype(np.float32)
    return Untrimmed(f"s{seed}", joints, 20.0, [Segment(20, 60, 0), Segment(70, 110, 1), Segment(120, 150, 2)])


def telling(stream: Untrimmed) -> Model:
    """A random network whose logits over the windows of a stream have mean 0 and std 3."""
    made = model()
    logits = torch.from_numpy(np.stack([window.logits for window in answers.windows(made, CONFIG, stream)])).float()
    factor = 3 / logits.std(0)
    assert isinstance(made.head, nn.Linear)
    with torch.no_grad():
        made.head.weight *= factor[:, None]
        made.head.bias.copy_((made.head.bias - logits.mean(0)) * factor)
    return made


def test_replayed_windows_decide_as_the_recogniser_did() -> None:
    """What is chosen on is what is scored."""
    stream = untrimmed(0)
    shipped = telling(stream)
    live = answers.recognise(shipped, CONFIG, 0, stream)
    replayed = answers.decide(CONFIG, answers.windows(shipped, CONFIG, stream), 0, stream)
    assert len(live.detections) > 2
    for ours, theirs in zip(live.detections, replayed.detections, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    np.testing.assert_array_equal(live.afterwards, replayed.afterwards)
    np.testing.assert_array_equal(live.at_once, replayed.at_once)


def test_the_naive_window_is_the_likeliest_class_of_every_window() -> None:
    stream = untrimmed(1)
    shipped = telling(stream)
    found = answers.naive(shipped, 20, 3, stream)
    for frame in (5, 19, 20, 77, 159):
        window = torch.from_numpy(stream.joints[max(0, frame - 19) : frame + 1])
        assert found.at_once[frame] == int(shipped.predict(window).argmax())
    for detection in found.detections:
        begin, end = round(detection.start * 20), round(detection.end * 20)
        assert set(found.afterwards[begin:end]) == {detection.label} and detection.stream == 3
    assert sum(round(20 * (d.end - d.start)) for d in found.detections) == sum(found.afterwards != NOTHING)


def test_settings_are_chosen_for_false_alarms_and_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold lets as many windows pass as asked, and no candidate is better than the one that is kept."""
    monkeypatch.setattr(choose, "SMOOTHING", (0.2,))
    monkeypatch.setattr(choose, "LAGS", (0.5,))
    streams = [untrimmed(seed) for seed in range(2)]
    shipped = telling(streams[0])
    said: list[str] = []
    best = choose.choose(shipped, streams, CONFIG, (0.6, 1.0), (0.1, 0.3), said.append)
    assert len(said) == 2
    seen = {
        window: [answers.windows(shipped, dataclasses.replace(CONFIG, window=window), stream) for stream in streams]
        for window in (0.6, 1.0)
    }
    nothing = choose.nothing_scores(best.config, seen[best.config.window], streams)
    assert len(nothing) > 0 and np.mean(nothing >= best.config.threshold) <= best.false_alarms
    assert best.config.release <= best.config.threshold
    means = [
        candidate.mean
        for window, each in seen.items()
        for config in choose.candidates(dataclasses.replace(CONFIG, window=window))
        for candidate in choose.scored(config, (0.1, 0.3), each, streams)
    ]
    assert max(means) == best.mean > min(means)


def test_recordings_of_pku_mmd_are_whole(tmp_path: Path) -> None:
    joints = recording(60, 0, persons=1)
    write(tmp_path, "0002-L", joints, [(34, 41, 60), (8, 1, 20), (1, 25, 30)])
    write(tmp_path, "0003-L", recording(30, 1), [(8, 5, 12)])
    shipped = model(NTU25)
    shipped.description = dataclasses.replace(shipped.description, classes=("standing up", "drink water", "c"))
    first, second = pku_mmd(tmp_path, shipped, None, "test")
    assert (first.name, first.rate, first.joints.shape) == ("0002-L", 30.0, (60, 2, 25, 3))
    np.testing.assert_allclose(first.joints[:, 0], joints[:, 0], atol=1e-6)
    assert np.isnan(first.joints[:, 1]).all() and not np.isnan(second.joints).any()
    assert list(first.segments) == [(0, 20, 1), (40, 60, 0)]  # "bow" is not a class of the model
    assert [int((first.truth == label).sum()) for label in (NOTHING, 0, 1)] == [20, 20, 20]
    found = answers.recognise(shipped, dataclasses.replace(CONFIG, rate=30.0), 1, second)
    assert len(found.at_once) == 30 and found.cpu_ms > 0
