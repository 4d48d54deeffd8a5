"""A detector and a pose network that the user gives as ONNX files, run with ONNX Runtime.

Detectors: YOLO's raw output, boxes (1, 4 + classes, A) as Ultralytics exports them or (1, A, 5 + classes) with
objectness, and boxes that need no suppression, (1, N, 6) or RTMDet's and YOLOX's dets (1, N, 5) and labels (1, N). The
first class is the person. Pose networks: heatmaps (1, V, h, w) as of ViTPose, trained with unbiased data processing
(UDP), or SimCC's two outputs (1, V, X) and (1, V, Y) as of RTMPose.

Legend: H height, W width, V joints, N boxes (left, top, right, bottom, score), A boxes before suppression.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bonestrap.options import UserError
from shards.sources.video.anchors import overlap
from shards.sources.video.person import Estimator, Person
from shards.sources.video.regions import sample

Pixels = Literal["yolo", "rtmdet", "yolox"]

SCORE = 0.3  # of a person's box
OVERLAP = 0.5  # intersection over union of two boxes of one person
GREY = 114  # of the detector's input beyond the image
INPUT = 640  # pixels of a detector's side, where its file leaves them open
PADDING = 1.25  # of a box, before the pose network sees it
MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)  # ImageNet's, RGB
STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


class OnnxPose(Estimator):
    """Finds the `persons` surest persons of each frame; nobody is followed from frame to frame."""

    def __init__(self, detector: Path, pose: Path, *, pixels: Pixels, persons: int) -> None:
        self.detector, self.network = Session(detector), Session(pose)
        self.pixels, self.persons = pixels, persons

    def __call__(self, image: np.ndarray) -> list[Person]:
        return [Person(None, self.joints(image, box[:4])) for box in self.boxes(image)[: self.persons]]

    def boxes(self, image: np.ndarray) -> np.ndarray:
        """The boxes (N, 5) of persons in pixels of an image (H, W, 3), the surest first."""
        height, width = self.detector.size or (INPUT, INPUT)
        scale = min(height / image.shape[0], width / image.shape[1])
        seen = np.full((height, width, 3), GREY, dtype=np.float32)
        rows, columns = round(image.shape[0] * scale), round(image.shape[1] * scale)
        x, y = np.meshgrid((np.arange(columns) + 0.5) / scale - 0.5, (np.arange(rows) + 0.5) / scale - 0.5)
        seen[:rows, :columns] = sample(image, np.stack([x, y], axis=-1).astype(np.float32), "repeat")
        found = persons(self.detector(_detector_pixels(seen, self.pixels)), str(self.detector.path))
        found[:, :4] /= scale
        return found

    def joints(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """The joints (V, 3) float32 of the person in a box (4,)."""
        if self.network.size is None:
            raise UserError(f"{self.network.path}: its input has no fixed size; export it with one, such as 256 x 192")
        height, width = self.network.size
        middle = (box[:2] + box[2:]) / 2
        sides = _fitted(box[2:] - box[:2], width / height) * PADDING
        heatmaps = self.network.outputs == 1
        last = np.array([width, height]) - (1 if heatmaps else 0)  # where the right and lower edges of the box lie
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        places = middle + (np.stack([x, y], axis=-1) / last - 0.5) * sides
        out = self.network((sample(image, places.astype(np.float32), "repeat") - MEAN) / STD)
        found = peaks(out[0][0]) if heatmaps else simcc(out[0][0], out[1][0])
        if heatmaps:
            found[:, :2] *= last / (np.array(out[0].shape[:1:-1]) - 1)
        else:
            found[:, :2] *= np.array([width / out[0].shape[2], height / out[1].shape[2]])
        found[:, :2] = middle + (found[:, :2] / last - 0.5) * sides
        return found.astype(np.float32)


class Session:
    """An ONNX file whose only input is an image."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise UserError(
                "--detector and --pose need the package onnxruntime, which is not installed; pip install onnxruntime"
            ) from None
        self.path = path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # videos are spread over processes
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        there = [name for name in wanted if name in onnxruntime.get_available_providers()]
        try:
            self.session: Any = onnxruntime.InferenceSession(str(path), options, there)
        except Exception as error:  # its own classes, one a fault
            raise UserError(f"{path}: not a model for ONNX Runtime ({str(error).splitlines()[0]:.150})") from None
        inputs = self.session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
            raise UserError(
                f"{path}: expected one input of 1 x 3 x height x width, found {[one.shape for one in inputs]}"
            )
        self.size = (shape[2], shape[3]) if all(isinstance(side, int) for side in shape[2:]) else None
        self.input, self.outputs = inputs[0].name, len(self.session.get_outputs())

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """The outputs for an image (H, W, 3)."""
        found = self.session.run(None, {self.input: np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32)})
        return list(found)


