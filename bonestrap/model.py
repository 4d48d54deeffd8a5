"""What is shipped: raw joints in, features or class probabilities out. Five lines of a stranger's code::

    import bonestrap
    model = bonestrap.load("runs/student")
    probabilities = model.predict(joints)      # (T, M, V, C) as recorded, NaN where a body is absent
    print(model.classes[probabilities.argmax()], probabilities.max())
    features = model.embed(joints)
    features = bonestrap.load("bonestrap-small").embed(joints, layout="ntu25")     # without any training
    ranked = bonestrap.load("runs/aligned").predict(joints, texts=["wave both hands", "limp"])

Legend: B recordings, C numbers a joint, D features, M bodies, N bodies of all recordings, T frames, V joints.

`bonestrap.serialization` writes and reads models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from bonestrap import pose
from bonestrap.augment import ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Clips, Recordings, to_device
from bonestrap.encoders import EncoderConfig
from bonestrap.encoders.encoder import Encoder
from bonestrap.layout import Layout
from bonestrap.layouts.named import named_layout
from bonestrap.recordings.packed import PackedFolder
from bonestrap.recordings.progress import Progress, Reporter
from bonestrap.retarget import Joints as MadeOf
from bonestrap.retarget import Retarget
from bonestrap.text import TextError
from bonestrap.zero_shot.head import AlignmentConfig, TextHead

BATCH = {"cpu": 64, "cuda": 512}  # recordings that are worked on at a time

Joints = np.ndarray | Tensor
Given: TypeAlias = "Joints | Sequence[Joints] | PackedFolder | Path | str"


class ModelError(ValueError):
    """A model directory that cannot be loaded, or joints that do not fit; one sentence that names the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """Everything that a model is beside its weights, and where it comes from."""

    stage: str  # pretrained, teacher, student, scratch, aligned or random
    encoder: EncoderConfig
    layout: Layout
    clip: ClipConfig
    classes: tuple[str, ...]  # empty: no classifier, features only
    lineage: dict[str, Any]  # data set, digest, split, labels used, parents, cost
    head: str = "linear"  # a key of HEADS
    alignment: AlignmentConfig | None = None  # of a model whose head ranks texts

    def build_encoder(self) -> Encoder:
        """A new encoder of this kind with random weights."""
        return self.encoder.build(self.layout, self.clip)


