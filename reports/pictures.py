"""Pictures of recordings, embeddings and results, as PNG files. matplotlib and scikit-learn are imported where needed.

Colours are those of Okabe and Ito, which colour-blind readers tell apart. Left limbs are blue and right limbs orange in
every picture. Recordings are drawn as they are packed: metres, z up, the person facing +y in the first frame.

Legend: T frames, M bodies, V joints, C coordinates.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonestrap.layout import Layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, FAINT = "#2B2B2B", "#6B6B6B", "#9A9A9A"
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#7A6A00", "#4D4D4D")
MARKERS = "o^sDv"  # classes share a colour when there are more than eight, never colour and marker
PARTS = {
    "trunk": "#4D4D4D",
    "left_arm": "#0072B2",
    "left_leg": "#56B4E9",
    "right_arm": "#D55E00",
    "right_leg": "#E69F00",
    "left": "#0072B2",
    "right": "#D55E00",
}
STAGES = {"scratch": "#E69F00", "teacher": "#0072B2", "student": "#009E73", "random": "#9A9A9A"}
EYE = np.deg2rad(25.0)  # the viewer stands this far beside the person's front


@dataclasses.dataclass(frozen=True)
class Result:
    """One point of `accuracy_against_parameters`; parameters are None for a method without any, such as raw joints."""

    label: str
    parameters: int | None
    accuracy: float  # 0 to 1
    stage: str


def skeleton_strip(
    path: Path, recordings: Mapping[str, np.ndarray], layout: Layout, *, title: str, poses: int = 9
) -> Figure:
    """One row a recording (T, M, V, 3): `poses` frames from the first to the last, the second body fainter."""
    return _strips(path, recordings, layout, title=title, poses=poses, shared=True)


def augmented_views(
    path: Path, source: np.ndarray, views: Mapping[str, np.ndarray], layout: Layout, *, title: str, poses: int = 9
) -> Figure:
    """A recording above its augmented views, each (T, M, V, C): the first three coordinates are drawn.

    Joints that a view has dropped lie at the origin in all frames; they are left out.
    """
    return _strips(path, {"source": source, **views}, layout, title=title, poses=poses, shared=False)


def embedding_map(
    path: Path, features: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, title: str, seed: int = 0
) -> Figure:
    """Features (R, D) on a plane by t-SNE: similar recordings lie together. `labels` (R,) index `classes`."""
    points = plane(features, seed)
    figure = blank(8.6, 6.6)
    axes = figure.subplots()
    for index, name in enumerate(classes):
        chosen = points[labels == index]
        if not len(chosen):
            continue
        colour, marker = OKABE_ITO[index % len(OKABE_ITO)], MARKERS[index // len(OKABE_ITO) % len(MARKERS)]
        axes.scatter(chosen[:, 0], chosen[:, 1], s=22, c=colour, marker=marker, alpha=0.75, linewidths=0, label=name)
    axes.set(xticks=[], yticks=[], title=title, xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, markerscale=1.4)
    return save(figure, path)


def plane(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Features (R, D) on a plane by t-SNE, (R, 2): those of a small angle between them lie together."""
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize

    perplexity = min(30.0, max(2.0, (len(features) - 1) / 4))
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=500, random_state=seed)
    return tsne.fit_transform(normalize(features))


def confusion_matrix(
    path: Path, truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str], *, title: str
) -> Figure:
    """How often each class (row) was taken for which (column), in percent of the row; 1-D label arrays in."""
    count = len(classes)
    table = np.zeros((count, count))
    np.add.at(table, (truth, predicted), 1)
    share = 100 * table / np.maximum(table.sum(1, keepdims=True), 1)
    side = 2.6 + 0.42 * count
    figure = blank(side + 1.8, side)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(count), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), classes)
    axes.tick_params(length=0)
    if count <= 24:
        for row, column in np.argwhere(share >= 0.5):
            colour = "white" if share[row, column] > 55 else INK
            axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, label="share of the true class (%)").outline.set_visible(
        False
    )
    return save(figure, path)


def accuracy_against_parameters(path: Path, rows: Sequence[Result], *, title: str) -> Figure:
    """Accuracy of models against their size on a logarithmic axis; a method without parameters is a dashed line."""
    figure = blank(8.2, 5.0)
    axes = figure.subplots()
    sized = [(row.parameters, 100 * row.accuracy, row) for row in rows if row.parameters]
    for row in (row for row in rows if not row.parameters):
        axes.axhline(100 * row.accuracy, color=FAINT, linestyle="--", linewidth=1.2, zorder=1)
    for stage, colour in _stage_colours([row for *_, row in sized]).items():
        counts, shares = zip(*((count, share) for count, share, row in sized if row.stage == stage), strict=True)
        axes.scatter(counts, shares, s=90, c=colour, edgecolors="white", linewidths=1.2, label=stage, zorder=3)
    for count in sorted({count for count, *_ in sized}):  # labels beside the points of one size, none over another
        column = [(share, row.label) for other, share, row in sized if other == count]
        for (share, label), height in zip(column, spread([share for share, _ in column], gap=4.5), strict=True):
            axes.annotate(
                label, (count, share), (1.12 * count, height), va="center", fontsize=9, color=INK, zorder=4,
                arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.6} if height != share else None,
            )  # fmt: skip
    axes.set_xscale("log")
    if sized:
        axes.set_xlim(min(sized)[0] / 1.8, max(sized)[0] * 3.0)
        axes.legend(loc="lower right", title="stage", frameon=False, fontsize=9)
    axes.set(ylim=(0, 104), xlabel="parameters (logarithmic)", ylabel="test accuracy (%)", title=title)
    floors = [row for row in rows if not row.parameters]
    for row, height in zip(floors, spread([100 * row.accuracy for row in floors], gap=4.0), strict=True):
        axes.text(
            0.01, height + 0.6, row.label, transform=axes.get_yaxis_transform(), va="bottom", fontsize=9, color=GREY
        )
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    return save(figure, path)


