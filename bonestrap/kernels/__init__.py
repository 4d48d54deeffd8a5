"""Triton kernels for GPUs: batch moments, normalisation with what follows it, and the spatial graph convolution.

Every kernel does what a few lines of plain torch do elsewhere in the library: these are the reference, and the way of
CPUs. `usable` and `convolves` choose. Grids and block sizes follow from shapes alone, nothing waits for the device and
nothing is tuned at run time, so that a step with these kernels can be captured as a CUDA graph. The modules of this
package import triton, so they are imported inside the functions that use them.
"""

from __future__ import annotations

import functools
import importlib.util
import os

import torch
from torch import Tensor

from bonestrap.kernels.parity import PARITY

__all__ = ["PARITY", "convolves", "usable"]
DTYPES = (torch.float32, torch.bfloat16)
JOINTS, CHANNELS = 64, 512  # the most that a tile of the graph convolution holds
PROCESSORS = 2  # that the interpreter pretends to have: few, so that a program has several tiles


def usable(*tensors: Tensor) -> bool:
    """Whether kernels take these tensors: on a GPU, in float32 or bfloat16, where triton is installed.

    With TRITON_INTERPRET=1, triton's own switch, kernels run on the CPU, slowly, for tests. Inside `torch.compile`,
    which makes kernels of its own, plain torch is used.
    """
    if torch.compiler.is_compiling() or not installed():
        return False
    return all((x.is_cuda or interpreted()) and x.dtype in DTYPES and x.ndim in (2, 4) and x.numel() for x in tensors)


def convolves(x: Tensor, outputs: int, partitions: int) -> bool:
    """Whether the graph convolution's kernels take x (N, C, T, V): a GPU multiplies bfloat16 with them, not float32."""
    narrow = x.dtype == torch.bfloat16 or interpreted()
    return usable(x) and narrow and x.shape[3] <= JOINTS and max(x.shape[1], outputs) <= CHANNELS and partitions <= 3


def interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def programs(device: torch.device) -> int:
    """How many programs fill the device: the kernels walk over tiles, and partial results are one a program."""
    if device.type != "cuda":
        return PROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count


def rows(x: Tensor) -> Tensor:
    """x, (N, C) or (N, C, T, V), as a matrix of positions and channels: a view of it if it is channels last."""
    return (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).reshape(-1, x.shape[1]).contiguous()


def like(rows: Tensor, x: Tensor) -> Tensor:
    """A matrix of positions and channels in the shape of x."""
    if x.ndim == 2:
        return rows
    n, c, t, v = x.shape
    return rows.view(n, t, v, c).permute(0, 3, 1, 2)


def power(number: int, low: int, high: int) -> int:
    """The next power of two, between bounds: sizes of blocks are such."""
    return min(max(1 << (number - 1).bit_length(), low), high)
