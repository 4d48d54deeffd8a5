"""The operations beyond the published pipelines, against a plain loop over clips, frames and joints in numpy."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from bonestrap.augment import (
    AGGRESSIVE,
    ClipConfig,
    Crop,
    DropLimbs,
    Jitter,
    MaskJoints,
    MaskPart,
    Mirror,
    Noise,
    Operation,
    RandomFrames,
    Resample,
    Reverse,
    Rotate,
    Scale,
    Shift,
    Smooth,
    View,
    Window,
    fused,
)
from bonestrap.augment.operation import Draw
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, LAYOUTS, NTU25, SBU15
from tests.bonestrap.tiny import BODIES, LENGTHS, generator, recordings

SIZE, SEED, FRAMES = 40, 7, 24
SCORED = dataclasses.replace(COCO17, confidence=True)
CLIP = ClipConfig(frames=FRAMES, fit=True)


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(fused, "kernel", lambda: None)
    else:
        pytest.importorskip("numba")


def drawn(operation: Operation, layout: Layout = SBU15) -> Draw:
    return Pipeline(layout, CLIP, (operation,)).sample(SIZE, generator(SEED))


# ---------------------------------------------------------------------- what each one draws


@pytest.mark.parametrize("layout", [NTU25, COCO17], ids=["space", "plane"])
def test_rotation(layout: Layout) -> None:
    found = drawn(Rotate(yaw=50, pitch=10, roll=30), layout).matrix.double().numpy()
    for clip, u in enumerate(torch.rand(SIZE, 1 if layout is COCO17 else 3, generator=generator(SEED)).tolist()):
        if layout is COCO17:
            expected = Rotation.from_euler("z", (2 * u[0] - 1) * 30, degrees=True).as_matrix()[:2, :2]
        else:
            pitch, roll, yaw = ((2 * part - 1) * limit for part, limit in zip(u, (10, 30, 50), strict=True))
            expected = Rotation.from_euler("xyz", (pitch, roll, yaw), degrees=True).as_matrix()
        np.testing.assert_allclose(found[clip], expected, atol=1e-6)


def test_scale_mirror_and_rotation_are_applied_one_after_the_other() -> None:
    source = generator(SEED)
    factor = torch.rand(SIZE, generator=source).double().numpy() * 1.5 + 0.5
    mirrored = torch.rand(SIZE, generator=source).double().numpy() < 0.4
    angle = torch.rand(SIZE, 3, generator=source).double().numpy() * 180 - 90
    view = (Scale(factor=(0.5, 2.0)), Mirror(probability=0.4), Rotate(yaw=90, pitch=0, roll=0))
    draw = Pipeline(SBU15, CLIP, view).sample(SIZE, generator(SEED))
    assert draw.mirror.tolist() == mirrored.tolist() and 0 < mirrored.sum() < SIZE
    for clip in range(SIZE):
        flip = np.diag([-1.0 if mirrored[clip] else 1.0, 1, 1])
        turn = Rotation.from_euler("z", angle[clip, 2], degrees=True).as_matrix()
        np.testing.assert_allclose(draw.matrix[clip], turn @ flip * factor[clip], atol=1e-6)


def test_two_mirrors_leave_everything() -> None:
    draw = Pipeline(SBU15, CLIP, (Mirror(probability=1.0), Mirror(probability=1.0))).sample(3)
    assert not draw.mirror.any() and torch.equal(draw.matrix, torch.eye(3).repeat(3, 1, 1))


def test_jitter_draws_a_vector_of_each_joint() -> None:
    vectors = torch.randn(SIZE, 15, 3, generator=generator(SEED)).double().numpy()
    np.testing.assert_allclose(drawn(Jitter(std=0.3)).displacement, 0.3 * vectors, rtol=1e-6)


@pytest.mark.parametrize("layout", [SBU15, NTU25, COCO17], ids=lambda layout: layout.name)
def test_masks(layout: Layout) -> None:
    u = torch.rand(SIZE, len(layout.joints), generator=generator(SEED)).double().numpy()
    assert drawn(MaskJoints(probability=0.2), layout).keep.tolist() == (u >= 0.2).tolist()
    source, parts = generator(SEED), list(layout.parts.values())
    chosen, which = (torch.rand(SIZE, generator=source).double().numpy() for _ in range(2))
    keep = drawn(MaskPart(probability=0.7), layout).keep
    for clip in range(SIZE):
        gone = set(parts[int(which[clip] * len(parts))]) if chosen[clip] < 0.7 else set()
        assert {joint for joint in range(len(layout.joints)) if not keep[clip, joint]} == gone


def test_random_frames_ascend() -> None:
    u = np.sort(torch.rand(SIZE, FRAMES, generator=generator(SEED)).double().numpy(), 1)
    np.testing.assert_allclose(drawn(RandomFrames()).times, u, rtol=1e-6)
    grid = np.linspace(0, 1, FRAMES)
    np.testing.assert_allclose(drawn(RandomFrames(randomness=0.25)).times, 0.75 * grid + 0.25 * u, rtol=1e-5, atol=1e-6)


OFF: dict[str, Operation] = {
    "rotate": Rotate(yaw=0.0, pitch=0.0, roll=0.0),
    "scale": Scale(factor=(1.0, 1.0)),
    "mirror": Mirror(probability=0.0),
    "jitter": Jitter(std=0.0),
    "mask": MaskJoints(probability=0.0),
    "part": MaskPart(probability=0.0),
    "window": Window(fraction=(1.0, 1.0)),
    "frames": RandomFrames(randomness=0.0),
    "noise": Noise(std=0.0),
    "reverse": Reverse(probability=0.0),
}


@pytest.mark.parametrize("operation", OFF.values(), ids=OFF)
def test_of_strength_zero_an_operation_draws_and_changes_nothing(operation: Operation) -> None:
    source = recordings(BODIES, LENGTHS)
    clips = Pipeline(SBU15, CLIP, (operation,))(source, generator(0)).joints
    torch.testing.assert_close(clips, Pipeline(SBU15, CLIP)(source).joints, rtol=0, atol=2e-6)
    states = [generator(3), generator(3)]
    for state, strength in zip(states, (operation, type(operation)()), strict=True):
        Pipeline(SBU15, CLIP, (strength,)).sample(9, state)
    assert torch.equal(states[0].get_state(), states[1].get_state())
    assert not torch.equal(states[0].get_state(), generator(3).get_state())


@pytest.mark.parametrize(
    "wrong", [lambda: Scale(factor=(2.0, 1.0)), lambda: Window(fraction=(0.9, 0.1)), lambda: Resample(rate=(2.0, 1.0))]
)
def test_a_descending_range_is_refused(wrong: type) -> None:
    with pytest.raises(ValueError, match=r"(factor|fraction|rate) must be an ascending range"):
        wrong()


# ---------------------------------------------------------------------- what they do to a clip


def reference(source: Recordings, draw: Draw, layout: Layout, clip: ClipConfig) -> np.ndarray:
    """One body, one frame and one joint at a time, (N, T, V, channels); without smoothing and rates."""
    axes, joints = layout.coordinates, len(layout.joints)
    counterpart = {joint: joint for joint in range(joints)}
    for left, right in layout.sides:
        counterpart |= {left: right, right: left}
    out = np.zeros((len(source.owner), clip.frames, joints, layout.channels))
    for n, owner in enumerate(source.owner.tolist()):
        fields = draw._asdict() | {"extra": None}
        field = {name: x[owner].double().numpy() for name, x in fields.items() if x is not None}
        x = source.frames[int(source.start[n]) :][: int(source.length[n])].double().numpy()
        fraction, place, least = field["window"]
        length = min(max(int(np.float32(len(x)) * np.float32(fraction)), int(least), 1), len(x))
        begin = min(int(place * (len(x) - length + 1)), len(x) - length)
        x = x[begin : begin + length]
        shift = int(float(field["offset"]) * clip.frames)
        for t in range(clip.frames):
            index = (t + shift) % clip.frames
            moment = field["times"][index] if len(field["times"]) else index / (clip.frames - 1)
            low = min(int(moment * (length - 1)), length - 1)
            part = moment * (length - 1) - low
            frame = (1 - part) * x[low] + part * x[min(low + 1, length - 1)]
            if field["mirror"]:
                frame = np.stack([frame[counterpart[joint]] for joint in range(joints)])
            points = np.stack([field["matrix"] @ joint[:axes] for joint in frame]) + field["displacement"]
            for joint, parent in enumerate(layout.parents):
                if field["keep"][joint]:
                    out[n, t, joint, :axes] = points[joint]
                    out[n, t, joint, 2 * axes :] = frame[joint, axes:]
                if field["keep"][joint] and field["keep"][parent]:
                    out[n, t, joint, axes : 2 * axes] = points[joint] - points[parent]
    return out


EACH: dict[str, View] = {
    "rotate": (Rotate(),),
    "scale": (Scale(),),
    "mirror": (Mirror(),),
    "jitter": (Jitter(std=0.2),),
    "mask": (MaskJoints(probability=0.3),),
    "part": (MaskPart(),),
    "window": (Window(fraction=(0.1, 0.7)),),
    "window of some frames": (Window(fraction=(0.1, 0.7), frames=8),),
    "frames": (RandomFrames(),),
    "everything": (
        *(Window(), RandomFrames(randomness=0.8), Shift(), Rotate(), Mirror(), Scale(), Jitter()),
        *(MaskJoints(), MaskPart(), DropLimbs()),
    ),
}


@pytest.mark.parametrize("view", EACH.values(), ids=EACH)
@pytest.mark.parametrize("layout", [SBU15, NTU25, SCORED], ids=["sbu15", "ntu25", "confidence"])
def test_against_one_joint_at_a_time(layout: Layout, view: View, way: None) -> None:
    source = recordings(BODIES, LENGTHS, seed=3, layout=layout)
    pipeline = Pipeline(layout, CLIP, view)
    for seed in range(3):
        draw = pipeline.sample(source.size, generator(seed))
        found = pipeline.apply(source, draw).joints
        np.testing.assert_allclose(found, reference(source, draw, layout, CLIP), atol=3e-5)


@pytest.mark.parametrize("own_pose", [False, True], ids=["", "own_pose"])
@pytest.mark.parametrize("fit", [False, True], ids=["", "fit"])
@pytest.mark.parametrize("layout", [NTU25, SCORED], ids=["ntu25", "confidence"])
def test_the_kernel_makes_the_clips_of_torch(layout: Layout, fit: bool, own_pose: bool) -> None:
    pytest.importorskip("numba")
    source = recordings(BODIES, LENGTHS, seed=3, layout=layout)
    source = source._replace(frames=source.frames.half())
    clip = ClipConfig(frames=FRAMES, fit=fit, own_pose=own_pose)
    for seed, view in enumerate(
        ((*AGGRESSIVE, *EACH["everything"]), (Resample(), Crop(), Window(), Smooth(), Mirror()))
    ):
        pipeline = Pipeline(layout, clip, view)
        draw = pipeline.sample(source.size, generator(seed))
        found = pipeline.apply(source, draw).joints
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fused, "kernel", lambda: None)
            torch.testing.assert_close(found, pipeline.apply(source, draw).joints, rtol=1e-5, atol=1e-5)


def test_a_mirrored_body_is_the_mirror_image(way: None) -> None:
    """Of a symmetric body nothing changes, and what the right hand does the left hand did."""
    source = recordings([1], [30], layout=NTU25)
    left, right = NTU25.joints.index("left_hand"), NTU25.joints.index("right_hand")
    plain = Pipeline(NTU25, CLIP)(source).joints[0]
    found = Pipeline(NTU25, CLIP, (Mirror(probability=1.0),))(source).joints[0]
    sign = torch.tensor([-1.0, 1, 1] * 2)
    torch.testing.assert_close(found[:, right], plain[:, left] * sign)
    torch.testing.assert_close(found[:, 0], plain[:, 0] * sign)  # the hip centre has no counterpart


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_a_dropped_limb_ends_in_no_bone_that_is_kept(layout: Layout) -> None:
    """So the rule that hides a hidden joint's bones changes nothing in the published left/right drop."""
    for side in (layout.left, layout.right):
        assert {child for child, parent in layout.bones if parent in side} <= set(side)


