"""What each operation draws, in closed form from the same random numbers; and operations of the test's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from bonestrap.augment import (
    AGGRESSIVE,
    ClipConfig,
    Crop,
    DropLimbs,
    Finishing,
    Operation,
    Resample,
    Shear,
    Shift,
    Smooth,
    View,
    fused,
)
from bonestrap.augment.operation import Draw, Random
from bonestrap.augment.pipeline import Pipeline
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, NTU25, SBU15
from tests.bonestrap.tiny import BODIES, LENGTHS, generator, recordings

SIZE, SEED = 50, 11


def drawn(operation: Operation, layout: Layout = SBU15) -> Draw:
    return Pipeline(layout, ClipConfig(frames=8), (operation,)).sample(SIZE, generator(SEED))


def numbers(*shape: int) -> np.ndarray:
    """The first random numbers of the same generator, (SIZE, *shape)."""
    return torch.rand(SIZE, *shape, generator=generator(SEED)).double().numpy()


def pairs() -> tuple[np.ndarray, np.ndarray]:
    """The first and the second random number of every clip where an operation draws twice."""
    source = generator(SEED)
    first, second = (torch.rand(SIZE, generator=source).double().numpy() for _ in range(2))
    return first, second


def test_no_operation_leaves_everything() -> None:
    draw = Pipeline(SBU15, ClipConfig(frames=8)).sample(3)
    assert draw.rate.tolist() == [1.0] * 3 and draw.offset.tolist() == [0.0] * 3 and draw.begin.tolist() == [0.5] * 3
    assert not draw.smooth.any() and draw.keep.all() and draw.extra == ()
    assert torch.equal(draw.matrix, torch.eye(3).repeat(3, 1, 1))


def test_one_number_of_each_clip() -> None:
    u = numbers()
    np.testing.assert_allclose(drawn(Resample(rate=(0.5, 2.0))).rate, 0.5 + 1.5 * u, rtol=1e-6)
    np.testing.assert_allclose(drawn(Shift(limit=0.25)).offset, 0.25 * u, rtol=1e-6)
    np.testing.assert_allclose(drawn(Crop()).begin, u, rtol=1e-6)
    assert drawn(Crop(anywhere=False)).begin.tolist() == [0.5] * SIZE
    assert drawn(Smooth(probability=0.3)).smooth.tolist() == (u < 0.3).tolist()


@pytest.mark.parametrize("layout", [NTU25, COCO17], ids=["space", "plane"])
def test_shear(layout: Layout) -> None:
    axes = layout.coordinates
    expected = (2 * numbers(axes, axes) - 1) * 0.4
    expected[:, range(axes), range(axes)] = 1
    np.testing.assert_allclose(drawn(Shear(limit=0.4), layout).matrix, expected, atol=1e-6)


@pytest.mark.parametrize("layout", [SBU15, NTU25, COCO17], ids=lambda layout: layout.name)
def test_drop(layout: Layout) -> None:
    chosen, second = pairs()
    keep = drawn(DropLimbs(probability=0.6), layout).keep
    limbs = [j for j in range(len(layout.joints)) if j not in layout.parts["trunk"]]
    for clip in range(SIZE):
        side = "left_" if second[clip] >= 0.5 else "right_"
        gone = {j for j in limbs if layout.joints[j].startswith(side)} if chosen[clip] < 0.6 else set()
        assert {j for j in range(len(layout.joints)) if not keep[clip, j]} == gone


def test_two_matrices_are_applied_one_after_the_other() -> None:
    source = generator(SEED)
    first, second = ((2 * torch.rand(SIZE, 3, 3, generator=source) - 1) for _ in range(2))
    for matrix in (first, second):
        matrix.diagonal(dim1=1, dim2=2).fill_(1)
    pipeline = Pipeline(SBU15, ClipConfig(frames=8), (Shear(), Shear()))
    found = pipeline.sample(SIZE, generator(SEED)).matrix
    expected = np.einsum("bij,bjk->bik", second.double().numpy(), first.double().numpy())
    np.testing.assert_allclose(found, expected, atol=1e-5)


# ---------------------------------------------------------------------- operations of one's own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn(Operation):
    """A rotation about the vertical axis; serves itself of a field that there is."""

    def sample(self, draw: Draw, random: Random) -> Draw:
        angle = random.uniform() * 2 * torch.pi
        matrix = torch.eye(3).repeat(random.size, 1, 1)
        matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
        matrix[:, 1, 0] = angle.sin()
        matrix[:, 0, 1] = -angle.sin()
        return draw._replace(matrix=matrix @ draw.matrix)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale(Finishing):
    """Multiplies finished clips."""

    limit: float = 3.0

    def parameters(self, random: Random) -> Tensor:
        return 1 + self.limit * random.uniform()

    def finish(self, joints: Tensor, parameters: Tensor, layout: Layout) -> Tensor:
        return joints * parameters[:, None, None, None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Offset(Finishing):
    """Adds a vector of its own to every joint's coordinates."""

    def parameters(self, random: Random) -> Tensor:
        return random.uniform(3)

    def finish(self, joints: Tensor, parameters: Tensor, layout: Layout) -> Tensor:
        joints = joints.clone()
        joints[..., : layout.coordinates] += parameters[:, None, None]
        return joints


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(fused, "kernel", lambda: None)
    else:
        pytest.importorskip("numba")


def test_finishing_operations_follow_in_their_order(way: None) -> None:
    source, clip = recordings(BODIES, LENGTHS), ClipConfig(frames=24)
    view: View = (Scale(), *AGGRESSIVE, Offset())
    pipeline = Pipeline(SBU15, clip, view)
    draw = pipeline.sample(source.size, generator(3))
    factor, vector = draw.extra
    assert factor.shape == (6,) and vector.shape == (6, 3)
    plain = Pipeline(SBU15, clip, AGGRESSIVE).apply(source, draw._replace(extra=())).joints
    expected = plain * factor[source.owner][:, None, None, None]
    expected[..., :3] += vector[source.owner][:, None, None]
    found = pipeline.apply(source, draw)
    assert torch.equal(found.joints, expected)
    assert torch.equal(pipeline(source, generator(3)).joints, expected), "bodies of a clip share what is drawn"


def test_what_finishing_operations_drew_goes_with_its_clip() -> None:
    draw = Pipeline(SBU15, ClipConfig(frames=8), (Offset(), Scale())).sample(5, generator(0))
    rows = draw.rows(torch.tensor([4, 1, 1]))
    assert all(torch.equal(part, whole[[4, 1, 1]]) for part, whole in zip(rows.extra, draw.extra, strict=True))


def test_an_operation_of_ones_own_in_a_known_field(way: None) -> None:
    source = recordings(BODIES, LENGTHS)
    pipeline = Pipeline(SBU15, ClipConfig(frames=24), (Turn(),))
    draw = pipeline.sample(source.size, generator(0))
    plain = Pipeline(SBU15, ClipConfig(frames=24))(source).joints.double().numpy()
    matrix = draw.matrix[source.owner].double().numpy()
    expected = np.einsum("nij,ntvkj->ntvki", matrix, plain.reshape(*plain.shape[:3], 2, 3))
    found = pipeline.apply(source, draw).joints.reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_draw_is_the_same_in_half_precision() -> None:
    pipeline = Pipeline(SBU15, ClipConfig(frames=8), (Shear(), Turn()))
    expected = pipeline.sample(SIZE, generator(0)).matrix
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pipeline.sample(SIZE, generator(0)).matrix, expected)
