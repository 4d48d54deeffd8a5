"""A filled table: means over seeds, intervals and paired differences, beside floors and published figures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bonestrap.files import write_atomically
from bonestrap.protocols.bootstrap import Bootstrap
from bonestrap.protocols.scores import Spread, spread
from evaluation import evaluation_file
from evaluation.text_table import Column, markdown
from experiments import intervals
from experiments.steps import Cell, Plan, Setup

FORMAT = 2  # of the JSON; without one, the first, with an old spelling of std
FLOORS = ("random encoder", "raw joints")


class Line(NamedTuple):
    """One row in one column; fractions in 0..1, published figures in percent."""

    row: str
    column: str
    accuracy: Spread  # of one seed the interval is Wilson's, of several Student's over seeds
    runs: dict[int, float]  # by seed
    against: str | None
    difference: Spread | None  # paired by seed; None where there is nothing to compare with
    published: float | None
    published_difference: float | None
    floors: dict[str, float]  # means
    bootstrap: Bootstrap | None  # of one seed, over groups of test recordings
    balanced: float | None  # accuracy, mean over seeds; None where the protocol has none

    @property
    def below(self) -> list[str]:
        """The floors that it does not clear."""
        return [who for who, floor in self.floors.items() if self.accuracy.mean < floor]


def lines(plan: Plan, setup: Setup) -> list[Line]:
    """One line for every row and column whose cells are all there, in the plan's order."""
    groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for cell in plan.cells:
        groups.setdefault((cell.column, cell.row), {})[cell.seed] = evaluation(cell, setup)
    runs = {key: {seed: headline(_first(each)) for seed, each in of.items()} for key, of in groups.items()}
    return [_line(plan, key, runs, groups[key]) for key in groups]


def evaluation(cell: Cell, setup: Setup) -> dict[str, Any]:
    """The cell's evaluation: the figures of each candidate, the model first."""
    return evaluation_file.read(setup.runs / cell.steps[-1].run)[cell.name]


def headline(figures: Mapping[str, Any]) -> float:
    """The accuracy of a candidate, or the harmonic mean of its accuracies on seen and unseen classes."""
    return float(figures["harmonic"] if "harmonic" in figures else figures["accuracy"])


def model_accuracy(cell: Cell, setup: Setup) -> float:
    """The cell's figure, in 0..1."""
    return headline(_first(evaluation(cell, setup)))


def _first(values: Mapping[Any, Any]) -> Any:
    return next(iter(values.values()))


def _line(
    plan: Plan,
    key: tuple[str, str],
    runs: Mapping[tuple[str, str], Mapping[int, float]],
    figures: Mapping[int, Mapping[str, Any]],
) -> Line:
    column, row = key
    accuracy = spread(list(runs[key].values()))
    drawn = None
    if len(figures) == 1:
        only = _first(_first(figures))
        accuracy = accuracy._replace(low=only["low"], high=only["high"])
        drawn = Bootstrap(**only["bootstrap"]) if only.get("bootstrap") else None
    against, difference = plan.against.get(row), None
    if against is not None:
        other = runs[column, against]
        difference = spread([accuracy - other[seed] for seed, accuracy in runs[key].items()])
    published = plan.published.get((row, column))
    beside = plan.published.get((against or "", column))
    gap = None if published is None or beside is None else published - beside
    floors = {who: spread([headline(each[who]) for each in figures.values()]).mean for who in FLOORS}
    balanced = [_first(each).get("balanced") for each in figures.values()]
    mean = None if None in balanced else spread(balanced).mean
    return Line(row, column, accuracy, dict(runs[key]), against, difference, published, gap, floors, drawn, mean)


def page(plan: Plan, filled: Sequence[Line], about: str) -> str:
    """The table as Markdown, in percent, with a part for each column."""
    return f"# {plan.title}\n\n{about}\n\n" + "\n".join(_tables(filled, plan.source))


