"""Requests that are wrong in known ways, from a seed: of each, the server has to say so with a status of 4xx."""

from __future__ import annotations

import io
import json
import math
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.serve.client import post

Request = tuple[str, bytes, bool]  # a kind, what is sent, and whether it is whole
BASE = (4, 1)  # frames and bodies of the recording that is spoilt
WRONG: tuple[Any, ...] = ("1.5", True, {}, [], [[]], "x" * 1000, {"a": [1]}, [1, 2, 3, 4, 5])
NUMBERS = ("1e999", "-1e999", "1e7", "-123456789", "1" + "0" * 400, "9" * 5000, "NaN", "Infinity", "-Infinity", "1e400")
DTYPES = ("complex64", "bool", "S5", "U3", "datetime64[s]", "timedelta64[s]", "V8")
HEADERS = (
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 1, %d, %d), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999, 1, %d, %d), }",
    b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 1, %d, %d), }",
    b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 1, %d, %d), }",
    b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 1, %d, %d), }",
    b"{'descr': '<f4', 'shape': (1, 1, %d, %d), }",
    b"(((((((((((((((((((((((((((((((((((((((%d, %d",
    b"__import__('os').getcwd() # %d %d",
)


class Spoiler:
    """Malformed requests to a model of this layout, a function of the seed."""

    def __init__(self, joints: int, axes: int, seed: int, path: str = "/predict") -> None:
        self.shape, self.random, self.path = (*BASE, joints, axes), random.Random(seed), path
        self.kinds: tuple[Callable[[], Request], ...] = (
            self.bytes_, self.cut, self.nested, self.wrong_type, self.wrong_size, self.number, self.field, self.option,
            self.empty, self.too_many, self.npy, self.npy_header, self.content_type, self.method, self.head,
            self.length, self.encoding,
        )  # fmt: skip

    def requests(self, count: int) -> Iterator[Request]:
        """Kinds by turns."""
        for number in range(count):
            yield self.kinds[number % len(self.kinds)]()

    def joints(self) -> Any:
        return np.random.default_rng(self.random.getrandbits(32)).normal(size=self.shape).round(3).tolist()

    def json(self, kind: str, content: Any) -> Request:
        return kind, post(self.path, content if isinstance(content, bytes) else json.dumps(content).encode()), True

    def bytes_(self) -> Request:
        return self.json("random bytes", b"\xff" + self.random.randbytes(self.random.randrange(2000)))

    def cut(self) -> Request:
        text = json.dumps({"joints": self.joints()}).encode()
        return self.json("cut JSON", text[: self.random.randrange(len(text))])

    def nested(self) -> Request:
        depth = self.random.choice((100, 10_000, 100_000))
        opened, closed = self.random.choice((("[", "]"), ('{"joints":', "}")))
        inner = opened * depth + "1" + closed * self.random.choice((0, depth))
        return self.json("deep nesting", f'{{"joints": {inner}}}'.encode())

    def wrong_type(self) -> Request:
        """Something else than a list or a number at a random depth."""
        joints = self.joints()
        at = joints
        for depth in range(self.random.randrange(4)):
            at = at[self.random.randrange(self.shape[depth])]
        at[self.random.randrange(len(at))] = self.random.choice(WRONG)
        return self.json("wrong type", {"joints": joints})

    def wrong_size(self) -> Request:
        """A list that is too short or too long: of bodies, joints or numbers."""
        joints = self.joints()
        at = joints
        for depth in range(self.random.randrange(1, 4)):
            at = at[self.random.randrange(self.shape[depth])]
        if self.random.random() < 0.5:
            at.pop()
        else:
            at.extend([at[-1]] * self.random.choice((1, 100)))
        return self.json("wrong size", {"joints": joints})

    def number(self) -> Request:
        text = json.dumps({"joints": self.joints()}).replace("[[[[", f"[[[[{self.random.choice(NUMBERS)},", 1)
        head, _, rest = text.partition(",")
        return self.json("impossible number", f"{head}{rest[rest.index(',') :]}".encode())

    def field(self) -> Request:
        joints = self.joints()
        fields: tuple[Any, ...] = (
            {"joint": joints}, {"joints": joints, "recordings": [joints]}, {}, {"joints": joints, "\ud800": 1},
            {"joints": joints, "x" * 5000: 1}, joints, "joints", None, 5, {"recordings": joints}, {"recordings": {}},
        )  # fmt: skip
        return self.json("wrong field", self.random.choice(fields))

    def option(self) -> Request:
        values: tuple[tuple[str, Any], ...] = (
            ("top_k", 0), ("top_k", -1), ("top_k", 10**30), ("top_k", "5"), ("top_k", True), ("top_k", 1.5),
            ("top_k", []), ("model", "nobody"), ("model", 5), ("model", ["s"]), ("model", "\ud800"), ("model", {}),
            ("texts", "walk"), ("texts", ["walk"]), ("texts", ["walk", 5]), ("texts", [[]]), ("texts", ["a", "a"]),
            ("texts", ["a"] * 1000), ("texts", ["\x00", "b"]), ("texts", ["a" * 10**5, "b"]), ("texts", {}),
        )  # fmt: skip
        name, value = self.random.choice(values)
        return self.json("wrong option", {"joints": self.joints(), name: value})

    def empty(self) -> Request:
        frames, bodies, joints, axes = self.shape
        nobody = [[[[None] * axes] * joints] * bodies] * frames
        return self.json(
            "nobody there",
            {"joints": self.random.choice(([], [[]], [None], [[None]], [None, [None]], nobody, [[[None] * joints]]))},
        )

    def too_many(self) -> Request:
        joints = self.joints()
        body = self.random.choice((
            {"joints": joints * 800}, {"joints": [frame * 20 for frame in joints]}, {"recordings": [joints] * 100},
        ))  # fmt: skip
        return self.json("too many", body)

    def npy(self) -> Request:
        """Arrays of other ranks, types and values, and files that are cut short."""
        shape = self.random.choice((
            (), (3,), self.shape[:3], (1, 1, *self.shape), (0, *self.shape[1:]), (*self.shape[:3], self.shape[3] + 1),
            (*self.shape[:2], self.shape[2] + 1, self.shape[3]),
        ))  # fmt: skip
        array = np.zeros(shape, np.float32)
        choice = self.random.randrange(5)
        if choice == 1:
            array = np.zeros(self.shape, self.random.choice(DTYPES))
        elif choice == 2:
            array = np.full(self.shape, self.random.choice((math.inf, -math.inf, 1e30, math.nan)), np.float32)
        elif choice == 3:
            array = np.array([[{"a": 1}]], object)
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        body = file.getvalue()
        if choice == 4:
            file = io.BytesIO()
            np.save(file, np.zeros(self.shape))
            body = file.getvalue()[: self.random.randrange(len(file.getvalue()))]
        return "wrong array", post(self.path, body, "application/x-npy"), True

    def npy_header(self) -> Request:
        header = self.random.choice(HEADERS) % self.shape[2:]
        version = self.random.choice((b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x09"))
        length = len(header) if self.random.random() < 0.7 else self.random.randrange(2**16)
        size = length.to_bytes(2 if version == b"\x01\x00" else 4, "little")
        body = b"\x93NUMPY" + version + size + header + b"\x00" * self.random.randrange(100)
        if self.random.random() < 0.1:
            body = pickle.dumps({"a": 1})
        return "wrong .npy header", post(self.path, body, "application/octet-stream"), True

    def content_type(self) -> Request:
        kind = self.random.choice((
            "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "\xff",
            "x" * 1000, "application/xml", "image/png",
        ))  # fmt: skip
        return "content type", post(self.path, json.dumps({"joints": self.joints()}).encode(), kind), True

    def method(self) -> Request:
        method = self.random.choice(("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"))
        path = self.random.choice((self.path, "/", "/../../etc/passwd", "/%00", "/%0a%0d", "/" + "a" * 5000, "/docs"))
        return "method or path", f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), True

    def head(self) -> Request:
        """What is not HTTP."""
        text = self.random.choice((
            b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"POST /predict HTTP/9.9\r\nHost: x\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 10**5 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
            b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ))  # fmt: skip
        return "not HTTP", text, False

    def length(self) -> Request:
        """A body that is announced and does not come, or is announced larger than any."""
        body = json.dumps({"joints": self.joints()}).encode()
        said = self.random.choice((len(body) + 10, 10**9, 10**30))
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {said}\r\n\r\n"
        )
        return "wrong length", head.encode() + body, False

    def encoding(self) -> Request:
        body = json.dumps({"joints": self.joints()}).encode()
        if self.random.random() < 0.5:
            return "encoding", post(self.path, body, more="Content-Encoding: gzip\r\n"), True
        return "encoding", post(f"{self.path}?top_k=3", body), True
