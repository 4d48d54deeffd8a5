"""Detectors and pose networks as ONNX files: what their outputs mean, and where joints come to lie in the image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonestrap.options import UserError
from shards.sources.video.onnx_models import OnnxPose, peaks, persons, simcc, suppressed
from tests.dots import DOT, JOINTS, POSE, STEP, draw, write_detector, write_pose


@pytest.fixture
def networks(tmp_path: Path) -> tuple[Path, Path, Path]:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    names = [tmp_path / name for name in ("detector.onnx", "heatmaps.onnx", "simcc.onnx")]
    write_detector(names[0])
    write_pose(names[1])
    write_pose(names[2], simcc=True)
    return names[0], names[1], names[2]


@pytest.mark.parametrize("head", ["heatmaps", "simcc"])
@pytest.mark.parametrize(("width", "height", "x", "y"), [(64, 64, 24, 32), (256, 128, 96, 64)])
def test_joints_lie_where_the_network_saw_them(
    networks: tuple[Path, Path, Path], head: str, width: int, height: int, x: int, y: int
) -> None:
    """Joint k is k steps of the network's input to the right of the dot; the input shows 1.25 times the box."""
    side, scale = DOT * width // 64, width / 64
    image = np.zeros((height, width, 3), np.uint8)
    image[y : y + side, x : x + side] = 255
    model = OnnxPose(networks[0], networks[1 if head == "heatmaps" else 2], pixels="yolo", persons=1)
    (person,) = model(image)
    seen = 1.25 * 40 * scale  # pixels of the image that the network's input shows
    step = STEP * seen / (POSE - 1 if head == "heatmaps" else POSE)
    expected = np.array([[x + (side - 1) / 2 + k * step, y + (side - 1) / 2] for k in range(JOINTS)])
    np.testing.assert_allclose(person.joints[:, :2], expected, atol=1.2 * scale)
    assert np.all(person.joints[:, 2] > 0.5)
    assert person.track is None


def test_nobody_is_found_in_the_dark(networks: tuple[Path, Path, Path]) -> None:
    assert OnnxPose(networks[0], networks[1], pixels="yolo", persons=2)(draw([None])[0]) == []


def test_boxes_of_every_kind_of_detector() -> None:
    """The same two persons, and a dog that is surer than both, as each kind of export writes them."""
    boxes = np.array([[10, 20, 50, 100, 0.9], [200, 20, 250, 100, 0.6]])
    expected = boxes[:, :5]
    dog = [300, 20, 350, 60]
    middle = np.array([[(a + c) / 2, (b + d) / 2, c - a, d - b] for a, b, c, d in [*boxes[:, :4].tolist(), dog]])
    classes = np.array([[0.9, 0.1], [0.6, 0.1], [0.05, 0.95]])
    many = np.zeros((30, 4))  # anchors at nothing
    raw = np.concatenate([np.concatenate([middle, many]), np.concatenate([classes, np.zeros((30, 2))])], axis=1)
    sure = np.concatenate([np.ones((3, 1)), np.zeros((30, 1))])
    objects = np.concatenate([raw[:, :4], sure, raw[:, 4:]], axis=1)
    written = {
        "yolov8": [raw.T[None]],
        "yolov5": [objects[None]],
        "end to end": [np.array([[[*boxes[1], 0], [*dog, 0.95, 16], [*boxes[0], 0]]])],
        "rtmdet": [np.array([[boxes[1], [*dog, 0.95], boxes[0]]]), np.array([[0, 16, 0]])],
    }
    for kind, outputs in written.items():
        np.testing.assert_allclose(persons(outputs, "detector.onnx"), expected, err_msg=kind)
    with pytest.raises(UserError, match=r"detector\.onnx: outputs of \[\[1, 3, 8, 8\]\] are of no detector"):
        persons([np.zeros((1, 3, 8, 8))], "detector.onnx")


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 100, (60, 2))
    boxes = np.column_stack([corner, corner + random.uniform(20, 60, (60, 2)), random.uniform(0, 1, 60)])

    def iou(one: np.ndarray, other: np.ndarray) -> float:
        sides = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
        common = max(sides[0], 0) * max(sides[1], 0)
        return common / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - common)

    kept: list[np.ndarray] = []
    for box in sorted(boxes.tolist(), key=lambda box: -box[4]):
        if box[4] >= 0.3 and all(iou(np.array(box), other) <= 0.5 for other in kept):
            kept.append(np.array(box))
    assert 1 < len(kept) < (boxes[:, 4] >= 0.3).sum()
    np.testing.assert_allclose(suppressed(boxes), np.array(kept))


def test_the_peak_of_a_gaussian_is_found_between_cells() -> None:
    places = np.array([[20.3, 30.0], [11.0, 40.4], [47.0, 0.0], [5.49, 63.0]])
    x, y = np.meshgrid(np.arange(48), np.arange(64))
    heatmaps = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / 8) for a, b in places]).astype(np.float32)
    found = peaks(heatmaps)
    np.testing.assert_allclose(found[:2, :2], places[:2], atol=1e-4)
    np.testing.assert_allclose(found[2:, :2], places[2:], atol=0.51)  # at the rim: within the cell
    assert found[:, 2].min() > 0.9


def test_a_joint_without_a_score_is_missing() -> None:
    x, y = np.full((3, 8), -1.0), np.full((3, 8), -1.0)
    x[0, 5], y[0, 2] = 0.8, 0.7
    x[1, 3] = 0.9  # seen along one axis alone
    np.testing.assert_allclose(simcc(x, y), np.array([[5, 2, 0.7], [0, 0, 0], [0, 0, 0]]))


def test_a_file_that_is_no_network_is_named(tmp_path: Path, networks: tuple[Path, Path, Path]) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken\.onnx: not a model for ONNX Runtime"):
        OnnxPose(tmp_path / "broken.onnx", networks[1], pixels="yolo", persons=1)
