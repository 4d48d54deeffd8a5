"""What the charts show, apart from how they are drawn.

A page draws these as SVG (`reports.charts` and `templates/charts.html`), and a PNG of the same figure is drawn by
`reports.pictures`; both take the numbers, the order and the colours from here.

| figure | on a page | as a PNG |
|---|---|---|
| accuracy against parameters or latency | models | `accuracy_against_parameters` |
| confusion matrix | models | `confusion_matrix` |
| feature space (t-SNE) | models | `embedding_map` |
| per-class recall | models | no |

Legend: C classes, D features, R recordings.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from evaluation.run_record import RunRecord
from reports.palette import class_look, model_colour

Projection = Literal["t-SNE", "UMAP"]
RAW_JOINTS = "raw joints"  # the floor that has no encoder, and so no size


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model. Accuracies are in percent; the interval is Wilson's, of 95 %."""

    name: str
    colour: str
    parameters: int
    latency_ms: float | None
    accuracy: float
    low: float
    high: float
    classifies: bool  # else it is an encoder under a linear or kNN probe, which reads all labels
    random: tuple[tuple[str, float], ...]  # random encoders of the same kind, evaluated alike


@dataclass(frozen=True, kw_only=True)
class Floor:
    """An accuracy, in percent, to which no model size belongs."""

    name: str
    labels: str  # with which it was measured
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Accuracies:
    """Models, and the floors that they are compared with."""

    points: tuple[Point, ...]
    floors: tuple[Floor, ...]

    @property
    def highest(self) -> float:
        """The upper end of all that is drawn."""
        random = [accuracy for point in self.points for _, accuracy in point.random]
        return max([*(point.high for point in self.points), *(floor.accuracy for floor in self.floors), *random])


def accuracies(records: Sequence[RunRecord]) -> Accuracies:
    """The test accuracy of every model. UserError where one has not been evaluated."""
    points, floors = [], {}
    for number, one in enumerate(records):
        shown = one.shown
        points.append(
            Point(
                name=one.name,
                colour=model_colour(number),
                parameters=one.parameters,
                latency_ms=one.latency_ms,
                accuracy=100 * shown.model.accuracy,
                low=100 * shown.model.low,
                high=100 * shown.model.high,
                classifies=one.classifies,
                random=tuple((who, 100 * f.accuracy) for who, f in shown.floors.items() if who != RAW_JOINTS),
            )
        )
        if floor := shown.floors.get(RAW_JOINTS):
            fraction = one.lineage.get("labels")
            labels = f"{100 * fraction:.3g}% of labels" if one.classifies and fraction is not None else "all labels"
            floors[labels, floor.accuracy] = Floor(name=RAW_JOINTS, labels=labels, accuracy=100 * floor.accuracy)
    return Accuracies(points=tuple(points), floors=tuple(floors.values()))


@dataclass(frozen=True, kw_only=True, eq=False)
class Confusion:
    """A confusion matrix: `counts` (C, C), rows are true classes and columns predicted ones."""

    counts: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def from_labels(cls, truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Confusion:
        """From the true and predicted classes of recordings, (R,) each."""
        counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
        np.add.at(counts, (truth, predicted), 1)
        return cls(counts=counts, classes=tuple(classes))

    @property
    def percent(self) -> np.ndarray:
        """(C, C) in percent of the true class; a class without recordings is a row of zeros."""
        return 100 * self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)

    @property
    def right(self) -> int:
        return int(self.counts.trace())


@dataclass(frozen=True, kw_only=True)
class Error:
    """How many recordings of one class are taken for another."""

    true: int
    predicted: int
    names: tuple[str, str]
    count: int
    of: int  # recordings of the true class


def errors(matrix: Confusion, limit: int) -> list[Error]:
    """At most so many pairs of classes, those with the most recordings first."""
    wrong = matrix.counts - np.diag(matrix.counts.diagonal())
    places = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    found = [(int(place) // len(wrong), int(place) % len(wrong)) for place in places]
    return [
        Error(
            true=true,
            predicted=predicted,
            names=(matrix.classes[true], matrix.classes[predicted]),
            count=int(wrong[true, predicted]),
            of=int(matrix.counts[true].sum()),
        )
        for true, predicted in found
        if wrong[true, predicted]
    ]


@dataclass(frozen=True, kw_only=True)
class Recall:
    """One class: how many test recordings it has, and how many of them each model gets right."""

    name: str
    recordings: int
    right: tuple[int, ...]  # a model each

    @property
    def percent(self) -> tuple[float, ...]:
        return tuple(100 * count / self.recordings for count in self.right)


def recalls(matrices: Sequence[Confusion]) -> list[Recall]:
    """Per-class recall of models on the same recordings, the lowest mean first; classes without recordings left out."""
    classes, counts = matrices[0].classes, matrices[0].counts.sum(1)
    found = [
        Recall(name=classes[c], recordings=int(counts[c]), right=tuple(int(one.counts[c, c]) for one in matrices))
        for c in np.flatnonzero(counts)
    ]
    return sorted(found, key=lambda one: sum(one.percent))


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """The recordings of one class in a map, (R, 2)."""

    name: str
    colour: str
    shape: str
    points: np.ndarray


def embedding(
    features: np.ndarray, labels: np.ndarray, classes: Sequence[str], seed: int = 0, how: Projection = "t-SNE"
) -> list[Group]:
    """Features (R, D) on a plane, a group for every class that occurs in `labels` (R,).

    Places lie within 0 to 100 on both axes and have no unit. ImportError without scikit-learn, or umap-learn.
    """
    places = plane(features, seed) if how == "t-SNE" else umap_plane(features, seed)
    low, extent = places.min(0), np.ptp(places, axis=0)
    size = max(float(extent.max()), 1e-9)
    places = (places - low + (size - extent) / 2) * (100 / size)
    groups = []
    for label in np.unique(labels):
        colour, shape = class_look(int(label))
        groups.append(Group(name=classes[label], colour=colour, shape=shape, points=places[labels == label]))
    return groups


def plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features (R, D) on a plane by t-SNE, (R, 2): those of a small angle between them lie together."""
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize

    perplexity = min(30.0, max(2.0, (len(features) - 1) / 4))
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=seed)
    return tsne.fit_transform(normalize(features))


def umap_plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features (R, D) on a plane by UMAP (McInnes et al. 2018), (R, 2), also by the angles between them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed leaves one thread, and that its other models lack TensorFlow
        from umap import UMAP

        umap = UMAP(n_neighbors=min(15, len(features) - 1), metric="cosine", random_state=seed)
        return np.asarray(umap.fit_transform(features))


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights of labels, moved up where two would be closer than `gap`."""
    out = list(heights)
    order = np.argsort(heights)
    for lower, upper in itertools.pairwise(order):
        out[upper] = max(out[upper], out[lower] + gap)
    return out
