"""What an evaluation found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bonestrap.protocols.scores import Scores, spread
from evaluation.results import Results, headline
from evaluation.scoring import Clusters, Episodes, Figures, Generalised, LongTail, Repeated, Search, ZeroShot
from evaluation.text_table import Column, aligned, percent


def tables(results: Results) -> Iterator[str]:
    """The lines of a table for each evaluation, one row a candidate, and which floors the model does not clear."""
    for name, each in results.items():
        if len(results) > 1:
            yield name
        rows = {who: cells(figures) for who, figures in each.items()}
        columns = [Column("", text=True), *map(Column, next(iter(rows.values())))]
        yield from aligned(columns, [[who, *row.values()] for who, row in rows.items()], indent="  ").lines
        (model, own), *floors = ((who, headline(figures)[1]) for who, figures in each.items())
        yield from (f"  {line}" for line in below(model, own, dict(floors)))
        if isinstance(next(iter(each.values())), ZeroShot | Generalised):
            yield from (f"  {line}" for line in differences(each))


def below(name: str, own: float, floors: Mapping[str, float]) -> list[str]:
    """One line for each floor that an accuracy does not reach."""
    return [f"{name} is below {who}: {own:.1%} against {floor:.1%}" for who, floor in floors.items() if own < floor]


def differences(each: Mapping[str, Figures]) -> Iterator[str]:
    """How far the model is above each floor and above chance, paired by class split; nothing of a single split."""
    (model, own), *floors = each.items()
    if not isinstance(own, ZeroShot | Generalised) or len(own.runs) < 2:
        return
    others = {who: found.runs for who, found in floors if isinstance(found, ZeroShot | Generalised)}
    if isinstance(own, ZeroShot):
        others["chance"] = tuple(1 / len(unseen) for unseen in own.unseen)
    for who, runs in others.items():
        gap = spread([mine - other for mine, other in zip(own.runs, runs, strict=True)])
        yield f"{model} - {who}: {gap.mean:+.1%} (95 % over {len(runs)} splits: {gap.low:+.1%} to {gap.high:+.1%})"


def class_tables(results: Results, classes: Sequence[str]) -> Iterator[str]:
    """The lines of a table for each evaluation: recall and precision of every class, for the model alone."""
    for name, each in results.items():
        figures = next(iter(each.values()))
        if isinstance(figures, Episodes | Search | ZeroShot | Generalised | Clusters):
            continue
        columns = [Column(name, text=True), *map(Column, ("recordings", "recall", "precision"))]
        rows = [
            [title, str(row.recordings), percent(row.recall), percent(row.precision)]
            for title, row in zip(classes, figures.classes, strict=True)
        ]
        yield from aligned(columns, rows, indent="  ").lines


def cells(figures: Figures) -> dict[str, str]:
    """A candidate's row, by the names of its columns."""
    if isinstance(figures, Search):
        return _of_search(figures)
    if isinstance(figures, Clusters):
        return _of_clusters(figures)
    if isinstance(figures, Scores):
        return _of_scores(figures)
    if isinstance(figures, Repeated):
        return _of_draws(figures)
    if isinstance(figures, ZeroShot):
        return _of_zero_shot(figures)
    if isinstance(figures, Generalised):
        return _of_generalised(figures)
    return _of_episodes(figures) if isinstance(figures, Episodes) else _of_long_tail(figures)


def _of_scores(figures: Scores) -> dict[str, str]:
    return {
        "accuracy": percent(figures.accuracy),
        **_interval("Wilson", figures),
        **_bootstrap(figures),
        "top-5": percent(figures.top5),
        "balanced": percent(figures.balanced),
        "recordings": f"{figures.recordings:,}",
    }


def _of_draws(figures: Repeated) -> dict[str, str]:
    low, high = figures.min_labels, figures.max_labels
    return {
        "accuracy": percent(figures.accuracy),
        "std": percent(figures.std),
        **_interval("draws", figures),
        **_bootstrap(figures),
        "top-5": percent(figures.top5),
        "balanced": percent(figures.balanced),
        "labels": f"{figures.labels:,}",
        "a class": f"{low}" if low == high else f"{low} to {high}",
        "draws": f"{len(figures.runs)}",
    }


def _of_episodes(figures: Episodes) -> dict[str, str]:
    return {
        "accuracy": percent(figures.accuracy),
        "std": percent(figures.std),
        **_interval("draws", figures),
        **_bootstrap(figures),
        "novel classes": f"{figures.ways}",
        "shots": f"{figures.shots}",
        "draws": f"{figures.episodes:,}",
    }


def _of_long_tail(figures: LongTail) -> dict[str, str]:
    return {
        "balanced": percent(figures.balanced),
        "std": percent(figures.std),
        **_interval("draws", figures),
        **_bootstrap(figures),
        "common classes": percent(figures.common),
        "between": percent(figures.between),
        "rare": percent(figures.rare),
        "top-1": percent(figures.accuracy),
        "draws": f"{len(figures.runs)}",
    }


def _of_zero_shot(figures: ZeroShot) -> dict[str, str]:
    return {
        "accuracy": percent(figures.accuracy),
        "std": percent(figures.std),
        **_interval("splits" if len(figures.runs) > 1 else "Wilson", figures),
        "balanced": percent(figures.balanced),
        "chance": percent(figures.chance),
        "splits": f"{len(figures.runs)}",
    }


def _of_generalised(figures: Generalised) -> dict[str, str]:
    return {
        "harmonic": percent(figures.harmonic),
        "std": percent(figures.std),
        **_interval("splits", figures),
        "seen": percent(figures.on_seen),
        "unseen": percent(figures.on_unseen),
        "splits": f"{len(figures.runs)}",
    }


def _of_search(figures: Search) -> dict[str, str]:
    return {
        "mAP": percent(figures.precision),
        **_bootstrap(figures),
        "recall at 1": percent(figures.recall1),
        "at 5": percent(figures.recall5),
        "at 10": percent(figures.recall10),
        "queries": f"{figures.queries:,}",
    }


def _of_clusters(figures: Clusters) -> dict[str, str]:
    return {
        "silhouette": percent(figures.silhouette),
        "between / within": f"{figures.ratio:.3f}",
        "between": f"{figures.between:.3f}",
        "within": f"{figures.within:.3f}",
        "recordings": f"{figures.recordings:,}",
    }


def _interval(kind: str, figures: Scores | Repeated | Episodes | LongTail | ZeroShot | Generalised) -> dict[str, str]:
    return {f"95 % ({kind})": f"{figures.low:.1%} to {figures.high:.1%}"}


def _bootstrap(figures: Scores | Repeated | Episodes | LongTail | Search) -> dict[str, str]:
    drawn = figures.bootstrap
    if drawn is None:
        return {}
    return {f"95 % (bootstrap over {drawn.units:,} {drawn.unit})": f"{drawn.low:.1%} to {drawn.high:.1%}"}
