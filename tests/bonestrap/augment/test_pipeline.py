"""Every augmentation against a plain reference for one body at a time in numpy and scipy, fed the same draw."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import savgol_filter
from scipy.spatial.transform import Rotation
from torch import Tensor

import bonestrap.augment.pipeline
from bonestrap.augment import (
    AGGRESSIVE,
    CONSERVATIVE,
    PLAIN,
    ClipConfig,
    Crop,
    DropLimbs,
    Operation,
    Resample,
    Shear,
    Shift,
    Smooth,
    View,
    fused,
    replaced,
)
from bonestrap.augment.operation import Draw
from bonestrap.augment.pipeline import Pipeline
from bonestrap.augment.rows import Rows, savgol_kernel, smooth_some
from bonestrap.clips import Recordings
from bonestrap.layout import Layout, points
from bonestrap.layouts import COCO17, LAYOUTS, NTU25, SBU15
from tests.bonestrap.tiny import BODIES, LENGTHS, generator, recordings


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds of both ways to make a clip."""
    if request.param == "torch":
        monkeypatch.setattr(fused, "kernel", lambda: None)
    else:
        pytest.importorskip("numba")


def body(source: Recordings, n: int) -> np.ndarray:
    """Frames of body n, (S, V, C) float64."""
    rows = slice(int(source.start[n]), int(source.start[n] + source.length[n]))
    return source.frames[rows].double().numpy()


def resampled(x: np.ndarray, rate: float) -> np.ndarray:
    """Played at `rate`: frame i of the result lies at source frame i * rate, as long as there are source frames."""
    count = int((len(x) - 1) / rate + 1e-6) + 1
    flat = x.reshape(len(x), -1)
    columns = [np.interp(np.arange(count) * rate, np.arange(len(x)), column) for column in flat.T]
    return np.stack(columns, 1).reshape(count, *x.shape[1:])


def fitted(x: np.ndarray, frames: int, rate: float) -> np.ndarray:
    """First stretched to `frames` frames from end to end, then played at `rate`; one interpolation for both."""
    count = int((frames - 1) / rate) + 1
    position = np.linspace(0, len(x) - 1, frames)
    position = np.interp(np.arange(count) * rate, np.arange(frames), position)
    flat = x.reshape(len(x), -1)
    return np.stack([np.interp(position, np.arange(len(x)), c) for c in flat.T], 1).reshape(count, *x.shape[1:])


