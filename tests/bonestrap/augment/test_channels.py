"""Scale, partner and motion of a clip against a loop over clips in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bonestrap.augment import ClipConfig, MaskJoints, Rotate, Shift, View, fused
from bonestrap.augment.pipeline import Pipeline
from bonestrap.encoders import SkeletonTransformerConfig, STGCNConfig
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, NTU25, SBU15
from tests.bonestrap.tiny import BODIES, LENGTHS, generator, recordings

VIEW: View = (Rotate(), Shift(), MaskJoints(probability=0.3))


@pytest.fixture(params=["compiled", "torch"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "torch":
        monkeypatch.setattr(fused, "kernel", lambda: None)
    else:
        pytest.importorskip("numba")


@pytest.mark.parametrize("motion", [False, True], ids=["", "motion"])
@pytest.mark.parametrize("normalise", ["none", "size", "axes"])
@pytest.mark.parametrize("layout", [SBU15, COCO17], ids=["space", "plane"])
def test_against_one_clip_at_a_time(layout: Layout, normalise: str, motion: bool, way: None) -> None:
    source, axes = recordings(BODIES, LENGTHS, layout=layout), layout.coordinates
    plain = Pipeline(layout, ClipConfig(frames=20, fit=True), VIEW)
    draw = plain.sample(source.size, generator(1))
    x = plain.apply(source, draw).joints.double().numpy()
    expected = np.zeros((*x.shape[:3], (3 if motion else 2) * axes))
    for clip in range(source.size):
        bodies, keep = source.owner.numpy() == clip, draw.keep[clip].numpy()
        points = x[bodies][:, :, keep, :axes].reshape(-1, axes)
        middle, half = (points.max(0) + points.min(0)) / 2, (points.max(0) - points.min(0)) / 2
        half = {"none": np.ones(axes), "size": np.full(axes, half.max()), "axes": half}[normalise]
        middle = middle * (normalise != "none")
        where: Any = np.ix_(bodies, np.arange(20), keep)
        expected[(*where, slice(0, axes))] = (x[(*where, slice(0, axes))] - middle) / half
        expected[(*np.ix_(bodies), ..., slice(axes, 2 * axes))] = x[bodies][..., axes : 2 * axes] / half
    if motion:
        for t in range(19):
            expected[:, t, :, 2 * axes :] = expected[:, t + 1, :, :axes] - expected[:, t, :, :axes]
    clip_config = ClipConfig(frames=20, fit=True, normalise=normalise, motion=motion)  # type: ignore[arg-type]
    found = Pipeline(layout, clip_config, VIEW).apply(source, draw).joints
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.shape[-1] == clip_config.channels(layout)


@pytest.mark.parametrize("layout", [SBU15, COCO17], ids=["space", "plane"])
def test_partners_against_one_body_at_a_time(layout: Layout, way: None) -> None:
    bodies, axes = [2, 1, 3, 2], layout.coordinates
    source = recordings(bodies, [20, 9, 31, 16], layout=layout)
    plain, both = ClipConfig(frames=16), ClipConfig(frames=16, partner=True, motion=True)
    draw = Pipeline(layout, plain, VIEW).sample(source.size, generator(2))
    x = Pipeline(layout, plain, VIEW).apply(source, draw).joints.numpy()
    found = Pipeline(layout, both, VIEW).apply(source, draw).joints.numpy()
    row = 0
    for count in bodies:
        for body in range(count):
            partner = x[row + (1 if body == 0 else 0), ..., :axes] if count > 1 else np.zeros_like(x[0, ..., :axes])
            expected = np.concatenate((x[row + body], partner, np.zeros_like(partner)), -1)
            expected[:-1, ..., -axes:] = np.diff(x[row + body, ..., :axes], axis=0)
            np.testing.assert_array_equal(found[row + body], expected)
        row += count
    assert found.shape[-1] == both.channels(layout)


def test_a_partner_needs_a_common_coordinate_system() -> None:
    with pytest.raises(ValueError, match="own_pose gives each its own"):
        ClipConfig(partner=True, own_pose=True)


def test_what_has_no_extent_stays_finite(way: None) -> None:
    source = recordings([1, 1], [1, 30])
    for view in ((MaskJoints(probability=1.0),), ()):
        for normalise in ("size", "axes"):
            clip = ClipConfig(frames=8, normalise=normalise, motion=True)
            joints = Pipeline(SBU15, clip, view)(source._replace(frames=source.frames * 0)).joints
            assert joints.isfinite().all() and (joints == 0).all()


def test_an_encoder_takes_the_channels_of_its_clips() -> None:
    clip = ClipConfig(frames=16, motion=True)
    encoder = STGCNConfig(width=0.125).build(NTU25, clip)
    features = encoder(Pipeline(NTU25, clip)(recordings([1, 2], [9, 40], layout=NTU25)))
    assert features.shape == (2, encoder.features) and torch.isfinite(features).all()


def test_a_transformer_of_all_channels_reads_motion_as_well() -> None:
    clip = ClipConfig(frames=16, motion=True)
    encoder = SkeletonTransformerConfig(width=0.0625, depth=1, channels="all").build(NTU25, clip).eval()
    clips = Pipeline(NTU25, clip)(recordings([1, 2], [9, 40], layout=NTU25))
    still = clips._replace(joints=torch.cat((clips.joints[..., :6], clips.joints[..., 6:] * 0), -1))
    assert not torch.equal(encoder(clips), encoder(still))
