"""The store on a disk and on a pyarrow file system: damage of every kind, faults while writing, which ones stay."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distributed.checkpoint import Checkpoints, State, Writer
from distributed.loop import train
from distributed.strategy import Single
from tests.distributed.toy import Listener, everything, toy_job


def state(step: int) -> State:
    return State(step, 1.5 * step, {"weight": torch.full((1000,), float(step))}, {"state": {}, "param_groups": []})


def store(folder: Path, said: list[str], keep: int = 3) -> Checkpoints:
    return Checkpoints(folder, keep=keep, warn=said.append)


def tear(folder: Path) -> Path:
    path = folder / "state.pt"
    os.truncate(path, path.stat().st_size // 2)
    return path


def flip(folder: Path) -> Path:
    path = folder / "state.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def lose_state(folder: Path) -> Path:
    (folder / "state.pt").unlink()
    return folder / "state.pt"


def lose_manifest(folder: Path) -> Path:
    (folder / "manifest.json").unlink()
    return folder / "manifest.json"


def lose_mark(folder: Path) -> Path:
    (folder / "committed").unlink()
    return folder / "committed"


def garble_manifest(folder: Path) -> Path:
    (folder / "manifest.json").write_bytes(b"\xff\x00")
    return folder / "manifest.json"


DAMAGE: list[Callable[[Path], Path]] = [tear, flip, lose_state, lose_manifest, lose_mark, garble_manifest]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_damage_falls_back_to_the_one_before_and_names_the_file(tmp_path: Path, damage: Callable[[Path], Path]) -> None:
    said: list[str] = []
    checkpoints = store(tmp_path, said)
    for step in (10, 20, 30):
        checkpoints.save(state(step))
    assert checkpoints.newest() == 30
    assert said == []
    path = damage(tmp_path / "step-00000030")
    assert checkpoints.newest() == 20
    assert len(said) == 1
    assert str(path) in said[0]


@pytest.mark.parametrize("damage", [tear, flip, lose_state], ids=lambda f: f.__name__)
def test_a_run_resumes_from_the_one_before_to_the_same_numbers(tmp_path: Path, damage: Callable[[Path], Path]) -> None:
    whole = toy_job(tmp_path / "whole")
    expected = everything(whole, train(whole, Single()))
    run, listener = tmp_path / "run", Listener()
    train(toy_job(run, steps=10), Single())
    path = damage(run / "checkpoints/step-00000010")
    again = toy_job(run)
    found = everything(again, train(again, Single(screen=listener)))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert str(path) in listener.messages[0]
    assert "after 5 of 20 steps" in listener.messages[1]


# ---------------------------------------------------------------------- addresses


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_on_a_pyarrow_file_system_as_on_a_disk(tmp_path: Path, damage: Callable[[Path], Path]) -> None:
    pytest.importorskip("pyarrow")
    said: list[str] = []
    address = f"file://{tmp_path}/bucket"
    checkpoints = Checkpoints(address, keep=2, warn=said.append)
    assert checkpoints.newest() is None
    for step in (10, 20, 30):
        checkpoints.save(state(step))
    assert checkpoints.steps() == [20, 30]
    torch.testing.assert_close(checkpoints.load(30, torch.device("cpu"))._asdict(), state(30)._asdict())
    assert said == []
    path = damage(tmp_path / "bucket/step-00000030")
    assert checkpoints.newest() == 20
    assert len(said) == 1
    assert f"{address}/step-00000030/{path.name}" in said[0]
    checkpoints.save(state(30))
    assert checkpoints.newest() == 30


def test_where_nothing_can_be_renamed_the_mark_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    checkpoints = Checkpoints(f"file://{tmp_path}", keep=2, warn=lambda text: None)
    checkpoints.save(state(10))
    written: list[str] = []
    write = checkpoints.storage.write

    def watched(name: str, put: Callable[..., object]) -> None:
        assert checkpoints.newest() == 10
        written.append(name)
        write(name, put)

    monkeypatch.setattr(checkpoints.storage, "write", watched)
    checkpoints.save(state(20))
    assert written == [f"step-00000020/{name}" for name in ("state.pt", "manifest.json", "committed")]
    assert checkpoints.newest() == 20


def test_a_run_keeps_its_checkpoints_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    whole = toy_job(tmp_path / "whole")
    expected = everything(whole, train(whole, Single()))
    address = f"file://{tmp_path}/bucket"
    train(toy_job(tmp_path / "run", steps=10, checkpoints=address), Single())
    assert not (tmp_path / "run/checkpoints").exists()
    again = toy_job(tmp_path / "run", checkpoints=address)
    torch.testing.assert_close(everything(again, train(again, Single())), expected, rtol=0, atol=0)
    assert sorted(path.name for path in (tmp_path / "bucket").iterdir()) == ["step-00000015", "step-00000020"]


# ---------------------------------------------------------------------- the best, and writing beside the work


def test_the_best_stays_beside_the_newest(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [], keep=2)
    for step, score in ((10, 0.5), (20, 0.9), (30, None), (40, 0.7), (50, 0.8)):
        checkpoints.save(state(step), score)
    assert checkpoints.steps() == [20, 40, 50]
    assert checkpoints.best() == 20
    checkpoints.save(state(60), 0.95)
    assert checkpoints.steps() == [50, 60]


def test_the_loop_scores_checkpoints_by_the_probe(tmp_path: Path) -> None:
    accuracy = iter([0.1, 0.9, 0.3, 0.4, 0.5])
    train(toy_job(tmp_path, probe=lambda: {"knn": next(accuracy)}, probe_every=5, keep=1), Single())
    assert store(tmp_path / "checkpoints", []).steps() == [5, 20]


def test_writing_goes_on_beside_the_work_and_shows_the_state_at_its_step(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [])
    gate, saved = threading.Event(), list[int]()
    checkpoints.held = gate.wait
    writer = Writer(checkpoints, saved.append)
    weight = torch.ones(3)
    writer.put(State(10, 0.0, {"weight": weight}, {"state": [weight]}))
    weight.zero_()  # training goes on
    assert checkpoints.steps() == []
    gate.set()
    writer.wait()
    assert saved == [10]
    found = checkpoints.load(10, torch.device("cpu"))
    assert found.method["weight"].tolist() == found.optimizer["state"][0].tolist() == [1, 1, 1]


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [])
    saved = state(7)
    checkpoints.save(saved)
    torch.testing.assert_close(checkpoints.load(7, torch.device("cpu"))._asdict(), saved._asdict(), rtol=0, atol=0)


def test_a_checkpoint_says_whose_it_is(tmp_path: Path) -> None:
    mine = {"seed": 1, "schedule": {"epochs": 3.0, "batch": 8}, "recipe": "demo"}
    Checkpoints(tmp_path, keep=2, warn=print, result=mine).save(state(10))
    Checkpoints(tmp_path, keep=2, warn=print, result=json.loads(json.dumps(mine))).check()
    other = {"seed": 2, "schedule": {"epochs": 4.0, "batch": 8}, "labels": 0.5}
    theirs = Checkpoints(tmp_path, keep=2, warn=print, result=other)
    with pytest.raises(
        ValueError, match=r"step-00000010 is .* \(labels, recipe, schedule.epochs, seed\); choose another"
    ):
        theirs.check()
    flip(tmp_path / "step-00000010")  # it cannot be loaded, but it is still not theirs to replace
    with pytest.raises(ValueError, match="other settings"):
        theirs.check()


def test_checkpoints_from_before_they_said_so_still_load(tmp_path: Path) -> None:
    store(tmp_path, []).save(state(10))
    assert set(json.loads((tmp_path / "step-00000010/manifest.json").read_text())) == {"step", "score", "files"}
    found = Checkpoints(tmp_path, keep=2, warn=print, result={"seed": 1})
    found.check()
    assert found.newest() == 10
    torch.testing.assert_close(found.load(10, torch.device("cpu"))._asdict(), state(10)._asdict(), rtol=0, atol=0)


def test_an_empty_store_has_none(tmp_path: Path) -> None:
    assert store(tmp_path / "absent", []).newest() is None


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [], keep=2)
    for step in (10, 20, 30, 40):
        checkpoints.save(state(step))
    assert checkpoints.steps() == [30, 40]


def test_damaged_ones_of_a_course_that_was_left_never_push_out_good_ones(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [], keep=2)
    for step in (10, 20, 30):
        checkpoints.save(state(step))
    flip(tmp_path / "step-00000030")
    assert checkpoints.newest() == 20
    checkpoints.save(state(25))
    assert checkpoints.steps() == [20, 25]


def test_a_damaged_one_is_replaced_when_its_step_comes_again(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoints = store(tmp_path, said)
    checkpoints.save(state(10))
    flip(tmp_path / "step-00000010")
    checkpoints.save(state(10))
    assert checkpoints.newest() == 10
    assert said == []


def test_a_kill_while_writing_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [])
    checkpoints.save(state(10))
    process = os.fork()
    if process == 0:  # dies between writing the state and renaming the folder
        torch.save = lambda *_: os._exit(9)
        checkpoints.save(state(20))
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 9
    assert checkpoints.newest() == 10
    checkpoints.save(state(20))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000020"]


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    checkpoints = store(tmp_path, [])
    evil = State(10, 0.0, {"weight": Evil(tmp_path / "ran")}, {})
    checkpoints.save(evil)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        checkpoints.load(10, torch.device("cpu"))
    assert not (tmp_path / "ran").exists()


class Evil:
    """Makes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mknod, (str(self.path),)
