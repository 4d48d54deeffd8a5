"""What command lines of masked prediction and its tuning mean, and what they are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bonestrap.encoders import SkeletonTransformerConfig, STGCNConfig
from bonestrap.methods import MAMPConfig, STARSConfig
from bonestrap.optim import SGD, AdamW
from bonestrap.options import UserError
from bonestrap.recipe import Recipe
from experiments.stars_tables import STARS_TABLES
from launch import finetune, pretrain
from launch.cli.parser import parse, parse_choice
from launch.recipes import RECIPES
from launch.training.options import changed_optimizer

WHERE = ["--data", "d", "--run", "r"]


def recipe(name: str, *words: str) -> Recipe:
    return parse_choice("recipe", RECIPES, pretrain.Options, [name, *WHERE, *words])[2]


def test_a_method_brings_along_what_it_goes_with() -> None:
    own = recipe("own", "--method", "mamp", "--encoder.width", "0.125")
    assert own.encoder == SkeletonTransformerConfig(width=0.125)
    assert recipe("byol-own", "--method", "mamp").optimizer == AdamW() != own.optimizer == RECIPES["own"]().optimizer
    assert own.method == MAMPConfig() and own.clip.frames == 32 and own.schedule == RECIPES["own"]().schedule
    # What the command line names itself counts, and what a recipe has already stays as it is.
    mine = recipe("own", "--method", "stars", "--encoder", "stgcn", "--optimizer", "sgd")
    assert isinstance(mine.encoder, STGCNConfig) and isinstance(mine.optimizer, SGD)
    assert recipe("mamp-small", "--method", "latent").encoder == RECIPES["mamp-small"]().encoder
    assert recipe("mamp-small", "--method", "latent").optimizer == RECIPES["mamp-small"]().optimizer


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--method.mask-ratio", "1"), r"--method\.mask-ratio must lie in \(0, 1\), got 1"),
        (("--method.mask-ratio", "0"), r"--method\.mask-ratio must lie in \(0, 1\), got 0"),
        (("--encoder.drop-path", "1"), r"--encoder\.drop-path must lie in \[0, 1\), got 1"),
    ],
)
def test_mistakes_are_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        recipe("mamp", *words)


def test_the_second_stage_needs_the_first(tmp_path: Path) -> None:
    options = parse(pretrain.Options, ["--data", str(tmp_path), "--run", str(tmp_path / "run")])
    with pytest.raises(UserError, match="STARS tunes a trained encoder: name its run with --init-from"):
        pretrain.main("stars", options, recipe("stars"))
    assert list(tmp_path.iterdir()) == []


def test_fine_tuning_takes_another_optimizer_with_its_own_defaults() -> None:
    words = ["--model", "m", *WHERE, "--optimizer", "adamw", "--optimizer.layer-decay", "0.8"]
    options = parse(finetune.Options, words)
    usual = SGD(learning_rate=0.1, weight_decay=0.0)
    assert changed_optimizer(options.optimizer, usual, None, None) == AdamW(layer_decay=0.8)
    assert changed_optimizer(options.optimizer, usual, 3e-4, 0.1) == AdamW(
        layer_decay=0.8, learning_rate=3e-4, weight_decay=0.1
    )
    plain = parse(finetune.Options, ["--model", "m", *WHERE])
    assert changed_optimizer(plain.optimizer, usual, None, None) == usual


def test_recipes_of_both_stages_have_the_same_encoder_and_clips() -> None:
    for first, second in (("mamp", "stars"), ("mamp-small", "stars-small")):
        one, two = RECIPES[first](), RECIPES[second]()
        assert (one.encoder, one.clip, one.split) == (two.encoder, two.clip, two.split)
        assert isinstance(two.method, STARSConfig) and two.method.queue >= two.schedule.batch


def test_the_tables_are_those_of_the_paper() -> None:
    assert list(STARS_TABLES) == [f"stars-{number}" for number in range(1, 8)]
