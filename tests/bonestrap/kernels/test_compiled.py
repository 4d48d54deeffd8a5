"""The kernels that take the most memory, compiled for an H100, which takes no GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SHARED = 232_448  # bytes that a program can have there
JOINTS, PARTITIONS = 25, 3
POINTERS = {"x": "*bf16", "dy": "*bf16", "y": "*bf16", "more": "*bf16", "frames": "i32"}  # other arguments are float32


def compiled(kernel: Any, blocks: Any, constants: dict[str, int]) -> Any:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    constants |= {"V": JOINTS, "K": PARTITIONS, "BM": blocks.rows, "BC": blocks.inputs, "BD": blocks.outputs}
    names = kernel.arg_names
    types = {name: "constexpr" if name in constants else POINTERS.get(name, "*fp32") for name in names}
    if "weight" in types and constants["C"] > blocks.inputs and kernel.fn.__name__ == "convolve":
        types["weight"] = "*bf16"  # it is read again for every tile
    values = {(index,): constants[name] for index, name in enumerate(names) if name in constants}
    aligned = {(index,): [["tt.divisibility", 16]] for index, name in enumerate(names) if types[name].startswith("*")}
    source = ASTSource(fn=kernel, signature=types, constexprs=values, attrs=aligned)
    options = {"num_warps": blocks.warps, "num_stages": blocks.stages}
    return compile(source, target=GPUTarget("cuda", 90, 32), options=options)


@pytest.fixture(autouse=True)
def triton(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("channels", [128, 512])
def test_the_convolution_fits_and_uses_matrix_units(channels: int) -> None:
    from bonestrap.kernels import graph_conv

    blocks = graph_conv.convolution_blocks(channels, channels)
    steps = {"STEP_V": JOINTS, "STEP_U": 1, "STEP_K": channels, "STEP_C": 1, "STEP_D": PARTITIONS * channels}
    constants = {"C": channels, "D": channels, "BIAS": False, "MORE": True, **steps}
    kernel = compiled(graph_conv.convolve, blocks, constants)
    assert kernel.metadata.shared <= SHARED
    assert "wgmma" in kernel.asm["ptx"]


@pytest.mark.parametrize("channels", [256, 512])
def test_the_gradient_of_the_graph_fits(channels: int) -> None:
    from bonestrap.kernels import graph_gradients

    blocks = graph_gradients.graph_blocks(channels, channels)
    kernel = compiled(graph_gradients.graph_sums, blocks, {"C": channels, "D": channels})
    assert kernel.metadata.shared <= SHARED
    assert "wgmma" in kernel.asm["ptx"]


def test_the_gradient_of_the_weight_fits() -> None:
    from bonestrap.kernels import graph_gradients

    kernel = compiled(graph_gradients.weight_sums, graph_gradients.weight_blocks(512, 512), {"C": 512, "D": 512})
    assert kernel.metadata.shared <= SHARED
    assert "wgmma" in kernel.asm["ptx"]