def _strips(
    path: Path, rows: Mapping[str, np.ndarray], layout: Layout, *, title: str, poses: int, shared: bool
) -> Figure:
    if not rows:
        raise ValueError(f"{path.name}: there is no recording to draw")
    flat = {name: _project(joints[..., :3]) for name, joints in rows.items()}
    height = 1.75 * len(flat)
    figure = blank(1.25 * poses + 1.4, height + 1.0)
    grid = np.atleast_2d(figure.subplots(len(flat), poses, squeeze=False))
    everything = _limits(list(flat.values()))
    for panels, (name, joints) in zip(grid, flat.items(), strict=True):
        low, high = everything if shared else _limits([joints])
        for axes, frame in zip(panels, np.linspace(0, len(joints) - 1, poses).round().astype(int), strict=True):
            _pose(axes, joints[frame], _dropped(rows[name]), layout)
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.set_xlabel(f"frame {frame}" if frame == 0 else f"{frame}", fontsize=8, color=GREY, labelpad=1)
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8, fontsize=10)
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.5)
    _part_legend(figure, layout)
    return save(figure, path)


def _project(joints: np.ndarray) -> np.ndarray:
    """(..., 3) metres, z up, facing +y, to (..., 2) on the picture of a viewer in front, `EYE` beside the middle."""
    x, y, z = np.moveaxis(np.asarray(joints, np.float64), -1, 0)
    return np.stack([-x * np.cos(EYE) + y * np.sin(EYE), z + 0.12 * (x * np.sin(EYE) + y * np.cos(EYE))], -1)


def _dropped(joints: np.ndarray) -> np.ndarray:
    """(V,) bool: joints that are zero in every frame of every body."""
    return (np.nan_to_num(joints[..., :3]) == 0).all(axis=(0, 1, 3))


def _limits(flat: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    points = np.concatenate([joints.reshape(-1, 2) for joints in flat])
    low, high = np.nanpercentile(points, 0.5, axis=0), np.nanpercentile(points, 99.5, axis=0)
    margin = 0.06 * (high - low).max()
    return low - margin, high + margin


def _pose(axes: Axes, bodies: np.ndarray, dropped: np.ndarray, layout: Layout) -> None:
    """Draw one frame, (M, V, 2): bones coloured by part, a dot for the head, bodies after the first fainter."""
    colours = part_colours(layout)
    colour = {joint: colours[part] for part, members in layout.parts.items() for joint in members}
    for order, body in enumerate(bodies):
        fade = 1.0 if order == 0 else 0.45
        if "head" in layout.joints:
            axes.plot(*body[layout.joints.index("head")], "o", color=PARTS["trunk"], markersize=5.5, alpha=fade, mew=0)
        for child, parent in layout.bones:
            if dropped[child] or dropped[parent]:
                continue
            axes.plot(
                *body[[child, parent]].T, color=colour[child], linewidth=2.0, alpha=fade, solid_capstyle="round",
                clip_on=False,
            )  # fmt: skip


def _part_legend(figure: Figure, layout: Layout) -> None:
    from matplotlib.lines import Line2D

    colours = {part: colour for part, colour in part_colours(layout).items() if layout.parts[part]}
    lines = [Line2D([], [], color=c, linewidth=3, label=part.replace("_", " ")) for part, c in colours.items()]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines), frameon=False, fontsize=9)


def part_colours(layout: Layout) -> dict[str, str]:
    """A colour for every part of a layout, whatever its parts are called: its own, or the next of the palette."""
    return _colours(layout.parts, PARTS)


def _stage_colours(rows: Sequence[Result]) -> dict[str, str]:
    return _colours([row.stage for row in rows], STAGES)


def _colours(names: Iterable[str], own: Mapping[str, str]) -> dict[str, str]:
    """A colour for every name: its own, or the next of the palette that nobody owns."""
    spare = itertools.cycle(colour for colour in OKABE_ITO if colour not in own.values())
    return {name: own.get(name) or next(spare) for name in dict.fromkeys(names)}


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """The heights moved up where two labels would be closer than `gap`."""
    out = list(heights)
    order = np.argsort(heights)
    for lower, upper in itertools.pairwise(order):
        out[upper] = max(out[upper], out[lower] + gap)
    return out


def blank(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save(figure: Figure, path: Path) -> Figure:
    """Write the PNG beside its place and move it there: a half-written picture is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontweight("bold")
    figure.savefig(partial, format="png", dpi=150)
    os.replace(partial, path)
    return figure
