"""pyskl's pickles: what is read is what was pickled, and a pickle that asks for anything else never runs."""

from __future__ import annotations

import collections
import os
import pickle
import pickletools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import COCO17, NTU25
from shards.errors import DataError
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.datasets.ntu import ACTIONS
from shards.sources.pyskl import Pyskl
from shards.sources.unpickle import unpickle
from shards.splits import find

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def annotation(name: str, label: Any = 0, frames: int = 5, bodies: int = 1, planar: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(len(name) + frames)
    joints, coordinates = (17, 2) if planar else (25, 3)
    content = {
        "frame_dir": name,
        "label": label,
        "total_frames": frames,
        "keypoint": rng.normal(0, 1, (bodies, frames, joints, coordinates)).astype(np.float16),
    }
    if planar:
        content["keypoint"] = (100 * content["keypoint"] + 300).astype(np.float16)
        content["keypoint_score"] = rng.uniform(0.5, 1, (bodies, frames, joints)).astype(np.float16)
        content |= {"img_shape": (1080, 1920), "original_shape": (1080, 1920)}
    return content


def write(path: Path, content: Any, pickle_protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=pickle_protocol))
    return path


# ---------------------------------------------------------------------- the unpickler


@pytest.mark.parametrize("version", PROTOCOLS)
def test_data_comes_out_of_every_protocol(tmp_path: Path, version: int) -> None:
    arrays = {
        "half": np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float16),
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "slice": np.arange(20, dtype=np.int32)[::3],
        "big": np.arange(5, dtype=">f8"),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 17, 2), dtype=np.float32),
        "texts": np.array(["a", "bc"]),
    }
    content = {
        **arrays, "scalar": np.float32(1.5), "label": np.int64(7), "list": [1, 2.5, "ä", None, True, b"x", (1, 2)],
    }  # fmt: skip
    found = unpickle(write(tmp_path / "a.pkl", content, version))
    for name, array in arrays.items():
        read = np.asarray(found[name])
        assert read.dtype == array.dtype and read.shape == array.shape
        np.testing.assert_array_equal(read, array)
    assert (found["scalar"], found["label"], found["list"]) == (1.5, 7, content["list"])


class Runs:
    """Pickles into a call of anything with any arguments."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


STRANGERS: dict[str, Any] = {
    "a command": Runs(os.system, "touch ran"),
    "a function": Runs(exec, "open('ran', 'w')"),
    "an attribute": getattr,
    "a class of the library": collections.OrderedDict(a=1),
    "a path": Path("ran"),
    "a file of numpy": Runs(np.load, "ran", None, True),
    "objects in an array": np.array([{"a": 1}, None], dtype=object),
    "objects in a record": np.zeros(2, dtype=[("a", "f4"), ("b", object)]),
    "a record": np.zeros(2, dtype=[("a", "f4")]),
    "a matrix": np.matrix([[1]]),
    "an array called by its class": Runs(np.ndarray, (4,), "O"),
    "memory": Runs(np.ndarray, (2**40,)),
    "a type of objects": np.dtype(object),
    "a function of this project": unpickle,
    "a part of a function": partial(print, "ran"),
}


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_nothing_but_data_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: str, version: int
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.pkl", {"annotations": [STRANGERS[stranger]]}, version)
    called = stranger in ("an array called by its class", "memory")  # the class is there as a name only
    message = (
        "not a readable pickle .*not callable" if called else "not a pickle of plain data, it (asks for|holds|builds)"
    )
    with pytest.raises(DataError, match=rf"a\.pkl: {message}"):
        unpickle(tmp_path / "a.pkl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"]


def test_lies_about_an_array_are_found(tmp_path: Path) -> None:
    """A shape that its bytes do not fill; numpy's own unpickling is never asked."""
    honest = pickle.dumps(np.arange(6, dtype=np.int64), protocol=2)
    at = honest.index(b"K\x06\x85")  # the shape (6,)
    (tmp_path / "a.pkl").write_bytes(honest[:at] + b"K\x60\x85" + honest[at + 3 :])
    with pytest.raises(DataError, match=r"a\.pkl: not a readable pickle"):
        unpickle(tmp_path / "a.pkl")


