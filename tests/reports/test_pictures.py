"""Pictures: each function leaves a readable PNG with the panels, labels and colours that it promises."""

from __future__ import annotations

import dataclasses
import struct
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import NTU25
from reports import figures, palette, pictures
from shards.packing.preprocess import canonical
from shards.sources.synthetic.actions import ACTIONS
from shards.sources.synthetic.people import person
from shards.sources.synthetic.stage import perform

CLASSES = tuple(f"class {index}" for index in range(10))


def recording(label: int) -> np.ndarray:
    """(T, M, V, 3) as it is packed: z up, facing +y in the first frame."""
    rng = np.random.default_rng(label)
    return canonical(perform(ACTIONS[label], person(rng), 0.0, rng), layout=NTU25)


def panels(figure: Any) -> list[Any]:
    return figure.axes


def png(path: Path) -> tuple[int, int]:
    """Width and height in pixels, read from the file's header; at least 400 on each side and not empty."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 8000
    width, height = struct.unpack(">II", content[16:24])
    assert width > 400 and height > 250
    assert [file.name for file in path.parent.iterdir()] == [path.name], "nothing half-written beside it"
    return width, height


def test_a_strip_has_a_panel_for_every_pose_of_every_recording(tmp_path: Path) -> None:
    rows = {"kick": recording(4), "push": recording(15)}
    figure = pictures.skeleton_strip(tmp_path / "strip.png", rows, NTU25, title="two recordings", poses=5)
    assert len(figure.axes) == 2 * 5
    single, pair = figure.axes[0], figure.axes[5]
    assert len(pair.lines) == 2 * len(single.lines) == 2 * (len(NTU25.bones) + 1)  # 24 bones and a head a person
    assert {line.get_color() for line in single.lines} == set(palette.PARTS.values())
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1, "one scale for all"
    assert (single.get_ylabel(), pair.get_ylabel()) == ("kick", "push")
    assert figure.axes[4].get_xlabel() == str(len(rows["kick"]) - 1)
    png(tmp_path / "strip.png")


def test_left_and_right_are_drawn_as_seen_from_the_front(tmp_path: Path) -> None:
    """A person who faces the viewer has the left hand on the viewer's right, and the head up."""
    figure = pictures.skeleton_strip(tmp_path / "strip.png", {"wave": recording(0)}, NTU25, title="", poses=2)
    first = panels(figure)[0]
    middle = {
        part: np.mean([line.get_xydata() for line in first.lines if line.get_color() == colour], (0, 1))
        for part, colour in palette.PARTS.items()
        if part != "trunk"
    }
    assert middle["left_arm"][0] > middle["right_arm"][0]
    assert middle["left_arm"][1] > middle["left_leg"][1]


def test_dropped_limbs_are_left_out_of_augmented_views(tmp_path: Path) -> None:
    source = recording(2)
    dropped = np.concatenate([source, source], -1)  # joint and bone channels, as in a clip
    dropped[:, :, NTU25.left] = 0
    figure = pictures.augmented_views(
        tmp_path / "views.png", source, {"aggressive": dropped, "conservative": source}, NTU25, title="views", poses=4
    )
    assert len(figure.axes) == 3 * 4
    assert [figure.axes[row * 4].get_ylabel() for row in range(3)] == ["source", "aggressive", "conservative"]
    left = {palette.PARTS["left_arm"], palette.PARTS["left_leg"]}
    shown = [{line.get_color() for line in axes.lines} for axes in figure.axes]
    assert all(left <= colours for colours in shown[:4] + shown[8:])
    assert not any(left & colours for colours in shown[4:8])
    png(tmp_path / "views.png")


@pytest.mark.parametrize("parts", [{"trunk": 15, "tail": 6, "fin": 4, "none": 0}, {"left": 10, "right": 15}])
def test_parts_of_any_name_have_colours_of_their_own(tmp_path: Path, parts: dict[str, int]) -> None:
    joints = iter(range(25))
    layout = dataclasses.replace(NTU25, parts={name: tuple(islice(joints, size)) for name, size in parts.items()})
    figure = pictures.skeleton_strip(tmp_path / "strip.png", {"kick": recording(4)}, layout, title="", poses=1)
    lines = figure.axes[0].lines
    shown = {name: palette.part_colours(layout)[name] for name, size in parts.items() if size}
    assert len(set(shown.values())) == len(shown)
    for (child, _), line in zip(layout.bones, lines[1:], strict=True):  # the first one is the head
        assert line.get_color() == next(colour for name, colour in shown.items() if child in layout.parts[name])
    assert all(colour == palette.PARTS[name] for name, colour in shown.items() if name in palette.PARTS)
    (legend,) = figure.legends
    assert {line.get_label(): line.get_color() for line in legend.get_lines()} == shown


