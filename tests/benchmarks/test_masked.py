"""The counted operations of masked prediction against those that torch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.masked import operations, step
from benchmarks.step import clips
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.methods import LatentConfig, MAMPConfig
from bonestrap.methods.masking import MaskedConfig

ENCODER = SkeletonTransformerConfig(width=1 / 16, depth=2, heads=2)


@pytest.mark.parametrize(
    "config", [MAMPConfig(decoder=2), MAMPConfig(decoder=1, decoder_width=0.5), LatentConfig(), LatentConfig(decoder=0)]
)
def test_operations_are_those_that_torch_counts(config: MaskedConfig) -> None:
    view = clips(3, 16, torch.device("cpu"), two_persons=0.4)
    whole = step(ENCODER, config, view, torch.device("cpu"), half=False, explicit=True)
    with FlopCounterMode(display=False) as counter:
        whole()
    # The input needs no gradient: the patch embedding's backward pass is one product, not two.
    patch = len(view.joints) * 12 * 16 * 4 * 25
    unneeded = patch if config.decoder == 0 else patch // 100 * (100 - config.masked(100))
    assert operations(ENCODER, config, view) == counter.get_total_flops() / 2 + unneeded
