"""The tables: their commands parse, they are filled, they resume after a kill, and their figures are right."""

from __future__ import annotations

import dataclasses
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scipy.stats import t

from bonestrap.augment import (
    AGGRESSIVE,
    CONSERVATIVE,
    DropLimbs,
    RandomFrames,
    Resample,
    Rotate,
    Scale,
    Shear,
    Shift,
    Smooth,
    replaced,
)
from bonestrap.encoders import EncoderConfig
from bonestrap.methods import BYOLConfig
from bonestrap.options import UserError
from bonestrap.recipe import Recipe
from experiments import intervals, summary
from experiments.commands import Commands
from experiments.cost import PUBLISHED, v100_hours
from experiments.filling import run_stage
from experiments.methods_table import Methods
from experiments.progress import TableProgress
from experiments.relsar import RelSar
from experiments.steps import Plan, Setup, Step
from experiments.tables import ABLATION, TABLES, Table2, Table5, Table6
from experiments.views_table import Views
from launch import finetune, reproduce
from launch.cli import parser as cli
from launch.cli.parser import parse, parse_choice, renamed, start_choice
from launch.pretrain import Options as PretrainOptions
from launch.recipes import RECIPES
from shards import splits
from shards.packing.pack import pack as pack_source
from shards.reader import Resident
from shards.reading import Reading
from tests.launch.waving import Waving

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same few recordings under the names of data sets."""
    pytest.importorskip("webdataset")
    folder = tmp_path_factory.mktemp("named")
    for name in ("ntu60", "ntu120", "nw-ucla"):
        source = Waving()
        source.name = name
        pack_source(source, folder / name)
    return {path.name: path for path in folder.iterdir()}


def reproduced(*words: str) -> None:
    start_choice(reproduce.main, "table", TABLES, reproduce.Options, list(words), reproduce.ALIASES)


def parsed_by_script(command: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The options that the script itself parses from a printed command."""
    python, script, *words = shlex.split(command)
    assert python == "python"
    parsed: list[Any] = []

    def start(main: object, options: type, aliases: cli.Aliases) -> None:
        parsed.append(cli.parse(options, words))

    def start_choice(main: object, what: str, choices: Any, options: type, aliases: cli.Aliases) -> None:
        parsed.extend(cli.parse_choice(what, choices, options, words))

    with monkeypatch.context() as patched:
        patched.setattr(cli, "start", start)
        patched.setattr(cli, "start_choice", start_choice)
        patched.setattr(sys, "path", list(sys.path))
        runpy.run_path(str(ROOT / script), run_name="__main__")
    return parsed


@pytest.mark.parametrize(
    ("table", "data", "cells", "cost"),
    [
        ("table-2", "ntu60", 10 * 2 * 3, "60 pretrain, 60 evaluate"),
        ("table-2", "nw-ucla", 10 * 3, "30 pretrain, 30 evaluate"),
        ("table-3", "ntu60", 3 * 3 * 2 * 3, "2 pretrain, 36 finetune, 54 evaluate, 18 distill"),
        ("table-4", "ntu120", 3 * 3 * 2 * 3, "2 pretrain, 36 finetune, 54 evaluate, 18 distill"),
        ("table-5", "ntu60", 7 * 3 * 3, "4 pretrain, 36 finetune, 63 evaluate, 27 distill"),
        ("table-6", "ntu60", 2 * 3, "3 pretrain, 6 finetune, 6 evaluate"),
        ("rel-sar", "nw-ucla", 9 * 3, "18 pretrain, 27 finetune, 27 evaluate"),
        ("views", "nw-ucla", 7 * 3, "21 pretrain, 21 evaluate"),
        ("methods", "nw-ucla", 6 * 6 * 3, "21 pretrain, 72 evaluate"),
    ],
)
def test_every_command_of_a_table_parses(
    packed: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    data: str,
    cells: int,
    cost: str,
) -> None:
    more = ["--target", str(packed["ntu120"])] if table == "table-6" else []
    common = ["--data", str(packed[data]), "--runs", str(tmp_path / "runs"), "--workers", "4", "--dry-run"]
    reproduced(table, *common, *more)
    said = capsys.readouterr().out
    commands = [line for line in said.splitlines() if line.startswith("python ")]
    assert f"{cells} cells, 0 of {len(commands)} commands are done" in said and cost in said
    assert ("V100-hours" in said) == (table != "methods")  # nobody has stated those of its transformers
    assert ("published for" in said) == (table not in ("rel-sar", "views", "methods"))  # or of no paper at hand
    assert not (tmp_path / "runs").exists()
    made: set[Path] = set()
    for command in commands:
        options = next(each for each in parsed_by_script(command, monkeypatch) if hasattr(each, "data"))
        needs = getattr(options, "model", None) or getattr(options, "teacher", None)
        needed = {needs} if isinstance(needs, Path) else set(needs or ())
        assert needed <= made, f"{command} needs what no command before it makes"
        if hasattr(options, "run"):
            assert options.run not in made and options.workers == "4"
            made.add(options.run)


