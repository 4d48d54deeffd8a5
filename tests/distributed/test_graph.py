"""Steps on memory that stays the same, replayed: the losses, gradients and state of the plain ones, and nothing stale.

A graph of `tests/recorded.py` stands in for CUDA's.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bonestrap.augment import CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch
from bonestrap.encoders.stgcn import network
from bonestrap.methods import BYOLConfig, DistillConfig, SupervisedConfig, VICRegConfig
from bonestrap.methods.byol.method import BYOL
from bonestrap.methods.distill.method import Distill
from bonestrap.methods.method import Method
from bonestrap.methods.supervised.method import Classifier, Supervised
from bonestrap.methods.vicreg.method import VICReg
from bonestrap.optim import SGD, OptimizerConfig
from distributed.progress import Silence
from distributed.steps import graph
from distributed.steps.graph import StepGraph, reason_against
from distributed.steps.plain import PlainStep, Step
from distributed.strategy import Single, Strategy
from distributed.zero import ZeRO
from tests.bonestrap.tiny import CLIP, LAYOUT, encoder, recordings
from tests.distributed.toy import Ranks, ToyMethod
from tests.pretend import DEVICE, PretendGPU, gpu
from tests.recorded import ReplayRecorder

__all__ = ["gpu"]  # the fixture
BLOCKS = ((64, 1), (128, 2))  # instead of ten: with and without a shortcut, in a fraction of the time


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(network, "BLOCKS", BLOCKS)
    yield


def byol(**changes: object) -> BYOL:
    views = Pipeline(LAYOUT, CLIP, CONSERVATIVE), Pipeline(LAYOUT, CLIP)
    config = BYOLConfig(hidden=16, projection=8, **changes)  # type: ignore[arg-type]
    return BYOL(encoder(), config, view1=views[0], view2=views[1], steps=8)


def supervised(frozen: int = 0, *, kept: bool = False) -> Supervised:
    classifier = Classifier.new(encoder(), 3)
    config = SupervisedConfig(smoothing=0.1, statistics="kept" if kept else "batch")
    return Supervised(classifier, config, view=Pipeline(LAYOUT, CLIP, CONSERVATIVE), frozen=frozen)


def vicreg() -> VICReg:
    views = [Pipeline(LAYOUT, CLIP, CONSERVATIVE) for _ in range(2)]
    return VICReg(encoder(), VICRegConfig(hidden=16, projection=8), view1=views[0], view2=views[1])


def distill() -> Distill:
    teacher, student = Classifier.new(encoder(), 3), Classifier.new(encoder(1), 3)
    views = [Pipeline(LAYOUT, ClipConfig(frames=frames), CONSERVATIVE) for frames in (12, 16)]
    return Distill(teacher, student, DistillConfig(), view=views[0], teacher_view=views[1])


METHODS: dict[str, Callable[[], Method]] = {
    "byol": byol,
    "byol, own statistics": lambda: byol(statistics="target"),
    "supervised": supervised,
    "frozen at first": lambda: supervised(frozen=3),
    "its statistics kept": lambda: supervised(kept=True),
    "distill": distill,
    "vicreg": vicreg,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(OptimizerConfig):
    """Without a large epsilon it makes whole steps of the rounding of gradients that are zero."""

    def build(self, method: Method) -> torch.optim.AdamW:
        return torch.optim.AdamW(self.groups(method), eps=1e-2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSprop(OptimizerConfig):
    def build(self, method: Method) -> torch.optim.RMSprop:
        return torch.optim.RMSprop(self.groups(method), eps=1.0)


OPTIMIZERS: dict[str, OptimizerConfig] = {"sgd": SGD(weight_decay=0.01), "adamw": Adam(), "rmsprop": RMSprop()}


def batch(step: int, group: int, bodies: Sequence[int] = (1, 2, 1, 1)) -> Batch:
    """Two views of clips of so many bodies, with labels."""
    seed = 100 * step + group
    views = tuple(recordings(bodies, [9 + clip for clip in range(len(bodies))], 2 * seed + view) for view in range(2))
    return Batch(views, torch.arange(len(bodies)) % 3, seed)


def steps_of(method: Method, optimizer: str, groups: int, *, graph: bool) -> tuple[Step, torch.optim.Optimizer]:
    made = OPTIMIZERS[optimizer].build(method)
    if not graph:
        return PlainStep(method, made, Single(), groups=groups, all_groups=groups, half=False), made
    recorder = ReplayRecorder()
    step = StepGraph(method, made, Single(), groups=groups, all_groups=groups, half=False, recorder=recorder)
    return step, made


def run(
    method: Method,
    batches: Sequence[Sequence[Batch]],
    *,
    graph: bool,
    optimizer: str = "sgd",
    rate: Callable[[int], float] = lambda step: 1e-4,  # at higher ones, ReLUs that tip over spread rounding
) -> tuple[Tensor, dict[str, Tensor], Step]:
    """All losses of some steps, the state that they lead to with the gradient norms, and the step itself."""
    step, made = steps_of(method, optimizer, len(batches[0]), graph=graph)
    values: list[Tensor] = []
    norms: list[Tensor] = []
    for number, groups in enumerate(batches):
        for param_group in made.param_groups:
            param_group["lr"] = rate(number)
        for one in groups:
            losses = step.group(one, number, last=one is groups[-1])
            values += [losses[name].detach() for name in sorted(losses)]
        norms.append(step.finish(number))
    assert all(isinstance(group["lr"], float) for group in made.param_groups)
    return torch.stack(values), {**method.state_dict(), "norms": torch.stack(norms)}, step


def compare(
    make: Callable[[], Method], batches: Sequence[Sequence[Batch]], tolerance: float = 1e-5, **how: object
) -> StepGraph:
    """The replayed steps and the plain ones give the same within rounding. The replayed ones."""
    values, state, step = run(make(), batches, graph=True, **how)  # type: ignore[arg-type]
    expected, plain, _ = run(make(), batches, graph=False, **how)  # type: ignore[arg-type]
    torch.testing.assert_close(values, expected, rtol=tolerance, atol=2e-6)
    torch.testing.assert_close(state, plain, rtol=10 * tolerance, atol=tolerance)
    assert isinstance(step, StepGraph)
    return step


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_losses_and_state_are_those_of_plain_steps(make: Callable[[], Method]) -> None:
    batches = [[batch(step, group) for group in range(2)] for step in range(6)]
    step = compare(make, batches)
    assert isinstance(step.recorder, ReplayRecorder)
    assert sum(graph.replays > 1 for graph in step.recorder.graphs) >= 2  # there was something to be stale


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "adamw as on a GPU", "rmsprop"])
def test_a_new_learning_rate_is_used_at_once(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also by an optimizer that cannot be recorded: its step is left out of the graph."""
    if optimizer == "adamw as on a GPU":  # where its count of steps and its learning rate are tensors
        devices = lambda *_, **__: ["cpu"]  # noqa: E731
        monkeypatch.setattr(sys.modules["torch.optim.adam"], "_get_capturable_supported_devices", devices)
        monkeypatch.setattr(graph, "ADAM_DEVICES", ("cpu",))
    rates = (1e-3, 1e-3, 1e-3, 2e-2, 0.0, 2e-3)
    batches = [[batch(step, 0)] for step in range(6)]
    compare(byol, batches, tolerance=2e-4, optimizer=optimizer.partition(" ")[0], rate=rates.__getitem__)


