"""The losses of a small BYOL run as they were when written down: a change in any number of the chain shows here.

Augmentation, encoder, loss, momentum BN, target and optimizer all shape them. Where they are meant to change, write
them anew and say why in the commit: `python -m tests.bonestrap.test_golden`.

The learning rate is so low that the rounding of another machine stays below the tolerance: in a network this small a
single ReLU that tips over changes the gradient by a hundredth. Weights that are a ten-millionth of themselves further
on in a step are not further on in float32, so the weight decay is as much higher.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest

from bonestrap.optim import SGD
from distributed.loop import train
from distributed.strategy import Single
from distributed.tracking import read
from tests.bonestrap.tiny import Pairs, byol_job

FILE = Path(__file__).parents[1] / "golden" / "byol_losses.json"
RATE = 1e-5
OPTIMIZER = SGD(learning_rate=RATE, momentum=0.9, weight_decay=1.0)
TOLERANCE = 1e-3


def losses(run: Path, optimizer: SGD = OPTIMIZER) -> list[float]:
    job = byol_job(run, loader=Pairs(groups=2, size=16), rate=RATE)
    train(dataclasses.replace(job, optimizer=optimizer.build(job.method)), Single())
    return [line["loss"] for line in read(run) if "loss" in line]


def difference(run: Path, optimizer: SGD = OPTIMIZER) -> float:
    """The largest, from the losses that were written down."""
    golden = json.loads(FILE.read_text())
    found = losses(run, optimizer)
    assert len(golden) == len(found) == 20
    return max(abs(a - b) for a, b in zip(found, golden, strict=True))


def test_losses_have_not_drifted(tmp_path: Path) -> None:
    assert difference(tmp_path) < TOLERANCE


SWITCHED_OFF = {
    "momentum": dataclasses.replace(OPTIMIZER, momentum=0.0),
    "weight decay": dataclasses.replace(OPTIMIZER, weight_decay=0.0),
    "decay of biases and norms": dataclasses.replace(OPTIMIZER, decay_all=False),
}


@pytest.mark.parametrize("optimizer", SWITCHED_OFF.values(), ids=SWITCHED_OFF)
def test_an_optimizer_with_less_is_noticed(tmp_path: Path, optimizer: SGD) -> None:
    assert difference(tmp_path, optimizer) > 5 * TOLERANCE


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(json.dumps([round(loss, 6) for loss in losses(Path(folder))], indent=1) + "\n")
