"""Settings of recognition in a stream, and the file `stream.json` beside a model that keeps them. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from bonestrap.bounds import FRAMES, Bounded, Bounds
from bonestrap.files import read_object, write_atomically
from bonestrap.options import did_you_mean, option

FILE = "stream.json"
FORMAT = 1
SECONDS = Bounds(0, 3600)
SCORE = Bounds(-1e6, 1e6)  # an energy has no bounds of its own


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamConfig(Bounded):
    """How a stream is cut into windows, and when an answer is an action."""

    rate: float = option(30.0, "frames a second of a window; frames at other times are interpolated", Bounds(1, 1000))
    window: float = option(1.6, "seconds of a window", Bounds(0, 3600, above=True))
    stride: int = option(3, "frames of a window from one answer to the next", Bounds(1, FRAMES))
    filled: float = option(0.5, "fraction of a window in which a person must be seen for an answer", Bounds(0, 1))
    gap: float = option(0.25, "longest time between two frames that is interpolated; seconds", SECONDS)
    persons: Literal["each", "together"] = option(
        "each", "each person is recognised alone; together: all persons are the bodies of one recording"
    )
    score: Literal["probability", "energy"] = option(
        "probability", "what the threshold is on: the largest probability, or log sum exp of the logits"
    )
    threshold: float = option(0.5, "score from which a window shows an action and not nothing", SCORE)
    release: float = option(0.4, "score below which an action that has begun is over", SCORE)
    smoothing: float = option(0.2, "time constant of the exponential average over windows; seconds", SECONDS)
    start_after: int = option(2, "answers in a row that begin an action", Bounds(1, FRAMES))
    end_after: int = option(2, "answers in a row that end it", Bounds(1, FRAMES))
    lag: float | None = option(
        None, "seconds by which answers come after what they are about; none: half a window", SECONDS
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.release > self.threshold:
            raise ValueError(f"release must be at most the threshold, {self.threshold:g}, got {self.release:g}")
        if not 2 <= self.frames <= FRAMES:
            raise ValueError(f"window must hold from 2 to {FRAMES} frames at rate {self.rate:g}, got {self.window:g} s")

    @property
    def frames(self) -> int:
        """Frames of a whole window."""
        return round(self.window * self.rate)

    @property
    def behind(self) -> float:
        """Seconds by which an answer comes after what it is about."""
        return self.window / 2 if self.lag is None else self.lag


def write(folder: Path, config: StreamConfig, chosen: dict[str, Any]) -> Path:
    """Keep settings beside a model, and in `chosen` how they were chosen. Returns the file. Raises OSError."""
    file = folder / FILE
    write_atomically(file, json.dumps({"format": FORMAT, **vars(config), "chosen": chosen}, indent=2) + "\n")
    return file


def read(file: Path) -> StreamConfig:
    """The settings of a file. ValueError where it is not what `write` writes; an OSError passes through."""
    fields = read_object(file)
    if fields.pop("format", None) != FORMAT:
        raise ValueError(f"{file} was written by another version of Bonestrap: choose the settings again")
    fields.pop("chosen", None)
    names = [field.name for field in dataclasses.fields(StreamConfig)]
    for name in fields:
        if name not in names:
            raise ValueError(f"{file}: unknown setting {name!r:.40}{did_you_mean(name, names)}")
    for name, known in (("persons", ("each", "together")), ("score", ("probability", "energy"))):
        if fields.get(name, known[0]) not in known:
            raise ValueError(f"{file}: {name} must be {' or '.join(known)}, got {fields[name]!r:.40}")
    try:
        return StreamConfig(**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None


def beside(model: Path) -> Path:
    """Where the settings of a model or run directory are kept."""
    return (model / "model" if (model / "model").is_dir() else model) / FILE
