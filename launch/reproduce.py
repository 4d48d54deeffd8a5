#!/usr/bin/env python3
"""Fill a table of document 001 with runs of one's own: one command, every cell and seed, a table and a plot at the end.

A table is a list of the commands that the documentation shows. Those that are done are not run again, so the same
command goes on after a stop; tables in one --runs share what they have in common, such as a pretraining. --dry-run
prints the commands, what they are expected to cost and the published figures, and runs nothing.

With --epochs a pretraining is cut short for small hardware, and --pretrain, --finetune and --distill add options to
every command of that kind. The table says how it was filled.

Examples:
  python launch/reproduce.py table-2 --data packed/nw-ucla --runs runs/ablation --seeds 0 1 2 --jobs 2 --threads 1
  python launch/reproduce.py table-2 --data packed/ntu60 --runs runs/ntu60 --workers 4 --dry-run
  python launch/reproduce.py table-5 --data packed/nw-ucla --runs runs/widths --widths 0.125 0.25 --teacher 0.5
  python launch/reproduce.py table-6 --data packed/ntu60 --runs runs/ntu60 --target packed/pku-mmd-2
  python launch/reproduce.py table-2 --data packed/nw-ucla --runs runs/short --epochs 50 --pretrain '--clip.frames 12'
"""

from __future__ import annotations

import dataclasses
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import EPOCHS, SEED, THREADS, Bounded, Bounds
from bonestrap.options import UserError, option, required
from distributed.record import Record, claim
from evaluation.provenance import provenance
from experiments import cost
from experiments import summary as tabulate
from experiments.commands import Commands, say, typed
from experiments.progress import TableProgress
from experiments.steps import Plan, Setup, Step
from experiments.tables import TABLES, Table
from launch import distill, evaluate, finetune, pretrain
from launch.cli.parser import parse, parse_choice, renamed, start_choice
from launch.recipes import ALIASES, RECIPES, Recipe
from shards import splits
from shards.manifest import Manifest
from shards.reading import Reading
from shards.storage import redaction
from shards.storage.folder import absolute, resolved

RECIPE_OF = {"ntu60": "ntu60", "ntu120": "ntu60", "pku-mmd": "ntu60", "nw-ucla": "nw-ucla", "synthetic": "demo"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Bounded):
    """What every table takes."""

    data: str = required("folder of packed shards, or its address")
    runs: Path = required("folder of all runs and of the table; the same command on it goes on where it stopped")
    recipe: str | None = option(None, f"pretraining recipe, {', '.join(RECIPES)}; none takes the data set's")
    seeds: tuple[int, ...] = option((0, 1, 2), "every cell is filled once for each", Bounds(0, SEED))
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
    jobs: int = option(1, "commands at once", Bounds(1, 4096))
    dry_run: bool = option(False, "print commands, expected cost and published figures, and run nothing")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be one or more different numbers, got {self.seeds}")
        if self.recipe is not None and self.recipe not in RECIPES:
            raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {self.recipe}")


def main(name: str, options: Options, table: Table) -> None:
    reading = Reading(data=absolute(options.data))
    setup = made(options, table, reading.manifest)
    plan = table.plan(setup)
    for step in plan.steps:
        check(step)
    costs = cost.expected(plan, setup, reading, read_recipe)
    if options.dry_run:
        describe(name, plan, setup, costs)
        return
    claim(setup.runs, Record.of(settings(setup, reading.manifest), provenance()))
    print(costs)
    run_all(plan, setup, options.jobs)
    about = {
        "table": name,
        **settings(setup, reading.manifest),
        "seeds": options.seeds,
        "device_hours": cost.spent(plan, setup),
    }
    say(f"{name}: {setup.runs / name}.md, .json and .png")
    print(tabulate.write(setup.runs, name, plan, tabulate.lines(plan, setup), about, sentence(setup, about)))


def made(options: Options, table: Table, manifest: Manifest) -> Setup:
    """What the table's commands have in common. UserError or DataError where that cannot be."""
    recipe = options.recipe or RECIPE_OF.get(manifest.name, "own")
    protocols = table.columns(manifest.name, RECIPES[recipe]().split)
    for protocol in protocols:
        splits.find(manifest.name, protocol)
    if "--encoder.width" in f"{options.pretrain} {options.finetune} {options.distill}":
        raise UserError("--encoder.width is what a table sets: give --width, --widths, --student or --teacher")
    words = ["--workers", options.workers, "--device", options.device, "--experiment", options.experiment]
    words += ["--threads", str(options.threads)] if options.threads is not None else []
    words += ["--storage", str(resolved(options.storage))] if options.storage is not None else []
    return Setup(
        data=absolute(options.data),
        runs=resolved(options.runs),
        recipe=recipe,
        base=RECIPES[recipe](),
        protocols=protocols,
        seeds=options.seeds,
        epochs=options.epochs,
        common=(*words, *([] if options.track else ["--no-track"])),
        pretrain=tuple(renamed(shlex.split(options.pretrain), ALIASES)),
        finetune=tuple(renamed(shlex.split(options.finetune), finetune.ALIASES)),
        distill=tuple(renamed(shlex.split(options.distill), distill.ALIASES)),
    )


