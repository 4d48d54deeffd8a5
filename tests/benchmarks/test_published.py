"""The network that speed is compared with is the same network: equal weights give equal features."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.published import PublishedSTGCN
from benchmarks.step import multiply_adds, padded
from bonestrap.clips import Clips
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layouts import NTU25


def weights_of(ours: STGCN) -> dict[str, torch.Tensor]:
    """Our state under the published names and shapes."""
    state = {}
    for name, tensor in ours.state_dict().items():
        layer, _, kind = name.rpartition(".")
        kind = {"mean": "running_mean", "var": "running_var"}.get(kind, kind)
        value = tensor
        if layer.endswith("spatial") and kind == "weight":
            value = tensor.view(len(tensor), 3, -1).transpose(0, 1).reshape(3 * len(tensor), -1, 1, 1)
        elif layer.endswith("spatial") and kind == "importance":
            layer = layer.removesuffix(".spatial")
        elif layer.endswith("spatial"):
            value = tensor.flatten()
        layer = layer.replace("norm1", "temporal.0").replace("norm2", "temporal.3")
        layer = layer + ".2" if layer.endswith("temporal") else layer
        state[f"{layer}.{kind}"] = value
    return state


def test_the_published_network_computes_the_same_features() -> None:
    torch.manual_seed(0)
    ours, published = STGCN(STGCNConfig(width=0.125), NTU25, 6), PublishedSTGCN(0.125, NTU25, 6)
    with torch.no_grad():
        for name, tensor in ours.state_dict().items():
            if name.endswith((".mean", ".var", ".bias")):
                tensor.uniform_(0.5, 1.5)
    missing, unexpected = published.load_state_dict(weights_of(ours), strict=False)
    assert not unexpected
    assert all(name.endswith(("num_batches_tracked", "partitions")) for name in missing)
    owner = torch.tensor([0, 1, 2])
    clips = Clips(torch.randn(3, 16, 25, 6), owner, 3)
    # One body a clip: with two in the tensor, the published mean would count the absent one.
    with torch.no_grad():
        expected = published.double().eval()(padded(clips)[:, :1].double())
        found = ours.double().eval()(clips._replace(joints=clips.joints.double()))
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_published_cost_is_counted() -> None:
    assert abs(multiply_adds(1.0, 150) / 4.1e9 - 1) < 0.03


def test_what_is_counted_is_what_torch_counts() -> None:
    encoder = STGCN(STGCNConfig(width=0.25), NTU25, 6).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(Clips(torch.randn(2, 24, 25, 6), torch.zeros(2, dtype=torch.int64), 1))
    counted = counter.get_total_flops() / 2  # the sum of biases over partitions, once a layer, among them
    assert abs(counted / (2 * multiply_adds(0.25, 24)) - 1) < 0.005