class Model(nn.Module):
    """An encoder with its preprocessing and, if it has been taught classes, a classifier."""

    def __init__(self, description: Description, encoder: Encoder, head: nn.Module | None):
        super().__init__()
        self.description = description
        self.layout = description.layout
        self.encoder = encoder
        self.head = head
        self.pipeline = Pipeline(self.layout, description.clip)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    def forward(self, clips: Clips) -> Tensor:
        """Logits (B, classes) of prepared clips. Raises ModelError where the model knows no classes."""
        if self.head is None:
            raise ModelError(f"a {self.description.stage} model has features but no classes; fine-tune it first")
        logits: Tensor = self.head(at_least_single(self.encoder(clips)))
        return logits

    def embed(
        self,
        recordings: Given,
        *,
        layout: Layout | str | None = None,
        batch_size: int | None = None,
        progress: Progress = False,
    ) -> Tensor:
        """Features (B, D) of raw recordings, each (T, M, V, C) with NaN for absent bodies and joints: metres in space,
        any unit in an image. One array gives (D,); a list, a batch padded with NaN, (B, T, M, V, C), or a folder of
        packed shards gives one row a recording, in their order.

        `layout` is that of arrays whose joints are not this model's: a built-in one's name, a JSON file's, or a Layout.
        Its joints are brought into the model's (`bonestrap.retarget`); a folder of shards says its own.
        `batch_size` recordings are worked on at a time (by default 64 on a CPU, 512 on a GPU), and memory is needed for
        those alone; the rows do not depend on it. `progress` is True for a line on stderr, or is called with the
        numbers of recordings that are done and that there are.
        Raises ModelError where recordings do not fit the model, and UserError where a folder cannot be read.
        """
        return self._rows(recordings, lambda clips: at_least_single(self.encoder(clips)), layout, batch_size, progress)

    def predict(
        self,
        recordings: Given,
        texts: Sequence[str] | None = None,
        *,
        layout: Layout | str | None = None,
        batch_size: int | None = None,
        progress: Progress = False,
    ) -> Tensor:
        """Class probabilities (B, classes) of raw recordings; one array gives (classes,). See `embed`.

        An aligned model ranks any `texts` instead of its classes, (B, texts). Raises ModelError where another model is
        given texts, or they cannot be encoded.
        """
        if texts is None:
            return self._rows(recordings, lambda clips: self(clips).softmax(1), layout, batch_size, progress)
        head = self.head
        if not isinstance(head, TextHead):
            raise ModelError(f"a {self.description.stage} model cannot rank texts: align it first with launch/align.py")
        if isinstance(texts, str) or len(texts) < 2 or len(set(texts)) < len(texts):
            raise ModelError("texts must be a list of two or more different texts")

        def ranked(clips: Clips) -> Tensor:
            return head.votes(at_least_single(self.encoder(clips)), texts).softmax(1)

        try:
            return self._rows(recordings, ranked, layout, batch_size, progress)
        except TextError as error:
            raise ModelError(str(error)) from None

    @torch.no_grad()
    def _rows(
        self,
        given: Given,
        answer: Callable[[Clips], Tensor],
        layout: Layout | str | None,
        batch_size: int | None,
        progress: Progress,
    ) -> Tensor:
        """The rows that clips are answered with; one row without its axis where `given` is one array."""
        weights = next(self.parameters())
        size = batch_size if batch_size is not None else BATCH["cuda" if weights.is_cuda else "cpu"]
        if size < 1:
            raise ModelError(f"batch_size must be 1 or more, got {size}")
        if isinstance(given, str | Path):
            given = PackedFolder.read(given)
        if layout is not None and isinstance(given, PackedFolder):
            raise ModelError("layout is for arrays: a folder of shards says which joints it holds")
        one = isinstance(given, np.ndarray | Tensor) and given.ndim != 5
        many: Sequence[Joints] | Joints | PackedFolder = given
        if isinstance(given, np.ndarray | Tensor):
            if one:
                many = [given]
            else:
                check_padding(given)
        if len(many) == 0:
            raise ModelError("there is no recording in the list: give one array or a list of one or more")
        reporter, rows = Reporter(progress, len(many)), []
        for recordings in self._batches(many, layout, size):
            clips = self.pipeline(recordings)
            rows.append(answer(clips._replace(joints=clips.joints.to(weights.dtype))))
            reporter.add(recordings.size)
        return rows[0][0] if one else torch.cat(rows)

    def _batches(
        self, given: Sequence[Joints] | Joints | PackedFolder, layout: Layout | str | None, size: int
    ) -> Iterator[Recordings]:
        """Recordings in the canonical pose and the layout of this model, on its device, `size` at a time."""
        if not isinstance(given, PackedFolder):
            recorded = self._recorded(layout)
            for first in range(0, len(given), size):
                yield self.prepare(given[first : first + size], recorded)
            return
        device, adapt = next(self.parameters()).device, self.adaptation(given.layout, given.rate)
        for recordings in given.batches(size):
            adapted = adapt(recordings)
            # As raw joints come, so that the loops on a CPU are compiled for one type.
            yield adapted._replace(frames=to_device(adapted.frames, device).float())

    def adaptation(
        self, recorded: Layout, rate: float | None, declared: Mapping[str, MadeOf] | None = None
    ) -> Retarget:
        """How recordings of a layout and a frame rate reach the joints and the rate of this model's training.

        `declared` says by layout what joints are made of, before what the training was told. Raises ModelError where
        they cannot.
        """
        lineage = self.description.lineage
        made_of, wanted = {**lineage.get("joints", {}), **(declared or {})}.get(recorded.name), lineage.get("rate")
        try:
            return Retarget.of(self.layout, recorded, made_of, rate / wanted if rate and wanted else 1.0)
        except ValueError as error:
            raise ModelError(str(error)) from None

    def prepare(self, recordings: Joints | Sequence[Joints], layout: Layout | str | None = None) -> Recordings:
        """Raw joints into the canonical pose of packed shards and the joints of this model, bodies packed densely.

        A body's missing frames repeat its last pose and its missing joints are interpolated, as packing does. Cleaning
        of tracker faults that packing applies to raw files (ghost bodies, the order of bodies, keypoints of little
        confidence) is not repeated here: joints are taken as they are given.
        """
        one = isinstance(recordings, np.ndarray | Tensor) and recordings.ndim != 5
        arrays = [torch.as_tensor(r).float() for r in ([recordings] if one else recordings)]
        recorded = self._recorded(layout)
        bodies, owners = [], []
        for index, joints in enumerate(arrays):
            for body in canonical_bodies(joints, recorded):
                bodies.append(body)
                owners.append(index)
        length = torch.tensor([len(body) for body in bodies])
        posed = Recordings(
            frames=torch.cat(bodies).to(next(self.parameters()).device),
            start=length.cumsum(0) - length,
            length=length,
            owner=torch.tensor(owners),
            size=len(arrays),
        )
        return posed if recorded == self.layout else self.adaptation(recorded, None)(posed)

    def _recorded(self, layout: Layout | str | None) -> Layout:
        """The layout of arrays. Raises ModelError where it is not known."""
        if not isinstance(layout, str):
            return layout or self.layout
        try:
            return named_layout(layout)
        except ValueError as error:
            raise ModelError(str(error)) from None


def at_least_single(features: Tensor) -> Tensor:
    """Features of a network in half precision as float32; others as they are."""
    return features if features.dtype.itemsize >= 4 else features.float()


def check_padding(batch: Joints) -> None:
    """ModelError where a padded batch (B, T, M, V, C) holds bodies of zeros, which stand for nobody elsewhere."""
    nobody = (torch.as_tensor(batch) == 0).all(-1).all(-1)
    if nobody.any():
        raise ModelError(
            f"recording {nobody.nonzero()[0, 0]} of the batch holds a body whose joints are all zero: mark nobody with "
            "NaN, joints[(joints == 0).all((-2, -1))] = numpy.nan"
        )


def canonical_bodies(joints: Tensor, layout: Layout) -> list[Tensor]:
    """The bodies that are there, each (T, V, C), of one raw recording (T, M, V, C) in its canonical pose."""
    if joints.ndim != 4 or joints.shape[2:] != (len(layout.joints), layout.axes):
        raise ModelError(
            f"joints must be frames x bodies x {len(layout.joints)} x {layout.axes} for layout {layout.name}, "
            f"got {tuple(joints.shape)}; where they are other joints, say of which layout"
        )
    if len(joints):
        joints = pose.interpolate(joints, layout)
    seen = torch.isfinite(joints).all(-1).all(-1)  # (T, M)
    joints = joints[seen.any(1)][:, seen.any(0)]
    seen = seen[seen.any(1)][:, seen.any(0)]
    if not joints.numel():
        raise ModelError("no frame of the recording holds a whole body; remove the recording or repair its joints")
    frames = torch.arange(len(joints))[:, None]
    last = torch.where(seen, frames, -1).cummax(0).values
    source = torch.where(last < 0, seen.int().argmax(0), last)
    filled = joints[source, torch.arange(joints.shape[1])]
    return list(pose.canonical(filled, layout).unbind(1))
