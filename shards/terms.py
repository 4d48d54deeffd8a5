"""What is known of recordings beside their frames: how many a second there are, and on which terms they may be used.

A folder says so where it was told when it was packed. For published data sets that are packed from their own files it
is known; see `docs/data.md`.
"""

from __future__ import annotations

from bonestrap.recordings.format import PUBLISHED
from shards.manifest import Manifest

UNSTATED = "not stated"


def rate(manifest: Manifest) -> float | None:
    """Frames a second; None where nobody says it."""
    published = PUBLISHED.get(manifest.name)
    return manifest.rate or (published.rate if published else None)


def licence(manifest: Manifest) -> str:
    """The terms of the recordings, in words."""
    published = PUBLISHED.get(manifest.name)
    return manifest.licence or (published.licence if published else UNSTATED)
