"""What stands between MediaPipe's two networks: anchors, boxes, regions and landmarks, against plain loops."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from shards.sources.video import anchors
from shards.sources.video.blazepose import BlazePose, Pose, refined, upright
from shards.sources.video.frames import Video
from shards.sources.video.model_files import MEMBERS, cache
from shards.sources.video.regions import Border, Region, around, crop, parts, sample, whole

DATA = Path(os.environ.get("BONESTRAP_DATA", "../shared/data")) / "jhmdb_samples"

# mediapipe 0.10.21, solutions.pose.Pose(static_image_mode=True, model_complexity=1), frame 10 of each, pixels: nose,
# shoulders, wrists, hips, ankles.
SHOWN = [0, 11, 12, 15, 16, 23, 24, 27, 28]
MEDIAPIPE = {
    "wave/21_wave_u_nm_np1_fr_goo_5.avi": [
        [141.7, 51.2], [173.4, 92.6], [108.8, 92.9], [181.2, 198.2], [96.2, 134.3], [154.3, 189.5], [117.8, 189.6],
        [148.8, 313.8], [112.2, 312.8],
    ],
    "golf/Anna_Rawson_Driver_Practice_golf_f_nm_np1_ri_bad_0.avi": [
        [191.7, 74.4], [187.3, 87.0], [161.5, 77.2], [190.4, 95.0], [156.6, 94.1], [167.3, 132.3], [154.0, 129.5],
        [161.4, 206.8], [156.2, 213.2],
    ],
}  # fmt: skip
# The same with static_image_mode=False, after frames 0 to 10 of the first one.
TRACKED = [
    [140.8, 51.4], [177.0, 92.2], [102.0, 96.5], [185.6, 201.5], [94.7, 138.1], [169.2, 210.0], [125.8, 213.1],
    [174.7, 364.6], [129.3, 368.2],
]  # fmt: skip


def test_anchors_are_those_of_ssd_with_a_fixed_size() -> None:
    """Layers of one stride share a grid; each adds an anchor of its own scale and one between it and the next."""
    strides, expected, layer = [8, 16, 32, 32, 32], [], 0
    while layer < len(strides):
        same = [other for other in range(layer, len(strides)) if strides[other] == strides[layer]]
        cells = math.ceil(224 / strides[layer])
        for y in range(cells):
            for x in range(cells):
                expected += [((x + 0.5) / cells, (y + 0.5) / cells)] * (2 * len(same))
        layer = same[-1] + 1
    found = anchors.anchors()
    assert found.shape == (2254, 2)
    np.testing.assert_allclose(found, expected)


def test_boxes_and_keypoints_are_offsets_from_the_anchor() -> None:
    random = np.random.default_rng(0)
    numbers, logits = random.normal(0, 40, (2254, 12)), random.normal(-3, 2, 2254)
    centres = anchors.anchors()
    expected = []
    for number in range(2254):
        score = 1 / (1 + math.exp(-logits[number]))
        if score < 0.5:
            continue
        x, y = centres[number]
        a, b, w, h, *rest = (float(value) / 224 for value in numbers[number])
        keypoints = [(rest[2 * k] + x, rest[2 * k + 1] + y) for k in range(4)]
        expected.append((score, (a + x - w / 2, b + y - h / 2, a + x + w / 2, b + y + h / 2), keypoints))
    expected.sort(key=lambda one: -one[0])
    found = anchors.decoded(numbers, logits, centres)
    assert len(expected) > 50
    np.testing.assert_allclose(found.scores, [one[0] for one in expected], rtol=1e-12)
    np.testing.assert_allclose(found.boxes, [one[1] for one in expected], atol=1e-12)
    np.testing.assert_allclose(found.keypoints, [one[2] for one in expected], atol=1e-12)


def test_nobody_is_an_empty_detection() -> None:
    found = anchors.merged(anchors.decoded(np.zeros((2254, 12)), np.full(2254, -9.0), anchors.anchors()))
    assert found.boxes.shape == (0, 4)
    assert found.keypoints.shape == (0, 4, 2)


def test_overlapping_detections_are_averaged_by_their_scores() -> None:
    random = np.random.default_rng(1)
    corner = random.uniform(0, 1, (40, 2))
    boxes = np.concatenate([corner, corner + random.uniform(0.1, 0.5, (40, 2))], axis=1)
    scores = np.sort(random.uniform(0.5, 1, 40))[::-1]
    keypoints = random.uniform(0, 1, (40, 4, 2))

    def iou(one: np.ndarray, other: np.ndarray) -> float:
        width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
        height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
        return width * height / (sum(areas) - width * height)

    rest, expected = list(range(40)), []
    while rest:
        group = [number for number in rest if iou(boxes[rest[0]], boxes[number]) > 0.3]
        total = sum(scores[number] for number in group)
        box = sum(scores[number] * boxes[number] for number in group) / total
        points = sum(scores[number] * keypoints[number] for number in group) / total
        expected.append((scores[rest[0]], box, points))
        rest = [number for number in rest if number not in group]
    found = anchors.merged(anchors.Detected(scores, boxes, keypoints))
    assert 1 < len(expected) < 40
    np.testing.assert_allclose(found.scores, [one[0] for one in expected])
    np.testing.assert_allclose(found.boxes, [one[1] for one in expected])
    np.testing.assert_allclose(found.keypoints, [one[2] for one in expected])


@pytest.mark.parametrize("degrees", [0, 30, 90, 179, -120])
def test_a_region_turns_with_the_person(degrees: float) -> None:
    """Turned clockwise by an angle, the head of a person is where this angle leads from straight up."""
    angle = math.radians(degrees)
    centre, radius = np.array([200.0, 120.0]), 50.0
    rim = centre + radius * np.array([math.sin(angle), -math.cos(angle)])
    region = around(centre, rim, 1.25)
    assert math.isclose(region.angle, angle, abs_tol=1e-9)
    assert math.isclose(region.side, 125.0)
    np.testing.assert_allclose(region.from_image(rim), [0.5, 0.5 - 0.4], atol=1e-12)  # upright in its own region
    points = np.random.default_rng(0).uniform(-300, 300, (20, 2))
    np.testing.assert_allclose(region.to_image(region.from_image(points)), points, atol=1e-9)
    axes = region.to_image(np.array([[1.0, 0.0], [0.0, 1.0]])) - region.to_image(np.zeros(2))
    np.testing.assert_allclose(axes[0], [125 * math.cos(angle), 125 * math.sin(angle)], atol=1e-9)
    np.testing.assert_allclose(axes[1], [-125 * math.sin(angle), 125 * math.cos(angle)], atol=1e-9)


@pytest.mark.parametrize("border", ["zero", "repeat"])
def test_a_crop_is_linear_between_pixels(border: Border) -> None:
    random = np.random.default_rng(2)
    image = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    region = Region(13.0, 11.0, 37.0, 0.4)

    def pixel(x: int, y: int) -> np.ndarray:
        if border == "repeat":
            x, y = min(max(x, 0), 29), min(max(y, 0), 19)
        return image[y, x].astype(float) if 0 <= x < 30 and 0 <= y < 20 else np.zeros(3)

    expected = np.zeros((16, 16, 3))
    for row in range(16):
        for column in range(16):
            across, down = (column / 16 - 0.5) * 37, (row / 16 - 0.5) * 37
            x = 13 + math.cos(0.4) * across - math.sin(0.4) * down
            y = 11 + math.sin(0.4) * across + math.cos(0.4) * down
            left, top = math.floor(x), math.floor(y)
            for i in (0, 1):
                for j in (0, 1):
                    weight = (x - left if i else 1 - x + left) * (y - top if j else 1 - y + top)
                    expected[row, column] += weight * pixel(left + i, top + j)
    steps = np.stack(np.meshgrid(np.arange(16), np.arange(16)), axis=-1) / 16
    found = sample(image, region.to_image(steps).astype(np.float32), border)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    near = sample(image, (np.rint(region.to_image(steps) * 32) / 32).astype(np.float32), border)
    np.testing.assert_array_equal(crop(image, region, 16, border), np.rint(near))  # as OpenCV has places and bytes


def test_the_whole_of_an_image_is_in_the_middle_of_its_square() -> None:
    image = np.zeros((240, 320, 3), np.uint8)
    corners = np.array([[0, 0], [1, 1], [0.5, 0.5]])
    np.testing.assert_allclose(whole(image).to_image(corners), [[0, -40], [320, 280], [160, 120]])
    found = [part.to_image(corners[:2]).tolist() for part in parts(image)]
    assert found == [[[40, 0], [280, 240]], [[0, 0], [240, 240]], [[80, 0], [320, 240]]]


def test_landmarks_move_to_the_mean_of_their_heatmap() -> None:
    random = np.random.default_rng(3)
    heatmaps = random.normal(-2, 2, (64, 64, 39))
    places = random.uniform(-0.1, 1.1, (39, 2))
    heatmaps[..., :5] = -4.0  # nothing sure around these: they stay
    expected = places.copy()
    for mark, (x, y) in enumerate(places):
        column, row = int(x * 64), int(y * 64)
        if not (x >= 0 and y >= 0 and column < 64 and row < 64):
            continue
        total, sums, highest = 0.0, np.zeros(2), 0.0
        for i in range(max(0, row - 3), min(64, row + 4)):
            for j in range(max(0, column - 3), min(64, column + 4)):
                weight = 1 / (1 + math.exp(-heatmaps[i, j, mark]))
                total, sums, highest = total + weight, sums + weight * np.array([j, i]), max(highest, weight)
        if highest >= 0.5:
            expected[mark] = sums / total / 64
    moved = (expected != places).any(1)
    assert 15 < moved.sum() < 39
    np.testing.assert_allclose(refined(places, heatmaps), expected, atol=1e-12)


def test_landmarks_in_space_turn_like_the_region() -> None:
    """What lies along an axis of the region in the image does so in space as well."""
    region = Region(0.0, 0.0, 2.0, 0.7)
    flat = np.random.default_rng(4).normal(size=(33, 2))
    world = upright(np.concatenate([flat, np.ones((33, 1))], axis=1), region.angle)
    np.testing.assert_allclose(world[:, :2], region.to_image(flat / 2 + 0.5), atol=1e-12)
    np.testing.assert_allclose(world[:, 2], 1)


def models() -> Path:
    folder = Path(os.environ.get("BONESTRAP_MODELS", cache()))
    if not all((folder / name).is_file() for name in MEMBERS):
        pytest.skip(f"MediaPipe's .tflite files are not in {folder}")
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("av")
    return folder


@pytest.mark.parametrize("name", MEDIAPIPE)
def test_keypoints_are_those_of_mediapipe(name: str) -> None:
    """Within 2 % of the body's box, on average; docs/video.md has all frames of 42 clips."""
    if not (DATA / name).is_file():
        pytest.skip(f"no JHMDB clips in {DATA}; set BONESTRAP_DATA")
    model, expected = BlazePose(models(), persons=1), np.array(MEDIAPIPE[name])
    with Video(DATA / name) as video:
        image = next(image for number, image in enumerate(video) if number == 10)
    (person,) = model(image)
    apart = np.linalg.norm(person.joints[SHOWN, :2] - expected, axis=1)
    assert apart.mean() < 0.02 * (expected.max(0) - expected.min(0)).max()
    assert person.world is not None
    assert np.abs(person.world[[23, 24], :3].mean(0)).max() < 0.05  # metres around the middle of the hips


