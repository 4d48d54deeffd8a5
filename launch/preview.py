#!/usr/bin/env python3
"""Check recordings before training on them: statistics, train/test overlap, missing joints, implausible bones.

Reads every recording of a folder of shards. Prints a summary, and writes a page that opens in any browser without a
network: counts, lengths, duplicates across splits, missing joints, implausible bone lengths, and the recordings
themselves, animated, next to their augmentations.

Examples:
  python launch/preview.py packed/nw-ucla
  python launch/preview.py packed/ntu60 --output ntu60.html --recordings 60
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from bonestrap.bounds import SEED, Bounded, Bounds
from bonestrap.files import write_atomically
from bonestrap.options import UserError, argument, option
from distributed.progress import Bar
from launch.cli.parser import start
from reports.data.page import page
from reports.findings import Report
from shards.packing.parallel import Processes, cores
from shards.packing.survey import survey
from shards.storage.folder import resolved

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDTH = 28  # of the longest bar
ROWS = 16  # of a table on the terminal


@dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    shards: Path = argument("folder of shards")
    output: Path | None = option(None, "HTML file to write; none: SHARDS.html next to the folder")
    recordings: int = option(24, "recordings to show, balanced over the classes", Bounds(1, 10_000))
    seed: int = option(0, "random seed of the augmentations", Bounds(0, SEED))
    workers: int | None = option(None, "reader processes; none: one per core", Bounds(1, 4096))


def main(options: Options) -> None:
    output = options.output or options.shards.with_name(f"{resolved(options.shards).name}.html")
    if output.is_dir():
        raise UserError(f"{output} is a folder; give a file, such as {output / 'preview.html'}, as --output")
    spread = Processes(options.workers or cores())
    report = Report.of(survey(options.shards, spread=spread, progress=Bar("reading", "shards")))
    print("\n".join(summary(report)))
    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(output, page(report, count=options.recordings, seed=options.seed))
    print(f"\npage: {output}")


def summary(report: Report) -> list[str]:
    """The lines for the terminal."""
    survey = report.survey
    manifest, table, views = survey.manifest, survey.table, survey.table.views
    lines = [
        f"{survey.folder}: {manifest.name}, layout {manifest.layout.name}, {len(manifest.layout.joints)} joints, "
        f"{manifest.dtype}",
        f"  {manifest.performances:,} performances, {manifest.views:,} recordings, {manifest.frames:,} frames",
        "",
    ]
    for finding in report.findings():
        mark = {"fault": "!!", "note": " !", "good": "ok"}[finding.level]
        lines.append(f"{mark} {finding.title:13} {finding.text}")
    label = views.label
    classes = [(name, int((label == c).sum())) for c, name in enumerate(manifest.classes)]
    lines += _bars("classes", [*classes, *_counted("unlabelled", label < 0)])
    for name, column in (("subjects", views.subject), ("cameras", views.camera), ("setups", views.setup)):
        known = np.unique(column[column >= 0])
        lines += _bars(name, [*((str(n), int((column == n).sum())) for n in known), *_counted("unknown", column < 0)])
    lines += _bars("persons", [(str(n), int((table.bodies == n).sum())) for n in np.unique(table.bodies)])
    lines += ["", f"lengths   {_blocks(table.frames)}   {_range(table.frames)} frames"]
    return lines


def _bars(title: str, rows: list[tuple[str, int]]) -> list[str]:
    """A bar a row; of too many rows the smallest are left out, and so are empty ones."""
    rows = [row for row in rows if row[1]]
    if not rows or (len(rows) == 1 and rows[0][0] == "unknown"):
        return []
    most = max(count for _, count in rows)
    shown = rows if len(rows) <= ROWS else sorted(rows, key=lambda row: -row[1])[:ROWS]
    width = max(len(name) for name, _ in shown)
    lines = ["", f"{title}, recordings"]
    lines += [f"  {name:{width}}  {'█' * round(WIDTH * count / most):{WIDTH}} {count:7,}" for name, count in shown]
    if len(rows) > ROWS:
        rest = sorted(count for _, count in rows)[: len(rows) - ROWS]
        lines.append(f"  and {len(rest)} more of {rest[0]:,} to {rest[-1]:,}")
    return lines


def _counted(name: str, which: np.ndarray) -> list[tuple[str, int]]:
    return [(name, int(which.sum()))] if which.any() else []


def _blocks(values: np.ndarray) -> str:
    """A histogram of one line."""
    counts, _ = np.histogram(values, bins=40, range=(0, float(np.quantile(values, 0.99)) + 1))
    return "".join(BLOCKS[int(np.ceil(8 * count / counts.max()))] for count in counts)


def _range(values: np.ndarray) -> str:
    return f"{values.min()} to {values.max()}, median {np.median(values):.0f}"


if __name__ == "__main__":
    start(main, Options)
