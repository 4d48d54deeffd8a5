"""PNG pictures, for where a file is asked for: the demo, `launch/evaluate.py --pictures`, tables. By matplotlib.

Accuracies, confusion matrices and feature maps come from `reports.figures`, which pages draw as SVG as well; skeletons
are drawn as they are packed: metres, z up, the person facing +y in the first frame. Left limbs are blue, right orange.

Legend: T frames, M bodies, V joints, C coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bonestrap.files import write_atomically
from bonestrap.layout import Layout
from reports.charts import Axis
from reports.figures import Accuracies, Confusion, Group, spread
from reports.labels import Mark, apart, place
from reports.palette import FAINT, GREY, INK, PARTS, part_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EYE = np.deg2rad(25.0)  # the viewer stands this far beside the person's front
MARKERS = {"circle": "o", "triangle": "^", "square": "s", "diamond": "D", "plus": "P"}
PLOT = (470.0, 290.0)  # points of the plot of accuracies, about
TOP = 104.0  # percent
BESIDE = 14.0  # points between two models of one size
LETTER = 5.8  # points of a letter of a name, at most
NUMBERED = 24  # classes at most whose confusions are written as numbers


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


def embedding_map(path: Path, groups: Sequence[Group], *, title: str) -> Figure:
    """The t-SNE of `figures.embedding`, a colour and marker for every class."""
    figure = blank(8.6, 6.6)
    axes = figure.subplots()
    for group in groups:
        axes.scatter(
            group.points[:, 0], group.points[:, 1], s=22, c=group.colour, marker=MARKERS[group.shape], alpha=0.75,
            linewidths=0, label=group.name,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[], title=title, xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, markerscale=1.4)
    return save(figure, path)


def confusion_matrix(path: Path, matrix: Confusion, *, title: str) -> Figure:
    """A confusion matrix in percent of the true class."""
    percent, count = matrix.percent, len(matrix.classes)
    side = 2.6 + 0.42 * count
    figure = blank(side + 1.8, side)
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(count), matrix.classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), matrix.classes)
    axes.tick_params(length=0)
    if count <= NUMBERED:
        for row, column in np.argwhere(percent >= 0.5):
            colour = "white" if percent[row, column] > 55 else INK
            axes.text(column, row, f"{percent[row, column]:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, label="% of the true class").outline.set_visible(False)
    return save(figure, path)


def accuracy_against_parameters(path: Path, shown: Accuracies, *, title: str) -> Figure:
    """Accuracy of models against their size on a logarithmic axis; floors without a size are dashed lines."""
    from matplotlib.transforms import ScaledTranslation

    figure = blank(8.2, 5.0)
    axes = figure.subplots()
    for floor in shown.floors:
        axes.axhline(floor.accuracy, color=FAINT, linestyle="--", linewidth=1.2, zorder=1)
    low, high = sizes(shown)
    lefts = [np.log(point.parameters / low) / np.log(high / low) for point in shown.points]
    shifts = apart([left * PLOT[0] for left in lefts], gap=BESIDE)
    for point, shift in zip(shown.points, shifts, strict=True):
        moved = axes.transData + ScaledTranslation(shift / 72, 0, figure.dpi_scale_trans)
        ends = [point.low, point.high]
        axes.plot(
            [point.parameters] * 2, ends, color=point.colour, linewidth=2, alpha=0.5, zorder=2, transform=moved
        )  # fmt: skip
        face = point.colour if point.classifies else "white"
        axes.scatter(
            point.parameters, point.accuracy, s=90, c=face, edgecolors=point.colour, linewidths=1.6, label=point.name,
            zorder=3, transform=moved,
        )  # fmt: skip
        for _, accuracy in point.random:
            axes.plot(
                point.parameters, accuracy, "o", mfc="white", mec=FAINT, markersize=5, zorder=2, transform=moved
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axis = Axis(title="parameters", low=low, high=high, log=True)
    axes.set_xticks(axis.ticks, [axis.written(tick) for tick in axis.ticks])
    axes.minorticks_off()
    marks = [
        Mark(
            name=point.name, x=float(left), shift=shift, y=1 - point.accuracy / TOP, top=1 - point.high / TOP,
            bottom=1 - point.low / TOP, rings=tuple(1 - accuracy / TOP for _, accuracy in point.random),
        )
        for point, left, shift in zip(shown.points, lefts, shifts, strict=True)
    ]  # fmt: skip
    for mark, point, (right, down, anchor) in zip(marks, shown.points, place(marks, [PLOT], LETTER), strict=True):
        led = {"arrowstyle": "-", "color": FAINT, "linewidth": 0.6} if abs(down) > BESIDE else None
        side = {"start": "left", "middle": "center", "end": "right"}[anchor]
        axes.annotate(
            mark.name, (point.parameters, point.accuracy), (mark.shift + right, -down), textcoords="offset points",
            ha=side, va="center", fontsize=9, color=INK, zorder=4, arrowprops=led,
        )  # fmt: skip
    axes.set(ylim=(0, TOP), xlabel="parameters (log scale)", ylabel="test accuracy (%)", title=title)
    heights = spread([floor.accuracy for floor in shown.floors], gap=9.0)
    for floor, height in zip(shown.floors, heights, strict=True):
        name, edge = f"{floor.name},\n{floor.labels}", axes.get_yaxis_transform()
        axes.text(1.01, height, name, transform=edge, va="center", fontsize=9, color=GREY)
    axes.grid(axis="y", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    return save(figure, path)


def sizes(shown: Accuracies) -> tuple[float, float]:
    """The ends of the axis of parameters."""
    found = [point.parameters for point in shown.points] or [1]
    return min(found) / 1.8, max(found) * 1.8


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


def blank(width: float, height: float) -> Figure:
    """An empty figure, in inches, that belongs to no window and no global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save(figure: Figure, path: Path) -> Figure:
    """Write the PNG, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontweight("bold")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150))
    return figure