def test_each_row_of_the_ablation_leaves_out_what_it_says() -> None:
    def method(row: str) -> Any:
        words = ["ntu60", "--data", "d", "--run", "r", *ABLATION[row][0]]
        return parse_choice("recipe", RECIPES, PretrainOptions, words)[2].method

    full = RECIPES["ntu60"]().method
    assert isinstance(full, BYOLConfig)
    assert (full.view1, full.view2, full.multiview) == (AGGRESSIVE, CONSERVATIVE, True)
    as_recorded = Resample(rate=(1.0, 1.0))
    expected = {
        "BYOL, only conservative augmentation": (CONSERVATIVE, CONSERVATIVE, False),
        "BYOL, only aggressive augmentation": (AGGRESSIVE, AGGRESSIVE, False),
        "no shear": (replaced(AGGRESSIVE, Shear(limit=0)), CONSERVATIVE, True),
        "no low-pass filter": (replaced(AGGRESSIVE, Smooth(probability=0)), CONSERVATIVE, True),
        "no temporal shift": (replaced(AGGRESSIVE, Shift(limit=0)), CONSERVATIVE, True),
        "no resampling": (replaced(AGGRESSIVE, as_recorded), replaced(CONSERVATIVE, as_recorded), True),
        "no left/right drop": (replaced(AGGRESSIVE, DropLimbs(probability=0)), CONSERVATIVE, True),
        "no multi-viewpoint sampling": (AGGRESSIVE, CONSERVATIVE, False),
        "no asymmetry, only aggressive": (AGGRESSIVE, AGGRESSIVE, True),
        "full recipe": (AGGRESSIVE, CONSERVATIVE, True),
    }
    assert {row: (made.view1, made.view2, made.multiview) for row in ABLATION if (made := method(row))} == expected


def test_each_row_of_the_views_leaves_out_one_operation_of_both() -> None:
    made = setup(Path("runs"), recipe="vicreg", base=RECIPES["vicreg"]())
    rows = Views().rows(made)

    def method(words: tuple[str, ...]) -> Any:
        return reproduce.read_recipe(["vicreg", "--data", "d", "--run", "r", *words]).method

    full = (RandomFrames(), Rotate(), Scale(), Smooth(), Shear(limit=0.3))
    gone = {
        "random frames": RandomFrames(randomness=0),
        "rotation": Rotate(yaw=0, pitch=0, roll=0),
        "scale": Scale(factor=(1, 1)),
        "low-pass filter": Smooth(probability=0),
        "shear": Shear(limit=0),
    }
    expected = {f"without {row}": (replaced(full, operation), True) for row, operation in gone.items()}
    expected |= {"all of them": (full, True), "without cameras of a performance as pairs": (full, False)}
    found = {row: method(words) for row, (_, words) in rows.items()}
    assert {row: (each.view1, each.multiview) for row, each in found.items()} == expected
    assert all(each.view1 == each.view2 for each in found.values())
    with pytest.raises(UserError, match="recipe supervised, supervised, has no pair of views"):
        Views().rows(setup(Path("runs"), recipe="supervised", base=RECIPES["supervised"]()))


