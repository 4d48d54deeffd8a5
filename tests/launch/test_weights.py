"""`--init-from`: a new run from the weights of another run's best checkpoint, or of a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bonestrap.encoders import STGCNConfig
from bonestrap.methods.byol.method import BYOL
from bonestrap.model import Description, Model
from bonestrap.options import UserError
from bonestrap.serialization import save
from distributed.checkpoint import Checkpoints, State
from launch.training.weights import start_from
from tests.bonestrap.tiny import CLIP, LAYOUT, byol


def method(seed: int = 0) -> BYOL:
    made = byol()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(seed)
    return made


def test_all_networks_of_the_best_checkpoint(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path / "checkpoints", keep=1, warn=print)
    for step, score in ((10, 0.9), (20, 0.1)):
        store.save(State(step, 0.0, method(step).state_dict(), {}), score)
    found = method()
    assert start_from(found, tmp_path) == f"all networks of {tmp_path / 'checkpoints/step-00000010'}"
    torch.testing.assert_close(found.state_dict(), method(10).state_dict(), rtol=0, atol=0)


def test_the_encoder_of_a_model_goes_into_both_networks(tmp_path: Path) -> None:
    source = method(3)
    description = Description(
        stage="pretrained", encoder=STGCNConfig(width=1 / 16), layout=LAYOUT, clip=CLIP, classes=(), lineage={},
    )  # fmt: skip
    save(tmp_path / "model", Model(description, source.encoder, None))
    found = method()
    start_from(found, tmp_path / "model")
    for network in (found.online, found.target):
        torch.testing.assert_close(network.encoder.state_dict(), source.encoder.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(found.predictor.state_dict(), method().predictor.state_dict(), rtol=0, atol=0)


def test_what_does_not_fit_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither a checkpoint nor a model"):
        start_from(method(), tmp_path)
    Checkpoints(tmp_path / "checkpoints", keep=1, warn=print).save(State(1, 0.0, {"weight": torch.ones(1)}, {}))
    with pytest.raises(UserError, match=r"does not fit \(Missing key"):
        start_from(method(), tmp_path)
