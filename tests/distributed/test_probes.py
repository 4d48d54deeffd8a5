"""Probes against closed forms and a numpy reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bonestrap.augment import ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Clips, Recordings
from bonestrap.layouts import LAYOUTS
from bonestrap.protocols.floor import KERNEL_STRENGTHS, raw_pipeline
from distributed.probes import Probe, Sample, collapsed, effective_rank, feature_spread

LAYOUT = LAYOUTS["kinect20"]


def test_spread_of_directions_even_on_the_sphere_is_one_and_of_one_point_nought() -> None:
    even = torch.cat([torch.eye(16), -torch.eye(16)]) * torch.rand(32, 1).add(0.1)
    assert feature_spread(even) == pytest.approx(1.0)
    assert feature_spread(torch.full((10, 16), 3.0)) == pytest.approx(0.0, abs=1e-12)


def test_spread_against_numpy() -> None:
    x = np.random.default_rng(0).normal(size=(50, 7)) + 1
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    assert feature_spread(torch.from_numpy(x)) == pytest.approx(unit.std(axis=0).mean() * np.sqrt(7), rel=1e-12)


def test_effective_rank_of_known_spectra() -> None:
    rows = torch.linalg.qr(torch.randn(200, 8, dtype=torch.float64))[0]
    rows = torch.linalg.qr(rows - rows.mean(0))[0]  # centred, orthonormal columns
    axes = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    for values in ([1, 1, 1, 0, 0, 0, 0, 0], [8, 4, 2, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 0, 0]):
        spectrum = np.array(values) / sum(values)
        expected = np.exp(-sum(p * np.log(p) for p in spectrum if p > 0))
        features = rows * torch.tensor(values, dtype=torch.float64) @ axes.T + 5  # a common offset is not a direction
        assert effective_rank(features) == pytest.approx(expected, rel=1e-5)
    assert effective_rank(torch.ones(20, 8)) == 0


def test_collapse_is_a_point_or_a_line_but_not_an_untrained_layer() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 60)
    layer = torch.relu(torch.nn.Linear(60, 32)(x)).detach()
    assert not collapsed(feature_spread(layer), effective_rank(layer))
    point = torch.ones(200, 32) + 1e-3 * layer
    assert collapsed(feature_spread(point), effective_rank(point))
    line = torch.randn(200, 1) @ torch.randn(1, 32)
    assert collapsed(feature_spread(line), effective_rank(line))


class Encoder(torch.nn.Module):
    """Features that give the class away, unless `dead`; in training mode, noise."""

    dead = False

    def forward(self, clips: Clips) -> torch.Tensor:
        first = clips.joints[:, 0].flatten(1)[:, :10]
        return torch.randn_like(first) if self.training else first * (not self.dead) + 1


def sample(count: int, seed: int, noise: float = 0.1) -> Sample:
    """Recordings of one body whose coordinates lie around a point that belongs to their class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    centres = torch.randn(4, 1, 20, 3, generator=torch.Generator().manual_seed(7))
    frames = centres[labels] + noise * torch.randn(count, 5, 20, 3, generator=generator)
    chunks = []
    for rows in torch.arange(count).split(16):
        start, length = rows * 5, torch.full_like(rows, 5)
        chunks.append(Recordings(frames.flatten(0, 1), start, length, torch.arange(len(rows)), len(rows)))
    return Sample(chunks, labels)


def make(encoder: Encoder, said: list[str], noise: float = 0.1) -> Probe:
    pipeline = Pipeline(LAYOUT, ClipConfig(frames=4))
    return Probe(
        encoder, pipeline, layout=LAYOUT, fit=sample(40, 1, noise), held_out=sample(24, 2, noise), say=said.append
    )


def test_probe_measures_in_evaluation_mode_and_leaves_no_trace() -> None:
    said: list[str] = []
    encoder = Encoder().train()
    values = make(encoder, said)()
    assert set(values) == {"knn", "knn_low", "knn_high", "linear", "spread", "rank", "raw_joints"}
    assert values["knn"] == values["linear"] == 1.0
    assert len(said) == 1 and said[0].startswith("Raw joints give")
    assert encoder.training


def test_raw_joints_stand_beside_the_probe_and_are_computed_once() -> None:
    """Against numpy, on joints whose classes overlap; the encoder has no part in it."""
    said: list[str] = []
    probe = make(Encoder(), said, noise=6.0)
    fit_x, held_x = (joined(part) for part in (probe.fit, probe.held_out))

    def distances(a: np.ndarray) -> np.ndarray:
        return ((a[:, None] - fit_x[None]) ** 2).sum(2)

    gram = distances(fit_x)
    gamma = 1 / np.sort(gram[gram > 0])[((gram > 0).sum() - 1) // 2]  # torch's median is the lower one
    target = 2 * np.eye(4)[probe.fit.labels] - 1
    right = []
    for strength in KERNEL_STRENGTHS:
        dual = np.linalg.solve(np.exp(-gamma * gram) + strength * np.eye(len(fit_x)), target)
        votes = np.exp(-gamma * distances(held_x)) @ dual
        right.append((votes.argmax(1) == probe.held_out.labels.numpy()).mean())
    first = probe()["raw_joints"]
    assert first == pytest.approx(max(right)) and 0.25 < first < 1
    probe.fit.labels.zero_()
    assert probe()["raw_joints"] == first
    assert said == [
        f"Raw joints give {first:.1%} on the probe's 24 held-out recordings with all labels: what the encoder's linear "
        "probe is to be compared with."
    ]


def joined(part: Sample) -> np.ndarray:
    """Every recording as one row of its joints, 32 frames of each and a second body that is absent."""
    chunks = [raw_pipeline(LAYOUT)(chunk).joints[..., :3].flatten(1) for chunk in part.chunks]
    rows = torch.cat(chunks).double().numpy()
    return np.concatenate([rows, np.zeros_like(rows)], axis=1)


def test_probe_sounds_the_alarm_once_and_not_for_a_dip() -> None:
    said: list[str] = []
    encoder = Encoder()
    probe = make(encoder, said)
    for dead in (True, True, False, True, True):
        encoder.dead = dead
        assert (probe()["rank"] == 0) == dead
    assert len(said) == 1
    probe()
    probe()
    assert len(said) == 2
    assert "collapsed" in said[1]


def test_probe_refuses_an_empty_part() -> None:
    with pytest.raises(ValueError, match="held-out part of the probe has no labelled recording"):
        Probe(
            Encoder(), Pipeline(LAYOUT, ClipConfig()), layout=LAYOUT, fit=sample(8, 1), held_out=sample(0, 2), say=print
        )
