"""Learning from labels: what moves when, how fast, with which statistics (Moliner et al., sections 4.2 and 4.4)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from bonestrap.augment import CONSERVATIVE
from bonestrap.augment.pipeline import Pipeline
from bonestrap.classifiers import Perceptron
from bonestrap.clips import Batch
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import SupervisedConfig, Task
from bonestrap.methods.supervised.method import Classifier, Supervised, freeze
from bonestrap.momentum import BatchNorm, batch_norms
from bonestrap.optim import AdamW
from distributed.loop import Job, train
from distributed.strategy import Single
from tests.bonestrap.references import error
from tests.bonestrap.tiny import CLIP, LAYOUT, Pairs, encoder

CLASSES = 5


class Labelled(Pairs):
    def group(self, step: int, group: int) -> Batch:
        batch = super().group(step, group)
        labels = torch.randint(0, CLASSES, (self.size,), generator=torch.Generator().manual_seed(batch.seed))
        return Batch(batch.views[:1], labels, batch.seed)


def supervised(*, kept: bool, frozen: int = 0, smoothing: float = 0.0, alpha: float = 0.9) -> Supervised:
    classifier = Classifier.new(encoder(), CLASSES)
    if kept:  # statistics of an encoder that has seen data
        for layer in batch_norms(classifier.encoder):
            layer.mean.uniform_(-0.5, 0.5)
            layer.var.uniform_(0.5, 1.5)
    config = SupervisedConfig(smoothing=smoothing, alpha=alpha, statistics="kept" if kept else "batch")
    return Supervised(classifier, config, view=Pipeline(LAYOUT, CLIP, CONSERVATIVE), frozen=frozen)


def job(run: Path, method: Supervised, steps: int, encoder_scale: float = 1.0, momentum: float = 0.9) -> Job:
    parts = [
        {"params": list(method.classifier.head.parameters()), "scale": 1.0},
        {"params": list(method.encoder.parameters()), "scale": encoder_scale},
    ]
    return Job(
        method=method,
        loader=Labelled(groups=2),
        # Weight decay would move a frozen encoder whose gradients are zero instead of absent.
        optimizer=torch.optim.SGD(parts, lr=1.0, momentum=momentum, weight_decay=1e-2),
        learning_rate=lambda step: 0.1,
        steps=steps,
        run=run,
    )


def state(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_a_frozen_encoder_keeps_every_bit_while_the_head_moves(tmp_path: Path) -> None:
    method = supervised(kept=True, frozen=3)
    before, head = state(method.encoder), state(method.classifier.head)
    train(job(tmp_path / "frozen", method, steps=3), Single())
    torch.testing.assert_close(state(method.encoder), before, rtol=0, atol=0)
    after = state(method.classifier.head)
    assert not torch.equal(after["weight"], head["weight"])
    assert not torch.equal(after["bias"], head["bias"])


@pytest.mark.parametrize(("names", "held"), [(("norm",), ["norm."]), (("blocks.0", "blocks.3.temporal"), [
    "blocks.0.", "blocks.3.temporal."]), (("blocks", "norm"), [""])])  # fmt: skip
def test_frozen_layers_keep_every_bit_under_decay(tmp_path: Path, names: tuple[str, ...], held: list[str]) -> None:
    """Also with momentum, decay and after many steps, whatever the encoder; a name stands for all under it."""
    config = SupervisedConfig(statistics="kept", freeze=names)
    method = config.build(encoder(), Task(LAYOUT, CLIP, 3, CLASSES))
    before = state(method.encoder)
    optimizer = AdamW(learning_rate=1e-2, weight_decay=0.5, decay_all=True).build(method)
    train(dataclasses.replace(job(tmp_path, method, steps=3), optimizer=optimizer), Single())
    for name, parameter in method.encoder.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith(tuple(held)), name


def test_frozen_layers_keep_their_statistics_and_others_follow_the_batches(tmp_path: Path) -> None:
    config = SupervisedConfig(freeze=("blocks.0",))
    method = config.build(encoder(), Task(LAYOUT, CLIP, 3, CLASSES))
    before = state(method.encoder)
    train(job(tmp_path, method, steps=3), Single())
    statistics = [name for name in before if name.endswith((".mean", ".var"))]
    for name in statistics:
        held = name.startswith("blocks.0.")
        assert torch.equal(method.encoder.state_dict()[name], before[name]) == held, name
    assert any(name.startswith("blocks.0.") for name in statistics)


def test_a_layer_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"freeze: the encoder has no layer bloks.0; did you mean blocks\.0\?; it has"):
        freeze(encoder(), ["bloks.0"])
    with pytest.raises(ValueError, match="no layer block"):
        freeze(encoder(), ["block"])  # a part of a name is none


def test_an_encoder_moves_afterwards_and_keeps_its_statistics(tmp_path: Path) -> None:
    method = supervised(kept=True, frozen=2)
    before = state(method.encoder)
    train(job(tmp_path, method, steps=3), Single())
    assert not any(layer.training for layer in batch_norms(method.encoder))
    for name, tensor in method.encoder.state_dict().items():
        moving = name.endswith((".mean", ".var"))
        assert torch.equal(tensor, before[name]) == moving, name


def test_the_encoders_rate_is_scaled(tmp_path: Path) -> None:
    """One step of plain SGD: a parameter's change over its rate does not depend on the scale."""
    changes = {}
    for scale in (1.0, 1e-3):
        method = supervised(kept=True)
        before = {name: p.detach().double().clone() for name, p in method.named_parameters()}
        train(job(tmp_path / str(scale), method, steps=1, encoder_scale=scale, momentum=0.0), Single())
        changes[scale] = {name: p.detach().double() - before[name] for name, p in method.named_parameters()}
    for name, change in changes[1.0].items():
        expected = change * 1e-3 if ".encoder." in name else change
        # A change of a thousandth is read from float32 numbers of about one.
        torch.testing.assert_close(changes[1e-3][name], expected, rtol=1e-3, atol=2e-7)
        assert change.abs().max() > 1e-5, name