def test_the_views_are_chosen_on_held_out_subjects_unless_asked(packed: dict[str, Path]) -> None:
    made = setup(Path("runs"), recipe="vicreg", base=RECIPES["vicreg"](), data=str(packed["nw-ucla"]))
    for on in ("held-out", "test"):
        choosing = on == "held-out"
        plan = Views(on=on, protocol="knn").plan(made)
        for pretrained, evaluated in (cell.steps for cell in plan.cells):
            assert ("--hold-out" in pretrained.words) == ("held-out" in evaluated.words) == choosing
            assert evaluated.measures == ("knn on held-out" if choosing else "knn")
        assert ("held-out training subjects" in plan.scored) == choosing


@pytest.mark.parametrize("on", ["held-out", "test"])
@pytest.mark.parametrize("epochs", [None, 60.0])
def test_every_row_of_the_views_takes_as_many_steps(
    packed: dict[str, Path], on: Literal["held-out", "test"], epochs: float | None
) -> None:
    """An epoch goes over performances where their cameras are pairs, and else over recordings, which are more."""
    data = str(packed["nw-ucla"])
    made = setup(Path("runs"), recipe="vicreg", base=RECIPES["vicreg"](), data=data, epochs=epochs)
    made = dataclasses.replace(made, splits=("cross-subject",))
    split = splits.find("nw-ucla", "cross-subject")
    train = Resident.load(data, select=split.fit if on == "held-out" else split.train, device="cpu")
    assert len(train.performance_key) < len(train)
    items = set()
    for step in (step for step in Views(on=on).plan(made).steps if step.script == "pretrain.py"):
        recipe = reproduce.read_recipe(step.words)
        paired = recipe.method.input.unit == "performance"
        items.add(round(recipe.schedule.epochs * (len(train.performance_key) if paired else len(train))))
        assert recipe.schedule.warmup / recipe.schedule.epochs == pytest.approx(
            made.base.schedule.warmup / 150, rel=1e-3
        )
    assert items == {round((epochs or 150) * len(train.performance_key))}


def test_every_method_learns_from_as_many_clips(packed: dict[str, Path]) -> None:
    data = str(packed["nw-ucla"])
    options = reproduce.Options(data=data, runs=Path("runs"), seeds=(0,))
    made = reproduce.build_setup(options, Methods(), Reading(data=data).manifest)
    train = Resident.load(data, select=splits.find("nw-ucla", "cross-subject").train, device="cpu")
    recordings, performances = len(train), len(train.performance_key)
    assert performances < recordings
    plan = Methods(passes=50, tuning=10).plan(made)
    clips = {}
    for step in (step for step in plan.steps if step.script == "pretrain.py"):
        recipe = reproduce.read_recipe(step.words)
        asked = recipe.method.input
        items = performances if asked.unit == "performance" else recordings
        clips[step.run] = recipe.schedule.epochs * items * (2 if asked.pairs else 1) / recordings
    assert {run: clips[run] for run in clips if run.startswith("pretrained")} == pytest.approx(
        {run: 50 for run in clips if run.startswith("pretrained")}, rel=1e-3
    )
    assert sorted(clips.values())[:3] == pytest.approx([10, 10, 10]) and len(clips) == 7


def test_one_evaluation_fills_several_cells(tmp_path: Path, packed: dict[str, Path]) -> None:
    data = str(packed["nw-ucla"])
    made = reproduce.build_setup(
        reproduce.Options(data=data, runs=tmp_path, seeds=(0,)), Methods(), Reading(data=data).manifest
    )
    plan = Methods().plan(made)
    for number, cell in enumerate(plan.cells):
        file = tmp_path / cell.steps[-1].run / "evaluation.json"
        file.parent.mkdir(exist_ok=True)
        known = json.loads(file.read_text()) if file.exists() else {"format": 2}
        each = {"accuracy": number / 100, "low": 0, "high": 1}
        known[cell.name] = {"model": each, "random encoder": each, "raw joints": each}
        file.write_text(json.dumps(known))
    assert all(made.done(step) for step in plan.steps if step.measures)
    lines = summary.lines(plan, made)
    assert {(line.row, line.column): line.accuracy.mean for line in lines} == {
        (cell.row, cell.column): pytest.approx(number / 100) for number, cell in enumerate(plan.cells)
    }
    text = summary.page(plan, lines, "About.")
    assert "published" not in text  # by nobody
    assert "| random encoder | 0.0 to 30.0 |" in text  # the lowest and the highest of six methods, six cells apart


