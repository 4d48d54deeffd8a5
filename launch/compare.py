#!/usr/bin/env python3
"""Compare trained models: one row per model, read from MLflow.

A model's labels are those of its whole lineage: a student that learned from a teacher fine-tuned on 5 % of the labels
has used 5 %. Accuracy is that of the test recordings, latency is for one clip on one CPU. The own cost is that of the
run itself, the total cost that of the run and of all that it came from, as in the report. Pages about models that are
kept in MLflow are listed below the table.

Examples:
  python launch/compare.py
  python launch/compare.py --experiment demo --json
  python launch/compare.py --tracking-uri http://localhost:5000
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import json
from dataclasses import asdict, dataclass

from bonestrap.options import UserError, option
from distributed.tracking import default_uri
from experiments.comparison import compare, table
from experiments.mlflow_runs import read
from launch.cli.parser import start


@dataclass(frozen=True, kw_only=True)
class Options:
    experiment: str | None = option(None, "only the runs of this MLflow experiment")
    tracking_uri: str | None = option(
        None, "MLflow server or store; else MLFLOW_TRACKING_URI, else sqlite:///mlflow.db"
    )
    json: bool = option(False, "print the rows as JSON")


def main(options: Options) -> None:
    uri = options.tracking_uri or default_uri()
    rows = compare(read(uri, options.experiment))
    if not rows:
        where = f"experiment {options.experiment} of {uri}" if options.experiment else uri
        raise UserError(f"{where} holds no Bonestrap run yet: start with launch/pretrain.py, or make demo")
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else table(rows))


if __name__ == "__main__":
    start(main, Options)
