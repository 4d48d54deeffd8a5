"""The skeleton transformer: features against the equations in numpy, layers, stochastic depth, what it refuses."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import pytest
import torch

from bonestrap.augment import ClipConfig
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.encoders.skeleton_transformer.network import SkeletonTransformer
from bonestrap.layouts import SBU15
from bonestrap.transformer import DropPath
from tests.bonestrap import masked as reference

CLIP = ClipConfig(frames=12)
CONFIG = SkeletonTransformerConfig(width=1 / 32, depth=2, heads=2)


def encoder(config: SkeletonTransformerConfig = CONFIG) -> SkeletonTransformer:
    torch.manual_seed(0)
    return config.build(SBU15, CLIP).double().eval()


@pytest.mark.parametrize(("channels", "seen"), [("joints", 3), ("all", 6)])
def test_features_are_means_of_what_the_equations_give(channels: Literal["joints", "all"], seen: int) -> None:
    joints = torch.randn(2, 12, 15, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    config = dataclasses.replace(CONFIG, channels=channels)
    mean, by_joint = encoder(config), encoder(dataclasses.replace(config, pool="joint"))
    weights = {name: value.numpy() for name, value in mean.state_dict().items()}
    for body in range(2):
        tokens = reference.encode(joints[body, ..., :seen].numpy(), range(45), weights, size=4, depth=2, heads=2)
        with torch.no_grad():
            found, parts = mean.encode_bodies(joints)[body], by_joint.encode_bodies(joints)[body]
        np.testing.assert_allclose(found.numpy(), tokens.mean(0), atol=1e-9)
        expected = np.concatenate([tokens[joint::15].mean(0) for joint in range(15)])
        np.testing.assert_allclose(parts.numpy(), expected, atol=1e-9)
    assert (mean.features, by_joint.features) == (8, 15 * 8)


def test_layers_hold_every_parameter_once_and_the_input_first() -> None:
    network = encoder()
    layers = [{id(p) for p in layer.parameters()} for layer in network.layers()]
    assert len(layers) == 3
    assert sorted(each for layer in layers for each in layer) == sorted(id(p) for p in network.parameters())
    assert id(network.positions.time) in layers[0] and id(network.norm.weight) in layers[-1]


def test_a_body_skips_a_branch_or_takes_it_scaled() -> None:
    """Stochastic depth keeps the expectation; the rates rise from 0 to the setting's, and evaluation drops nothing."""
    network = encoder(dataclasses.replace(CONFIG, depth=5, drop_path=0.4))
    rates = [block.drop_path.rate for block in network.blocks]  # type: ignore[union-attr]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    layer, ones = DropPath(0.25), torch.ones(4000, 3, 2)
    torch.manual_seed(0)
    out = layer.train()(ones)
    assert out.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (out.flatten(1).std(1) == 0).all()  # a body at a time
    assert out.mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(layer.eval()(ones), ones)


def test_other_clips_are_refused() -> None:
    network = encoder()
    with pytest.raises(ValueError, match="takes clips of 12 frames of 15 joints, got 8 of 15"):
        network.encode_bodies(torch.zeros(1, 8, 15, 6, dtype=torch.float64))
    with pytest.raises(ValueError, match="not divisible into patches of 5"):
        dataclasses.replace(CONFIG, patch=5).build(SBU15, CLIP)


def test_channels_are_a_multiple_of_the_heads() -> None:
    assert [SkeletonTransformerConfig(width=width).units for width in (1.0, 0.25, 0.07, 1e-4)] == [256, 64, 16, 8]
