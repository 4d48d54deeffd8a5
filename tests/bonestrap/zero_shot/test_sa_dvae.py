"""SA-DVAE against an independent transcription in float64: losses in numpy loops, a cycle with Adam written out."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from bonestrap.zero_shot import SADVAEConfig
from bonestrap.zero_shot.losses import Noise, Weights, autoencoder_loss, discriminator_loss, weights_at
from bonestrap.zero_shot.networks import SADVAE
from bonestrap.zero_shot.texts import ClassTexts
from bonestrap.zero_shot.training import Member, Trainer

X, Y, R, V, B = 7, 6, 5, 3, 4  # features of skeletons and texts, semantic and style units, rows
CONFIG = SADVAEConfig(
    semantic=R, style=V, batch=B, cycles=2, cycle_steps=9, dis_step=2, learning_rate=0.01, beta_x=0.5, beta_y=0.3,
    penalty=0.7, cross=1.3, cross_from=0.2,
)  # fmt: skip
WEIGHTS = Weights(kl_x=0.5, kl_y=0.3, cross=1.3, penalty=0.7)


def network(config: SADVAEConfig = CONFIG) -> SADVAE:
    torch.manual_seed(0)
    model = SADVAE(config, X, Y).double()
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn(weights.shape, dtype=torch.float64) * 0.4)
    return model


def batch() -> tuple[Tensor, Tensor, Noise]:
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(B, units, generator=generator, dtype=torch.float64) for units in (X, Y))
    return x, y, Noise.draw(CONFIG, B, generator, torch.float64)


# ---------------------------------------------------------------------- losses


def numpy_losses(model: SADVAE, x: np.ndarray, y: np.ndarray, noise: list[np.ndarray], relu: bool) -> dict[str, float]:
    """Every part of the loss, a recording at a time."""
    w = {name: part.detach().numpy() for name, part in model.state_dict().items()}
    parts = dict.fromkeys(("x", "y", "kl_zr", "kl_zv", "kl_y", "x_from_y", "y_from_x", "together"), 0.0)

    def linear(name: str, row: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] @ row + w[f"{name}.bias"]

    def decoded(name: str, row: np.ndarray) -> np.ndarray:
        out = linear(name, row)
        return np.maximum(out, 0) if relu else out

    def divergence(mean: np.ndarray, logvar: np.ndarray) -> float:
        return sum(-0.5 * (1 + s - m**2 - math.exp(s)) for m, s in zip(mean, logvar, strict=True))

    for row in range(B):
        out = linear("encode_x", x[row])
        mean, logvar = out[: R + V], out[R + V :]
        zr = mean[:R] + np.exp(logvar[:R] / 2) * noise[0][row]
        zv = mean[R:] + np.exp(logvar[R:] / 2) * noise[1][row]
        out = linear("encode_y", y[row])
        zy = out[:R] + np.exp(out[R:] / 2) * noise[2][row]
        parts["x"] += ((decoded("decode_x", np.concatenate((zr, zv))) - x[row]) ** 2).mean() / B
        parts["y"] += ((decoded("decode_y", zy) - y[row]) ** 2).mean() / B
        parts["kl_zr"] += divergence(mean[:R], logvar[:R]) / B
        parts["kl_zv"] += divergence(mean[R:], logvar[R:]) / B
        parts["kl_y"] += divergence(out[:R], out[R:]) / B
        parts["x_from_y"] += ((decoded("decode_x", np.concatenate((zy, zv))) - x[row]) ** 2).mean() / B
        parts["y_from_x"] += ((decoded("decode_y", zr) - y[row]) ** 2).mean() / B
        if V and "discriminator.0.weight" in w:
            hidden = np.maximum(linear("discriminator.0", np.concatenate((zv, zr))), 0)
            parts["together"] += 1 / (1 + math.exp(-linear("discriminator.2", hidden)[0])) / B
    return parts


@pytest.mark.parametrize("decoder", ["linear", "relu"])
def test_losses_against_numpy(decoder: Literal["linear", "relu"]) -> None:
    import dataclasses

    model = network(dataclasses.replace(CONFIG, decoder=decoder))
    x, y, noise = batch()
    parts = numpy_losses(model, x.numpy(), y.numpy(), [each.numpy() for each in noise], decoder == "relu")
    expected = (
        parts["x"] + parts["y"] + 0.5 * (parts["kl_zr"] + parts["kl_zv"]) + 0.3 * parts["kl_y"]
        + 1.3 * (parts["x_from_y"] + parts["y_from_x"]) + 0.7 * parts["together"]
    )  # fmt: skip
    assert autoencoder_loss(model, x, y, noise, WEIGHTS).item() == pytest.approx(expected, abs=1e-9)
    alone = autoencoder_loss(model, x, y, noise, Weights(0, 0, 0, 0)).item()
    assert alone == pytest.approx(parts["x"] + parts["y"], abs=1e-9)


def test_the_discriminator_tells_true_pairs_from_permuted_ones() -> None:
    model, (x, _, noise) = network(), batch()
    order = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 3, 0, 2])
    w = {name: part.numpy() for name, part in model.state_dict().items()}
    out = x.numpy() @ w["encode_x.weight"].T + w["encode_x.bias"]
    z = out[:, : R + V] + np.exp(out[:, R + V :] / 2) * np.concatenate((noise.semantic, noise.style), 1)
    loss = 0.0
    for row in range(B):
        pairs = ((z[row, R:], z[row, :R], 1), (z[order[1][row], R:], z[order[0][row], :R], 0))
        for zv, zr, label in pairs:
            pair = np.concatenate((zv, zr))
            hidden = np.maximum(w["discriminator.0.weight"] @ pair + w["discriminator.0.bias"], 0)
            p = 1 / (1 + math.exp(-(w["discriminator.2.weight"] @ hidden + w["discriminator.2.bias"])[0]))
            loss -= (math.log(p) if label else math.log(1 - p)) / (2 * B)
    assert discriminator_loss(model, x, noise, order).item() == pytest.approx(loss, abs=1e-9)


def test_noise_is_drawn_for_every_dimension() -> None:
    noise = Noise.draw(CONFIG, 1000, torch.Generator().manual_seed(0), torch.float64)
    together = torch.cat(noise, 1)
    assert (torch.corrcoef(together.T) - torch.eye(2 * R + V)).abs().max() < 0.15


def test_weights_rise_in_a_cycle() -> None:
    """A third without KL and penalty, then linearly to their values; cross-alignment from its own place on."""
    assert weights_at(CONFIG, 0.0) == (0, 0, 0, 0)
    assert weights_at(CONFIG, 0.3) == (0, 0, 1.3, 0)
    assert weights_at(CONFIG, 2 / 3) == pytest.approx((0.25, 0.15, 1.3, 0.35))
    assert weights_at(CONFIG, 1.0) == pytest.approx((0.5, 0.3, 1.3, 0.7))


# ---------------------------------------------------------------------- gradients


def test_gradients_reach_what_they_should() -> None:
    model, (x, y, noise) = network(), batch()
    order = torch.tensor([2, 0, 3, 1]), torch.tensor([1, 3, 0, 2])
    discriminator_loss(model, x, noise, order).backward()
    assert all(weights.grad is None for weights in model.autoencoders()), "the discriminator's loss moves the encoder"
    assert all(weights.grad is not None for weights in model.discriminator.parameters())  # type: ignore[union-attr]

    trainer = toy_trainer()
    stepped = {id(weights) for group in trainer.optimizer.param_groups for weights in group["params"]}
    opposed = {id(weights) for group in trainer.opponent.param_groups for weights in group["params"]}  # type: ignore[union-attr]
    assert not stepped & opposed
    assert stepped | opposed == {id(weights) for weights in trainer.weights.values()}

    # The penalty alone reaches the skeleton's encoder, and neither decoders nor the text's encoder.
    bare = autoencoder_loss(model, x, y, noise, Weights(0, 0, 0, 0))
    penalised = autoencoder_loss(model, x, y, noise, Weights(0, 0, 0, 0.7))
    by_name = {name: weights for name, weights in model.named_parameters() if "discriminator" not in name}
    gradients = torch.autograd.grad(penalised - bare, list(by_name.values()), allow_unused=True)
    reached = {
        name for name, part in zip(by_name, gradients, strict=True) if part is not None and part.abs().max() > 1e-12
    }
    assert reached == {"encode_x.weight", "encode_x.bias"}


def test_without_style_there_is_no_discriminator() -> None:
    import dataclasses

    config = dataclasses.replace(CONFIG, style=0)
    trainer = toy_trainer(config)
    assert trainer.opponent is None and trainer.network.discriminator is None
    trainer.cycle()
    assert weights_at(config, 1.0).penalty == 0
    assert toy_trainer(dataclasses.replace(CONFIG, penalty=0.0)).opponent is None


# ---------------------------------------------------------------------- a training cycle


def toy_trainer(config: SADVAEConfig = CONFIG) -> Trainer:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(10, X, generator=generator, dtype=torch.float64)
    features = torch.nn.functional.normalize(torch.randn(5, Y, generator=generator), dim=1)
    texts = ClassTexts(features, torch.tensor([0, 0, 1, 2, 2]))
    return Trainer(config, [Member(x, torch.arange(10) % 3, texts, seed=5)], seed=5)


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self, parameters: dict[str, Tensor], rate: float) -> None:
        self.parameters, self.rate, self.step = parameters, rate, 0
        self.m = {name: torch.zeros_like(part) for name, part in parameters.items()}
        self.v = {name: torch.zeros_like(part) for name, part in parameters.items()}

    def descend(self, loss: Tensor) -> None:
        self.step += 1
        for (name, part), g in zip(
            self.parameters.items(), torch.autograd.grad(loss, list(self.parameters.values())), strict=True
        ):
            self.m[name] = 0.9 * self.m[name] + 0.1 * g
            self.v[name] = 0.999 * self.v[name] + 0.001 * g**2
            m, v = self.m[name] / (1 - 0.9**self.step), self.v[name] / (1 - 0.999**self.step)
            part.data -= self.rate * m / (v.sqrt() + 1e-8)


def test_a_cycle_against_a_transcription() -> None:
    """Two cycles from the same weights with the same draws: every weight agrees to 1e-6."""
    trainer = toy_trainer()
    w = {name: part.detach()[0].clone().requires_grad_() for name, part in trainer.weights.items()}
    mine = Adam({name: part for name, part in w.items() if "discriminator" not in name}, 0.01)
    theirs = Adam({name: part for name, part in w.items() if "discriminator" in name}, 0.01)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def probability(zr: Tensor, zv: Tensor) -> Tensor:
        hidden = linear("discriminator.0", torch.cat((zv, zr), 1)).clamp(min=0)
        return 1 / (1 + torch.exp(-linear("discriminator.2", hidden)))

    def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
        return (0.5 * (mean**2 + logvar.exp() - logvar - 1)).sum() / len(mean)

    generator = torch.Generator().manual_seed(5)
    counts, texts = torch.tensor([2, 1, 2]), trainer.members[0].texts
    texts = (texts - texts.mean(0)) / texts.var(0, unbiased=False).mean().sqrt()

    def normal(units: int) -> Tensor:
        return torch.randn(rows, units, generator=generator, dtype=torch.float64)

    order: list[int] = []
    for step in range(18):
        if len(order) < B:
            order += torch.randperm(10, generator=generator).tolist()
        picked, order = order[:B], order[B:]
        rows, place = len(picked), step % 9 / 9
        x, label = trainer.members[0].x[picked], torch.tensor(picked) % 3
        which = (torch.rand(rows, generator=generator) * counts[label]).long()
        y = torch.stack([texts[int(counts[:k].sum()) + int(n)] for k, n in zip(label.tolist(), which, strict=True)])
        rise = max(0.0, (place - 1 / 3) / (2 / 3))
        if rise and (step + 1) % 2 == 0:
            noise, noise_v, _ = normal(R), normal(V), normal(R)
            first, second = torch.randperm(rows, generator=generator), torch.randperm(rows, generator=generator)
            out = linear("encode_x", x).detach()
            zr = out[:, :R] + torch.exp(out[:, R + V : 2 * R + V] / 2) * noise
            zv = out[:, R : R + V] + torch.exp(out[:, 2 * R + V :] / 2) * noise_v
            true, false = probability(zr, zv), probability(zr[first], zv[second])
            theirs.descend(-(torch.log(true).mean() + torch.log(1 - false).mean()) / 2)
        noise, noise_v, noise_y = normal(R), normal(V), normal(R)
        out, text = linear("encode_x", x), linear("encode_y", y)
        zr = out[:, :R] + torch.exp(out[:, R + V : 2 * R + V] / 2) * noise
        zv = out[:, R : R + V] + torch.exp(out[:, 2 * R + V :] / 2) * noise_v
        zy = text[:, :R] + torch.exp(text[:, R:] / 2) * noise_y
        loss = ((linear("decode_x", torch.cat((zr, zv), 1)) - x) ** 2).mean() + (
            (linear("decode_y", zy) - y) ** 2
        ).mean()
        loss = loss + 0.5 * rise * divergence(out[:, :R], out[:, R + V : 2 * R + V])
        loss = loss + 0.5 * rise * divergence(out[:, R : R + V], out[:, 2 * R + V :])
        loss = loss + 0.3 * rise * divergence(text[:, :R], text[:, R:])
        if place >= 0.2:
            loss = loss + 1.3 * ((linear("decode_x", torch.cat((zy, zv), 1)) - x) ** 2).mean()
            loss = loss + 1.3 * ((linear("decode_y", zr) - y) ** 2).mean()
        loss = loss + 0.7 * rise * probability(zr, zv).mean()
        mine.descend(loss)
    trainer.cycle()
    trainer.cycle()
    for name, part in trainer.model(0).named_parameters():
        torch.testing.assert_close(part.detach(), w[name].detach(), atol=1e-6, rtol=0)


def test_what_is_trained_together_is_what_is_trained_alone() -> None:
    """Members of other recordings, texts and numbers of classes beside it change nothing but the rounding."""
    generator = torch.Generator().manual_seed(7)
    features = torch.nn.functional.normalize(torch.randn(4, Y, generator=generator), dim=1)
    x = torch.randn(23, X, generator=generator, dtype=torch.float64)
    other = Member(x, torch.arange(23) % 4, ClassTexts(features, torch.arange(4)), seed=8)
    alone, first = toy_trainer(), toy_trainer().members[0]
    together = Trainer(CONFIG, [other, first], seed=5)
    for trainer in (alone, together):
        trainer.cycle()
    for name, part in together.model(1).named_parameters():
        torch.testing.assert_close(part.detach(), alone.model(0).get_parameter(name).detach(), atol=1e-9, rtol=0)
        assert not torch.equal(together.model(0).get_parameter(name), part)


def test_texts_are_scaled_by_the_seen_ones() -> None:
    """Text features of length 1 and many dimensions, whose errors the KL divergence would exceed as they are."""
    trainer = toy_trainer()
    seen, model = trainer.members[0].texts, trainer.model(0)
    scaled = model.scaled_text(seen).numpy()
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    assert np.sqrt((scaled**2).mean()) == pytest.approx(1)
    cosines = np.corrcoef((seen - seen.mean(0)).numpy().ravel(), scaled.ravel())[0, 1]
    assert cosines == pytest.approx(1)  # one factor for all
    asked = torch.randn(4, Y, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    by_hand = model.encode_y((asked - seen.mean(0)) / (seen - seen.mean(0)).square().mean().sqrt())
    torch.testing.assert_close(torch.cat(model.text(asked), 1), by_hand)

    import dataclasses

    published = toy_trainer(dataclasses.replace(CONFIG, features="as-they-are")).model(0)
    assert torch.equal(published.scaled_text(asked), asked)


def test_weights_of_before_texts_were_scaled_are_loaded() -> None:
    model, older = toy_trainer().model(0), network()
    kept = {name: part for name, part in older.state_dict().items() if not name.startswith("text_")}
    model.load_state_dict(kept)
    texts = torch.randn(4, Y, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    torch.testing.assert_close(torch.cat(model.text(texts), 1), older.encode_y(texts))
