"""What the recordings of a folder of shards are like, one by one: every joint of every view is looked at once.

Legend: C numbers a joint, M bodies, T frames, V joints.

Counts alone: `reports.findings` says what they mean. Shards are looked at one by one,
in any process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.layout import Layout
from shards import index
from shards.catalogue import agree
from shards.errors import DataError
from shards.index import Table
from shards.manifest import Manifest, verify
from shards.members import Members
from shards.packing.parallel import Processes, Spread
from shards.sources.units import body_size

SAMPLE = 400  # views from which usual bone lengths are learnt
LONGER, SHORTER = 2.0, 0.5  # a bone this many times its usual length, or this small a part of it, is implausible...
NOISE = 0.1  # metres, or torsos: ...where it errs by more than the sensor does
TOGETHER = 1e-3  # metres, or torsos: a joint this near to its parent was not measured but put there


@dataclass(frozen=True, kw_only=True)
class Looks:
    """One element a view."""

    content: np.ndarray  # (n, 2) uint64: a hash of the stored joints; equal where recordings are, bit for bit
    missing: np.ndarray  # fraction of joints that were not measured: on their parent, or without confidence
    implausible: np.ndarray  # fraction of bones of an implausible length
    bone: np.ndarray  # the bone that is implausible most often, as its place in the layout's list
    frame: np.ndarray  # the frame in which it errs most
    ratio: np.ndarray  # that bone's length there, as a multiple of the usual one
    repeated: np.ndarray  # fraction of frames that repeat the one before bit for bit
    size: np.ndarray  # metres or torsos: how large the bodies are, the median diagonal of the boxes around them
    extent: np.ndarray  # metres or torsos: how far the joint that moves most comes around


@dataclass(frozen=True, kw_only=True)
class Survey:
    """All views, in the order of the index, and what they add up to."""

    folder: Path
    manifest: Manifest
    table: Table
    looks: Looks
    usual: np.ndarray  # (bones,): usual lengths, metres or torsos
    joint_missing: np.ndarray  # (V,): fraction of frames in which the joint was not measured
    bone_implausible: np.ndarray  # (bones,): fraction of frames in which the bone's length is implausible


def survey(folder: Path, *, spread: Spread | None = None, progress: Callable[[int, int], None] | None = None) -> Survey:
    """Look at every recording. `progress` is told the shards done and in all.

    Raises DataError where the folder is not whole.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    verify(folder, manifest.index)
    table = index.read(folder, manifest.index.file)
    agree(manifest, table, str(folder / manifest.index.file))
    for shard in manifest.shards:
        verify(folder, shard, hashed=False)
    usual = usual_lengths(folder, manifest, table)
    look = Look(folder=folder, manifest=manifest, usual=usual)
    parts: list[Looks] = []
    sums = Sums(
        missing=np.zeros(len(manifest.layout.joints)), implausible=np.zeros(len(manifest.layout.bones)), poses=0
    )
    shards = range(len(manifest.shards))
    for done, (part, more) in enumerate((spread or Processes(1))(look, shards), 1):
        parts.append(part)
        sums = sums + more
        if progress:
            progress(done, len(shards))
    columns = {field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Looks)}
    return Survey(
        folder=folder,
        manifest=manifest,
        table=table,
        looks=Looks(**columns),
        usual=usual,
        joint_missing=sums.missing / sums.poses,
        bone_implausible=sums.implausible / sums.poses,
    )


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Counted over poses: one body in one frame."""

    missing: np.ndarray  # (V,)
    implausible: np.ndarray  # (bones,)
    poses: int

    @classmethod
    def nothing(cls, layout: Layout) -> Sums:
        """Where counting begins."""
        return cls(missing=np.zeros(len(layout.joints)), implausible=np.zeros(len(layout.bones)), poses=0)

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            missing=self.missing + other.missing,
            implausible=self.implausible + other.implausible,
            poses=self.poses + other.poses,
        )


@dataclass(frozen=True, kw_only=True)
class Look:
    """Looks at all views of a shard."""

    folder: Path
    manifest: Manifest
    usual: np.ndarray

    def __call__(self, shard: int) -> tuple[Looks, Sums]:
        """What its views are like, and what they add up to. Raises DataError where the shard is damaged."""
        verify(self.folder, self.manifest.shards[shard])
        table = index.read(self.folder, self.manifest.index.file)
        rows = np.flatnonzero(table.shard[table.performance] == shard)
        layout = self.manifest.layout
        columns: dict[str, list[Any]] = {field.name: [] for field in fields(Looks)}
        sums = Sums.nothing(layout)
        for stored in recordings(self.folder, self.manifest, table, rows):
            joints = stored.astype(np.float32)
            absent = unmeasured(joints, layout)
            lengths = bone_lengths(joints, layout)
            wrong = self._implausible(lengths, absent)
            bone = int(wrong.sum((0, 1)).argmax())
            ratios = np.where(wrong[..., bone], lengths[..., bone] / self.usual[bone], 1.0)  # (T, M)
            frame, body = divmod(int(np.abs(np.log(np.maximum(ratios, 1e-3))).argmax()), ratios.shape[1])
            columns["content"].append(content_hash(stored))
            columns["missing"].append(absent.mean())
            columns["implausible"].append(wrong.mean())
            columns["bone"].append(bone)
            columns["frame"].append(frame)
            columns["ratio"].append(ratios[frame, body])
            columns["repeated"].append((stored[1:] == stored[:-1]).all((1, 2, 3)).mean() if len(stored) > 1 else 0.0)
            columns["extent"].append(np.linalg.norm(np.ptp(joints[..., : layout.coordinates], axis=0), axis=-1).max())
            columns["size"].append(body_size(joints[..., : layout.coordinates]))
            poses = joints.shape[0] * joints.shape[1]
            sums = sums + Sums(missing=absent.sum((0, 1)), implausible=wrong.sum((0, 1)), poses=poses)
        return Looks(**{name: np.array(column) for name, column in columns.items()}), sums

    def _implausible(self, lengths: np.ndarray, absent: np.ndarray) -> np.ndarray:
        """(T, M, bones) bool. In an image a limb that points to the camera is short: there only long bones count."""
        wrong = (lengths > LONGER * self.usual) & (lengths > self.usual + NOISE)
        if self.manifest.layout.coordinates == 3:
            wrong |= (lengths < SHORTER * self.usual) & (lengths < self.usual - NOISE)
        child, parent = np.array(self.manifest.layout.bones).T
        return wrong & ~absent[..., child] & ~absent[..., parent]


def recordings(folder: Path, manifest: Manifest, table: Table, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The joints (T, M, V, C) of the views in these rows, in the stored type, one after the other, read-only.

    Raises DataError where something else lies in their place.
    """
    members = Members(table, manifest)
    owners = table.performance[rows]
    shards = table.shard[owners]
    for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(shards)) + 1):
        if not len(run):
            continue
        path = folder / manifest.shards[int(shards[run[0]])].file
        content = np.memmap(path, dtype=np.uint8, mode="r")
        members.check(path, content, rows[run], owners[run])
        begins, ends = members.places(rows[run])
        for row, begin, end in zip(rows[run], begins, ends, strict=True):
            shape = (int(table.frames[row]), int(table.bodies[row]), *members.joint_shape)
            yield content[begin:end].view(members.dtype).reshape(shape)


