"""What a method of one's own has without doing anything for it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from bonestrap.clips import Batch, Clips
from bonestrap.encoders.encoder import Encoder
from bonestrap.methods import Input, MethodConfig, Task
from bonestrap.methods.method import Method
from tests.bonestrap.tiny import CLIP, LAYOUT, Pairs, encoder


class Mine(Method):
    """Features of a clip should be long."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = nn.Parameter(torch.ones(()))
        self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, batch: Batch, step: int) -> dict[str, Tensor]:
        frames = batch.views[0].frames[:12][None]
        clips = Clips(torch.cat((frames, frames), -1), torch.zeros(1, dtype=torch.int64), 1)
        return {"loss": -(self.scale * self.encoder(clips)).square().mean()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MineConfig(MethodConfig):
    def build(self, encoder: Encoder, task: Task) -> Mine:
        return Mine(encoder)


def test_defaults_of_a_config() -> None:
    config = MineConfig()
    assert config.input == Input(unit="view", pairs=False, labels=False)
    assert dict(config.views) == {} and config.label == "Mine"
    assert isinstance(config.build(encoder(), Task(LAYOUT, CLIP, steps=1, classes=0)), Mine)
    with pytest.raises(NotImplementedError):
        MethodConfig().build(encoder(), Task(LAYOUT, CLIP, steps=1, classes=0))


def test_nothing_but_a_loss_is_asked_for() -> None:
    method = Mine(encoder())
    assert method.moments.shape == (0,) and method.moments.dtype == torch.float64
    assert method.shipped_head() is None
    (group,) = method.parameter_groups()
    moved = [name for name, _ in group.parameters]
    assert group.scale == 1.0 and "scale" in moved and "fixed" not in moved
    assert len(moved) == 1 + len(list(method.encoder.parameters()))
    loss = method(Pairs().group(0, 0), 0)["loss"]
    loss.backward()
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.after_step(0)
    torch.testing.assert_close(dict(method.state_dict()), before, rtol=0, atol=0)


def test_a_start_from_a_checkpoint_or_a_model() -> None:
    one, two, three = Mine(encoder(1)), Mine(encoder(2)), Mine(encoder(3))
    with torch.no_grad():
        one.scale.fill_(5.0)
    two.start_from(one.state_dict())
    torch.testing.assert_close(dict(two.state_dict()), dict(one.state_dict()), rtol=0, atol=0)
    three.start_from_encoder(one.encoder.state_dict())
    for name, tensor in three.encoder.state_dict().items():
        assert torch.equal(tensor, one.encoder.state_dict()[name])
    assert three.scale.item() == 1.0
    for wrong in (one.start_from, one.start_from_encoder):
        with pytest.raises(RuntimeError, match="Missing key"):
            wrong({})
