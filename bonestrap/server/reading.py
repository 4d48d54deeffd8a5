"""A request's body as recordings, or one sentence that names the field which is wrong.

Legend: C numbers a joint, M bodies, T frames, V joints.

JSON is taken apart level by level, each with a few calls in C, and only a level with a fault is searched for it: half a
millisecond of a recording with 50 frames, of which parsing the text is most.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from bonestrap.files import npy_header, read_array
from bonestrap.layout import Layout
from bonestrap.options import did_you_mean
from bonestrap.server.settings import Settings

LARGEST = 1e6  # metres or pixels; beyond it a coordinate is a mistake
TEXTS = 100  # of a request
CHARACTERS = 500  # of a text
JSON = "application/json"
NPY = ("application/x-npy", "application/octet-stream")
RANK = ("frames", "bodies", "joints", "numbers")


class Refused(Exception):
    """A request that gets no answer: the status, the field that is wrong, and why."""

    def __init__(self, status: int, field: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.status, self.field, self.reason, self.headers = status, field, reason, dict(headers or {})


class Options(NamedTuple):
    """What a request says beside its joints, not checked yet."""

    model: Any = None
    top_k: Any = None
    texts: Any = None


def parse(body: bytes, kind: str, query: Mapping[str, str], allowed: Sequence[str]) -> tuple[Options, Any]:
    """The options and what is to be read as joints: the fields of JSON, or bytes of an .npy file."""
    if kind in NPY:
        _known(query, allowed, "query parameter")
        return Options(query.get("model"), _number(query.get("top_k"))), body
    if kind != JSON:
        raise Refused(415, "Content-Type", f"must be {JSON}, or {NPY[0]} for an .npy file")
    if query:
        raise Refused(422, next(iter(query))[:80], "must be a field of the JSON body and not a query parameter")
    fields = _object(body)
    _known(fields, (*allowed, "joints", "recordings"), "field")
    if ("joints" in fields) == ("recordings" in fields):
        raise Refused(422, "joints", "must be given, of one recording, or else recordings, a list of such")
    return Options(*(fields.get(name) for name in Options._fields)), fields


def recordings_of(given: Any, layout: Layout, settings: Settings) -> list[np.ndarray]:
    """Recordings (T, M, V, C) float32, NaN where a joint is absent."""
    if isinstance(given, bytes):
        return _from_npy(given, layout, settings)
    if "joints" in given:
        return [_from_lists(given["joints"], "joints", layout, settings)]
    several = given["recordings"]
    if type(several) is not list or not several:
        raise Refused(422, "recordings", "must be a list of one or more recordings")
    _limit(len(several), settings.recordings, "recordings", "recordings")
    return [_from_lists(one, f"recordings[{number}]", layout, settings) for number, one in enumerate(several)]


def texts_of(texts: Any) -> tuple[str, ...]:
    """Checked texts."""
    if type(texts) is not list or not all(type(text) is str for text in texts):
        raise Refused(422, "texts", "must be a list of texts")
    if not 2 <= len(texts) <= TEXTS or len(set(texts)) < len(texts):
        raise Refused(422, "texts", f"must be 2 to {TEXTS} different texts")
    for number, text in enumerate(texts):
        if not text.strip() or len(text) > CHARACTERS or not text.isprintable():
            raise Refused(422, f"texts[{number}]", f"must have 1 to {CHARACTERS} printable characters")
    return tuple(texts)


def top_k_of(top_k: Any, default: int, classes: int) -> int:
    if top_k is None:
        return min(default, classes)
    if type(top_k) is not int or not 1 <= top_k <= classes:
        raise Refused(422, "top_k", f"must be a whole number from 1 to {classes}")
    return top_k


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except RecursionError:
        raise Refused(400, "body", "is nested too deeply") from None
    except ValueError as error:
        raise Refused(400, "body", f"is not JSON: {str(error).splitlines()[0]:.200}") from None
    if type(found) is not dict:
        raise Refused(422, "body", 'must be a JSON object such as {"joints": [...]}')
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON; a joint that is absent is null")


def _known(given: Mapping[str, Any], allowed: Sequence[str], what: str) -> None:
    for name in given:
        if name not in allowed:
            raise Refused(422, name[:80], f"is an unknown {what}{did_you_mean(name, allowed)}")


def _number(word: str | None) -> Any:
    """A whole number, or the word as it is, which is refused later."""
    return int(word) if word is not None and word.isascii() and word.isdigit() and len(word) < 10 else word


def _limit(count: int, limit: int, field: str, what: str) -> None:
    if count > limit:
        raise Refused(413, field, f"has {count} {what}, and {limit} are allowed")


def _from_lists(nested: Any, field: str, layout: Layout, settings: Settings) -> np.ndarray:
    joints, axes = len(layout.joints), layout.axes
    if type(nested) is not list or not nested:
        raise Refused(422, field, "must be a list of frames, each a list of bodies; an absent body is null")
    _limit(len(nested), settings.frames, field, "frames")
    first = next((frame for frame in nested if frame is not None), None)
    if type(first) is not list or not first:
        raise Refused(422, field, "must have a frame with a body: a list of bodies, of which absent ones are null")
    _limit(len(first), settings.bodies, field, "bodies")
    shape: list[int] = [len(nested)]
    # A joint that was not seen has no confidence, and none at all means that its body is not there.
    unseen = [None] * layout.coordinates + [0.0] * layout.confidence
    absent = [[None] * axes] * joints
    items = nested
    for size, null in ((len(first), [absent] * len(first)), (joints, absent), (axes, unseen)):
        items = _level(items, size, null, shape, field, layout)
        shape.append(size)
    if not set(map(type, items)) <= {float, int, type(None)}:
        at = next(i for i, item in enumerate(items) if type(item) not in (float, int, type(None)))
        raise Refused(422, _place(field, at, shape), f"must be a number or null, not {_name(items[at])}")
    try:
        array = np.array(items, np.float64)
    except OverflowError:
        at = next(i for i, item in enumerate(items) if item is not None and abs(item) > LARGEST)
        _too_large(_place(field, at, shape))
    return _checked(array.reshape(shape), field, layout, missing=np.isnan(array).reshape(shape))


def _level(items: list[Any], size: int, null: Any, shape: Sequence[int], field: str, layout: Layout) -> list[Any]:
    """All parts of all items, where each is a list of `size`; an item that is null is `null`."""
    kinds = set(map(type, items))
    if type(None) in kinds:
        items = [null if item is None else item for item in items]
        kinds = set(map(type, items))
    if kinds != {list} or set(map(len, items)) != {size}:
        at = next(i for i, item in enumerate(items) if type(item) is not list or len(item) != size)
        of = f" of layout {layout.name}" if len(shape) > 1 else ", as the first frame has"
        found = len(items[at]) if type(items[at]) is list else _name(items[at])
        wanted = f"must be a list of {size} {RANK[len(shape)]}{of}, or null; got {found}"
        raise Refused(422, _place(field, at, shape), wanted)
    return list(itertools.chain.from_iterable(items))


def _place(field: str, at: int, shape: Sequence[int]) -> str:
    return field + "".join(f"[{index}]" for index in np.unravel_index(at, tuple(shape)))


def _name(value: Any) -> str:
    """What JSON calls a value's type."""
    kinds = {str: "a text", bool: "true or false", dict: "an object", list: "a list"}
    return kinds.get(type(value), "a number")


