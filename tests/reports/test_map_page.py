"""The map of features: a mark a recording, the look of its group, and neighbours as a loop finds them."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from bonestrap.options import UserError
from bonestrap.recordings.features import FeaturesFile
from launch import map as command
from reports.figures import umap_plane
from reports.map_page import agreement, groups

RECORDINGS, CLASSES = 24, ("bow", "wave", "<kick>")


@pytest.fixture(scope="module")
def known() -> FeaturesFile:
    """Three clusters, two views a performance that differ little; the last performance has no label and no subject."""
    rng = np.random.default_rng(0)
    label = np.arange(RECORDINGS) // 2 % 3
    features = rng.normal(0, 1, (RECORDINGS // 2, 6)).repeat(2, 0) + 2 * np.eye(6)[label]
    features += rng.normal(0, 0.01, features.shape)  # another view is nearer than any other performance
    label[-2:] = -1
    return FeaturesFile(
        key=tuple(f"p{row // 2}" for row in range(RECORDINGS)),
        view=("c1", "c2") * (RECORDINGS // 2),
        label=label,
        subject=np.where(label < 0, -1, np.arange(RECORDINGS) // 8),
        camera=1 + np.arange(RECORDINGS) % 2,
        features=features.astype(np.float32),
        classes=CLASSES,
        about={"data": "people", "stage": "pretrained"},
    )


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("class", [*CLASSES, "unknown"]),
        ("subject", ["subject 0", "subject 1", "subject 2", "unknown"]),
        ("camera", ["camera 1", "camera 2"]),
    ],
)
def test_every_recording_is_a_mark_with_the_look_of_its_group(
    known: FeaturesFile, tmp_path: Path, by: str, names: list[str]
) -> None:
    pytest.importorskip("sklearn")
    known.write(tmp_path / "f.npz")
    command.main(command.Options(features=tmp_path / "f.npz", output=tmp_path / "map.html", by=by))  # type: ignore[arg-type]
    text = (tmp_path / "map.html").read_text()
    cloud = text.partition('class="cloud"')[2].partition("</svg>")[0]
    marks = [part.count("<use ") for part in cloud.split("<g ")[1:]]
    group = groups(known, by)[1]
    assert sorted(marks) == sorted(np.unique(group, return_counts=True)[1].tolist()) and sum(marks) == RECORDINGS
    legend = re.findall(r"</svg>([^<]+)</span>", text)
    assert sorted(legend) == sorted(name.replace("<", "&lt;").replace(">", "&gt;") for name in names)
    assert "<script" not in text and "http" not in text.replace("http://www.w3.org", "")


def test_umap_keeps_clusters_together_and_is_the_same_again() -> None:
    pytest.importorskip("umap")
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    features = (rng.normal(0, 0.1, (60, 6)) + np.eye(6)[label]) * rng.uniform(
        1, 9, (60, 1)
    )  # angles count, not lengths
    places = umap_plane(features.astype(np.float32), seed=3)
    nearest = NearestNeighbors(n_neighbors=2).fit(places).kneighbors(places, return_distance=False)[:, 1]
    assert (label[nearest] == label).all() and places.shape == (60, 2)
    assert np.array_equal(places, umap_plane(features.astype(np.float32), seed=3))


def test_neighbours_are_of_another_performance(known: FeaturesFile) -> None:
    group = groups(known, "class")[1]
    rows = np.arange(RECORDINGS)
    right = 0
    for row in rows:
        others = [other for other in rows if known.key[other] != known.key[row]]
        cosine = [float(known.features[row] @ known.features[o] / np.linalg.norm(known.features[o])) for o in others]
        right += group[others[int(np.argmax(cosine))]] == group[row]
    assert agreement(known, rows, group) == pytest.approx(right / RECORDINGS) and 0.5 < right / RECORDINGS < 1


def test_what_cannot_be_is_one_sentence(known: FeaturesFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known.write(tmp_path / "f.npz")
    options = command.Options(features=tmp_path / "f.npz", output=tmp_path / "map.html")
    with monkeypatch.context() as patch, pytest.raises(UserError, match="t-SNE needs scikit-learn"):
        patch.setitem(sys.modules, "sklearn.manifold", None)
        command.main(options)
    other = command.Options(features=tmp_path / "f.npz", output=tmp_path / "map.html", method="umap")
    with (
        monkeypatch.context() as patch,
        pytest.raises(UserError, match="UMAP needs umap-learn, which is not installed"),
    ):
        patch.setitem(sys.modules, "umap", None)
        command.main(other)
    assert not (tmp_path / "map.html").exists()
