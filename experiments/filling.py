"""Filling a table: its commands stage by stage, several at once, without those that are done."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, NoReturn

from bonestrap.options import UserError
from evaluation.text_table import Column, aligned
from experiments import cost, summary
from experiments.commands import Commands, heading, typed
from experiments.progress import TableProgress
from experiments.steps import Plan, Setup, Step
from shards.manifest import Manifest
from shards.storage import redaction


def settings(setup: Setup, manifest: Manifest) -> dict[str, Any]:
    """What shapes the runs that tables share: a folder of runs belongs to one such set."""
    shaping = {name: getattr(setup, name) for name in ("recipe", "epochs", "pretrain", "finetune", "distill")}
    return redaction.plain({"data": manifest.name, "digest": manifest.digest, **shaping})


def fill(name: str, plan: Plan, setup: Setup, manifest: Manifest, jobs: int) -> str:
    """Run what is not done, `jobs` commands at once, and write the table. Returns it as Markdown."""
    run_all(plan, setup, jobs)
    about = {
        "table": name,
        **settings(setup, manifest),
        "seeds": setup.seeds,
        "device_hours": cost.total_device_hours(plan, setup),
    }
    return summary.write(setup.runs, name, plan, summary.lines(plan, setup), about, how_filled(setup, about, plan))


def run_all(plan: Plan, setup: Setup, jobs: int) -> None:
    """Run what is not done, stage by stage, each command with its output in a file.

    Where one fails or SIGTERM comes, the running ones are ended; the same call resumes them.
    """

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    (setup.runs / "logs").mkdir(exist_ok=True)
    commands, progress = Commands(), TableProgress(plan, setup, jobs)
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        for stage in plan.stages:
            rest = [step for step in stage if not setup.done(step)]
            run_stage(rest, jobs, commands, lambda step: run(step, setup, commands, progress))
    finally:
        signal.signal(signal.SIGTERM, before)


def run_stage(steps: list[Step], jobs: int, commands: Commands, start: Callable[[Step], None]) -> None:
    """Run the commands of a stage, `jobs` at once. The first exception ends the others and is raised.

    Those of one run directory are run one after the other: each reads and replaces its `evaluation.json`.
    """
    by_run: dict[str, list[Step]] = {}
    for step in steps:
        by_run.setdefault(step.run, []).append(step)

    def one_by_one(these: list[Step]) -> None:
        for step in these:
            start(step)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            running = [pool.submit(one_by_one, these) for these in by_run.values()]
            wait(running, return_when=FIRST_EXCEPTION)
            for each in running:
                if each.done() and each.exception():
                    each.result()
        except BaseException:
            commands.stop()
            raise


def run(step: Step, setup: Setup, commands: Commands, progress: TableProgress) -> None:
    """Run one command. UserError with its last line of output where it fails."""
    start = time.monotonic()
    log = setup.runs / "logs" / f"{step.script.removesuffix('.py')}-{step.run}.log"
    try:
        commands.in_order([(step.script, *step.words)], log)
    except UserError as error:
        last = next((line for line in reversed(log.read_text().splitlines()) if line.strip()), "")
        raise UserError(f"{error}; its last line of output: {last} ({log})") from None
    print(progress.ended(step, time.monotonic() - start), flush=True)


def how_filled(setup: Setup, about: dict[str, Any], plan: Plan) -> str:
    """How the table was filled, for its reader."""
    more = " ".join(word for kind in (setup.pretrain, setup.finetune, setup.distill) for word in kind)
    said = f"{about['data']} (digest `{about['digest'][:12]}`), recipe {setup.recipe}"
    said += f", pretraining cut to {setup.epochs:g} epochs" if setup.epochs is not None else ""
    said += f", with `{redaction.redacted(more)}`" if more else ""
    seeds = ", ".join(map(str, setup.seeds))
    if len(setup.seeds) > 1:
        intervals = "Student's over seeds"
    else:
        intervals = "Wilson's, of one seed, beside the bootstrap's over subjects or performances"
    said += f"; seeds {seeds}; {about['device_hours']} device-hours. Percent of the {plan.scored}. "
    said += f"Intervals are {intervals}."
    return said + (f" Published figures are from {plan.paper}." if plan.paper else "")


def describe(name: str, plan: Plan, setup: Setup, costs: str) -> None:
    """Print the table before it is filled: commands in the order in which they run, cost, published figures."""
    for step in (step for stage in plan.stages for step in stage):
        print(typed(step.script, step.words) + ("  # done" if setup.done(step) else ""))
    heading(f"{name}: nothing has been run")
    print(costs)
    cells = {cell[:2] for cell in plan.cells}
    rows = [
        [row, f"{figure:.1f}", column] for (row, column), figure in plan.published.items() if (row, column) in cells
    ]
    if rows:
        print(f"  published for {plan.source} by {plan.paper}:")
        columns = [Column("row", text=True), Column("accuracy", "%"), Column("column", text=True)]
        print(*aligned(columns, rows, indent="    ").lines, sep="\n")
    print(f"  the table and a plot will be {setup.runs / name}.md, .json and .png")
