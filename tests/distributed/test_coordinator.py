"""What the coordinator makes of where the ranks are, and how many workers a range means; no cluster is started."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any, TypeVar

import pytest

from distributed import coordinator
from distributed.cluster import Presence, Workers, WorkersLost, lost_workers
from distributed.coordinator import Coordinator, Position, WorkerHung, unpickled
from distributed.watch import Departure

T = TypeVar("T")

pytest.importorskip("ray")


class Time:
    """A clock that stands until it is moved."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(coordinator, "time", clock)
    return clock


def test_the_rank_that_the_others_wait_for_is_named(time: Time) -> None:
    coordinator = Coordinator(3, hang_seconds=10)
    for rank, position in enumerate([Position(4, 2, "summing gradients"), Position(4, 0, "waiting for data")] * 1):
        assert not coordinator.beat(rank, position, "")
    coordinator.beat(2, Position(4, 2, "summing gradients"), "")
    time.now += 9
    assert not coordinator.beat(0, Position(4, 2, "summing gradients"), "")
    coordinator.beat(1, Position(4, 0, "waiting for data"), '  File "loader.py", line 7, in group\n')
    time.now += 2
    assert coordinator.beat(2, Position(4, 2, "summing gradients"), "")
    assert coordinator.error is not None
    error = unpickled(coordinator.error)
    assert isinstance(error, WorkerHung)
    assert "Worker 1 has hung at step 5, waiting for data: nothing has moved for 11 s" in str(error)
    assert "loader.py" in str(error)
    assert coordinator.beat(0, Position(4, 2, "summing gradients"), "")  # every rank is told to end


def test_what_is_said_is_shown_in_the_order_in_which_it_was_said() -> None:
    """Ray does not keep the order of calls to an actor that waits."""
    coordinator = Coordinator(1, hang_seconds=10)
    for at, text in ((2, "second"), (1, "first"), (3, "third")):
        coordinator.message(at, text)
    for at in (5, 7, 6):
        coordinator.status(at, f"step {at}", False)
    assert coordinator.take() == (["first", "second", "third"], ("step 7", False))
    coordinator.status(4, "step 4", False)
    assert coordinator.take() == ([], None)


def test_slow_is_not_hung(time: Time) -> None:
    coordinator = Coordinator(2, hang_seconds=10)
    for step in range(5):
        for rank in range(2):
            assert not coordinator.beat(rank, Position(step), "")
        time.now += 9


def test_a_rank_that_is_heard_of_no_more_is_behind(time: Time) -> None:
    coordinator = Coordinator(2, hang_seconds=10)
    for rank in range(2):
        coordinator.beat(rank, Position(3, 1, "computing"), "")
    coordinator.beat(0, Position(4, 3, "summing gradients"), "")
    time.now += 11
    assert coordinator.beat(0, Position(4, 3, "summing gradients"), "")
    assert coordinator.error is not None
    assert "Worker 1 has hung at step 4, computing" in str(unpickled(coordinator.error))


def test_a_rank_that_stopped_right_after_the_start_is_not_taken_for_one_that_reads_its_data(time: Time) -> None:
    for reached, over in ((0, False), (5, True)):  # at step 0 the others may still be reading
        coordinator = Coordinator(2, hang_seconds=10)
        coordinator.beat(1, Position(), "")
        coordinator.beat(0, Position(reached, 2, "summing gradients"), "")
        time.now += 11
        assert coordinator.beat(0, Position(reached, 2, "summing gradients"), "") == over


def test_nobody_is_blamed_where_all_wait(time: Time) -> None:
    coordinator = Coordinator(2, hang_seconds=10)
    for rank in range(2):
        coordinator.beat(rank, Position(3, 1, "summing gradients"), "")
    time.now += 11
    coordinator.beat(0, Position(3, 1, "summing gradients"), "")
    assert coordinator.error is not None
    assert "none is behind" in str(unpickled(coordinator.error))


