"""BYOL against cases worked out by hand, its target against closed forms, its statistics against float64."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bonestrap.clips import Clips
from bonestrap.encoders.stgcn.network import STGCN, Block
from bonestrap.methods import BYOLConfig
from bonestrap.methods.byol.method import BYOL, byol_distance
from bonestrap.momentum import BatchNorm, batch_norms
from distributed.loop import train
from distributed.strategy import Single
from tests.bonestrap.references import error, pooled, relative
from tests.bonestrap.tiny import Pairs, byol, byol_job

# ---------------------------------------------------------------------- the loss


class Says(nn.Module):
    """Answers with these embeddings, one call after the other, whatever it is given."""

    def __init__(self, *answers: list[list[float]]) -> None:
        super().__init__()
        self.answers = [torch.tensor(answer) for answer in answers]

    def forward(self, clips: Clips) -> Tensor:
        return self.answers.pop(0)


# Two clips in two dimensions: online embeddings of both views (q1, q2), target embeddings (z1, z2), and the loss.
EAST, NORTH, WEST = [2.0, 0.0], [0.0, 0.5], [-3.0, 0.0]
CASES = {
    "identical": ([EAST, NORTH], [EAST, NORTH], [EAST, NORTH], [EAST, NORTH], 0.0),
    "orthogonal": ([EAST, NORTH], [EAST, NORTH], [NORTH, EAST], [NORTH, EAST], 2 + 2),
    "opposite": ([EAST, EAST], [EAST, EAST], [WEST, WEST], [WEST, WEST], 4 + 4),
    # Each direction predicts the other view: q1 fits z2 and q2 fits z1, though q1 is at right angles to z1.
    "crossed": ([EAST, EAST], [NORTH, NORTH], [NORTH, NORTH], [EAST, EAST], 0.0),
    # First clip 2 + 0, second 4 + 2; mean over clips.
    "mixed": ([EAST, EAST], [NORTH, NORTH], [NORTH, EAST], [NORTH, WEST], (2 + 4) / 2 + (0 + 2) / 2),
    # 2 - 2 cos 60 degrees, both ways.
    "sixty degrees": ([EAST] * 2, [EAST] * 2, [[1, 3**0.5]] * 2, [[5, 5 * 3**0.5]] * 2, 1 + 1),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_loss_is_the_sum_of_both_directions(case: tuple[list, list, list, list, float]) -> None:
    q1, q2, z1, z2, expected = case
    method = byol()
    method.online, method.predictor, method.target = Says(q1, q2), nn.Identity(), Says(z1 + z2)  # type: ignore[assignment]
    loss = method(Pairs(size=2).group(0, 0), 0)["loss"]
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_distance_is_that_of_the_normalised_vectors() -> None:
    a, b = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    unit_a, unit_b = (x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True) for x in (a, b))
    np.testing.assert_allclose(byol_distance(a, b), ((unit_a - unit_b) ** 2).sum(1), rtol=1e-5)
    torch.testing.assert_close(byol_distance(a * 100, b * 0.01), byol_distance(a, b))


def test_views_are_drawn_apart_and_by_the_batch_alone() -> None:
    method, batch = byol(), Pairs().group(3, 1)
    shown: list[Clips] = []
    method.online.register_forward_pre_hook(lambda module, clips: shown.append(clips[0]))
    for seed in (batch.seed, batch.seed, batch.seed + 1):
        method(batch._replace(seed=seed), 0)
    v1, v2, again1, again2, other1, other2 = (clips.joints for clips in shown)
    assert torch.equal(v1, again1) and torch.equal(v2, again2)
    assert not torch.equal(v1, other1) and not torch.equal(v2, other2)
    generator = torch.Generator().manual_seed(batch.seed)
    assert torch.equal(v1, method.view1(batch.views[0], generator).joints)
    assert torch.equal(v2, method.view2(batch.views[1], generator).joints)


# ---------------------------------------------------------------------- who learns


def test_gradients_reach_the_online_network_and_the_predictor_alone() -> None:
    method = byol()
    method(Pairs().group(0, 0), 0)["loss"].backward()
    for name, parameter in method.named_parameters():
        if name.startswith("target."):
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_online_and_target_start_equal_and_share_nothing() -> None:
    method = byol()
    online, target = method.online.state_dict(), method.target.state_dict()
    assert online.keys() == target.keys()
    torch.testing.assert_close(online, target, rtol=0, atol=0)
    places = [{t.data_ptr() for t in state.values()} for state in (online, target)]
    assert not places[0] & places[1]
    assert not set(method.online.modules()) & set(method.target.modules())


def test_the_target_is_always_in_evaluation_mode() -> None:
    method = byol()
    wrapped = nn.Sequential(method)  # as data-parallel training does
    for change in (method.train, method.eval, wrapped.train, wrapped.eval, wrapped.train):
        change()
        assert not any(module.training for module in method.target.modules())
    assert all(layer.training for layer in method.online_norms())
    method(Pairs().group(0, 0), 0)
    assert not any(layer.seen for layer in batch_norms(method.target))


# ---------------------------------------------------------------------- the target follows


def test_ema_against_its_closed_form(tmp_path: Path) -> None:
    """xi_n = prod(lambda) xi_0 + sum over j of (1 - lambda_j) prod(lambda after j) theta_(j+1), four groups a step."""
    steps = 6
    method = byol(steps=steps, momentum=0.9)
    theta = [copy.deepcopy(method.online.state_dict())]
    after = method.after_step

    def noting(step: int) -> None:
        theta.append(copy.deepcopy(method.online.state_dict()))
        after(step)

    method.after_step = noting  # type: ignore[method-assign]
    train(byol_job(tmp_path, steps=steps, method=method), Single())
    assert len(theta) == steps + 1  # once an optimizer step, though it accumulates four groups
    lambdas = [1 - 0.1 * (math.cos(math.pi * k / steps) + 1) / 2 for k in range(steps)]
    for name, parameter in method.target.named_parameters():
        expected = math.prod(lambdas) * theta[0][name].double()
        for k in range(steps):
            expected += (1 - lambdas[k]) * math.prod(lambdas[k + 1 :]) * theta[k + 1][name].double()
        torch.testing.assert_close(parameter.detach().double(), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(theta[0][name], theta[-1][name]), name


def test_the_target_moves_after_the_optimizer_and_only_then() -> None:
    method, loader = byol(), Pairs()
    before = copy.deepcopy(method.target.state_dict())
    for group in range(4):
        method(loader.group(0, group), 0)["loss"].backward()
        torch.testing.assert_close(method.target.state_dict(), before, rtol=0, atol=0)
    method.after_step(0)
    assert not torch.equal(method.target.state_dict()["encoder.norm.mean"], before["encoder.norm.mean"])


# ---------------------------------------------------------------------- momentum batch normalisation


def far_from_zero(method: BYOL) -> tuple[BatchNorm, BatchNorm]:
    """Shift what two batch-norm layers see by a hundred of its own deviations."""
    encoder, projector = method.online.encoder, method.online.projector
    assert isinstance(encoder, STGCN)
    block = encoder.blocks[3]
    assert isinstance(block, Block)
    with torch.no_grad():
        for layer in (block.temporal, projector.linear1):
            assert layer.bias is not None
            layer.weight.mul_(5)
            layer.bias.add_(100.0)
    return block.norm2, projector.norm1


def test_statistics_are_the_moments_of_all_groups_and_views_in_every_layer() -> None:
    method, loader = byol(momentum=0.9), Pairs(size=8)
    far = far_from_zero(method)
    online = {**dict(method.online.named_modules()), "predictor": method.predictor.norm1}
    layers = {name: layer for name, layer in online.items() if isinstance(layer, BatchNorm)}
    assert len(layers) == 25  # 1 + 10 x 2 + 2 shortcuts, projector, predictor
    seen: dict[str, list[Tensor]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.register_forward_hook(lambda _, inputs, __, name=name: seen[name].append(inputs[0].detach().clone()))
    target = dict(method.target.named_modules())
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
    expected: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    for step, alpha in ((0, 0.0), (20, 0.9), (21, 0.9)):  # the first step takes the moments as they are
        optimizer.zero_grad()
        for group in range(2):
            method(loader.group(step, group), step)["loss"].backward()
        optimizer.step()
        method.after_step(step)
        for name, layer in layers.items():
            assert len(seen[name]) == 4  # 2 groups x 2 views
            if step == 0:
                assert error(layer, seen[name]) < 1e-6, name
            mean, var = pooled(seen[name])
            old_mean, old_var = expected.get(name, (mean, var))
            mean, var = alpha * old_mean + (1 - alpha) * mean, alpha * old_var + (1 - alpha) * var
            expected[name] = (mean, var)
            assert relative(layer, mean, var) < 1e-6, name
            if layer in far:
                assert (np.abs(mean) / np.sqrt(var)).max() > 50  # float32 sums of squares would lose three digits
            if name != "predictor":
                twin = target[name]
                assert isinstance(twin, BatchNorm)
                assert torch.equal(twin.mean, layer.mean) and torch.equal(twin.var, layer.var)
            seen[name].clear()
        assert not method.moments.any()
        assert not any(layer.seen for layer in method.modules() if isinstance(layer, BatchNorm))


def test_the_target_can_follow_its_own_statistics() -> None:
    """Those of all that its layers saw, after a first step in which it still is the online network."""
    plain = byol(momentum=0.9)
    config = BYOLConfig(hidden=32, projection=16, norm=True, momentum=0.9, statistics="target")
    method = BYOL(plain.online.encoder, config, view1=plain.view1, view2=plain.view2, steps=50)
    names = [name for name, layer in method.target.named_modules() if isinstance(layer, BatchNorm)]
    networks = [dict(method.online.named_modules()), dict(method.target.named_modules())]
    seen: dict[tuple[int, str], list[Tensor]] = {}
    for which, network in enumerate(networks):
        for name in names:
            seen[which, name] = []
            network[name].register_forward_hook(
                lambda _, inputs, __, at=(which, name): seen[at].append(inputs[0].detach().clone())
            )
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.05)
    expected: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for step in range(3):
        one_step(method, optimizer, step)
        alpha = step / (step + 1)
        for name in names:
            mean, var = pooled(seen[min(step, 1), name])
            old_mean, old_var = expected.get(name, (mean, var))
            mean, var = alpha * old_mean + (1 - alpha) * mean, alpha * old_var + (1 - alpha) * var
            expected[name] = (mean, var)
            layer = networks[1][name]
            assert isinstance(layer, BatchNorm)
            assert relative(layer, mean, var) < 1e-6, name
        for (which, _), inputs in seen.items():
            assert len(inputs) == (4, 2)[which]  # 2 groups x 2 views, of which the target takes both at once
            inputs.clear()
        assert not method.moments.any()


# ---------------------------------------------------------------------- state


def one_step(method: BYOL, optimizer: torch.optim.Optimizer, step: int) -> list[float]:
    optimizer.zero_grad()
    losses = [method(Pairs().group(step, group), step)["loss"] for group in range(2)]
    torch.stack(losses).mean().backward()
    optimizer.step()
    method.after_step(step)
    return [loss.item() for loss in losses]


def test_the_state_dict_is_all_there_is() -> None:
    def start(seed: int) -> tuple[BYOL, torch.optim.Optimizer]:
        method = byol(seed)
        learning = [p for p in method.parameters() if p.requires_grad]
        return method, torch.optim.SGD(learning, lr=0.05, momentum=0.9)

    method, optimizer = start(0)
    for step in range(3):
        one_step(method, optimizer, step)
    assert "moments" in method.state_dict() and not method.moments.any()
    other, other_optimizer = start(99)
    other.load_state_dict(method.state_dict())
    other_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for step in range(3, 6):
        assert one_step(method, optimizer, step) == one_step(other, other_optimizer, step)
    torch.testing.assert_close(method.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_normalising_the_projection_is_an_option_with_an_effect() -> None:
    plain = byol()
    config = BYOLConfig(hidden=32, projection=16, norm=True)
    normed = BYOL(plain.online.encoder, config, view1=plain.view1, view2=plain.view2, steps=5)
    assert len(normed.online_norms()) == len(plain.online_norms()) + 1
    z: list[Tensor] = []
    normed.online.register_forward_hook(lambda module, clips, output: z.append(output.detach()))
    normed(Pairs(size=16).group(0, 0), 0)
    torch.testing.assert_close(z[0].mean(0), torch.zeros(16), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bad", [{"momentum": 1.5}, {"alpha": 1.0}, {"alpha": -0.1}])
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        BYOLConfig(**bad)  # type: ignore[arg-type]
