"""Contrastive tuning against its equations in plain numpy: neighbours, losses, queue; what moves and what does not."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bonestrap.augment import ClipConfig
from bonestrap.clips import Batch
from bonestrap.encoders import SkeletonTransformerConfig
from bonestrap.methods import DINOConfig, LatentConfig, MAMPConfig, MoCoConfig, STARSConfig, Task
from bonestrap.methods.dino.method import DINO, koleo, sinkhorn_knopp
from bonestrap.methods.masking.mask import log_probability, mask, stride_motion, uniform
from bonestrap.methods.moco.method import contrast
from bonestrap.methods.stars.method import STARS
from bonestrap.methods.tuning.method import Tuning
from bonestrap.methods.tuning.queue import Queue
from bonestrap.optim import AdamW
from tests.bonestrap.tiny import LAYOUT, Pairs

CLIP = ClipConfig(frames=8, fit=True)
SIZE = SkeletonTransformerConfig(width=1 / 32, depth=4, heads=2)
CONFIG = STARSConfig(hidden=16, queue=20)


def task(groups: int = 2) -> Task:
    return Task(LAYOUT, CLIP, steps=10, classes=0, batch=4 * groups, groups=groups)


def stars(config: STARSConfig = CONFIG, groups: int = 2) -> STARS:
    torch.manual_seed(0)
    return config.build(SIZE.build(LAYOUT, CLIP), task(groups))


def step(method: Tuning, number: int, groups: int = 2) -> list[float]:
    """One step without an optimizer, as the loop does it: gradients are those of the groups' mean."""
    loader = Pairs(groups=groups)
    batches = [loader.group(number, group) for group in range(groups)]
    if method.shares:
        for batch in batches:
            with torch.no_grad():
                method.share(batch, number)
    found = []
    for batch in batches:
        loss = method(batch, number)["loss"]
        (loss / groups).backward()
        found.append(loss.item())
    method.after_step(number)
    return found


def numpy_loss(neighbours: np.ndarray, predictions: np.ndarray, temperature: float) -> float:
    """Eq. 6, sample by sample."""
    losses = []
    for i, neighbour in enumerate(neighbours):
        scores = np.array([neighbour @ prediction / temperature for prediction in predictions])
        losses.append(-math.log(math.exp(scores[i] - scores.max()) / np.exp(scores - scores.max()).sum()))
    return float(np.mean(losses))


def test_two_steps_of_stars_are_what_the_algorithm_says() -> None:
    """The second step finds the first one's projections in the queue, and never those of a clip's own item."""
    method = stars()
    loader = Pairs(groups=2)
    vectors = method.queue.vectors.double().numpy()
    items = method.queue.items.numpy().copy()
    for number in range(2):
        z, p, seen = [], [], []
        for group in range(2):
            batch = loader.group(number, group)
            with torch.no_grad():
                prediction, projection = method.embed(method.prepare(batch).views[0])
            p.append(prediction.double().numpy())
            z.append(projection.double().numpy())
            assert batch.items is not None
            seen.append(batch.items.numpy())
        method.moments.zero_()
        for layer in method.norms():
            layer.seen = None
        projections, predictions, own = np.concatenate(z), np.concatenate(p), np.concatenate(seen)
        neighbours = []
        for vector, item in zip(projections, own, strict=True):
            others = [entry for entry, whose in zip(vectors, items, strict=True) if whose != item]
            neighbours.append(min(others, key=lambda other: float(np.linalg.norm(vector - other))))  # Eq. 5
        expected = numpy_loss(np.stack(neighbours), predictions, 0.07)
        assert step(method, number) == pytest.approx([expected, expected], abs=1e-5)
        places = np.arange(8) + 8 * number
        vectors[places], items[places] = projections, own
    np.testing.assert_allclose(method.queue.vectors.numpy(), vectors, atol=1e-6)
    np.testing.assert_array_equal(method.queue.items.numpy(), items)
    assert method.queue.position == 16


