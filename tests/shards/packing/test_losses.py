"""Whatever a file holds, every frame and every person in it is stored, or counted as left out with a reason.

Files of random detections are written in every format and counted plainly on the way: frames, and persons in frames.
After packing, what is stored (a body's poses that differ, for a gap repeats one) and what the manifest says was left
out must add up to that.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from bonestrap.layouts import COCO17, KINECT20
from shards import index
from shards.packing.losses import Loss, partial, whole
from shards.packing.pack import pack
from shards.packing.survey import recordings
from shards.sources.arrays import arrays
from shards.sources.coco import keypoints
from shards.sources.datasets.ntu import NTU
from shards.sources.datasets.nw_ucla import NWUCLA
from shards.sources.datasets.pku_mmd import PKUMMD
from shards.sources.datasets.sbu import SBU
from shards.sources.pyskl import Pyskl
from shards.sources.source import Source

FILES = 40
HIDDEN = 0.05  # a confidence below the least


class Held(NamedTuple):
    """What one file holds."""

    frames: int
    poses: int


Counts = dict[str, Held]
Rng = np.random.Generator


def presence(rng: Rng) -> np.ndarray:
    """(T, M) bool: who is there; nobody at the ends and in the middle, at times."""
    frames, bodies = int(rng.integers(1, 60)), int(rng.integers(1, 5))
    there = rng.random((frames, bodies)) < rng.choice([0.3, 0.9, 1.0], bodies)
    for body in range(bodies):  # whole stretches, too
        first, last = sorted(rng.integers(0, frames + 1, 2))
        if rng.random() < 0.5:
            there[:first, body] = there[last:, body] = False
    if rng.random() < 0.5:
        there[: int(rng.integers(0, 4))] = False
        there[len(there) - int(rng.integers(0, 4)) :] = False
        there[frames // 2 : frames // 2 + int(rng.integers(0, 3))] = False
    return there


def identity(kind: str, frame: int, body: int, rng: Rng) -> dict[str, Any]:
    """What a tracker may say of a person."""
    ids: dict[str, Any] = {
        "none": None,
        "steady": {"track_id": body},
        "changing": {"track_id": 100 * body + frame // 7},
        "repeating": {"track_id": 3},
        "missing": {"track_id": body} if rng.random() < 0.5 else None,
        "null": {"track_id": body if rng.random() < 0.5 else None},
        "negative": {"track_id": body if rng.random() < 0.5 else -1},
        "alphapose": {"idx": [[float(body)], [float(body)]] if rng.random() < 0.5 else [float(body)]},
        "text": {"person_id": f"p{body}"},
        "empty": {"idx": []},
    }
    return ids[kind] or {}


KINDS = ("none", "steady", "changing", "repeating", "missing", "null", "negative", "alphapose", "text", "empty")


def spoilt(joints: np.ndarray, rng: Rng) -> list[Any]:
    """The numbers of a detection, with what detectors write where they see nothing."""
    out: list[Any] = joints.astype(float).tolist()
    for joint in range(len(out)):
        chance = rng.random()
        if chance < 0.15:
            wrong = ([0, 0, 0], [0, 0, 0.9], [None] * 3, [float("nan"), 5.0, 0.9], [-900.0, 1e5, 0.9])
            out[joint] = wrong[int(rng.integers(len(wrong)))]
    if rng.random() < 0.1:
        out = [[x, y, HIDDEN] for x, y, _ in out]
    if rng.random() < 0.1:
        out = [[0, 0, 0.5]] * len(out)
    return [number for joint in out for number in joint]


def coco(folder: Path, rng: Rng, *, images: bool) -> tuple[Source, Counts]:
    held: Counts = {}
    for file in range(FILES):
        there, kind = presence(rng), KINDS[file % len(KINDS)]
        entries = []
        for frame, body in np.argwhere(there):
            joints = np.concatenate([rng.uniform(50, 600, (17, 2)), rng.uniform(0.3, 1, (17, 1))], axis=1)
            entry = {"image_id": int(frame), "keypoints": spoilt(joints, rng)}
            if rng.random() < 0.05:
                entry["keypoints"] = []
            entries.append({**entry, **identity(kind, int(frame), int(body), rng)})
        frames = len(there) if images else int(there.any(1).sum())
        held[f"{file:02}.json"] = Held(frames, len(entries))
        listed = [{"id": frame, "file_name": f"clip/{frame:05}.jpg"} for frame in range(len(there))]
        content = {"images": listed, "annotations": entries} if images else entries
        rng.shuffle(entries)
        (folder / f"{file:02}.json").write_text(json.dumps(content))
    return keypoints(folder, name="clips", layout=COCO17), held


def some_joints(rng: Rng, shape: tuple[int, ...], there: np.ndarray) -> tuple[np.ndarray, int]:
    """Joints (T, M, V, C) with absent bodies of zeros or NaN and single joints of either, and the count of poses."""
    joints = rng.normal(0, 0.4, (*there.shape, *shape)).astype(np.float32)
    joints[rng.random(joints.shape[:3]) < 0.1] = 0
    joints[rng.random(joints.shape[:3]) < 0.1] = np.nan
    joints[~there] = 0 if rng.random() < 0.5 else np.nan
    seen = sum(bool((np.isfinite(pose) & (pose != 0)).any()) for frame in joints for pose in frame)
    return joints, seen


def own(folder: Path, rng: Rng) -> tuple[Source, Counts]:
    held: Counts = {}
    for file in range(FILES):
        there = presence(rng)
        joints, poses = some_joints(rng, (20, 3), there)
        np.save(folder / f"{file:02}.npy", joints)
        held[f"{file:02}.npy"] = Held(len(there), poses)
    return arrays(folder, name="lab", layout=KINECT20), held


def pickled(folder: Path, rng: Rng, *, planar: bool, scored: bool) -> tuple[Source, Counts]:
    held: Counts = {}
    entries = []
    for number in range(FILES):
        there = presence(rng)
        joints, poses = some_joints(rng, (17, 2) if planar else (25, 3), there)
        entry = {"frame_dir": f"v{number:02}", "label": number % 3, "keypoint": joints.swapaxes(0, 1)}
        if scored:
            score = rng.uniform(0.3, 1, joints.shape[:3])
            score[rng.random(there.shape) < 0.1] = HIDDEN
            entry["keypoint_score"] = score.swapaxes(0, 1)
        entries.append(entry)
        held[f"v{number:02}"] = Held(len(there), poses)
    entries.append({"frame_dir": "without", "label": 0, "keypoint": np.zeros((0, 5, *joints.shape[2:]))})
    held["without"] = Held(5, 0)
    (folder / "a.pkl").write_bytes(pickle.dumps({"annotations": entries}))
    return Pyskl(folder / "a.pkl"), held


def ntu(folder: Path, rng: Rng) -> tuple[Source, Counts]:
    held: Counts = {}
    for file in range(FILES):
        there, kind = presence(rng), KINDS[1 + file % 3]
        lines = [str(len(there))]
        for frame, bodies in enumerate(there):
            lines.append(str(int(bodies.sum())))
            for body in np.flatnonzero(bodies):
                number = identity(kind, frame, int(body), rng)["track_id"]
                joints = rng.normal(0, (0.2, 0.5, 0.2), (25, 3)) * rng.choice([1, 0, np.nan], p=[0.8, 0.1, 0.1])
                lines += [f"{number} 0 1 1 1 1 0 0 0 2", "25", *(f"{x:.7g} {y:.7g} {z:.7g} 0" for x, y, z in joints)]
        name = f"S001C001P{file:03}R001A001.skeleton"
        (folder / name).write_text("\n".join(lines) + "\n")
        held[name] = Held(len(there), int(there.sum()))
    return NTU(folder), held


def pku_mmd(folder: Path, rng: Rng) -> tuple[Source, Counts]:
    held: Counts = {}
    for kind in ("Skeleton", "Label"):
        (folder / kind).mkdir()
    for file in range(FILES):
        there = np.pad(presence(rng), ((0, 0), (0, 2)))[:, :2]
        joints = rng.normal(0, (0.2, 0.5, 0.2), (*there.shape, 25, 3)) * there[..., None, None]
        rows = "\n".join(" ".join(f"{x:.6g}" for x in row) for row in joints.reshape(len(there), -1))
        (folder / "Skeleton" / f"{file:04}-L.txt").write_text(rows + "\n")
        (folder / "Label" / f"{file:04}-L.txt").write_text(f"1,1,{len(there)},1\n")
        held[f"Skeleton/{file:04}-L.txt 1-{len(there)}"] = Held(len(there), int(there.sum()))
    return PKUMMD(folder), held


def nw_ucla(folder: Path, rng: Rng) -> tuple[Source, Counts]:
    held: Counts = {}
    for file in range(5):
        frames = int(rng.integers(1, 30))
        joints = rng.normal(0, 0.4, (frames, 20, 3)).tolist()
        (folder / f"a01_s01_e{file:02}_v01.json").write_text(json.dumps({"skeletons": joints}))
        held[f"a01_s01_e{file:02}_v01.json"] = Held(frames, frames)
    return NWUCLA(folder), held


def sbu(folder: Path, rng: Rng) -> tuple[Source, Counts]:
    held: Counts = {}
    for file in range(1, 6):
        frames = int(rng.integers(1, 30))
        rows = np.concatenate([np.arange(frames)[:, None], rng.uniform(0, 1, (frames, 90))], axis=1)
        path = folder / "s01s02" / "01" / f"{file:03}" / "skeleton_pos.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(",".join(f"{number:.6g}" for number in row) for row in rows))
        held[path.relative_to(folder).as_posix()] = Held(frames, 2 * frames)
    return SBU(folder), held


SOURCES: dict[str, Callable[[Path, Rng], tuple[Source, Counts]]] = {
    "coco": lambda folder, rng: coco(folder, rng, images=False),
    "coco with images": lambda folder, rng: coco(folder, rng, images=True),
    "arrays": own,
    "pyskl": lambda folder, rng: pickled(folder, rng, planar=True, scored=True),
    "pyskl without scores": lambda folder, rng: pickled(folder, rng, planar=True, scored=False),
    "pyskl in space": lambda folder, rng: pickled(folder, rng, planar=False, scored=False),
    "ntu": ntu,
    "pku-mmd": pku_mmd,
    "nw-ucla": nw_ucla,
    "sbu": sbu,
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SOURCES)
def test_every_frame_and_person_is_stored_or_counted(tmp_path: Path, name: str, seed: int) -> None:
    (tmp_path / "in").mkdir()
    source, held = SOURCES[name](tmp_path / "in", np.random.default_rng(seed))
    manifest = pack(source, tmp_path / "out", dtype="float32")
    table = index.read(tmp_path / "out", manifest.index.file)
    stored = {}
    for row, joints in enumerate(recordings(tmp_path / "out", manifest, table, np.arange(len(table.origin)))):
        poses = sum(len(np.unique(body.reshape(len(body), -1), axis=0)) for body in joints.swapaxes(0, 1))
        stored[table.origin[row]] = Held(len(joints), poses)
    gone = dict(whole(manifest.dropped))
    assert sorted([*stored, *gone]) == sorted(held), "a file is stored or dropped, and not both"
    for file, there in held.items():
        losses = [loss for lossy, loss in partial(manifest.dropped) if lossy == file]
        if file in gone:
            assert gone[file] in ("no body in any frame", "no keypoints") and not losses
            continue
        lost = {what: sum(loss.lost for loss in losses if loss.what == what) for what in ("frames", "poses")}
        found = Held(stored[file].frames + lost["frames"], stored[file].poses + lost["poses"])
        assert found == there, f"{file}: {losses}"
        assert all(loss.of == getattr(there, loss.what) for loss in losses if loss.what != "joints")
    if name not in ("nw-ucla", "sbu"):
        assert len({loss.reason for _, loss in partial(manifest.dropped)}) >= 2  # the test is no empty one


def test_a_person_whose_track_changes_is_one_person(tmp_path: Path) -> None:
    """Ninety frames, a new number every thirty: ninety frames of one body, and nothing is lost."""
    rng = np.random.default_rng(0)
    places = rng.uniform(100, 300, (17, 2)) + rng.normal(0, 1, (90, 17, 2)).cumsum(0)
    entries = [
        {"image_id": t, "track_id": t // 30, "keypoints": np.insert(places[t], 2, 0.9, axis=1).ravel().tolist()}
        for t in range(90)
    ]
    (tmp_path / "a.json").write_text(json.dumps(entries))
    manifest = pack(keypoints(tmp_path, name="clips", layout=COCO17), tmp_path / "out", dtype="float32")
    assert (manifest.frames, manifest.dropped) == (90, ())
    table = index.read(tmp_path / "out", manifest.index.file)
    (joints,) = recordings(tmp_path / "out", manifest, table, np.arange(1))
    assert joints.shape == (90, 1, 17, 2)
    moved, expected = joints[:, 0] - joints[:1, 0], places - places[:1]
    torso = expected[-1, 0, 0] / moved[-1, 0, 0]
    np.testing.assert_allclose(moved * torso, expected, atol=1e-3)


def test_what_was_left_out_is_data_as_text() -> None:
    loss = Loss(reason="frames without anybody: at all", lost=3, of=90, what="frames")
    assert str(loss) == "frames without anybody: at all: 3 of 90 frames" and Loss.parse(str(loss)) == loss
    for text in ("no body in any frame", "broken: a.json: 3 of 4", "no frames from 9 to 8 in line 5"):
        assert Loss.parse(text) is None
    listed = [("a", "listed as missing"), ("b", str(loss))]
    assert whole(listed) == listed[:1] and partial(listed) == [("b", loss)]
