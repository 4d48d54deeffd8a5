"""UI-PRMD and Bandai Namco's motions as arrays: their tables and layouts open, and their joints are where bodies have
them. Read from `BONESTRAP_DATA`, a few recordings of each."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.layouts import KINECT20
from bonestrap.layouts.landmarks import KNOWN
from bonestrap.retarget import correspondence
from shards.packing.pack import pack
from shards.reader import Resident
from shards.sources.formats import Own
from shards.sources.source import Source
from tests.launch.waving import Waving

COUNTS = {"ui_prmd": (1980, 10, 10), "bandai": (3076, 24, 0)}  # recordings, classes, subjects
# Metres, of any adult: between joints of Kinect v1.
LENGTHS = {
    ("left_hip", "left_knee"): (0.3, 0.55),
    ("left_knee", "left_ankle"): (0.3, 0.55),
    ("right_shoulder", "right_elbow"): (0.2, 0.4),
    ("right_elbow", "right_wrist"): (0.17, 0.4),
    ("hip_center", "shoulder_center"): (0.35, 0.65),
    ("left_shoulder", "right_shoulder"): (0.15, 0.5),
    ("left_hip", "right_hip"): (0.08, 0.35),
    ("left_ankle", "left_foot"): (0.05, 0.25),
}


def opened(root: Path, name: str) -> Source:
    folder = root / "corpus" / name
    if not folder.is_dir():
        pytest.skip(f"no recordings in {folder}")
    layout, table = str(folder / "layout.json"), folder / "table.csv"
    return Own(layout=layout, table=table, name=name, rate=30.0, licence="their own").open(folder)


@pytest.mark.parametrize("name", list(COUNTS))
def test_tables_and_layouts_open(recordings_root: Path, name: str) -> None:
    source = opened(recordings_root, name)
    first = source[0]
    assert (len(source), len(source.classes)) == COUNTS[name][:2]
    layout = source.layout
    assert {joint for joints in KNOWN[layout.name].values() for joint in joints} <= set(layout.joints)
    assert (first.subject is None) == (COUNTS[name][2] == 0) and first.label is not None
    assert first.views[0].joints.shape[1:] == (1, len(layout.joints), 3)


@pytest.mark.parametrize("name", list(COUNTS))
def test_bodies_in_another_skeleton_are_bodies(recordings_root: Path, tmp_path: Path, name: str) -> None:
    source = opened(recordings_root, name)
    weights = correspondence(KINECT20, source.layout).numpy()
    place = KINECT20.joints.index
    for number in range(0, len(source), len(source) // 7):
        body = np.einsum("kv,tvc->tkc", weights, source[number].views[0].joints[:, 0])
        for (a, b), (low, high) in LENGTHS.items():
            assert low < np.median(np.linalg.norm(body[:, place(a)] - body[:, place(b)], axis=-1)) < high, (a, b)
        right = body[:, place("right_shoulder")] - body[:, place("left_shoulder")]
        hips = body[:, place("right_hip")] - body[:, place("left_hip")]
        assert np.median((right * hips).sum(-1)) > 0  # left is left above and below


def test_rate_and_licence_are_packed_and_leave_other_manifests_as_they_are(tmp_path: Path) -> None:
    told, untold = Waving(), Waving()
    told.rate, told.licence = 30.0, "their own"
    pack(told, tmp_path / "told")
    pack(untold, tmp_path / "untold")
    found, plain = (Resident.load(tmp_path / name) for name in ("told", "untold"))
    assert (found.manifest.rate, found.manifest.licence) == (30.0, "their own")
    assert (plain.manifest.rate, plain.manifest.licence) == (None, "")
    content = json.loads((tmp_path / "untold" / "manifest.json").read_text())
    digest, _ = content.pop("digest"), content.pop("created_by")
    assert set(content).isdisjoint({"rate", "licence"}) and torch.equal(found.frames, plain.frames)
    assert digest == hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