def gradients(method: Tuning) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def test_groups_have_the_gradient_of_the_whole_batch() -> None:
    """Predictions of all groups stand in Eq. 6 with their gradients: those of one graph over both groups."""
    method = stars()
    step(method, 0)
    found = gradients(method)
    whole = stars()
    loader = Pairs(groups=2)
    inputs = [whole.prepare(loader.group(0, group)) for group in range(2)]
    both = [whole.embed(each.views[0]) for each in inputs]
    z = torch.cat([projection for _, projection in both]).detach()
    p = torch.cat([prediction for prediction, _ in both])
    neighbours = whole.queue.nearest(z, torch.cat([each.items for each in inputs]))
    torch.nn.functional.cross_entropy(neighbours @ p.T / 0.07, torch.arange(8)).backward()
    expected = gradients(whole)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize(("tuned", "moving"), [(0.5, {2, 3}), (0.25, {3}), (0.0, set()), (1.0, {0, 1, 2, 3})])
def test_only_the_last_layers_move_and_later_ones_faster(tuned: float, moving: set[int]) -> None:
    method = stars(dataclasses.replace(CONFIG, tuned=tuned))
    encoder: Any = method.encoder
    before = {name: p.clone() for name, p in method.encoder.named_parameters()}
    optimizer = AdamW(layer_decay=0.2).build(method)
    for group in optimizer.param_groups:
        group["lr"] = 1e-3 * group["scale"]
    step(method, 0)
    optimizer.step()
    moved = {int(name.split(".")[1]) for name, p in method.encoder.named_parameters()
             if name.startswith("blocks") and not torch.equal(p, before[name])}  # fmt: skip
    assert moved == moving
    assert torch.equal(encoder.embedding.weight, before["embedding.weight"]) == (tuned < 1)
    scales = {
        number: {group["scale"] for group in optimizer.param_groups for p in group["params"]
                 if any(p is own for own in encoder.blocks[number].parameters())}
        for number in moving
    }  # fmt: skip
    assert scales == {number: {0.2 ** (4 - number)} for number in moving}


def test_a_run_of_another_method_gives_its_encoder_and_one_of_the_same_all_networks() -> None:
    torch.manual_seed(3)
    first = MAMPConfig(mask_ratio=0.8, decoder=1).build(SIZE.build(LAYOUT, CLIP), task())
    second, third = stars(), stars(dataclasses.replace(CONFIG, tuned=0))
    second.start_from(first.state_dict())
    torch.testing.assert_close(second.encoder.state_dict(), first.encoder.state_dict(), rtol=0, atol=0)
    step(second, 0)
    third.start_from(second.state_dict())
    torch.testing.assert_close(third.state_dict()["queue.vectors"], second.queue.vectors, rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="no encoder under that name"):
        second.start_from({"online.encoder.norm.weight": torch.ones(1)})


def test_a_queue_holds_the_newest_in_their_order() -> None:
    queue = Queue(5, 2)
    for number in range(4):
        angle = torch.arange(2.0) + 2 * number
        queue.put(torch.stack((angle.cos(), angle.sin()), 1), torch.arange(2) + 2 * number)
    assert queue.items.tolist() == [5, 6, 7, 3, 4] and queue.position == 3
    torch.testing.assert_close(queue.vectors[:, 0], torch.cos(queue.items.float()))
    near = queue.nearest(torch.stack((torch.tensor(6.1).cos(), torch.tensor(6.1).sin()))[None], torch.tensor([6]))
    assert near[0, 0] == pytest.approx(
        math.cos(7)
    )  # 6 is of the same item; 7 is .9 further on the circle, 5 is 1.1 back


def test_a_queue_smaller_than_the_batch_is_refused() -> None:
    for config in (STARSConfig(queue=7), MoCoConfig(queue=7)):
        with pytest.raises(
            ValueError, match=r"queue of 7 is smaller than the batch of 8: give --method\.queue 8 or more"
        ):
            config.build(SIZE.build(LAYOUT, CLIP), task())


