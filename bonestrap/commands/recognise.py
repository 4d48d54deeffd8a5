"""`bonestrap recognise`: a stream of keypoints in, actions with their beginning and end out, as they happen."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bonestrap.stream.config import StreamConfig
    from bonestrap.stream.decision import Event
    from bonestrap.stream.lines import Frame
    from bonestrap.stream.recogniser import Answer, Recogniser

HELP = "recognise actions in a stream of keypoints: a file, standard input, or a socket"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--model", type=Path, required=True, help="model or run directory of a classifier")
    parser.add_argument(
        "--input", default="-", help="JSON lines of keypoints (docs/streams.md): a file, - or tcp://host:port"
    )
    parser.add_argument(
        "--settings", type=Path, help="stream.json with window, threshold and smoothing; none: the one beside the model"
    )
    parser.add_argument("--frame-rate", type=float, help="frames a second, where frames have no times")
    parser.add_argument("--every", type=float, help="print what is seen every so many seconds, too; 0: at each answer")
    parser.add_argument("--json", action="store_true", help="print JSON lines")
    parser.add_argument(
        "--together", action="store_true", help="recognise all persons as one recording, not each alone"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network (default: 1)")


def run(options: argparse.Namespace) -> None:
    """Read frames to their end, or until interrupted. ValueError for what is wrong with them."""
    import torch

    from bonestrap.serialization import load
    from bonestrap.stream import lines
    from bonestrap.stream.recogniser import Recogniser

    if options.frame_rate is not None and not 0 < options.frame_rate <= 1000:
        raise ValueError(f"--frame-rate must lie in (0, 1000], got {options.frame_rate:g}")
    if options.every is not None and not 0 <= options.every <= 3600:
        raise ValueError(f"--every must lie in [0, 3600], got {options.every:g}")
    if not 1 <= options.threads <= 1024:
        raise ValueError(f"--threads must lie in [1, 1024], got {options.threads}")
    torch.set_num_threads(options.threads)
    recogniser = Recogniser(load(options.model), settings(options))
    show = as_json if options.json else as_text
    with lines.source(options.input) as source:
        for said in recognise(recogniser, lines.frames(source, options.frame_rate), options.every):
            try:
                print(show(recogniser, said), flush=True)
            except BrokenPipeError:  # nobody reads any more, such as behind `| head`
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                return


def settings(options: argparse.Namespace) -> StreamConfig:
    """The settings of the file, or of the model; the defaults, with a warning, where it has none."""
    import dataclasses

    from bonestrap.stream import config

    file = options.settings or config.beside(options.model)
    try:
        found = config.read(file)
    except FileNotFoundError:
        if options.settings:
            raise ValueError(f"{file} does not exist: give a file that launch/streams.py wrote") from None
        print(
            f"{file} does not exist: window and threshold are defaults that nobody has chosen for this model "
            "(docs/streams.md)",
            file=sys.stderr,
        )
        found = config.StreamConfig()
    return dataclasses.replace(found, persons="together") if options.together else found


def recognise(recogniser: Recogniser, frames: Iterable[Frame], every: float | None) -> Iterator[Event | Answer]:
    """Events as they become known, and every so many seconds each person's answer. An interrupt ends the stream."""
    shown: dict[Any, float] = {}  # by person, when an answer was last given
    try:
        for number, frame in enumerate(frames, 1):
            try:
                update = recogniser.push(frame.persons, frame.time)
            except ValueError as error:
                raise ValueError(f"frame {number}: {error}") from None
            yield from update.events
            for answer in update.answers:
                if every is not None and answer.time >= shown.get(answer.person, -1e300) + every - 1e-6:
                    shown[answer.person] = answer.time
                    yield answer
    except KeyboardInterrupt:
        pass
    yield from recogniser.finish()


def as_json(recogniser: Recogniser, said: Event | Answer) -> str:
    """One line of JSON."""
    import json

    from bonestrap.stream.decision import Event

    classes = recogniser.classes
    if isinstance(said, Event):
        line: dict[str, Any] = {"event": said.kind, **said._asdict(), "action": classes[said.action]}
        del line["kind"]
        line.update(
            {name: round(line[name], 4) for name in ("time", "start", "end", "probability") if line[name] is not None}
        )
    else:
        line = {
            "event": "update",
            "person": said.person,
            "time": round(said.time, 4),
            "action": None if said.action is None else classes[said.action],
            "score": round(said.score, 4),
            "probabilities": {name: round(float(p), 6) for name, p in zip(classes, said.probabilities, strict=True)},
        }
    return json.dumps(line)


def as_text(recogniser: Recogniser, said: Event | Answer) -> str:
    """One line to read."""
    from bonestrap.stream.decision import Event

    who = "" if said.person is None else f"  person {said.person}"
    if isinstance(said, Event):
        span = f"since {said.start:.2f} s" if said.end is None else f"from {said.start:.2f} to {said.end:.2f} s"
        return (
            f"{said.time:9.2f} s{who}  {said.kind:5}  {recogniser.classes[said.action]}  {span}  {said.probability:.0%}"
        )
    best = int(said.average.argmax())
    action = "nothing" if said.action is None else recogniser.classes[said.action]
    return (
        f"{said.time:9.2f} s{who}         {action}  (likeliest: {recogniser.classes[best]}, {said.average[best]:.0%})"
    )
