#!/usr/bin/env python3
"""Load on `bonestrap serve`: requests a second, latency at a fixed rate, memory over many requests, malformed ones.

The server is a process of its own; client and server share the machine. Requests are JSON of one recording, 20 to 60
frames of one person. A latency at a rate begins when the request was due.

Examples:
  python -m benchmarks.serve --model runs/student
  python -m benchmarks.serve --model runs/student --requests 100000 --malformed 10000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import bonestrap
from benchmarks.serve.client import CLOSED, Load, as_fast_as_possible, at_rate, recordings, send_malformed
from benchmarks.serve.malformed import Spoiler

START = "import argparse; from bonestrap.commands import serve; parser = argparse.ArgumentParser(); " \
    "serve.add_arguments(parser); serve.run(parser.parse_args())"  # fmt: skip
PARTS = 10  # of the requests between which memory is read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="model or run directory of a classifier")
    parser.add_argument("--runtime", choices=("auto", "onnx", "torch"), default="auto")
    parser.add_argument("--precision", choices=("float32", "float16", "int8"), default="float32")
    parser.add_argument("--rate", type=float, default=50, help="requests a second whose latency is measured")
    parser.add_argument("--seconds", type=float, default=30, help="of the measurement at that rate")
    parser.add_argument("--clients", type=int, default=8, help="that ask as fast as they are answered")
    parser.add_argument("--requests", type=int, default=2000, help="of these clients together")
    parser.add_argument("--malformed", type=int, default=0, help="malformed requests")
    parser.add_argument("--seed", type=int, default=0, help="of the malformed requests")
    options = parser.parse_args()
    layout = bonestrap.load(options.model).layout
    words = ["--model", str(options.model), "--runtime", options.runtime, "--precision", options.precision]
    command = [sys.executable, "-c", START, *words, "--port", "0", "--no-access-log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = announced(server)
            print(f"{os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}", flush=True)
            gc.collect()
            gc.freeze()  # the client's own collections are no delays of the server
            asyncio.run(measure(options, ("127.0.0.1", port), Usage(server.pid), (len(layout.joints), layout.axes)))
        finally:
            server.terminate()
        print(f"the server ended with code {server.wait()}")


def announced(server: subprocess.Popen[str]) -> int:
    """The port, once the server listens."""
    assert server.stdout is not None
    for line in server.stdout:
        print(line.rstrip(), flush=True)
        if line.startswith("serving on"):
            return int(line.rpartition(":")[2])
    raise SystemExit("the server has not started")


async def measure(options: argparse.Namespace, address: tuple[str, int], server: Usage, shape: tuple[int, int]) -> None:
    requests = recordings(*shape, count=32)
    await as_fast_as_possible(address, requests, 100, 1)
    server.cpu_ms()
    show(
        f"at {options.rate:g} requests a second",
        await at_rate(address, requests, options.rate, options.seconds),
        server,
    )
    each = max(1, options.requests // PARTS)
    print(f"{options.clients} clients, each asking again once it is answered:")
    print(f"  0 requests  {server.memory():.1f} MiB")
    for part in range(1, PARTS + 1):
        load = await as_fast_as_possible(address, requests, each, options.clients)
        show(f"  {part * each:,} requests", load, server)
    if options.malformed:
        began = time.perf_counter()
        found = await send_malformed(
            address, Spoiler(*shape, seed=options.seed).requests(options.malformed), requests[0]
        )
        print(f"{options.malformed:,} malformed requests, seed {options.seed}, {time.perf_counter() - began:.0f} s:")
        for kind, counts in sorted(found.items()):
            said = ", ".join(f"{'closed' if s == CLOSED else s}: {n:,}" for s, n in sorted(counts.items()))
            print(f"  {kind:18} {said}")
        print(f"  {server.memory():.1f} MiB afterwards")


def show(title: str, load: Load, server: Usage) -> None:
    """One line; the server's time is what it took since the last one."""
    p50, p99, worst = np.percentile(load.latency * 1000, (50, 99, 100))
    count = len(load.latency)
    statuses = ", ".join(f"{status}: {n:,}" for status, n in sorted(load.statuses.items()))
    print(
        f"{title}: {count / load.seconds:.0f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {worst:.1f} ms, "
        f"{server.cpu_ms() / count:.2f} CPU-ms each, {statuses}; {server.memory():.1f} MiB",
        flush=True,
    )


class Usage:
    """What a process takes, read from /proc."""

    def __init__(self, pid: int) -> None:
        self.folder, self.before = Path(f"/proc/{pid}"), 0.0

    def cpu_ms(self) -> float:
        """Milliseconds of all its threads since the last call."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        now = (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")
        spent, self.before = now - self.before, now
        return spent

    def memory(self) -> float:
        """MiB that it holds."""
        lines = (self.folder / "status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


if __name__ == "__main__":
    main()