def test_moco_compares_with_its_key_and_the_queue() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, past = (torch.nn.functional.normalize(torch.randn(n, 4, generator=generator), dim=1) for n in (3, 3, 6))
    losses = []
    for query, key in zip(q.double().numpy(), k.double().numpy(), strict=True):
        positive = math.exp(query @ key / 0.07)
        losses.append(
            -math.log(positive / (positive + sum(math.exp(query @ old / 0.07) for old in past.double().numpy())))
        )
    assert contrast(q, k, q @ past.T, 0.07).item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_sinkhorn_knopp_and_koleo_are_those_of_numpy() -> None:
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3
    x = np.exp(logits.double().numpy())
    for _ in range(3):
        x = x / x.sum(0, keepdims=True) / 4
        x = x / x.sum(1, keepdims=True) / 6
    found = sinkhorn_knopp(logits)
    np.testing.assert_allclose(found.numpy(), x * 6, atol=1e-6)
    torch.testing.assert_close(found.sum(1), torch.ones(6))
    unit = logits.double().numpy() / np.linalg.norm(logits.double().numpy(), axis=1, keepdims=True)
    nearest = [min(np.linalg.norm(unit[i] - unit[j]) for j in range(6) if j != i) for i in range(6)]
    assert koleo(logits).item() == pytest.approx(-np.mean(np.log(nearest)), abs=1e-5)


def test_teachers_and_key_networks_follow() -> None:
    torch.manual_seed(0)
    moco = MoCoConfig(hidden=8, projection=4, queue=20, momentum=0.9).build(SIZE.build(LAYOUT, CLIP), task())
    dino = DINOConfig(hidden=8, projection=4, prototypes=6, momentum=0.9).build(SIZE.build(LAYOUT, CLIP), task())
    assert isinstance(dino, DINO)
    for method, online, follower, momentum in (
        (moco, moco.projector, moco.key_projector, 0.9),
        (dino, dino.assigner, dino.teacher_assigner, 0.9),
    ):
        old = [p.clone() for p in follower.parameters()]
        with torch.no_grad():
            for p in online.parameters():
                p.add_(1)
        step(method, 0)
        for before, p, moved in zip(old, online.parameters(), follower.parameters(), strict=True):
            torch.testing.assert_close(moved, momentum * before + (1 - momentum) * p)


@pytest.mark.parametrize("decoder", [0, 1])
def test_latent_targets_are_the_teachers_normalised_representations(decoder: int) -> None:
    torch.manual_seed(0)
    config = LatentConfig(mask_ratio=0.5, decoder=decoder, momentum=0.9)
    latent = config.build(SIZE.build(LAYOUT, CLIP), task())
    batch = Pairs().group(0, 0)
    joints = latent.prepare(batch).joints
    with torch.no_grad():
        for p in latent.encoder.parameters():
            p.add_(0.1 * torch.randn_like(p))
    torch.manual_seed(1)
    loss = latent(batch, 0)["loss"]
    loss.backward()
    assert all(p.grad is None for p in latent.teacher.parameters())
    assert all(p.grad is not None for p in latent.encoder.parameters())

    torch.manual_seed(1)
    pi = log_probability(stride_motion(joints[..., :3], 4), config.tau, config.intensity)
    hidden = mask(pi, uniform(latent.encoder, joints), latent.count)
    with torch.no_grad():
        seen = latent.teacher.forward_encoder(joints).double().numpy()
        predicted = latent.predict(joints, hidden).double().numpy()
    errors = []
    for body, tokens in enumerate(hidden.masked.tolist()):
        for place, token in enumerate(tokens):
            row = seen[body, token]
            target = (row - row.mean()) / math.sqrt(row.var() + 1e-5)
            errors.append(((predicted[body, place] - target) ** 2).mean())
    assert loss.item() == pytest.approx(np.mean(errors), abs=1e-5)

    before = [p.clone() for p in latent.teacher.parameters()]
    latent.after_step(0)
    for old, p, moved in zip(before, latent.encoder.parameters(), latent.teacher.parameters(), strict=True):
        torch.testing.assert_close(moved, 0.9 * old + 0.1 * p)


def test_unknown_items_are_never_left_out() -> None:
    """A loader of one's own need not say which item a clip is of."""
    method = stars()
    batch = Pairs(groups=2).group(0, 0)
    inputs = method.prepare(Batch(batch.views, None, batch.seed))
    assert (inputs.items == -1).all()
    assert method.queue.similarity(torch.ones(4, 8), inputs.items).isfinite().all()
