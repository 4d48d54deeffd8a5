"""Every number that a command takes has bounds, and what lies out of them is refused before anything is made."""

from __future__ import annotations

import dataclasses
import functools
import random
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bonestrap.options import UserError
from evaluation.protocols import PROTOCOLS
from experiments.tables import TABLES
from launch import (
    align,
    compare,
    demo,
    describe,
    distill,
    evaluate,
    export,
    finetune,
    pack,
    pretrain,
    preview,
    register,
    report,
)
from launch import reproduce as reproduction
from launch.cli.parser import Leaf, leaves, parse, parse_choice
from launch.recipes import RECIPES
from shards.sources.formats import FORMATS
from tests.launch.commands import MAINS

PLAIN: dict[str, type] = {
    "align": align.Options, "describe": describe.Options,
    "compare": compare.Options, "demo": demo.Options, "distill": distill.Options, "export": export.Options,
    "finetune": finetune.Options, "preview": preview.Options, "register": register.Options, "report": report.Options,
    "verify": pack.Verify,
}  # fmt: skip
CHOOSING: dict[str, tuple[Mapping[str, Callable[[], Any]], type]] = {
    "pretrain": (RECIPES, pretrain.Options),
    "evaluate": (PROTOCOLS, evaluate.Options),
    "pack": (FORMATS, pack.Options),
    "reproduce": (TABLES, reproduction.Options),
}
NEVER = ("nan", "inf", "-inf", "1e400", "-1", "-0.5", "1e30", "1" + "0" * 30, "9" * 5000, "one", "0x10", "1,5", "", " ")


class Command(NamedTuple):
    """A command line: how it is parsed, and its options."""

    name: str
    parse: Callable[[list[str]], Any]
    options: list[Leaf]

    @property
    def numbers(self) -> list[Leaf]:
        """The options that are numbers, or several of them."""
        return [leaf for leaf in self.options if {int, float} & {leaf.kind, *typing.get_args(leaf.kind)}]

    def words(self, leaf: Leaf, value: str) -> list[str]:
        """What is typed to give one option this value, and the required ones any."""
        needed = [other for other in self.options if other.default is dataclasses.MISSING]
        typed = [word for other in needed for word in (["x"] if other.bare else [other.flag, "x"])]
        count = len(typing.get_args(leaf.kind)) if typing.get_args(leaf.kind)[-1:] == (float,) else 1
        return [*typed, *[f"{leaf.flag}={value}"] * (count == 1), *([leaf.flag, *[value] * count] * (count > 1))]


def commands() -> list[Command]:
    found = [Command(name, functools.partial(parse, options), list(leaves(options))) for name, options in PLAIN.items()]
    for name, (choices, options) in CHOOSING.items():
        for choice, make in choices.items():

            def read(words: list[str], name: str = name, choice: str = choice) -> Any:
                return parse_choice("choice", *CHOOSING[name], [choice, *words])

            config = make if isinstance(make, type) else make()
            found.append(Command(f"{name} {choice}", read, [*leaves(options), *leaves(config)]))
    return found


COMMANDS = commands()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_number_has_bounds_and_keeps_to_them(command: Command) -> None:
    """A new option without bounds fails here. Where they are declared, no text of `NEVER` and nothing beyond passes."""
    assert [leaf.flag for leaf in command.numbers if leaf.bounds is None] == []
    dice = random.Random(0)
    for leaf in command.numbers:
        bounds = leaf.bounds
        assert bounds is not None
        beyond = [bounds.min - 1, bounds.max * 2 + 1, bounds.max * 10 ** dice.uniform(0.1, 200)]
        ends = [bounds.min] * bounds.above + [bounds.max] * bounds.below
        drawn = dice.sample([*NEVER, *(f"{number:.0f}" for number in beyond), *map(str, ends)], 3)
        for value in ("nan", *drawn):
            with pytest.raises(UserError) as refused:
                command.parse(command.words(leaf, value))
            assert leaf.flag in str(refused.value) and len(str(refused.value)) < 400, refused.value


REFUSED = """
pretrain byol-small --data {} --run {}/new --schedule.epochs inf
pretrain byol-small --data {} --run {}/new --optimizer.learning-rate nan
pretrain byol-small --data {} --run {}/new --optimizer.learning-rate -0.1
pretrain byol-small --data {} --run {}/new --optimizer.weight-decay nan
pretrain byol-small --data {} --run {}/new --method.predictor-rate nan
pretrain byol-small --data {} --run {}/new --method.predictor-rate -1
pretrain byol-small --data {} --run {}/new --schedule.warmup nan
pretrain byol-small --data {} --run {}/new --method.view1.shear.limit nan
pretrain byol-small --data {} --run {}/new --method.view1.resample.rate nan nan
pretrain byol-small --data {} --run {}/new --hang-timeout nan
pretrain byol-small --data {} --run {}/new --hang-timeout -1
pretrain byol-small --data {} --run {}/new --cache-gib nan
pretrain byol-small --data {} --run {}/new --stream-gib nan
pretrain byol-small --data {} --run {}/new --cache-gib inf
pretrain byol-small --data {} --run {}/new --threads -5
pretrain byol-small --data {} --run {}/new --threads 0
pretrain byol-small --data {} --run {}/new --threads 100000
pretrain byol-small --data {} --run {}/new --method.hidden 0
pretrain byol-small --data {} --run {}/new --method.projection 0
pretrain byol-small --data {} --run {}/new --clip.frames 1000000000
pretrain byol-small --data {} --run {}/new --workers 1000000000
pretrain byol-small --data {} --run {}/new --seed -1
pretrain byol-small --data {} --run {}/new --classes.imbalance nan
finetune --data {} --run {}/new --model {} --learning-rate nan
finetune --data {} --run {}/new --model {} --weight-decay -1
finetune --data {} --run {}/new --model {} --encoder-rate inf
finetune --data {} --run {}/new --model {} --labels nan
distill --data {} --run {}/new --teacher {} --epochs inf
distill --data {} --run {}/new --teacher {} --learning-rate nan
distill --data {} --run {}/new --teacher {} --method.temperature nan
evaluate knn --data {} --model {} --temperature nan
evaluate long-tailed --data {} --model {} --imbalance inf
evaluate semi-supervised --data {} --model {} --fractions nan
pack synthetic --output {}/new --seed -1
pack coco --input {} --output {}/new --min-confidence nan
pack synthetic --output {}/new --workers 100000
verify {} --workers -3
""".strip().splitlines()


@pytest.mark.parametrize("line", REFUSED, ids=lambda line: line.replace("{}", "X"))
def test_numbers_that_are_none_leave_nothing_behind(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *words = line.replace("{}", str(tmp_path)).split()
    flag = next(word for word in reversed(words) if word.startswith("--"))
    with pytest.raises(SystemExit) as stopped:
        MAINS[name](words)
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and flag in lines[0], lines
    assert list(tmp_path.iterdir()) == []