def test_a_followed_person_is_where_mediapipe_follows_it_to_and_keeps_the_number() -> None:
    """Without smoothing the landmarks are .8 % of the box away, without that of the region 2.4 %."""
    name = next(iter(MEDIAPIPE))
    if not (DATA / name).is_file():
        pytest.skip(f"no JHMDB clips in {DATA}; set BONESTRAP_DATA")
    model = BlazePose(models(), persons=2)
    with Video(DATA / name) as video:
        found = [model(image) for number, image in enumerate(video) if number <= 11]
    assert [[person.track for person in frame] for frame in found] == [[0]] * 12
    apart = np.linalg.norm(found[-1][0].joints[SHOWN, :2] - TRACKED, axis=1)
    assert apart.mean() < 0.005 * np.ptp(TRACKED, axis=0).max()
    assert model(np.zeros((240, 320, 3), np.uint8)) == []


UP = np.array([0.0, 80.0])


class Runner(BlazePose):
    """Somebody at a known place, whom only a region shows whose middle is at most 12 pixels away."""

    middle = np.array([100.0, 200.0])

    def detect(self, image: np.ndarray) -> list[Region]:
        return [around(self.middle, self.middle - UP, 1.25)] if self.frame == 0 else []

    def detect_closely(self, image: np.ndarray) -> list[Region]:
        return []

    def pose(self, image: np.ndarray, region: Region, track: int, sure: float = 0.5) -> Pose | None:
        if math.dist((region.x, region.y), self.middle) > 12:
            return None
        joints, world = np.ones((33, 3)), np.ones((33, 4))
        joints[:, :2] = self.middle
        return Pose(track, joints, world, np.array([self.middle, self.middle - UP]))


def test_who_runs_out_of_the_smoothed_region_is_found_where_it_was_last_seen() -> None:
    runner, image = Runner(models(), persons=1), np.zeros((240, 640, 3), np.uint8)
    for frame in range(20):
        runner.middle = runner.middle + np.array([9.0 if frame > 10 else 0.0, 0.0])
        assert [person.track for person in runner(image)] == [0], frame
