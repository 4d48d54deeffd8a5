"""Weights that come with the library, a model directory each: `bonestrap.load("bonestrap-small")`.

`bonestrap-small` is an encoder, ST-GCN of width .25, pretrained without labels on recordings that anybody may use:
UI-PRMD (public domain) and generated people. Its card, README.md, has its recipe, cost and results.
"""

from __future__ import annotations

from pathlib import Path

NAMES = ("bonestrap-small",)


def shipped(name: Path | str) -> Path | None:
    """The directory of the weights of this name; None for another name, and where a folder of that name is here."""
    return None if str(name) not in NAMES or Path(name).exists() else Path(__file__).parent / str(name)