def test_evaluations_of_one_run_never_run_at_once() -> None:
    running: set[str] = set()
    seen: list[Step] = []

    def start(step: Step) -> None:
        assert step.run not in running
        running.add(step.run)
        time.sleep(0.01)
        running.remove(step.run)
        seen.append(step)

    steps = [Step("evaluate.py", (), run, name) for name in ("linear", "knn", "few-shot") for run in ("a", "b")]
    run_stage(steps, 4, Commands(), start)
    assert sorted(seen) == sorted(steps)


def test_each_row_of_rel_sar_changes_what_it_says() -> None:
    made = setup(Path("runs"), seeds=(0, 7), recipe="rel-sar", base=RECIPES["rel-sar"]())
    for cell in RelSar(frames=(10, 30), labels=0.1).plan(made).cells:
        pretrained, tuned, evaluated = cell.steps
        encoder = reproduce.read_recipe(pretrained.words).encoder
        options = parse(finetune.Options, tuned.words)
        other: dict[str, dict[str, Any]] = {
            "random order": {"permutation": cell.seed}, "all joints": {"joints": "all"},
        }  # fmt: skip
        assert encoder == dataclasses.replace(made.base.encoder, **other.get(cell.row, {}))
        assert reproduce.read_recipe(pretrained.words).clip.frames == (10 if cell.row == "10 frames" else 30)
        rows = {"full fine-tuning": (), "both convolutions frozen": ("convolutions",), "from scratch": ()}
        assert options.freeze == rows.get(cell.row, ("convolutions.0",))
        assert (options.scratch, options.labels) == (cell.row == "from scratch", 0.1)
        assert options.optimizer.kind == "adamw" and (options.steps, options.warmup) == (2000, 600)
        assert evaluated.measures == "test" and str(cell.seed) in pretrained.words


def test_what_a_row_is_about_counts_before_the_users_own_options() -> None:
    own = ("--encoder.permutation", "9", "--clip.frames", "10")
    base = reproduce.read_recipe(["rel-sar", "--data", "d", "--run", "r", *own])
    made = dataclasses.replace(setup(Path("runs"), recipe="rel-sar", base=base), pretrain=own)
    recipes = {
        cell.row: reproduce.read_recipe(cell.steps[0].words) for cell in RelSar(frames=(10, 20)).plan(made).cells
    }
    frames = {row: recipe.clip.frames for row, recipe in recipes.items()}
    assert frames.pop("20 frames") == 20 and set(frames.values()) == {10} and "10 frames" not in frames
    changed: dict[str, dict[str, Any]] = {"random order": {"permutation": 2}, "all joints": {"joints": "all"}}
    for row, changes in changed.items():
        assert recipes[row].encoder == dataclasses.replace(base.encoder, **changes)


