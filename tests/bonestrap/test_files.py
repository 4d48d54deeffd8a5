"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from bonestrap.files import write_atomically

ROOT = Path(__file__).resolve().parents[2]


def test_text_bytes_and_functions_are_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content, expected in (("ä\n", b"\xc3\xa4\n"), (b"\0\r\n", b"\0\r\n")):
        write_atomically(file, content)
        assert file.read_bytes() == expected
    write_atomically(file, lambda stream: stream.write(b"function"))
    assert file.read_bytes() == b"function" and list(tmp_path.iterdir()) == [file]
    before = os.umask(0o27)
    try:
        write_atomically(tmp_path / "other", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o640


def test_what_fails_halfway_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    def fails(stream: BinaryIO) -> None:
        stream.write(b"new and half of it")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_atomically(file, fails)
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]


def test_a_writer_that_is_killed_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    program = (
        "import os, sys; from pathlib import Path; from bonestrap.files import write_atomically\n"
        "write_atomically(Path(sys.argv[1]), lambda file: (file.write(b'new'), file.flush(), os.kill(os.getpid(), 9)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -9 and file.read_text() == "old"


def test_a_name_that_is_taken_stays_whose_it_is(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", "first", replace=False)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "file", "second", replace=False)
    assert (tmp_path / "file").read_text() == "first" and len(list(tmp_path.iterdir())) == 1
