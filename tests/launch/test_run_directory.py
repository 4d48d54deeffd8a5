"""Whatever happens to a run, its record, journal, checkpoints and model stay, and the same command resumes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distributed import lease
from distributed.record import Record, prepared
from shards.packing.pack import pack
from tests.launch.faults import damage, signalled, take_away, train, words
from tests.launch.waving import Waving

STEPS = 6
STREAM = ("--stream", "yes", "--stream-gib", "1e-9", "--window", "1")  # shards are opened again at every step


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LASTS_SECONDS", 0.5)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty performances, each in a shard of its own. Tests that harm them repair them."""
    pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("waving") / "shards"
    pack(Waving(), folder, shard_bytes=1)
    return folder


Undisturbed = Callable[..., dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def undisturbed(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The weights of a run of so many steps to which nothing happened."""
    known: dict[tuple[object, ...], dict[str, torch.Tensor]] = {}

    def weights(steps: int, *more: str) -> dict[str, torch.Tensor]:
        if (steps, *more) not in known:
            run = tmp_path_factory.mktemp("undisturbed") / "run"
            train(words(shards, run, steps, *more))
            known[(steps, *more)] = of(run)
        return known[(steps, *more)]

    return weights


def of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model/model.safetensors")


def ends(code: int, given: list[str], fault: Callable[[], object] | None = None, at: int = -1) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(given, fault, at)
    assert stopped.value.code == code


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The last line that the user sees."""
    return capsys.readouterr().err.splitlines()[-1]


def content(*folders: Path) -> dict[str, str]:
    """Every file's hash."""
    files = (file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# ---------------------------------------------------------------------- faults in the middle of a run


@pytest.fixture(params=["inside", "inside by name", "elsewhere"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[str]]:
    """Where the checkpoints of `tmp_path/run` are, and the option that says so."""
    folder = {
        "inside": tmp_path / "run/checkpoints", "inside by name": tmp_path / "run/ckpt", "elsewhere": tmp_path / "ckpt"
    }[request.param]  # fmt: skip
    return folder, [] if request.param == "inside" else ["--checkpoints", str(folder)]


def intact(run: Path, checkpoints: Path, at: int) -> None:
    """Record, journal and newest checkpoint of a run that was disturbed in step `at`, counted from 0, are there."""
    assert json.loads((run / "run.json").read_text())["result"]["seed"] == 0
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line][:at] == list(range(1, at + 1))
    found = sorted(folder.parent.name for folder in checkpoints.glob("step-*/committed"))
    newest = at - at % 2
    assert (found[-1] == f"step-{newest:08d}") if newest else not found


AT = pytest.mark.parametrize("at", [0, STEPS - 1], ids=["first step", "last step"])


@AT
def test_a_kill(shards: Path, tmp_path: Path, place: tuple[Path, list[str]], at: int, undisturbed: Undisturbed) -> None:
    run, given = tmp_path / "run", words(shards, tmp_path / "run", STEPS, *place[1])
    process = signalled(signal.SIGKILL, at, given, tmp_path / "stderr")
    process.join()
    assert process.exitcode == -signal.SIGKILL, (tmp_path / "stderr").read_text()
    intact(run, place[0], at)
    train(given)
    torch.testing.assert_close(of(run), undisturbed(STEPS), rtol=0, atol=0)


@AT
def test_a_lost_lease(
    shards: Path,
    tmp_path: Path,
    place: tuple[Path, list[str]],
    at: int,
    undisturbed: Undisturbed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, given = tmp_path / "run", words(shards, tmp_path / "run", STEPS, *place[1])
    ends(2, given, lambda: take_away(place[0] / "lease.json"), at)
    assert f"{place[0]} has been taken over by process 1 on elsewhere: this job stops" in sentence(capsys)
    intact(run, place[0], at)
    train(given)
    torch.testing.assert_close(of(run), undisturbed(STEPS), rtol=0, atol=0)


@AT
def test_a_damaged_shard(
    shards: Path,
    tmp_path: Path,
    place: tuple[Path, list[str]],
    at: int,
    undisturbed: Undisturbed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, given = tmp_path / "run", words(shards, tmp_path / "run", STEPS, *STREAM, *place[1])
    before: dict[Path, bytes] = {}
    try:
        ends(2, given, lambda: before.update(damage(shards)), at)
    finally:
        for file, whole in before.items():
            file.write_bytes(whole)
    said = sentence(capsys)
    assert any(str(file) in said for file in before)
    intact(run, place[0], at)
    train(given)
    torch.testing.assert_close(of(run), undisturbed(STEPS, *STREAM), rtol=0, atol=0)


@pytest.mark.parametrize("steps", [1, STEPS])
def test_a_card_that_cannot_be_written(
    shards: Path,
    tmp_path: Path,
    place: tuple[Path, list[str]],
    steps: int,
    undisturbed: Undisturbed,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The data folder is moved while training: the card tells of it, the model does not need it."""
    run, away = tmp_path / "run", tmp_path / "away"
    here = tmp_path / "shards"
    here.symlink_to(shards)
    train_words = words(here.as_uri(), run, steps, *place[1], "--stream", "no", "--cache", str(tmp_path / "cache"))
    ends(2, train_words, lambda: here.rename(away), steps - 1)
    said = sentence(capsys)
    assert f"{run / 'model'} is trained and written, but its card is not: " in said and here.as_uri() in said
    assert "the same command writes the card" in said
    torch.testing.assert_close(of(run), undisturbed(steps), rtol=0, atol=0)
    assert json.loads((run / "run.json").read_text())["result"]["seed"] == 0
    assert json.loads((run / "journal.jsonl").read_text().splitlines()[-1]).items() >= {"status": "finished"}.items()
    assert (place[0] / f"step-{steps:08d}/committed").exists()
    assert not (run / "model/README.md").exists()
    away.rename(here)
    train(train_words)
    assert (run / "model/README.md").exists()
    torch.testing.assert_close(of(run), undisturbed(steps), rtol=0, atol=0)


@pytest.mark.parametrize("finished", [False, True], ids=["lives", "has finished"])
def test_a_job_that_was_stopped_comes_back_to_another(
    shards: Path, tmp_path: Path, place: tuple[Path, list[str]], finished: bool, undisturbed: Undisturbed
) -> None:
    """SIGSTOP before the first checkpoint; the same command takes over and lives, or has ended, when SIGCONT comes."""
    run, given = tmp_path / "run", words(shards, tmp_path / "run", STEPS, *place[1])
    stopped = signalled(signal.SIGSTOP, 1, given, tmp_path / "stderr")
    assert stopped.pid is not None
    try:
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)

        def returns() -> None:
            before = content(run, place[0])
            os.kill(stopped.pid or 0, signal.SIGCONT)
            stopped.join()
            said = (tmp_path / "stderr").read_text()
            assert stopped.exitcode == 2, said
            # The lease and the journal both notice it; which comes first is a race.
            assert re.search(
                "taken over by process|taken the run over and ended|another job's, which has taken the run over"
                "|journal.jsonl has been replaced, as by another job of the run: this job stops",
                said.splitlines()[-1],
            )
            # A lease is renewed, also by what was stopped in the middle of it; a checkpoint is written on a thread.
            lasting = {name: hash for name, hash in before.items() if not re.search("lease|writing", name)}
            after = content(run, place[0])
            if finished:
                assert not any(name.endswith("/lease.json") for name in after)
                after = {name: hash for name, hash in after.items() if "lease" not in name}
            assert after == lasting if finished else lasting.items() <= after.items()

        if finished:
            train(given)
            returns()
        else:
            train(given, returns, 4)
    finally:
        stopped.kill()
        stopped.join()
    torch.testing.assert_close(of(run), undisturbed(STEPS), rtol=0, atol=0)


# ---------------------------------------------------------------------- the start


@pytest.fixture
def broken(shards: Path, tmp_path: Path) -> Iterator[Path]:
    """Shards that cannot be read."""
    before = damage(shards)
    yield shards
    for file, whole in before.items():
        file.write_bytes(whole)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_start_that_fails_leaves_none_of_its_folders_and_all_of_the_users(
    broken: Path, tmp_path: Path, elsewhere: bool
) -> None:
    more = ["--checkpoints", str(tmp_path / "c/run")] if elsewhere else []
    ends(2, words(broken, tmp_path / "new/run", 1, *more))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine/checkpoints").mkdir(parents=True)
    ends(2, words(broken, tmp_path / "mine", 1, *more))
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "mine", tmp_path / "mine/checkpoints"]


def test_a_start_that_fails_takes_nothing_from_one_that_has_begun_meanwhile(tmp_path: Path) -> None:
    run, record = tmp_path / "run", Record.of({"seed": 1}, {})
    with pytest.raises(ValueError), prepared(run, record, str(tmp_path / "c")):
        record.write(run)  # as another start of the same command does
        (tmp_path / "c").mkdir()
        (run / "journal.jsonl").write_text('{"step": 1}\n')
        raise ValueError
    assert sorted(path.name for path in run.iterdir()) == ["journal.jsonl", "run.json"]
    with prepared(run, record, None):  # and this command can go on with it
        pass


def test_of_two_starts_at_once_one_has_the_directory(tmp_path: Path) -> None:
    for attempt in range(20):
        run, refused, gate = tmp_path / f"run{attempt}", list[str](), threading.Barrier(2)

        def begin(seed: int, run: Path = run, refused: list[str] = refused, gate: threading.Barrier = gate) -> None:
            record = Record.of({"seed": seed}, {})
            with prepared(run, record, None):
                gate.wait()  # neither has found the other
                try:
                    record.write(run)
                except ValueError as error:
                    refused.append(str(error))

        threads = [threading.Thread(target=begin, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refused == [f"{run} holds a run with other settings (seed); repeat its command or choose another --run"]
        assert [path.name for path in run.iterdir()] == ["run.json"]


def test_two_commands_at_once_on_a_new_directory(
    shards: Path, tmp_path: Path, undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second comes while the first is in its first step, once with the checkpoints at another place."""
    run, refused = tmp_path / "run", list[str]()
    given = words(shards, run, STEPS)

    def second() -> None:
        for more in ([], ["--checkpoints", str(tmp_path / "other")], ["--seed", "2"]):
            capsys.readouterr()
            ends(2, [*given, *more])
            refused.append(sentence(capsys))

    train(given, second, 0)
    assert [f"{run / 'checkpoints'} is in use by process {os.getpid()} on " in said for said in refused[:2]] == [
        True,
        True,
    ]
    assert "other settings (seed)" in refused[2]
    assert not (tmp_path / "other").exists()
    torch.testing.assert_close(of(run), undisturbed(STEPS), rtol=0, atol=0)


def test_what_a_killed_start_leaves_is_no_obstacle_and_files_of_others_are(tmp_path: Path) -> None:
    record = Record.of({"seed": 1}, {})
    (tmp_path / "run/ckpt").mkdir(parents=True)
    for name in (".run.json.5f", "ckpt/lease.json", "ckpt/.lease.json.12.34"):
        (tmp_path / "run" / name).write_text("{")
    record.check(tmp_path / "run")
    (tmp_path / "run/ckpt/step-00000002").mkdir()
    (tmp_path / "run/ckpt/step-00000002/state.pt").touch()
    with pytest.raises(ValueError, match=r"not empty and holds no run: .*state.pt is there and run.json is not; move"):
        record.check(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"info": {}}', "\xff"])
def test_a_damaged_record_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"run.json is damaged .*put a copy of it back"):
        Record.of({"seed": 1}, {}).check(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == text.encode("latin-1")


# ---------------------------------------------------------------------- whose checkpoints are


def test_checkpoints_of_another_configuration_are_refused(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], undisturbed: Undisturbed
) -> None:
    shared = tmp_path / "c"
    train(words(shards, tmp_path / "a", STEPS, "--seed", "1", "--checkpoints", str(shared)))
    before = content(tmp_path)
    ends(2, words(shards, tmp_path / "b", STEPS, "--seed", "2", "--checkpoints", str(shared)))
    said = sentence(capsys)
    assert f"{shared / f'step-{STEPS:08d}'} is of a run with other settings (seed); choose another folder" in said
    assert content(tmp_path) == before and not (tmp_path / "b").exists()
    ends(2, words(shards, tmp_path / "b", STEPS, "--seed", "1", "--hold-out", "--checkpoints", str(shared)))
    assert "other settings (hold_out)" in sentence(capsys)
    # Workers, folders and intervals are no part of a run: it goes on from a copy, at another place.
    (tmp_path / "d/checkpoints").parent.mkdir()
    shared.rename(tmp_path / "d/checkpoints")
    (tmp_path / "a/run.json").rename(tmp_path / "d/run.json")
    train(words(shards, tmp_path / "d", STEPS, "--seed", "1", "--keep", "1", "--checkpoint-every", "5"))
    torch.testing.assert_close(of(tmp_path / "d"), of(tmp_path / "a"), rtol=0, atol=0)


def test_another_run_begins_with_the_weights_of_a_run(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(words(shards, tmp_path / "a", 2, "--seed", "1"))
    train(words(shards, tmp_path / "b", 2, "--seed", "2", "--init-from", str(tmp_path / "a")))
    assert f"Starting from all networks of {tmp_path / 'a/checkpoints/step-00000002'}" in capsys.readouterr().err
