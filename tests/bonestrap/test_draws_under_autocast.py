"""A draw is the same whether the step around it computes under autocast or not."""

from __future__ import annotations

import torch

from bonestrap.augment import AGGRESSIVE, ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.layouts import NTU25


def test_a_draw_is_not_rounded_to_bf16() -> None:
    pipeline = Pipeline(NTU25, ClipConfig(frames=16), AGGRESSIVE)
    plain = pipeline.sample(8, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = pipeline.sample(8, torch.Generator().manual_seed(0))
    assert cast.matrix.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(plain[:6], cast[:6], strict=True))
