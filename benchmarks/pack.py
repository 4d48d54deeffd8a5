#!/usr/bin/env python3
"""Packing: raw NTU text files into shards, by one process and by two.

Synthetic recordings are written in NTU's own format first; packing then parses, cleans, turns and stores them, hashes
included, as `launch/pack.py ntu` does. CPU-seconds are those of the process that writes and those that other processes
spend on recordings; the start of these, a second or two each, is not counted. MB are those of the text that is read.

Examples:
  python -m benchmarks.pack
  python -m benchmarks.pack --people 60 --workers 1 2 4
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from benchmarks.rates import table
from shards.packing.pack import pack
from shards.packing.parallel import Processes
from shards.sources import synthetic
from shards.sources.datasets.ntu import NTU


class Timed:
    """A function that also says which process did it, and the CPU-seconds that it took."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, item: Any) -> tuple[Any, int, float]:
        began = time.process_time()
        return self.function(item), os.getpid(), time.process_time() - began


class Watched:
    """A `Spread` over processes that adds up what other processes than this one have spent on items."""

    def __init__(self, workers: int) -> None:
        self.processes = Processes(workers, eager=workers > 1)
        self.elsewhere = 0.0

    def __call__(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Generator[Any, None, None]:
        for result, process, seconds in self.processes(Timed(function), items):
            self.elsewhere += seconds * (process != os.getpid())
            yield result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=20, help="persons who do 16 actions before 3 cameras")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes, a row each")
    parser.add_argument("--folder", type=Path, help="where files go meanwhile (default: the system's temporary folder)")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        files = synthetic.write(Path(work) / "raw", subjects=options.people, repetitions=1)
        size = sum(file.stat().st_size for file in files)
        for workers in options.workers:
            watched = Watched(workers)
            began = time.process_time()
            manifest = pack(
                NTU(Path(work) / "raw", name="synthetic", classes=synthetic.SYNTHETIC),
                Path(work) / f"packed-{workers}",
                spread=watched,
            )
            spent = time.process_time() - began + watched.elsewhere
            rates = (manifest.performances / spent, manifest.views / spent, size / spent / 1e6)
            rows.append((str(workers), *(f"{rate:,.1f}" for rate in rates), manifest.digest[:12]))
    print(f"{len(files):,} files of NTU's text format, {size / 1e6:,.0f} MB\n")
    print(table(("processes", "performances/CPU-s", "views/CPU-s", "MB/CPU-s", "digest"), rows))


if __name__ == "__main__":
    main()
