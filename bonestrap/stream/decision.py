"""From the answers about windows to actions with a beginning and an end, or to nothing.

Probabilities are averaged over time. A window shows an action where the score, the largest probability or the energy,
reaches a threshold (Hendrycks & Gimpel, 2017, arXiv:1610.02136; Liu et al., 2020, arXiv:2010.03759: log sum exp of the
logits); an action that has begun lasts until the score falls below a lower one, or another class is the likeliest.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

from bonestrap.stream.config import StreamConfig


class Event(NamedTuple):
    """An action has begun or is over. Times are seconds of the stream's clock."""

    kind: str  # "start" or "end"
    person: Hashable
    action: int  # of the model's classes
    time: float  # when this became known
    start: float  # when the action began
    end: float | None  # and when it ended, of an event "end"
    probability: float  # of the action: at its beginning, or its mean over the windows of an action that is over


class Decision(NamedTuple):
    """What is known after one window."""

    probabilities: np.ndarray  # (classes,), averaged over time
    score: float
    action: int | None  # that goes on; None: nothing
    events: list[Event]


class Decider:
    """One person's windows, one after the other. No action begins before `appeared`."""

    def __init__(self, config: StreamConfig, person: Hashable = None, appeared: float = -math.inf) -> None:
        self.config, self.person = config, person
        self.probabilities: np.ndarray | None = None
        self.energy = 0.0
        self.time = -math.inf  # of the newest window
        self.action: int | None = None
        self.since = self.until = -math.inf  # of the action that goes on
        self.free = appeared  # until when the last action lasted
        self.votes: list[float] = []  # the action's probability in every window of it
        self.candidate: int | None = None
        self.begun: list[tuple[float, float]] = []  # time and probability of the candidate's windows
        self.doubts = 0  # windows in a row that do not show the action

    def update(self, time: float, logits: np.ndarray) -> Decision:
        """Take the logits (classes,) of the window that ends at `time`."""
        score = self._average(time, logits)
        assert self.probabilities is not None
        best = int(self.probabilities.argmax())
        events = []
        if self.action is not None:
            if best == self.action and score >= self.config.release:
                self.doubts, self.until = 0, time
                self.votes.append(float(self.probabilities[best]))
            else:
                self.doubts += 1
        self._consider(time, best, score)
        begins = len(self.begun) >= self.config.start_after
        if self.action is not None and (self.doubts >= self.config.end_after or begins):
            events.append(self.over(time))
        if self.action is None and begins:
            events.append(self._begin(time))
        return Decision(self.probabilities, score, self.action, events)

    def absent(self, time: float) -> list[Event]:
        """The person is gone at `time`: what was going on is over, and averages begin anew."""
        events = [] if self.action is None else [self.over(time)]
        self.probabilities, self.candidate, self.begun = None, None, []
        return events

    def over(self, time: float) -> Event:
        """End the action that goes on."""
        assert self.action is not None
        start, end = self.since, max(self.since, self.until - self.config.behind)
        event = Event("end", self.person, self.action, time, start, end, float(np.mean(self.votes)))
        self.action, self.free = None, end
        return event

    def _average(self, time: float, logits: np.ndarray) -> float:
        """Take a window into the averages; the score."""
        high = float(logits.max())
        odds = np.exp(logits - high)
        probabilities, energy = odds / odds.sum(), high + math.log(float(odds.sum()))
        if self.probabilities is None:
            self.probabilities, self.energy = probabilities, energy
        else:
            constant = self.config.smoothing
            new = 1 - math.exp(-(time - self.time) / constant) if constant else 1.0
            self.probabilities = self.probabilities + new * (probabilities - self.probabilities)
            self.energy += new * (energy - self.energy)
        self.time = time
        return float(self.probabilities.max()) if self.config.score == "probability" else self.energy

    def _consider(self, time: float, best: int, score: float) -> None:
        """Count the windows in a row that show an action other than the one that goes on."""
        if score < self.config.threshold or best == self.action:
            self.candidate, self.begun = None, []
            return
        if best != self.candidate:
            self.candidate, self.begun = best, []
        assert self.probabilities is not None
        self.begun.append((time, float(self.probabilities[best])))

    def _begin(self, time: float) -> Event:
        assert self.candidate is not None
        self.action, self.doubts, self.until = self.candidate, 0, time
        self.since = max(self.begun[0][0] - self.config.behind, self.free)
        self.votes = [vote for _, vote in self.begun]
        self.candidate, self.begun = None, []
        return Event("start", self.person, self.action, time, self.since, None, self.votes[-1])


def fit_threshold(scores: np.ndarray, false_alarms: float) -> float:
    """The smallest threshold that at most the fraction `false_alarms` of `scores`, of windows that show nothing, reach.

    Raises ValueError where there is no score.
    """
    if not len(scores):
        raise ValueError("there is no window that shows nothing: a threshold cannot be chosen")
    descending = np.sort(np.asarray(scores, np.float64))[::-1]
    allowed = int(false_alarms * len(descending))  # windows that may reach it
    if allowed >= len(descending):
        return float(descending[-1])
    return float(np.nextafter(descending[allowed], np.inf))  # above the first that may not
