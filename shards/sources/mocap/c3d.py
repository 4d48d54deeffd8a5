"""C3D: marker positions as most motion capture systems write them; the public description at c3d.org.

Blocks of 512 bytes: a header, parameters in groups, and frames of points and analog samples. Numbers are those of
Intel, MIPS or DEC processors; points are 16-bit integers with a scale, or floats where the scale is negative. A point
whose fourth word is negative was not seen.

Legend: T frames, V markers.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bonestrap.files import check_size, content
from shards.sources.mocap.motion import Format, Head
from shards.sources.units import Unit

BLOCK = 512
KEY = 0x50
INTEL, DEC, MIPS = 84, 85, 86
UNITS: dict[str, Unit] = {"m": "metre", "cm": "centimetre", "mm": "millimetre", "in": "inch"}


class Parameter(NamedTuple):
    """A parameter as it is stored."""

    kind: int  # -1 text, 1 bytes, 2 16-bit integers, 4 floats
    shape: tuple[int, ...]  # the first dimension runs fastest
    data: bytes


class Numbers(NamedTuple):
    """How a processor writes numbers."""

    processor: int

    @property
    def order(self) -> str:
        return ">" if self.processor == MIPS else "<"

    def integers(self, data: bytes) -> np.ndarray:
        return np.frombuffer(data, f"{self.order}i2").astype(np.int64)

    def floats(self, data: bytes) -> np.ndarray:
        if self.processor == DEC:  # the halves exchanged, and an exponent that is two more
            halves = np.frombuffer(data, "<u2").reshape(-1, 2)[:, ::-1]
            return np.ascontiguousarray(halves).view("<f4")[:, 0].astype(np.float64) / 4
        return np.frombuffer(data, f"{self.order}f4").astype(np.float64)


def head(path: Path) -> Head:
    """Marker names, rate and unit."""
    data = content(path)
    numbers, parameters = _parameters(data)
    unit = UNITS.get((_texts(parameters.get("POINT:UNITS")) or [""])[0].lower())
    rate = _first(numbers, parameters.get("POINT:RATE")) or float(numbers.floats(data[20:24])[0])
    return Head(_labels(parameters, _count(data, numbers)), rate if 0 < rate < np.inf else 0.0, unit)


def joints(path: Path) -> np.ndarray:
    """(T, V, 3) in the file's unit, NaN where a marker was not seen."""
    data = content(path)
    numbers, parameters = _parameters(data)
    points, analog = _count(data, numbers), int(numbers.integers(data[4:6])[0]) & 0xFFFF
    scale = _first(numbers, parameters.get("POINT:SCALE")) or float(numbers.floats(data[12:16])[0])
    start = int(_first(numbers, parameters.get("POINT:DATA_START"))) or int(numbers.integers(data[16:18])[0])
    frames = _frames(data, numbers, parameters)
    width = 4 if scale < 0 else 2
    size = (4 * points + analog) * width
    begin = BLOCK * ((start & 0xFFFF) - 1)
    if begin < BLOCK or begin + frames * size > len(data):
        raise ValueError(f"{frames} frames of {size} bytes, and {max(len(data) - begin, 0)} bytes hold them")
    check_size((frames, points, 4), 8)
    read = numbers.floats if scale < 0 else numbers.integers
    words = read(data[begin : begin + frames * size]).reshape(frames, -1)[:, : 4 * points]
    words = words.reshape(frames, points, 4).astype(np.float64)
    places = words[..., :3] * (1 if scale < 0 else scale)
    seen = (words[..., 3:] >= 0) & np.isfinite(places).all(-1, keepdims=True)
    return np.where(seen, places, np.nan)


C3D = Format(".c3d", head, joints)