def test_a_new_momentum_is_used_at_once() -> None:
    """Of target and statistics: the cosine of Eq. 3 takes lambda from .3 to 1 within these eight steps."""
    compare(lambda: byol(momentum=0.3, alpha=0.95), [[batch(step, 0)] for step in range(8)])


def test_a_new_number_of_bodies_is_used_at_once() -> None:
    """One shape for several numbers of bodies, another for more, and back: padding is never counted."""
    bodies = [(1, 2, 2, 1) * 8, (1, 2, 2, 1, *(1, 1, 2, 1) * 7), (1,) * 32, (2,) * 32, (1, 2, 2, 1) * 8, (1,) * 32] * 2
    batches = [[batch(step, 0, one)] for step, one in enumerate(bodies)]
    step = compare(supervised, batches)
    assert [sum(len(leaf) for leaf in shape.leaves[:1]) for shape in step.shapes.values()] == [48, 42, 32, 64]


def test_a_new_number_of_groups_is_used_at_once() -> None:
    """The loss's factor and the sums by halves are those of the step: 1, 2, 3 and 4 groups, in one memory."""
    for groups in (1, 2, 3, 4):
        compare(supervised, [[batch(step, group) for group in range(groups)] for step in range(4)])


def two_groups_each(strategy: Strategy, folder: Path, *, graph: bool) -> dict[str, Tensor]:
    """Some steps of this rank's two of four groups. The second rank begins with other weights, which are replaced."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "BLOCKS", BLOCKS)
        method = byol()
    with torch.no_grad():
        method.predictor.linear1.weight += strategy.rank
    optimizer = SGD(learning_rate=1e-3, weight_decay=0.01).build(method)
    step: Step
    if graph:
        recorder = ReplayRecorder()
        step = StepGraph(method, optimizer, strategy, groups=2, all_groups=4, half=False, recorder=recorder)
    else:
        step = PlainStep(method, optimizer, strategy, groups=2, all_groups=4, half=False)
    for number in range(4):
        for group in (2 * strategy.rank, 2 * strategy.rank + 1):
            step.group(batch(number, group), number, last=group % 2 == 1)
        step.finish(number)
    return dict(method.state_dict())


def replayed(strategy: Strategy, folder: Path) -> dict[str, Tensor]:
    return two_groups_each(strategy, folder, graph=True)


def plain(strategy: Strategy, folder: Path) -> dict[str, Tensor]:
    return two_groups_each(strategy, folder, graph=False)


def test_two_ranks_sum_between_the_graphs(tmp_path: Path) -> None:
    """As DDP does while the backward pass runs: gradients and moments of all groups, the same state on both."""
    ranks = Ranks(2)
    try:
        expected, _ = ranks(plain, tmp_path)
        first, second = ranks(replayed, tmp_path)
    finally:
        ranks.close()
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, expected, rtol=1e-4, atol=1e-5)


def test_a_step_does_not_wait(gpu: PretendGPU) -> None:
    """On a pretended GPU: nothing between the batch and the end of the step needs a value of the device."""
    method = byol().to(DEVICE)
    optimizer = SGD(weight_decay=0.01).build(method)
    step = StepGraph(method, optimizer, Single(DEVICE), groups=1, all_groups=1, half=False, recorder=None)
    batches = [batch(number, 0) for number in range(3)]
    there = [one._replace(views=tuple(v._replace(frames=v.frames.to(DEVICE)) for v in one.views)) for one in batches]
    with gpu.never_waits():
        for number, one in enumerate(there):
            step.group(one, number, last=True)
            step.finish(number)


# ---------------------------------------------------------------------- when


class OnGPU(Strategy):
    """Says that it is on one, and computes nothing."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("cuda:0", Silence())
        self.graph_reason = reason


