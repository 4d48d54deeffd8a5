"""The weights that come with the library: by name, of any skeleton, with a card that is theirs."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import bonestrap
from bonestrap.layouts import LAYOUTS
from bonestrap.model import ModelError
from bonestrap.options import UserError
from bonestrap.recordings.format import PUBLISHED
from bonestrap.serialization import save
from bonestrap.weights import NAMES, shipped
from evaluation import trained
from evaluation.models import load_model, located
from tests.bonestrap.test_model import model, recording

FREE = {"PDDL-1.0", PUBLISHED["synthetic"].licence}  # terms under which weights may be passed on


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_small_and_of_recordings_that_anybody_may_use(name: str) -> None:
    folder = shipped(name)
    assert folder is not None
    content = (folder / "model.safetensors").read_bytes()
    assert len(content) < 1_000_000
    card = (folder / "README.md").read_text()
    assert re.findall(r"SHA-256 `(\w+)`", card) == [hashlib.sha256(content).hexdigest()]
    assert "/tmp/" not in card + (folder / "model.json").read_text()
    corpora = bonestrap.load(name).description.lineage["corpora"]
    assert {corpus["licence"] for corpus in corpora} <= FREE


def test_what_it_was_trained_on_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpora = bonestrap.load("bonestrap-small").description.lineage["corpora"]
    name = Path("bonestrap-small")
    known, labelled = trained.read(name), trained.read(name, trained.LABELLED)
    assert known is not None and len(np.unique(known)) == sum(corpus["recordings"] for corpus in corpora)
    assert labelled is not None and len(labelled) == 0


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS.values() if layout.coordinates == 3])
def test_any_skeleton_in_space_is_embedded(layout: str) -> None:
    """Recordings differ more than one that is turned and moved differs from itself."""
    small = bonestrap.load("bonestrap-small")
    one, other = (recording(30, layout=LAYOUTS[layout], seed=seed) for seed in (0, 1))
    turned = one[..., [2, 1, 0]] * np.array([-1, 1, 1], np.float32) + np.array(
        [0.5, 0, 1], np.float32
    )  # by 90 degrees about y
    found = small.embed([one, turned, other], layout=layout)
    assert found.shape == (3, 64) and torch.isfinite(found).all()
    assert (found[0] - found[1]).norm() < 0.1 * (found[0] - found[2]).norm()


def test_a_folder_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "bonestrap-small", model())
    assert bonestrap.load("bonestrap-small").classes == model().classes
    with pytest.raises(ModelError, match=r"bonestrap-large.* does not exist"):
        bonestrap.load("bonestrap-large")


def test_workers_find_the_name_in_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's workers are not in the working directory of the command, which therefore makes paths absolute."""
    monkeypatch.chdir(tmp_path)
    name = Path("bonestrap-small")
    assert located(name) == name and load_model(name).description.lineage["run"] == "bonestrap-small"
    assert located(Path("runs") / name) == tmp_path / "runs" / name
    with pytest.raises(UserError, match=r"bonestrap-small/model\.json does not exist"):
        load_model(tmp_path / name)
    save(name, model())
    assert located(name) == tmp_path / name


def test_other_models_are_found_without_a_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two Ray nodes on one machine unpack the working directory of a job over each other's."""
    save(tmp_path / "model", model())
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert bonestrap.load(tmp_path / "model").classes == model().classes
