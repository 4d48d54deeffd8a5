"""Work without talk between workers, on Ray: results in order, exceptions as themselves, lost tasks done again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distributed.connection import connection
from distributed.tasks import Tasks
from shards.errors import DataError

pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with connection(2):
        yield


class Work:
    """Picklable work: squares, slow first, with a process that dies once, and an item that cannot be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, item: int) -> int:
        if item == 0:
            time.sleep(0.5)
        if item == 5:
            flag = self.folder / "died"
            if not flag.exists():
                flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if item == 13:
            raise DataError("thirteen: cannot be; leave it out")
        return item * item


def test_results_come_in_order_although_a_worker_dies(tmp_path: Path) -> None:
    assert list(Tasks(2)(Work(tmp_path), iter(range(12)))) == [item * item for item in range(12)]
    assert (tmp_path / "died").exists()


def test_an_exception_is_raised_as_itself_where_it_was_due(tmp_path: Path) -> None:
    (tmp_path / "died").touch()
    seen = []
    with pytest.raises(DataError, match=r"^thirteen: cannot be; leave it out$"):
        for result in Tasks(None)(Work(tmp_path), range(40)):
            seen.append(result)
    assert seen == [item * item for item in range(13)]
