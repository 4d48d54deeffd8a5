"""ZeRO on two gloo ranks against DDP: the same curve, and checkpoints that either loads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from distributed.loop import train
from distributed.strategy import DDP, Single, Strategy
from distributed.tracking import read
from distributed.zero import ZeRO
from tests.distributed import test_byol
from tests.distributed.toy import Ranks, ToyMethod, everything, toy_job

pytest.importorskip("deepspeed")


@pytest.fixture(scope="module")
def two_ranks() -> Iterator[Ranks]:
    ranks = Ranks(2)
    yield ranks
    ranks.close()


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in read(run) if "loss" in line]


def trained(strategy: Strategy, folder: Path) -> dict[str, object]:
    """Twenty steps of the toy, and three of BYOL itself, whose convolutions lie in another order in memory."""
    job = toy_job(folder / "run")
    toy = everything(job, train(job, strategy))
    byol = test_byol.job(folder / "byol", steps=3)
    train(byol, strategy)
    return {"method": toy["method"], "byol": byol.method.state_dict(), "collectives": strategy.moment_collectives}


def ddp(strategy: Strategy, folder: Path) -> dict[str, object]:
    return trained(DDP(), folder)


def zero(stage: Literal[1, 2], folder: Path) -> dict[str, object]:
    return trained(ZeRO(stage), folder)


def zero1(strategy: Strategy, folder: Path) -> dict[str, object]:
    return zero(1, folder)


def zero2(strategy: Strategy, folder: Path) -> dict[str, object]:
    return zero(2, folder)


def test_both_stages_give_the_curve_and_the_state_of_ddp(tmp_path: Path, two_ranks: Ranks) -> None:
    expected, _ = two_ranks(ddp, tmp_path / "ddp")
    for stage in (zero1, zero2):
        first, second = two_ranks(stage, tmp_path / stage.__name__)
        assert first["collectives"] == 23  # momentum BN: one a step here as well
        torch.testing.assert_close(first["method"], expected["method"], rtol=0, atol=1e-6)
        torch.testing.assert_close(first["byol"], expected["byol"], rtol=0, atol=1e-4)
        torch.testing.assert_close(first, second, rtol=0, atol=0)
        assert losses(tmp_path / stage.__name__ / "run") == pytest.approx(losses(tmp_path / "ddp/run"), abs=1e-5)


def in_turns(strategy: Strategy, folder: Path) -> dict[str, object]:
    """DDP to step 5, ZeRO 1 to 10, ZeRO 2 to 15, DDP to 20."""
    for steps, one in ((5, DDP()), (10, ZeRO(1)), (15, ZeRO(2)), (20, DDP())):
        job = toy_job(folder / "run", steps=steps)
        train(job, one)
    return {"method": job.method.state_dict()}


def test_a_run_changes_its_strategy_in_the_middle(tmp_path: Path, two_ranks: Ranks) -> None:
    whole, _ = two_ranks(ddp, tmp_path / "whole")
    found, _ = two_ranks(in_turns, tmp_path / "turns")
    torch.testing.assert_close(found["method"], whole["method"], rtol=0, atol=1e-6)
    assert losses(tmp_path / "turns/run") == pytest.approx(losses(tmp_path / "whole/run"), abs=1e-5)


def saved_by_zero(strategy: Strategy, folder: Path) -> dict[str, object]:
    job = toy_job(folder / "run", steps=5)
    zero = ZeRO(1)
    train(job, zero)
    return {"method": job.method.state_dict(), "optimizer": zero.optimizer_state(job.optimizer)}


def loaded_by_zero(strategy: Strategy, folder: Path) -> dict[str, object]:
    """The state after a resume of a finished run: what was loaded and divided, gathered again."""
    job = toy_job(folder / "run", steps=5, method=ToyMethod(seed=9))
    zero = ZeRO(2)
    train(job, zero)
    return {"method": job.method.state_dict(), "optimizer": zero.optimizer_state(job.optimizer)}


def momenta(optimizer: dict[str, dict[int, dict[str, Tensor]]]) -> list[Tensor]:
    return [optimizer["state"][number]["momentum_buffer"] for number in range(4)]


def test_every_tensor_loaded_equals_the_one_saved(tmp_path: Path, two_ranks: Ranks) -> None:
    saved, _ = two_ranks(saved_by_zero, tmp_path)
    plain = toy_job(tmp_path / "run", steps=5, method=ToyMethod(seed=9))
    train(plain, Single())
    torch.testing.assert_close(plain.method.state_dict(), saved["method"], rtol=0, atol=0)
    assert all(momentum.abs().max() > 0 for momentum in momenta(saved["optimizer"]))
    torch.testing.assert_close(
        momenta(plain.optimizer.state_dict()),
        momenta(saved["optimizer"]),
        rtol=0,
        atol=0,
    )
    again, _ = two_ranks(loaded_by_zero, tmp_path)
    torch.testing.assert_close(again["method"], saved["method"], rtol=0, atol=0)
    torch.testing.assert_close(momenta(again["optimizer"]), momenta(saved["optimizer"]), rtol=0, atol=0)


class LARS(torch.optim.SGD):
    """Stands for any optimizer that looks at whole parameters."""


def with_lars(strategy: Strategy, folder: Path) -> str:
    job = toy_job(folder / "run")
    lars = LARS(job.method.parameters(), lr=1.0)
    with pytest.raises(ValueError, match="LARS cannot be used with ZeRO") as refused:
        ZeRO(1).wrap(job.method, lars, 2)
    return str(refused.value)


def test_optimizers_that_look_at_whole_parameters_are_refused_with_the_reason(tmp_path: Path, two_ranks: Ranks) -> None:
    for said in two_ranks(with_lars, tmp_path):
        assert "norm would take that of the slice; use --strategy ddp" in said


def bf16(strategy: Strategy, folder: Path) -> dict[str, object]:
    job = toy_job(folder / "run", steps=3, precision="bf16")
    zero = ZeRO(2)
    train(job, zero)
    flat = zero.engine.optimizer.single_partition_of_fp32_groups
    return {
        "state": {str(value.dtype) for value in job.method.state_dict().values()},
        "masters": {str(part.dtype) for part in flat},
        "momenta": {str(job.optimizer.state[part]["momentum_buffer"].dtype) for part in flat},
    }


def test_bf16_computes_and_nothing_is_kept_in_it(tmp_path: Path, two_ranks: Ranks) -> None:
    for found in two_ranks(bf16, tmp_path):
        assert found["state"] == {"torch.float32", "torch.float64", "torch.int64"}
        assert found["masters"] == found["momenta"] == {"torch.float32"}


def autocasts(strategy: Strategy, folder: Path) -> list[bool]:
    """Whether each group of a step runs under autocast, where DeepSpeed sees a GPU's (a CPU's it overlooks)."""
    job = toy_job(folder / "run")
    zero, seen = ZeRO(1), list[bool]()
    forward = zero.wrap(job.method, job.optimizer, groups=2)
    job.method.register_forward_pre_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    torch.set_autocast_enabled("cuda", True)
    try:
        for group in range(2):
            with zero.accumulate(last=group == 1):
                with torch.autocast("cpu", torch.bfloat16):
                    loss = forward(job.loader.group(0, group), 0)["loss"]
                zero.backward(loss)
    finally:
        torch.set_autocast_enabled("cuda", False)
    return seen


def test_deepspeed_does_not_switch_autocast_off(tmp_path: Path, two_ranks: Ranks) -> None:
    assert two_ranks(autocasts, tmp_path) == [[True, True]] * 2
