"""Masked motion prediction against its equations in numpy: masks, targets, networks and loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bonestrap.augment import ClipConfig
from bonestrap.clips import Batch, Clips
from bonestrap.encoders import SkeletonTransformerConfig, STGCNConfig
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, LAYOUTS, SBU15
from bonestrap.methods import MAMPConfig, Task
from bonestrap.methods.mamp.method import MAMP
from bonestrap.methods.masking.mask import log_probability, mask, stride_motion
from tests.bonestrap import masked as reference
from tests.bonestrap.tiny import recordings

CLIP = ClipConfig(frames=12, fit=True)
ENCODER = SkeletonTransformerConfig(width=1 / 32, depth=2, heads=2)


def method(
    config: MAMPConfig | None = None, layout: Layout = SBU15, encoder: SkeletonTransformerConfig = ENCODER
) -> MAMP:
    torch.manual_seed(0)
    task = Task(layout, CLIP, steps=1, classes=0)
    return (config or MAMPConfig(mask_ratio=0.8, decoder=1)).build(encoder.build(layout, CLIP), task)


def parameters(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def walks(bodies: int, layout: Layout = SBU15) -> Tensor:
    shape = bodies, CLIP.frames, len(layout.joints), layout.channels
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).cumsum(1) * 0.1


@pytest.mark.parametrize(
    "config",
    [
        MAMPConfig(mask_ratio=0.8, decoder=1),
        MAMPConfig(mask_ratio=0.5, decoder=2, decoder_width=0.5, intensity="relative", target="forward", tau=0.3),
        MAMPConfig(mask_ratio=0.9, decoder=0, normalise=False),
    ],
)
def test_one_step_is_what_the_equations_say(config: MAMPConfig) -> None:
    mamp = method(config).double()
    joints = walks(3)
    tokens = 3 * len(SBU15.joints)
    uniform = torch.rand(3, tokens, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    hidden = mamp.forward_mask(joints, uniform)
    latent = mamp.forward_encoder(joints, hidden)
    prediction = mamp.forward_decoder(latent, hidden)
    loss = mamp.forward_loss(Clips(joints, torch.arange(3), 3), prediction, hidden)

    count = round(tokens * config.mask_ratio)
    errors: list[float] = []
    for body in range(3):
        clip = joints[body, ..., :3].numpy()
        pi = reference.probabilities(clip, 4, config.tau, relative=config.intensity == "relative")
        keys = np.log(pi) - np.log(-np.log(uniform[body].numpy()))
        chosen = set(np.argsort(-keys)[:count].tolist())
        assert set(hidden.masked[body].tolist()) == chosen
        visible = hidden.visible[body].tolist()
        assert sorted(visible) == sorted(set(range(tokens)) - chosen)
        expected = reference.encode(clip, visible, parameters(mamp.encoder), size=4, depth=2, heads=2)
        np.testing.assert_allclose(latent[body].detach().numpy(), expected, rtol=0, atol=1e-6)
        decoded = reference.decode(expected, visible, tokens, parameters(mamp.decoder), depth=config.decoder, heads=2)
        np.testing.assert_allclose(prediction[body].detach().numpy(), decoded, rtol=0, atol=1e-6)
        moved = reference.motion(clip, 4) if config.target == "stride" else reference.forward_difference(clip)
        target = reference.targets(moved, 4, normalise=config.normalise)
        np.testing.assert_allclose(mamp.target(joints)[body].numpy(), target, rtol=0, atol=1e-6)
        errors += [((decoded[token] - target[token]) ** 2).mean() for token in chosen]
    assert loss.item() == pytest.approx(np.mean(errors), abs=1e-6)


def test_what_is_masked_first_and_second_has_the_probabilities_of_the_paper() -> None:
    """Gumbel top-k draws without replacement: first with pi_i, second with sum over j of pi_j pi_i / (1 - pi_j)."""
    joints = walks(1)[:, :8, :2, :3]
    pi = reference.probabilities(joints[0].numpy(), 4, 0.8)
    draws, generator = 200_000, torch.Generator().manual_seed(3)
    log_pi = log_probability(stride_motion(joints, 4), 0.8, "sum").expand(draws, -1)
    uniform = torch.rand(draws, 4, dtype=torch.float64, generator=generator)
    order = mask(log_pi, uniform, 2).masked
    second = np.array([sum(pi[j] * pi[i] / (1 - pi[j]) for j in range(4) if j != i) for i in range(4)])
    for place, expected in enumerate((np.array(pi), second)):
        share = torch.bincount(order[:, place], minlength=4).double() / draws
        np.testing.assert_allclose(share.numpy(), expected, atol=4 * 0.5 / math.sqrt(draws))


def test_a_still_body_is_masked_anywhere() -> None:
    """Nothing moves: all tokens are alike, nothing is divided by zero."""
    still = torch.zeros(1, 8, 5, 3)
    for intensity in ("sum", "relative"):
        log_pi = log_probability(stride_motion(still, 4), 0.8, intensity)
        torch.testing.assert_close(log_pi, torch.full((1, 10), -math.log(10)))


def test_the_published_network_has_the_public_models_parameters() -> None:
    """Of 25 joints and 120 frames: 6,336,000 in the encoder; with its decoder of 5 blocks 10,368,524, of 3 8,789,004.

    Of the public code: a 4 x 1 convolution of 3 to 256 channels, 30 and 25 embeddings, blocks with biases, a last norm.
    """
    layout, clip = LAYOUTS["ntu25"], ClipConfig(frames=120, fit=True)
    encoder = SkeletonTransformerConfig().build(layout, clip)
    d = 256
    block = 2 * 2 * d + (3 * d * d + 3 * d) + (d * d + d) + (4 * d * d + 4 * d) + (4 * d * d + d)
    own = (4 * 3 * d + d) + (30 + 25) * d + 8 * block + 2 * d
    assert sum(p.numel() for p in encoder.parameters()) == own == 6_336_000
    for depth, whole in ((5, 10_368_524), (3, 8_789_004)):
        config = MAMPConfig(decoder=depth)
        mamp = config.build(encoder, Task(layout, clip, steps=1, classes=0))
        more = (d * d + d) + d + (30 + 25) * d + depth * block + 2 * d + (d * 12 + 12)
        assert sum(p.numel() for p in mamp.parameters()) == own + more == whole
        assert mamp.count == 675  # 75 of 750 are seen


def test_a_strangers_planar_joints_train() -> None:
    """17 joints in an image, with bones seen: the loss is finite, and every parameter has a gradient."""
    mamp = method(layout=COCO17, encoder=SkeletonTransformerConfig(width=1 / 32, depth=1, heads=2, channels="all"))
    mamp.train()
    batch = Batch((recordings([1, 2], [9, 30], layout=COCO17),), None, seed=7)
    torch.manual_seed(7)  # as the loop does with every batch's seed
    loss = mamp(batch, 0)["loss"]
    loss.backward()
    assert loss.isfinite() and all(p.grad is not None for p in mamp.parameters())
    torch.manual_seed(7)
    assert mamp(batch, 0)["loss"] == loss  # draws are the batch's own
    assert mamp(batch, 0)["loss"] != loss  # another mask


def test_an_absent_body_costs_nothing_and_changes_nothing() -> None:
    mamp = method()
    joints = walks(3).float()
    hidden = mamp.forward_mask(joints, torch.rand(3, 45, generator=torch.Generator().manual_seed(2)))
    latent = mamp.forward_encoder(joints, hidden)
    assert latent.shape == (3, 9, 8)
    alone = mamp.forward_encoder(joints[:1], type(hidden)(hidden.masked[:1], hidden.visible[:1]))
    torch.testing.assert_close(latent[:1], alone)


@pytest.mark.parametrize("ratio", [0.001, 0.999])
def test_some_tokens_are_masked_and_some_are_seen(ratio: float) -> None:
    with pytest.raises(ValueError, match="some must be masked and some visible"):
        method(MAMPConfig(mask_ratio=ratio))


def test_what_cannot_be_masked_is_named() -> None:
    with pytest.raises(ValueError, match="mask_ratio must lie in"):
        MAMPConfig(mask_ratio=1)
    task = Task(SBU15, CLIP, steps=1, classes=0)
    with pytest.raises(ValueError, match="MAMP masks tokens, which STGCN has none of"):
        MAMPConfig().build(STGCNConfig(width=0.05).build(SBU15, CLIP), task)
    with pytest.raises(
        ValueError, match=r"clips of 14 frames are not divisible into patches of 4: give --clip\.frames 16"
    ):
        ENCODER.build(SBU15, ClipConfig(frames=14))
    short = ClipConfig(frames=4)
    with pytest.raises(ValueError, match="motion needs two"):
        MAMPConfig().build(ENCODER.build(SBU15, short), Task(SBU15, short, steps=1, classes=0))
