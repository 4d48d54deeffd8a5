"""One job a run: a lease beside the checkpoints, renewed while its job lives.

Two jobs of one name would overwrite each other's checkpoints. So a job writes its name into `lease.json` and renews it
every few seconds; with checkpoints elsewhere it holds both. Another job that finds a lease watches it: if it is
renewed, the run is in use and the newcomer is refused; if it stays as it is for as long as a lease lasts, its job is
gone and the newcomer takes over. Nothing compares two machines' clocks. A job that was cut off and comes back finds the
lease in another's name, or gone, and stops before it commits anything.
"""

from __future__ import annotations

import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from shards.storage.storage import Storage, open_storage

FILE = "lease.json"
LASTS_SECONDS = 20.0  # without renewal, after which the lease has ended
RENEW_SECONDS = 4.0
SETTLE_SECONDS = 0.2  # between writing and reading back, so that of two who write at once one is told


class RunInUse(ValueError):
    """Another job trains this run, or has taken it over."""


class Job(NamedTuple):
    """Who holds a run. A later attempt of the same job may take the lease of an earlier one at once."""

    name: str
    attempt: int = 0


class Lease:
    """Holds a run for a job from `take` to `release`. `say` is told when the start has to wait."""

    def __init__(self, folder: Path | str, job: Job, say: Callable[[str], None]) -> None:
        self.storage: Storage = open_storage(folder)
        self.job, self.say = job, say
        self.renewals = 0
        self.lost = ""  # whose it is now
        self.replaced: tuple[Any, Any] | None = None  # the job and attempt from which this one has taken over
        self.renewed = math.inf  # when the newest finished renewal began, on this process's clock
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.keep, name="lease", daemon=True)

    def take(self) -> None:
        """Take the run, waiting until the lease of a job that is gone has ended. Raises RunInUse if one is alive."""
        found = self.read()
        if found is not None and not self.yields(found):
            self.say(f"{self.storage.path(FILE)} is held by {spoken(found)}: waiting to see whether that job is alive.")
            began = time.monotonic()
            while time.monotonic() - began < LASTS_SECONDS:
                time.sleep(min(0.5, LASTS_SECONDS / 10))
                now = self.read()
                if now is None or self.yields(now):
                    break
                if now != found:
                    raise RunInUse(
                        f"{self.storage.path('').rstrip('/')} is in use by {spoken(now)}: "
                        "wait until that job has ended, or choose another --run"
                    )
        if found is not None:
            self.replaced = found.get("job"), found.get("attempt")
        self.write()
        time.sleep(SETTLE_SECONDS)
        self.check()
        self.thread.start()

    def yields(self, found: dict[str, Any]) -> bool:
        """Whether a lease can be taken at once: an earlier attempt's of this job, or a dead process's here."""
        if found.get("job") == self.job.name:
            return found.get("attempt", 0) <= self.job.attempt
        return found.get("machine") == machine() and born(found.get("pid", 0)) != found.get("born")

    def keep(self) -> None:
        while not self.over.wait(RENEW_SECONDS):
            try:
                self.check()
                self.write()
            except RunInUse:
                return
            except Exception:  # a store that is away: whoever takes over meanwhile is noticed by `check`
                continue

    def raise_if_lost(self) -> None:
        """Raises RunInUse if the lease is known to have gone to another, without asking the store."""
        if self.lost:
            raise RunInUse(self.lost)

    def check(self) -> None:
        """Raises RunInUse if the lease has gone to another.

        A lease that is gone counts as lost: a job that was stopped for long may have been replaced by one that has
        ended since, and must not continue. A job that was stopped in the middle of a renewal finishes
        it when it comes back: the one that has replaced it writes its own name again, and the other waits for that.
        """
        self.raise_if_lost()
        if time.monotonic() - self.renewed > LASTS_SECONDS:
            time.sleep(2 * RENEW_SECONDS)
        found = self.read()
        if found is not None and (found.get("job"), found.get("attempt")) == self.replaced != self.me:
            self.write()
            return
        if found is None:
            self.lost = (
                f"{self.storage.path(FILE)} is gone: another job has taken the run over and ended, or the folder was "
                "removed; this job stops, and the same command resumes from what is there"
            )
        elif (found.get("job"), found.get("attempt")) != self.me:
            self.lost = f"{self.storage.path('').rstrip('/')} has been taken over by {spoken(found)}: this job stops"
        self.raise_if_lost()

    def release(self) -> None:
        """Give the run back, if it is still held. Where the store is away, the lease ends by itself."""
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()
        with suppress(RunInUse, OSError):
            self.check()
            self.storage.remove(FILE)

    def read(self) -> dict[str, Any] | None:
        """What the lease says, or None where there is none. A torn one says nothing of anyone."""
        try:
            with self.storage.read(FILE) as file:
                said = json.loads(file.read())
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    @property
    def me(self) -> tuple[str, int]:
        return self.job.name, self.job.attempt

    def write(self) -> None:
        began = time.monotonic()
        self.renewals += 1
        me = {"job": self.job.name, "attempt": self.job.attempt, "renewals": self.renewals}
        where = {"host": socket.gethostname(), "machine": machine(), "pid": os.getpid(), "born": born(os.getpid())}
        self.storage.write(FILE, lambda file: file.write(json.dumps({**me, **where}, indent=1).encode()))
        self.renewed = began


