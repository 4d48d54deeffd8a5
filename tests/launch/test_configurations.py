"""Encoders, methods, optimizers and augmentations on the command line: by kind, by name, and by their older names."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bonestrap.augment import AGGRESSIVE, CONSERVATIVE, ROTATED, Shear, Smooth, replaced
from bonestrap.encoders import STGCNConfig
from bonestrap.files import read_object
from bonestrap.methods import BYOLConfig, SupervisedConfig
from bonestrap.optim import SGD, AdamW
from bonestrap.options import UserError
from bonestrap.recipe import Recipe
from distributed.record import FILE
from launch import distill, finetune, pretrain
from launch.cli.parser import parse, parse_choice, renamed, start_choice
from launch.recipes import ALIASES, RECIPES
from launch.recipes.byol import nw_ucla
from tests.launch.commands import MAINS, command

OWN = """
import dataclasses
from bonestrap.encoders import EncoderConfig
from bonestrap.optim import SGD, Schedule
from bonestrap.options import option
from bonestrap.recipe import Recipe

@dataclasses.dataclass(frozen=True, kw_only=True)
class Wide(EncoderConfig):
    depth: int = option(3, "blocks")

NUMBER = 5

def recipe():
    '''Mine.'''
    return Recipe(split="all", encoder=Wide(depth=7), optimizer=SGD(learning_rate=0.5))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own on the path."""
    (tmp_path / "of_my_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "of_my_own", raising=False)
    return "of_my_own"


def recipe(*words: str, name: str = "nw-ucla") -> Recipe:
    given = renamed([name, "--data", "d", "--run", "r", *words], ALIASES)
    return parse_choice("recipe", RECIPES, pretrain.Options, given)[2]


def refused(*words: str, name: str = "nw-ucla") -> str:
    with pytest.raises(UserError) as caught:
        recipe(*words, name=name)
    return str(caught.value)


# ---------------------------------------------------------------------- kinds


def test_another_kind_begins_with_its_own_defaults() -> None:
    assert nw_ucla().optimizer == SGD(learning_rate=0.03)
    assert recipe("--optimizer", "adamw").optimizer == AdamW()
    words = ("--optimizer.betas", "0.8", "0.9", "--optimizer=adamw", "--optimizer.layer-decay", "0.7")
    assert recipe(*words).optimizer == AdamW(betas=(0.8, 0.9), layer_decay=0.7)  # whatever the order of the words
    assert recipe("--optimizer", "sgd").optimizer == SGD(learning_rate=0.03)  # the recipe's own, as it is
    assert recipe("--method", "supervised").method == SupervisedConfig()
    assert recipe("--encoder", "stgcn", "--encoder.width", "2").encoder == STGCNConfig(width=2.0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--optimizer", "adam"), "--optimizer: there is no adam; choose sgd, adamw, or give your own as package."),
        (("--optimizer.betas", "0.8", "0.9"), "unknown option --optimizer.betas"),
        (("--optimizer", "adamw", "--optimizer.momentum", "0.5"), "unknown option --optimizer.momentum"),
        (("--encoder", "nowhere.at:All"), "--encoder: nowhere.at:All cannot be imported (No module named 'nowhere')"),
        (("--encoder", "of_my_own:NUMBER"), "--encoder: of_my_own:NUMBER is not a EncoderConfig"),
        (("--encoder", "of_my_own:Wide", "--encoder.width", "1"), "unknown option --encoder.width"),
        (("--encoder", "of_my_own:Wide", "--encoder.dept", "1"), "did you mean --encoder.depth?"),
        (("--optimizer",), "--optimizer: expected one argument"),
    ],
)
@pytest.mark.usefixtures("own")
def test_mistakes_in_kinds_are_sentences(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*words)


def test_an_encoder_of_ones_own(own: str) -> None:
    found: Any = recipe("--encoder", f"{own}:Wide", "--encoder.depth", "4").encoder
    assert (type(found).__module__, type(found).__name__, found.depth) == (own, "Wide", 4)


def test_a_recipe_of_ones_own(own: str) -> None:
    found: Any = recipe("--optimizer.momentum", "0.5", name=f"{own}:recipe")
    assert (found.split, found.encoder.depth, found.optimizer) == ("all", 7, SGD(learning_rate=0.5, momentum=0.5))
    assert "cannot be imported" in refused(name=f"{own}:recipes")
    assert "did you mean nw-ucla?" in refused(name="nw_ucla")


def test_the_help_names_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        recipe("--optimizer", "adamw", "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "sgd, adamw, or your own as package.module:Name (default: adamw)" in shown and "--optimizer.betas" in shown
    assert "--optimizer.momentum" not in shown and "--method.view1.shear.limit" in shown


# ---------------------------------------------------------------------- operations of a view


def test_the_operations_of_a_view_have_options() -> None:
    method = recipe("--method.view1.shear.limit", "0", "--method.view2.smooth.probability", "1").method
    assert isinstance(method, BYOLConfig)
    assert method.view1 == replaced(AGGRESSIVE, Shear(limit=0.0))
    assert method.view2 == replaced(CONSERVATIVE, Smooth(probability=1.0))
    assert "--method.view1.resample.rate must be an ascending range" in refused(
        "--method.view1.resample.rate", "1.3", "0.7"
    )
    assert "did you mean --method.view1.shear.limit?" in refused("--method.view1.sheer.limit", "0")
    assert "--method.view1.shear.limit" in refused("--method.view1.shear.limit", "-1")


# ---------------------------------------------------------------------- names of the version before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--protocol cross-subject", "--split cross-subject"),
        ("--protocol=cross-subject", "--split=cross-subject"),
        ("--schedule.learning-rate 0.5", "--optimizer.learning-rate 0.5"),
        ("--schedule.weight-decay=0.5", "--optimizer.weight-decay 0.5"),
        ("--schedule.predictor-rate 3", "--method.predictor-rate 3"),
        ("--no-multiview", "--no-method.multiview"),
        ("--multiview", "--method.multiview"),
        ("--view1.shear 0", "--method.view1.shear.limit 0"),
        ("--view2.drop=0.25", "--method.view2.drop.probability 0.25"),
        ("--view1.resample 1 1", "--method.view1.resample.rate 1 1"),
        ("--no-view1.crop", "--no-method.view1.crop.anywhere"),
        ("--no-view1.shift", "--method.view1.shift.limit 0"),
        ("--view2.shift", "--method.view2.shift.limit 1"),
        ("--view2.smooth 0.5", "--method.view2.smooth.probability 0.5"),
    ],
)
def test_an_old_name_still_counts(old: str, new: str) -> None:
    assert recipe(*old.split()) == recipe(*new.split())
    if old != "--multiview":  # which is the default
        assert recipe(*old.split()) != nw_ucla()


def test_every_old_name_means_an_option_that_there_is() -> None:
    for old, (flag, *value) in ALIASES.items():
        count = 2 if flag.endswith(".rate") else 0 if value or "multiview" in flag or "anywhere" in flag else 1
        words = ["cross-subject"] if flag == "--split" else ["1"] * count
        assert recipe(old, *words) == recipe(flag, *value, *words), old


def test_old_names_are_not_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        recipe("--help")
    shown = capsys.readouterr().out
    assert not [old for old in ALIASES if f"{old} " in shown]


@pytest.mark.parametrize("command", ["finetune --model m", "distill --teacher t"])
def test_the_other_commands_know_the_old_split_too(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They get as far as the model, which is not there."""
    name, *words = command.split()
    with pytest.raises(SystemExit, match="2"):
        MAINS[name]([*words, "--data", "nowhere", "--run", "r", "--protocol", "all"])
    assert "unknown option" not in capsys.readouterr().err


