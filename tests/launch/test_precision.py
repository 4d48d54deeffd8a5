"""Which precision `auto` takes on a CPU: that of the instructions which the processor says it has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from launch import pretrain
from launch.training.options import chosen_precision

CPUINFO = Path("/proc/cpuinfo")


def chosen() -> str:
    return chosen_precision(pretrain.Options(data=("shards",), run=Path("run"), device="cpu"))


@pytest.mark.skipif(not CPUINFO.exists(), reason="the processor is asked through Linux")
@pytest.mark.parametrize("hidden", ["", "amx_bf16"])
def test_bf16_where_the_processor_multiplies_it(hidden: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is, and as if it had no AMX, like AMD's Zen 4."""
    line = next(line for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    if hidden:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    multiplies = {"amx_bf16", "avx512_bf16"} & set(line.split()) - {hidden}
    assert chosen() == ("bf16" if multiplies else "fp32")


def test_fp32_on_a_processor_without_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert chosen() == "fp32"
