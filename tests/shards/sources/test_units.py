"""Units and confidences that were not named: what cannot be is refused with the option that is meant."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bonestrap.layouts import COCO17, NTU25
from shards.errors import DataError
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.arrays import arrays
from shards.sources.pyskl import Pyskl
from shards.sources.units import UNITS, Unit, body_size

PER_METRE: dict[Unit, float] = {"metre": 1.0, "centimetre": 100.0, "millimetre": 1000.0, "inch": 39.3700787}


def person(frames: int = 12) -> np.ndarray:
    """(T, 1, 25, 3): somebody about 1.7 metres tall, three metres in front of a camera."""
    rng = np.random.default_rng(0)
    pose = rng.uniform((-0.25, -0.8, 2.9), (0.25, 0.8, 3.1), (25, 3))
    return (pose + rng.normal(0, 0.02, (frames, 1, 25, 3))).astype(np.float32)


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_gives_the_same_metres(tmp_path: Path, unit: Unit) -> None:
    found = []
    for name, scale, said in (("a", 1.0, "metre"), ("b", PER_METRE[unit], unit)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", person() * scale)
        pack(arrays(tmp_path / name, name="lab", layout=NTU25, unit=said), tmp_path / f"{name}.shards", dtype="float32")  # type: ignore[arg-type]
        found.append(Resident.load(tmp_path / f"{name}.shards").frames.numpy())
    np.testing.assert_allclose(found[0], found[1], atol=2e-5)


@pytest.mark.parametrize(
    ("written", "said", "remedy"),
    [
        ("millimetre", "metre", "give --unit millimetre"),
        ("millimetre", "inch", "give --unit millimetre"),
        ("centimetre", "metre", "give --unit centimetre"),
        ("inch", "metre", "give --unit centimetre or --unit inch"),
        ("metre", "millimetre", "give --unit metre"),
    ],
)
def test_a_unit_in_which_nobody_has_that_size_is_refused(
    tmp_path: Path, written: Unit, said: Unit, remedy: str
) -> None:
    joints = person() * PER_METRE[written]
    np.save(tmp_path / "a.npy", joints)
    content = [{"frame_dir": "v", "label": 0, "keypoint": joints.swapaxes(0, 1)}]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    for source in (arrays(tmp_path, name="lab", layout=NTU25, unit=said), Pyskl(tmp_path / "a.pkl", unit=said)):
        with pytest.raises(DataError, match=rf"bodies measure .* if the unit is the {said}; {remedy}"):
            pack(source, tmp_path / "out")


def test_hands_and_groups_of_joints_lost_have_a_size() -> None:
    assert body_size(np.full((2, 1, 25, 3), np.nan)) != body_size(person())
    joints = person()
    joints[3:6, 0, 4] = 500  # glitches in a quarter of the frames
    assert 1.2 < body_size(joints) < 2.2


def scored(frames: int = 8) -> np.ndarray:
    """(T, 1, 17, 3): pixels and a score."""
    rng = np.random.default_rng(1)
    places = rng.uniform(100, 500, (17, 2)) + rng.normal(0, 2, (frames, 1, 17, 2))
    return np.concatenate([places, rng.uniform(0, 1, (frames, 1, 17, 1))], axis=-1).astype(np.float32)


def test_a_score_is_no_depth_in_a_pickle(tmp_path: Path) -> None:
    content = [{"frame_dir": "v", "label": 0, "keypoint": scored().swapaxes(0, 1)}]
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"a\.pkl: v: the third number .* give --confidence hide \(or keep\)"):
        list(Pyskl(path, layout=COCO17))
    expected = [{"frame_dir": "v", "label": 0, **halves(scored())}]
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(expected))
    for confidence in ("hide", "keep"):
        for name in "ab":
            pack(Pyskl(tmp_path / f"{name}.pkl", confidence=confidence), tmp_path / f"{name}-{confidence}")
        a, b = (Resident.load(tmp_path / f"{name}-{confidence}") for name in "ab")
        assert a.layout == b.layout and a.layout.coordinates == 2
        np.testing.assert_array_equal(a.frames, b.frames)


def halves(joints: np.ndarray) -> dict[str, Any]:
    joints = joints.swapaxes(0, 1)
    return {"keypoint": joints[..., :2], "keypoint_score": joints[..., 2]}


def test_a_score_is_no_depth_in_an_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", scored()[:, 0])
    with pytest.raises(DataError, match=r"a\.npy: .* where the last number is a confidence, give --confidence hide"):
        list(arrays(tmp_path, name="lab", layout=COCO17))
    spatial = Path(tmp_path / "in")
    spatial.mkdir()
    np.save(spatial / "a.npy", np.concatenate([scored(), scored()[:, :, :8]], axis=2))  # 25 joints
    message = r"a\.npy: the third number .* give --confidence hide \(or keep\) and --coordinates 2"
    with pytest.raises(DataError, match=message):
        list(arrays(spatial, name="lab", layout=NTU25))
