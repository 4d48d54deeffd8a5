"""What a recogniser, and a naive sliding window, say about untrimmed recordings.

Legend: T frames, L frames of a window.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bonestrap.model import Model
from bonestrap.stream.config import StreamConfig
from bonestrap.stream.decision import Decider, Event
from bonestrap.stream.recogniser import Recogniser
from evaluation.streams.metrics import Detection
from evaluation.streams.untrimmed import NOTHING, Untrimmed

TIMED = 20  # windows of a recording that are computed one by one


class Window(NamedTuple):
    """What the network says about a window."""

    time: float  # of its last frame, seconds
    logits: np.ndarray  # (classes,)


class Answers(NamedTuple):
    """Of one recording."""

    at_once: np.ndarray  # (T,) the answer that was known when the frame had arrived
    afterwards: np.ndarray  # (T,) the answer about the frame, from the borders of what was recognised
    detections: list[Detection]
    cpu_ms: float  # of the process, a frame


def of_recording(config: StreamConfig, stream: Untrimmed) -> StreamConfig:
    """The settings for the persons of a recording: several are the bodies of one, as in its labels."""
    return dataclasses.replace(config, persons="together" if stream.joints.shape[1] > 1 else "each")


def windows(model: Model, config: StreamConfig, stream: Untrimmed) -> list[Window]:
    """What the network says of every window of a recording."""
    recogniser = Recogniser(model, of_recording(config, stream))
    return [
        Window(answer.time, answer.logits)
        for number, persons in frames(stream)
        for answer in recogniser.push(persons, number / stream.rate).answers
    ]


def recognise(model: Model, config: StreamConfig, number: int, stream: Untrimmed) -> Answers:
    """A recogniser's answers, frame by frame as in a live stream."""
    recogniser = Recogniser(model, of_recording(config, stream))
    events: list[Event] = []
    before = time.process_time()
    for frame, persons in frames(stream):
        events += recogniser.push(persons, frame / stream.rate).events
    events += [event._replace(time=stream.seconds) for event in recogniser.finish()]  # after the last frame
    spent = time.process_time() - before
    return from_events(events, number, stream, spent)


def decide(config: StreamConfig, seen: Sequence[Window], number: int, stream: Untrimmed) -> Answers:
    """The same from windows that the network has seen before: for choosing what comes after it."""
    appeared = next((number for number, persons in frames(stream) if persons), 0) / stream.rate
    decider, events = Decider(config, appeared=appeared), []
    for window in seen:
        if window.time - decider.time > config.gap + config.stride / config.rate:
            events += decider.absent(window.time)
        events += decider.update(window.time, window.logits).events
    return from_events([*events, *decider.absent(stream.seconds)], number, stream, 0.0)


def from_events(events: Sequence[Event], number: int, stream: Untrimmed, spent: float) -> Answers:
    """Answers about every frame, from what became known when."""
    at_once, afterwards = (np.full(len(stream.joints), NOTHING) for _ in range(2))
    found = []
    for event in events:
        known = _frame(event.time, stream)
        at_once[known:] = event.action if event.kind == "start" else NOTHING
        if event.end is not None:
            afterwards[_frame(event.start, stream) : _frame(event.end, stream) + 1] = event.action
            found.append(Detection(number, event.action, event.start, event.end, event.probability))
    return Answers(at_once, afterwards, found, 1000 * spent / len(stream.joints))


def naive(model: Model, length: int, number: int, stream: Untrimmed) -> Answers:
    """The likeliest class of the last `length` frames, computed anew with every frame; nothing is never an answer.

    `afterwards` takes the answer about a frame from the window around it. Detections are runs of one answer. For speed
    windows are computed in batches here, and a few of them one by one for what they cost in a live stream.
    """
    total = len(stream.joints)
    whole = np.isfinite(stream.joints).all((2, 3)).any(1)  # (T,) somebody is
    spans = [(max(0, end - length), end) for end in range(2, total + 1)]
    parts = {end: stream.joints[begin:end] for begin, end in spans if whole[begin:end].any()}
    probabilities = np.zeros((total, len(model.classes)), np.float32)
    if parts:
        probabilities[[end - 1 for end in parts]] = model.predict(list(parts.values())).numpy()
    before, few = time.process_time(), list(parts.values())[-TIMED:]
    for part in few:
        model.predict(part)
    cpu_ms = 1000 * (time.process_time() - before) / max(1, len(few))
    at_once = np.where(probabilities.any(1), probabilities.argmax(1), NOTHING)
    around = np.minimum(np.arange(total) + length // 2, total - 1)
    afterwards, votes = at_once[around], probabilities[around]
    detections = []
    for label, run in itertools.groupby(range(total), lambda frame: int(afterwards[frame])):
        here = list(run)
        if label != NOTHING:
            score = float(votes[here, label].mean())
            detections.append(Detection(number, label, here[0] / stream.rate, (here[-1] + 1) / stream.rate, score))
    return Answers(at_once, afterwards, detections, cpu_ms)


def frames(stream: Untrimmed) -> list[tuple[int, dict[object, np.ndarray]]]:
    """Every frame's number, and the bodies that are in it."""
    there = np.isfinite(stream.joints).all(-1).any(-1)  # (T, M)
    return [
        (number, {int(body): joints[body] for body in np.flatnonzero(there[number])})
        for number, joints in enumerate(stream.joints)
    ]


def _frame(seconds: float, stream: Untrimmed) -> int:
    return int(np.clip(round(seconds * stream.rate), 0, len(stream.joints)))
