#!/usr/bin/env python3
"""Pack recordings into shards: read a format once, clean and orient every recording, write WebDataset files.

All other commands read the shards, under any split. The folder appears under its name only when complete. After an
interruption the same command resumes; the bytes do not depend on interruptions or on the number of workers.

`python launch/pack.py verify SHARDS` hashes every file and reads every member of a packed folder.

Examples:
  python launch/pack.py nw-ucla --input data/nw_ucla --output packed/nw-ucla
  python launch/pack.py ntu --input nturgb+d_skeletons --missing missing_skeletons.txt --output packed/ntu60
  python launch/pack.py ntu --input more_skeletons --output packed/ntu60 --append
  python launch/pack.py ntu --input /shared/nturgb+d_skeletons --output /shared/packed/ntu60 --ray --workers 64
  python launch/pack.py arrays --input lab --layout lab/layout.json --table lab/table.csv --output packed/lab
  python launch/pack.py openpose --input keypoints --output packed/clips
  python launch/pack.py video --input videos --output packed/videos
  python launch/pack.py bvh --input motions --rate 30 --output packed/motions
  python launch/pack.py synthetic --output packed/synthetic
  python launch/pack.py verify packed/ntu60
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import Bounded, Bounds
from bonestrap.options import UserError, argument, option, required
from distributed.progress import Bar
from distributed.tasks import Tasks
from launch.cli.parser import start, start_choice
from reports.data.video_page import write_page
from shards import catalogue
from shards.manifest import FILE, Manifest
from shards.packing.draft import refuse_used
from shards.packing.duplicates import splits_of
from shards.packing.losses import Loss, partial, whole
from shards.packing.pack import DROPPED, pack
from shards.packing.parallel import Processes, Spread, cores
from shards.packing.verification import verify_folder
from shards.sources.formats import FORMATS, Format, Synthetic
from shards.sources.source import Source
from shards.sources.video.options import Video
from shards.splits import untested, untested_said
from shards.storage.folder import open_folder, resolved

WORKERS = Bounds(1, 4096)
EXAMPLES = 3  # dropped files named for each reason


ALIASES = {"--least": ("--min-confidence",)}  # options by their names of the version before


@dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    """What every format takes."""

    output: Path = required("folder for the shards; must not exist, or be empty, unless --append is given")
    input: Path | None = option(None, "folder that holds the recordings")
    append: bool = option(False, "add the recordings to the shards in --output, which stay as they are")
    existing: Literal["refuse", "keep"] = option("refuse", "keep: shards that are in --output already are the result")
    broken: Literal["stop", "drop"] = option("stop", "at a performance that cannot be read: stop, or drop it")
    dtype: Literal["float16", "float32"] = option("float16", "stored type; float16 errs by half a millimetre at 1 m")
    shard_mib: int = option(64, "size at which a shard is closed, MiB", Bounds(1, 2**20))
    workers: int | None = option(
        None, "processes that prepare recordings; none: one per core; the bytes do not depend on it", WORKERS
    )
    ray: bool = option(False, "prepare on the workers of a Ray cluster, which must see --input; start one if none runs")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.append and self.existing == "keep":
            raise ValueError("--append adds to what is there and --existing keep leaves it: give one of them")


def main(name: str, options: Options, chosen: Format) -> None:
    if options.existing == "keep" and (options.output / FILE).is_file():
        summarise(Manifest.read(options.output), options.output)
        return
    if not options.append:
        refuse_used(options.output)  # before minutes of work, not after
    if isinstance(chosen, Synthetic):
        recording = Bar("recording", "performances")
        with tempfile.TemporaryDirectory(prefix="bonestrap-") as scratch:
            folder = Path(scratch) if options.input is None else resolved(options.input)
            manifest = _pack(chosen.open(folder, recording), options)
    elif isinstance(chosen, Video):
        manifest = _pack(_videos(chosen, options), options)
    elif options.input is not None:
        manifest = _pack(chosen.open(resolved(options.input)), options)  # workers have other working directories
    else:
        raise UserError(f"{name} needs --input, the folder that holds the recordings")
    summarise(manifest, options.output)


def _videos(chosen: Video, options: Options) -> Source:
    """The clips of videos: their keypoints are found first, and shown on a page beside them."""
    if options.input is None:
        raise UserError("video needs --input, the folder that holds the videos")
    folder, bar = resolved(options.input), Bar("finding keypoints", "seconds of video")
    home = chosen.keypoints or options.output.with_name(f"{options.output.name}.keypoints")
    found = chosen.found(folder, home.resolve(), _spread(options, eager=True), bar, bar.message)
    source = chosen.clips(folder, found)
    page = write_page(home / "preview.html", folder, found[0], source.dropped, source.layout, chosen.rate)
    print(f"{home}: keypoints of {sum(not one.reason for one in found[0])} videos; look at {page}")
    return source


def _spread(options: Options, *, eager: bool = False) -> Spread:
    return Tasks(options.workers) if options.ray else Processes(options.workers or cores(), eager=eager)


def _pack(source: Source, options: Options) -> Manifest:
    bar = Bar("packing", "performances")
    for notice in source.notices:
        bar.message(f"warning: {notice}")
    return pack(
        source,
        options.output,
        dtype=options.dtype,
        shard_bytes=options.shard_mib * 2**20,
        broken=options.broken,
        append=options.append,
        spread=_spread(options),
        progress=bar,
        notice=bar.message,
    )


def summarise(manifest: Manifest, output: Path) -> None:
    """Say what was packed, and what was not and why."""
    files, parts = whole(manifest.dropped), partial(manifest.dropped)
    unpacked = sum(loss.lost for _, loss in parts if loss.what == "frames")
    size = sum(shard.bytes for shard in manifest.shards)
    print(f"{output}: {manifest.name}, layout {manifest.layout.name}, {len(manifest.classes)} classes")
    print(f"  performances {manifest.performances}")
    print(f"  views        {manifest.views}")
    print(f"  frames       {manifest.frames}" + (f" of {manifest.frames + unpacked} read" if unpacked else ""))
    print(f"  bytes        {size} in {len(manifest.shards)} shards, {manifest.dtype}")
    print(f"  digest       {manifest.digest}")
    table = catalogue.read(open_folder(output), hashed=False)[1]
    for split in splits_of(manifest.name, table):
        if absent := [manifest.classes[label] for label in untested(split, table.views)]:
            print(f"  {split.name}: {untested_said('test', absent, len(manifest.classes))}")
    print(f"  dropped      {len(files)}")
    reasons = defaultdict(list)
    for file, reason in files:
        reasons[reason.partition(": ")[0]].append((file, reason))
    for kind, found in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"    {len(found):6}  {kind}: {_named([file for file, _ in found])}")
        if detail := found[0][1].removeprefix(kind).removeprefix(": "):
            print(f"            first: {detail}")
    if parts:
        _summarise_parts(parts)
    if manifest.dropped:
        print(f"    all of them are in {output / DROPPED}")


def _summarise_parts(parts: list[tuple[str, Loss]]) -> None:
    """Say what was left out of recordings that are packed; a pose is a person in a frame."""
    kinds = defaultdict(list)
    for file, loss in parts:
        kinds[loss.what, loss.reason].append((file, loss))
    print(f"  in part      {len({file for file, _ in parts})}")
    for (what, reason), found in sorted(kinds.items()):
        lost, read = (sum(number) for number in zip(*((loss.lost, loss.of) for _, loss in found), strict=True))
        print(f"    {lost:6}  of {read} {what}, {reason}: {_named([file for file, _ in found])}")


def _named(files: list[str]) -> str:
    return ", ".join(files[:EXAMPLES]) + (", ..." if len(files) > EXAMPLES else "")


@dataclass(frozen=True, kw_only=True)
class Verify(Bounded):
    """What `verify` takes."""

    shards: Path = argument("folder of shards")
    workers: int | None = option(None, "processes that read; none: one per core", WORKERS)


def verify(options: Verify) -> None:
    """Hash every file and read every member; exit with 2 and one line a fault where something is wrong."""
    bar = Bar("verifying", "shards")
    checked = verify_folder(options.shards, spread=Processes(options.workers or cores()), progress=bar)
    if checked.manifest is None or checked.faults:
        for fault in checked.faults:
            print(f"DAMAGED  {fault}", file=sys.stderr)
        raise SystemExit(2)
    manifest = checked.manifest
    print(
        f"OK  {options.shards}: {checked.members} members in {len(manifest.shards)} shards, {manifest.performances} "
        f"performances, {manifest.views} views, digest {manifest.digest}"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["verify"]:
        start(verify, Verify, sys.argv[2:])
    else:
        start_choice(main, "format", FORMATS, Options, aliases=ALIASES)
