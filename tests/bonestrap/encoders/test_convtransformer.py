"""The convolutional transformer against a plain numpy transcription, its size, and what the order of points is."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf

from bonestrap.augment import ClipConfig
from bonestrap.clips import Clips
from bonestrap.encoders import ConvTransformerConfig
from bonestrap.encoders.convtransformer.network import ConvTransformer
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20, NTU25
from bonestrap.momentum import batch_norms
from tests.bonestrap.test_selection import EXPECTED

SCORED = dataclasses.replace(COCO17, name="scored", confidence=True)
SMALL = ConvTransformerConfig(width=12, depth=2, heads=3, outputs=5)
FRAMES = 7


def built(config: ConvTransformerConfig, layout: Layout, seed: int = 0) -> ConvTransformer:
    """In float64 and evaluation, with no weight or statistic at a value that would hide a mistake."""
    torch.manual_seed(seed)
    encoder = config.build(layout, ClipConfig(frames=FRAMES)).double().eval()
    with torch.no_grad():
        for tensor in encoder.state_dict().values():
            if tensor.ndim == 1:
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return encoder


def joints(layout: Layout, bodies: int = 3, seed: int = 1) -> torch.Tensor:
    x = torch.randn(bodies, FRAMES, len(layout.joints), layout.channels, generator=torch.Generator().manual_seed(seed))
    if layout.confidence:
        x[..., -1] = x[..., -1].clamp(min=0)  # half of the joints are not seen
    return x.double()


# ---------------------------------------------------------------------- transcription


def described(body: np.ndarray, layout: Layout, sets: list[set[int]], *, centred: bool, velocity: bool) -> np.ndarray:
    """One body (T, V, C) frame by frame and point by point, (T, numbers)."""
    axes, rows, before = layout.coordinates, [], None

    def mean(frame: np.ndarray, where: Any) -> np.ndarray:
        return np.mean([frame[joint, :axes] for joint in ([where] if isinstance(where, int) else where)], axis=0)

    for frame in body:
        points = []
        for members in sets:
            seen = [joint for joint in members if not layout.confidence or frame[joint, 2 * axes] > 0]
            points.append(mean(frame, seen or list(members)))
        now = np.array(points)
        if centred:
            length = np.linalg.norm(mean(frame, layout.spine[1]) - mean(frame, layout.spine[0]))
            now = (now - mean(frame, layout.root)) / max(length, 1)
        if velocity:
            rows.append(np.concatenate([now, now if before is None else now - before], 1).ravel())
        else:
            rows.append(now.ravel())
        before = now
    return np.array(rows)


def transcribed(numbers: np.ndarray, state: dict[str, np.ndarray], config: ConvTransformerConfig) -> np.ndarray:
    """The network of the paper for one body's numbers (T, I), with loops over frames, heads and tokens."""
    x = numbers
    for layer in ("convolutions.0", "convolutions.1"):
        x = x @ state[f"{layer}.convolution.weight"][:, :, 0].T + state[f"{layer}.convolution.bias"]
        scale = state[f"{layer}.norm.weight"] / np.sqrt(state[f"{layer}.norm.var"] + 1e-5)
        x = (x - state[f"{layer}.norm.mean"]) * scale + state[f"{layer}.norm.bias"]
        x = 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * (np.exp(np.minimum(x, 0)) - 1))
        x = np.array([x[t : t + 2].max(0) for t in range(len(x))])
    x = x @ state["tokens.projection.weight"].T + state["tokens.projection.bias"]
    x = np.concatenate([state["tokens.token"][None], x]) + state["tokens.positions"]

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        away = x - x.mean(1, keepdims=True)
        return away / np.sqrt((away**2).mean(1, keepdims=True) + 1e-6) * state[f"{name}.weight"] + state[f"{name}.bias"]

    size = config.width // config.heads
    for number in range(config.depth):
        block = f"blocks.{number}"
        q, k, v = np.split(x @ state[f"{block}.qkv.weight"].T + state[f"{block}.qkv.bias"], 3, axis=1)
        heads = []
        for head in range(config.heads):
            part = slice(head * size, (head + 1) * size)
            score = np.exp(q[:, part] @ k[:, part].T / math.sqrt(size))
            heads.append(score / score.sum(1, keepdims=True) @ v[:, part])
        attended = np.concatenate(heads, 1) @ state[f"{block}.projection.weight"].T + state[f"{block}.projection.bias"]
        x = norm(x + attended, f"{block}.norm1")
        hidden = x @ state[f"{block}.perceptron.0.weight"].T + state[f"{block}.perceptron.0.bias"]
        hidden = hidden * (1 + erf(hidden / math.sqrt(2))) / 2
        x = norm(
            x + hidden @ state[f"{block}.perceptron.2.weight"].T + state[f"{block}.perceptron.2.bias"], f"{block}.norm2"
        )
    return x[0] @ state["output.weight"].T + state["output.bias"]


CASES: dict[str, tuple[Layout, dict[str, Any]]] = {
    "planar": (COCO17, {}),
    "in space": (NTU25, {}),
    "what is seen": (SCORED, {}),
    "all joints": (KINECT20, {"joints": "all"}),
    "ways through space": (KINECT20, {"pose": "clip"}),
    "positions alone": (NTU25, {"velocity": False}),
}


