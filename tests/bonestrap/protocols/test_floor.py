"""The floors: kernel ridge against scikit-learn, raw joints against a plain layout, calibration against float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.kernel_ridge import KernelRidge
from torch import Tensor

from bonestrap.augment import ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Clips, Recordings
from bonestrap.layouts import SBU15
from bonestrap.momentum import BatchNorm, batch_norms
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import FRAMES, RawJoints, calibrate, kernel_ridge, raw_pipeline
from tests.bonestrap.protocols.labelled import features
from tests.bonestrap.references import error
from tests.bonestrap.tiny import encoder, recordings


@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_kernel_ridge_against_scikit_learn(strength: float) -> None:
    (x, y), (test_x, test_y) = features(90, 0), features(60, 1)
    x, test_x = x / 10, test_x / 10
    gamma = 1 / np.median(pdist(x.double().numpy()) ** 2)
    peer = KernelRidge(alpha=strength, kernel="rbf", gamma=gamma).fit(x.double(), np.eye(4)[y] * 2 - 1)
    expected = peer.predict(test_x.double())
    found = kernel_ridge(x, y, 4, strength)
    assert found.gamma == pytest.approx(gamma, rel=0.01)  # of an even number torch takes the lower of the middle two
    np.testing.assert_array_equal(found.predict(test_x), expected.argmax(1))
    assert found.accuracy(test_x, test_y) == pytest.approx(np.mean(expected.argmax(1) == test_y.numpy()))


def test_raw_joints_put_bodies_side_by_side() -> None:
    joints = torch.randn(4, 5, 15, 6)
    clips = Clips(joints, torch.tensor([0, 1, 1, 2]), 3)
    found = RawJoints()(clips)
    zero = torch.zeros(5 * 15 * 3)
    flat = [body[..., :3].reshape(-1) for body in joints]
    expected = torch.stack([torch.cat([flat[0], zero]), torch.cat([flat[1], flat[2]]), torch.cat([flat[3], zero])])
    assert torch.equal(found, expected)


def test_raw_pipeline_stretches_every_recording() -> None:
    source = recordings([1, 1], [7, 90])
    clips = raw_pipeline(SBU15)(source)
    assert clips.joints.shape == (2, FRAMES, 15, 6)
    torch.testing.assert_close(clips.joints[:, -1, :, :3], source.frames[[6, 96]], atol=1e-4, rtol=0)


def test_calibration_gives_the_statistics_of_all_recordings() -> None:
    network = encoder()
    seen: dict[BatchNorm, list[Tensor]] = {layer: [] for layer in batch_norms(network)}
    for layer, to in seen.items():
        layer.register_forward_hook(lambda _, inputs, __, to=to: to.append(inputs[0].detach()))
    before = {name: p.clone() for name, p in network.named_parameters()}
    chunks = [recordings([1, 2, 1], [9, 12, 30], seed) for seed in range(3)]
    calibrate(network, Pipeline(SBU15, ClipConfig(frames=12)), iter(chunks))
    for layer, parts in seen.items():
        assert len(parts) == 3
        assert error(layer, parts) < 1e-6
        assert not layer.seen
    assert not network.training
    assert all(torch.equal(before[name], p) for name, p in network.named_parameters())


# ---------------------------------------------------------------------- features


def test_features_are_those_of_evaluation_mode_in_order() -> None:
    network = encoder().train()
    pipeline = Pipeline(SBU15, ClipConfig(frames=12))
    chunks = [recordings([1, 2], [9, 12]), recordings([1], [20], seed=1)]
    found = extract(network, pipeline, iter(chunks))
    assert network.training  # put back
    assert not any(layer.seen for layer in batch_norms(network))
    network.eval()
    expected = torch.cat([network(pipeline(chunk)).detach() for chunk in chunks])
    assert torch.equal(found, expected) and not found.requires_grad
    alone = extract(network, pipeline, [recordings([1], [20], seed=1)])
    torch.testing.assert_close(alone[0], found[2], rtol=1e-5, atol=1e-6)
    assert not network.training


def test_the_mode_is_put_back_after_a_fault() -> None:
    network = encoder().train()

    def broken() -> Iterator[Recordings]:
        yield recordings([1], [9])
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        extract(network, Pipeline(SBU15, ClipConfig(frames=12)), broken())
    assert network.training
