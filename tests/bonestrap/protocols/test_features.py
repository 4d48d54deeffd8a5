"""Features on memory of recurring shapes, replayed: those of the plain encoder, whatever changes between chunks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.encoders.stgcn import network
from bonestrap.momentum import batch_norms
from bonestrap.protocols.features import Forward, extract
from tests.bonestrap.tiny import CLIP, LAYOUT, encoder, recordings
from tests.recorded import ReplayRecorder


@pytest.fixture(autouse=True)
def two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "BLOCKS", ((64, 1), (128, 2)))


def chunk(bodies: Sequence[int], seed: int) -> Recordings:
    return recordings(bodies, [9] * len(bodies), seed)


@torch.no_grad()
def test_replayed_features_are_the_plain_ones() -> None:
    """Chunks of several numbers of bodies in one shape, of another shape, of one body each, and the rest of them."""
    pipeline, own = Pipeline(LAYOUT, CLIP), encoder().eval()
    for layer in batch_norms(own):
        layer.mean.normal_()
    bodies = [(1, 2, 2, 1) * 8, (1, 1, 2, 2) * 8, (1, 2, 2, 1) * 8, (2,) * 32, (1,) * 32, (1,) * 32, (1, 2), (1,) * 32]
    chunks = [chunk(each, seed) for seed, each in enumerate(bodies)]
    recorder = ReplayRecorder()
    features = Forward(own, recorder, half=False)
    rows = torch.cat([features(pipeline(each)) for each in chunks])
    assert [graph.replays for graph in recorder.graphs] == [2, 2]
    torch.testing.assert_close(rows, extract(own, pipeline, chunks), rtol=1e-5, atol=1e-6)
    for p in own.parameters():
        p.mul_(1.1)  # as training between two probes does, in place
    after = torch.cat([features(pipeline(each)) for each in chunks])
    torch.testing.assert_close(after, extract(own, pipeline, chunks), rtol=1e-5, atol=1e-6)
    assert (after - rows).abs().max() > 1e-3


def test_half_precision_is_that_of_autocast() -> None:
    pipeline, own = Pipeline(LAYOUT, CLIP), encoder().eval()
    clips = pipeline(chunk((1, 2, 1), 0))
    with torch.no_grad():
        rows = Forward(own, None, half=True)(clips)
        with torch.autocast("cpu", torch.bfloat16):
            expected = own(clips).float()
        assert rows.dtype == torch.float32 and torch.equal(rows, expected)
        assert not torch.equal(rows, own(clips))
