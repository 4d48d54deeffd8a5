"""An option that a command would not honour is not offered, or refused in a sentence that names it."""

from __future__ import annotations

import pytest

from bonestrap.options import UserError
from experiments.steps import without
from launch import distill, evaluate, finetune, pretrain
from launch.cli.parser import parse, parse_choice
from launch.recipes import RECIPES

FINETUNE = ["--model", "m", "--data", "d", "--run", "r"]
DISTILL = ["--teacher", "t", "--data", "d", "--run", "r"]
EVALUATE = ["--model", "m", "--data", "d"]


@pytest.mark.parametrize(
    ("options", "words", "message"),
    [
        (finetune.Options, [*FINETUNE, "--probe-every", "2"], "unknown option --probe-every"),
        (distill.Options, [*DISTILL, "--probe-every", "2"], "unknown option --probe-every"),
        (finetune.Options, [*FINETUNE, "--scratch", "--frozen", "0.1"], "--frozen has no effect with --scratch"),
        (
            finetune.Options,
            [*FINETUNE, "--scratch", "--method.statistics", "kept"],
            "--method.statistics kept has no effect with --scratch",
        ),
        (
            finetune.Options,
            [*FINETUNE, "--scratch", "--encoder-rate", "1"],
            "--encoder-rate has no effect with --scratch",
        ),
        (finetune.Options, [*FINETUNE, "--strategy", "zero3"], "expected one of ddp, zero1, zero2, got 'zero3'"),
    ],
)
def test_what_has_no_effect_is_refused(options: type, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(options, words)
    assert message in str(caught.value)


def test_a_report_of_held_out_recordings_is_refused() -> None:
    words = ["test", *EVALUATE, "--on", "held-out", "--report", "r.html"]
    with pytest.raises(UserError, match=r"--report shows the test recordings, which --on held-out never opens"):
        parse_choice("protocol", evaluate.PROTOCOLS, evaluate.Options, words)


@pytest.mark.parametrize("name", ["few-shot", "retrieval", "zero-shot"])
def test_figures_of_classes_are_refused_where_there_are_none(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has no figures of single classes: leave out --classes"):
        evaluate.main(*parse_choice("protocol", evaluate.PROTOCOLS, evaluate.Options, [name, *EVALUATE, "--classes"]))


def test_fewer_epochs_than_the_warm_up_name_its_option() -> None:
    words = ["byol-small", "--data", "d", "--run", "r", "--schedule.epochs", "5"]
    with pytest.raises(UserError) as caught:
        parse_choice("recipe", RECIPES, pretrain.Options, words)
    assert str(caught.value) == (
        "--schedule.epochs must be more than the 60 of the warm-up, got 5: give a smaller --schedule.warmup as well"
    )


def test_settings_of_a_pretrained_encoder_are_recorded_whether_given_or_not() -> None:
    assert parse(finetune.Options, FINETUNE).pace == {"frozen": 0.1, "encoder_rate": 0.1}
    assert parse(finetune.Options, [*FINETUNE, "--frozen", "0"]).pace == {"frozen": 0, "encoder_rate": 0.1}


def test_a_table_keeps_them_from_its_networks_from_scratch() -> None:
    words = ("--frozen", "0.3", "--steps", "9", "--encoder-rate=1", "--batch", "8")
    assert without(words, ("--frozen", "--encoder-rate")) == ("--steps", "9", "--batch", "8")
