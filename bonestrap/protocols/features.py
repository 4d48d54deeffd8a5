"""Features of recordings, as every protocol sees them: the frozen encoder in evaluation mode on unaugmented clips.

On a GPU the encoder works in bf16, where that is multiplied faster, and chunks of a shape that recurs replay a CUDA
graph (`bonestrap.capture.graphs`). Features are float32 in any case.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bonestrap.augment.pipeline import Pipeline
from bonestrap.capture.graphs import CUDARecorder, Recorder, Static, padded, shape_of
from bonestrap.clips import Clips, Recordings
from bonestrap.encoders.encoder import Encoder


@torch.no_grad()
def extract(encoder: nn.Module, pipeline: Pipeline, chunks: Iterable[Recordings]) -> Tensor:
    """One feature row a recording, (R, D) float32 on the CPU. The encoder's mode is put back afterwards.

    The encoder and the frames of the chunks are on the same device.
    """
    with evaluating(encoder):
        rows: list[Tensor] = []
        features: Forward | None = None
        for chunk in chunks:
            clips = pipeline(chunk)
            features = features or forward_on(encoder, clips.joints.device)
            rows.append(features(clips))
        return torch.cat(rows).cpu()


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, then every layer in its own: fine-tuning has layers in either."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def forward_on(encoder: nn.Module, device: torch.device) -> Forward:
    """The encoder's features, the way that is fast on this device."""
    if device.type != "cuda":
        return Forward(encoder, recorder=None, half=False)
    recorder = CUDARecorder(lambda text: warnings.warn(text, stacklevel=2)) if isinstance(encoder, Encoder) else None
    return Forward(encoder, recorder, half=torch.cuda.get_device_capability(device) >= (8, 0))


class Forward:
    """An encoder without gradients: plain without a recorder, else on memory of a few shapes, which it makes graphs of.

    `half` computes under autocast in bf16.
    """

    def __init__(self, encoder: nn.Module, recorder: Recorder | None, *, half: bool) -> None:
        self.encoder, self.recorder, self.half = encoder, recorder, half
        self.shapes: dict[Hashable, Rows] = {}

    def __call__(self, clips: Clips) -> Tensor:
        """One row a clip, float32, of its own memory."""
        if self.recorder is None:
            return self.rows(clips)
        if isinstance(self.encoder, Encoder) and self.encoder.takes_padding:
            clips = padded(clips)
        key = shape_of(clips)
        if key not in self.shapes:
            self.shapes[key] = Rows(clips)
        shape = self.shapes[key]
        shape.take(clips)

        def forward() -> None:
            shape.rows = self.rows(shape.inputs)

        shape.recorded.run(forward, self.recorder)
        return shape.rows.clone()  # the next replay writes over them

    def rows(self, clips: Clips) -> Tensor:
        with torch.autocast(clips.joints.device.type, torch.bfloat16, enabled=self.half):
            features: Tensor = self.encoder(clips)
        return features.float()


class Rows(Static):
    """The clips of one shape, and what comes of them."""

    rows: Tensor
