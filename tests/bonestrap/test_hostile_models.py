"""Model directories that anybody may have written: `load` gives a model that answers, or one sentence."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bonestrap import files
from bonestrap.augment import ClipConfig
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import SBU15
from bonestrap.model import Description, Model, ModelError
from bonestrap.serialization import load, save
from tests.mutations import NESTED, changed_json, damaged

TRIES = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models") / "model"
    description = Description(
        stage="teacher", encoder=STGCNConfig(width=1 / 16), layout=SBU15, clip=ClipConfig(frames=8),
        classes=("a", "b"), lineage={"data": "sbu"},
    )  # fmt: skip
    encoder = description.build_encoder()
    save(folder, Model(description, encoder, nn.Linear(encoder.features, 2)))
    yield folder


def loaded(folder: Path) -> str:
    """The sentence that loading ends in; "" where it gives a model that answers."""
    try:
        model = load(folder)
    except ModelError as error:
        said = str(error)
        assert str(folder) in said and "\n" not in said and len(said) < 1000
        return said
    with torch.no_grad():
        assert torch.isfinite(model.predict(torch.randn(9, 1, 15, 3))).all()
    return ""


@pytest.mark.parametrize("damage", [damaged, changed_json])
def test_damaged_descriptions(whole: Path, tmp_path: Path, damage: object) -> None:
    dice = random.Random(1)
    assert loaded(whole) == ""
    for number in range(TRIES):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        content = damage((whole / "model.json").read_bytes(), dice)  # type: ignore[operator]
        (folder / "model.json").write_bytes(content)
        try:
            loaded(folder)
        except BaseException as error:
            error.add_note(repr(content[:2000]))
            raise


def test_damaged_weights(whole: Path, tmp_path: Path) -> None:
    dice = random.Random(2)
    for number in range(TRIES):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        content = damaged((whole / "model.safetensors").read_bytes(), dice)
        (folder / "model.safetensors").write_bytes(content)
        try:
            load(folder)
        except ModelError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(whole: Path, tmp_path: Path, value: float) -> None:
    shutil.copytree(whole, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    weights = load_file(file)
    weights["head.bias"][1] = value
    save_file(weights, file)
    assert "head.bias holds NaN or infinite weights" in loaded(tmp_path / "model")


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_what_is_no_file(whole: Path, tmp_path: Path, name: str) -> None:
    for number, make in enumerate((os.mkfifo, os.mkdir, lambda path: os.symlink(path.name, path))):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / name).unlink()
        make(folder / name)
        assert name in loaded(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lineage": None}, "its lineage is None"),
        ({"encoder": {"kind": "stgcn", "width": float("nan")}}, "width must lie in (0, 16], got nan"),
        ({"encoder": {"kind": "stgcn", "width": 1e9}}, "width must lie in (0, 16]"),
        ({"clip": {"frames": 10**9}}, "frames must lie in [2, 10000], got 1000000000"),
        ({"classes": ["a", 5]}, "are texts"),
        ({"stage": {"a": 1}}, "are texts"),
        ({"encoder": "resnet"}, "damaged"),
        ({"encoder": {"kind": "resnet"}}, "there is no resnet; choose stgcn"),
        ({"encoder": {"kind": ["stgcn"]}}, "damaged"),
        ({"encoder": {"kind": "json:JSONDecoder"}}, "json:JSONDecoder is not a EncoderConfig"),
        ({"encoder": {"kind": "nowhere.at_all:Net"}}, "nowhere.at_all:Net cannot be imported"),
        ({"encoder": {"kind": ".x:Net"}}, ".x:Net cannot be imported"),
        ({"encoder": {"kind": "stgcn", "depth": 4}}, "STGCNConfig has no setting depth"),
        ({"encoder": {}}, "damaged"),
        ({"head": "octopus"}, "there is no head 'octopus'"),
    ],
)
def test_a_description_that_cannot_be(whole: Path, tmp_path: Path, fields: dict[str, object], said: str) -> None:
    shutil.copytree(whole, tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    assert said in loaded(tmp_path / "model")


def test_json_is_parsed_to_a_depth() -> None:
    """As deep as it says and no deeper, in lists, objects and both; what is wide is not deep."""
    deepest = "[" * files.DEPTH + "]" * files.DEPTH
    assert files.parse_json(deepest) == json.loads(deepest)
    assert files.parse_json(b"[[1, 2], {}]" * 1) == [[1, 2], {}]
    wide = json.dumps([[[0.5, 1]] * 1000] * 10)
    assert files.parse_json(wide) == json.loads(wide)
    for deep in (f"[{deepest}]", '{"a":' * 65 + "1" + "}" * 65, '[{"a":' * 33 + "1" + "}]" * 33, NESTED, "[" * 10**6):
        with pytest.raises(ValueError):
            files.parse_json(deep)