def _from_npy(body: bytes, layout: Layout, settings: Settings) -> list[np.ndarray]:
    try:
        shape, _, dtype = npy_header(io.BytesIO(body))
    except ValueError as error:
        raise Refused(400, "body", f"is not an .npy file: {error!s:.200}") from None
    if dtype.kind not in "fiu":
        raise Refused(422, "body", f"must be an array of numbers, got {dtype!s:.40}")
    several = len(shape) == 5
    if len(shape) not in (4, 5) or shape[-2:] != (len(layout.joints), layout.axes) or min(shape) < 1:
        wanted = f"(recordings x) frames x bodies x {len(layout.joints)} x {layout.axes} for layout {layout.name}"
        raise Refused(422, "body", f"must be {wanted}, got {' x '.join(map(str, shape)) or 'one number':.200}")
    _limit(shape[0] if several else 1, settings.recordings, "body", "recordings")
    _limit(shape[-4], settings.frames, "body", "frames")
    _limit(shape[-3], settings.bodies, "body", "bodies")
    try:
        array = read_array(io.BytesIO(body), len(body)).astype(np.float64)
    except ValueError as error:
        raise Refused(400, "body", f"is not a whole .npy file: {error!s:.200}") from None
    if not several:
        return [_checked(array, "body", layout, missing=np.isnan(array))]
    return [_checked(one, f"body[{n}]", layout, missing=np.isnan(one)) for n, one in enumerate(array)]


def _checked(array: np.ndarray, field: str, layout: Layout, missing: np.ndarray) -> np.ndarray:
    """The array as float32 if its numbers can be coordinates and somebody is there."""
    if not (missing | (np.abs(array) <= LARGEST)).all():
        at = np.unravel_index(int((~(missing | (np.abs(array) <= LARGEST))).argmax()), array.shape)
        _too_large(field + "".join(f"[{index}]" for index in at))
    known = np.isfinite(array[..., : layout.coordinates]).all(-1).any(-1)  # (T, M): a joint, so its body is there
    if not (known & np.isfinite(array[..., layout.coordinates :]).all((-1, -2))).any():
        raise Refused(422, field, "no frame holds a body with a joint that is there")
    return array.astype(np.float32)


def _too_large(place: str) -> NoReturn:
    raise Refused(422, place, "must be a number within a million of zero; a joint that is absent is null, in .npy NaN")
