"""Streams: every answer is that of the shipped model on the same window, whatever arrives when."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20
from bonestrap.model import Description, Model, ModelError
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import calibrate
from bonestrap.stream.config import StreamConfig
from bonestrap.stream.recogniser import Recogniser

WHOLE = ClipConfig(frames=16, fit=True)
CONFIG = StreamConfig(rate=20, window=1.0, stride=2, gap=0.2)
Frames = Iterator[tuple[float, dict[str, np.ndarray]]]


def model(layout: Layout = KINECT20, clip: ClipConfig = WHOLE, seed: int = 0) -> Model:
    """A random network with the statistics of random recordings, whose answers differ from window to window."""
    torch.manual_seed(seed)
    about = Description(
        stage="student",
        encoder=STGCNConfig(width=1 / 16),
        layout=layout,
        clip=clip,
        classes=("a", "b", "c"),
        lineage={},
    )
    encoder = about.build_encoder()
    head = nn.Linear(encoder.features, 3)
    made = Model(about, encoder, head).eval()
    recordings = [joints[:, None] for _, seen in uneven(layout, 24) for joints in [np.stack([seen["whole"]])]]
    chunks = [made.prepare([np.concatenate(recordings[first : first + 8]) for first in (0, 8, 16)])]
    calibrate(encoder, made.pipeline, chunks)
    features = extract(encoder, made.pipeline, chunks)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape) / features.std(0).norm())
        head.bias.copy_(-head.weight @ features.mean(0))
    return made


def walk(random: np.random.Generator, frames: int, layout: Layout) -> np.ndarray:
    """(T, 1, V, C)"""
    steps = 0.1 * random.normal(size=(frames, 1, len(layout.joints), layout.axes))
    out: np.ndarray = steps.cumsum(0)
    return out


def uneven(layout: Layout, count: int, seed: int = 0) -> Frames:
    """One who is always there, one who is missed now and then, one who leaves, comes back and lacks joints."""
    random = np.random.default_rng(seed)
    shape = len(layout.joints), layout.axes
    bodies = {name: random.normal(size=shape) for name in ("whole", "missed", "partial")}
    time = 50.0
    for number in range(count):
        time += random.uniform(0.01, 0.09)
        bodies = {name: joints + 0.1 * random.normal(size=shape) for name, joints in bodies.items()}
        seen = {name: joints.astype(np.float32) for name, joints in bodies.items()}
        if random.random() < 0.1:
            del seen["missed"]
        if number % 60 >= 40:
            del seen["partial"]
        else:
            seen["partial"][random.random(shape[0]) < 0.03] = np.nan
        yield time, seen


@pytest.mark.parametrize(
    ("layout", "clip", "persons"),
    [
        (KINECT20, WHOLE, "each"),
        (KINECT20, ClipConfig(frames=12), "together"),
        (KINECT20, ClipConfig(frames=16, fit=True, own_pose=True, motion=True, normalise="size"), "each"),
        (COCO17, WHOLE, "each"),
    ],
    ids=["fit", "crop", "channels", "planar"],
)
def test_answers_are_those_of_the_model_on_the_same_window(
    layout: Layout, clip: ClipConfig, persons: Literal["each", "together"]
) -> None:
    shipped = model(layout, clip)
    recogniser = Recogniser(shipped, dataclasses.replace(CONFIG, persons=persons))
    answered, ours, offline = set(), [], []
    for time, seen in uneven(layout, 60):
        for answer in recogniser.push(seen, time).answers:
            window = recogniser.window(answer.person)
            np.testing.assert_allclose(answer.probabilities, shipped.predict(window).numpy(), atol=1e-4)
            answered.add(answer.person)
            ours.append(answer.logits)
            with torch.no_grad():
                offline.append(shipped(shipped.pipeline(shipped.prepare(window)))[0].numpy())
    assert answered == ({"whole", "missed", "partial"} if persons == "each" else {None})
    spread = np.std(offline, axis=0).max()  # probabilities may be near 0 and 1, where errors do not show
    assert np.abs(np.array(ours) - offline).max() < 1e-4 * spread


def test_a_window_is_interpolated_at_even_times() -> None:
    """Against numpy's interpolation of everything that came, number by number."""
    recogniser = Recogniser(model(), CONFIG)
    times, joints = [], []
    for time, seen in uneven(KINECT20, 60):
        times.append(time)
        joints.append(seen["whole"])
        for answer in recogniser.push({"whole": seen["whole"]}, time).answers:
            window = recogniser.window("whole")[:, 0]
            grid = answer.time - np.arange(len(window))[::-1] / CONFIG.rate
            known = grid >= times[0]
            for joint, axis in ((0, 0), (7, 2), (19, 1)):
                expected = np.interp(grid[known], times, [frame[joint, axis] for frame in joints])
                # A frame within a twentieth of a step of the grid counts as on it.
                np.testing.assert_allclose(window[known, joint, axis], expected, atol=0.02)
            assert np.isnan(window[~known]).all()


