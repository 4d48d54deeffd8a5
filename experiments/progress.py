"""The progress of a table: commands that are done, the figure of a cell, and an estimate of the time left."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict

from distributed.progress import duration
from experiments.steps import Plan, Setup, Step
from experiments.summary import model_accuracy


class TableProgress:
    """Called at the end of every command, from several threads if need be."""

    def __init__(self, plan: Plan, setup: Setup, jobs: int) -> None:
        self.plan, self.setup, self.jobs = plan, setup, jobs
        self.total = len(plan.steps)
        self.remaining = Counter(step.script for step in plan.steps if not setup.done(step))
        self.seconds: dict[str, list[float]] = defaultdict(list)  # by script
        self.lock = threading.Lock()

    def ended(self, step: Step, seconds: float) -> str:
        """The line to print after a command that took so long."""
        with self.lock:
            self.remaining[step.script] -= 1
            self.seconds[step.script].append(seconds)
            done = f"{self.total - self.remaining.total()} of {self.total} commands are done"
            return "; ".join([f"  {done}{self.time_left()}", *self.figures(step)])

    def time_left(self) -> str:
        """An estimate from the mean time of each script; a minimum while one of them has not been timed yet."""
        remaining = {script: number for script, number in self.remaining.items() if number}
        if not remaining:
            return ""
        known = {
            script: sum(self.seconds[script]) / len(self.seconds[script])
            for script in remaining
            if self.seconds[script]
        }
        seconds = sum(remaining[script] * mean for script, mean in known.items()) / self.jobs
        minimum = "at least " if known.keys() < remaining.keys() else ""
        return f", {minimum}{duration(seconds)} left"

    def figures(self, step: Step) -> list[str]:
        """The cells that this command has filled."""
        return [
            f"{cell.row}, {cell.column}, seed {cell.seed}: {100 * model_accuracy(cell, self.setup):.1f} %"
            for cell in self.plan.cells
            if cell.steps[-1] == step
        ]
