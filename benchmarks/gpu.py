#!/usr/bin/env python3
"""What a GPU does with this project, in under four minutes and with torch, numpy and triton alone.

Each row is printed as soon as it is known, and `--json` keeps all of them: the card's rates, whether kernels and whole
steps compute what plain torch computes, the step at four sizes, one NCCL process through the strategy that trains on
several, a step in which anything that makes the host wait is an error, the fraction of a step that is spent waiting for
its batch, and what the paper's runs would cost at the measured rates.

"Of the limit" is the fraction of the measured bf16 matrix rate at which the counted operations of the bodies that are
there would take the step's time. Plain is torch alone, kernels adds those of `bonestrap.kernels`, fast records the step
as CUDA graphs on top. `--device cpu` runs every row at toy size, to see that they work.

Examples:
  python -m benchmarks.gpu --json gpu.json
  python -m benchmarks.gpu --device cpu
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.step import matrix_rate, timed
from benchmarks.whole_steps import KINDS, Resident, Size, Trained, count_kernels
from bonestrap import kernels
from distributed.strategy import DDP

SIZES = (Size(0.25, 16, 64), Size(0.5, 16, 64), Size(1, 150, 128), Size(2, 150, 64))
TOY = (Size(0.05, 6, 4), Size(0.06, 6, 4))
PAPER_CLIPS = 21.5e6  # of the paper's run on NTU-60: 1,600 passes over its training performances, two views each
SECONDS = 215.0  # after which what is left is left out, so that all of it stays under four minutes

Row = dict[str, Any]


class Report:
    """Rows, printed and kept."""

    def __init__(self, file: Path | None, device: torch.device) -> None:
        self.file, self.device, self.began = file, device, time.perf_counter()
        self.rows: list[Row] = []

    def row(self, part: str, name: str, **figures: object) -> None:
        seconds = round(time.perf_counter() - self.began, 1)
        self.rows.append({"part": part, "name": name, **figures, "at": seconds})
        shown = ", ".join(f"{key.replace('_', ' ')} {number(value)}" for key, value in figures.items())
        print(f"{seconds:6.1f} s  {part:8} {name:44} {shown}".rstrip(), flush=True)
        if self.file is not None:
            self.file.write_text(json.dumps(self.rows, indent=1) + "\n")

    def attempt(self, part: str, name: str, measure: Callable[[], Row]) -> Row:
        """The row that `measure` returns, or one that says why there is none: what comes after it is measured too."""
        figures: Row
        if time.perf_counter() - self.began > SECONDS:
            figures = {"left_out": "the time is over"}
        else:
            try:
                figures = measure()
            except Exception as error:  # a report on a card is worth most where something is wrong with it
                figures = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        self.row(part, name, **figures)
        return figures


def number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: toy sizes")
    parser.add_argument("--json", type=Path, help="file that the rows are written into")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row that is timed")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is usable here: give --device cpu for toy sizes, or install a PyTorch build with CUDA")
    device = torch.device(options.device)
    report = Report(options.json, device)
    small = device.type == "cpu"
    sizes = TOY if small else SIZES
    name = torch.get_num_threads() if small else torch.cuda.get_device_name()
    report.row("card", f"{name}{' threads' if small else ''}", torch=torch.__version__, kernels=kernels.installed())
    rate = rates(report, device, small)
    exactness(report, sizes[0], device)
    measured = steps(report, sizes, device, rate, options.seconds)
    processes(report, sizes[0], device)
    waiting(report, sizes, device)
    projection(report, measured)


def rates(report: Report, device: torch.device, small: bool) -> float:
    """Multiply-adds a second in bf16."""

    def matrices(dtype: torch.dtype) -> Row:
        rate = matrix_rate(dtype, device)
        return {"multiply_adds_per_second": rate, "tflops": 2 * rate / 1e12}

    def copies() -> Row:
        source = torch.empty(2**16 if small else 2**30, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        seconds = min(timed(lambda: target.copy_(source), device) for _ in range(8))
        return {"gb_per_second": 2 * len(source) / seconds / 1e9}

    half = report.attempt("rate", "matrix product, bf16", lambda: matrices(torch.bfloat16))
    report.attempt("rate", "matrix product, float32", lambda: matrices(torch.float32))
    report.attempt("rate", "copy, bytes read and written", copies)
    return float(half.get("multiply_adds_per_second", float("nan")))


def exactness(report: Report, size: Size, device: torch.device) -> None:
    """Kernels against float64, and losses of whole float32 steps against those of plain torch on the same device."""
    for name, measure in kernels.PARITY.items():
        if device.type == "cuda" or kernels.interpreted():
            report.attempt("parity", name, partial(error, measure, device))
        else:
            report.row("parity", name, left_out="kernels need a GPU, or TRITON_INTERPRET=1")

    def difference(kind: str) -> Row:
        runs = [Trained(size, device, each, half=False) for each in ("plain", kind)]
        losses = [torch.stack([run() for _ in range(5)]).double().cpu() for run in runs]
        return {"largest_difference_of_losses": (losses[0] - losses[1]).abs().max().item()}

    for kind in KINDS[1:]:
        report.attempt("parity", f"five steps, {kind}", partial(difference, kind))

    def from_cpu() -> Row:
        runs = [Trained(size, where, "plain", half=False) for where in (torch.device("cpu"), device)]
        runs[1].method.load_state_dict(runs[0].method.state_dict())
        first, second = (run().item() for run in runs)
        return {"difference_of_losses": abs(first - second)}

    report.attempt("parity", "first step, CPU and device", from_cpu)


def error(measure: Callable[[torch.device], float], device: torch.device) -> Row:
    return {"largest_relative_error": measure(device)}


def steps(
    report: Report, sizes: tuple[Size, ...], device: torch.device, rate: float, seconds: float
) -> dict[Size, float]:
    """The best clips a second of each size."""
    best: dict[Size, float] = {}
    for size in sizes:
        for kind in KINDS:
            row = report.attempt("step", f"{size}, {kind}", partial(one, size, kind, device, rate, seconds))
            best[size] = max(best.get(size, 0.0), row.get("clips_per_second", 0.0))
    return best


def one(size: Size, kind: str, device: torch.device, rate: float, seconds: float) -> Row:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    run = Trained(size, device, kind)
    for _ in range(4):
        run()
    synchronize(device)
    first = time.perf_counter() - began
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - began < seconds and len(times) < 200):
        times.append(timed(run, device))
    spent = sorted(times)[len(times) // 2]
    row: Row = {
        "ms": spent * 1e3,
        "clips_per_second": size.clips / spent,
        "of_the_limit": run.multiply_adds() / rate / spent,
        "kernels": count_kernels(run, device),
        "first_four_seconds": first,
    }
    if device.type == "cuda":
        row["peak_gib"] = torch.cuda.max_memory_reserved() / 2**30
    return row


def processes(report: Report, size: Size, device: torch.device) -> None:
    """The strategy of several workers, with one: what it sums is its own, so losses are those without it."""

    def difference(kind: str) -> Row:
        alone = Trained(size, device, kind, half=False)
        with group_of_one(device) as strategy:
            shared = Trained(size, device, kind, half=False, strategy=strategy)
            losses = [torch.stack([run() for _ in range(5)]).cpu() for run in (alone, shared)]
        return {"largest_difference_of_losses": (losses[0] - losses[1]).abs().max().item()}

    backend = "NCCL" if device.type == "cuda" else "gloo"
    for kind in ("plain", "fast"):
        report.attempt("ranks", f"{backend}, one process, {kind}", partial(difference, kind))


@contextmanager
def group_of_one(device: torch.device) -> Iterator[DDP]:
    if device.type == "cuda":
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
    backend = "nccl" if device.type == "cuda" else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(backend, init_method=f"file://{folder}/ranks", rank=0, world_size=1)
        try:
            yield DDP(torch.device("cuda:0") if device.type == "cuda" else device)
        finally:
            torch.distributed.destroy_process_group()


def waiting(report: Report, sizes: tuple[Size, ...], device: torch.device) -> None:
    """Steps in which the host must not wait, and how long the device waits for batches."""

    def never(kind: str) -> Row:
        run = Trained(sizes[0], device, kind)
        for _ in range(4):
            run()
        with no_waiting(device):
            for _ in range(3):
                run()
        return {"host_waited": "never"}

    for kind in ("plain", "fast"):
        report.attempt("waiting", f"three steps in sync debug mode, {kind}", partial(never, kind))

    def for_input(size: Size) -> Row:
        """With the loader and augmentation, beside the same step on one batch whose clips are there already."""
        run = Trained(size, device, "fast")
        batch = Resident(size, device).group(0)
        inputs = run.method.prepare(batch)
        times: dict[bool, list[float]] = {True: [], False: []}
        prepare = run.method.prepare
        for count in range(24):
            given = count % 2 == 1
            vars(run.method)["prepare"] = (lambda _: inputs) if given else prepare
            taken = timed(run, device)
            if count >= 8:
                times[given].append(taken)
        whole, bare = (sorted(times[given])[len(times[given]) // 2] for given in (False, True))
        return {"ms": whole * 1e3, "ms_without_input": bare * 1e3, "fraction_waiting": max(0.0, 1 - bare / whole)}

    for size in sizes[1:3]:
        report.attempt("waiting", f"for input, {size}", partial(for_input, size))


@contextmanager
def no_waiting(device: torch.device) -> Iterator[None]:
    """Inside, a RuntimeError where the host waits for a GPU."""
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def projection(report: Report, measured: dict[Size, float]) -> None:
    """Device-hours of the paper's pretraining on NTU-60 at the measured rates."""
    for size, clips in measured.items():
        if clips and size.frames == max(each.frames for each in measured):
            hours = PAPER_CLIPS / clips / 3600
            report.row("cost", f"{PAPER_CLIPS / 1e6:g} M clips, width {size.width:g}", device_hours=hours)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