def reference(source: Recordings, draw: Draw, layout: Layout, clip: ClipConfig) -> np.ndarray:
    """One augmentation after the other on one body after the other: (N, T, V, channels)."""
    axes = layout.coordinates
    out = []
    for n, owner in enumerate(source.owner.tolist()):
        rate, offset, begin, smooth, shear, _ = (field[owner].double().numpy() for field in draw[:6])
        side = int(sides(draw, layout)[owner])
        x = body(source, n)
        if smooth:
            padded = np.pad(x[..., :axes], [(7, 7), (0, 0), (0, 0)], mode="edge")
            x = np.concatenate([savgol_filter(padded, 15, 2, axis=0)[7:-7], x[..., axes:]], axis=2)
        x = fitted(x, clip.frames, float(rate)) if clip.fit else resampled(x, float(rate))
        if len(x) > clip.frames:  # crop
            places = len(x) - clip.frames + 1
            first = min(int(float(begin) * places), places - 1)
            x = x[first : first + clip.frames]
        x = np.concatenate([x] * (clip.frames // len(x) + 1))[: clip.frames]  # repeat
        x = np.roll(x, -int(float(offset) * clip.frames), axis=0)  # shift
        x, confidence = np.stack([[shear @ joint for joint in frame] for frame in x[..., :axes]]), x[..., axes:]
        bones = np.zeros_like(x)
        for child, parent in layout.bones:
            bones[:, child] = x[:, child] - x[:, parent]
        x = np.concatenate([x, bones, confidence], axis=2)
        for joint, name in enumerate(layout.joints):
            if name.startswith(("", "left_", "right_")[side] or "never") and joint not in layout.parts["trunk"]:
                x[:, joint] = 0
        out.append(x)
    return np.stack(out)


def sides(draw: Draw, layout: Layout) -> torch.Tensor:
    """Which limbs each clip drops: 0 none, 1 the left ones, 2 the right ones."""
    return (~draw.keep[:, layout.left[0]]).long() + 2 * (~draw.keep[:, layout.right[0]]).long()


SCORED = dataclasses.replace(COCO17, confidence=True)
SHEAR_ONLY = (Shear(),)
SINGLE = {
    "plain": PLAIN,
    "resample": (Resample(rate=(0.5, 2.0)),),
    "crop": (Crop(),),
    "smooth": (Smooth(),),
    "shear": SHEAR_ONLY,
    "shift": (Shift(),),
    "drop": (DropLimbs(probability=0.9),),
    "conservative": CONSERVATIVE,
    "aggressive": AGGRESSIVE,
}


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("augment", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("layout", [SBU15, NTU25, COCO17, SCORED], ids=["sbu15", "ntu25", "plane", "confidence"])
def test_against_one_body_at_a_time(layout: Layout, augment: View, fit: bool) -> None:
    source = recordings(BODIES, LENGTHS, seed=3, layout=layout)
    clip = ClipConfig(frames=24, fit=fit)
    pipeline = Pipeline(layout, clip, augment)
    for seed in range(3):
        draw = pipeline.sample(source.size, generator(seed))
        found = pipeline.apply(source, draw)
        assert found.joints.dtype == torch.float32
        assert torch.equal(found.owner, source.owner) and found.size == source.size
        np.testing.assert_allclose(found.joints.numpy(), reference(source, draw, layout, clip), atol=2e-5)


def test_a_call_is_a_sample_applied() -> None:
    source = recordings(BODIES, LENGTHS)
    pipeline = Pipeline(SBU15, ClipConfig(frames=24), AGGRESSIVE)
    clips = pipeline(source, generator(5))
    torch.testing.assert_close(clips.joints, pipeline.apply(source, pipeline.sample(6, generator(5))).joints)


# ---------------------------------------------------------------------- one by one


def smoothed(bodies: list[Tensor], chosen: list[bool]) -> list[Tensor]:
    """The bodies, each (S, V, C), after a filter of the chosen ones."""
    length = torch.tensor([len(x) for x in bodies])
    rows = Rows(torch.cat(bodies), length.cumsum(0) - length, length)
    smooth_some(rows, torch.tensor(chosen), bodies[0].shape[2])
    return list(rows.frames.split(length.tolist()))


def test_savgol_against_scipy_with_replicated_edges() -> None:
    lengths = [1, 2, 7, 14, 15, 16, 80]
    bodies = [torch.randn(length, 4, 3, generator=generator(length)) for length in lengths]
    chosen = [True, True, False, True, True, False, True]
    found = smoothed(bodies, chosen)
    for before, after, filtered in zip(bodies, found, chosen, strict=True):
        expected = savgol_filter(before.double().numpy(), 15, 2, axis=0, mode="nearest") if filtered else before.numpy()
        np.testing.assert_allclose(after, expected, atol=1e-5 if filtered else 0)


def test_savgol_keeps_a_parabola() -> None:
    time = torch.arange(40.0)
    x = (3 - 2 * time + 0.1 * time**2)[:, None, None].expand(40, 15, 3).contiguous()
    (y,) = smoothed([x], [True])
    torch.testing.assert_close(y[7:-7], x[7:-7], rtol=1e-5, atol=1e-4)
    assert savgol_kernel(15, 2).sum() == pytest.approx(1, abs=1e-6)


def test_a_part_does_not_know_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU a batch is worked on in parts; their size changes nothing."""
    source, results = recordings(BODIES, LENGTHS), []
    for part in (1, 3, 1000):
        monkeypatch.setattr(bonestrap.augment.pipeline, "PART", part)
        for own_pose in (False, True):
            pipeline = Pipeline(SBU15, ClipConfig(frames=24, own_pose=own_pose), AGGRESSIVE)
            results.append(pipeline(source, generator(5)).joints)
    for a, b in zip(results, results[2:], strict=False):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_shear_is_the_matrix_of_equation_5() -> None:
    pipeline = Pipeline(SBU15, ClipConfig(frames=8), SHEAR_ONLY)
    source = recordings([1], [8])
    # Row X: x' = x + s_X^Y y + s_X^Z z, and so on.
    matrix = torch.tensor([[1, 0.5, 0], [0, 1, 0], [0, -0.25, 1]])
    draw = pipeline.sample(1, generator(0))._replace(matrix=matrix[None])
    sheared = pipeline.apply(source, draw).joints[0, :, :, :3]
    x, y, z = source.frames.unbind(2)
    torch.testing.assert_close(sheared, torch.stack([x + 0.5 * y, y, z - 0.25 * y], 2))
    planar = Pipeline(COCO17, ClipConfig(frames=8), SHEAR_ONLY).sample(1000, generator(0)).matrix
    assert planar.shape == (1000, 2, 2)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("side", [0, 1, 2])
def test_drop_zeroes_the_limbs_of_one_side_and_nothing_else(layout: Layout, side: int) -> None:
    pipeline = Pipeline(layout, ClipConfig(frames=6), (DropLimbs(probability=1.0),))
    source = recordings([2], [6], layout=layout)
    kept = torch.ones(1, len(layout.joints), dtype=torch.bool)
    draws = [pipeline.sample(1, generator(seed)) for seed in range(20)]
    draw = next(draw for draw in draws if sides(draw, layout).item() == side) if side else draws[0]._replace(keep=kept)
    whole = pipeline.apply(source, draw._replace(keep=kept)).joints
    dropped = pipeline.apply(source, draw).joints
    limbs = [j for j in range(len(layout.joints)) if j not in layout.parts["trunk"]]  # an eye has a side and is no limb
    gone = {j for j in limbs if layout.joints[j].startswith(["-", "left_", "right_"][side])}
    for joint in range(len(layout.joints)):
        if joint in gone:
            assert not dropped[:, :, joint].any(), layout.joints[joint]
        else:
            assert torch.equal(dropped[:, :, joint], whole[:, :, joint]), layout.joints[joint]


def test_bodies_of_a_clip_share_the_draw() -> None:
    source = recordings([1, 2], [20, 20])
    frames = source.frames.clone()
    frames[40:] = frames[20:40]  # the second person does what the first does
    pipeline = Pipeline(SBU15, ClipConfig(frames=16), AGGRESSIVE)
    for seed in range(20):
        joints = pipeline(source._replace(frames=frames), generator(seed)).joints
        assert torch.equal(joints[1], joints[2])


# ---------------------------------------------------------------------- draws


def test_draws_have_the_stated_probabilities_and_ranges() -> None:
    count = 20_000
    pipeline = Pipeline(SBU15, ClipConfig(frames=150), AGGRESSIVE)
    draw = pipeline.sample(count, generator(0))

    def uniform(x: Tensor, low: float, high: float) -> None:
        """Kolmogorov and Smirnov: the largest distance of the distribution function, at a significance of 1e-6."""
        x = (x.double().flatten().sort().values - low) / (high - low)
        assert x[0] >= 0 and x[-1] <= 1
        steps = torch.arange(1, len(x) + 1) / len(x)
        assert (x - steps).abs().max() < 2.7 / len(x) ** 0.5

    uniform(draw.rate, 0.7, 1.3)
    uniform(draw.offset, 0, 1)
    uniform(draw.begin, 0, 1)
    off_diagonal = draw.matrix[:, ~torch.eye(3, dtype=torch.bool)]
    for factor in off_diagonal.T:
        uniform(factor, -1, 1)
    assert (draw.matrix.diagonal(dim1=1, dim2=2) == 1).all()
    assert draw.smooth.float().mean() == pytest.approx(0.5, abs=0.02)
    side = sides(draw, SBU15)
    fractions = torch.bincount(side, minlength=3) / count
    assert fractions.tolist() == pytest.approx([0.5, 0.25, 0.25], abs=0.02)
    # None follows from another: what is drawn is uncorrelated.
    columns = [draw.rate, draw.offset, draw.begin, draw.smooth, side > 0, side == 1, *off_diagonal.T]
    table = torch.stack([column.double() for column in columns])
    correlation = torch.corrcoef(table).fill_diagonal_(0)
    correlation[4, 5] = correlation[5, 4] = 0  # a dropped left side is a dropped side
    assert correlation.abs().max() < 0.04
    sided = side[side > 0]
    assert (sided == 1).float().mean() == pytest.approx(0.5, abs=0.02)


def test_the_offset_reaches_every_frame() -> None:
    pipeline = Pipeline(SBU15, ClipConfig(frames=10), (Shift(),))
    draw = pipeline.sample(3000, generator(0))
    first = pipeline.warp(torch.full((3000,), 10), draw)[:, 0].long()
    counts = torch.bincount(first, minlength=10)
    assert len(counts) == 10 and counts.min() > 200


def test_a_crop_reaches_every_place_and_lies_in_the_middle_otherwise() -> None:
    pipeline = Pipeline(SBU15, ClipConfig(frames=10), (Crop(),))
    first = pipeline.warp(torch.full((3000,), 15), pipeline.sample(3000, generator(0)))[:, 0].long()
    counts = torch.bincount(first, minlength=6)
    assert len(counts) == 6 and counts.min() > 350
    middle = Pipeline(SBU15, ClipConfig(frames=10))
    assert middle.warp(torch.tensor([14]), middle.sample(1))[0].tolist() == list(range(2, 12))


def test_draws_are_a_function_of_the_seed_alone() -> None:
    source, other = recordings(BODIES, LENGTHS), recordings([2, 2, 1, 1, 1, 1], [30, 4, 4, 9, 9, 12], seed=1)
    pipeline = Pipeline(SBU15, ClipConfig(frames=16), AGGRESSIVE)
    first = pipeline(source, generator(7)).joints
    torch.manual_seed(123)  # whatever ran before, on the same generator state of the process or another
    torch.rand(17)
    pipeline(other, generator(8))
    assert torch.equal(pipeline(source, generator(7)).joints, first)
    state = torch.get_rng_state()
    pipeline(source, generator(7))
    assert torch.equal(torch.get_rng_state(), state)  # nor does it disturb others
    draws = {tuple(pipeline.sample(4, generator(seed)).rate.tolist()) for seed in range(50)}
    assert len(draws) == 50
    # Draws do not depend on the recordings: only on how many there are.
    a, b = (pipeline.sample(s.size, generator(7)) for s in (source, other))
    assert all(torch.equal(x, y) for x, y in zip(a[:-1], b[:-1], strict=True))


OFF: dict[str, tuple[Operation, str]] = {
    "resample": (Resample(rate=(1.0, 1.0)), "rate"),
    "crop": (Crop(anywhere=False), "begin"),
    "smooth": (Smooth(probability=0.0), "smooth"),
    "shear": (Shear(limit=0.0), "matrix"),
    "shift": (Shift(limit=0.0), "offset"),
    "drop": (DropLimbs(probability=0.0), "keep"),
}


@pytest.mark.parametrize(("operation", "field"), OFF.values(), ids=OFF)
def test_switching_one_off_moves_no_other_draw(operation: Operation, field: str) -> None:
    clip = ClipConfig(frames=16)
    source = generator(3), generator(3)
    every = Pipeline(SBU15, clip, AGGRESSIVE).sample(50, source[0])
    without = Pipeline(SBU15, clip, replaced(AGGRESSIVE, operation)).sample(50, source[1])
    for name in Draw._fields[:-1]:
        assert torch.equal(getattr(every, name), getattr(without, name)) == (name != field), name
    assert torch.equal(source[0].get_state(), source[1].get_state())  # what is drawn next stays as well
    plain = Pipeline(SBU15, clip, PLAIN).sample(50)
    assert torch.equal(getattr(without, field), getattr(plain, field))


# ---------------------------------------------------------------------- lengths


@pytest.mark.parametrize("length", [1, 2, 5, 24, 25, 31, 400])
def test_fit_spreads_the_frames_over_the_whole_recording(length: int) -> None:
    pipeline = Pipeline(SBU15, ClipConfig(frames=24, fit=True))
    position = pipeline.warp(torch.tensor([length]), pipeline.sample(1))[0]
    torch.testing.assert_close(position, torch.linspace(0, length - 1, 24), rtol=1e-5, atol=1e-5)


def test_plain_is_deterministic_and_changes_nothing() -> None:
    source = recordings([1], [24])
    pipeline = Pipeline(SBU15, ClipConfig(frames=24), PLAIN)
    one, two = (pipeline(source).joints for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[0, ..., :3], source.frames)
    repeated = pipeline(recordings([1], [10])).joints[0]
    assert torch.equal(repeated, torch.cat([repeated[:10]] * 3)[:24])


def test_every_body_may_stand_in_its_own_pose() -> None:
    source = recordings(BODIES, LENGTHS, seed=4)
    posed = source.frames.clone()
    for n in range(len(source.owner)):
        x = body(source, n)
        spine = x[0, SBU15.spine[1]] - x[0, SBU15.spine[0]]
        shoulders = x[0, SBU15.shoulders[0]] - x[0, SBU15.shoulders[1]]
        turn, _ = Rotation.align_vectors([[0, 0, 1], [1, 0, 0]], [spine, shoulders], weights=[np.inf, 1])
        x = (x - x[0, SBU15.root]) @ turn.as_matrix().T
        posed[int(source.start[n]) :][: len(x)] = torch.from_numpy(x).float()
    for augment in (PLAIN, AGGRESSIVE):
        pipelines = [Pipeline(SBU15, ClipConfig(frames=24, own_pose=own), augment) for own in (True, False)]
        found, expected = pipelines[0](source, generator(1)), pipelines[1](source._replace(frames=posed), generator(1))
        torch.testing.assert_close(found.joints, expected.joints, rtol=0, atol=2e-5)
        assert not torch.allclose(found.joints, pipelines[1](source, generator(1)).joints, atol=0.1)


@pytest.mark.parametrize("fit", [False, True])
def test_recordings_of_one_frame(fit: bool) -> None:
    source = recordings([1, 2], [1, 1])
    for augment in (PLAIN, CONSERVATIVE, AGGRESSIVE):
        joints = Pipeline(SBU15, ClipConfig(frames=16, fit=fit), augment)(source, generator(0)).joints
        assert joints.isfinite().all()
        torch.testing.assert_close(joints, joints[:, :1].expand_as(joints), rtol=1e-5, atol=1e-6)


def test_half_precision_frames_are_worked_on_in_single() -> None:
    source = recordings(BODIES, LENGTHS)
    half = source._replace(frames=source.frames.half())
    pipeline = Pipeline(SBU15, ClipConfig(frames=16), AGGRESSIVE)
    expected = pipeline(source._replace(frames=half.frames.float()), generator(1)).joints
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pipeline(half, generator(1)).joints, expected)


def test_only_a_recordings_own_rows_are_read() -> None:
    source = recordings([1, 1], [5, 9])
    padded = torch.full((len(source.frames) + 40, 15, 3), torch.nan)
    padded[10:15], padded[30:39] = source.frames[:5], source.frames[5:]
    elsewhere = source._replace(frames=padded, start=torch.tensor([10, 30]))
    pipeline = Pipeline(SBU15, ClipConfig(frames=16), AGGRESSIVE)
    for seed in range(5):
        assert torch.equal(pipeline(elsewhere, generator(seed)).joints, pipeline(source, generator(seed)).joints)


def test_a_planar_body_may_stand_in_its_own_pose() -> None:
    source = recordings(BODIES, LENGTHS, seed=4, layout=SCORED)
    posed = source.frames.clone()
    for n in range(len(source.owner)):
        x = body(source, n)
        lower, upper = (x[:, list(points(end)), :2].mean(1) for end in SCORED.spine)
        x[..., :2] = (x[..., :2] - lower[0]) / np.sort(np.linalg.norm(upper - lower, axis=1))[(len(x) - 1) // 2]
        posed[int(source.start[n]) :][: len(x)] = torch.from_numpy(x).float()
    for augment in (PLAIN, AGGRESSIVE):
        pipelines = [Pipeline(SCORED, ClipConfig(frames=24, own_pose=own), augment) for own in (True, False)]
        found, expected = pipelines[0](source, generator(1)), pipelines[1](source._replace(frames=posed), generator(1))
        torch.testing.assert_close(found.joints, expected.joints, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(found.joints, pipelines[1](source, generator(1)).joints, atol=0.1)


IMPOSSIBLE: list[tuple[Callable[[], object], str]] = [
    (lambda: ClipConfig(frames=1), r"frames must lie in \[2, 10000\]"),
    (lambda: Resample(rate=(1.3, 0.7)), "ascending"),
    (lambda: Resample(rate=(0.0, 0.7)), "rate must lie in"),
    (lambda: Shear(limit=-1.0), "limit must lie in"),
    (lambda: Smooth(probability=1.1), "probability must lie in"),
    (lambda: DropLimbs(probability=-0.1), "probability must lie in"),
]


@pytest.mark.parametrize(("build", "said"), IMPOSSIBLE)
def test_impossible_settings_are_refused(build: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        build()


def test_own_pose_frees_a_body_from_where_it_stands() -> None:
    """A rigid motion of one body of a clip changes nothing with `own_pose`, and that body's joints without it."""
    source = recordings([2, 1], [20, 31])
    turned = source.frames.clone()
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=generator(3))).Q
    rotation *= torch.linalg.det(rotation)
    rows = slice(int(source.start[1]), int(source.start[1] + source.length[1]))
    turned[rows] = turned[rows] @ rotation.T + torch.tensor([1.0, -2.0, 0.5])
    moved = source._replace(frames=turned)
    for own_pose in (True, False):
        pipeline = Pipeline(SBU15, ClipConfig(frames=16, own_pose=own_pose))
        before, after = pipeline(source).joints, pipeline(moved).joints
        torch.testing.assert_close(before[0], after[0], rtol=1e-4, atol=1e-4)
        assert torch.allclose(before[1], after[1], rtol=1e-3, atol=1e-3) == own_pose