def test_rel_sar_takes_a_width_and_names_its_runs_by_it(
    packed: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = "--encoder.width 48 --encoder.depth 2"
    data, runs = str(packed["nw-ucla"]), str(tmp_path / "runs")
    reproduced("rel-sar", "--data", data, "--runs", runs, "--pretrain", small, "--dry-run")
    assert f"{runs}/pretrained-full-cross-subject-48x2-0 " in capsys.readouterr().out


def setup(
    runs: Path,
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    recipe: str = "ntu60",
    base: Recipe | None = None,
    data: str = "d",
    epochs: float | None = None,
) -> Setup:
    base, splits = base or RECIPES["ntu60"](), ("cross-view",)
    return Setup(data=data, runs=runs, recipe=recipe, base=base, splits=splits, seeds=seeds, epochs=epochs, common=())


class Flat(EncoderConfig):
    """An encoder without a width."""

    @property
    def label(self) -> str:
        return "Flat base"


def test_a_table_takes_any_recipe_and_asks_for_a_width_only_where_it_sets_one(tmp_path: Path) -> None:
    mine = setup(tmp_path, recipe="package.module:recipe", base=dataclasses.replace(RECIPES["own"](), encoder=Flat()))
    plans = [table.plan(mine) for table in (Table2(), Table6(target="there"))]
    words = [word for plan in plans for step in plan.steps for word in step.words]
    assert "package.module:recipe" in words and "--encoder.width" not in words
    assert plans[0].cells[-1].steps[0].run == "pretrained-full-cross-view-base-2"
    for table in (Table5(), Table2(width=0.5)):
        with pytest.raises(UserError, match=r"recipe package.module:recipe, Flat base, has no width, which this table"):
            table.plan(mine)


def test_old_spellings_of_options_still_count() -> None:
    assert renamed(["--protocols", "a", "--target-protocol=b"], reproduce.ALIASES) == [
        "--splits",
        "a",
        "--target-split=b",
    ]


def test_cost_is_in_proportion_to_what_is_stated(packed: dict[str, Path]) -> None:
    reading = Reading(data=str(packed["ntu60"]))
    known = reading.manifest.performances / 2  # all 40 views are of cameras 1 and 2, and camera 2 trains
    for width, stated in ((1.0, 16 * 4), (2.0, 23 * 8)):
        step = setup(Path("runs")).pretraining("cross-view", 0, width)
        words = [str(packed["ntu60"]) if word == "d" else word for word in step.words]
        found = v100_hours([step._replace(words=tuple(words))], reading, reproduce.read_recipe)
        assert found == pytest.approx(stated * known / PUBLISHED.performances, rel=0.01)


# ---------------------------------------------------------------------- the table


def write_figures(plan: Plan, runs: Path, accuracy: dict[tuple[str, str, int], float]) -> None:
    """As if all commands had run; raw joints reach 40 %, a random encoder 30 %."""
    for cell in plan.cells:
        run = runs / cell.steps[-1].run
        run.mkdir(parents=True, exist_ok=True)
        own = accuracy[cell.row, cell.column, cell.seed]
        figures = {"model": own, "random encoder": 0.3, "raw joints": 0.4}
        drawn = {"low": own - 0.12, "high": own + 0.1, "unit": "subjects", "units": 9}
        interval = {"low": own - 0.05, "high": own + 0.04, "bootstrap": drawn}
        known = {who: {**interval, "accuracy": each, "balanced": each - 0.01} for who, each in figures.items()}
        (run / "evaluation.json").write_text(json.dumps({cell.steps[-1].measures: known}))


@pytest.mark.parametrize(("data", "published"), [("ntu60", 91.2), ("nw-ucla", None)])
def test_published_accuracies_are_drawn_on_their_own_data_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, published: float | None
) -> None:
    made = setup(tmp_path)
    plan = Table2().plan(made)
    write_figures(plan, tmp_path, {(cell.row, cell.column, cell.seed): 0.6 for cell in plan.cells})
    drawn: list[intervals.Row] = []
    monkeypatch.setattr(intervals, "draw", lambda _, panels, **__: drawn.extend(panels[0].rows))
    text = summary.write(tmp_path, "table-2", plan, summary.lines(plan, made), {"data": data}, "About.")
    assert "published (ntu60)" in text
    shear, full = drawn[2], drawn[-1]
    assert full.published == published and full.difference is None
    assert shear.published_difference == pytest.approx(81.1 - 91.2)


@pytest.mark.parametrize("table", [Table2(), Table5()])
def test_means_intervals_and_paired_differences(tmp_path: Path, table: Table2 | Table5) -> None:
    made = setup(tmp_path)
    plan = table.plan(made)
    rng = np.random.default_rng(0)
    accuracy = {(cell.row, cell.column, cell.seed): rng.uniform(0.35, 0.9) for cell in plan.cells}
    write_figures(plan, tmp_path, accuracy)
    for line in summary.lines(plan, made):
        values = np.array([accuracy[line.row, line.column, seed] for seed in (0, 1, 2)])
        assert line.accuracy[:2] == pytest.approx((values.mean(), values.std(ddof=1)))
        interval = t.interval(0.95, 2, values.mean(), values.std(ddof=1) / 3**0.5)
        assert line.accuracy[2:] == pytest.approx(interval, rel=1e-4, abs=1e-5)
        assert line.below == [
            who for who, floor in (("random encoder", 0.3), ("raw joints", 0.4)) if values.mean() < floor
        ]
        assert (line.against is None) == (line.row in ("full recipe", "2x teacher") or line.row.endswith("alone"))
        if line.against:
            gaps = values - [accuracy[line.against, line.column, seed] for seed in (0, 1, 2)]
            assert line.difference and line.difference[:2] == pytest.approx((gaps.mean(), gaps.std(ddof=1)))


