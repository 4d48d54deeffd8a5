"""The losses of a small BYOL run as they were when written down: a change in any number of the chain shows here.

Augmentation, encoder, loss, momentum BN, target and optimizer all shape them. Where they are meant to change, write
them anew and say why in the commit: `python -m tests.bonestrap.test_golden`.

The learning rate is so low that the rounding of another machine stays below the tolerance: in a network this small a
single ReLU that tips over changes the gradient by a hundredth.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from distributed.loop import train
from distributed.strategy import Single
from distributed.tracking import read
from tests.bonestrap.tiny import Pairs, byol_job

FILE = Path(__file__).parents[1] / "golden" / "byol_losses.json"


def losses(run: Path) -> list[float]:
    train(byol_job(run, loader=Pairs(groups=2, size=16), rate=1e-5), Single())
    return [line["loss"] for line in read(run) if "loss" in line]


def test_losses_have_not_drifted(tmp_path: Path) -> None:
    golden = json.loads(FILE.read_text())
    assert len(golden) == 20
    assert losses(tmp_path) == pytest.approx(golden, abs=1e-3)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(json.dumps([round(loss, 6) for loss in losses(Path(folder))], indent=1) + "\n")