def test_steps_are_recorded_where_they_can_be_and_it_says_why_not() -> None:
    assert reason_against(byol(), OnGPU()) == ""
    assert reason_against(byol(), Single()) == "the device is not a GPU"
    assert reason_against(byol(), OnGPU(ZeRO.graph_reason)).startswith("DeepSpeed reduces gradients")
    assert reason_against(ToyMethod(), OnGPU()).startswith("ToyMethod has a forward pass of its own")
    compiled = byol()
    compiled.encoder.compile(backend="eager")
    assert reason_against(compiled, OnGPU()) == "the encoders are compiled"


def test_a_method_with_a_forward_pass_of_its_own_is_not_in_parts() -> None:
    class Changed(BYOL):
        def after_step(self, step: int) -> None:
            super().after_step(step + 1)

    assert byol().in_parts and supervised().in_parts and distill().in_parts
    assert not ToyMethod().in_parts
    method = byol()
    method.__class__ = Changed
    assert not method.in_parts


def test_a_graph_that_cannot_be_recorded_is_run() -> None:
    """Whatever the reason, the step that failed is done, and so are all that follow."""

    class Broken:
        def record(self, function: Callable[[], None]) -> None:
            return None

    method, expected = byol(), run(byol(), [[batch(step, 0)] for step in range(3)], graph=False)[1]
    optimizer = OPTIMIZERS["sgd"].build(method)
    step = StepGraph(method, optimizer, Single(), groups=1, all_groups=1, half=False, recorder=Broken())
    optimizer.param_groups[0]["lr"] = 1e-4
    optimizer.param_groups[1]["lr"] = 1e-4
    norms = []
    for number in range(3):
        step.group(batch(number, 0), number, last=True)
        norms.append(step.finish(number))
    torch.testing.assert_close({**method.state_dict(), "norms": torch.stack(norms)}, expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_that_may_mix_bodies_gets_no_padding() -> None:
    method = supervised()
    method.encoder.takes_padding = False
    step, _ = steps_of(method, "sgd", 1, graph=True)
    step.group(batch(0, 0), 0, last=True)
    assert isinstance(step, StepGraph)
    assert [leaf.shape[0] for shape in step.shapes.values() for leaf in shape.leaves[:1]] == [5]
