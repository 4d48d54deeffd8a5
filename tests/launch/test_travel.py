"""What a script sends to its workers arrives there, though the script is `__main__` here."""

from __future__ import annotations

import functools
import importlib
import runpy
import sys
from pathlib import Path

import pytest

from launch.cli.parser import parser as cli
from launch.training import stage

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["pretrain", "finetune", "distill"])
def test_a_scripts_worker_travels_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    monkeypatch.setattr(cli, "start", lambda *words: None)
    monkeypatch.setattr(cli, "start_choice", lambda *words: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    worker = runpy.run_path(str(ROOT / "launch" / f"{name}.py"), run_name="__main__")["worker"]
    assert worker.__module__ == "__main__"
    sent = cloudpickle.dumps(stage.by_name(functools.partial(worker, 1)))
    arrived = cloudpickle.loads(sent)
    assert arrived.func is importlib.import_module(f"launch.{name}").worker
    assert arrived.args == (1,)
