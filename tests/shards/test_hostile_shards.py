"""Shards that somebody forged and hashed rightly: every reader refuses them in a sentence, or what they say holds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shards import columns, index
from shards.errors import DataError
from shards.manifest import Manifest
from shards.packing.pack import pack
from shards.packing.survey import survey
from shards.packing.verification import verify_folder
from shards.reader import Resident
from tests.mutations import changed, damaged

TRIES = 60
EXTREMES = [-(2**63), -(2**31), -2, -1, 0, 1, 5, 127, 2**15 - 1, 2**31 - 1, 2**63 - 1]


def hashed(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def seal(folder: Path, fields: dict[str, Any]) -> None:
    """Write a manifest whose digest is right: whoever forges one can hash as well."""
    content = {name: value for name, value in fields.items() if name not in ("created_by", "digest")}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({**fields, "digest": digest}))


def forge_manifest(folder: Path, dice: random.Random) -> None:
    fields = json.loads((folder / "manifest.json").read_text())
    seal(folder, changed(fields, dice))


def forge_index(folder: Path, dice: random.Random) -> None:
    arrays = {name: np.array(column) for name, column in columns.read(folder / "index.npz").items()}
    name = dice.choice(list(arrays))
    column = arrays[name]
    kind = dice.randrange(6)
    if kind == 0:
        arrays[name] = column[: dice.randrange(len(column))]
    elif kind == 1:
        arrays[name] = column.astype(dice.choice([np.uint64, np.int64, np.uint8, np.int8, bool]))
    elif kind == 2:
        del arrays[name]
    else:
        limits = np.iinfo(column.dtype)
        places: list[Any] = [slice(None), dice.randrange(len(column)), -1, 0]
        column[dice.choice(places)] = min(max(dice.choice(EXTREMES), limits.min), limits.max)
    columns.write(folder / "index.npz", arrays)
    fields = json.loads((folder / "manifest.json").read_text())
    seal(folder, {**fields, "index": hashed(folder / "index.npz")})


def forge_shard(folder: Path, dice: random.Random) -> None:
    path = dice.choice(sorted(folder.glob("*.tar")))
    path.write_bytes(damaged(path.read_bytes(), dice))
    fields = json.loads((folder / "manifest.json").read_text())
    shards = [{**shard, **hashed(path)} if shard["file"] == path.name else shard for shard in fields["shards"]]
    seal(folder, {**fields, "shards": shards})


def damage_index(folder: Path, dice: random.Random) -> None:
    (folder / "index.npz").write_bytes(damaged((folder / "index.npz").read_bytes(), dice))
    fields = json.loads((folder / "manifest.json").read_text())
    seal(folder, {**fields, "index": hashed(folder / "index.npz")})


def damage_manifest(folder: Path, dice: random.Random) -> None:
    (folder / "manifest.json").write_bytes(damaged((folder / "manifest.json").read_bytes(), dice))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("forge", [forge_manifest, forge_index, forge_shard, damage_index, damage_manifest])
def test_forged_shards(forge: Callable[[Path, random.Random], None], folder: Path, tmp_path: Path, people: Any) -> None:
    """DataError and nothing else. What verifies can be read, and its labels are labels."""
    dice = random.Random(forge.__name__)
    for number in range(TRIES):
        forged = tmp_path / str(number)
        shutil.copytree(folder, forged)
        forge(forged, dice)
        try:
            whole = not verify_folder(forged).faults
            for read in (Resident.load, survey, lambda folder: pack(people(), folder, append=True)):
                try:
                    found = read(forged)
                    if isinstance(found, Resident):
                        assert ((found.views.label >= -1) & (found.views.label < len(found.manifest.classes))).all()
                        assert np.isfinite(found.frames.numpy()).all()
                except DataError as error:
                    assert "\n" not in str(error) and len(str(error)) < 1000
                    assert not whole or read not in (Resident.load, survey), error
        except BaseException as error:
            error.add_note(f"{forge.__name__}, try {number}: {(forged / 'manifest.json').read_bytes()[:3000]!r}")
            raise


def test_whole_shards_verify_after_sealing(folder: Path) -> None:
    """The forger's hash is the manifest's own, so the tests above get beyond it."""
    seal(folder, json.loads((folder / "manifest.json").read_text()))
    assert Manifest.read(folder) and verify_folder(folder).faults == ()


def test_labels_out_of_range_do_not_verify(folder: Path) -> None:
    entries = [dataclasses.replace(entry, label=7) for entry in index.read(folder)]
    index.write(folder, entries)
    fields = json.loads((folder / "manifest.json").read_text())
    seal(folder, {**fields, "index": hashed(folder / "index.npz")})
    assert "label 7 of p00 is out of range for the 3 classes" in verify_folder(folder).faults[0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": [str(n) for n in range(20_000)]}, "20000 classes; 10000 are the most"),
        ({"classes": ["bow", 1, "kick"]}, "a class"),
        ({"dtype": "float64"}, "joints of type 'float64'"),
        ({"frames": float("nan")}, "a count is no whole number"),
        ({"performances": True}, "a count is no whole number"),
        ({"views": 10**30}, "a count is no whole number"),
        ({"dropped": [["a", None]]}, "a dropped file"),
        ({"coordinates": 2}, "not those of its layout"),
    ],
)
def test_a_manifest_that_cannot_be(folder: Path, fields: dict[str, Any], said: str) -> None:
    seal(folder, {**json.loads((folder / "manifest.json").read_text()), **fields})
    with pytest.raises(DataError) as refused:
        Manifest.read(folder)
    assert said in str(refused.value)