def test_reading_the_data_at_the_start_may_take_longer(time: Time) -> None:
    coordinator = Coordinator(2, hang_seconds=10)
    coordinator.beat(0, Position(), "")
    time.now += 800
    assert not coordinator.beat(0, Position(), "")
    time.now += 200
    assert coordinator.beat(0, Position(), "")


class Loop:
    """The event loop that Ray gives an actor, in a thread; `call` is `ray.get(coordinator.method.remote(...))`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def call(self, waiting: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(waiting, self.loop).result(60)


def stopped_after(
    coordinator: Coordinator, rank: int, loop: Loop, together: threading.Barrier, draw: random.Random
) -> int:
    """After how many steps a rank stops that had done four. No step ends before all ranks are in it."""
    departure = Departure()

    def depart() -> None:
        loop.call(coordinator.departure())
        sleep(draw.random() / 100)
        with departure.agreeing() as begun:
            sleep(draw.random() / 100)
            departure.last = loop.call(coordinator.last_step(rank, begun))

    beside = threading.Thread(target=depart)
    beside.start()
    done = 4
    while not departure.due(done):
        sleep(draw.random() / 200)
        together.wait(30)
        done += 1
    beside.join()
    return done


@pytest.mark.parametrize("seed", range(10))
def test_all_ranks_stop_after_the_same_step_and_none_waits_for_one_that_has_stopped(seed: int) -> None:
    loop, together = Loop(), threading.Barrier(3)
    coordinator, draw = Coordinator(3, hang_seconds=10), random.Random(seed)
    with ThreadPoolExecutor(3) as threads:
        ranks = [
            threads.submit(stopped_after, coordinator, rank, loop, together, random.Random(10 * seed + rank))
            for rank in range(3)
        ]
        sleep(draw.random() / 20)
        loop.loop.call_soon_threadsafe(coordinator.ask_to_leave)
        assert len({rank.result(60) for rank in ranks}) == 1


def test_a_rank_without_a_board_goes_on() -> None:
    departure = Departure()
    with pytest.raises(ConnectionError), departure.agreeing():
        raise ConnectionError
    assert not departure.due(7)


def test_a_range_means_the_largest_number_that_divides_the_groups_and_has_room() -> None:
    workers = Workers.parse("2:8")
    assert workers == (2, 8)
    assert [workers.choose(12, room) for room in (1, 2, 3, 5, 7, 100)] == [2, 2, 3, 4, 6, 6]
    assert Workers.parse("4") == (4, 4)
    assert not Workers.parse("4").elastic
    with pytest.raises(ValueError, match="--workers 5:7 cannot share 4 normalisation groups a step evenly"):
        Workers(5, 7).fitting(4)
    with pytest.raises(ValueError, match="--workers 3 cannot share 4 normalisation groups a step evenly"):
        Workers(3, 3).fitting(4)


class WorkerHealthCheckFailedError(Exception):
    """As Ray names the death of a worker."""


class Failure(Exception):
    def __init__(self, worker_failures: dict[int, BaseException]) -> None:
        self.worker_failures = worker_failures


def test_the_dead_are_named_with_their_last_words_and_the_bereaved_are_not(tmp_path: Any) -> None:
    log = tmp_path / "worker.err"
    log.write_text(":job_id:01000000\n:actor_name:RayTrainWorker\n\nFatal Python error: Segmentation fault\n")
    present = {rank: Presence(40 + rank, "n", "10.0.0.5", str(log)) for rank in range(2)}
    failure = Failure({0: RuntimeError("gloo: connection closed"), 1: WorkerHealthCheckFailedError()})
    lost = lost_workers(present, failure)
    assert isinstance(lost, WorkersLost)
    assert str(lost) == "Worker 1 (process 41 on 10.0.0.5) died"
    assert lost.lines == ["  1 | Fatal Python error: Segmentation fault"]
    assert "could not be reached" in str(lost_workers(present, Failure({})))
