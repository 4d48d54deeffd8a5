"""What an encoder of one's own has without doing anything for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bonestrap.augment import ClipConfig
from bonestrap.clips import Clips
from bonestrap.encoders import EncoderConfig, STGCNConfig
from bonestrap.encoders.encoder import Encoder
from bonestrap.layouts import SBU15
from tests.bonestrap.tiny import encoder


class Mine(Encoder):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = 7
        self.linear = nn.Linear(15 * 6, 7)

    def encode_bodies(self, joints_NTVC: Tensor) -> Tensor:
        return torch.relu(self.linear(joints_NTVC.flatten(2))).amax(1)


def test_clips_are_the_mean_of_their_bodies() -> None:
    joints = torch.randn(3, 12, 15, 6)
    mine = Mine()
    rows = mine.encode_bodies(joints)
    found = mine(Clips(joints, torch.tensor([0, 0, 1]), 2))
    torch.testing.assert_close(found, torch.stack([(rows[0] + rows[1]) / 2, rows[2]]))


def test_inference_is_encode_bodies_with_channels_first() -> None:
    joints_NTVC = torch.randn(3, 12, 15, 6)
    mine = Mine().eval()
    network = mine.for_inference()
    assert torch.equal(network(joints_NTVC.permute(0, 3, 1, 2)), mine.encode_bodies(joints_NTVC))
    assert [p.data_ptr() for p in network.parameters()] == [p.data_ptr() for p in mine.parameters()]


def test_st_gcn_s_own_inference_is_the_default_s() -> None:
    """Folded weights beside the plain network."""
    network = encoder().eval()
    for name, buffer in network.named_buffers():
        if name.endswith((".mean", ".var")):
            buffer.uniform_(0.5, 1.5)
    joints = torch.randn(2, 6, 12, 15)
    with torch.no_grad():
        expected = Encoder.for_inference(network)(joints)
        torch.testing.assert_close(network.for_inference()(joints), expected, rtol=1e-4, atol=1e-5)


def test_layers() -> None:
    mine = Mine()
    assert list(mine.layers()) == [mine], "one, where nothing else is said"
    network = encoder()
    inside = [p for layer in network.layers() for p in layer.parameters()]
    assert list(map(id, inside)) == list(map(id, network.parameters())), "all of ST-GCN's, from input to output"


def test_a_config_has_a_label_and_a_cost() -> None:
    class MineConfig(EncoderConfig):
        pass

    assert MineConfig().label == "Mine" and MineConfig().relative_cost == 1.0
    assert STGCNConfig(width=0.5).label == "ST-GCN 0.5x"
    assert STGCNConfig(width=2.0).relative_cost / STGCNConfig().relative_cost > 184 / 64 - 0.1  # of section 4.2
    built = STGCNConfig(width=1 / 16).build(SBU15, ClipConfig(frames=12))
    assert built.features == 16 and not any(p.isnan().any() for p in built.parameters())
