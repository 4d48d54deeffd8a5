"""How many cores there are for a process: those it is bound to, within its container's limit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shards.packing.parallel import cores, cpu_limit


@pytest.mark.parametrize(
    ("quota", "limit"),
    [("800000 100000\n", 8.0), ("150000 100000\n", 1.5), ("50000 100000\n", 0.5), ("max 100000\n", None), ("\n", None)],
)
def test_a_containers_limit_is_read(tmp_path: Path, quota: str, limit: float | None) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(("quota", "limit"), [("400000", 4.0), ("-1", None)])
def test_so_is_that_of_the_first_version_of_cgroups(tmp_path: Path, quota: str, limit: float | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(
    ("bound", "quota", "usable"),
    [(64, "800000", 8), (64, "1990000", 19), (64, "50000", 1), (4, "800000", 4), (64, "max", 64)],
)
def test_cores_are_the_pods_and_not_the_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: int, quota: str, usable: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(bound)), raising=False)
    (tmp_path / "cpu.max").write_text(f"{quota} 100000\n")
    assert cores(tmp_path) == usable


def test_without_a_container_they_are_those_that_the_process_is_bound_to(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) is None
    if hasattr(os, "sched_getaffinity"):
        assert cores(tmp_path) == len(os.sched_getaffinity(0))
