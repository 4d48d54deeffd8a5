"""The sections of the page of `launch/report.py`, each a piece of HTML that opens with what it shows, in a sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from bonestrap.protocols.bootstrap import Bootstrap
from evaluation.predictions import Predictions
from evaluation.run_record import RunRecord
from reports import plots
from reports import summaries as verdicts
from reports.pictures import OKABE_ITO, plane
from reports.plots import Axis, Floor, Line, Point

STAGE_COLOURS = {"pretrained": "#CC79A7", "teacher": "#0072B2", "student": "#009E73", "scratch": "#E69F00"}
NUMBERED = 40  # classes at most whose confusions are written as numbers


def colour(number: int) -> str:
    """Of a model, throughout the page."""
    return OKABE_ITO[number % len(OKABE_ITO)]


def choosing(records: Sequence[RunRecord]) -> str:
    """Accuracy against parameters and against latency."""
    top = max(max(d.shown.model.high, *(f.accuracy for f in d.shown.floors.values())) for d in records)
    y = Axis(title="test accuracy (%)", low=0, high=min(100, 100 * top + 8))
    sizes = [float(d.parameters) for d in records]
    cards = [_against(records, sizes, y, "parameters (logarithmic)")]
    timed = [d for d in records if d.latency_ms is not None]
    if timed:
        times = [d.latency_ms or 0.0 for d in timed]
        cards.append(_against(timed, times, y, "latency of one clip, one CPU thread (ms, logarithmic)"))
    hollow = any(not d.classifies for d in records)
    key = '<span><i class="hollow"></i>encoder under a linear or kNN probe with all labels</span>' if hollow else ""
    machines = sorted({d.machine or "a machine that was not recorded" for d in timed})
    return _section(
        "choosing",
        "Which one to take",
        verdicts.choice(records),
        f'<div class="grid two">{"".join(f"""<div class="card">{card}</div>""" for card in cards)}</div>'
        '<p class="legend"><span><i class="bar"></i>95 % interval (Wilson)</span>'
        '<span><i class="dash"></i>raw joints</span>'
        f'<span><i class="ring"></i>random encoder of the same kind</span>{key}</p>'
        f'<p class="key">Latency on {escape("; ".join(machines))}, float32.</p>',
    )


def _against(records: Sequence[RunRecord], xs: Sequence[float], y: Axis, title: str) -> str:
    x = Axis(title=title, low=min(xs) / 1.6, high=max(xs) * 1.6, log=True)
    points = [
        Point(
            name=d.name,
            x=at,
            y=100 * d.shown.model.accuracy,
            low=100 * d.shown.model.low,
            high=100 * d.shown.model.high,
            colour=colour(number),
            said=f"{d.name}: {d.shown.model.accuracy:.1%}, {d.parameters:,} parameters",
            hollow=not d.classifies,
        )
        for number, (d, at) in enumerate(zip(records, xs, strict=True))
    ]
    rings = "".join(
        f'<b class="point ring" style="left:{x.at(at):.2f}%;bottom:{y.at(100 * floor.accuracy):.2f}%" '
        f'title="{escape(f"{who} beside {d.name}: {floor.accuracy:.1%}")}"></b>'
        for d, at in zip(records, xs, strict=True)
        for who, floor in d.shown.floors.items()
        if who != "raw joints"
    )
    return plots.scatter(points, _raw(records), x, y, under=rings)


def _raw(records: Sequence[RunRecord]) -> list[Floor]:
    """Raw joints under every evaluation and share of the labels that occurs."""
    found: dict[tuple[str, float], str] = {}
    for d in records:
        if floor := d.shown.floors.get("raw joints"):
            share = d.lineage.get("labels")
            labels = f"{100 * share:.3g}% of labels" if d.classifies and share is not None else "all labels"
            found[labels, 100 * floor.accuracy] = f"raw joints, {labels}: {floor.accuracy:.1%}"
    return [Floor(name=name, y=y) for (_, y), name in found.items()]


def table(records: Sequence[RunRecord]) -> str:
    """All models with all that is known of them, the most accurate first, encoders after those that know classes."""
    head = (
        "model", "stage", "encoder", "parameters", "labels used", "test accuracy", "95 % (Wilson)",
        "95 % (bootstrap)", "latency (ms a clip)", "own cost (device-hours)", "total cost (device-hours)",
        "evaluated by", "seed", "data", "commit",
    )  # fmt: skip
    rows = []
    for number, d in sorted(
        enumerate(records), key=lambda pair: (not pair[1].classifies, -pair[1].shown.model.accuracy)
    ):
        measured, share = d.shown.model, d.lineage.get("labels")
        missed = f'<br><span class="badge fault">not above {" and ".join(d.shown.missed)}</span>'
        name = f'<i class="dot" style="--c:{colour(number)}"></i><b>{escape(d.name)}</b>'
        cells = (
            name + (missed if d.shown.missed else ""),
            escape(d.description.stage),
            escape(d.description.encoder.label),
            f"{d.parameters:,}",
            "–" if share is None else f"{100 * share:.4g}%",
            f"{measured.accuracy:.1%}",
            f"{measured.low:.1%} to {measured.high:.1%}",
            _drawn(measured.bootstrap),
            verdicts.latency(d),
            verdicts.hours(d.costs[-1].hours),
            verdicts.hours(d.hours),
            verdicts.evaluated(d.shown),
            str(d.result["seed"]),
            f"<code>{d.lineage['digest'][:8]}</code>",
            f"<code>{escape(_short(d.info['commit']))}</code>",
        )
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    titles = "".join(f"<th>{name}</th>" for name in head)
    body = f'<div class="card scroll"><table class="models"><tr>{titles}</tr>{"".join(rows)}</table></div>'
    return _section("table", "In figures", verdicts.table(records), body)


def _drawn(drawn: Bootstrap | None) -> str:
    return "–" if drawn is None else f"{drawn.low:.1%} to {drawn.high:.1%}, {drawn.units:,} {drawn.unit}"


def _short(commit: str) -> str:
    return commit[:8] + ("+changes" if commit.endswith("+changes") else "")


def costs(records: Sequence[RunRecord]) -> str:
    """Device-hours of whole lineages, one bar a model."""
    most = max(d.hours for d in records) or 1.0
    rows, stages = [], dict.fromkeys(cost.stage for d in records for cost in d.costs)
    for d in sorted(records, key=lambda one: one.hours):
        parts = "".join(
            f'<i style="width:{100 * cost.hours / most:.2f}%;background:{STAGE_COLOURS.get(cost.stage, "gray")}" '
            f'title="{escape(cost.run)}: {cost.hours:.4f} device-hours"></i>'
            for cost in d.costs
        )
        path = " → ".join(f"{cost.run} {verdicts.hours(cost.hours)}" for cost in d.costs)
        rows.append(
            f'<div class="cost"><b>{escape(d.name)}</b><span class="track">{parts}</span>'
            f'<span class="count">{verdicts.hours(d.hours)} h</span><small>{escape(path)}</small></div>'
        )
    key = "".join(f'<span><i style="background:{STAGE_COLOURS.get(s, "gray")}"></i>{s}</span>' for s in stages)
    body = f'<div class="card">{"".join(rows)}<p class="legend">{key}</p></div>'
    hardware = "; ".join(sorted({d.info["hardware"] for d in records}))
    return _section("costs", "What it cost", f"{verdicts.cost(records)} Device-hours on {hardware}.", body)


def by_class(records: Sequence[RunRecord], predictions: Predictions) -> str:
    """Accuracy by class, the worst class first, a bar a model."""
    known = [
        (n, d.name, t.table)
        for n, (d, t) in enumerate(zip(records, predictions.each, strict=True))
        if t.table is not None
    ]
    if not known:
        return ""
    classes = predictions.data.manifest.classes
    counts = known[0][2].sum(1)
    shares = {n: t.diagonal() / np.maximum(t.sum(1), 1) for n, _, t in known}
    order = sorted(np.flatnonzero(counts), key=lambda c: float(np.mean([s[c] for s in shares.values()])))
    rows = []
    for c in order:
        bars = "".join(
            f'<i style="width:{100 * shares[n][c]:.2f}%;--c:{colour(n)}" '
            f'title="{escape(f"{name}, {classes[c]}: {t[c, c]:,} of {counts[c]:,}")}"></i>'
            for n, name, t in known
        )
        figures = " ".join(f'<span style="--c:{colour(n)}">{100 * shares[n][c]:.0f}</span>' for n, _, _ in known)
        rows.append(
            f'<div class="class"><span class="name">{escape(classes[c])} <small>of {counts[c]:,}</small></span>'
            f'<span class="tracks">{bars}</span>'
            f'<span class="shares">{figures}</span></div>'
        )
    best = max(known, key=lambda one: one[2].trace())
    key = "".join(f'<span><i style="background:{colour(n)}"></i>{escape(name)}</span>' for n, name, _ in known)
    body = (
        f'<div class="card"><p class="key">Share of the class\'s test recordings that is right (%), and how many there '
        f'are</p>{"".join(rows)}<p class="legend">{key}</p></div>'
    )
    return _section("classes", "Class by class", verdicts.classes(best[1], best[2], classes), body)


def confusions(records: Sequence[RunRecord], predictions: Predictions) -> str:
    """What is taken for what; the most accurate model's table stands open."""
    known = [(d.name, t.table) for d, t in zip(records, predictions.each, strict=True) if t.table is not None]
    if not known:
        return ""
    classes = predictions.data.manifest.classes
    known.sort(key=lambda one: -int(one[1].trace()))
    best, *others = known
    body = f'<div class="card"><h3>{escape(best[0])}</h3>{_confusion(best[1], classes)}</div>'
    for name, counts in others:
        said = escape(verdicts.confused(name, counts, classes))
        body += _folded(said, f'<div class="card">{_confusion(counts, classes)}</div>')
    return _section("confusions", "What is taken for what", verdicts.confused(*best, classes), body)


