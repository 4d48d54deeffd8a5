"""How many worker processes a run has, and how they work. Ray is not needed here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]
Kind = Literal["ddp", "zero1", "zero2"]

HANG_SECONDS = 300.0
MAX_WORKERS = 4096  # training processes


class Workers(NamedTuple):
    """How many training processes: exactly one number, or as many between two as there is room for."""

    min: int
    max: int

    @classmethod
    def parse(cls, text: str) -> Workers:
        """Of "4" or "2:8". Raises ValueError for anything else."""
        first, colon, second = text.partition(":")
        try:
            found = cls(int(first), int(second if colon else first))
        except ValueError:
            raise ValueError(f"workers must be a number such as 4, or a range such as 2:8, got {text!r:.40}") from None
        if not 0 <= found.min <= found.max <= MAX_WORKERS or (found.elastic and found.min < 1):
            raise ValueError(
                f"workers must be 0 to {MAX_WORKERS}, and a range go upwards from 1 or more, got {text!r:.40}"
            )
        return found

    @property
    def elastic(self) -> bool:
        return self.max > self.min

    def fitting(self, groups: int) -> list[int]:
        """The numbers that divide `groups` groups a step evenly. Raises ValueError if there is none."""
        found = [count for count in range(max(1, self.min), self.max + 1) if groups % count == 0]
        if not found and self.max:
            said = f"{self.min}:{self.max}" if self.elastic else str(self.min)
            raise ValueError(
                f"--workers {said} cannot divide {groups} normalisation groups a step evenly; "
                "choose a divisor of their number, or other sizes of batch and group"
            )
        return found

    def choose(self, groups: int, room: int) -> int:
        """The largest number that fits and has room, or the smallest that fits: then the cluster has to grow."""
        fitting = self.fitting(groups)
        return max([count for count in fitting if count <= room], default=fitting[0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """How a run is worked on. Nothing here touches its result."""

    name: str = "bonestrap"  # what Ray's dashboard calls the run, followed by a number of each attempt
    workers: Workers = Workers(0, 0)
    groups: int | None = None  # normalisation groups a step; None: any number of workers will do
    threads: int | None = (
        None  # for each worker's CPU arithmetic; None: an even part of the cores of its machine or pod
    )
    device: Device = "auto"
    strategy: Kind = "ddp"
    restarts: int = 3  # after deaths of workers with no new checkpoint between them
    hang_seconds: float = HANG_SECONDS
    storage: Path | None = None  # a folder that all nodes see, for a few small files of Ray's; needed on several nodes


def local_device(device: Device) -> torch.device:
    """Where `--workers 0` trains. Raises ValueError if a GPU is asked for and there is none."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("No GPU is usable here: give --device cpu, or install a PyTorch build with CUDA.")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
