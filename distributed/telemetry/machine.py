"""What a run's machine does, by MLflow's own meters: the names under which MLflow shows them on a page of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any


def usage(say: Callable[[str], object]) -> Callable[[], Mapping[str, float]]:
    """A function that measures processors, memory, disk, network and GPUs of this machine, as `system/...`.

    Processors are averaged over the time since the call before. Where a package is missing, `say` hears of it and
    nothing is measured.
    """
    try:
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        meters: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    except ImportError as error:
        say(
            f"--system-metrics needs {error.name or error}, which is not installed: nothing of the machine is measured."
        )
        return dict
    with suppress(Exception):  # no GPU, or not the package that asks it
        meters.append(GPUMonitor())

    def measured() -> Mapping[str, float]:
        found: dict[str, float] = {}
        for meter in meters:
            meter.collect_metrics()
            found |= {f"system/{name}": float(value) for name, value in meter.aggregate_metrics().items()}
            meter.clear_metrics()
        return found

    return measured
