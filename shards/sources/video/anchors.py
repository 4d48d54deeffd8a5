"""The output of MediaPipe's person detector: boxes and keypoints at fixed anchors (SSD), and which of them are persons.

The numbers are those of MediaPipe's graph `pose_detection_cpu`. Boxes and keypoints are parts of the detector's input,
a square of 224 pixels.

Legend: A anchors, N detections, K keypoints (4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SIZE = 224  # pixels of the detector's input
GRIDS = ((28, 2), (14, 2), (7, 6))  # cells along each side, anchors in each: strides 8, 16 and three times 32
SCORE = 0.5  # of a person
KEYPOINTS = 4
OVERLAP = 0.3  # of boxes of one person: intersection over union


class Detected(NamedTuple):
    """Persons, the surest first."""

    scores: np.ndarray  # (N,)
    boxes: np.ndarray  # (N, 4) left, top, right, bottom
    keypoints: np.ndarray  # (N, K, 2): middle of the hips, rim of the body's circle, middle of the shoulders, its rim


def anchors() -> np.ndarray:
    """(A, 2): the middle of each anchor's cell; A is 2,254."""
    found = []
    for cells, each in GRIDS:
        middle = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(middle, middle)
        found.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), each, axis=0))
    return np.concatenate(found)


def decoded(numbers: np.ndarray, logits: np.ndarray, centres: np.ndarray) -> Detected:
    """Detections of at least `SCORE` from the network's (A, 12) numbers and (A,) logits, one an anchor."""
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    sure = np.flatnonzero(scores >= SCORE)
    sure = sure[np.argsort(-scores[sure], kind="stable")]
    centre, found = centres[sure], numbers[sure].astype(np.float64) / SIZE
    middle, half = found[:, :2] + centre, found[:, 2:4] / 2
    boxes = np.concatenate([middle - half, middle + half], axis=1)
    return Detected(scores[sure], boxes, found[:, 4:].reshape(len(sure), KEYPOINTS, 2) + centre[:, None])


def merged(found: Detected) -> Detected:
    """One detection a person: those that overlap the surest one are averaged with it, weighted by their scores."""
    scores, boxes, keypoints = [], [], []
    rest = np.arange(len(found.scores))
    while len(rest):
        same = overlap(found.boxes[rest[0]], found.boxes[rest]) > OVERLAP
        same[0] = True
        members, rest = rest[same], rest[~same]
        weights = found.scores[members] / found.scores[members].sum()
        scores.append(found.scores[members[0]])
        boxes.append(np.tensordot(weights, found.boxes[members], 1))
        keypoints.append(np.tensordot(weights, found.keypoints[members], 1))
    shape = found.keypoints.shape[1:]
    return Detected(np.array(scores), np.array(boxes).reshape(-1, 4), np.array(keypoints).reshape(-1, *shape))


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with boxes (N, 4)."""
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = np.clip(inner, 0, None).prod(1)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) + np.clip(box[2:] - box[:2], 0, None).prod()
    return common / np.maximum(area - common, 1e-12)