def persons(outputs: Sequence[np.ndarray], where: str) -> np.ndarray:
    """The boxes (N, 5) of persons from a detector's outputs, the surest first, in pixels of its input."""
    first = outputs[0][0]
    if len(outputs) >= 2 and first.ndim == 2 and first.shape[1] == 5 and outputs[1].shape[1:] == first.shape[:1]:
        found = first[outputs[1][0] == 0]
    elif len(outputs) == 1 and first.ndim == 2 and first.shape[1] == 6:
        found = first[first[:, 5] == 0, :5]
    elif len(outputs) == 1 and first.ndim == 2 and min(first.shape) >= 5:
        objects = first.shape[0] > first.shape[1]
        rows = first if objects else first.T
        scores = rows[:, 4] * rows[:, 5] if objects else rows[:, 4]
        half = rows[:, 2:4] / 2
        return suppressed(np.column_stack([rows[:, :2] - half, rows[:, :2] + half, scores]))
    else:
        shapes = [list(output.shape) for output in outputs]
        raise UserError(f"{where}: outputs of {shapes} are of no detector that is known; see docs/video.md")
    found = found[found[:, 4] >= SCORE].astype(np.float64)
    return np.asarray(found[np.argsort(-found[:, 4], kind="stable")])


def suppressed(boxes: np.ndarray) -> np.ndarray:
    """The boxes (A, 5) of enough score that overlap none of a higher one, the surest first."""
    boxes = boxes[boxes[:, 4] >= SCORE].astype(np.float64)
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept: list[np.ndarray] = []
    while len(boxes):
        kept.append(boxes[0])
        boxes = boxes[1:][overlap(boxes[0, :4], boxes[1:, :4]) <= OVERLAP]
    return np.array(kept).reshape(-1, 5)


def simcc(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(V, 3): the highest bin along each axis of (V, X) and (V, Y), and the smaller of the two heights."""
    score = np.minimum(x.max(1), y.max(1))
    found = np.stack([x.argmax(1), y.argmax(1), np.clip(score, 0, 1)], axis=1).astype(np.float64)
    return np.where(score[:, None] > 0, found, 0.0)


def peaks(heatmaps: np.ndarray) -> np.ndarray:
    """(V, 3): the peak of each heatmap (V, h, w), between cells as a Gaussian through the highest one has it, and its
    height.
    """
    count, width = len(heatmaps), heatmaps.shape[2]
    flat = heatmaps.reshape(count, -1).argmax(1)
    row, column = np.divmod(flat, width)
    logs = np.log(np.maximum(np.pad(heatmaps.astype(np.float64), ((0, 0), (1, 1), (1, 1)), "edge"), 1e-10))
    joint, up, left = np.arange(count), row + 1, column + 1
    x = _between(logs[joint, up, left - 1], logs[joint, up, left], logs[joint, up, left + 1])
    y = _between(logs[joint, up - 1, left], logs[joint, up, left], logs[joint, up + 1, left])
    return np.stack([column + x, row + y, np.clip(heatmaps[joint, row, column], 0, 1)], axis=1)


def _between(before: np.ndarray, at: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where the parabola through three values has its top, from -.5 to .5 cells from the middle one."""
    bend = 2 * at - before - after
    return np.clip(np.where(bend > 1e-9, (after - before) / 2 / np.maximum(bend, 1e-9), 0), -0.5, 0.5)


def _fitted(sides: np.ndarray, aspect: float) -> np.ndarray:
    """The smallest sides of this aspect (width / height) that hold a box."""
    width, height = np.maximum(sides, 1e-3)
    return np.array([max(width, height * aspect), max(height, width / aspect)])


def _detector_pixels(image: np.ndarray, pixels: Pixels) -> np.ndarray:
    if pixels == "yolo":
        return image / 255
    normal = (image - MEAN) / STD if pixels == "rtmdet" else image
    return normal[..., ::-1]  # these see BGR
