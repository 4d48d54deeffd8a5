"""The loop on one process and on two gloo ranks: the same result, exact resume, one collective of moments a step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bonestrap.clips import Batch, Recordings
from distributed.loop import Clock, TrainingStopped, train
from distributed.strategy import Single, Strategy, additions_by_halves
from distributed.tracking import read
from distributed.watch import Alone, GracefulStop
from tests.distributed.toy import (
    Killer,
    Listener,
    Ranks,
    ToyLoader,
    ToyMethod,
    everything,
    toy_job,
    train_toy,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[Ranks]:
    ranks = Ranks(2)
    yield ranks
    ranks.close()


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read(run) if "loss" in line]


def same(a: object, b: object) -> None:
    """Equal bit for bit, whatever they are made of."""
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


# ---------------------------------------------------------------------- the result does not depend on the workers


def test_two_ranks_give_the_losses_and_parameters_of_one(tmp_path: Path, two_ranks: Ranks) -> None:
    one = train_toy(Single(), tmp_path / "one")
    for two in two_ranks(train_toy, tmp_path):
        torch.testing.assert_close(two["method"], one["method"], rtol=0, atol=1e-4)
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "one/run"), abs=1e-5)
    assert len(losses(tmp_path / "run")) == 20


def count_collectives(strategy: Strategy, folder: Path) -> dict[str, object]:
    """Counts what goes through torch.distributed while five steps of two groups a rank run."""
    seen: list[tuple[int, torch.dtype]] = []
    true_all_reduce = torch.distributed.all_reduce

    def counting(tensor: torch.Tensor, *arguments: Any, **options: Any) -> object:
        seen.append((tensor.numel(), tensor.dtype))
        return true_all_reduce(tensor, *arguments, **options)

    torch.distributed.all_reduce = counting
    job = toy_job(folder / "run", steps=5, log_every=5)
    try:
        train(job, strategy)
    finally:
        torch.distributed.all_reduce = true_all_reduce
    assert isinstance(job.method, ToyMethod)
    size = job.method.moments.numel()
    return {
        "of_moments": sum(entry == (size, torch.float64) for entry in seen),
        "of_metrics": sum(entry[1] == torch.float64 and entry[0] != size for entry in seen),
        "counter": strategy.moment_collectives,
        "after_steps": job.method.after_steps,
    }


def test_one_collective_of_moments_a_step_and_one_of_metrics_a_reading(tmp_path: Path, two_ranks: Ranks) -> None:
    for counted in two_ranks(count_collectives, tmp_path):
        assert counted == {"of_moments": 5, "of_metrics": 1, "counter": 5, "after_steps": 5}


def target_statistics(strategy: Strategy, folder: Path) -> dict[str, torch.Tensor]:
    """The toy's target mean after one step: a tenth of the mean of every input that any rank's encoder gave out."""
    job = toy_job(folder / "run", steps=1)
    given: list[torch.Tensor] = []
    hook = job.method.encoder.register_forward_hook(lambda module, x, y: given.append(y.detach().double()))
    train(job, strategy)
    hook.remove()
    assert isinstance(job.method, ToyMethod)
    return {"mean": job.method.mean, "given": torch.cat(given)}


def test_moments_are_pooled_over_groups_and_ranks_and_equal_on_all(tmp_path: Path, two_ranks: Ranks) -> None:
    first, second = two_ranks(target_statistics, tmp_path)
    same(first["mean"], second["mean"])
    expected = torch.cat([first["given"], second["given"]]).mean(0) * 0.1
    torch.testing.assert_close(first["mean"], expected, rtol=1e-6, atol=0)


def test_every_group_of_every_step_draws_for_itself(tmp_path: Path) -> None:
    drawn: list[float] = []

    class Drawing(ToyMethod):
        def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
            drawn.append(torch.rand(()).item())
            return super().forward(batch, step)

    train(toy_job(tmp_path, steps=3, method=Drawing()), Single())
    assert len(set(drawn)) == 3 * 4


def test_seeding_is_that_of_torch() -> None:
    Single().seed(2**62 + 3)
    drawn = torch.rand(5)
    torch.manual_seed(2**62 + 3)
    same(drawn, torch.rand(5))


# ---------------------------------------------------------------------- accumulation


@pytest.mark.parametrize(
    ("groups", "sums"), [(1, "0"), (2, "(0+1)"), (4, "((0+1)+(2+3))"), (6, "((0+(1+2))+(3+(4+5)))")]
)
def test_gradients_are_added_by_halves(groups: int, sums: str) -> None:
    aside: list[str] = []
    for group, additions in enumerate(additions_by_halves(groups)):
        aside.append(str(group))
        for _ in range(additions):
            newest = aside.pop()
            aside[-1] = f"({aside[-1]}+{newest})"
    assert aside == [sums]


class WholeBatch(ToyLoader):
    """All groups of a step in one: what accumulation must equal where nothing depends on the groups."""

    def __init__(self, of: ToyLoader) -> None:
        super().__init__(1, of.groups * of.group_size)
        self.of = of

    def group(self, step: int, group: int) -> Batch:
        parts = [self.of.group(step, g).views[0].frames for g in range(self.of.groups)]
        rows = torch.arange(self.group_size)
        recordings = Recordings(torch.cat(parts), rows, torch.ones_like(rows), rows, self.group_size)
        return Batch((recordings,), None, step)


class Plain(ToyMethod):
    """Without dropout, noise or batch statistics: the mean over groups is the mean over clips."""

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        x = batch.views[0].frames.flatten(1)
        self.moments[-1] += len(x)
        return {"loss": (self.head(self.encoder[0](x)) - x[:, :6]).square().mean()}


def gradients(strategy: Strategy, folder: Path) -> dict[str, torch.Tensor]:
    job = toy_job(folder / "run", steps=1, method=Plain())
    train(job, strategy)
    return {name: p.grad for name, p in job.method.named_parameters() if p.grad is not None}


def test_accumulated_gradients_are_those_of_the_whole_batch(tmp_path: Path, two_ranks: Ranks) -> None:
    whole = toy_job(tmp_path / "whole", steps=1, method=Plain(), loader=WholeBatch(ToyLoader()))
    train(whole, Single())
    expected = {name: p.grad for name, p in whole.method.named_parameters() if p.grad is not None}
    assert len(expected) == 4
    torch.testing.assert_close(gradients(Single(), tmp_path / "one"), expected, rtol=1e-5, atol=1e-7)
    for found in two_ranks(gradients, tmp_path):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_groups_that_reach_different_parameters_are_refused(tmp_path: Path) -> None:
    class Choosy(Plain):
        def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
            losses = super().forward(batch, step)
            return losses if batch.seed % 2 else {"loss": self.head.weight.square().sum()}

    with pytest.raises(RuntimeError, match="did not reach the same parameters"):
        train(toy_job(tmp_path, steps=1, method=Choosy()), Single())


def test_the_target_moves_once_a_step_however_many_groups(tmp_path: Path) -> None:
    job = toy_job(tmp_path, steps=3)
    train(job, Single())
    assert isinstance(job.method, ToyMethod)
    assert job.method.after_steps == 3


# ---------------------------------------------------------------------- resume


KILLED = """
import sys
from pathlib import Path
import torch
from distributed.loop import train
from distributed.strategy import Single
from tests.distributed.toy import Killer, toy_job
torch.set_num_threads(1)
train(toy_job(Path(sys.argv[1]), loader=Killer(at=13)), Single())
"""


def test_kill_and_resume_equals_never_killed_bit_for_bit(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = toy_job(tmp_path / "whole")
    expected = everything(whole, train(whole, Single()))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run")]
    killed = subprocess.run(command, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert killed.returncode == -9
    assert len(losses(tmp_path / "run")) == 13  # the journal is ahead of the checkpoint at step 10
    again = toy_job(tmp_path / "run", method=ToyMethod(seed=99))
    same(everything(again, train(again, Single())), expected)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def killed_in_the_middle(strategy: Strategy, folder: Path) -> None:
    train(toy_job(folder / "run", loader=Killer(at=13)), strategy)


def test_kill_and_resume_on_two_ranks_bit_for_bit(tmp_path: Path, two_ranks: Ranks) -> None:
    expected = two_ranks(train_toy, tmp_path / "whole")
    doomed = Ranks(2)
    try:
        with pytest.raises((ChildProcessError, AssertionError), match=r"exit code -9|Connection"):
            doomed(killed_in_the_middle, tmp_path)
        doomed.processes[1].join(10)
        assert doomed.processes[1].exitcode == -9
    finally:
        doomed.close()
    assert (tmp_path / "run/checkpoints/step-00000010/committed").exists()
    assert not (tmp_path / "run/checkpoints/step-00000015").exists()
    same(two_ranks(train_toy, tmp_path), expected)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole/run")


def to_step_10(strategy: Strategy, folder: Path) -> dict[str, object]:
    job = toy_job(folder / "run", steps=10)
    return everything(job, train(job, strategy))


def to_step_15(strategy: Strategy, folder: Path) -> dict[str, object]:
    job = toy_job(folder / "run", steps=15)
    return everything(job, train(job, strategy))


def test_one_two_four_workers_and_back_in_the_middle_of_a_run(tmp_path: Path, two_ranks: Ranks) -> None:
    whole = train_toy(Single(), tmp_path / "whole")
    train(toy_job(tmp_path / "run", steps=5), Single())
    two_ranks(to_step_10, tmp_path)
    four_ranks = Ranks(4)
    try:
        saved = four_ranks(to_step_15, tmp_path)[0]
    finally:
        four_ranks.close()
    again = toy_job(tmp_path / "run", steps=15, method=ToyMethod(seed=9))
    train(again, Single())  # has nothing left to do but to load
    same({"method": again.method.state_dict(), "optimizer": again.optimizer.state_dict()["state"]},
         {"method": saved["method"], "optimizer": saved["optimizer"]["state"]})  # fmt: skip
    found = train_toy(Single(), tmp_path)
    torch.testing.assert_close(found["method"], whole["method"], rtol=0, atol=1e-5)
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole/run"), abs=1e-5)
    assert len(losses(tmp_path / "run")) == 20


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first = train(toy_job(tmp_path, steps=5), Single())
    again = train(toy_job(tmp_path, steps=5, loader=Killer(at=0)), Single())
    assert again.metrics == first.metrics
    assert again.steps == 5


def test_a_checkpoint_of_another_configuration_is_refused_by_name(tmp_path: Path) -> None:
    train(toy_job(tmp_path, steps=5), Single())
    other = ToyMethod()
    other.head = torch.nn.Linear(6, 7)
    with pytest.raises(ValueError, match=r"step-00000005.*choose an empty run directory"):
        train(toy_job(tmp_path, steps=10, method=other), Single())


# ---------------------------------------------------------------------- faults


def broken_on_rank_1(strategy: Strategy, folder: Path) -> str:
    method = ToyMethod(broken_at=7 if strategy.rank == 1 else None)
    with pytest.raises(TrainingStopped) as stopped:
        train(toy_job(folder / "run", method=method, log_every=10), strategy)
    return str(stopped.value)


def test_a_loss_that_is_not_finite_stops_every_rank_and_names_step_and_rank(tmp_path: Path, two_ranks: Ranks) -> None:
    for said in two_ranks(broken_on_rank_1, tmp_path):
        assert "The loss is not finite at step 8 on rank 1, whose batch held walk7-2-0, walk7-2-1, " in said
        assert str(tmp_path / "run/checkpoints/step-00000005") in said
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == ["step-00000005"]


class Explodes(ToyMethod):
    """A finite loss whose gradient is not: 0 * log(0) differentiated."""

    def forward(self, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        losses = super().forward(batch, step)
        if step == 7:
            losses["loss"] = losses["loss"] + (self.head.bias.sum() * 0).sqrt()
        return losses


def explodes_on_rank_1(strategy: Strategy, folder: Path) -> str:
    method = Explodes() if strategy.rank == 1 else ToyMethod()
    with pytest.raises(TrainingStopped) as stopped:
        train(toy_job(folder / "run", method=method, log_every=10), strategy)
    return str(stopped.value)


def test_a_gradient_that_explodes_names_the_rank_on_which_it_did(tmp_path: Path, two_ranks: Ranks) -> None:
    for said in two_ranks(explodes_on_rank_1, tmp_path):
        assert "A gradient is not finite at step 8 on rank 1, whose batch held walk7-2-0, walk7-2-1, " in said
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == ["step-00000005"]


def test_parameters_that_are_not_finite_are_never_saved(tmp_path: Path) -> None:
    class Overflows(ToyMethod):
        def after_step(self, step: int) -> None:
            super().after_step(step)
            if step == 9:  # the loss was still finite, the update was not
                self.head.weight.data[0, 0] = float("inf")

    with pytest.raises(TrainingStopped, match="A parameter is not finite at step 10 on rank 0"):
        train(toy_job(tmp_path, method=Overflows()), Single())
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


def test_groups_that_do_not_divide_among_the_ranks_are_refused() -> None:
    strategy = Single()
    strategy.world = 3
    with pytest.raises(ValueError, match="4 normalisation groups a step cannot be shared evenly by 3 workers"):
        strategy.own_groups(4)
    strategy.rank = 1
    strategy.world = 2
    assert list(strategy.own_groups(4)) == [2, 3]


def frozen_encoder(strategy: Strategy, folder: Path) -> dict[str, torch.Tensor]:
    job = toy_job(folder / "run", steps=6, method=ToyMethod(frozen_until=3))
    train(job, strategy)
    return job.method.state_dict()


def test_parameters_without_gradient_in_a_frozen_phase(tmp_path: Path, two_ranks: Ranks) -> None:
    one = frozen_encoder(Single(), tmp_path / "one")
    for found in two_ranks(frozen_encoder, tmp_path):
        torch.testing.assert_close(found, one, rtol=0, atol=1e-5)


# ---------------------------------------------------------------------- rates, cadence, clock, progress


def test_learning_rate_of_every_param_group(tmp_path: Path) -> None:
    job = toy_job(tmp_path / "one", steps=1, learning_rate=lambda step: 0.2)
    train(job, Single())
    assert [group["lr"] for group in job.optimizer.param_groups] == [0.1, 0.2]
    job = toy_job(tmp_path / "two", steps=2, learning_rate=lambda step: [0.0, 0.3] if step else [0.1, 0.1])
    train(job, Single())
    assert [group["lr"] for group in job.optimizer.param_groups] == [0.0, 0.3]


def test_how_often_something_is_written_does_not_change_the_result(tmp_path: Path) -> None:
    plain = toy_job(tmp_path / "plain", log_every=7, checkpoint_every=100)
    expected = everything(plain, train(plain, Single()))["method"]

    def disturbing() -> dict[str, float]:
        plain.method.encoder.eval()
        torch.manual_seed(0)
        return {"knn": torch.rand(()).item()}

    probed = toy_job(tmp_path / "probed", probe=disturbing, probe_every=3)
    same(everything(probed, train(probed, Single()))["method"], expected)


def test_the_first_step_does_not_wait_for_the_probe_of_the_untrained_encoder(tmp_path: Path) -> None:
    plain = toy_job(tmp_path / "plain", steps=3)
    expected = everything(plain, train(plain, Single()))["method"]
    method = ToyMethod()
    before = [p.detach().clone() for p in method.encoder.parameters()]
    seen: list[list[torch.Tensor]] = []

    def look() -> dict[str, float]:
        seen.append([p.detach().clone() for p in method.encoder.parameters()])
        return {"knn": 0.5}

    job = toy_job(tmp_path / "probed", steps=3, method=method, probe=look, probe_every=2)
    same(everything(job, train(job, Single()))["method"], expected)
    assert all(map(torch.equal, seen[0], before)) and not any(map(torch.equal, seen[1], before))
    lines = [(line["step"], "knn" if "knn" in line else "loss") for line in read(job.run) if "status" not in line]
    assert lines == [(1, "loss"), (0, "knn"), (2, "loss"), (2, "knn"), (3, "loss"), (3, "knn")]


def test_metrics_are_means_over_the_steps_since_the_last_line(tmp_path: Path) -> None:
    train(toy_job(tmp_path / "each", steps=8), Single())
    train(toy_job(tmp_path / "some", steps=8, log_every=4), Single())
    each = torch.tensor(losses(tmp_path / "each"), dtype=torch.float64)
    some = [line for line in read(tmp_path / "some") if "loss" in line]
    assert [line["step"] for line in some] == [4, 5, 8]  # a checkpoint at 5 also writes down what there is
    expected = [each[:4].mean().item(), each[4].item(), each[5:].mean().item()]
    assert [line["loss"] for line in some] == pytest.approx(expected, rel=1e-12)


def test_device_hours_leave_out_probes_and_add_up_over_resumes(tmp_path: Path) -> None:
    def slow() -> dict[str, float]:
        time.sleep(0.5)
        return {"knn": 0.5}

    began = time.monotonic()
    first = train(toy_job(tmp_path, steps=5, probe=slow, probe_every=2), Single())
    assert 0 < first.device_hours * 3600 < time.monotonic() - began - 4 * 0.5  # probes at 0, 2, 4 and 5
    second = train(toy_job(tmp_path, steps=10, probe=slow, probe_every=100), Single())
    assert second.device_hours > first.device_hours
    assert [line["step"] for line in read(tmp_path) if "knn" in line] == [0, 2, 4, 5, 10]
    assert second.metrics["knn"] == 0.5


def test_device_hours_of_work_that_a_kill_undid_are_kept(tmp_path: Path) -> None:
    train(toy_job(tmp_path, steps=5), Single())
    paid = 123.0
    with (tmp_path / "journal.jsonl").open("a") as file:
        file.write(json.dumps({"step": 9, "time": time.time(), "device_hours": paid}) + "\n")
    again = train(toy_job(tmp_path, steps=10), Single())
    assert paid < again.device_hours < paid + 0.1
    hours = [line["device_hours"] for line in read(tmp_path) if "device_hours" in line]
    assert hours == sorted(hours)


def test_sigterm_is_answered_by_a_checkpoint(tmp_path: Path) -> None:
    class Terminated(ToyLoader):
        def group(self, step: int, group: int) -> Batch:
            if (step, group) == (6, 1):
                os.kill(os.getpid(), signal.SIGTERM)
            return super().group(step, group)

    whole = toy_job(tmp_path / "whole")
    expected = everything(whole, train(whole, Single()))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(GracefulStop, match="stopped after 7 of 20 steps: the same command resumes"):
        train(toy_job(tmp_path / "run", loader=Terminated(), checkpoint_every=100), Single())
    assert signal.getsignal(signal.SIGTERM) is before
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000007"]
    assert list(read(tmp_path / "run"))[-1]["status"] == "killed"
    again = toy_job(tmp_path / "run")
    same(everything(again, train(again, Single())), expected)


class Told(Alone):
    """A watch that is warned of a preemption while the given step is computed."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.when, self.step = at, -1

    def at(self, step: int, doing: str) -> None:
        self.step = step

    def preempted(self) -> bool:
        return self.step == self.when


