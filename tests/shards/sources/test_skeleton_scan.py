"""The compiled scan of `.skeleton` files against the parser in plain Python, on files right and wrong."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from shards.sources.datasets.ntu import JOINTS, _parsed, read_skeleton
from shards.sources.datasets.skeleton_scan import scanned
from tests.shards.sources.test_ntu import Frame, skeleton, standing

pytest.importorskip("numba")


def plain(data: bytes) -> tuple[int, list[int], list[str], bytes]:
    """What the parser in plain Python reads; raises what it raises."""
    file = _parsed(re.split(r"\r\n|\r|\n", data.decode("ascii")))
    return file.frames, file.frame.tolist(), file.identity, file.joints.tobytes()


def quick(data: bytes) -> tuple[int, list[int], list[str], bytes] | None:
    """What the scan reads; None where it leaves the file to the other."""
    file = scanned(data, JOINTS)
    return file and (file.frames, file.frame.tolist(), file.identity, file.joints.tobytes())


def whole_file() -> bytes:
    frames: list[Frame] = [[], [("7", standing(0))], [("9", standing(1)), ("9", standing(2))], [("7", standing(3))]]
    return skeleton(frames).encode()


def test_the_sdk_s_files_are_read_bit_for_bit(recordings_root: Path) -> None:
    files = sorted((recordings_root / "ntu_samples").glob("*.skeleton"))
    assert len(files) == 12
    for file in files:
        data = file.read_bytes()
        assert quick(data) == plain(data)


@pytest.mark.parametrize(
    "number",
    ["0", "-0", "7", "-.5", "5.", "0.2181153", "-1.234567e-05", "3.402823E+22", "123456789012345", "1e-22", "0.1e22"],
)
def test_numbers_are_those_nearest_to_their_text(number: str) -> None:
    data = re.sub(rb"\n25\n\S+ ", f"\n25\n{number} ".encode(), whole_file())
    found = scanned(data, JOINTS)
    assert found is not None and found.joints[0, 0, 0].tobytes() == np.float32(float(number)).tobytes()
    assert quick(data) == plain(data)


@pytest.mark.parametrize("number", ["nan", "inf", "1_0", "0x1p3", "1e23", "1234567890.1234567", "+1", "1e", "."])
def test_other_numbers_are_left_to_python(number: str) -> None:
    assert quick(re.sub(rb"\n25\n\S+ ", f"\n25\n{number} ".encode(), whole_file())) is None


def test_either_end_of_line_and_any_end_of_file() -> None:
    data = whole_file()
    for same in (data.replace(b"\n", b"\r\n"), data.rstrip(), data + b"\n  \n"):
        assert quick(same) == quick(data) == plain(same) == plain(data)


def test_a_file_that_is_wrong_is_never_read_otherwise(tmp_path: Path) -> None:
    """Bytes changed, cut out and doubled: where the scan reads a file at all, it reads what the parser reads."""
    rng = np.random.default_rng(0)
    data, read, refused = whole_file(), 0, 0
    for _ in range(3000):
        at, length = int(rng.integers(len(data))), int(rng.integers(1, 40))
        piece = rng.choice(np.frombuffer(b" \n\r\t-.e+0123459NaN\x1c\x80", np.uint8), length // 8).tobytes()
        broken = data[:at] + piece + data[at + int(rng.integers(0, length)) :]
        found = quick(broken)
        if found is not None:
            read += 1
            assert found == plain(broken)
        else:
            refused += 1
    assert read > 300 and refused > 300
    path = tmp_path / "S001C001P001R001A001.skeleton"
    path.write_bytes(data)
    assert read_skeleton(path).shape == (4, 3, 25, 3)