def usual_lengths(folder: Path, manifest: Manifest, table: Table) -> np.ndarray:
    """The median length (bones,) of every bone over views spread evenly over the data; in an image, of long poses."""
    total = len(table.camera)
    rows = np.unique(np.linspace(0, total - 1, min(total, SAMPLE)).astype(np.int64))
    quantile = 0.5 if manifest.layout.coordinates == 3 else 0.9
    each = []
    for stored in recordings(folder, manifest, table, rows):
        lengths = bone_lengths(stored.astype(np.float32), manifest.layout)
        each.append(np.quantile(lengths.reshape(-1, lengths.shape[-1]), quantile, axis=0))
    usual = np.median(each, axis=0)
    if not (usual > TOGETHER).any():
        raise DataError(f"{folder}: the bones of these recordings have no length; correct the layout and pack again")
    return np.maximum(usual, TOGETHER)


def bone_lengths(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """(T, M, bones) from joints (T, M, V, C)."""
    child, parent = np.array(layout.bones).T
    points = joints[..., : layout.coordinates]
    return np.linalg.norm(points[..., child, :] - points[..., parent, :], axis=-1)


def unmeasured(joints: np.ndarray, layout: Layout) -> np.ndarray:
    """(T, M, V) bool: joints that lie on their parent, or that the detector gave no confidence at all."""
    child, _ = np.array(layout.bones).T
    absent = np.zeros(joints.shape[:3], dtype=bool)
    absent[..., child] = bone_lengths(joints, layout) < TOGETHER
    if layout.confidence:
        absent |= joints[..., -1] <= 0
    return absent


def content_hash(stored: np.ndarray) -> np.ndarray:
    """(2,) uint64."""
    digest = hashlib.blake2b(repr(stored.shape).encode() + stored.tobytes(), digest_size=16).digest()
    return np.frombuffer(digest, dtype=np.uint64)
