"""A page with a map of features: recordings whose features are alike lie together, coloured by a fact."""

from __future__ import annotations

import numpy as np

from bonestrap.recordings.features import FeaturesFile
from reports import charts, figures
from reports.figures import Projection
from reports.html import render
from reports.palette import class_look

STYLES = ("page.css", "models.css")
SHOWN = 2000  # recordings; t-SNE of more takes minutes


def page(known: FeaturesFile, by: str, title: str, how: Projection = "t-SNE") -> str:
    """The page, coloured `by` class, subject or camera. ImportError without the library of t-SNE or UMAP."""
    rows = np.linspace(0, len(known) - 1, min(len(known), SHOWN)).round().astype(int)
    names, group = groups(known, by)
    present = np.unique(group[rows])
    return render(
        "map.html",
        scene={},
        styles=STYLES,
        title=title,
        subtitle=f"{known.about.get('data', 'recordings')}, features of a {known.about.get('stage', '')} model",
        cloud=charts.cloud(figures.embedding(known.features[rows], group[rows], names, how=how)),
        looks=[(names[number], *class_look(int(number))) for number in present],
        by=by,
        how=how,
        shown=len(rows),
        count=len(known),
        width=known.features.shape[1],
        agreement=agreement(known, rows, group),
    )


def groups(known: FeaturesFile, by: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The names of the groups, and the group of every recording; those that are not known are the last."""
    if by == "class":
        titles, numbers = known.classes, known.label
    else:
        values, numbers = np.unique(getattr(known, by), return_inverse=True)
        titles = tuple(f"{by} {value}" if value >= 0 else "unknown" for value in values.tolist())
    return (*titles, "unknown"), np.where(numbers < 0, len(titles), numbers)


def agreement(known: FeaturesFile, rows: np.ndarray, group: np.ndarray) -> float:
    """The fraction of recordings whose nearest neighbour, of another performance, is of the same group."""
    features = known.features[rows] / np.maximum(np.linalg.norm(known.features[rows], axis=1, keepdims=True), 1e-12)
    similarity = features @ features.T
    keys = np.unique(np.array(known.key)[rows], return_inverse=True)[1]
    similarity[keys[:, None] == keys] = -np.inf
    return float((group[rows][similarity.argmax(1)] == group[rows]).mean())
