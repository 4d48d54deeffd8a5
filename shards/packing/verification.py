"""Is a folder of shards whole? Every file is hashed and every member read, by other code than training reads them with.

Tar and `.npy` are read by the standard library and NumPy, so what passes here is what any other client finds.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bonestrap.files import parse_json, read_array
from shards import index
from shards.catalogue import agree
from shards.errors import DataError
from shards.index import Entry, StoredView, Table
from shards.manifest import FILE, Manifest, Stored, verify
from shards.packing.pack import DROPPED
from shards.packing.parallel import Processes, Spread
from shards.packing.samples import KEY, description

LARGEST = 2**31  # bytes of a member; nothing that is packed comes near


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at and what is wrong with it, one sentence a fault."""

    manifest: Manifest | None  # None where there is none that can be read
    members: int
    faults: tuple[str, ...]


def verify_folder(
    folder: Path, *, spread: Spread | None = None, progress: Callable[[int, int], None] | None = None
) -> Verification:
    """Hash every file and read every member of a folder of shards. `spread` says where (None: in this process).

    `progress` is told the shards done and in all. Never raises DataError: what is wrong is in the result.
    """
    folder = Path(folder)
    try:
        manifest = Manifest.read(folder)
    except DataError as error:
        return Verification(manifest=None, members=0, faults=(str(error),))
    try:
        verify(folder, manifest.index)
        table = index.read(folder, manifest.index.file)
        agree(manifest, table, str(folder / manifest.index.file))
        _check_names(table, folder / manifest.index.file)
        check: CheckShard | CheckFile = CheckShard(folder=folder, manifest=manifest)
        faults = []
    except DataError as error:
        check = CheckFile(folder=folder, manifest=manifest)
        faults = [str(error)]
    members = 0
    total = len(manifest.shards)
    for done, (found, wrong) in enumerate((spread or Processes(1))(check, range(total)), 1):
        members += found
        faults += wrong
        if progress:
            progress(done, total)
    faults += _strangers(folder, manifest)
    return Verification(manifest=manifest, members=members, faults=tuple(faults))


@dataclass(frozen=True, kw_only=True)
class CheckFile:
    """Checks a shard as a file, where there is no index to say what should be in it."""

    folder: Path
    manifest: Manifest

    def __call__(self, number: int) -> tuple[int, list[str]]:
        """Members read, and faults."""
        try:
            verify(self.folder, self.manifest.shards[number])
        except DataError as error:
            return 0, [str(error)]
        return 0, []


@dataclass(frozen=True, kw_only=True)
class CheckShard(CheckFile):
    """Checks a shard as a file, and every member of it against the index."""

    def __call__(self, number: int) -> tuple[int, list[str]]:
        """Members read, and faults. A damaged file is read all the same, to say which recordings are lost."""
        _, faults = super().__call__(number)
        shard = self.manifest.shards[number]
        path = self.folder / shard.file
        if not path.is_file():
            return 0, faults
        table = index.read(self.folder, self.manifest.index.file)
        entries = [table.entry(int(row)) for row in np.flatnonzero(table.shard == number)]
        members, wrong = _members(path, entries, self.manifest)
        if faults and wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            return members, [f"{faults[0]} (lost: {wrong[0]}{more})"]
        return members, faults or [f"{path}: {fault}; do not use these shards, pack again" for fault in wrong]


def _members(path: Path, entries: list[Entry], manifest: Manifest) -> tuple[int, list[str]]:
    """Read all members of a tar file in order, each as what the index promises there."""
    promised = _promised(entries)
    found, wrong = 0, []
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name, wanted = next(promised, ("nothing", None))
                if member.name != name or wanted is None:
                    wrong.append(f"member {member.name!r} where {name!r} belongs")
                    break
                found += 1
                if fault := _fault(tar, member, wanted, manifest):
                    wrong.append(f"member {name}: {fault}")
        if not wrong and (name := next(promised, ("", None))[0]):
            wrong.append(f"member {name} and what follows it is missing")
    except (tarfile.TarError, OSError, EOFError) as error:
        wrong.append(f"not readable after {found} members ({error})")
    return found, wrong


def _promised(entries: list[Entry]) -> Iterator[tuple[str, Entry | StoredView]]:
    """What is in a shard, in order: a member's name and what is known of it."""
    for entry in entries:
        parts: dict[str, Entry | StoredView] = {"json": entry, **{view.member: view for view in entry.views}}
        for extension in sorted(parts):
            yield f"{entry.key}.{extension}", parts[extension]


def _fault(tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: Entry | StoredView, manifest: Manifest) -> str:
    """What is wrong with a member, or nothing."""
    try:
        data = _data(tar, member)
        if isinstance(wanted, Entry):
            return "" if parse_json(data) == json.loads(description(wanted)) else "says other things than the index"
        joints = read_array(io.BytesIO(data), len(data))
    except ValueError as error:
        return f"not readable ({error})"
    if (member.offset_data, member.size) != (wanted.offset, wanted.bytes):
        return f"{member.size} bytes at {member.offset_data}, the index says {wanted.bytes} at {wanted.offset}"
    shape = (wanted.frames, wanted.bodies, len(manifest.layout.joints), manifest.channels)
    if joints.shape != shape or joints.dtype != np.dtype(manifest.dtype):
        return f"holds {joints.dtype} {joints.shape}, the index says {manifest.dtype} {shape}"
    return "" if np.isfinite(joints).all() else "holds NaN or infinite joints"


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if not member.isreg() or member.size > LARGEST:
        raise ValueError(f"no plain file, or one of {member.size} bytes")
    file = tar.extractfile(member)
    assert file is not None  # of a regular file
    return file.read()


def _check_names(table: Table, path: Path) -> None:
    """DataError unless every key may name a sample, once, and every text is one."""
    try:
        for texts in (table.key, table.origin, table.members, table.split_sets):
            texts.blob.tobytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: a text is not UTF-8 ({error}); pack the recordings again") from None
    keys = set(table.key)
    odd = next((key for key in keys if not KEY.fullmatch(key)), None)
    if odd is not None or len(keys) < len(table):
        fault = "a key comes twice" if odd is None else f"{odd!r:.90} is no key"
        raise DataError(f"{path}: {fault}; do not use these shards, pack again")


def _strangers(folder: Path, manifest: Manifest) -> list[str]:
    """Tar files that are no shards of the manifest: other clients would read them."""
    listed: tuple[Stored, ...] = (manifest.index, *manifest.shards)
    known = {FILE, DROPPED, *(stored.file for stored in listed)}
    return [
        f"{path} is none of these shards, perhaps of an interrupted append; append again, or remove it"
        for path in sorted(folder.iterdir())
        if path.name not in known
    ]
