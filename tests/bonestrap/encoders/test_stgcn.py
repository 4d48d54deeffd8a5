"""ST-GCN against a plain per-layer reference, its published size, and what an absent body must not change."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.clips import Clips
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import BLOCKS, STGCN, SpatialGraphConv
from bonestrap.layout import Layout
from bonestrap.layouts import KINECT20, NTU25, SBU15
from bonestrap.momentum import BatchNorm, batch_norms, commit, take_moments
from tests.bonestrap.references import original_partitions


def clips(owner: list[int], layout: Layout, frames: int = 16, channels: int = 3, seed: int = 0) -> Clips:
    generator = torch.Generator().manual_seed(seed)
    joints = torch.randn(len(owner), frames, len(layout.joints), channels, generator=generator, dtype=torch.float64)
    return Clips(joints, torch.tensor(owner), max(owner) + 1)


def scrambled(encoder: STGCN) -> STGCN:
    """In float64, with weights and statistics of which none is at a value that would hide a mistake."""
    encoder = encoder.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in encoder.state_dict().items():
            noise = torch.rand(tensor.shape, generator=generator, dtype=torch.float64) + 0.5
            if tensor.ndim == 1 or "importance" in name:  # the large matrices keep their random values
                tensor.copy_(noise)
    return encoder


def test_size_is_the_published_one() -> None:
    encoder = STGCN(STGCNConfig(), NTU25, channels=3)
    head = nn.Linear(encoder.features, 60)
    count = sum(p.numel() for module in (encoder, head) for p in module.parameters())
    assert round(count / 1e6, 3) == 3.099
    assert count == 3_098_832
    assert encoder.features == 256


def reference(state: dict[str, Tensor], joints: Tensor, owner: Tensor, layout: Layout, training: bool) -> Tensor:
    """The published forward pass, one layer after another on contiguous (N, C, T, V): convolve, then gather."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = (None, None) if training else (state[name + ".mean"], state[name + ".var"])
        weight, bias = state[name + ".weight"], state[name + ".bias"]
        return F.batch_norm(x.contiguous(), mean, var, weight, bias, training=training, eps=1e-5)

    n, t, v, c = joints.shape
    x = norm(joints.permute(0, 2, 3, 1).reshape(n, v * c, t), "norm")
    x = x.view(n, v, c, t).permute(0, 2, 3, 1).contiguous()
    adjacency = torch.stack([torch.from_numpy(matrix) for matrix in original_partitions(layout)])
    for index, (_, stride) in enumerate(BLOCKS):
        name = f"blocks.{index}"
        # Laid out as one convolution to K * C channels and a product with A[v, w] from joint v to joint w.
        matrix = state[name + ".spatial.weight"]
        outputs = len(matrix)
        kernel = matrix.view(outputs, 3, -1).transpose(0, 1).reshape(3 * outputs, -1, 1, 1)
        y = F.conv2d(x, kernel, state[name + ".spatial.bias"].flatten()).view(n, 3, outputs, *x.shape[2:])
        edges = adjacency * state[name + ".spatial.importance"].transpose(1, 2)
        y = torch.einsum("nkctv,kvw->nctw", y, edges).contiguous()
        y = F.relu(norm(y, name + ".norm1"))
        y = F.conv2d(
            y, state[name + ".temporal.weight"], state[name + ".temporal.bias"], stride=(stride, 1), padding=(4, 0)
        )
        y = norm(y, name + ".norm2")
        if index and stride == 1 and x.shape[1] == outputs:
            y = y + x
        elif index:
            weight, bias = state[f"{name}.shortcut.0.weight"], state[f"{name}.shortcut.0.bias"]
            y = y + norm(F.conv2d(x, weight, bias, stride=(stride, 1)), f"{name}.shortcut.1")
        x = F.relu(y)
    bodies = F.avg_pool2d(x, x.shape[2:]).flatten(1)
    return torch.stack([bodies[owner == clip].mean(0) for clip in range(int(owner.max()) + 1)])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("layout", "frames", "channels"), [(NTU25, 16, 3), (KINECT20, 13, 6), (SBU15, 2, 6)])
def test_forward_against_a_plain_reference(layout: Layout, frames: int, channels: int, training: bool) -> None:
    encoder = scrambled(STGCN(STGCNConfig(width=0.125), layout, channels)).train(training)
    batch = clips([0, 0, 1, 2], layout, frames, channels)
    expected = reference(encoder.state_dict(), batch.joints, batch.owner, layout, training)
    assert expected.std(0).min() > 1e-6  # clips differ in every feature
    found = encoder(batch)
    assert found.dtype == batch.joints.dtype
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7 * expected.abs().max().item())


def test_float32_agrees_with_float64() -> None:
    encoder = STGCN(STGCNConfig(width=0.25), NTU25, 6).eval()
    batch = clips([0, 1, 1], NTU25, 20, 6)
    single = encoder(batch._replace(joints=batch.joints.float()))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), encoder.double()(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [0.25, 0.5, 2.0])
