"""Bodies of requests: what they are as arrays, and which field is named where they are wrong."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import COCO17
from bonestrap.server.reading import Refused, parse, recordings_of
from bonestrap.server.settings import Settings
from tests.bonestrap.server.serving import LAYOUT, as_lists, walk

SCORED = dataclasses.replace(COCO17, name="scored", confidence=True)
LIMITS = Settings(frames=30, bodies=3, recordings=4, queue=4)


def read(body: Any, layout: Any = LAYOUT) -> list[np.ndarray]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return recordings_of(parse(text, "application/json", {}, ("model",))[1], layout, LIMITS)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def read_npy(body: bytes) -> list[np.ndarray]:
    return recordings_of(parse(body, "application/x-npy", {}, ("model",))[1], LAYOUT, LIMITS)


def test_null_stands_for_a_number_a_joint_a_body_and_a_frame() -> None:
    joints = walk(6, 2)
    joints[1, 0, 3, 2] = np.nan
    joints[2, 1, 4] = np.nan
    joints[3, 0] = np.nan
    joints[0] = np.nan
    lists = as_lists(joints)
    lists[2][1][4] = lists[3][0] = lists[0] = None
    for found in (*read({"joints": lists}), *read({"recordings": [lists, as_lists(joints)]})):
        np.testing.assert_array_equal(found, joints)
        assert found.dtype == np.float32


def test_a_joint_without_confidence_is_not_there_and_its_body_is() -> None:
    lists = np.ones((2, 2, 17, 3)).tolist()
    lists[0][0][5] = lists[1][1] = None
    (found,) = read({"joints": lists}, SCORED)
    assert np.isnan(found[0, 0, 5, :2]).all() and found[0, 0, 5, 2] == 0
    assert np.isnan(found[1, 1]).all() and np.isfinite(found[1, 0]).all()


def test_arrays() -> None:
    joints = walk(5, 2)
    joints[2:] = np.nan
    joints[0, 0] = 1
    for dtype in (np.float64, np.float32, np.float16):
        given = joints.astype(dtype)
        np.testing.assert_array_equal(read_npy(npy(given))[0], given.astype(np.float32))
        several = read_npy(npy(np.asfortranarray(np.stack([given, given + 1]))))
        np.testing.assert_array_equal(several[1], (given + 1).astype(np.float32))


def spoilt(at: tuple[int, ...], value: Any) -> dict[str, Any]:
    joints: Any = as_lists(walk(4, 2))
    inner = joints
    for index in at[:-1]:
        inner = inner[index]
    inner[at[-1]] = value
    return {"joints": joints}


SHORT = [[0.0, 0.0, 0.0]] * 14
WRONG: dict[str, tuple[Any, int, str, str]] = {
    "not JSON": (b"{", 400, "body", "is not JSON: "),
    "NaN": (b'{"joints": [[[[NaN]]]]}', 400, "body", "NaN is no number of JSON; a joint that is absent is null"),
    "deep": (b"[" * 100_000, 400, "body", "is nested too deeply"),
    "not UTF-8": (b"\xff\xfe\xfa", 400, "body", "is not JSON: "),
    "a list": ([], 422, "body", "must be a JSON object"),
    "no joints": ({}, 422, "joints", "must be given"),
    "both": ({"joints": [], "recordings": []}, 422, "joints", "must be given, of one recording, or else recordings"),
    "a slip": ({"joint": []}, 422, "joint", "is an unknown field; did you mean joints?"),
    "no frames": ({"joints": []}, 422, "joints", "must be a list of frames"),
    "a text": ({"joints": "x"}, 422, "joints", "must be a list of frames"),
    "frames": ({"joints": as_lists(walk(31))}, 413, "joints", "has 31 frames, and 30 are allowed"),
    "bodies": ({"joints": as_lists(walk(2, 4))}, 413, "joints", "has 4 bodies, and 3 are allowed"),
    "recordings": ({"recordings": [as_lists(walk(1))] * 5}, 413, "recordings", "has 5 recordings, and 4 are allowed"),
    "ragged": (spoilt((2,), [SHORT]), 422, "joints[2]", "must be a list of 2 bodies, as the first frame has"),
    "joint count": (spoilt((1, 1), SHORT), 422, "joints[1][1]", "list of 15 joints of layout sbu15, or null; got 14"),
    "numbers": (spoilt((1, 1, 7), [1, 2]), 422, "joints[1][1][7]", "list of 3 numbers of layout sbu15, or null"),
    "a word": (spoilt((3, 0, 14, 2), "1.5"), 422, "joints[3][0][14][2]", "must be a number or null, not a text"),
    "true": (spoilt((0, 0, 0, 0), True), 422, "joints[0][0][0][0]", "not true or false"),
    "an object": (spoilt((0, 1, 0), {}), 422, "joints[0][1][0]", "got an object"),
    "1e999": (spoilt((0, 1, 2, 0), float("1e7")), 422, "joints[0][1][2][0]", "within a million of zero"),
    "huge": (spoilt((0, 1, 2, 1), -(10**400)), 422, "joints[0][1][2][1]", "within a million of zero"),
    "nobody": ({"recordings": [as_lists(walk(2)), [[None]]]}, 422, "recordings[1]", "no frame holds a body"),
    "deep inside": ({"recordings": [as_lists(walk(2)), [[[1]]]]}, 422, "recordings[1][0][0]", "15 joints"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "field", "reason"), WRONG.values(), ids=WRONG)
def test_the_field_is_named(body: Any, status: int, field: str, reason: str) -> None:
    with pytest.raises(Refused) as found:
        read(body)
    assert (found.value.status, found.value.field) == (status, field)
    assert reason in found.value.reason


ARRAYS: dict[str, tuple[bytes, int, str, str]] = {
    "not an array": (b"hello", 400, "body", "is not an .npy file"),
    "rank": (npy(np.zeros((2, 15, 3))), 422, "body", "frames x bodies x 15 x 3 for layout sbu15, got 2 x 15 x 3"),
    "joints": (npy(np.zeros((2, 1, 14, 3))), 422, "body", "got 2 x 1 x 14 x 3"),
    "empty": (npy(np.zeros((0, 1, 15, 3))), 422, "body", "got 0 x 1 x 15 x 3"),
    "type": (npy(np.zeros((1, 1, 15, 3), complex)), 422, "body", "must be an array of numbers, got complex128"),
    "infinite": (npy(np.full((1, 1, 15, 3), np.inf)), 422, "body[0][0][0][0]", "within a million"),
    "nobody": (npy(np.full((2, 1, 1, 15, 3), np.nan)), 422, "body[0]", "no frame holds a body"),
    "cut": (npy(np.zeros((3, 1, 15, 3)))[:-1], 400, "body", "is not a whole .npy file"),
    "frames": (npy(np.zeros((31, 1, 15, 3))), 413, "body", "has 31 frames"),
    "recordings": (npy(np.zeros((5, 1, 1, 15, 3))), 413, "body", "has 5 recordings"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "field", "reason"), ARRAYS.values(), ids=ARRAYS)
def test_an_array_that_does_not_fit(body: bytes, status: int, field: str, reason: str) -> None:
    with pytest.raises(Refused) as found:
        read_npy(body)
    assert (found.value.status, found.value.field) == (status, field)
    assert reason in found.value.reason
