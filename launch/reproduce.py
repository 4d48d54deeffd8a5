#!/usr/bin/env python3
"""Reproduce a published table: one command trains and evaluates every cell and seed.

table-2 to table-6 are those of Moliner et al. (2022, arXiv:2202.02232), sa-dvae is zero-shot recognition by Li et al.
(2024, arXiv:2407.13460). Three tables are our own: methods trains every method on the same clips, views leaves out each
operation of a recipe's views, zero-shot is sa-dvae over all class splits of a small data set.

A table is a list of the commands that the documentation shows. Those that are done are not run again, so the same
command resumes after a stop; tables in one --runs share what they have in common, such as a pretraining. --dry-run
prints the commands, what they are expected to cost and the published figures, and runs nothing.

With --epochs a pretraining is cut short for small hardware, and --pretrain, --finetune and --distill add options to
every command of that kind, except those that its row is about. The table says how it was filled.

Examples:
  python launch/reproduce.py table-2 --data packed/nw-ucla --runs runs/ablation --seeds 0 1 2 --jobs 2 --threads 1
  python launch/reproduce.py table-2 --data packed/ntu60 --runs runs/ntu60 --workers 4 --dry-run
  python launch/reproduce.py table-5 --data packed/nw-ucla --runs runs/widths --widths 0.125 0.25 --teacher 0.5
  python launch/reproduce.py table-6 --data packed/ntu60 --runs runs/ntu60 --target packed/pku-mmd-2
  python launch/reproduce.py sa-dvae --data packed/ntu60 --runs runs/zero-shot --recipe supervised
  python launch/reproduce.py zero-shot --data packed/nw-ucla --runs runs/zero-vicreg --recipe vicreg --seeds 0
  python launch/reproduce.py stars-2 --data packed/nw-ucla --runs runs/stars --seeds 0 1 2
  python launch/reproduce.py methods --data packed/nw-ucla --runs runs/methods --seeds 0 1 2
  python launch/reproduce.py views --data packed/nw-ucla --runs runs/views --seeds 0 1 2 3 4
  python launch/reproduce.py table-2 --data packed/nw-ucla --runs runs/short --epochs 50 --pretrain '--clip.frames 12'
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import EPOCHS, SEED, THREADS, Bounded, Bounds
from bonestrap.options import UserError, option, required
from distributed.record import Record, claim
from evaluation.provenance import provenance
from experiments import cost
from experiments.commands import heading
from experiments.filling import describe, fill, settings
from experiments.methods_table import Methods
from experiments.relsar import RelSar
from experiments.stars_tables import STARSTable
from experiments.steps import Setup, Step
from experiments.tables import TABLES, Table
from experiments.views_table import Views
from launch import distill, evaluate, finetune, pretrain
from launch.cli.parser import parse, parse_choice, renamed, start_choice
from launch.recipes import ALIASES as RECIPE_ALIASES
from launch.recipes import RECIPES, Recipe
from shards import splits
from shards.manifest import Manifest
from shards.reading import Reading
from shards.storage.folder import absolute, resolved

ALIASES = {"--protocols": ("--splits",), "--target-protocol": ("--target-split",)}
RECIPE_OF = {"ntu60": "ntu60", "ntu120": "ntu60", "pku-mmd": "ntu60", "nw-ucla": "nw-ucla", "synthetic": "byol-small"}
RECIPE_FOR: dict[type[Table], str] = {RelSar: "rel-sar", Views: "vicreg", Methods: "vicreg"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    """What every table takes."""

    data: str = required("folder of packed shards, or its address")
    runs: Path = required("folder of all runs and of the table; the same command on it resumes where it stopped")
    recipe: str | None = option(
        None, f"pretraining recipe: {', '.join(RECIPES)}, or your own as package.module:name; none takes the data set's"
    )
    seeds: tuple[int, ...] = option((0, 1, 2), "of every cell, which is trained once with each", Bounds(0, SEED))
    epochs: float | None = option(None, "of pretraining, the warm-up in proportion; none takes the recipe's", EPOCHS)
    pretrain: str = option("", "more options of every pretraining command, in quotes")
    finetune: str = option("", "more options of every fine-tuning command, in quotes")
    distill: str = option("", "more options of every distillation command, in quotes")
    workers: str = option("0", "training processes of each command, through Ray Train; 0 trains without Ray")
    storage: Path | None = option(None, "folder that all nodes see, for Ray's own files; needed on several nodes")
    threads: int | None = option(None, "CPU threads a worker", THREADS)
    device: str = option("auto", "auto takes a GPU where there is one; cpu, cuda")
    experiment: str = option("reproduce", "MLflow experiment")
    track: bool = option(True, "send journals to MLflow")
    jobs: int = option(1, "commands at the same time", Bounds(1, 4096))
    dry_run: bool = option(False, "print commands, expected cost and published figures, and run nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be one or more different numbers, got {self.seeds}")


def main(name: str, options: Options, table: Table) -> None:
    reading = Reading(data=absolute(options.data))
    setup = build_setup(options, table, reading.manifest)
    plan = table.plan(setup)
    for step in plan.steps:
        check(step)
    costs = cost.expected(plan, setup, reading, read_recipe)
    if options.dry_run:
        describe(name, plan, setup, costs)
        return
    claim(setup.runs, Record.of(settings(setup, reading.manifest), provenance()))
    print(costs)
    text = fill(name, plan, setup, reading.manifest, options.jobs)
    heading(f"{name}: {setup.runs / name}.md, .json and .png")
    print(text)


def build_setup(options: Options, table: Table, manifest: Manifest) -> Setup:
    """What the table's commands have in common. UserError or DataError where that cannot be."""
    recipe = options.recipe or RECIPE_FOR.get(type(table)) or RECIPE_OF.get(manifest.name, "byol-own")
    if options.recipe is None and isinstance(table, STARSTable):
        published, small = table.recipes
        recipe = published if recipe == "ntu60" else small
    check_width(options, table)
    several = isinstance(table, Methods)
    if several and options.recipe is not None:
        raise UserError("methods has a recipe of its own for each method: leave out --recipe")
    if several and options.epochs is not None:
        raise UserError("methods gives each method as many clips: give --passes and --tuning in place of --epochs")
    own = renamed(shlex.split(options.pretrain), RECIPE_ALIASES)
    where = ["--data", options.data, "--run", str(options.runs), *own]
    base = read_recipe([recipe, *where])
    chosen = table.columns(manifest.name, base.split)
    for split in chosen:
        splits.find(manifest.name, split)
    words = ["--workers", options.workers, "--device", options.device, "--experiment", options.experiment]
    words += ["--threads", str(options.threads)] if options.threads is not None else []
    words += ["--storage", str(resolved(options.storage))] if options.storage is not None else []
    return Setup(
        data=absolute(options.data),
        runs=resolved(options.runs),
        recipe=recipe,
        base=base,
        others={name: read_recipe([name, *where]) for name in Methods.others} if several else {},
        splits=chosen,
        seeds=options.seeds,
        dataset=manifest.name,
        classes=len(manifest.classes),
        epochs=options.epochs,
        common=(*words, *([] if options.track else ["--no-track"])),
        pretrain=tuple(own),
        finetune=tuple(renamed(shlex.split(options.finetune), finetune.ALIASES)),
        distill=tuple(renamed(shlex.split(options.distill), distill.ALIASES)),
    )


def check_width(options: Options, table: Table) -> None:
    """UserError where the user's own options set a width that the table sets."""
    names = {"width", "widths", "student", "teacher"} & {field.name for field in dataclasses.fields(table)}
    if names and "--encoder.width" in f"{options.pretrain} {options.finetune} {options.distill}":
        raise UserError(
            f"--encoder.width is set by the table: give {' or '.join(f'--{name}' for name in sorted(names))}"
        )


def read_recipe(words: Sequence[str]) -> Recipe:
    """The recipe that a pretraining command's words give. UserError where they are wrong."""
    return parse_choice("recipe", RECIPES, pretrain.Options, words)[2]


def check(step: Step) -> None:
    """UserError where a command is wrong: before the first one runs, not after a day."""
    if step.script == "pretrain.py":
        read_recipe(step.words)
    elif step.script == "evaluate.py":
        parse_choice("protocol", evaluate.PROTOCOLS, evaluate.Options, step.words)
    else:
        parse(finetune.Options if step.script == "finetune.py" else distill.Options, step.words)


if __name__ == "__main__":
    start_choice(main, "table", TABLES, Options, aliases=ALIASES)