def test_frames_on_the_grid_are_taken_as_they_are() -> None:
    recogniser = Recogniser(model(), CONFIG)
    random = np.random.default_rng(0)
    body = walk(random, 75, KINECT20).astype(np.float32)
    for number, joints in enumerate(body[:, 0]):
        recogniser.push({1: joints}, round(7 + number / CONFIG.rate, 3))
    newest = 74 // CONFIG.stride * CONFIG.stride  # with which the last answer came
    np.testing.assert_array_equal(recogniser.window(1)[:, 0], body[newest - CONFIG.frames + 1 : newest + 1, 0])


def test_answers_come_every_stride_for_whom_is_seen() -> None:
    recogniser = Recogniser(model(), CONFIG)
    body = walk(np.random.default_rng(0), 65, KINECT20)[:, 0]
    times = [
        answer.time
        for number, joints in enumerate(body)
        for answer in recogniser.push({1: joints} if number < 40 else {}, number / CONFIG.rate).answers
    ]
    # From half a window on, every two frames, and none after the last frame that shows anybody.
    np.testing.assert_allclose(times, np.arange(10, 41, 2) / CONFIG.rate)
    assert not recogniser.tracks  # gone for a whole window


def test_an_action_ends_where_its_person_leaves() -> None:
    config = dataclasses.replace(CONFIG, threshold=0.0, release=0.0, start_after=1, smoothing=0.0)
    recogniser = Recogniser(model(), config)
    body = walk(np.random.default_rng(0), 30, KINECT20)[:, 0]
    events = [
        event
        for number in range(60)
        for event in recogniser.push({1: body[number]} if number < 30 else {}, number / CONFIG.rate).events
    ]
    assert (
        events[0].start == 0.0 and events[-1].kind == "end" and events[-1].time == pytest.approx(29 / 20 + 0.2 + 0.05)
    )
    assert sum(event.kind == "start" for event in events) == sum(event.kind == "end" for event in events)
    assert not recogniser.finish()


def test_frames_that_do_not_fit_are_refused() -> None:
    recogniser = Recogniser(model())
    joints = np.zeros((20, 3))
    recogniser.push({1: joints}, 1.0)
    for persons, time, said in (
        ({1: joints}, 1.0, "order of their times"),
        ({1: joints}, math.nan, "order of their times"),
        ({1: joints}, 1e300, "seconds"),
        ({1: joints[:5]}, 2.0, "must be 20 x 3 for layout kinect20, got 5 x 3"),
        ({number: joints for number in range(65)}, 2.0, "64 is the most"),
    ):
        with pytest.raises(ValueError, match=said):
            recogniser.push(persons, time)
    assert recogniser.push({1: np.full((20, 3), np.inf)}, 3.0) == ([], [])  # nobody
    headless = model()
    headless.head = None
    with pytest.raises(ModelError, match="no classes"):
        Recogniser(headless)
