"""A folder of shards, wherever it lies: its manifest, and its files as open local files of the right content.

A folder on this machine is read where it lies. One that is named by an address (`s3://bucket/shards`,
`https://host/shards`, or any other that pyarrow opens) is read through the cache.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Protocol

from shards import manifest
from shards.errors import DataError
from shards.manifest import Manifest, Stored
from shards.storage.cache import Cache
from shards.storage.redaction import shown
from shards.storage.remote import Remote, is_address

Location = Path | str


class Folder(Protocol):
    """Where the files of a manifest are."""

    name: str

    def manifest(self) -> Manifest:
        """The manifest, checked."""
        ...

    def look(self, stored: Stored) -> None:
        """DataError where a glance shows that the file is missing or has another size."""
        ...

    def open(self, stored: Stored, *, hashed: bool) -> BinaryIO:
        """A local file of this size and, unless `hashed` is False, of this hash. DataError where there is none."""
        ...

    def path(self, stored: Stored) -> str:
        """What to call the file in a message."""
        ...


class Local:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, str(folder)

    def manifest(self) -> Manifest:
        return Manifest.read(self.folder)

    def look(self, stored: Stored) -> None:
        manifest.verify(self.folder, stored, hashed=False)

    def open(self, stored: Stored, *, hashed: bool) -> BinaryIO:
        manifest.verify(self.folder, stored, hashed=hashed)
        return (self.folder / stored.file).open("rb")

    def path(self, stored: Stored) -> str:
        return str(self.folder / stored.file)


class Cached:
    """A folder elsewhere, whose files are kept for a while on this machine."""

    def __init__(self, remote: Remote, cache: Cache) -> None:
        self.remote, self.cache, self.name = remote, cache, remote.name

    def manifest(self) -> Manifest:
        return Manifest.parse(self.remote.read(manifest.FILE), self.remote.path(manifest.FILE))

    def look(self, stored: Stored) -> None:
        """A glance would be a request a shard; what is missing shows when it is fetched."""

    def open(self, stored: Stored, *, hashed: bool) -> BinaryIO:
        """The hash is always checked on the way into the cache; `hashed` asks for it of what is already there."""
        return self.cache.open(stored, self.remote, hashed=hashed)

    def path(self, stored: Stored) -> str:
        return self.remote.path(stored.file)


def open_folder(location: Location, cache: Cache | None = None) -> Folder:
    """The folder at a path or an address; an address needs a cache, by default the user's own."""
    if not is_address(location):
        return Local(Path(location))
    return Cached(Remote(str(location)), cache or Cache.default())


def absolute(location: Location) -> str:
    """The same folder, named so that every worker finds it."""
    return str(location) if is_address(location) else str(resolved(Path(location)))


def resolved(path: Path) -> Path:
    """The absolute path without links. One that leads in a circle is left as it is: whoever opens it is told."""
    return Path(os.path.realpath(path))


def spoken(location: Location) -> str:
    """The folder's name for messages and records, without the secrets that an address may carry."""
    return shown(str(location)) if is_address(location) else os.fspath(location)


def refuse_address(location: Location, doing: str) -> Path:
    """A path; DataError for an address, where only a folder on this machine will do."""
    if is_address(location):
        raise DataError(f"{spoken(location)}: {doing} needs a folder on this machine; copy it first")
    return Path(location)
