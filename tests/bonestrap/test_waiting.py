"""The host never waits for the device inside a step: on a pretended GPU always, on a real one where there is one.

On a real one `torch.cuda.set_sync_debug_mode("error")` is the judge; nobody has run that part yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, PLAIN, ClipConfig, View
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Batch, Clips, Recordings, to_device
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, NTU25, SBU15
from bonestrap.methods import DistillConfig, SupervisedConfig
from bonestrap.methods.distill.method import Distill
from bonestrap.methods.method import Method
from bonestrap.methods.supervised.method import Classifier, Supervised
from tests.bonestrap.tiny import BODIES, CLIP, LAYOUT, LENGTHS, Pairs, byol, encoder, generator, recordings
from tests.pretend import DEVICE, PretendGPU, Waited, gpu

__all__ = ["gpu"]  # the fixture
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
CUDA = torch.device("cuda")


def there(source: Recordings, device: torch.device) -> Recordings:
    return source._replace(frames=source.frames.to(device))


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


# ---------------------------------------------------------------------- the scorer

X = torch.arange(4)
WAITING: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "item": (lambda x: x[1].item(), "a value is read"),
    "int": (lambda x: int(x.max()), "a value is read"),
    "if": (lambda x: 1 if x.any() else 2, "a value is read"),
    "tolist": (lambda x: x.tolist(), "a copy to the host"),
    "cpu": (lambda x: x.cpu(), "a copy to the host"),
    "mask": (lambda x: x[x > 1], "a shape depends on values"),
    "nonzero": (lambda x: x.nonzero(), "a shape depends on values"),
    "pageable": (lambda x: X.to(x.device, non_blocking=True), "a copy from the host is not asynchronous"),
    "blocking": (lambda x: X.pin_memory().to(x.device), "a copy from the host is not asynchronous"),
    "copy_": (lambda x: x.copy_(X), "a copy from the host is not asynchronous"),
    "list": (lambda x: x[[0, 1]], "an index comes from the host"),
    "host index": (lambda x: x[X], "an index comes from the host"),
    "tensor": (lambda x: torch.tensor([1, 2], device=x.device), "values of the host become a tensor"),
}


@pytest.mark.parametrize(("work", "why"), WAITING.values(), ids=WAITING)
def test_the_pretended_gpu_notices(gpu: PretendGPU, work: Callable[[Tensor], object], why: str) -> None:
    x = torch.arange(4, device=DEVICE)
    with gpu.never_waits(), pytest.raises(Waited, match=why):
        work(x)


def test_the_pretended_gpu_keeps_devices_apart_and_lets_the_rest_pass(gpu: PretendGPU) -> None:
    x = torch.arange(4, device=DEVICE)
    with gpu.never_waits():
        with pytest.raises(RuntimeError, match="two devices"):
            x + X
        assert (x + X[0] + to_device(X, DEVICE))[1:, None].repeat(1, 3).shape == (3, 3)
        assert X[X > 1].tolist() == [2, 3]  # the CPU may do as it likes


# ---------------------------------------------------------------------- augmentation


@pytest.mark.parametrize("own_pose", [False, True])
@pytest.mark.parametrize("augment", [PLAIN, CONSERVATIVE, AGGRESSIVE], ids=["plain", "conservative", "aggressive"])
@pytest.mark.parametrize("layout", [SBU15, NTU25, COCO17], ids=lambda layout: layout.name)
def test_augmentation_does_not_wait(gpu: PretendGPU, layout: Layout, augment: View, own_pose: bool) -> None:
    pipeline = Pipeline(layout, ClipConfig(frames=24, own_pose=own_pose), augment)
    source = there(recordings(BODIES, LENGTHS, layout=layout), DEVICE)
    with gpu.never_waits():
        clips = pipeline(source, generator(1))
    assert clips.joints.shape == (sum(BODIES), 24, len(layout.joints), layout.channels)
    assert clips.joints.device == clips.owner.device == DEVICE


@needs_gpu
@pytest.mark.parametrize("own_pose", [False, True])
@pytest.mark.parametrize("augment", [PLAIN, CONSERVATIVE, AGGRESSIVE], ids=["plain", "conservative", "aggressive"])
@pytest.mark.parametrize("layout", [SBU15, NTU25, COCO17], ids=lambda layout: layout.name)
def test_augmentation_on_a_gpu(layout: Layout, augment: View, own_pose: bool) -> None:
    """The same clips as on the CPU, without waiting."""
    pipeline = Pipeline(layout, ClipConfig(frames=24, own_pose=own_pose), augment)
    source = recordings(BODIES, LENGTHS, layout=layout)
    distant = there(source, CUDA)
    with no_waiting():
        clips = pipeline(distant, generator(1))
    torch.testing.assert_close(clips.joints.cpu(), pipeline(source, generator(1)).joints, rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------------- a step


def supervised() -> Method:
    classifier = Classifier.new(encoder(), 5)
    return Supervised(classifier, SupervisedConfig(smoothing=0.1), view=Pipeline(LAYOUT, CLIP))


def distill() -> Method:
    teacher, student = Classifier.new(encoder(), 5), Classifier.new(encoder(1), 5)
    views = [Pipeline(LAYOUT, ClipConfig(frames=frames), CONSERVATIVE) for frames in (12, 16)]
    return Distill(teacher, student, DistillConfig(), view=views[0], teacher_view=views[1])


METHODS: dict[str, Callable[[], Method]] = {"byol": byol, "supervised": supervised, "distill": distill}


def step_on(method: Method, device: torch.device) -> Callable[[int], Tensor]:
    """A whole step of a method there: augmentation, forward, backward, optimizer, statistics and target."""
    method.to(device)
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=True)
    batches: list[Batch] = []
    for number in range(3):
        batch = Pairs().group(number, 0)
        labels = torch.arange(4).to(device)
        batches.append(batch._replace(views=tuple(there(view, device) for view in batch.views), labels=labels))

    def step(number: int) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        losses = method(batches[number], number)
        losses["loss"].backward()
        optimizer.step()
        method.after_step(number)
        return losses["loss"].detach()

    return step


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_step_does_not_wait(gpu: PretendGPU, make: Callable[[], Method]) -> None:
    method = make()
    step = step_on(method, DEVICE)
    with gpu.never_waits():
        for number in range(3):
            step(number)
    assert all(p.grad is not None and p.grad.device == DEVICE for p in method.parameters() if p.requires_grad)


@needs_gpu
@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_a_step_on_a_gpu(make: Callable[[], Method]) -> None:
    """The losses of the CPU, and from the second step on, when libraries are loaded, no waiting."""
    step, expected = step_on(make(), CUDA), step_on(make(), torch.device("cpu"))
    losses = [step(0)]
    with no_waiting():
        losses += [step(number) for number in (1, 2)]
    reference = torch.stack([expected(number) for number in range(3)])
    torch.testing.assert_close(torch.stack(losses).cpu(), reference, rtol=1e-2, atol=1e-3)


def test_mean_over_bodies_does_not_wait(gpu: PretendGPU) -> None:
    clips = Clips(torch.zeros(3, 2, 5, 3, device=DEVICE), torch.zeros(3, dtype=torch.int64, device=DEVICE), 2)
    with gpu.never_waits():
        assert clips.mean_over_bodies(torch.zeros(3, 7, device=DEVICE)).shape == (2, 7)
