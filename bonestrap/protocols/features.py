"""Features of recordings, as every protocol sees them: the frozen encoder in evaluation mode on unaugmented clips."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings


@torch.no_grad()
def extract(encoder: nn.Module, pipeline: Pipeline, chunks: Iterable[Recordings]) -> Tensor:
    """One feature row a recording, (R, D) float32 on the CPU. The encoder's mode is put back afterwards."""
    was_training = encoder.training
    encoder.eval()
    try:
        return torch.cat([encoder(pipeline(chunk)).float().cpu() for chunk in chunks])
    finally:
        encoder.train(was_training)
