"""Reading pickles of strangers: an unpickler that can build numbers, texts, containers and arrays, and nothing else.

A pickle is a program. Whatever it asks for besides numpy's ways to write an array ends in a DataError before it runs.
Arrays are not even built by numpy's own unpickling, which trusts what it is told of sizes and types: `Plain` takes the
bytes, checks them, and is an array for everyone who asks (`numpy.asarray`).
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.files import DEPTH, LARGEST, opened
from shards.errors import DataError

NUMBER = re.compile(r"[<>|=]?[biufSU]\d+")
UNKNOWN = -1  # the size of a container while it is being measured
NDARRAY = "numpy.ndarray"  # stands for the class, so that a pickle can name it but not call it


class Kind:
    """A type of numbers or texts, as pickles build it: from a code, and then told the order of its bytes."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not (isinstance(code, str) and NUMBER.fullmatch(code)):
            raise DataError(f"it holds arrays of {code!r}, not of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise DataError(f"it holds arrays of {state[1:5]!r}, not of numbers")
        self.dtype = self.dtype.newbyteorder(state[1])


class Plain:
    """An array, as pickles build it: empty, and then told its shape, type and bytes."""

    def __init__(self) -> None:
        self.array = np.empty(0, dtype=np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not (isinstance(kind, Kind) and isinstance(raw, bytes | bytearray)):
            raise DataError("it holds an array that is not made of numbers")
        self.array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.array if dtype is None else self.array.astype(dtype)


def _reconstruct(kind: Any, shape: Any, code: Any) -> Plain:
    if kind is not NDARRAY:
        raise DataError(f"it builds {kind!r} and not a plain array")
    return Plain()


def _frombuffer(data: Any, kind: Kind, shape: Any, order: str) -> Plain:
    out = Plain()
    out.__setstate__((1, shape, kind, order == "F", data))
    return out


def _scalar(kind: Kind, data: Any = b"") -> Any:
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, kind.dtype)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    """How the oldest protocols write bytes."""
    if encoding != "latin1":
        raise DataError(f"it encodes a text as {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How the oldest protocols write that there are none."""
    return b""


ALLOWED: dict[tuple[str, str], Callable[..., Any] | str] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): Kind,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(f"it asks for {module}.{name}, which is no array")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("it refers to what is not in it")


def unpickle(path: Path) -> Any:
    """What the file holds. Raises DataError naming it where it is damaged or asks for more than data."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; give a pickle as --input")
    with opened(path) as file:
        try:
            found = _Unpickler(file).load()
            _measure(found, DEPTH, {})
        except DataError as error:
            raise DataError(f"{path}: not a pickle of plain data, {error}; do not use this file") from None
        except Exception as error:  # a damaged pickle fails in any way it likes
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{path}: not a readable pickle ({said}); fetch the file again") from None
    return found


def _measure(value: Any, depth: int, known: dict[int, int]) -> int:
    """The numbers that an array of this value would hold, were it made one. `known` are those of containers seen.

    A pickle may put one list into another many times, or into itself: a few bytes would become an array without end.
    """
    if isinstance(value, Plain):
        return value.array.size
    if not isinstance(value, list | tuple | dict | set | frozenset):
        return 1
    if known.get(id(value)) == UNKNOWN or not depth:
        raise DataError("it is nested too deeply, or in itself")
    if id(value) not in known:
        known[id(value)] = UNKNOWN
        inside = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        total = sum(_measure(inner, depth - 1, known) for inner in inside)
        known[id(value)] = 1 if isinstance(value, dict) else total
        if known[id(value)] > LARGEST // 4:
            raise DataError(f"it holds a list of {total} numbers")
    return known[id(value)]
