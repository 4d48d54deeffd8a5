"""The checkpoint store: written under another name, hashed, committed, and found again by scanning.

A checkpoint is a folder `step-00001200` with the state and a manifest of its files' SHA-256. It is written under
another name, flushed to the disk, renamed, and then marked as committed with the manifest's own hash; on an object
store, which cannot rename, the mark alone makes it count. So whatever kills a run, and wherever, the folder that bears
the mark is whole, and anything else is passed over for the one before it.

The state is whole tensors by name. It knows nothing of ranks or of how the optimizer's state was divided among them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from distributed.lease import RunInUse
from distributed.record import differences, upgraded
from shards.errors import reason
from shards.storage.storage import Hashed, digest, open_storage, staged

STATE, MANIFEST, MARK = "state.pt", "manifest.json", "committed"


class State(NamedTuple):
    """All that a run needs to resume: every schedule and every random draw is a function of the step."""

    step: int  # optimizer steps done
    seconds: float  # device-seconds spent, probes not counted
    method: dict[str, Any]
    optimizer: dict[str, Any]

    def snapshot(self) -> State:
        """A copy in the host's memory, which further steps do not change."""
        return State(self.step, self.seconds, copied(self.method), copied(self.optimizer))


def copied(value: Any) -> Any:
    """The same nest of dictionaries and lists with tensors copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value


class Checkpoints:
    """The checkpoints of one run, at a path or an address. One process writes; any may read.

    The newest `keep` stay, and the one with the best held-out probe. `warn` is told of each damaged one by
    file. `held` is called before anything is committed or removed, and raises where the run belongs to another job.
    `result`, where it is given, is all that shapes the run's result: it is written into every checkpoint's manifest.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        keep: int,
        warn: Callable[[str], None],
        held: Callable[[], object] = lambda: None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        self.storage, self.keep, self.warn, self.held, self.result = open_storage(folder), keep, warn, held, result
        self.known: set[int] | None = None  # the steps that were there or were written here, once `newest` has looked

    def path(self, step: int) -> str:
        """What to call a checkpoint in a message."""
        return self.storage.path(name(step))

    def steps(self) -> list[int]:
        """The steps that have a folder, whole or not, oldest first."""
        names = (name.removeprefix("step-") for name in self.storage.names() if name.startswith("step-"))
        return sorted(int(name) for name in names if name.isdigit())

    def save(self, state: State, score: float | None = None) -> None:
        """Write a checkpoint, then remove those that are no longer kept. `score` is the probe's, higher is better.

        Newer ones than this belong to a course that the run has left (they were damaged) and are removed too. Raises
        OSError if the disk is full; the checkpoints already there stay, and those that cannot be removed are told of.
        RunInUse where another job has written one since `newest` was called: it took the run over while this process
        stood still, and may have ended.
        """
        self.held()
        if self.known is not None and (others := set(self.steps()) - self.known):
            raise RunInUse(f"{self.path(max(others))} is another job's, which has taken the run over: this job stops")
        with staged(self.storage, name(state.step)) as folder:
            hashes: dict[str, str] = {}

            def put(file: Any) -> None:
                hashed = Hashed(file)
                try:
                    torch.save(state._asdict(), hashed)  # type: ignore[arg-type]  # it writes, and that is all
                except RuntimeError:
                    if hashed.error is not None:
                        raise hashed.error from None
                    raise
                hashes[STATE] = hashed.total.hexdigest()

            self.storage.write(f"{folder}/{STATE}", put)
            whose = {} if self.result is None else {"result": self.result}
            manifest = json.dumps({"step": state.step, "score": score, "files": hashes, **whose}, indent=1)
            self.storage.write(f"{folder}/{MANIFEST}", lambda file: file.write(manifest.encode()))
            self.held()
        mark = digest(self.storage, f"{name(state.step)}/{MANIFEST}")
        self.storage.write(f"{name(state.step)}/{MARK}", lambda file: file.write(mark.encode()))
        if self.known is not None:
            self.known.add(state.step)
        try:
            self.tidy(state.step)
        except OSError as error:
            self.warn(f"Older checkpoints in {self.storage.path('')} could not be removed ({reason(error)}).")

    def tidy(self, newest: int) -> None:
        """Remove all but the newest few and the best."""
        self.held()
        older = [step for step in self.steps() if step <= newest]
        kept = {*older[-self.keep :], self.best()}
        for step in self.steps():
            if step not in kept:
                self.storage.remove(name(step))

    def best(self) -> int | None:
        """The step of the checkpoint with the highest score, the newest of equals; None if none has a score."""
        scored = [(score, step) for step in self.steps() if (score := self.score(step)) is not None]
        return max(scored)[1] if scored else None

    def score(self, step: int) -> float | None:
        """What the held-out probe said of a committed checkpoint, without a look at its state."""
        return self.manifest(step).get("score") if self.storage.exists(f"{name(step)}/{MARK}") else None

    def manifest(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself; nothing where that cannot be read."""
        try:
            with self.storage.read(f"{name(step)}/{MANIFEST}") as file:
                said = json.loads(file.read())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) else {}

    def check(self) -> None:
        """Raises ValueError where a checkpoint, whole or not, is of a run with another `result`.

        One without a result, as they were once written, may be anybody's.
        """
        for step in reversed(self.steps()):
            whose = self.manifest(step).get("result")
            whose = None if whose is None else upgraded(whose)
            if None not in (whose, self.result) and whose != self.result:
                raise ValueError(
                    f"{self.path(step)} is of a run with other settings ({differences(whose, self.result)}); "
                    "choose another folder for --checkpoints, or repeat that run's command"
                )

    def newest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        found = self.steps()
        self.known = set(found)
        for step in reversed(found):
            fault = self.fault(step)
            if fault is None:
                return step
            self.warn(f"Passing over a damaged checkpoint: {fault}.")
        return None

    def fault(self, step: int) -> str | None:
        """What is wrong with a checkpoint, naming the file, or None if every byte is as written."""
        folder, said = name(step), self.storage.path
        for file in (MARK, MANIFEST):
            if not self.storage.exists(f"{folder}/{file}"):
                return f"{said(f'{folder}/{file}')} is missing"
        with self.storage.read(f"{folder}/{MARK}") as mark:
            if digest(self.storage, f"{folder}/{MANIFEST}").encode() != mark.read():
                return f"{said(f'{folder}/{MANIFEST}')} is not what was committed"
        with self.storage.read(f"{folder}/{MANIFEST}") as manifest:
            files = json.loads(manifest.read())["files"]
        for file, expected in files.items():
            if not self.storage.exists(f"{folder}/{file}"):
                return f"{said(f'{folder}/{file}')} is missing"
            if digest(self.storage, f"{folder}/{file}") != expected:
                return f"{said(f'{folder}/{file}')} is not what was committed"
        return None

    def load(self, step: int, device: torch.device) -> State:
        """Read a checkpoint that `newest` has found whole; tensors arrive on `device`."""
        with self.storage.read(f"{name(step)}/{STATE}") as file:
            return State(**torch.load(file, map_location=device, weights_only=True))


def name(step: int) -> str:
    return f"step-{step:08d}"


class Writer:
    """Writes checkpoints on a thread while training continues; one at a time, in order.

    A disk that is full or a store that is away does not stop a run: the user is warned once, what was committed stays,
    and the next checkpoint is another try. Any other error is raised at the next call.
    """

    def __init__(self, store: Checkpoints, saved: Callable[[int], object] = lambda step: None) -> None:
        self.store, self.saved = store, saved
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None
        self.unsaved = ""  # what to say of the newest state where it could not be written

    def put(self, state: State, score: float | None = None) -> None:
        """Take a snapshot and return; waits only for a checkpoint that is still being written."""
        self.wait()
        self.thread = threading.Thread(target=self.write, args=(state.snapshot(), score), name="checkpoint")
        self.thread.start()

    def write(self, state: State, score: float | None) -> None:
        path = self.store.path(state.step)
        try:
            self.store.save(state, score)
            if self.unsaved:
                self.store.warn(f"{path} has been written: checkpoints are kept again.")
            self.unsaved = ""
            self.saved(state.step)
        except OSError as error:
            before, self.unsaved = self.unsaved, f"{path} could not be written ({reason(error)})"
            if not before:
                self.store.warn(f"{self.unsaved}; earlier ones stay, and the next is another try.")
        except BaseException as error:
            self.error = error

    def wait(self) -> None:
        """Until what was put is committed. Raises what writing raised, other than OSError."""
        if self.thread is not None:
            self.thread.join()
            self.thread = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error