def test_an_embedding_map_keeps_clusters_apart(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(9), 12)  # the tenth class has no recording
    features = 8 * rng.normal(size=(9, 16))[labels] + rng.normal(size=(108, 16))
    figure = pictures.embedding_map(
        tmp_path / "map.png", figures.embedding(features, labels, CLASSES), title="features"
    )
    (axes,) = panels(figure)
    clouds = [np.asarray(cloud.get_offsets()) for cloud in axes.collections]
    assert [len(cloud) for cloud in clouds] == [12] * 9
    centres = np.array([cloud.mean(0) for cloud in clouds])
    nearest = ((np.concatenate(clouds)[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert (nearest == labels).mean() > 0.95
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(CLASSES[:9])
    looks = {(tuple(cloud.get_facecolor()[0]), len(cloud.get_paths()[0].vertices)) for cloud in axes.collections}
    assert len(looks) == 9, "no two classes share colour and marker"
    png(tmp_path / "map.png")


def test_a_confusion_matrix_is_in_percent_of_the_true_class(tmp_path: Path) -> None:
    truth, predicted = np.array([0, 0, 0, 0, 1, 2]), np.array([0, 0, 0, 1, 1, 0])
    figure = pictures.confusion_matrix(
        tmp_path / "m.png", figures.Confusion.from_labels(truth, predicted, CLASSES[:4]), title="four classes"
    )
    matrix, bar = panels(figure)
    expected = np.array([[75, 25, 0, 0], [0, 100, 0, 0], [100, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(matrix.images[0].get_array(), expected)
    assert sorted(text.get_text() for text in matrix.texts) == ["100", "100", "25", "75"]
    assert matrix.get_ylabel() == "true class" and "%" in bar.get_ylabel()
    png(tmp_path / "m.png")


def test_accuracy_stands_over_parameters_and_floors_are_lines(tmp_path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rows = (("teacher", 800_000, 84), ("student", 50_000, 82), ("scratch", 50_000, 81))
    points = tuple(
        figures.Point(
            name=name, colour=palette.model_colour(number), parameters=parameters, latency_ms=None, accuracy=accuracy,
            low=accuracy - 5, high=accuracy + 4, classifies=True, random=(("random encoder", 30.0),),
        )
        for number, (name, parameters, accuracy) in enumerate(rows)
    )  # fmt: skip
    floor = figures.Floor(name="raw joints", labels="all labels", accuracy=45)
    shown = figures.Accuracies(points=points, floors=(floor,))
    figure = pictures.accuracy_against_parameters(tmp_path / "a.png", shown, title="test accuracy")
    (axes,) = panels(figure)
    assert axes.get_xscale() == "log" and "%" in axes.get_ylabel()
    places = {tuple(point) for cloud in axes.collections for point in np.asarray(cloud.get_offsets()).tolist()}
    assert places == {(800_000, 84), (50_000, 82), (50_000, 81)}
    assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [45]
    drawn = [
        tuple(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "-" and len(line.get_ydata()) > 1
    ]
    assert (79, 88) in drawn and (77, 86) in drawn and (76, 85) in drawn
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    written = {text.get_text(): text.get_window_extent(renderer) for text in axes.texts}
    assert set(written) == {"teacher", "student", "scratch", "raw joints,\nall labels"}
    dots = [axes.transData.transform((parameters, accuracy)) for _, parameters, accuracy in rows]
    for name, extent in written.items():
        assert not any(extent.overlaps(other) for other in (written[each] for each in written if each != name)), name
        assert not any(extent.contains(*dot) for dot in dots), name
        assert figure.bbox.x0 <= extent.x0 and extent.x1 <= figure.bbox.x1, name
    png(tmp_path / "a.png")


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"strip\.png: there is no recording to draw"):
        pictures.skeleton_strip(tmp_path / "strip.png", {}, NTU25, title="none")
    assert not list(tmp_path.iterdir())