def _confusion(counts: np.ndarray, classes: Sequence[str]) -> str:
    """Rows are true classes, columns predicted ones, in percent of the row."""
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    head = "".join(f'<th title="{escape(name)}">{n}</th>' for n, name in enumerate(classes, 1))
    rows = []
    for r, name in enumerate(classes):
        cells = []
        for c, other in enumerate(classes):
            if not counts[r, c]:
                cells.append("<td></td>")
                continue
            kind = "right" if r == c else "wrong"
            dark = " dark" if share[r, c] > 55 else ""
            text = f"{share[r, c]:.0f}" if len(classes) <= NUMBERED else ""
            said = escape(f"{name} taken for {other}: {counts[r, c]:,} of {counts[r].sum():,}")
            cells.append(f'<td class="{kind}{dark}" style="--s:{share[r, c]:.0f}%" title="{said}">{text}</td>')
        rows.append(f"<tr><th>{r + 1} {escape(name)}</th>{''.join(cells)}</tr>")
    return (
        '<p class="key">Rows: true class; columns: predicted class, by number; percent of the row</p>'
        f'<div class="scroll"><table class="confusion"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'
    )


def maps(records: Sequence[RunRecord], predictions: Predictions) -> str:
    """Test recordings by the features of every model, on a plane."""
    rows = predictions.mapped
    classes, truth = predictions.data.manifest.classes, predictions.truth[rows]
    names = [d.name for d in records]
    shares = [predictions.neighbours(n) for n in range(len(records))]
    try:
        drawn = [plots.cloud(plane(prediction.features.numpy()[rows]), truth) for prediction in predictions.each]
    except ImportError:
        body = '<div class="card">Not drawn: t-SNE needs scikit-learn, which was not installed.</div>'
        return _section("maps", "How recordings lie", verdicts.neighbours(names, shares, len(classes)), body)
    cards = "".join(
        f'<div class="card"><h3>{escape(name)}</h3>{cloud}<p class="key">nearest is of its class: {share:.1%}</p></div>'
        for name, cloud, share in zip(names, drawn, shares, strict=True)
    )
    body = f'{plots.marks()}<div class="grid three">{cards}</div>{plots.names(classes)}'
    body += f'<p class="key">t-SNE of {len(rows):,} test recordings; distances on the plane have no unit.</p>'
    return _section("maps", "How recordings lie", verdicts.neighbours(names, shares, len(classes)), body)


