"""The compiled kernel makes the clips that torch makes of the same draw, whatever the layout, types and lengths."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

import bonestrap.augment
from bonestrap.augment import (
    AGGRESSIVE,
    CONSERVATIVE,
    PLAIN,
    ClipConfig,
    Crop,
    DropLimbs,
    Resample,
    Shear,
    Shift,
    Smooth,
    View,
    fused,
)
from bonestrap.augment.operation import Draw
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, NTU25, SBU15
from tests.bonestrap.tiny import recordings

numba = pytest.importorskip("numba")

BODIES = [1, 2, 1, 1, 2, 1, 1, 1]
LENGTHS = [1, 9, 20, 47, 31, 2, 15, 110]  # of a frame, shorter and longer than the filter and than a clip
SCORED = dataclasses.replace(COCO17, confidence=True)
SINGLE = {
    "plain": PLAIN,
    "resample": (Resample(rate=(0.5, 2.0)),),
    "crop": (Crop(),),
    "smooth": (Smooth(),),
    "shear": (Shear(),),
    "shift": (Shift(),),
    "drop": (DropLimbs(probability=0.9),),
    "conservative": CONSERVATIVE,
    "aggressive": AGGRESSIVE,
}


def drawn(pipeline: Pipeline, source: Recordings, seed: int) -> Draw:
    return pipeline.sample(source.size, torch.Generator().manual_seed(seed))


def in_torch(pipeline: Pipeline, source: Recordings, draw: Draw) -> torch.Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "kernel", lambda: None)
        return pipeline.apply(source, draw).joints


@pytest.mark.parametrize("own_pose", [False, True], ids=["", "own_pose"])
@pytest.mark.parametrize("fit", [False, True], ids=["", "fit"])
@pytest.mark.parametrize("augment", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("layout", [NTU25, COCO17, SCORED], ids=["ntu25", "plane", "confidence"])
def test_the_clips_of_torch(layout: Layout, augment: View, fit: bool, own_pose: bool) -> None:
    source = recordings(BODIES, LENGTHS, seed=3, layout=layout)
    half = source._replace(frames=source.frames.half())
    for frames in (24, 70):
        pipeline = Pipeline(layout, ClipConfig(frames=frames, fit=fit, own_pose=own_pose), augment)
        for seed, given in enumerate((source, half, source, half)):
            draw = drawn(pipeline, source, seed)
            found = pipeline.apply(given, draw).joints
            torch.testing.assert_close(found, in_torch(pipeline, given, draw), rtol=1e-6, atol=3e-6)


def test_the_kernel_is_what_a_cpu_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    monkeypatch.setattr(fused, "kernel", lambda: lambda out, *_: calls.append(out.shape))
    Pipeline(SBU15, ClipConfig(frames=24), AGGRESSIVE)(recordings(BODIES, LENGTHS))
    assert calls == [(10, 24, 15, 6)]


def test_every_half_precision_number_is_read_as_torch_reads_it() -> None:
    numbers = torch.arange(2**16).to(torch.int32).to(torch.uint16).view(torch.float16)
    frames = torch.cat((numbers, numbers[:14])).view(-1, 25, 3)
    one = torch.ones(len(frames), dtype=torch.int64)
    source = Recordings(frames, one.cumsum(0) - 1, one, one.cumsum(0) - 1, len(frames))
    pipeline = Pipeline(NTU25, ClipConfig(frames=2))
    draw = drawn(pipeline, source, 0)
    found = pipeline.apply(source, draw).joints
    torch.testing.assert_close(found, in_torch(pipeline, source, draw), rtol=0, atol=0, equal_nan=True)
    finite = frames.isfinite()
    assert torch.equal(found[:, 0, :, :3][finite], frames.float()[finite])


@pytest.mark.parametrize("own_pose", [False, True])
def test_a_body_does_not_know_the_others(own_pose: bool) -> None:
    source = recordings(BODIES, LENGTHS)
    pipeline = Pipeline(SBU15, ClipConfig(frames=24, own_pose=own_pose), AGGRESSIVE)
    for seed in range(5):
        draw = drawn(pipeline, source, seed)
        together = pipeline.apply(source, draw).joints
        for n in torch.randperm(len(source.owner), generator=torch.Generator().manual_seed(seed)).tolist():
            one, owner = slice(n, n + 1), source.owner[n : n + 1]
            body = source._replace(start=source.start[one], length=source.length[one], owner=owner)
            assert torch.equal(pipeline.apply(body, draw).joints[0], together[n])


@pytest.mark.parametrize(
    "given",
    [
        lambda frames: frames.double(),
        lambda frames: frames.bfloat16(),
        lambda frames: frames.movedim(0, 2).contiguous().movedim(2, 0),
        lambda frames: frames.half().repeat_interleave(2, 0)[::2],
        lambda frames: frames.clone().requires_grad_(),
    ],
    ids=["float64", "bfloat16", "strides", "stride of float16", "gradient"],
)
def test_frames_of_any_type_and_strides(given: Callable[[torch.Tensor], torch.Tensor]) -> None:
    source = recordings(BODIES, LENGTHS)
    frames = given(source.frames)
    pipeline = Pipeline(SBU15, ClipConfig(frames=24), AGGRESSIVE)
    draw = drawn(pipeline, source, 0)
    plain = source._replace(frames=frames.detach().float().contiguous())
    found = pipeline.apply(source._replace(frames=frames), draw).joints
    assert torch.equal(found, pipeline.apply(plain, draw).joints) and not found.requires_grad


def test_the_recordings_stay_as_they_are() -> None:
    source = recordings(BODIES, LENGTHS)
    before = source.frames.clone()
    for own_pose in (False, True):
        Pipeline(SBU15, ClipConfig(frames=24, own_pose=own_pose), AGGRESSIVE)(source)
    assert torch.equal(source.frames, before)


@pytest.mark.parametrize(("field", "value"), [("start", -1), ("start", 10**6), ("length", 0), ("length", 10**6)])
def test_no_row_is_read_that_is_not_there(field: str, value: int) -> None:
    source = recordings([1, 1], [5, 9])
    wrong = Recordings(**(source._asdict() | {field: torch.tensor([0, value])}))
    with pytest.raises(IndexError, match="outside"):
        Pipeline(SBU15, ClipConfig(frames=8))(wrong)


@pytest.mark.parametrize("own_pose", [False, True])
@pytest.mark.parametrize("layout", [SBU15, COCO17, SCORED], ids=["space", "plane", "confidence"])
def test_frames_of_another_layout_are_refused(layout: Layout, own_pose: bool) -> None:
    source = recordings([1, 1], [5, 9], layout=layout)
    pipeline = Pipeline(layout, ClipConfig(frames=8, own_pose=own_pose))
    joints, numbers = source.frames.shape[1:]
    for shape in ((joints, numbers + 1), (joints, numbers - 1), (joints + 1, numbers), (numbers, joints)):
        for kind in (torch.float32, torch.float16, torch.float64):
            wrong = source._replace(frames=torch.zeros(14, *shape, dtype=kind))
            with pytest.raises(ValueError, match=f"needs frames of {joints} joints x {numbers} numbers, got"):
                pipeline(wrong)
    with pytest.raises(ValueError, match="needs frames of"):
        pipeline(source._replace(frames=source.frames.flatten(1)))


WRONG_DRAWS: dict[str, tuple[str, torch.Tensor]] = {
    "matrix of a plane": ("matrix", torch.eye(2).repeat(2, 1, 1)),
    "joints of another layout": ("keep", torch.ones(2, 14, dtype=torch.bool)),
    "a column": ("smooth", torch.ones(2, 1, dtype=torch.bool)),
    "a rate of zero": ("rate", torch.tensor([1.0, 0.0])),
    "no rate": ("rate", torch.tensor([1.0, torch.nan])),
    "before the recording": ("begin", torch.tensor([-40.0, 0.5])),
    "no place": ("begin", torch.tensor([torch.nan, 0.5])),
}


@pytest.mark.parametrize(("field", "value"), WRONG_DRAWS.values(), ids=WRONG_DRAWS)
def test_a_draw_that_no_memory_holds_is_refused(field: str, value: torch.Tensor) -> None:
    """An operation of one's own may write anything into a draw."""
    source = recordings([1, 1], [5, 9])
    pipeline = Pipeline(SBU15, ClipConfig(frames=8))
    with pytest.raises(ValueError, match=f"an operation drew .*{field}"):
        pipeline.apply(source, pipeline.sample(2)._replace(**{field: value}))  # type: ignore[arg-type]


