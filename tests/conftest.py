"""What every test shares: one thread a process, and where the real recordings lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before torch is imported, here and in every process that a test starts: two cores run several processes at once.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # a local ray.init would otherwise leave a token file behind
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@pytest.fixture(scope="session")
def recordings_root() -> Path:
    """The folder of real recordings: `BONESTRAP_DATA`, or `../shared/data` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("BONESTRAP_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no recordings in {root}: set BONESTRAP_DATA to the folder that holds nw_ucla/ and ntu_samples/")
    return root
