"""MediaPipe's pose model (BlazePose) on LiteRT: its detector and landmark network, and everything between them.

The detector finds persons in the whole image. The landmark network sees one square region, turned so that the person
is upright, and gives 33 landmarks in it, and two auxiliary ones from which, smoothed, the region in the next frame
follows: so the detector is needed only where nobody is followed. The numbers are those of MediaPipe 0.10.21's graphs.

Legend: H height, W width, L landmarks (39: 33 of the body, 2 of the region), G side of a heatmap (64).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bonestrap.options import UserError
from shards.sources.video import anchors
from shards.sources.video.person import SAME, Estimator, Person, distance
from shards.sources.video.regions import Region, around, crop, parts, whole
from shards.sources.video.smoothing import Smoothing

DETECTOR, LANDMARKS = "pose_detection.tflite", "pose_landmark_full.tflite"
SIZE = 256  # pixels of the landmark network's input
JOINTS = 33
SCALE = 1.25  # of a region, to the circle around the body
PRESENT = 0.5  # probability that there is a person in a region
KERNEL = 3  # cells on each side of a landmark that refine it
REFINED = 0.5  # of a heatmap around a landmark: below it, the landmark stays
AGAIN = 10  # frames between two looks for more persons while somebody is followed, and two closer ones while nobody is
SURE = 0.8  # probability of a person in a region from a closer look


class Pose(NamedTuple):
    """A person's landmarks in an image."""

    track: int
    joints: np.ndarray  # (33, 3): x and y in pixels, and visibility
    world: np.ndarray  # (33, 4): metres around the middle of the hips, and visibility
    ends: np.ndarray  # (2, 2): middle of the hips, and the rim of the circle around the body, in pixels

    @property
    def region(self) -> Region:
        """Where the person is expected in the next frame."""
        return around(self.ends[0], self.ends[1], SCALE)


class BlazePose(Estimator):
    """Follows up to `persons` persons through a video of `rate` frames a second.

    With `smooth`, landmarks are smoothed over time; regions always are, as in MediaPipe. A person who is not in the
    smoothed region is looked for in the region before smoothing, which MediaPipe does not do.
    """

    def __init__(self, folder: Path, *, persons: int, rate: float = 30.0, smooth: bool = True) -> None:
        self.detector, self.network = _loaded(folder / DETECTOR), _loaded(folder / LANDMARKS)
        self.persons, self.rate, self.smooth = persons, rate, smooth
        self.centres = anchors.anchors()
        self.followed: dict[int, Region] = {}
        self.unsmoothed: dict[int, Region] = {}  # where the same persons are before smoothing, which lags behind them
        self.smoothing: dict[int, Smoothing] = {}
        self.next, self.frame, self.alone = 0, -1, 0  # track, frame, frames since somebody was seen

    def __call__(self, image: np.ndarray) -> list[Person]:
        self.frame += 1
        found = self._poses(image, self.followed, PRESENT)
        here = {pose.track for pose in found}
        if lost := {track: region for track, region in self.unsmoothed.items() if track not in here}:
            found = self._poses(image, lost, PRESENT, found)
        if not found or (len(found) < self.persons and self.frame % AGAIN == 0):
            found = self._poses(image, self._new(self.detect(image), found), PRESENT, found)
        if not found and (self.alone < AGAIN or self.alone % AGAIN == 0):
            new = self._new(self.detect_closely(image), found)
            found = [pose for pose in self._poses(image, new, SURE) if _same(pose.region, new[pose.track])]
        self.alone = 0 if found else self.alone + 1
        self.unsmoothed = {pose.track: pose.region for pose in found}
        found = self._smoothed(found)
        self.followed = {pose.track: pose.region for pose in found}
        return [Person(track, joints.astype(np.float32), world.astype(np.float32)) for track, joints, world, _ in found]

    def _smoothed(self, found: list[Pose]) -> list[Pose]:
        """The poses as their filters give them; those of persons who are lost are forgotten."""
        known = self.smoothing
        self.smoothing = {
            pose.track: known.get(pose.track) or Smoothing(self.rate, landmarks=self.smooth) for pose in found
        }
        smoothed = []
        for pose in found:
            ends, joints, world = self.smoothing[pose.track](pose.ends, pose.joints, pose.world)
            smoothed.append(Pose(pose.track, joints, world, ends))
        return smoothed

    def detect(self, image: np.ndarray) -> list[Region]:
        """The regions of the persons in an image (H, W, 3), the surest first."""
        return [region for _, region in self._detected(image, whole(image))]

    def detect_closely(self, image: np.ndarray) -> list[Region]:
        """The regions of persons in parts of an image, which are seen larger, the surest first.

        MediaPipe has no such look. It costs three more runs of the detector.
        """
        found = [one for square in parts(image) for one in self._detected(image, square)]
        return [region for _, region in sorted(found, key=lambda one: -one[0])]

    def _detected(self, image: np.ndarray, square: Region) -> list[tuple[float, Region]]:
        numbers, logits = self.detector(crop(image, square, anchors.SIZE, "zero") / 127.5 - 1)
        found = anchors.merged(anchors.decoded(numbers[0], logits[0, :, 0], self.centres))
        ends = square.to_image(found.keypoints[:, :2])
        regions = [around(centre, rim, SCALE) for centre, rim in ends]
        return list(zip(found.scores.tolist(), regions, strict=True))

    def _new(self, regions: list[Region], found: list[Pose]) -> dict[int, Region]:
        """Regions of nobody who is found already, each with a number of its own."""
        new = [region for region in regions if not any(_same(region, pose.region) for pose in found)]
        self.next += len(new)
        return dict(enumerate(new, self.next - len(new)))

    def pose(self, image: np.ndarray, region: Region, track: int, sure: float = PRESENT) -> Pose | None:
        """The landmarks of the person in a region; None where there is none with this probability."""
        if not 1 <= region.side <= 20 * max(image.shape):
            return None
        landmarks, present, _, heatmaps, world = self.network(crop(image, region, SIZE, "repeat") / 255)
        if present[0, 0] < sure:
            return None
        marks = landmarks.reshape(-1, 5)
        places = region.to_image(refined(marks[:, :2] / SIZE, heatmaps[0]))
        visible = 1 / (1 + np.exp(-marks[:JOINTS, 3:4].astype(np.float64)))
        turned = upright(world.reshape(-1, 3)[:JOINTS], region.angle)
        joints, space = np.concatenate([places[:JOINTS], visible], 1), np.concatenate([turned, visible], 1)
        return Pose(track, joints, space, places[JOINTS : JOINTS + 2])

    def _poses(
        self, image: np.ndarray, regions: dict[int, Region], sure: float, known: list[Pose] | None = None
    ) -> list[Pose]:
        """The known poses and those in regions, one each; two regions may come to show the same person."""
        poses = list(known or [])
        for track, region in regions.items():
            if len(poses) == self.persons:
                break
            pose = self.pose(image, region, track, sure)
            if pose and all(distance(pose.joints, other.joints) > SAME for other in poses):
                poses.append(pose)
        return poses


