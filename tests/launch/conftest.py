"""Recordings that several tests of the commands read and none changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch import pack
from launch.cli.parser import start_choice


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen actions by eight generated people, once each."""
    folder = tmp_path_factory.mktemp("people") / "shards"
    words = ["synthetic", "--output", str(folder), "--subjects", "8", "--setups", "1", "--repetitions", "1"]
    start_choice(pack.main, "format", pack.FORMATS, pack.Options, words)
    return folder
