"""What a folder of shards says about itself: `manifest.json`, written last.

A folder without a manifest was never finished. The digest covers everything in the manifest but itself and the
program's version, and through the SHA-256 of every file it covers every byte of the recordings: it is the name of the
data set's content that training runs record.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonestrap.files import parse_json
from bonestrap.layout import Layout
from bonestrap.recordings.format import DTYPES, FORMAT, PLAIN_NAME, VERSION, digest_of
from bonestrap.recordings.format import MANIFEST as FILE
from shards.errors import DataError

HASH = re.compile(r"[0-9a-f]{64}")
CLASSES = 10_000  # the most that a data set has; the largest published one has some hundreds


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A file of the folder and what must be true of it."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Shard(Stored):
    """One tar file of samples."""

    performances: int
    views: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The description of one packed data set."""

    name: str
    layout: Layout
    classes: tuple[str, ...]
    dtype: str
    preprocessing: tuple[dict[str, Any], ...]  # the steps in order, each with its constants
    shards: tuple[Shard, ...]
    index: Stored
    performances: int
    views: int
    frames: int  # summed over views
    dropped: tuple[tuple[str, str], ...]  # (file of the source, reason)
    created_by: str
    coordinates: int = 3
    confidence: bool = False  # stored after the coordinates, as the last number of a joint
    unit: str = "metre"
    rate: float | None = None  # frames a second, where the source says so
    licence: str = ""  # the terms of the recordings, where the source says so
    format: str = FORMAT
    version: int = VERSION

    @property
    def channels(self) -> int:
        """Numbers a joint."""
        return self.coordinates + self.confidence

    @property
    def total_bytes(self) -> int:
        """Of all shards together."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical content, hexadecimal."""
        return digest_of(self._json())

    def _json(self) -> dict[str, Any]:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for absent in [name for name in ("rate", "licence") if not fields[name]]:  # as before there were these fields
            del fields[absent]
        shards = [dataclasses.asdict(shard) for shard in self.shards]
        return {**fields, "layout": self.layout.to_json(), "shards": shards, "index": dataclasses.asdict(self.index)}

    def write(self, folder: Path) -> None:
        """Write `manifest.json`. The caller publishes the folder as a whole, by renaming it."""
        text = json.dumps({**self._json(), "digest": self.digest}, indent=1)
        (folder / FILE).write_text(text + "\n")

    @staticmethod
    def read(folder: Path) -> Manifest:
        """Read and check `folder/manifest.json`. Raises DataError with the file, the fault and the remedy."""
        path = Path(folder) / FILE
        if not path.parent.is_dir():
            raise DataError(f"{path.parent}: no such folder of shards; make one with launch/pack.py")
        if not path.is_file():
            raise DataError(f"{path} is missing, so this is no finished folder of shards; pack the recordings again")
        return Manifest.parse(path.read_bytes(), path)

    @staticmethod
    def parse(content: bytes, path: Path | str) -> Manifest:
        """The manifest that a file holds; `path` names it in messages."""
        try:
            fields = parse_json(content)
            digest = fields.pop("digest")
            if (fields["format"], fields["version"]) != (FORMAT, VERSION):
                found = f"{fields['format']} {fields['version']}"
                raise DataError(f"{path}: format {found} is not {FORMAT} {VERSION}; pack the recordings again")
            manifest = _parse(fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{path}: not a readable manifest ({error!s:.300}); pack the recordings again") from None
        if manifest.digest != digest:
            raise DataError(f"{path} was altered: its digest does not match its content; pack the recordings again")
        for stored in (manifest.index, *manifest.shards):
            if not (isinstance(stored.file, str) and PLAIN_NAME.fullmatch(stored.file)):
                raise DataError(f"{path}: {stored.file!r:.80} leads out of the folder; do not use these shards")
        if fault := _fault(manifest):  # anybody can hash what he has forged
            raise DataError(f"{path}: {fault}; do not use these shards, pack the recordings again")
        return manifest


def verify(folder: Path, stored: Stored, *, hashed: bool = True) -> None:
    """Check one file's presence, size and, unless `hashed` is False, SHA-256; raise DataError naming it otherwise."""
    path = Path(folder) / stored.file
    if not path.is_file():
        raise DataError(f"{path} is missing though the manifest lists it; copy the folder again or repack it")
    size = path.stat().st_size
    if size != stored.bytes:
        fault = "truncated" if size < stored.bytes else "too long"
        raise DataError(f"{path} is {fault} ({size} of {stored.bytes} bytes); copy the file again or repack it")
    if hashed and sha256(path) != stored.sha256:
        raise DataError(f"{path} is damaged: its SHA-256 differs from the manifest's; copy the file again or repack it")


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal; the file streams through a small buffer and is not kept."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fault(manifest: Manifest) -> str:
    """What cannot be, or nothing."""
    files = (manifest.index, *manifest.shards)
    counts = [manifest.performances, manifest.views, manifest.frames, *(stored.bytes for stored in files)]
    counts += [count for shard in manifest.shards for count in (shard.performances, shard.views)]
    texts = [manifest.name, manifest.created_by, manifest.unit, manifest.licence, *manifest.classes]
    texts += [text for drop in manifest.dropped for text in drop]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(s, dict) for s in manifest.preprocessing):
        return "a name, a class, a dropped file or a step of its preprocessing is none"
    if not all(type(count) is int and 0 <= count < 2**62 for count in counts):
        return "a count is no whole number"
    if not all(isinstance(stored.sha256, str) and HASH.fullmatch(stored.sha256) for stored in files):
        return "a hash is none"
    if len({stored.file for stored in files}) < len(files):
        return "a file is listed twice"
    if len(manifest.classes) > CLASSES:
        return f"{len(manifest.classes)} classes; {CLASSES} are the most"
    for what in ("performances", "views"):
        if sum(getattr(shard, what) for shard in manifest.shards) != getattr(manifest, what):
            return f"its {what} are not those of its shards"
    if manifest.dtype not in DTYPES:
        return f"joints of type {manifest.dtype!r:.40}, and there is {' and '.join(DTYPES)}"
    if not (manifest.rate is None or (isinstance(manifest.rate, int | float) and 0 < manifest.rate < math.inf)):
        return f"{manifest.rate!r:.40} is no number of frames a second"
    layout = manifest.layout
    kept = (manifest.coordinates, manifest.confidence, manifest.unit)
    if kept != (layout.coordinates, layout.confidence, layout.unit):
        return "its coordinates, confidence or unit are not those of its layout"
    return ""


def _parse(fields: Mapping[str, Any]) -> Manifest:
    return Manifest(
        **{
            **fields,
            "layout": Layout.from_json(fields["layout"]),
            "classes": tuple(fields["classes"]),
            "preprocessing": tuple(fields["preprocessing"]),
            "shards": tuple(Shard(**shard) for shard in fields["shards"]),
            "index": Stored(**fields["index"]),
            "dropped": tuple((file, reason) for file, reason in fields["dropped"]),
        }
    )
