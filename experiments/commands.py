"""Commands that start commands: each as a person would type it, with its output on the screen or in a file."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from bonestrap.options import UserError
from evaluation.provenance import ROOT
from shards.storage import redaction


class Commands:
    """Starts launch commands, from several threads if need be, and ends those that run when it is stopped."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def run(self, script: str, *words: object, log: IO[str] | None = None) -> None:
        """Run one from the folder that we are in, until it ends. UserError where it fails, or after `stop`."""
        arguments = [str(word) for word in words]
        print(f"$ {typed(script, arguments)}", flush=True)
        with self.lock:
            if self.stopped:
                raise UserError("stopped: the same command goes on")
            child = subprocess.Popen(
                [sys.executable, str(ROOT / "launch" / script), *arguments], stdout=log, stderr=log
            )
            self.running.add(child)
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        finally:
            with self.lock:
                self.running.discard(child)
        if code:
            raise UserError(f"launch/{script} ended with exit code {code}: mend what it says and start again")

    def in_order(self, commands: Sequence[tuple[object, ...]], log: Path) -> None:
        """Run commands one after the other with their output in a file."""
        with log.open("a") as file:
            for script, *words in commands:
                self.run(str(script), *words, log=file)

    def stop(self) -> None:
        """End what runs, gently, and start nothing more."""
        with self.lock:
            self.stopped = True
            for child in self.running:
                child.terminate()


def typed(script: str, words: Sequence[str]) -> str:
    """The command as a person types it, without the secrets of addresses."""
    return redaction.command(["python", f"launch/{script}", *words])


def say(text: str) -> None:
    """A heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)
