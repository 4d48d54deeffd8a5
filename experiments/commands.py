"""Starting launch commands from another one, as a person would type them, with their output on screen or in a file."""

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
    """Starts launch commands, from several threads if need be, and ends the running ones when it is stopped."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopped = False
        self.lock = threading.Lock()

    def run(self, script: str, *words: object, log: IO[str] | None = None) -> None:
        """Run one in the current folder until it ends. UserError where it fails, or after `stop`."""
        arguments = [str(word) for word in words]
        print(f"$ {typed(script, arguments)}", flush=True)
        with self.lock:
            if self.stopped:
                raise UserError("stopped: the same command resumes")
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
            raise UserError(f"launch/{script} ended with exit code {code}: fix what it reports and start again")

    def in_order(self, commands: Sequence[tuple[object, ...]], log: Path) -> None:
        """Run commands one after the other with their output in a file."""
        with log.open("a") as file:
            for script, *words in commands:
                self.run(str(script), *words, log=file)

    def stop(self) -> None:
        """Send SIGTERM to the running ones, and start nothing more."""
        with self.lock:
            self.stopped = True
            for child in self.running:
                child.terminate()


def typed(script: str, words: Sequence[str]) -> str:
    """The command as a person types it, without the secrets of addresses."""
    return redaction.command(["python", f"launch/{script}", *words])


def heading(text: str) -> None:
    """Print a heading, bold on a terminal."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)
