"""The table of classes that are left out: its groups, and the names under which its evaluations are found again."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from bonestrap.options import UserError
from evaluation.zero_shot.protocol import ClassSplit, GeneralisedZeroShotProtocol, ZeroShotProtocol
from experiments.steps import Setup
from experiments.zero_shot_table import COVER, LeftOutTable
from launch.recipes import RECIPES


def setup(runs: Path, classes: int) -> Setup:
    return Setup(
        data="d", runs=runs, recipe="vicreg", base=RECIPES["vicreg"](), splits=("cross-subject",), seeds=(0,),
        dataset="lab", classes=classes, epochs=None, common=(),
    )  # fmt: skip


def test_the_groups_have_every_pair_of_ten_classes(tmp_path: Path) -> None:
    pairs = {pair for group in COVER for pair in itertools.combinations(map(int, group.split(",")), 2)}
    assert pairs == set(itertools.combinations(range(10), 2))
    plan = LeftOutTable().plan(setup(tmp_path, 10))
    assert len(plan.cells) == 18 and len(plan.stages[0]) == 9
    assert plan.stages[0][1].words[-2:] == ("--classes.leave-out", "0,2,4,7")


@pytest.mark.parametrize(("splits", "drawn"), [(100, 6), (4, 4), (1, 1)])
def test_evaluations_are_found_under_the_names_that_the_protocols_give(tmp_path: Path, splits: int, drawn: int) -> None:
    table = LeftOutTable(left_out=("0,1,2,3",), splits=splits)
    cells = table.plan(setup(tmp_path, 12)).cells
    each = [ClassSplit(tuple(range(10)), (10, 11))] * drawn
    expected = [
        ZeroShotProtocol().name("zero-shot", each),
        GeneralisedZeroShotProtocol().name("generalised zero-shot", each),
    ]
    assert [cell.steps[-1].measures for cell in cells] == expected
    assert not any(setup(tmp_path, 12).done(cell.steps[-1]) for cell in cells)


def test_other_numbers_of_classes_need_groups(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--left-out: lab has 12 classes; say which ones are left out"):
        LeftOutTable().plan(setup(tmp_path, 12))
    plan = dataclasses.replace(LeftOutTable(left_out=("0,1",)), generalised=False).plan(setup(tmp_path, 12))
    assert [cell.row for cell in plan.cells] == ["zero-shot"]
