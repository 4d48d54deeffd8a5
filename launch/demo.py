#!/usr/bin/env python3
"""The whole pipeline on synthetic people, in minutes: `make demo`.

Recordings are packed, an encoder is pretrained on them without labels by two workers, fine-tuned on few labels, and
distilled into a compact student. The same networks are trained from scratch on the same labels, and everything is
tested on people that no training has seen. Each step is a command that the demo prints. Started again, it resumes.

Examples:
  python launch/demo.py
  python launch/demo.py --runs runs/another-seed --seed 1
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import SEED, Bounded, Bounds
from bonestrap.options import option
from launch.cli.parser import start
from launch.recipes.vicreg import demo


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    """Where and with which seed."""

    runs: Path = option(Path("runs/demo"), "folder for shards, runs and pictures")
    seed: int = option(0, "of recordings, weights, order, draws and label subset", Bounds(0, SEED))
    workers: int = option(
        2, "workers that pretrain, through Ray Train; 0 pretrains in one process without Ray", Bounds(0, 4096)
    )


def main(options: Options) -> None:
    from experiments.demo import Demo

    Demo(runs=options.runs, seed=options.seed, workers=options.workers, recipe=demo()).run()


if __name__ == "__main__":
    start(main, Options)
