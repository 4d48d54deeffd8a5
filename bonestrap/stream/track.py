"""The last window of one person, on an even grid in time, with what is known of every frame of it.

Legend: L frames of a window, V joints, C numbers a joint.

Frames arrive at any times; frame k of the grid stands for the time k / rate. A grid frame is interpolated between the
two frames around it when the second arrives, and never changes afterwards. So whatever depends on one frame alone is
computed once, when that frame is made: whether it is whole, whether it can be the reference of the canonical pose, and
its torso's length.
"""

from __future__ import annotations

import math

import numpy as np

from bonestrap.layout import Layout, Point, points
from bonestrap.pose import SHORTEST

SNAP = 0.05  # of a grid step: times are written with few digits, and a frame this near to the grid is on it


class Track:
    """One person. Times are in steps of the grid."""

    def __init__(self, layout: Layout, length: int, gap: float) -> None:
        self.layout, self.length, self.gap = layout, length, gap
        rows = 3 * length  # a window is still there when the next frames have come
        self.frames = np.full((rows, len(layout.joints), layout.axes), np.nan, np.float32)
        self.present = np.zeros(rows, bool)  # any joint is known
        self.whole = np.zeros(rows, bool)  # every number is known
        self.oriented = np.zeros(rows, bool)  # it can be the reference frame of the canonical pose
        self.torso = np.zeros(rows, np.float32)
        self.end = 0  # rows in use
        self.next: int | None = None  # the number of the grid frame that the next row would be
        self.last: tuple[float, np.ndarray] | None = None  # the newest frame that arrived
        self.seen = -math.inf  # when that was
        self.appeared = -math.inf  # when the person came, or came back after a pause
        self.answered = 0  # what `next` was at the last answer

    def push(self, joints_VC: np.ndarray, step: float) -> None:
        """Take a frame that arrived at `step`, with at least one known joint."""
        if abs(step - round(step)) <= SNAP:
            step = float(round(step))
        before, self.last, self.seen = self.last, (step, joints_VC), step
        if before is None or step - before[0] > self.gap:
            self.appeared = step
            if step == round(step):
                self._append(int(step), joints_VC)
            return
        begin, from_VC = before
        for number in range(math.floor(begin) + 1, math.floor(step) + 1):
            weight = np.float32((number - begin) / (step - begin))
            # At the frame itself a joint that was missing before is there.
            self._append(number, joints_VC if weight == 1 else from_VC + weight * (joints_VC - from_VC))

    def window(self, number: int) -> slice:
        """The rows that lie in the window that ends with grid frame `number`; fewer than L where some are not there."""
        stop = self.end if self.next is None else self.end + min(0, number + 1 - self.next)
        first = number + 1 - self.length  # of the window
        return slice(max(0, self.end - ((self.next or 0) - first)), max(0, stop))

    def _append(self, number: int, joints_VC: np.ndarray) -> None:
        if self.next is None or number - self.next >= self.length:
            self.end, self.next = 0, number
        while self.next < number:
            self._row(np.full(joints_VC.shape, np.nan, np.float32))
        self._row(joints_VC)

    def _row(self, joints_VC: np.ndarray) -> None:
        if self.end == len(self.frames):
            keep = 2 * self.length
            for array in (self.frames, self.present, self.whole, self.oriented, self.torso):
                array[:keep] = array[self.end - keep : self.end]
            self.end = keep
        row, axes = self.end, self.layout.coordinates
        places = joints_VC[:, :axes]
        self.frames[row] = joints_VC
        self.present[row] = np.isfinite(places).all(-1).any()
        self.whole[row] = np.isfinite(joints_VC).all()
        self.oriented[row], self.torso[row] = self._pose(places) if self.whole[row] else (False, 0)
        self.end += 1
        assert self.next is not None
        self.next += 1

    def _pose(self, places_VC: np.ndarray) -> tuple[bool, float]:
        """Whether a whole body has an orientation, as `bonestrap.pose.reference_frame` says, and its torso's length."""
        up = _between(places_VC, self.layout.spine)
        height = float(np.linalg.norm(up))
        usable = height > SHORTEST
        if usable and self.layout.coordinates == 3:
            across = _between(places_VC, self.layout.shoulders)
            usable = float(np.linalg.norm(np.cross(up, across))) / height > SHORTEST
        return usable, height


def _between(places_VC: np.ndarray, ends: tuple[Point, Point]) -> np.ndarray:
    low, high = (places_VC[list(points(end))].mean(0) for end in ends)
    way: np.ndarray = high - low
    return way