@pytest.mark.parametrize("layout", [NTU25, SCORED], ids=["space", "confidence"])
def test_noise_and_reversal(layout: Layout) -> None:
    """Frame by frame: joints move, bones follow, a confidence and what is hidden stay; then the frames turn round."""
    source, axes = recordings(BODIES, LENGTHS, seed=3, layout=layout), layout.coordinates
    hide, random = MaskJoints(probability=0.3), generator(4)
    pipeline = Pipeline(layout, CLIP, (hide, Noise(std=0.2), Reverse(probability=0.5)))
    draw = pipeline.sample(source.size, generator(4))
    shape = source.size, FRAMES, len(layout.joints), axes
    keep = torch.rand(shape[0], shape[2], generator=random).numpy() >= 0.3
    moves = torch.randn(shape, generator=random).double().numpy() * 0.2
    backwards = torch.rand(shape[0], generator=random).numpy() < 0.5
    assert backwards.any() and not backwards.all()
    plain = Pipeline(layout, CLIP, (hide,)).apply(source, draw._replace(extra=())).joints.double().numpy()
    found = pipeline.apply(source, draw).joints.numpy()
    for body, clip in enumerate(source.owner.tolist()):
        expected = plain[body].copy()
        for t, joint in np.ndindex(shape[1:3]):
            parent = layout.parents[joint]
            if keep[clip, joint]:
                expected[t, joint, :axes] += moves[clip, t, joint]
                if keep[clip, parent]:
                    expected[t, joint, axes : 2 * axes] += moves[clip, t, joint] - moves[clip, t, parent]
        np.testing.assert_allclose(found[body], expected[::-1] if backwards[clip] else expected, atol=1e-5)


WRONG: dict[str, tuple[str, torch.Tensor]] = {
    "times that descend": ("times", torch.linspace(1, 0, FRAMES).repeat(2, 1)),
    "times after the end": ("times", torch.linspace(0, 1.5, FRAMES).repeat(2, 1)),
    "times of another clip": ("times", torch.linspace(0, 1, FRAMES + 1).repeat(2, 1)),
    "displaced axes": ("displacement", torch.zeros(2, 15, 2)),
    "a mirror a joint": ("mirror", torch.zeros(2, 15, dtype=torch.bool)),
}


@pytest.mark.parametrize(("field", "value"), WRONG.values(), ids=WRONG)
def test_a_draw_beside_the_arrays_is_refused(field: str, value: torch.Tensor) -> None:
    pytest.importorskip("numba")
    source = recordings([1, 1], [5, 9])
    pipeline = Pipeline(SBU15, CLIP)
    with pytest.raises(ValueError, match=f"an operation drew .*{field}"):
        pipeline.apply(source, pipeline.sample(2)._replace(**{field: value}))  # type: ignore[arg-type]
