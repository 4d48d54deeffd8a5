"""Frames of joints in, as they arrive; actions of every person out::

    import bonestrap
    from bonestrap.stream.recogniser import Recogniser

    recogniser = Recogniser(bonestrap.load("runs/student"))
    for time, persons in frames:                    # seconds, {id: joints (V, C)}
        for event in recogniser.push(persons, time).events:
            print(event.kind, event.person, recogniser.classes[event.action])

Legend: L frames of a window, M bodies, V joints, C numbers a joint.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from bonestrap.clips import Clips
from bonestrap.model import Model, ModelError
from bonestrap.stream.config import StreamConfig
from bonestrap.stream.decision import Decider, Event
from bonestrap.stream.prepare import Preparation, arranged, together
from bonestrap.stream.track import SNAP, Track

PERSONS = 64  # the most in a frame
ALL = None  # the person of answers about all persons together


class Answer(NamedTuple):
    """What the window that ends now shows of a person."""

    person: Hashable
    time: float  # of the window's last frame, seconds
    logits: np.ndarray  # (classes,)
    probabilities: np.ndarray  # (classes,), those of `Model.predict` on `Recogniser.window(person)`
    average: np.ndarray  # (classes,), over the last windows
    score: float
    action: int | None  # that goes on; None: nothing


class Update(NamedTuple):
    """What became known with a frame."""

    answers: list[Answer]
    events: list[Event]


class Recogniser:
    """One stream of frames. Raises ModelError for a model without classes."""

    def __init__(self, model: Model, config: StreamConfig | None = None) -> None:
        if model.head is None:
            raise ModelError(f"a {model.description.stage} model has features but no classes; fine-tune it first")
        self.config = config or StreamConfig()
        self.model, self.classes = model, model.classes
        self.network, self.head = model.encoder.for_inference().eval(), model.head
        self.preparation = Preparation(model)
        self.tracks: dict[Hashable, Track] = {}  # in the order in which persons appeared
        self.deciders: dict[Hashable, Decider] = {}
        self.time = -math.inf
        self._answered: int | None = None  # the grid frame with which the window of the last answers ends

    def push(self, persons: Mapping[Any, np.ndarray], time: float) -> Update:
        """Take a frame that was seen at `time` (seconds, ascending): the joints (V, C) of every person in it, by id.

        NaN stands for a joint that is not seen. Raises ValueError where a time or an array does not fit.
        """
        joints = self._checked(persons, time)
        self.time, step = time, time * self.config.rate
        for person, joints_VC in joints.items():
            if person not in self.tracks:
                self.tracks[person] = Track(self.model.layout, self.config.frames, self.config.gap * self.config.rate)
            self.tracks[person].push(joints_VC, step)
        now = math.floor(step + SNAP)
        events = self._leave(step)
        if self._answered is None or now // self.config.stride > self._answered // self.config.stride:
            self._answered = now
            answers, more = self._answers(now)
            return Update(answers, events + more)
        return Update([], events)

    def finish(self) -> list[Event]:
        """The stream is over: whatever was going on has ended."""
        events = [event for decider in self.deciders.values() for event in decider.absent(self.time)]
        self.tracks.clear()
        self.deciders.clear()
        return events

    def window(self, person: Hashable = ALL) -> np.ndarray:
        """The window of the last answer as a recording (L, M, V, C), NaN where nothing is known: one body, or all."""
        chosen = list(self.tracks.values()) if person is ALL else [self.tracks[person]]
        number = self._answered or 0
        shape = self.config.frames, len(chosen), len(self.model.layout.joints), self.model.layout.axes
        out = np.full(shape, np.nan, np.float32)
        for body, track in enumerate(chosen):
            rows = track.frames[track.window(number)]
            end = self.config.frames - max(0, number + 1 - (track.next or 0))
            out[end - len(rows) : end, body] = rows
        return out

    def _checked(self, persons: Mapping[Any, np.ndarray], time: float) -> dict[Hashable, np.ndarray]:
        """The persons of whom anything is seen, (V, C) float32 each, with NaN for whatever is not finite."""
        if not math.isfinite(time) or not time > self.time:
            raise ValueError(f"frames must come in the order of their times: {time} comes after {self.time}")
        if abs(time) * self.config.rate > 2**52:
            raise ValueError(f"time must be in seconds, got {time}")
        if len(persons) > PERSONS:
            raise ValueError(f"a frame with {len(persons)} persons; {PERSONS} is the most")
        shape, out = (len(self.model.layout.joints), self.model.layout.axes), {}
        for person, joints in persons.items():
            array = np.asarray(joints, np.float32)
            if array.shape != shape:
                raise ValueError(
                    f"joints of person {person!r:.40} must be {shape[0]} x {shape[1]} for layout "
                    f"{self.model.layout.name}, got {' x '.join(map(str, array.shape))}"
                )
            array = np.where(np.isfinite(array), array, np.float32(np.nan))
            if np.isfinite(array[:, : self.model.layout.coordinates]).all(-1).any():
                out[person] = array
        return out

    def _leave(self, step: float) -> list[Event]:
        """End what persons did who are no longer seen, and forget them after a window."""
        events = []
        rate, gap = self.config.rate, self.config.gap * self.config.rate
        for person, track in list(self.tracks.items()):
            missing = step - track.seen
            if missing > gap and person in self.deciders:
                events += self.deciders.pop(person).absent(step / rate)
            if missing > self.config.frames:
                del self.tracks[person]
        if ALL in self.deciders and all(step - track.seen > gap for track in self.tracks.values()):
            events += self.deciders.pop(ALL).absent(step / rate)
        return events

    @torch.no_grad()
    def _answers(self, now: int) -> tuple[list[Answer], list[Event]]:
        """One call of the network for everyone who has been seen since the last one."""
        ready = [person for person, track in self.tracks.items() if self._is_ready(track, now)]
        if not ready:
            return [], []
        asked, parts = self._together() if self.config.persons == "together" else self._alone(ready, now)
        if not parts:
            return [], []
        clips = together(parts)
        features = self.network(arranged(clips)).float()
        logits = self.head(clips.mean_over_bodies(features)).double().cpu().numpy()
        return self._decided(asked, logits, now / self.config.rate)

    def _is_ready(self, track: Track, now: int) -> bool:
        """Whether a person has been seen since the last answers, and in enough of the window."""
        if track.next is None or track.next <= track.answered:
            return False
        present = int(track.present[track.window(now)].sum())
        return present >= max(2, self.config.filled * self.config.frames)

    def _together(self) -> tuple[list[Hashable], list[Clips]]:
        for track in self.tracks.values():
            track.answered = track.next or 0
        return self._general([ALL])

    def _alone(self, ready: list[Hashable], now: int) -> tuple[list[Hashable], list[Clips]]:
        """The windows of persons one by one: those who are whole or absent in every frame, then the others."""
        simple: list[Hashable] = []
        others: list[Hashable] = []
        for person in ready:
            track = self.tracks[person]
            track.answered, here = track.next or 0, track.window(now)
            whole = bool((track.whole[here] == track.present[here]).all())
            (simple if whole else others).append(person)
        asked, parts = self._general(others)
        if simple:
            parts = [self.preparation.alone([self.tracks[person] for person in simple], now), *parts]
        return [*simple, *asked], parts

    def _general(self, persons: list[Hashable]) -> tuple[list[Hashable], list[Clips]]:
        """Windows as `Model.prepare` makes them, of those of these persons who are whole in any frame."""
        asked, parts = [], []
        for person in persons:
            with contextlib.suppress(ModelError):  # never whole, such as without any confidence
                parts.append(self.preparation.general(self.window(person)))
                asked.append(person)
        return asked, parts

    def _appeared(self, person: Hashable) -> float:
        """Since when a person, or anybody, has been there; seconds."""
        tracks = self.tracks.values() if person is ALL else [self.tracks[person]]
        return min(track.appeared for track in tracks) / self.config.rate

    def _decided(self, asked: list[Hashable], logits: np.ndarray, time: float) -> tuple[list[Answer], list[Event]]:
        answers, events = [], []
        for person, row in zip(asked, logits, strict=True):
            if not np.isfinite(row).all():  # of coordinates beyond all measure
                continue
            if person not in self.deciders:
                self.deciders[person] = Decider(self.config, person, self._appeared(person))
            decision = self.deciders[person].update(time, row)
            odds = np.exp(row - row.max())
            average, score, action = decision.probabilities, decision.score, decision.action
            answers.append(Answer(person, time, row, odds / odds.sum(), average, score, action))
            events += decision.events
        return answers, events