def warned_on_rank_1(strategy: Strategy, folder: Path) -> int:
    strategy.watch = Told(at=6 if strategy.rank == 1 else -9)
    return train(toy_job(folder / "run", checkpoint_every=100), strategy).steps


def test_a_preemption_notice_to_one_rank_is_answered_by_a_checkpoint_of_all(tmp_path: Path, two_ranks: Ranks) -> None:
    assert two_ranks(warned_on_rank_1, tmp_path) == [20, 20]
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == ["step-00000007", "step-00000020"]
    step = torch.load(tmp_path / "run/checkpoints/step-00000007/state.pt", weights_only=True)["method"]["count"]
    assert step == 7


def test_clock_counts_every_rank_and_no_pause() -> None:
    clock = Clock(world=4, device_seconds=100.0)
    time.sleep(0.05)
    with clock.paused():
        time.sleep(0.2)
    assert 0.05 <= clock.seconds < 0.2
    assert 100.2 <= clock.device_seconds < 100.8


class SlowLoader(ToyLoader):
    def group(self, step: int, group: int) -> Batch:
        time.sleep(0.02)
        return super().group(step, group)


def test_progress_shows_the_share_of_time_waiting_for_data(tmp_path: Path) -> None:
    listener = Listener()
    summary = train(toy_job(tmp_path, steps=3, loader=SlowLoader(), title="toy"), Single(screen=listener))
    line, last = listener.lines[-1]
    assert last
    assert line.startswith("toy 3/3  loss ")
    assert "clips/s" in line
    share = float(line.split("% waiting for data")[0].split()[-1])
    assert 50 < share <= 100
    assert summary.data_wait > 0.5
    assert 0 < summary.clips_per_second < 8 / 0.02


def test_every_line_of_the_journal_is_strict_json(tmp_path: Path) -> None:
    train(toy_job(tmp_path, steps=2, probe=lambda: {"rank": float("nan"), "knn": 1.0}), Single())

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    for line in (tmp_path / "journal.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=refuse)


def test_bf16_keeps_parameters_in_fp32(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    job = toy_job(tmp_path, steps=1, precision="bf16", method=Plain())
    assert isinstance(job.method, ToyMethod)
    job.method.head.register_forward_hook(lambda module, x, y: seen.append(y.dtype))
    train(job, Single())
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in job.method.parameters()} == {torch.float32}