def settings(setup: Setup, manifest: Manifest) -> dict[str, Any]:
    """What shapes the runs that tables share: a folder of runs belongs to one such set."""
    shaping = {name: getattr(setup, name) for name in ("recipe", "epochs", "pretrain", "finetune", "distill")}
    return redaction.plain({"data": manifest.name, "digest": manifest.digest, **shaping})


def read_recipe(words: Sequence[str]) -> Recipe:
    """What a pretraining command's words mean."""
    return parse_choice("recipe", RECIPES, pretrain.Options, words)[2]


def check(step: Step) -> None:
    """UserError where a command would not be understood: before the first one runs, not after a day."""
    if step.script == "pretrain.py":
        read_recipe(step.words)
    elif step.script == "evaluate.py":
        parse_choice("protocol", evaluate.PROTOCOLS, evaluate.Options, step.words)
    else:
        parse(finetune.Options if step.script == "finetune.py" else distill.Options, step.words)


def run_all(plan: Plan, setup: Setup, jobs: int) -> None:
    """Run what is not done: first what others need, `jobs` at once, each with its output in a file.

    Where one fails or we are stopped, those that run are ended and can go on later.
    """

    def left(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    (setup.runs / "logs").mkdir(exist_ok=True)
    commands, progress = Commands(), TableProgress(plan, setup, jobs)
    before = signal.signal(signal.SIGTERM, left)
    try:
        for wave in plan.waves:
            with ThreadPoolExecutor(jobs) as pool:
                try:
                    running = [
                        pool.submit(run, step, setup, commands, progress) for step in wave if not setup.done(step)
                    ]
                    wait(running, return_when=FIRST_EXCEPTION)
                    for each in running:
                        if each.done() and each.exception():
                            each.result()
                except BaseException:
                    commands.stop()
                    raise
    finally:
        signal.signal(signal.SIGTERM, before)


def run(step: Step, setup: Setup, commands: Commands, progress: TableProgress) -> None:
    start = time.monotonic()
    log = setup.runs / "logs" / f"{step.script.removesuffix('.py')}-{step.run}.log"
    try:
        commands.in_order([(step.script, *step.words)], log)
    except UserError as error:
        last = next((line for line in reversed(log.read_text().splitlines()) if line.strip()), "")
        raise UserError(f"{error}; it said: {last} ({log})") from None
    print(progress.ended(step, time.monotonic() - start), flush=True)


def sentence(setup: Setup, about: dict[str, Any]) -> str:
    """How the table was filled, for its reader."""
    more = " ".join(word for kind in (setup.pretrain, setup.finetune, setup.distill) for word in kind)
    said = f"{about['data']} (digest `{about['digest'][:12]}`), recipe {setup.recipe}"
    said += f", pretraining cut to {setup.epochs:g} epochs" if setup.epochs is not None else ""
    said += f", with `{redaction.redacted(more)}`" if more else ""
    seeds = ", ".join(map(str, setup.seeds))
    return (
        f"{said}; seeds {seeds}; {about['device_hours']} device-hours. Percent of the test recordings. Intervals are "
        + (
            "Student's over seeds"
            if len(setup.seeds) > 1
            else "Wilson's, of one seed, beside the bootstrap's over subjects or performances"
        )
        + ". Published figures are document 001's."
    )


def describe(name: str, plan: Plan, setup: Setup, costs: str) -> None:
    """The table before it is filled: commands in the order in which they run, cost, published figures."""
    for step in (step for wave in plan.waves for step in wave):
        print(typed(step.script, step.words) + ("  # done" if setup.done(step) else ""))
    say(f"{name}: nothing has been run")
    print(costs)
    published = {key: figure for key, figure in plan.published.items() if key in {cell[:2] for cell in plan.cells}}
    if published:
        print(f"  published by document 001 for {plan.source}, percent:")
        width = max(len(row) for row, _ in published)
        for (row, column), figure in published.items():
            print(f"    {row:{width}}  {figure:5.1f}  {column}")
    print(f"  the table and a plot will be {setup.runs / name}.md, .json and .png")


if __name__ == "__main__":
    start_choice(main, "table", TABLES, Options)