def test_no_body_makes_no_clip() -> None:
    source = recordings([1], [5])
    none = source._replace(start=source.start[:0], length=source.length[:0], owner=source.owner[:0])
    for own_pose in (False, True):
        assert Pipeline(SBU15, ClipConfig(frames=8, own_pose=own_pose))(none).joints.shape == (0, 8, 15, 6)


# ---------------------------------------------------------------------- without numba


WITHOUT = """
import sys
import bonestrap, bonestrap.augment, bonestrap.augment.fused
assert "numba" not in sys.modules, "an optional library is imported where it is used"
sys.modules["numba"] = None
import torch
from bonestrap.augment import AGGRESSIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from tests.bonestrap.tiny import LAYOUT, recordings
assert bonestrap.augment.fused.kernel() is None
pipeline = Pipeline(LAYOUT, ClipConfig(frames=24), AGGRESSIVE)
clips = pipeline(recordings([1, 2], [9, 40]), torch.Generator().manual_seed(1))
torch.save(clips.joints, sys.argv[1])
"""


def test_without_numba_torch_makes_them(tmp_path: Any) -> None:
    file = tmp_path / "clips.pt"
    root = str(bonestrap.augment.__file__).rpartition("bonestrap")[0]
    subprocess.run([sys.executable, "-c", WITHOUT, file], cwd=root, env=os.environ | {"PYTHONPATH": root}, check=True)
    pipeline = Pipeline(SBU15, ClipConfig(frames=24), AGGRESSIVE)
    here = pipeline(recordings([1, 2], [9, 40]), torch.Generator().manual_seed(1)).joints
    torch.testing.assert_close(torch.load(file, weights_only=True), here, rtol=1e-6, atol=3e-6)


def test_where_nothing_can_be_cached_the_kernel_is_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def njit(nogil: bool, cache: bool = False) -> Callable[[Any], Any]:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function 'fill': no locator available")
        return lambda function: function

    monkeypatch.setattr(numba, "njit", njit)
    assert fused.kernel.__wrapped__() is fused.fill
    assert asked == [True, False]