def test_from_scratch_everything_moves_and_statistics_are_pooled_over_groups(tmp_path: Path) -> None:
    method = supervised(kept=False)
    before = state(method.classifier)
    seen: dict[BatchNorm, list[Tensor]] = {layer: [] for layer in batch_norms(method)}
    for layer, inputs_seen in seen.items():
        layer.register_forward_hook(lambda _, inputs, __, to=inputs_seen: to.append(inputs[0].detach()))
    train(job(tmp_path, method, steps=1), Single())
    for layer, parts in seen.items():
        assert len(parts) == 2
        assert error(layer, parts) < 1e-6
    assert not method.moments.any()
    for name, tensor in method.classifier.state_dict().items():
        assert not torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_accuracy_against_scipy(smoothing: float) -> None:
    method = supervised(kept=True, smoothing=smoothing)
    batch = Labelled(size=12).group(0, 0)
    assert batch.labels is not None
    out = method(batch, 0)
    clips = method.view(batch.views[0], torch.Generator().manual_seed(batch.seed))
    logits = method.classifier(clips).detach().double().numpy()
    target = np.full((12, CLASSES), smoothing / CLASSES)
    target[np.arange(12), batch.labels] += 1 - smoothing
    expected = -(target * log_softmax(logits, axis=1)).sum(1).mean()
    assert out["loss"].item() == pytest.approx(expected, rel=1e-5)
    assert out["train_accuracy"].item() == pytest.approx((logits.argmax(1) == batch.labels.numpy()).mean())


def test_labels_are_asked_for() -> None:
    with pytest.raises(ValueError, match="needs labelled recordings"):
        supervised(kept=True)(Pairs().group(0, 0), 0)


@pytest.mark.parametrize(("setting", "value"), [("smoothing", 1.0), ("smoothing", -0.1), ("alpha", 1.0)])
def test_impossible_settings_are_refused(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{setting} must lie in"):
        dataclasses.replace(SupervisedConfig(), **{setting: value})  # type: ignore[arg-type]


def test_a_perceptron_keeps_its_own_statistics_beside_a_pretrained_encoder() -> None:
    """Its batch normalisation follows the batches, pooled over groups; the encoder's statistics stay."""
    torch.manual_seed(0)
    encoder = STGCNConfig(width=1 / 16).build(LAYOUT, CLIP)
    config = SupervisedConfig(statistics="kept", head="perceptron")
    method = config.build(encoder, Task(LAYOUT, CLIP, steps=4, classes=3))
    head = method.shipped_head()
    assert isinstance(head, Perceptron)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    seen: list[torch.Tensor] = []
    head.norm.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0].detach().double()))
    for group in range(2):
        views = Pairs().group(0, group).views[:1]
        torch.manual_seed(group)
        method(Batch(views, torch.tensor([0, 1, 2, 0]), seed=group), 0)["loss"].backward()
    method.after_step(0)
    both = torch.cat(seen)
    torch.testing.assert_close(head.norm.mean.double(), both.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(head.norm.var.double(), both.var(0, unbiased=False), rtol=1e-5, atol=1e-6)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
