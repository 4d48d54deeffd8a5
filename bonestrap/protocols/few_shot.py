"""Few exemplars of novel classes: each query takes the class of the nearest ones, nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bonestrap.protocols.knn import knn_votes

# Every sixth action, as the authors of NTU-120 chose them for their one-shot protocol (Liu et al. 2019, section 4.3).
OFFICIAL = {"ntu120": tuple(range(0, 120, 6))}


def novel_classes(dataset: str, classes: int) -> tuple[int, ...]:
    """The classes of a data set that count as novel: its official list, or half of them, drawn once for all."""
    if dataset in OFFICIAL:
        return OFFICIAL[dataset]
    return tuple(sorted(np.random.default_rng(0).permutation(classes)[: classes // 2].tolist()))


class Answers(NamedTuple):
    """What queries of novel classes were answered."""

    accuracies: list[float]  # of each episode
    asked: Tensor  # (R,) bool: queries of novel classes
    right: Tensor  # float64, of those in order: the fraction of the episodes in which the answer was right


def few_shot(
    pool_x: Tensor,
    pool_y: Tensor,
    query_x: Tensor,
    query_y: Tensor,
    novel: Sequence[int],
    *,
    shots: int,
    episodes: int,
    seed: int,
    neighbours: int = 1,
) -> Answers:
    """The answers of several episodes, each of which draws `shots` exemplars of every novel class from the pool.

    All queries of novel classes are answered, by the majority of the most similar exemplars by cosine; of equals the
    class whose exemplars are the more similar is ahead. Raises ValueError where a novel class has too few exemplars,
    none has a query, or there are fewer exemplars than neighbours.
    """
    places = [(pool_y == label).nonzero().squeeze(1) for label in novel]
    if min(map(len, places)) < shots:
        raise ValueError(f"shots must be at most {min(map(len, places))}, the exemplars of the rarest novel class")
    asked = torch.isin(query_y, torch.tensor(novel))
    if not asked.any():
        raise ValueError("there is no query of a novel class")
    pool, queries = F.normalize(pool_x.float(), dim=1), F.normalize(query_x[asked].float(), dim=1)
    classes = max(novel) + 1
    generator = torch.Generator().manual_seed(seed)
    accuracies, right = [], torch.zeros(int(asked.sum()), dtype=torch.float64)
    for _ in range(episodes):
        drawn = torch.cat([rows[torch.randperm(len(rows), generator=generator)[:shots]] for rows in places])
        answers = knn_votes(pool[drawn], pool_y[drawn], queries, classes, neighbours).argmax(1)
        correct = (answers == query_y[asked]).double()
        accuracies.append(correct.mean().item())
        right += correct / episodes
    return Answers(accuracies, asked, right)