def test_width_multiplies_every_layer(width: float) -> None:
    encoder = STGCN(STGCNConfig(width=width), NTU25, 6)
    convolutions = [block.temporal.out_channels for block in encoder.blocks]  # type: ignore[union-attr]
    assert convolutions == [round(width * base) for base in (64, 64, 64, 64, 128, 128, 128, 256, 256, 256)]
    assert encoder.features == convolutions[-1]
    widths = [layer.weight.numel() for layer in batch_norms(encoder)[1:]]
    assert sorted(set(widths)) == sorted(set(convolutions))


@pytest.mark.parametrize("bad", [{"width": 0.0}, {"width": -1.0}, {"dropout": 1.0}])
def test_impossible_settings_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        STGCNConfig(**bad)


def test_dropout_acts_in_training_only() -> None:
    batch = clips([0, 1], SBU15, 8)
    encoder = STGCN(STGCNConfig(width=0.125, dropout=0.5), SBU15, 3).double()
    assert not torch.equal(encoder(batch), encoder(batch))
    encoder.eval()
    assert torch.equal(encoder(batch), encoder(batch))


# ---------------------------------------------------------------------- bodies


def test_a_clip_has_one_feature_alone_or_beside_clips_of_two_bodies() -> None:
    encoder = scrambled(STGCN(STGCNConfig(width=0.125), NTU25, 3)).eval()
    batch = clips([0, 0, 1, 2, 2], NTU25)
    alone = Clips(batch.joints[2:3], torch.tensor([0]), 1)
    torch.testing.assert_close(encoder(alone)[0], encoder(batch)[1], rtol=1e-6, atol=1e-8)
    pair = encoder(Clips(batch.joints[:2], torch.tensor([0, 0]), 1))[0]
    singly = encoder(Clips(batch.joints[:2], torch.tensor([0, 1]), 2))
    torch.testing.assert_close(pair, singly.mean(0), rtol=1e-6, atol=1e-8)


def test_training_statistics_are_those_of_the_bodies_that_are_there() -> None:
    encoder = STGCN(STGCNConfig(width=0.125), SBU15, 3).train()
    batch = clips([0, 0, 1, 2], SBU15)
    seen: dict[BatchNorm, Tensor] = {}
    for layer in batch_norms(encoder):
        layer.register_forward_hook(lambda layer, inputs, _: seen.__setitem__(layer, inputs[0].detach().double()))
    encoder(batch._replace(joints=batch.joints.float()))
    commit(take_moments(batch_norms(encoder)), [batch_norms(encoder)], alpha=0.0)
    assert {len(x) for x in seen.values()} == {4}  # four bodies, not three clips of two
    first = batch.joints.permute(2, 3, 0, 1).reshape(45, -1)
    torch.testing.assert_close(encoder.norm.mean.double(), first.mean(1), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(encoder.norm.var.double(), first.var(1, unbiased=False), rtol=1e-6, atol=0)
    for layer, x in seen.items():
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        assert ((layer.mean - mean).abs() <= 1e-6 * torch.maximum(mean.abs(), var.sqrt())).all()
        torch.testing.assert_close(layer.var.double(), var, rtol=1e-6, atol=0)


def test_gradients_flow_to_every_parameter() -> None:
    encoder = STGCN(STGCNConfig(width=0.125), SBU15, 6)
    encoder(clips([0, 1, 1], SBU15, channels=6)._replace(joints=torch.randn(3, 16, 15, 6))).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize(("inputs", "outputs"), [(6, 16), (16, 32)])
def test_the_dense_product_of_narrow_layers(inputs: int, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output and gradients in bfloat16 against the gathering path in float64."""
    torch.manual_seed(0)
    layer = SpatialGraphConv(inputs, outputs, torch.from_numpy(NTU25.partitions()))
    nn.init.uniform_(layer.importance, 0.5, 1.5)
    x = torch.randn(3, inputs, 8, 25).bfloat16().requires_grad_()
    dy = torch.randn(3, outputs, 8, 25)
    monkeypatch.setattr(SpatialGraphConv, "gather", None)  # the narrow layer must not take it
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    found = torch.autograd.grad(y, [x, *layer.parameters()], dy.to(y.dtype))
    monkeypatch.undo()
    plain = x.detach().double().requires_grad_()
    expected_y = layer.double()(plain)
    expected = torch.autograd.grad(expected_y, [plain, *layer.parameters()], dy.double())
    for ours, theirs in zip((y, *found), (expected_y, *expected), strict=True):
        assert (ours.double() - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.parametrize("width", [0.125, 1.0])
def test_no_pointwise_convolution_is_strided(width: float) -> None:
    """oneDNN's backward pass of these writes out of bounds below 16 channels, which ends a run on several threads."""
    convolutions = [m for m in STGCN(STGCNConfig(width=width), SBU15, 6).modules() if isinstance(m, nn.Conv2d)]
    assert {conv.stride for conv in convolutions if conv.kernel_size == (1, 1)} == {(1, 1)}
    assert [conv.stride for conv in convolutions if conv.kernel_size == (9, 1)].count((2, 1)) == 2
