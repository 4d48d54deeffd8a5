"""Frames of keypoints as JSON lines, from a file, standard input or a socket.

One frame a line: `{"time": 12.3, "persons": [{"id": 1, "joints": [[x, y, z], ...]}]}`. Times are seconds and ascend; an
id is a number or a text, and the same person keeps it; joints stand in the order of the model's layout, `null` for one
that is not seen. A frame with nobody has no persons.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import sys
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from bonestrap.files import opened, parse_json

LONGEST = 2**22  # bytes of a line: 64 persons of 1,000 joints take as many
CONNECT = 10.0  # seconds


class Frame(NamedTuple):
    """What was seen at a time."""

    time: float  # seconds
    persons: dict[Hashable, np.ndarray]  # joints (V, C) by id, NaN where one is not seen


def frames(lines: Iterable[bytes], rate: float | None = None) -> Iterator[Frame]:
    """The frames that lines say; frame k is at k / `rate` where a rate is given, and times may then be left out.

    Raises ValueError, naming the line, where it is not a frame. Empty lines are passed over.
    """
    counter = itertools.count()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _frame(parse_json(line), None if rate is None else next(counter) / rate)
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"line {number}: {str(error) or 'not a frame'!s:.200}") from None


def _frame(fields: Any, time: float | None) -> Frame:
    if not isinstance(fields, dict) or not isinstance(fields.get("persons", []), list):
        raise ValueError('a frame is an object {"time": seconds, "persons": [{"id": 1, "joints": [[x, y, z], ...]}]}')
    if time is None:
        time = fields.get("time")
        if isinstance(time, bool) or not isinstance(time, int | float):
            raise ValueError("time must be a number of seconds; give a frame rate where frames have no times")
    persons: dict[Hashable, np.ndarray] = {}
    for person in fields.get("persons", []):
        if not isinstance(person, dict) or not isinstance(person.get("joints"), list):
            raise ValueError("a person is an object with an id and a list of joints")
        name = person.get("id", 0)
        if not isinstance(name, int | str) or name in persons:
            raise ValueError(f"id {name!r:.40} must be a number or a text that no other person of the frame has")
        persons[name] = _joints(person["joints"])
    return Frame(float(time), persons)


def _joints(rows: list[Any]) -> np.ndarray:
    """Joints (V, C) float32 of a list, NaN where one or a number of it is null. ValueError for anything else."""
    width = next((len(row) for row in rows if isinstance(row, list)), 0)
    if not all(row is None or (isinstance(row, list) and len(row) == width) for row in rows):
        raise ValueError("joints must be lists of as many numbers each, or null")
    try:
        joints = np.array([[None] * width if row is None else row for row in rows], np.float64)
    except (TypeError, ValueError):
        raise ValueError("joints must be numbers or null") from None
    with np.errstate(over="ignore"):
        return joints.reshape(len(rows), width).astype(np.float32)


@contextlib.contextmanager
def source(name: str) -> Iterator[Iterator[bytes]]:
    """The lines of a file, of standard input (`-`), or of a server that sends them (`tcp://host:port`).

    Raises ValueError where that cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        file: BinaryIO
        if name == "-":
            file = sys.stdin.buffer
        elif name.startswith("tcp://"):
            file = stack.enter_context(stack.enter_context(_connected(name)).makefile("rb"))
        else:
            try:
                file = stack.enter_context(opened(name))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                raise ValueError(f"{name} cannot be read: {reason}") from None
        yield _lines(file, name)


def _lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    number = 0
    try:
        while line := file.readline(LONGEST + 1):
            number += 1
            if len(line) > LONGEST:
                raise ValueError(f"line {number}: longer than {LONGEST} bytes; write one frame a line")
            yield line
    except OSError as error:
        raise ValueError(f"{name} broke off after line {number}: {error.strerror or error}") from None


def _connected(name: str) -> socket.socket:
    host, colon, port = name.removeprefix("tcp://").rstrip("/").rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(f"{name}: an address is tcp://host:port")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), CONNECT)
    except OSError as error:
        raise ValueError(f"{name} cannot be reached: {error.strerror or error}") from None
    connection.settimeout(None)  # a pause of the stream is no fault
    return connection
