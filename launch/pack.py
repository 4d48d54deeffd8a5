#!/usr/bin/env python3
"""Pack recordings into shards: read a format once, clean and orient every recording, write WebDataset files.

Everything else in Bonestrap reads the shards, and every evaluation protocol reads the same ones. The folder appears
under its name only when it is whole.

Examples:
  python launch/pack.py nw-ucla --input data/nw_ucla --output packed/nw-ucla
  python launch/pack.py ntu --input nturgb+d_skeletons --missing missing_skeletons.txt --output packed/ntu60
  python launch/pack.py synthetic --output packed/synthetic
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.cli import UserError, option, required, start_choice
from shards.draft import refuse_used
from shards.manifest import Manifest
from shards.pack import pack
from shards.sources import synthetic
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


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """Generated people, needing no data: written as NTU files (kept in --input, if given), then packed like them."""

    subjects: int = option(20, "people, each with a build and a style of their own")
    setups: int = option(4, "placements of the three cameras, 1 to 4")
    repetitions: int = option(2, "times that every subject performs every action")
    seed: int = option(0, "what all random choices follow from")

    def __post_init__(self) -> None:
        for name, value, most in (
            ("subjects", self.subjects, 999),
            ("setups", self.setups, len(synthetic.SETUPS)),
            ("repetitions", self.repetitions, 999),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")
        if self.seed < 0:
            raise ValueError("seed must not be negative")

    def open(self, folder: Path) -> Source:
        synthetic.write(
            folder,
            subjects=self.subjects,
            setups=self.setups,
            repetitions=self.repetitions,
            seed=self.seed,
            progress=Progress("recording"),
        )
        return NTU(folder, name="synthetic", classes=synthetic.SYNTHETIC)


Format = NwUcla | Ntu | Synthetic
FORMATS: dict[str, Callable[[], Format]] = {"nw-ucla": NwUcla, "ntu": Ntu, "synthetic": Synthetic}


def main(name: str, options: Options, chosen: Format) -> None:
    refuse_used(options.output)  # before minutes of work, not after
    if options.input is not None:
        source = chosen.open(options.input)
        manifest = _pack(source, options)
    elif isinstance(chosen, Synthetic):
        with tempfile.TemporaryDirectory(prefix="bonestrap-") as scratch:
            manifest = _pack(chosen.open(Path(scratch)), options)
    else:
        raise UserError(f"{name} needs --input, the folder that holds the recordings")
    summarise(manifest, options.output)


def _pack(source: Source, options: Options) -> Manifest:
    size = options.shard_mib * 2**20
    return pack(source, options.output, dtype=options.dtype, shard_bytes=size, progress=Progress("packing"))


class Progress:
    """A line that is rewritten on a terminal, and a line every ten seconds elsewhere."""

    def __init__(self, doing: str) -> None:
        self.doing = doing
        self.started = self.shown = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        if now - self.shown < (0.2 if terminal else 10) and done < total:
            return
        self.shown = now
        left = (now - self.started) / done * (total - done)
        line = f"{self.doing} {done}/{total} performances, {left:.0f} s left"
        end = "\n" if done == total or not terminal else ""
        print(f"\r{line:60}" if terminal else line, end=end, file=sys.stderr, flush=True)


def summarise(manifest: Manifest, output: Path) -> None:
    """Say what was packed, and what was not and why."""
    size = sum(shard.bytes for shard in manifest.shards)
    print(f"{output}: {manifest.name}, layout {manifest.layout.name}, {len(manifest.classes)} classes")
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
