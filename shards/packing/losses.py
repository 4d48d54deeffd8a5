"""What preparing a recording leaves out of it: frames, persons in frames and joints, counted with their reasons.

A pose is one person in one frame. Of the frames and of the poses that a file holds, each is stored or in one of its
losses: what is stored and what is lost add up to what was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

Counted = Literal["frames", "poses", "joints"]
TEXT = re.compile(rf"(.+): (\d+) of (\d+) ({'|'.join(get_args(Counted))})")


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Frames, poses or joints of one recording left out. As text: `frames without anybody: 3 of 90 frames`."""

    reason: str
    lost: int
    of: int  # of them the recording held when it was read
    what: Counted

    def __str__(self) -> str:
        return f"{self.reason}: {self.lost} of {self.of} {self.what}"

    @staticmethod
    def parse(text: str) -> Loss | None:
        """The loss that a text says; None for the reason why a whole file was dropped."""
        match = TEXT.fullmatch(text)
        if not match:
            return None
        what: Counted = next(what for what in get_args(Counted) if what == match[4])
        return Loss(reason=match[1], lost=int(match[2]), of=int(match[3]), what=what)


def whole(dropped: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The files, of a manifest's list of (file, reason), of which nothing is stored."""
    return [(file, reason) for file, reason in dropped if Loss.parse(reason) is None]


def partial(dropped: Iterable[tuple[str, str]]) -> list[tuple[str, Loss]]:
    """The files, of a manifest's list of (file, reason), of which something is stored and something is not."""
    return [(file, loss) for file, reason in dropped if (loss := Loss.parse(reason)) is not None]
