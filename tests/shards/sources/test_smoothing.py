"""MediaPipe's smoothing against the one euro filter as its paper has it, a number at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shards.sources.video.smoothing import IMAGE, REGION, SPACE, Filter, OneEuro, Smoothing


def one_euro(values: list[float], rate: float, cutoff: float, beta: float, scales: list[float]) -> list[float]:
    """Casiez et al. (2012), algorithm 1, with a cutoff of 1 Hz for speeds."""

    def alpha(frequency: float) -> float:
        tau, period = 1 / (2 * math.pi * frequency), 1 / rate
        return 1 / (1 + tau / period)

    out, before, speed, smooth = [], values[0], 0.0, values[0]
    for number, value in enumerate(values):
        if number:
            a = alpha(1.0)
            speed = a * (value - before) * rate * scales[number] + (1 - a) * speed
            a = alpha(cutoff + beta * abs(speed))
            smooth = a * value + (1 - a) * smooth
        before = value
        out.append(smooth)
    return out


@pytest.mark.parametrize("kind", [REGION, IMAGE, SPACE])
@pytest.mark.parametrize("rate", [2.0, 30.0])
def test_the_filter_is_that_of_its_paper(kind: OneEuro, rate: float) -> None:
    random = np.random.default_rng(0)
    values, scales = random.normal(0, 40, (20, 3, 2)).cumsum(0), random.uniform(0.001, 0.1, 20)
    smoothed = Filter(kind, rate)
    found = np.stack([smoothed(frame, scale) for frame, scale in zip(values, scales, strict=True)])
    for joint in range(3):
        for axis in range(2):
            expected = one_euro(values[:, joint, axis].tolist(), rate, kind.cutoff, kind.beta, scales.tolist())
            np.testing.assert_allclose(found[:, joint, axis], expected, rtol=1e-12)


@pytest.mark.parametrize("landmarks", [True, False])
def test_speed_is_measured_in_sides_of_the_region_as_it_was_seen(landmarks: bool) -> None:
    random = np.random.default_rng(1)
    ends = np.array([[100.0, 100.0], [100.0, 40.0]]) + random.normal(0, 5, (15, 2, 2))
    joints, world = random.normal(100, 30, (15, 33, 3)), random.normal(0, 1, (15, 33, 4))
    world[..., 3] = joints[..., 2]
    smoothed = Smoothing(25.0, landmarks=landmarks)
    regions, images, spaces = (np.stack(each) for each in zip(*map(smoothed, ends, joints, world), strict=True))
    scales = [1 / (2 * math.dist(a, b)) for a, b in ends.tolist()]
    np.testing.assert_allclose(regions[:, 1, 0], one_euro(ends[:, 1, 0].tolist(), 25, 0.01, 10, scales))
    if not landmarks:
        np.testing.assert_array_equal(images, joints)
        np.testing.assert_array_equal(spaces, world)
        return
    np.testing.assert_allclose(images[:, 7, 1], one_euro(joints[:, 7, 1].tolist(), 25, 0.05, 80, scales))
    np.testing.assert_allclose(spaces[:, 5, 2], one_euro(world[:, 5, 2].tolist(), 25, 0.1, 40, [1.0] * 15))
    seen = [joints[0, 3, 2]]
    for value in joints[1:, 3, 2]:
        seen.append(0.1 * value + 0.9 * seen[-1])
    np.testing.assert_allclose(images[:, 3, 2], seen)
    np.testing.assert_allclose(spaces[:, 3, 3], seen)