def _parameters(data: bytes) -> tuple[Numbers, dict[str, Parameter]]:
    """How numbers are written, and the parameters, as GROUP:NAME."""
    if len(data) < 2 * BLOCK or data[1] != KEY:
        raise ValueError("no header of a C3D file")
    at = BLOCK * (data[0] - 1)
    if at < BLOCK or at + 4 > len(data) or data[at + 3] not in (INTEL, DEC, MIPS):
        raise ValueError("no parameters where its header says")
    numbers = Numbers(data[at + 3])
    groups: dict[int, str] = {}
    found: list[tuple[int, str, Parameter]] = []
    at += 4
    while at + 2 < len(data):
        length, group = (int(byte) for byte in np.frombuffer(data[at : at + 2], np.int8))
        name_end = at + 2 + abs(length)
        step = int(numbers.integers(data[name_end : name_end + 2])[0]) if name_end + 2 <= len(data) else 0
        if not length or not group:
            break
        name = data[at + 2 : name_end].decode("latin-1").strip().upper()
        if group < 0:
            groups[-group] = name
        else:
            found.append((group, name, _parameter(data, name_end + 2)))
        if step <= 0:
            break
        at = name_end + step
    return numbers, {f"{groups.get(group, '')}:{name}": parameter for group, name, parameter in found}


def _parameter(data: bytes, at: int) -> Parameter:
    kind, count = (int(byte) for byte in np.frombuffer(data[at : at + 2], np.int8))
    shape = tuple(data[at + 2 : at + 2 + count])
    begin = at + 2 + count
    size = abs(kind) * int(np.prod(shape, dtype=np.int64))
    if kind not in (-1, 1, 2, 4) or count < 0 or begin + size > len(data):
        raise ValueError("a damaged parameter")
    return Parameter(kind, shape, data[begin : begin + size])


def _texts(parameter: Parameter | None) -> list[str]:
    """The texts of a parameter, without what fills them up."""
    if parameter is None or parameter.kind != -1 or not parameter.shape:
        return []
    width = parameter.shape[0] or 1
    whole = parameter.data.decode("latin-1")
    return [whole[at : at + width].strip(" \0") for at in range(0, len(whole), width)]


def _first(numbers: Numbers, parameter: Parameter | None) -> float:
    """The first number of a parameter; 0 where there is none."""
    if parameter is None or not parameter.data or parameter.kind == -1:
        return 0.0
    read = {1: lambda data: np.frombuffer(data, np.uint8), 2: numbers.integers, 4: numbers.floats}[parameter.kind]
    return float(read(parameter.data)[0])


def _labels(parameters: dict[str, Parameter], points: int) -> tuple[str, ...]:
    """A name for each point: more than 255 go on in LABELS2, LABELS3 and so on."""
    names = _texts(parameters.get("POINT:LABELS"))
    for more in range(2, 10):
        names += _texts(parameters.get(f"POINT:LABELS{more}"))
    if len(names) < points:
        raise ValueError(f"{len(names)} names of {points} markers")
    return tuple(names[:points])


def _count(data: bytes, numbers: Numbers) -> int:
    points = int(numbers.integers(data[2:4])[0]) & 0xFFFF
    if not points:
        raise ValueError("it has no markers")
    return points


def _frames(data: bytes, numbers: Numbers, parameters: dict[str, Parameter]) -> int:
    """How many frames there are: long recordings state it in the group TRIAL, as the header has 16 bits for it."""
    ends = [parameters.get(f"TRIAL:ACTUAL_{end}_FIELD") for end in ("START", "END")]
    words = [numbers.integers(end.data[:4]) & 0xFFFF for end in ends if end and end.kind == 2]
    if [len(pair) for pair in words] == [2, 2]:
        low, high = (int(pair[0]) + 2**16 * int(pair[1]) for pair in words)
        if high >= low > 0:
            return high - low + 1
    first, last = (int(word) & 0xFFFF for word in numbers.integers(data[6:10]))
    if last < first:
        raise ValueError(f"its frames end at {last}, before they begin at {first}")
    return last - first + 1