def curves(records: Sequence[RunRecord]) -> str:
    """Loss and shares over the steps of every run."""
    cards = []
    for d in records:
        drawn = []
        steps, losses = d.curve("loss")
        x = Axis(title="optimizer steps", low=0, high=max([line["step"] for line in d.journal] + [1]))
        if losses:
            y = Axis(title="training loss (no unit)", low=min(0.0, *losses), high=max(losses) * 1.05)
            drawn.append(plots.lines([Line(name="loss", x=steps, y=losses, colour=OKABE_ITO[0])], x, y))
        shares = [
            Line(name=called, x=points[0], y=[100 * value for value in points[1]], colour=OKABE_ITO[1 + n])
            for n, (metric, called) in enumerate(verdicts.SHARES.items())
            if (points := d.curve(metric))[0]
        ]
        if shares:
            title = shares[0].name if len(shares) == 1 else "share right"
            drawn.append(plots.lines(shares, x, Axis(title=f"{title} (%)", low=0, high=100)))
        cards.append(
            f'<div class="card"><h3>{escape(d.name)}</h3><p class="key">{escape(verdicts.curves(d))}</p>'
            f'<div class="grid two">{"".join(drawn)}</div></div>'
        )
    best = max(verdicts.recognisers(records) or records, key=lambda one: one.shown.model.accuracy)
    lead = f"{best.name}: {verdicts.curves(best)}."
    return _section("curves", "How they learned", lead, f'<div class="grid">{"".join(cards)}</div>')