@pytest.mark.parametrize(("layout", "changes"), CASES.values(), ids=CASES)
def test_against_a_plain_transcription(layout: Layout, changes: dict[str, Any]) -> None:
    config = dataclasses.replace(SMALL, **changes)
    encoder, bodies = built(config, layout), joints(layout)
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    sets = [{joint} for joint in range(len(layout.joints))]
    if config.joints == "selected":
        sets = EXPECTED["coco17" if layout is SCORED else layout.name][1]
    expected = []
    for body in bodies.numpy():
        numbers = described(body, layout, sets, centred=config.pose == "frame", velocity=config.velocity)
        expected.append(transcribed(numbers, state, config))
    with torch.no_grad():
        found = encoder.encode_bodies(bodies).numpy()
    assert np.std(expected, 0).min() > 1e-3  # bodies differ in every feature
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


# ---------------------------------------------------------------------- size


@pytest.mark.parametrize(("layout", "numbers", "parameters"), [(COCO17, 60, 2_811_328), (NTU25, 90, 2_817_088)])
def test_size_is_the_published_one(layout: Layout, numbers: int, parameters: int) -> None:
    """Counted by hand: two convolutions with batch norm, linear, class token and 31 places, six blocks, 192 to 256."""
    encoder = ConvTransformerConfig().build(layout, ClipConfig(frames=30))
    d = 192
    block = 4 * (d * d + d) + (d * 4 * d + 4 * d) + (4 * d * d + d) + 4 * d
    by_hand = (numbers * d + d + 2 * d) + (d * d + d + 2 * d) + (d * d + d) + d + 31 * d + 6 * block + (d * 256 + 256)
    assert sum(p.numel() for p in encoder.parameters()) == by_hand == parameters
    assert (encoder.selection.numbers, encoder.features) == (numbers, 256)


# ---------------------------------------------------------------------- behaviour


def test_an_order_is_a_permutation_of_the_first_weights() -> None:
    """Kernels of 1 see all points of a frame at once: no order of them lets the network compute anything else."""
    plain, shuffled = built(SMALL, NTU25), built(dataclasses.replace(SMALL, permutation=5), NTU25)
    members = plain.selection.members.tolist()
    place = [members.index(row) for row in shuffled.selection.members.tolist()]
    assert place != sorted(place)
    shuffled.load_state_dict(plain.state_dict())
    convolution: Any = shuffled.convolutions[0]
    first = convolution.convolution.weight
    with torch.no_grad():
        first.copy_(first.view(12, 15, 6)[:, place].reshape(12, 90, 1))
    bodies = joints(NTU25)
    torch.testing.assert_close(shuffled.encode_bodies(bodies), plain.encode_bodies(bodies))


def test_where_a_body_stands_does_not_matter_in_a_centred_frame() -> None:
    body = joints(COCO17, bodies=1)
    moved = body.clone()
    moved[..., :2] += torch.randn(1, FRAMES, 1, 2, dtype=torch.float64)
    encoder, clip = built(SMALL, COCO17), built(dataclasses.replace(SMALL, pose="clip"), COCO17)
    torch.testing.assert_close(encoder.encode_bodies(moved), encoder.encode_bodies(body))
    assert (clip.encode_bodies(moved) - clip.encode_bodies(body)).abs().max() > 1e-3


def test_every_parameter_learns_and_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    encoder = SMALL.build(COCO17, ClipConfig(frames=FRAMES))
    clips = Clips(joints(COCO17).float(), torch.tensor([0, 0, 1]), 2)
    encoder(clips).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert not torch.equal(encoder(clips), encoder(clips))
    encoder.eval()
    assert torch.equal(encoder(clips), encoder(clips)) and encoder(clips).dtype == torch.float32
    assert len(batch_norms(encoder)) == 2


def test_velocities_are_not_rounded_under_autocast() -> None:
    encoder = SMALL.build(COCO17, ClipConfig(frames=FRAMES)).eval()
    bodies = joints(COCO17).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.selection(bodies), encoder.selection(bodies.clone()))
        within = encoder.selection(bodies)
    assert torch.equal(within, encoder.selection(bodies)) and within.dtype == torch.float32


def test_layers_hold_every_parameter_once_from_input_to_output() -> None:
    encoder = SMALL.build(COCO17, ClipConfig(frames=FRAMES))
    inside = [p for layer in encoder.layers() for p in layer.parameters()]
    assert list(map(id, inside)) == list(map(id, encoder.parameters()))


def test_mistakes_are_sentences() -> None:
    with pytest.raises(ValueError, match="heads must divide the width of 12, got 5"):
        dataclasses.replace(SMALL, heads=5)
    with pytest.raises(ValueError, match="takes clips of 7 frames of 17 joints, got 5 of 17"):
        built(SMALL, COCO17).encode_bodies(joints(COCO17)[:, :5])
    with pytest.raises(ValueError, match="has no joint for the head of Selection-Permutation"):
        SMALL.build(dataclasses.replace(COCO17, joints=tuple(map(str, range(17)))), ClipConfig())
