"""A folder of shards, here or elsewhere: its manifest, and its files as open local files of the right content.

A folder on this machine is read in place. One that is named by an address (`s3://bucket/shards`,
`https://host/shards`, or any other that pyarrow opens) is read through the cache.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Protocol

from shards import manifest
from shards.errors import DataError, StorageError
from shards.manifest import Manifest, Stored
from shards.storage.cache import Cache
from shards.storage.redaction import shown
from shards.storage.remote import RemoteStorage, is_address
from shards.storage.storage import LocalStorage

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


class LocalFolder:
    """A folder on this machine."""

    def __init__(self, storage: LocalStorage) -> None:
        self.storage, self.name = storage, storage.name

    def manifest(self) -> Manifest:
        return Manifest.read(self.storage.root)

    def look(self, stored: Stored) -> None:
        manifest.verify(self.storage.root, stored, hashed=False)

    def open(self, stored: Stored, *, hashed: bool) -> BinaryIO:
        manifest.verify(self.storage.root, stored, hashed=hashed)
        return self.storage.read(stored.file)

    def path(self, stored: Stored) -> str:
        return self.storage.path(stored.file)


class CachedFolder:
    """A folder elsewhere, whose files are kept for a while on this machine."""

    def __init__(self, storage: RemoteStorage, cache: Cache) -> None:
        self.storage, self.cache, self.name = storage, cache, storage.name

    def manifest(self) -> Manifest:
        try:
            content = b"".join(self.storage.pieces(manifest.FILE))
        except StorageError as error:
            raise DataError(str(error)) from None
        return Manifest.parse(content, self.storage.path(manifest.FILE))

    def look(self, stored: Stored) -> None:
        """A glance would be a request a shard; what is missing shows when it is fetched."""

    def open(self, stored: Stored, *, hashed: bool) -> BinaryIO:
        """The hash is always checked on the way into the cache; `hashed` asks for it of what is already there."""
        return self.cache.open(stored, self.storage, hashed=hashed)

    def path(self, stored: Stored) -> str:
        return self.storage.path(stored.file)


def open_folder(location: Location, cache: Cache | None = None) -> Folder:
    """The folder at a path or an address; an address needs a cache, by default the user's own."""
    if not is_address(location):
        return LocalFolder(LocalStorage(Path(location)))
    return CachedFolder(RemoteStorage(str(location)), cache or Cache.default())


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
