#!/usr/bin/env python3
"""Pack recordings into shards: read a format once, clean and orient every recording, write WebDataset files.

Everything else in Bonestrap reads the shards, and every evaluation protocol reads the same ones. The folder appears
under its name only when it is whole.

Examples:
  python launch/pack.py nw-ucla --input data/nw_ucla --output shards/nw-ucla
  python launch/pack.py ntu --input nturgb+d_skeletons --missing missing_skeletons.txt --output shards/ntu60
  python launch/pack.py synthetic --output shards/synthetic
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.cli import UserError, option, required, start_choice
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources.ntu import NTU
from shards.sources.nw_ucla import NWUCLA
from shards.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Options:
    """What every format takes."""

    output: Path = required("folder for the shards; must not exist, or be empty")
    input: Path | None = option(None, "folder that holds the recordings")
    dtype: Literal["float16", "float32"] = option("float16", "stored type; float16 errs by half a millimetre at 1 m")
    shard_mib: int = option(64, "size at which a shard is closed, MiB")

    def __post_init__(self) -> None:
        if self.shard_mib < 1:
            raise ValueError("shard_mib must be at least 1")


@dataclass(frozen=True, kw_only=True)
class NwUcla:
    """Northwestern-UCLA: a folder of aAA_sSS_eEE_vVV.json files, or one that holds all_sqe/."""

    def open(self, folder: Path) -> Source:
        return NWUCLA(folder)


@dataclass(frozen=True, kw_only=True)
class Ntu:
    """NTU RGB+D 60 or 120: raw SsssCcccPpppRrrrAaaa.skeleton files, in any folders below the given one."""

    missing: Path | None = option(None, "list of names without usable skeletons, one a line, to leave out")

    def open(self, folder: Path) -> Source:
        return NTU(folder, missing=self.missing)


Format = NwUcla | Ntu
FORMATS: dict[str, Callable[[], Format]] = {"nw-ucla": NwUcla, "ntu": Ntu}


def main(name: str, options: Options, chosen: Format) -> None:
    if options.input is None:
        raise UserError(f"{name} needs --input, the folder that holds the recordings")
    source = chosen.open(options.input)
    size = options.shard_mib * 2**20
    manifest = pack(source, options.output, dtype=options.dtype, shard_bytes=size, progress=Progress())
    summarise(manifest, options.output)


class Progress:
    """A line that is rewritten on a terminal, and a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self.started = self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self.shown < (0.2 if terminal else 10) and done < total:
            return
        self.shown = now
        left = (now - self.started) / done * (total - done)
        line = f"packing {done}/{total} performances, {left:.0f} s left"
        end = "\n" if done == total or not terminal else ""
        print(f"\r{line:60}" if terminal else line, end=end, file=sys.stderr, flush=True)


def summarise(manifest: Manifest, output: Path) -> None:
    """Say what was packed, and what was not and why."""
    size = sum(shard.bytes for shard in manifest.shards)
    print(f"{output}: {manifest.name}, layout {manifest.layout}, {len(manifest.classes)} classes")
    print(f"  performances {manifest.performances}")
    print(f"  views        {manifest.views}")
    print(f"  frames       {manifest.frames}")
    print(f"  bytes        {size} in {len(manifest.shards)} shards, {manifest.dtype}")
    print(f"  dropped      {len(manifest.dropped)}")
    for reason, count in Counter(reason for _, reason in manifest.dropped).most_common():
        files = [file for file, why in manifest.dropped if why == reason]
        print(f"    {count} x {reason}: {', '.join(files[:3])}{', ...' if count > 3 else ''}")
    print(f"  digest       {manifest.digest}")


if __name__ == "__main__":
    start_choice(main, "format", FORMATS, Options)