def seen(records: Sequence[RunRecord], scene: Sequence[dict[str, Any]]) -> str:
    """Recordings beside what augmentation made of them; the page's script draws them."""
    clip = records[0].description.clip
    lengths = [shown["clips"][0]["total"] for shown in scene]
    how = "stretched to" if clip.fit else "cut or repeated to"
    lead = (
        f"Training recordings of {min(lengths)} to {max(lengths)} frames, {how} clips of {clip.frames} frames: "
        f"one draw of every pipeline."
    )
    rows = []
    for number, shown in enumerate(scene):
        figures = "".join(
            f"<figure><figcaption><b>{escape(shown['title'])}</b>, {escape(each['name'])}</figcaption>"
            f'<canvas data-clip="augmented/{number}/clips/{place}"></canvas></figure>'
            for place, each in enumerate(shown["clips"])
        )
        rows.append(f'<div class="card draws">{figures}</div>')
    return _section("seen", "What the networks saw", lead, "".join(rows))


def cards(texts: Sequence[tuple[str, str]]) -> str:
    """The model cards, folded; a single one stands open."""
    body = "".join(
        _folded(escape(name), f'<div class="card text">{_markdown(text)}</div>', unfolded=len(texts) == 1)
        for name, text in texts
    )
    return _section("cards", "Model cards", "What each model was trained on, with which faults, and its limits.", body)


def _markdown(text: str) -> str:
    """The little of Markdown that model cards use: headings, lists, paragraphs, bold, code."""
    out, listed = [], False
    for line in text.splitlines():
        item = line.startswith("- ")
        if item != listed:
            out.append("<ul>" if item else "</ul>")
            listed = item
        inner = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", re.sub(r"`(.+?)`", r"<code>\1</code>", escape(line)))
        if item:
            out.append(f"<li>{inner[2:]}</li>")
        elif line.startswith("#"):
            out.append(f"<h3>{inner.lstrip('# ')}</h3>")
        elif line:
            out.append(f"<p>{inner}</p>")
    return "".join([*out, "</ul>" if listed else ""])


def _folded(title: str, body: str, *, unfolded: bool = False) -> str:
    """What is shown on demand, and always on paper."""
    return f'<details class="printed"{" open" if unfolded else ""}><summary>{title}</summary>{body}</details>'


def _section(name: str, title: str, lead: str, body: str) -> str:
    return f'<section id="{name}">\n<h2>{title}</h2>\n<p class="lead">{escape(lead)}</p>\n{body}\n</section>\n'
