"""What a command sends to its workers arrives there as it was, with an encoder or a method of the user's own too."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.methods import BYOLConfig, DistillConfig, MethodConfig, SupervisedConfig
from bonestrap.optim import SGD, AdamW, OptimizerConfig, Schedule
from distributed.record import Record
from launch import pretrain
from launch.training.training import Training, train_worker


@pytest.mark.parametrize("method", [BYOLConfig(), SupervisedConfig(), DistillConfig()], ids=lambda one: one.kind)
@pytest.mark.parametrize("optimizer", [SGD(), AdamW(layer_decay=0.75)], ids=lambda one: one.kind)
def test_a_training_arrives_as_it_was_sent(method: MethodConfig, optimizer: OptimizerConfig, tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("ray.cloudpickle")
    training = Training(
        stage="pretrained", title="pretrain", split="cross-view", clip=ClipConfig(frames=8), optimizer=optimizer,
        encoder=STGCNConfig(width=0.25), method=method, schedule=Schedule(epochs=3, batch=8, group=4, warmup=0),
        source=tmp_path,
    )  # fmt: skip
    options, record = pretrain.Options(data=("shards",), run=tmp_path, seed=7), Record.of({"seed": 7}, {"command": "x"})
    arrived = cloudpickle.loads(cloudpickle.dumps(functools.partial(train_worker, training, options, record, None)))
    assert arrived.func is train_worker  # by name: a worker imports the module anew
    assert arrived.args == (training, options, record, None)