# ---------------------------------------------------------------------- changes to an encoder that is known later


def finetuning(*words: str) -> finetune.Options:
    return parse(finetune.Options, ["--model", "m", "--data", "d", "--run", "r", "--scratch", *words])


def distilling(*words: str) -> distill.Options:
    return parse(distill.Options, ["--teacher", "t", "--data", "d", "--run", "r", *words])


KNOWN = STGCNConfig(width=0.5, dropout=0.25)


@pytest.mark.parametrize("parsed", [finetuning, distilling])
def test_a_change_is_made_to_the_models_encoder(parsed: Any) -> None:
    assert parsed().encoder.applied(KNOWN) == KNOWN and not parsed().encoder
    assert parsed("--encoder.width", "0.25").encoder.applied(KNOWN) == dataclasses.replace(KNOWN, width=0.25)
    assert parsed("--encoder.width=0.25", "--batch", "8").encoder.plain() == {"width": 0.25}
    assert parsed("--encoder.width=0.25", "--batch", "8").batch == 8
    assert parsed("--encoder", "stgcn").encoder.applied(KNOWN) == KNOWN


def test_a_change_to_another_kind(own: str) -> None:
    changes = distilling("--encoder", f"{own}:Wide", "--encoder.depth", "2").encoder
    found: Any = changes.applied(KNOWN)
    assert type(found).__name__ == "Wide" and found.depth == 2
    assert changes.plain() == {"kind": f"{own}:Wide", "depth": 2}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--encoder.widht 0.25", "unknown option --encoder.widht; did you mean --encoder.width?"),
        ("--encoder.width 0", "--encoder.width"),
        ("--encoder.width many", "--encoder.width: expected a number, got 'many'"),
        ("--encoder transformer", "--encoder: there is no transformer; choose stgcn"),
    ],
)
@pytest.mark.parametrize("name", ["finetune", "distill"])
def test_a_mistake_in_a_change_is_said_before_anything_is_made(
    name: str, words: str, sentence: str, chain: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--model", str(chain / "pretrained"), "--scratch"] if name == "finetune" else ["--teacher"]
    source += [str(chain / "teacher")] if name == "distill" else []
    with pytest.raises(SystemExit, match="2"):
        MAINS[name]([*source, "--data", str(shards), "--run", str(tmp_path / "run"), "--no-track", *words.split()])
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_pretrained_encoder_is_of_no_other_kind() -> None:
    with pytest.raises(UserError, match="--encoder can be of another kind with --scratch alone"):
        parse(finetune.Options, ["--model", "m", "--data", "d", "--run", "r", "--encoder", "stgcn"])


def test_start_choice_hands_the_renamed_words_on() -> None:
    seen: list[Any] = []
    words = ["nw-ucla", "--data", "d", "--run", "r", "--protocol=x"]
    start_choice(lambda *got: seen.extend(got), "recipe", RECIPES, pretrain.Options, words, aliases=ALIASES)
    assert seen[2].split == "x"


def test_labelled_recordings_undergo_the_views_that_are_named(chain: Path, shards: Path, tmp_path: Path) -> None:
    common = f"--model {chain / 'pretrained'} --data {shards} --no-track --device cpu --batch 4 --steps 1 --labels 0.5"
    kinds = {}
    for views in ("conservative", "rotated"):
        command(f"finetune {common} --scratch --views {views} --run {tmp_path / views}")
        kinds[views] = [each["kind"] for each in read_object(tmp_path / views / FILE)["result"]["method"]["view"]]
    assert kinds["rotated"] == ["frames", "rotate", "scale"]
    assert kinds["conservative"] == ["resample", "shift", "crop", "smooth", "drop", "shear"]
    losses = [json.loads((tmp_path / views / "journal.jsonl").read_text().splitlines()[-2])["loss"] for views in kinds]
    assert losses[0] != losses[1]


def test_distillation_takes_the_views_that_are_named_and_no_others() -> None:
    words = ["--teacher", "t", "--data", "d", "--run", "r"]
    assert parse(distill.Options, [*words, "--views", "rotated"]).loss.view == ROTATED
    smoothed = [*words, "--method.view.smooth.probability", "1"]
    assert [each for each in parse(distill.Options, smoothed).loss.view if isinstance(each, Smooth)] == [
        Smooth(probability=1.0)
    ]
    with pytest.raises(UserError, match="views rotated has its own operations"):
        parse(distill.Options, [*smoothed, "--views", "rotated"])


def test_the_recipe_demo_is_vicreg_as_its_commands_spell_it() -> None:
    words = "--clip.own-pose --schedule.group 32 --schedule.epochs 200 --optimizer sgd --optimizer.learning-rate 0.05"
    spelt = recipe(*words.split(), name="vicreg")
    assert recipe(name="demo") == spelt != recipe(name="vicreg")
    assert isinstance(recipe(name="byol-small").method, BYOLConfig)