def test_one_seed_has_both_intervals_of_its_evaluation(tmp_path: Path) -> None:
    made = dataclasses.replace(setup(tmp_path), seeds=(1,))
    plan = Table2().plan(made)
    write_figures(plan, tmp_path, {(cell.row, cell.column, cell.seed): 0.6 for cell in plan.cells})
    text = summary.write(tmp_path, "table-2", plan, summary.lines(plan, made), {"data": "nw-ucla"}, "About.")
    assert "| full recipe | 60.0 |  | 55.0 to 64.0 (bootstrap 48.0 to 70.0) |" in text
    rows = json.loads((tmp_path / "table-2.json").read_text())["rows"]
    drawn = {"low": pytest.approx(0.48), "high": pytest.approx(0.7), "unit": "subjects", "units": 9}
    assert all(row["bootstrap"] == drawn for row in rows)


def test_the_table_says_sign_interval_floor_and_what_was_published(tmp_path: Path) -> None:
    made = setup(tmp_path)
    plan = Table2().plan(made)
    accuracy = {(c.row, c.column, c.seed): 0.62 if c.row == "full recipe" else 0.6 for c in plan.cells}
    accuracy |= {("no shear", "cross-view", seed): 0.35 + seed / 100 for seed in range(3)}
    accuracy |= {("no resampling", "cross-view", seed): 0.7 for seed in range(3)}
    write_figures(plan, tmp_path, accuracy)
    text = summary.write(tmp_path, "table-2", plan, summary.lines(plan, made), {"data": "nw-ucla"}, "About.")
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    shear = rows["no shear (**below raw joints**)"]
    assert "| 36.0 | 1.0 | 33.5 to 38.5 | 35.0 | -26.0 (-28.5 to -23.5) | full recipe | 81.1 | -10.1 |" in shear
    assert (
        "| 70.0 | 0.0 | 70.0 to 70.0 | 69.0 | +8.0 (+8.0 to +8.0) | full recipe | 90.6 | -0.6 |"
        in rows["no resampling"]
    )
    assert rows["raw joints"].startswith("| raw joints | 40.0 |")
    assert (tmp_path / "table-2.md").read_text() == text and not list(tmp_path.glob("*.partial"))
    said = json.loads((tmp_path / "table-2.json").read_text())
    assert len(said["rows"]) == 10 and said["rows"][2]["difference"]["mean"] == pytest.approx(-0.26)
    assert (tmp_path / "table-2.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_has_the_interval_of_its_recordings(tmp_path: Path) -> None:
    made = setup(tmp_path, seeds=(4,))
    plan = Table2().plan(made)
    write_figures(plan, tmp_path, {(cell.row, cell.column, 4): 0.6 for cell in plan.cells})
    line = summary.lines(plan, made)[0]
    assert line.accuracy == pytest.approx((0.6, 0, 0.55, 0.64)) and line.runs == {4: 0.6}


def test_what_is_left_is_by_the_mean_of_what_was_timed(tmp_path: Path) -> None:
    made = setup(tmp_path)
    plan = Table2().plan(made)
    write_figures(plan, tmp_path, {(cell.row, cell.column, cell.seed): 0.6 for cell in plan.cells})
    first, second = (cell.steps for cell in plan.cells[:2])
    for _, evaluated in (first, second):
        (tmp_path / evaluated.run / "evaluation.json").rename(tmp_path / f"{evaluated.run}.json")
    progress = TableProgress(plan, made, jobs=2)  # 30 pretrainings and two evaluations to go
    assert progress.ended(first[0], 100) == "  29 of 60 commands are done, at least 24:10 left"  # 29 x 100 s / 2
    assert progress.ended(second[0], 200) == "  30 of 60 commands are done, at least 35:00 left"  # 28 x 150 s / 2
    (tmp_path / f"{first[1].run}.json").rename(tmp_path / first[1].run / "evaluation.json")
    assert progress.ended(first[1], 60) == (  # and 60 s / 2
        "  31 of 60 commands are done, 35:30 left; BYOL, only conservative augmentation, cross-view, seed 0: 60.0 %"
    )


# ---------------------------------------------------------------------- from recordings to the table


TINY = [
    "--seeds", "0", "--epochs", "0.5", "--no-track", "--device", "cpu", "--threads", "1", "--width", "0.05",
    "--pretrain", "--clip.frames 8 --schedule.batch 8 --schedule.group 8", "--finetune", "--steps 2 --batch 8",
]  # fmt: skip


@pytest.mark.timeout(300)
def test_a_table_resumes_after_a_kill(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed when the pretraining is done: it is not done again, nothing half-made is left, and the table is whole."""
    runs = tmp_path / "runs"
    words = ["table-6", "--data", str(shards), "--target", str(shards), "--runs", str(runs), *TINY]
    pretrained = runs / "pretrained-full-cross-subject-0.05x-0" / "model" / "model.json"
    with subprocess.Popen([sys.executable, str(ROOT / "launch" / "reproduce.py"), *words], env=os.environ) as first:
        while not pretrained.exists() and first.poll() is None:
            time.sleep(0.02)
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 130
    assert not list(runs.glob("table-6.*")) and not list(runs.glob("*/evaluation.json"))
    stamp = pretrained.stat().st_mtime_ns

    reproduced(*words, "--jobs", "2")
    said = capsys.readouterr().out
    assert "1 of 5 commands are done" in said and "launch/pretrain.py" not in said
    assert "  5 of 5 commands are done; " in said and said.count(", cross-subject, seed 0: ") == 2
    assert pretrained.stat().st_mtime_ns == stamp
    filled = json.loads((runs / "table-6.json").read_text())
    assert [row["row"] for row in filled["rows"]] == ["supervised alone", "pretrained, fine-tuned"]
    for row in filled["rows"]:
        measured = [json.loads(file.read_text())["test"] for file in runs.glob("*/evaluation.json")]
        assert row["accuracy"]["mean"] in [next(iter(each.values()))["accuracy"] for each in measured]
    assert filled["digest"] == json.loads((shards / "manifest.json").read_text())["digest"]
    assert filled["device_hours"] >= 0 and (runs / "table-6.png").exists()

    reproduced(*words)  # nothing is left to do
    assert "$ python" not in capsys.readouterr().out
    assert json.loads((runs / "table-6.json").read_text()) == filled


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["table-7"], "unknown table table-7; did you mean"),
        (["table-2", "--seeds", "0", "0"], "--seeds must be one or more different numbers"),
        (["table-2", "--recipe", "ntu6"], "unknown recipe ntu6; did you mean ntu60?"),
        (["table-2", "--protocols", "cross-planet"], "has no split cross-planet"),
        (["table-2", "--pretrain", "--schedule.bacth 2"], "did you mean --schedule.batch"),
        (["table-2", "--pretrain", "--encoder.width 2"], "--encoder.width is set by the table: give --width"),
        (["table-3", "--labels", "1.5"], "--labels must lie in (0, 1], got 1.5"),
        (["table-6"], "--target must be given"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_runs(
    packed: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        reproduced(*words, "--data", str(packed["nw-ucla"]), "--runs", str(tmp_path / "runs"))
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_command_that_fails_is_named_with_what_it_said(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    words = ["--data", str(shards), "--target", str(tmp_path / "nowhere"), "--runs", str(runs), *TINY]
    with pytest.raises(SystemExit, match="2"):
        reproduced("table-6", *words)
    said = capsys.readouterr().err
    assert "launch/finetune.py ended with exit code 2" in said and "nowhere" in said and str(runs / "logs") in said
    assert said.count("\n") == 1 and not list(runs.glob("table-6.*"))
    with pytest.raises(SystemExit, match="2"):  # what is there belongs to a shorter pretraining
        reproduced("table-6", *words, "--epochs", "2")
    assert "other settings (epochs)" in capsys.readouterr().err
