"""Configurations as JSON: the same after a round trip, and a mistake in a file is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import ClassVar

import pytest

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, OPERATIONS, Crop, Operation, Resample, Shear
from bonestrap.augment.operation import Draw, Random
from bonestrap.config import find_kind, find_object, from_json, kind_of, to_json
from bonestrap.encoders import ENCODERS, EncoderConfig, STGCNConfig
from bonestrap.methods import METHODS, BYOLConfig, DistillConfig, MethodConfig, SupervisedConfig
from bonestrap.optim import OPTIMIZERS, SGD, AdamW, OptimizerConfig
from bonestrap.recipe import Recipe

OWN = f"{__name__}:Wide"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wide(EncoderConfig):
    """An encoder of somebody else's."""

    kind: ClassVar[str] = "wide"  # in no dictionary of ours
    depth: int = 3
    kernels: tuple[int, int] = (3, 5)
    name: str = "plain"
    cache: Path = Path("/tmp")
    limit: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mirror(Operation):
    """An augmentation of somebody else's, without a kind."""

    probability: float = 0.5

    def sample(self, draw: Draw, random: Random) -> Draw:
        return draw


class Outer:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Inner(EncoderConfig):
        depth: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Narrow(STGCNConfig):
    """A subclass is another kind than its base."""


CONFIGS: list[tuple[type, object]] = [
    *((EncoderConfig, config) for config in (STGCNConfig(), STGCNConfig(width=0.5, dropout=0.1))),
    *((EncoderConfig, config) for config in (Wide(), Wide(depth=5, kernels=(1, 9), limit=2.5), Outer.Inner(depth=2))),
    (EncoderConfig, Narrow(width=0.25)),
    *((MethodConfig, config()) for config in METHODS.values()),
    (MethodConfig, BYOLConfig(statistics="target", multiview=False, view1=(Crop(), Mirror(probability=0.1)), view2=())),
    (MethodConfig, SupervisedConfig(statistics="kept", frozen=0.5, view=AGGRESSIVE)),
    (MethodConfig, DistillConfig(temperature=4.0, view=(Shear(limit=0.5),))),
    *((OptimizerConfig, config()) for config in OPTIMIZERS.values()),
    (OptimizerConfig, SGD(momentum=0.0, decay_all=False)),
    (OptimizerConfig, AdamW(betas=(0.8, 0.99), layer_decay=0.65)),
    *((Operation, config()) for config in OPERATIONS.values()),
    (Operation, Resample(rate=(0.5, 2.0))),
    (Operation, Mirror(probability=0.25)),
]


@pytest.mark.parametrize(("base", "config"), CONFIGS, ids=[kind_of(config) for _, config in CONFIGS])
def test_a_round_trip_gives_the_same(base: type, config: object) -> None:
    text = json.dumps(to_json(config))
    again: object = from_json(base, base.kinds(), json.loads(text))  # type: ignore[attr-defined]
    assert again == config and type(again) is type(config)
    assert json.dumps(to_json(again)) == text


def test_a_file_says_kind_and_settings() -> None:
    assert to_json(STGCNConfig(width=0.5)) == {"kind": "stgcn", "width": 0.5, "dropout": 0.0, "partitions": "distance"}
    assert to_json(Resample(rate=(0.5, 2.0))) == {"kind": "resample", "rate": [0.5, 2.0]}
    assert to_json(AdamW())["kind"] == "adamw"
    assert [view["kind"] for view in to_json(BYOLConfig())["view2"]] == [kind_of(each) for each in CONSERVATIVE]
    own = {"kind": OWN, "depth": 3, "kernels": [3, 5], "name": "plain", "cache": "/tmp", "limit": None}
    assert to_json(Wide()) == own
    assert set(to_json(Recipe(split="xsub"))) == {"split", "clip", "encoder", "method", "optimizer", "schedule"}


def test_a_class_of_ones_own_is_named_by_where_it_lies() -> None:
    assert kind_of(Wide()) == kind_of(Wide) == OWN, "the kind it gives itself is in no dictionary of ours"
    assert find_kind(EncoderConfig, ENCODERS, OWN) is Wide
    assert kind_of(Outer.Inner()) == f"{__name__}:Outer.Inner"
    assert kind_of(Narrow()) == f"{__name__}:Narrow" != kind_of(STGCNConfig())
    assert find_object("json:dumps") is json.dumps


def test_what_is_left_out_is_the_default() -> None:
    assert from_json(EncoderConfig, ENCODERS, {"kind": "stgcn"}) == STGCNConfig()
    assert from_json(MethodConfig, METHODS, {"kind": "byol", "hidden": 8}) == BYOLConfig(hidden=8)


WRONG: dict[str, tuple[type, dict[str, object], str]] = {
    "kind": (
        EncoderConfig,
        {"kind": "resnet"},
        "there is no resnet; choose stgcn, .*or give your own as package.module",
    ),
    "setting": (EncoderConfig, {"kind": "stgcn", "depth": 4}, "STGCNConfig has no setting depth"),
    "setting of one's own": (EncoderConfig, {"kind": OWN, "width": 1}, "Wide has no setting width"),
    "module": (EncoderConfig, {"kind": "nowhere.at_all:Net"}, "nowhere.at_all:Net cannot be imported .*PYTHONPATH"),
    "attribute": (EncoderConfig, {"kind": f"{__name__}:Missing"}, "Missing cannot be imported"),
    "relative module": (EncoderConfig, {"kind": ".x:Net"}, "cannot be imported"),
    "no module": (EncoderConfig, {"kind": ":Net"}, "cannot be imported"),
    "function": (EncoderConfig, {"kind": "json:dumps"}, "json:dumps is not a EncoderConfig"),
    "another family": (EncoderConfig, {"kind": "bonestrap.methods:BYOLConfig"}, "is not a EncoderConfig"),
    "number": (EncoderConfig, {"kind": "stgcn", "width": 0}, r"width must lie in \(0, 16\]"),
    "text": (EncoderConfig, {"kind": "stgcn", "width": "wide"}, "width must be a number"),
    "choice": (MethodConfig, {"kind": "byol", "statistics": "mine"}, "statistics: 'mine' is none of online, target"),
    "flag": (MethodConfig, {"kind": "byol", "norm": "yes"}, "norm: 'yes' must be true or false"),
    "own text": (EncoderConfig, {"kind": OWN, "name": 5}, "name: 5 must be a text"),
    "length of a tuple": (EncoderConfig, {"kind": OWN, "kernels": [1, 2, 3]}, "kernels: "),
    "nested kind": (MethodConfig, {"kind": "byol", "view1": [{"kind": "blur"}]}, "view1: there is no blur"),
    "nested setting": (
        MethodConfig,
        {"kind": "byol", "view1": [{"kind": "crop", "where": 1}]},
        "view1: Crop has no setting where",
    ),
    "nested number": (MethodConfig, {"kind": "distill", "view": [{"kind": "shear", "limit": -1}]}, "limit must lie in"),
    "no list": (MethodConfig, {"kind": "distill", "view": 5}, "view: "),
}


@pytest.mark.parametrize(("base", "values", "said"), WRONG.values(), ids=WRONG)
def test_a_mistake_in_a_file_is_named(base: type, values: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(base, base.kinds(), values)  # type: ignore[attr-defined]


def test_a_kind_is_asked_for() -> None:
    with pytest.raises(KeyError, match="kind"):
        from_json(EncoderConfig, ENCODERS, {"width": 1.0})