def test_a_cut_or_foreign_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pkl", {"annotations": [annotation("a")]})
    whole = path.read_bytes()
    for damaged in (b"", whole[:40], whole[:-1], b"hello", b"\x80\x09" + whole):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.pkl: not a readable pickle"):
            unpickle(path)
    with pytest.raises(DataError, match=r"b\.pkl: no such file"):
        unpickle(tmp_path / "b.pkl")
    persistent = pickletools.optimize(b"(dS'annotations'\nPelsewhere\ns.")
    path.write_bytes(persistent)
    with pytest.raises(DataError, match="it refers to what is not in it"):
        unpickle(path)


# ---------------------------------------------------------------------- annotations


def test_names_like_ntus_become_performances_over_cameras(tmp_path: Path) -> None:
    names = ["S001C003P008R002A058", "S001C001P008R002A058", "S002C001P010R001A003"]
    content: dict[str, Any] = {
        "split": {"xsub_train": names[:2], "xsub_val": names[2:]},
        "annotations": [
            annotation(name, int(name[-3:]) - 1, 5 + n, bodies=1 + (n < 2)) for n, name in enumerate(names)
        ],
    }
    source = Pyskl(write(tmp_path / "ntu60_hrnet.pkl", content))
    assert (source.name, source.layout, source.classes) == ("ntu60", COCO17, ACTIONS[:60])
    one, two = source
    assert (one.key, one.label, one.subject, one.setup, one.replication) == ("S001P008R002A058", 57, 8, 1, 2)
    assert [(view.camera, view.joints.shape, view.origin) for view in one.views] == [
        (1, (6, 2, 17, 3), names[1]), (3, (5, 2, 17, 3), names[0]),
    ]  # fmt: skip
    given = content["annotations"][1]
    np.testing.assert_array_equal(one.views[0].joints[..., :2], given["keypoint"].swapaxes(0, 1))
    np.testing.assert_array_equal(one.views[0].joints[..., 2], given["keypoint_score"].swapaxes(0, 1))
    assert (two.key, two.label) == ("S002P010R001A003", 2)
    pack(source, tmp_path / "shards")
    views = Resident.load(tmp_path / "shards").views
    assert find("ntu60", "cross-subject").train(views).tolist() == [True, True, False]


def test_an_action_above_sixty_is_ntu_120(tmp_path: Path) -> None:
    content = {"split": {}, "annotations": [annotation("S018C001P045R001A061", 60, planar=False)]}
    source = Pyskl(write(tmp_path / "a.pkl", content))
    assert (source.name, source.layout, len(source.classes)) == ("ntu120", NTU25, 120)


def test_other_files_declare_their_splits(tmp_path: Path) -> None:
    names = [f"v_{n:02}" for n in range(30)]
    content = {
        "split": {
            "train1": names[:20],
            "test1": [*names[20:], "v_without_people"],
            "train2": names[10:],
            "test2": names[:10],
        },
        "annotations": [annotation(name, np.int64(n % 3)) for n, name in enumerate(names)],
    }
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    source = Pyskl(write(tmp_path / "ucf 101.pkl", content), classes=("a", "b", "c"))
    assert (source.name, source.classes, len(source)) == ("ucf-101", ("a", "b", "c"), 30)
    pack(source, tmp_path / "shards")
    views = Resident.load(tmp_path / "shards").views
    for split, tested in (("split1", names[20:]), ("split2", names[:10])):
        rule = find("ucf-101", split)
        assert [views.key[row] for row in np.flatnonzero(rule.test(views))] == tested
        np.testing.assert_array_equal(rule.train(views), ~rule.test(views))
        assert rule.held_out(views).sum() == 2
    assert Pyskl(tmp_path / "ucf 101.pkl").classes == ("0", "1", "2")


def test_without_lists_a_split_is_drawn(tmp_path: Path) -> None:
    content = [annotation(f"v{n}") for n in range(20)]
    source = Pyskl(write(tmp_path / "a.pkl", content))
    count = collections.Counter(view.splits for performance in source for view in performance.views)
    assert count == {("split/train",): 14, ("split/val",): 2, ("split/test",): 4}


