"""Distillation against Equation 6 by hand, and what it must leave alone (document 001, section 3.5)."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor

from bonestrap.augment import CONSERVATIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Clips
from bonestrap.methods import DistillConfig
from bonestrap.methods.distill.method import Distill, distillation_loss
from bonestrap.methods.supervised.method import Classifier
from bonestrap.momentum import BatchNorm, batch_norms
from tests.bonestrap.references import error
from tests.bonestrap.tiny import CLIP, LAYOUT, Pairs, encoder

CLASSES = 5


def distill(temperature: float = 1.0, teacher_clip: ClipConfig = CLIP) -> Distill:
    teacher = Classifier.new(encoder(1, width=1 / 8), CLASSES)
    with torch.no_grad():
        teacher.head.get_parameter("weight").mul_(10)  # a teacher with opinions
    return Distill(
        teacher,
        Classifier.new(encoder(2), CLASSES),
        DistillConfig(temperature=temperature),
        teacher_view=Pipeline(LAYOUT, teacher_clip, CONSERVATIVE),
        view=Pipeline(LAYOUT, CLIP, CONSERVATIVE),
    )


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_loss_against_equation_6(temperature: float) -> None:
    student, teacher = (torch.randn(9, 6, generator=torch.Generator().manual_seed(k)) * 3 for k in range(2))
    aim = softmax(teacher.double().numpy() / temperature, axis=1)
    expected = -(aim * log_softmax(student.double().numpy() / temperature, axis=1)).sum(1).mean()
    assert distillation_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_a_higher_temperature_is_softer() -> None:
    """The gradient is (softmax(student) - softmax(teacher)) / (B tau), the teacher's softmax at temperature tau."""
    teacher = torch.tensor([[4.0, 0.0, 0.0]])
    for temperature in (1.0, 8.0):
        student = torch.zeros(1, 3, requires_grad=True)
        distillation_loss(student, teacher, temperature).backward()
        expected = (1 / 3 - softmax(teacher.numpy() / temperature, axis=1)) / temperature
        assert student.grad is not None
        np.testing.assert_allclose(student.grad, expected, atol=1e-6)


def test_no_labels_are_needed_and_the_loss_is_that_of_the_logits() -> None:
    method, batch = distill(temperature=2.0), Pairs(size=6).group(0, 0)
    assert batch.labels is None
    out = method(batch, 0)
    clips = method.view(batch.views[0], torch.Generator().manual_seed(batch.seed))
    student, teacher = method.student(clips).detach(), method.teacher(clips)
    assert out["loss"].item() == pytest.approx(distillation_loss(student, teacher, 2.0).item(), rel=1e-5)
    assert out["agreement"].item() == pytest.approx((student.argmax(1) == teacher.argmax(1)).float().mean().item())


def test_the_teacher_is_left_alone() -> None:
    method = distill()
    teacher = {name: tensor.clone() for name, tensor in method.teacher.state_dict().items()}
    optimizer = torch.optim.SGD(method.student.parameters(), lr=0.1)
    for step in range(2):
        method.train()
        assert not any(module.training for module in method.teacher.modules())
        method(Pairs(size=6).group(step, 0), step)["loss"].backward()
        assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
        assert all(p.grad is not None for p in method.student.parameters())
        optimizer.step()
        method.after_step(step)
    torch.testing.assert_close(dict(method.teacher.state_dict()), teacher, rtol=0, atol=0)


def test_the_students_statistics_are_pooled_over_groups() -> None:
    method = distill()
    seen: dict[BatchNorm, list[Tensor]] = {layer: [] for layer in batch_norms(method.student)}
    for layer, inputs_seen in seen.items():
        layer.register_forward_hook(lambda _, inputs, __, to=inputs_seen: to.append(inputs[0].detach()))
    for group in range(3):
        method(Pairs(size=6).group(0, group), 0)
    method.after_step(0)
    for layer, parts in seen.items():
        assert len(parts) == 3
        assert error(layer, parts) < 1e-6
    assert not method.moments.any()


def test_a_teacher_of_longer_clips_sees_the_same_draw() -> None:
    longer = ClipConfig(frames=30)
    method, batch = distill(teacher_clip=longer), Pairs(size=6).group(0, 0)
    shown: dict[str, Clips] = {}
    method.teacher.register_forward_pre_hook(lambda module, clips: shown.__setitem__("teacher", clips[0]))
    method.student.register_forward_pre_hook(lambda module, clips: shown.__setitem__("student", clips[0]))
    method(batch, 0)
    assert shown["teacher"].joints.shape[1] == 30 and shown["student"].joints.shape[1] == 12
    draw = method.view.sample(6, torch.Generator().manual_seed(batch.seed))
    assert torch.equal(shown["student"].joints, method.view.apply(batch.views[0], draw).joints)
    assert torch.equal(
        shown["teacher"].joints, Pipeline(LAYOUT, longer, CONSERVATIVE).apply(batch.views[0], draw).joints
    )


def test_the_student_comes_closer_to_the_teacher() -> None:
    method, batch = distill(), Pairs(size=16).group(0, 0)
    clips = method.view(batch.views[0], torch.Generator().manual_seed(batch.seed))
    teacher = method.teacher(clips).softmax(1)
    least = -(teacher * teacher.log()).sum(1).mean().item()  # the teacher's own entropy: no student's loss is lower
    optimizer = torch.optim.SGD(method.student.parameters(), lr=0.1, momentum=0.9)
    above = []
    for step in range(40):
        optimizer.zero_grad()
        loss = method(batch, step)["loss"]
        loss.backward()
        optimizer.step()
        method.after_step(step)
        above.append(loss.item() - least)
    assert min(above) > 0
    assert above[-1] < 0.3 * above[0]


@pytest.mark.parametrize(("setting", "value"), [("temperature", 0.0), ("alpha", 1.0)])
def test_impossible_settings_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} must lie in"):
        dataclasses.replace(DistillConfig(), **{setting: value})  # type: ignore[arg-type]
