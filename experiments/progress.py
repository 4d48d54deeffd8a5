"""How far a table is: the commands that are done, what a cell gave, and how long the rest takes as timed so far."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

from distributed.progress import duration
from experiments import summary as tabulate
from experiments.steps import Plan, Setup, Step


class TableProgress:
    """Told of every command that ends, from several threads if need be."""

    def __init__(self, plan: Plan, setup: Setup, jobs: int) -> None:
        self.plan, self.setup, self.jobs = plan, setup, jobs
        self.total = len(plan.steps)
        self.rest = Counter(step.script for step in plan.steps if not setup.done(step))
        self.seconds: dict[str, list[float]] = defaultdict(list)  # that commands of a script took
        self.lock = threading.Lock()

    def ended(self, step: Step, seconds: float) -> str:
        """The line to show now that this command has taken so long."""
        with self.lock:
            self.rest[step.script] -= 1
            self.seconds[step.script].append(seconds)
            counted = f"{self.total - self.rest.total()} of {self.total} commands are done"
            return "; ".join([f"  {counted}{self.left()}", *self.figures(step)])

    def left(self) -> str:
        """By the mean of each script; where one has not been timed yet it will take longer than is known."""
        rest = {script: number for script, number in self.rest.items() if number}
        if not rest:
            return ""
        known = {
            script: sum(self.seconds[script]) / len(self.seconds[script]) for script in rest if self.seconds[script]
        }
        seconds = sum(rest[script] * mean for script, mean in known.items()) / self.jobs
        least = "at least " if known.keys() < rest.keys() else ""
        return f", {least}{duration(seconds)} left"

    def figures(self, step: Step) -> list[str]:
        """What the cells are that this command has filled."""
        return [
            f"{cell.row}, {cell.column}, seed {cell.seed}: {100 * tabulate.model_accuracy(cell, self.setup):.1f} %"
            for cell in self.plan.cells
            if cell.steps[-1] == step
        ]
