"""Forged folders of shards, rightly hashed: the library's reader refuses them in a sentence, or what they say holds."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bonestrap.options import UserError
from bonestrap.recordings.packed import PackedFolder
from tests.bonestrap.recordings.shards_by_hand import packed
from tests.shards import test_hostile_shards as forging

TRIES = 40
FORGERS = (
    forging.forge_manifest, forging.forge_index, forging.forge_shard, forging.damage_index, forging.damage_manifest,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(tmp_path_factory.mktemp("hostile") / "shards")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("forge", FORGERS, ids=lambda forge: forge.__name__)
def test_forged_shards(forge: Callable[[Path, random.Random], None], folder: Path, tmp_path: Path) -> None:
    dice, refused = random.Random(forge.__name__), 0
    for number in range(TRIES):
        forged = tmp_path / "shards"
        shutil.copytree(folder, forged)
        forge(forged, dice)
        try:
            found = PackedFolder.read(forged)
            assert ((found.label >= -1) & (found.label < len(found.classes))).all()
            assert all(isinstance(title, str) for title in found.classes)
            sizes = [batch.size for batch in found.batches(5) if torch.isfinite(batch.frames).all()]
            assert sum(sizes) == len(found)
        except UserError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 1000
        except BaseException as error:
            error.add_note(f"{forge.__name__}, try {number}")
            raise
        shutil.rmtree(forged)
    assert refused > 0