def test_persons_who_are_not_there_and_unsure_joints(tmp_path: Path) -> None:
    given = annotation("a", frames=8, bodies=3)
    given["keypoint"][1] = given["keypoint_score"][1] = 0  # never there
    given["keypoint"][0, 4:] = given["keypoint_score"][0, 4:] = 0  # leaves
    given["keypoint_score"][2, 3, 9] = 0.05
    given["keypoint"][2, 3, 9] = 0
    path = write(tmp_path / "a.pkl", {"annotations": [given]})
    for confidence in ("hide", "keep"):
        source = Pyskl(path, confidence=confidence)
        assert np.isnan(source[0].views[0].joints[:, 1]).all()
        pack(source, tmp_path / confidence, dtype="float32")
        data = Resident.load(tmp_path / confidence)
        assert (data.view_bodies.tolist(), data.frames.shape) == ([2], (16, 17, 2 + (confidence == "keep")))
        longest = data.frames[:8]  # the third person was there all the time and comes first
        np.testing.assert_allclose(longest[3, 9, :2], longest[[2, 4], 9, :2].mean(0), atol=1e-5)


def test_labels_are_texts_numbers_arrays_or_lists(tmp_path: Path) -> None:
    for labels, classes, expected in (
        (["wave", "bow", "wave"], ("bow", "wave"), [1, 0, 1]),
        ([np.array(2), [0], np.array([1])], ("0", "1", "2"), [2, 0, 1]),
        ([np.int64(1), 0.0, None], ("0", "1"), [1, 0, None]),
    ):
        content = [annotation(f"v{n}", label) for n, label in enumerate(labels)]
        source = Pyskl(write(tmp_path / "a.pkl", content))
        assert (source.classes, [performance.label for performance in source]) == (classes, expected)
    source = Pyskl(write(tmp_path / "a.pkl", [annotation("v", "bow")]), classes=("wave", "bow"))
    assert source[0].label == 1
    for label, message in (
        (-1, "the label -1 in annotation v1 is below 0"),
        ([1, 2], r"annotation v1 has the label \[1, 2\], not one number or text"),
        ({"a": 1}, "annotation v1 has the label"),
        (1.5, "annotation v1 has the label 1.5"),
    ):
        content = [annotation("v0"), annotation("v1", label)]
        with pytest.raises(DataError, match=rf"a\.pkl: {message}"):
            Pyskl(write(tmp_path / "a.pkl", content))
    (notice,) = Pyskl(write(tmp_path / "a.pkl", [annotation("v0", 1), annotation("v1", 2)])).notices
    assert notice.startswith("no recording is of class 0: the labels 1 to 2 make 3 classes")


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("shape", [(0,), (0, 5, 17, 2), (1, 0, 17, 2)])
def test_annotations_without_keypoints_are_dropped(tmp_path: Path, place: int, shape: tuple[int, ...]) -> None:
    content = [annotation("a"), annotation("b", 1), annotation("c", 1)]
    content[place] |= {"keypoint": np.zeros(shape), "keypoint_score": np.zeros(shape[:3])}
    manifest = pack(Pyskl(write(tmp_path / "a.pkl", content)), tmp_path / "out")
    assert (manifest.views, manifest.dropped) == (2, (("ab"[place], "no keypoints"),))
    assert list(Resident.load(tmp_path / "out").performance_key) == [["b", "c"], ["a", "c"]][place]


def test_a_pickle_may_be_one_clip(tmp_path: Path) -> None:
    clip = annotation("a")
    del clip["frame_dir"]
    (one,) = Pyskl(write(tmp_path / "walk 1.pkl", clip))
    assert (one.key, one.label, one.views[0].joints.shape) == ("walk-1", 0, (5, 1, 17, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"annotations": []}, "no annotations in it"),
        ({"split": {}}, "no annotations in it"),
        (3, "no annotations in it"),
        ({"annotations": [{"frame_dir": "a"}]}, "annotation a is without keypoint"),
        ({"annotations": [annotation("a"), annotation("a")]}, "two annotations have the same frame_dir"),
        ({"annotations": [{**annotation("a"), "keypoint": np.zeros((1, 4, 18, 2))}]}, "18 joints of 2 coordinates"),
        ({"annotations": [annotation("a")], "split": {"some": ["a"]}}, "the split 'some' says neither"),
    ],
)  # fmt: skip
def test_other_content_is_named(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=rf"a\.pkl: {message}"):
        Pyskl(write(tmp_path / "a.pkl", content))


def test_arrays_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    for wrong in ({"keypoint_score": np.ones((1, 4, 17))}, {"keypoint": np.zeros((5, 17, 2))}):
        content = {"annotations": [annotation("a"), {**annotation("b"), **wrong}]}
        with pytest.raises(DataError, match=r"a\.pkl: b: keypoint"):
            list(Pyskl(write(tmp_path / "a.pkl", content)))
