"""A classifier as one function of raw joints in plain operations, and as an ONNX file for machines without PyTorch.

Legend: C numbers a joint, or channels, D features, K spatial partitions, M bodies, N bodies that are there, S frames of
a recording, T frames of a clip, V joints.

`Deployed` computes what `Model.predict` does of one recording. Its operations are those that ONNX has, so that frames
which hold nobody are skipped by index instead of being cut out, and its encoder is `Encoder.for_inference()`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap import pose
from bonestrap.augment.channels import described
from bonestrap.deploy.precision import Precision, quantized, with_half_weights
from bonestrap.files import write_atomically
from bonestrap.layout import Layout
from bonestrap.model import Model, ModelError
from bonestrap.serialization import ONNX_FILE

OPSET = 18
FILES: dict[Precision, str] = {"float32": ONNX_FILE, "float16": "model-float16.onnx", "int8": "model-int8.onnx"}


class Deployed(nn.Module):
    """Raw joints (S, M, V, C) of one recording, NaN where a body or a joint is missing, to probabilities (classes,).

    A graph cannot raise: where `Model.predict` says that no frame holds a whole body, every probability is NaN.
    Raises ModelError for a model without classes.
    """

    def __init__(self, model: Model):
        super().__init__()
        if model.head is None:
            raise ModelError(f"a {model.description.stage} model has features but no classes; fine-tune it first")
        self.layout = model.layout
        self.pipeline = model.pipeline
        self.network = model.encoder.for_inference()
        self.head = model.head

    def forward(self, joints_SMVC: Tensor) -> Tensor:
        joints = completed(joints_SMVC, self.layout)
        seen = torch.isfinite(joints).all(-1).all(-1)  # (S, M)
        features = self.network(self.clip(joints, seen))
        return torch.where(seen.any(), self.head(features.mean(0)).softmax(0), torch.nan)

    def clip(self, joints: Tensor, seen: Tensor) -> Tensor:
        """The bodies that are there, in the canonical pose, as the channels that the network sees: (N, C, T, V).

        `joints` (S, M, V, C) are completed, `seen` (S, M) says where a body is whole. Where none is, the first body
        stands for all, so that no axis is ever empty.
        """
        here = seen.any(0)
        first = torch.arange(here.shape[0]) == 0
        there = (here | (first & ~here.any())).nonzero().squeeze(1)
        seen, joints = seen.index_select(1, there), joints.index_select(1, there)
        joints = hold(joints, seen)
        somebody = seen.any(1)  # the other frames count for nothing
        joints = torch.where(somebody[:, None, None, None], joints, torch.nan)
        joints = pose.canonical(joints, self.layout)
        if self.pipeline.clip.own_pose:
            joints = pose.canonical(joints.transpose(0, 1).unsqueeze(2), self.layout).squeeze(2).transpose(0, 1)
        x = self.resampled(joints, somebody)  # (T, N, V, C)
        places, confidence = x[..., : self.layout.coordinates], x[..., self.layout.coordinates :]
        x = torch.cat((places, pose.bones(places, self.layout), confidence), -1).transpose(0, 1)
        keep, owner = (
            torch.ones_like(x[:, 0, :, 0], dtype=torch.bool),
            torch.zeros_like(x[:, 0, 0, 0], dtype=torch.long),
        )
        x = described(x, keep, owner, 1, self.pipeline.clip, self.layout.coordinates)
        return x.permute(0, 3, 1, 2)

    def resampled(self, joints_SNVC: Tensor, kept_S: Tensor) -> Tensor:
        """The frames that are kept as a clip, (T, N, V, C), as the pipeline makes it without augmentation."""
        count, frame = numbered(kept_S)
        length = count[-1:].clamp(min=1)  # of nobody, one frame
        position = self.pipeline.warp(length, self.pipeline.unchanged(1))[0]
        low = torch.minimum(position.floor().long(), length - 1)
        high = torch.minimum(low + 1, length - 1)
        fraction = (position - low).clamp(0, 1)[:, None, None, None]
        early, late = (joints_SNVC.index_select(0, frame.gather(0, row + 1)) for row in (low, high))
        return (1 - fraction) * early + fraction * late


def numbered(known: Tensor) -> tuple[Tensor, Tensor]:
    """How many frames up to each are `known` (S, ...), and the frame of the k-th known one, k from 1: (S + 1, ...).

    Row 0 of the second means nothing. A running maximum says the same, but ONNX has none.
    """
    count = known.long().cumsum(0)
    frames = torch.arange(known.shape[0]).view(-1, *[1] * (known.ndim - 1)).expand(known.shape)
    rows = F.pad(torch.zeros_like(count), (0, 0) * (known.ndim - 1) + (0, 1))
    return count, rows.scatter(0, torch.where(known, count, 0), frames)


def completed(joints_SMVC: Tensor, layout: Layout) -> Tensor:
    """What `pose.interpolate` does."""
    places = joints_SMVC[..., : layout.coordinates]
    known = torch.isfinite(places).all(-1)
    count, frame = numbered(known)
    last = count[-1:].clamp(min=1)
    before = frame.gather(0, count.clamp(min=1))
    after = frame.gather(0, torch.minimum((count + (~known).long()).clamp(min=1), last))
    return pose.interpolated(joints_SMVC, known, before, after, layout)


def hold(joints_SNVC: Tensor, seen_SN: Tensor) -> Tensor:
    """Every body in every frame as it was last seen, or first seen where it was not there yet."""
    count, frame = numbered(seen_SN)
    source = frame.gather(0, count.clamp(min=1))
    return joints_SNVC.gather(0, source[:, :, None, None].expand(joints_SNVC.shape))


def export(
    model: Model, directory: Path, precision: Precision = "float32", calibration: Sequence[np.ndarray] = ()
) -> Path:
    """Write `model.onnx`, or `FILES[precision]`, beside the model's own files, whole or not at all; return where it is.

    One input, `joints` (frames, bodies, V, C) float32 with NaN where a body is absent, any number of frames and bodies;
    one output, `probabilities` (classes,), NaN where no frame holds a whole body. The file's metadata hold the classes
    and the layout as JSON, and the SHA-256 of the weights. `float16` stores the weights in half the bytes; `int8`
    computes in 8 bits and needs `calibration`, some training recordings (S, M, V, C). Both are made of `model.onnx`,
    which is written first where it is not of these weights. Raises ModelError for a model
    without classes or without calibration, and ImportError where a package of the extra `onnx` is missing.
    """
    import onnx
    import onnxscript  # noqa: F401  # before any work: the exporter would miss it only at the end

    if precision == "int8" and not len(calibration):
        raise ModelError(
            "int8 needs recordings that show the range of every layer: give some of the training recordings"
        )
    weights = directory / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else ""
    plain = directory / ONNX_FILE
    if precision == "float32" or not digest or digest_in(plain) != digest:
        _write(plain, graph(model), model, "float32", digest)
    if precision == "float16":
        _write(directory / FILES[precision], with_half_weights(onnx.load(plain)), model, precision, digest)
    elif precision == "int8":
        _write(directory / FILES[precision], quantized(onnx.load(plain), calibration), model, precision, digest)
    return directory / FILES[precision]


def summary(file: Path, model: Model) -> str:
    """What a command says of an exported file: its input and output, and its size."""
    joints = f"{len(model.layout.joints)} x {model.layout.axes}"
    return (
        f"{file}: joints (frames x bodies x {joints}) to probabilities of {len(model.classes)} classes\n"
        f"{file.stat().st_size / 1e6:.2f} MB for ONNX Runtime; the classes' names are in the file's metadata"
    )


def _write(file: Path, made: Any, model: Model, precision: Precision, digest: str) -> None:
    import onnx

    about = {
        "classes": json.dumps(model.classes),
        "layout": json.dumps(model.layout.to_json()),
        "precision": precision,
        "weights": digest,
    }
    onnx.helper.set_model_props(made, about)
    onnx.checker.check_model(made, full_check=True)
    write_atomically(file, made.SerializeToString())


def digest_in(file: Path) -> str:
    """The SHA-256 of the weights that an exported file is of; nothing where there is none."""
    import onnx

    if not file.is_file():
        return ""
    return next((entry.value for entry in onnx.load(file).metadata_props if entry.key == "weights"), "")


def graph(model: Model) -> Any:
    """The model as an ONNX graph in float32, without metadata. Raises ModelError for a model without classes."""
    example = torch.randn(20, 2, len(model.layout.joints), model.layout.axes)
    sizes = {0: torch.export.Dim("frames", min=1), 1: torch.export.Dim("bodies", min=1)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), quiet("torch.onnx"):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Deployed(model.cpu()).eval(),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["joints"],
            output_names=["probabilities"],
            dynamic_shapes=(sizes,),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Without a logger's remarks below an error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