class Network:
    """A `.tflite` file on one core."""

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError:
            raise UserError(
                "MediaPipe's pose model needs the package ai-edge-litert, which is not installed; pip install "
                "ai-edge-litert, or give --detector and --pose"
            ) from None
        try:
            self.interpreter: Any = Interpreter(str(path), num_threads=1)
            self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"{path}: not a model for LiteRT ({str(error).splitlines()[0]:.100})") from None
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.outputs = [detail["index"] for detail in self.interpreter.get_output_details()]

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        self.interpreter.set_tensor(self.input, image[None].astype(np.float32))
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(index) for index in self.outputs]


@lru_cache(maxsize=2)
def _loaded(path: Path) -> Network:
    """A network remembers nothing of what it saw: all videos of a process have the same one."""
    return Network(path)


def refined(places: np.ndarray, heatmaps: np.ndarray) -> np.ndarray:
    """Places (L, 2) from 0 to 1, each moved to the mean of its heatmap (G, G, L), in logits, in the cells around it."""
    grid = heatmaps.shape[0]
    padded = np.pad(1 / (1 + np.exp(-heatmaps.astype(np.float64))), ((KERNEL, KERNEL), (KERNEL, KERNEL), (0, 0)))
    cell = np.trunc(places * grid).astype(int)
    inside = ((cell >= 0) & (cell < grid)).all(1)
    steps = np.arange(2 * KERNEL + 1)
    column, row = np.where(inside[:, None], cell, 0).T
    rows, columns = row[:, None, None] + steps[:, None], column[:, None, None] + steps
    weights = padded[rows, columns, np.arange(len(places))[:, None, None]]  # (L, cells, cells)
    total = weights.sum((1, 2))
    x = (weights * (columns - KERNEL)).sum((1, 2)) / np.maximum(total, 1e-12)
    y = (weights * (rows - KERNEL)).sum((1, 2)) / np.maximum(total, 1e-12)
    moved = inside & (weights.max((1, 2)) >= REFINED)
    return np.where(moved[:, None], np.stack([x, y], axis=1) / grid, places)


def upright(world: np.ndarray, angle: float) -> np.ndarray:
    """Landmarks in space (L, 3) as the camera sees them: the network saw its region turned by `angle`."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = world.T
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)


def _same(one: Region, other: Region) -> bool:
    """Whether two regions are of one person: their centres are within a quarter of the larger side of each other."""
    return bool(np.hypot(one.x - other.x, one.y - other.y) < max(one.side, other.side) / 4)