class Leases:
    """The lease of a run directory, in `RUN/checkpoints`, and that of its checkpoints where they are elsewhere."""

    def __init__(self, run: Path, checkpoints: Path | str, job: Job, say: Callable[[str], None]) -> None:
        self.inside = run / "checkpoints"
        self.each = [Lease(folder, job, say) for folder in dict.fromkeys((str(self.inside), str(checkpoints)))]
        self.created = not self.inside.exists()

    def take(self) -> None:
        """Take all or none. Raises RunInUse if another job that is alive holds one."""
        for number, lease in enumerate(self.each):
            try:
                lease.take()
            except BaseException:
                for taken in self.each[:number]:
                    taken.release()
                raise

    def raise_if_lost(self) -> None:
        """Raises RunInUse if one is known to have gone to another, without asking the store."""
        for lease in self.each:
            lease.raise_if_lost()

    def check(self) -> None:
        """Raises RunInUse if one has gone to another."""
        for lease in self.each:
            lease.check()

    def release(self) -> None:
        """Give back those that are still held."""
        for lease in self.each:
            lease.release()
        if self.created:
            with suppress(OSError):  # it holds checkpoints, or is another's by now
                self.inside.rmdir()


def alive(folder: Path | str) -> bool:
    """Whether a job holds a run. Takes as long as a lease lasts where a job of another machine has held it."""
    lease = Lease(folder, Job(""), lambda text: None)
    found = lease.read()
    began = time.monotonic()
    while found is not None and not lease.yields(found):
        now = lease.read()
        if now != found:
            return now is not None
        if time.monotonic() - began > LASTS_SECONDS:
            return False
        time.sleep(LASTS_SECONDS / 20)
    return False


def held(folder: Path | str) -> bool:
    """Whether a job may hold a run, answered at once: a lease of another machine is taken to be renewed."""
    lease = Lease(folder, Job(""), lambda text: None)
    found = lease.read()
    return found is not None and not lease.yields(found)


def spoken(lease: dict[str, Any]) -> str:
    return f"process {lease.get('pid', '?')} on {lease.get('host', 'an unknown machine')}"


def machine() -> str:
    """This boot of this machine, and where process numbers mean the same."""
    parts = [socket.gethostname()]
    for file in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(os.readlink(file) if file.is_symlink() else file.read_text().strip())
        except OSError:
            parts.append("?")
    return " ".join(parts)


def born(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None if there is none. Numbers of processes come again."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None if Path("/proc/self/stat").exists() else "?"
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]