def _tables(filled: Sequence[Line], source: str) -> Iterator[str]:
    names = ["accuracy", "std", "95 %", "balanced", "difference", "to"]
    names += [f"published ({source})", "published difference"] if source else []
    columns = [Column("row", text=True), *(Column(name, text=name == "to") for name in names)]
    for title, part in _columns(filled).items():
        floors = [[who, _floor(part, who), *[""] * (len(names) - 1)] for who in FLOORS]
        yield f"## {title}\n"
        yield from markdown(columns, [*(_cells(line)[: len(columns)] for line in part), *floors])
        yield ""


def _columns(filled: Sequence[Line]) -> dict[str, list[Line]]:
    out: dict[str, list[Line]] = {}
    for line in filled:
        out.setdefault(line.column, []).append(line)
    return out


def _floors(part: Sequence[Line]) -> dict[str, float]:
    """The floors of one column: means over its rows, whose random encoders may differ in width."""
    return {who: spread([line.floors[who] for line in part]).mean for who in FLOORS}


def _floor(part: Sequence[Line], who: str) -> str:
    """In percent; from the lowest to the highest where rows have random encoders of different kinds."""
    low, high = (f"{100 * end(line.floors[who] for line in part):.1f}" for end in (min, max))
    return low if low == high else f"{low} to {high}"


def _cells(line: Line) -> list[str]:
    several = len(line.runs) > 1
    name = line.row + (f" (**below {' and '.join(line.below)}**)" if line.below else "")
    mean, std, low, high = (100 * value for value in line.accuracy)
    interval = f"{low:.1f} to {high:.1f}"
    if line.bootstrap:
        interval += f" (bootstrap {100 * line.bootstrap.low:.1f} to {100 * line.bootstrap.high:.1f})"
    gap = ""
    if line.difference is not None:
        difference, _, low, high = (100 * value for value in line.difference)
        gap = f"{difference:+.1f}" + (f" ({low:+.1f} to {high:+.1f})" if several else "")
    return [
        name,
        f"{mean:.1f}",
        f"{std:.1f}" if several else "",
        interval,
        "–" if line.balanced is None else f"{100 * line.balanced:.1f}",
        gap,
        (line.against or "") if gap else "",
        "–" if line.published is None else f"{line.published:.1f}",
        "" if line.published_difference is None else f"{line.published_difference:+.1f}",
    ]


def write(folder: Path, name: str, plan: Plan, filled: Sequence[Line], about: Mapping[str, Any], note: str) -> str:
    """Write the table as Markdown, JSON and a plot, each whole or not at all. Returns the Markdown."""
    text = page(plan, filled, note)
    rows = [
        {
            **line._asdict(),
            "accuracy": line.accuracy._asdict(),
            "difference": line.difference and line.difference._asdict(),
            "bootstrap": line.bootstrap and dataclasses.asdict(line.bootstrap),
            "below": line.below,
        }
        for line in filled
    ]
    write_atomically(
        folder / f"{name}.json",
        json.dumps({"format": FORMAT, "title": plan.title, **about, "rows": rows}, indent=2) + "\n",
    )
    write_atomically(folder / f"{name}.md", text)
    here = about["data"] == plan.source
    panels = [
        intervals.Panel(column, [_drawn(line, here) for line in part], {k: 100 * v for k, v in _floors(part).items()})
        for column, part in _columns(filled).items()
    ]
    others = set(plan.against.values())
    difference = f"difference to {others.pop()}" if len(others) == 1 else "difference to the row compared with"
    title = f"{plan.title}, {about['data']}"
    intervals.draw(
        folder / f"{name}.png", panels, title=title, difference=difference, source=plan.source, scored=plan.scored
    )
    return text


def _drawn(line: Line, here: bool) -> intervals.Row:
    """A row of the plot; `here` where the published figures are of the same data set."""
    return intervals.Row(
        label=line.row,
        accuracy=_percent(line.accuracy),
        seeds=[100 * accuracy for accuracy in line.runs.values()],
        difference=line.difference and _percent(line.difference),
        published=line.published if here else None,
        published_difference=line.published_difference,
    )


def _percent(of: Spread) -> intervals.Interval:
    return intervals.Interval(100 * of.mean, 100 * of.low, 100 * of.high)
