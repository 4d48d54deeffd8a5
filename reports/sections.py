"""The sections of the page of `launch/preview.py`, each a piece of HTML.

A scene is what the page's script draws: canvases name a clip in it by its path, such as `gallery/3/clips/0`.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from reports import charts
from reports.animation import joints_of, upright
from reports.findings import FEW_FRAMES, Report, copied_classes
from shards.packing.duplicates import Contamination

OUTLIERS = 6  # recordings whose worst frame is drawn
LISTED = 300  # recordings that are listed by name
CELLS = 60  # classes or half as many subjects, at most, in a table of both
FIGURES = 8  # bones and joints that are listed
SHOWN = 5e-5  # smaller shares are written as 0.00 %
KINDS = ("trunk", "left-arm", "left-leg", "right-arm", "right-leg")
SPEEDS = (0.25, 0.5, 1, 2)


def moving(scene: dict[str, Any]) -> str:
    """A stage that plays one performance from all its cameras, and the recordings to choose from."""
    cards = "\n".join(
        f'<figure tabindex="0"><canvas data-clip="gallery/{number}/clips/{shown["front"]}"></canvas>'
        f"<figcaption><b>{escape(shown['title'])}</b>{escape(shown['key'])}</figcaption></figure>"
        for number, shown in enumerate(scene["gallery"])
    )
    speeds = "".join(f"<option value={s}{' selected' if s == 1 else ''}>{s:g} ×</option>" for s in SPEEDS)
    facing = "centred on the main person, who faces the viewer in the first frame"
    how = "in the plane of the image, centred on the main person" if scene["layout"]["planar"] else facing
    legend = "".join(f'<span><i class="{kind}"></i>{kind.replace("-", " ")}</span>' for kind in KINDS)
    return f"""<section id="moving">
<h2>See them move</h2>
<p class="lead">Typical recordings, as stored: {how}. Drag to turn, double-click to turn back, choose any below.</p>
<div class="card stage">
<div class="views"></div>
<div class="controls"><button id="play">Pause</button><select id="choice" aria-label="recording"></select>
<input id="scrub" type="range" min="0" max="1" value="0" aria-label="frame">
<select id="speed" aria-label="speed">{speeds}</select><output id="counter"></output></div>
</div>
<div class="gallery">
{cards}
</div>
<p class="legend">{legend}</p>
</section>
"""


def augmented(scene: dict[str, Any]) -> str:
    """Each recording in a row with clips that training would be given."""
    if not scene["augmented"]:
        return ""
    rows = []
    for number, shown in enumerate(scene["augmented"]):
        captions = [f"<b>{escape(shown['title'])}</b>, original"]
        captions += [f"<b>{escape(clip['name'])}</b>" for clip in shown["clips"][1:]]
        figures = "".join(
            f"<figure><figcaption>{caption}</figcaption>"
            f'<canvas data-clip="augmented/{number}/clips/{place}"></canvas></figure>'
            for place, caption in enumerate(captions)
        )
        rows.append(f'<div class="card draws">{figures}</div>')
    return f"""<section id="augmented">
<h2>What training makes of them</h2>
<p class="lead">Beside each recording, clips that the two augmentation pipelines draw from it. Conservative: another
pace, another part. Aggressive: also smoothed, sheared, shifted in time, and now and then without its left or right
limbs.</p>
{"".join(rows)}
</section>
"""


def content(report: Report) -> str:
    """What there is of everything."""
    manifest, table, views = report.survey.manifest, report.survey.table, report.survey.table.views
    copied = report.copies.repeats
    classes = [_counted(name, views.label == label, copied) for label, name in enumerate(manifest.classes)]
    if (views.label < 0).any():
        classes.append(_counted("without a label", views.label < 0, copied))
    key = '<p class="key"><i></i>bit-for-bit copies of other recordings</p>' if copied.any() else ""
    numbers = [
        f"<h3>{title}</h3>{charts.bars(rows, marked='copies')}"
        for title, rows in (
            ("Cameras", _numbered("camera", views.camera, copied)),
            ("Setups", _numbered("setup", views.setup, copied)),
            ("Persons in a recording", _numbered("persons:", table.bodies)),
            ("Cameras that saw a performance", _numbered("views:", np.diff(table.first_view))),
        )
        if rows
    ]
    subjects = _numbered("subject", views.subject, copied)
    cards = [f"<h3>Classes</h3>{charts.bars(classes, marked='copies')}{key}", _crossed(report)]
    cards += [f"<h3>Subjects</h3>{charts.bars(subjects, marked='copies')}" if subjects else "", "".join(numbers)]
    grid = "\n".join(f'<div class="card">{card}</div>' for card in cards if card)
    lengths = charts.histogram(table.frames, unit="frames", few=FEW_FRAMES)
    return f"""<section id="content">
<h2>What is in it</h2>
<p class="lead">Counted in recordings, one a camera, unless it says otherwise.</p>
<div class="grid two">
{grid}
</div>
<div class="card below"><h3>Lengths in frames</h3>{lengths}
<p class="key">shortest {table.frames.min()}, longest {table.frames.max()}; marked: fewer than {FEW_FRAMES}</p></div>
</section>
"""


def _crossed(report: Report) -> str:
    """Classes against subjects; nothing where one of them is unknown or there are too many."""
    classes, views = report.survey.manifest.classes, report.survey.table.views
    subjects = np.unique(views.subject[views.subject >= 0])
    if not len(subjects) or not 1 < len(classes) <= CELLS or len(subjects) > CELLS // 2:
        return ""
    table = np.zeros((len(classes), len(subjects)), dtype=np.int64)
    both = (views.label >= 0) & (views.subject >= 0)
    np.add.at(table, (views.label[both], np.searchsorted(subjects, views.subject[both])), 1)
    grid = charts.heatmap(table, classes, [str(subject) for subject in subjects])
    return f'<h3>Classes and subjects</h3><div class="scroll">{grid}</div>'


def borders(report: Report, scene: dict[str, Any]) -> str:
    """Which protocols can be trusted, and which recordings are the same."""
    return f"""<section id="borders">
<h2>Who is on both sides</h2>
<p class="lead">A test recording that is also in training is no test. Recordings are compared by the joints that are
stored, bit for bit, across the whole folder.</p>
{_protocols(report.protocols)}
{_twins(report, scene)}
</section>
"""


def _protocols(protocols: Sequence[Contamination]) -> str:
    if not protocols:
        return '<div class="card">These recordings declare no split, and no protocol is known for them.</div>'
    names = ("train", "held out", "test", "also in training", "twice in test")
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    rows = []
    for c in protocols:
        spoiled = c.copied or c.held_out_copied
        badge = '<span class="badge fault">contaminated</span>' if spoiled else '<span class="badge">clean</span>'
        parts = (("", c.train - c.held_out), ("held", c.held_out), ("test", c.test - c.copied), ("copied", c.copied))
        total = max(c.train + c.test, 1)
        sides = "".join(f'<i class="{kind}" style="width:{100 * n / total:.2f}%"></i>' for kind, n in parts)
        counts = (c.train, c.held_out, c.test, c.copied, c.test_twice)
        rows.append(
            f"<tr><td><b>{escape(c.split.name)}</b><br><small>{escape(c.split.description)}</small></td>"
            f'<td>{badge}</td><td><div class="sides">{sides}</div></td>'
            + "".join(f'<td class="number">{count:,}</td>' for count in counts)
            + "</tr>"
        )
    return f"""<div class="card scroll">
<table><tr><th>protocol</th><th></th><th></th>{head}</tr>
{"".join(rows)}</table>
<p class="legend"><span><i class="train"></i>training</span><span><i class="held"></i>held out of it</span>
<span><i class="test"></i>test</span><span><i class="copied"></i>test, and also in training</span></p>
</div>"""


def _twins(report: Report, scene: dict[str, Any]) -> str:
    """Two recordings that are the same side by side, and the list of all of them."""
    if not scene["twins"]:
        return ""
    figures = "".join(
        f'<figure><figcaption>{escape(clip["name"])}</figcaption><canvas data-clip="twins/{place}"></canvas></figure>'
        for place, clip in enumerate(scene["twins"])
    )
    classes = charts.bars([(name, count, 0) for name, count in copied_classes(report).items()])
    groups = list(report.copies.groups())
    names = [" = ".join(report.name(int(row)) for row in group) for group in groups]
    return f"""<div class="grid two below">
<div class="card"><h3>Different names, the same recording: the first of {len(groups):,}</h3>
<div class="grid two twins">{figures}</div></div>
<div class="card"><h3>Copies by class</h3>{classes}{_listing("all by name", names)}</div>
</div>"""


def health(report: Report, pose: np.ndarray) -> str:
    """Which bones and joints cannot be trusted, drawn on one body (V, C), and in which recordings."""
    survey, layout = report.survey, report.survey.manifest.layout
    figure = charts.body(upright(pose, layout), layout, survey.bone_implausible, survey.joint_missing)
    bones = [f"{layout.joints[child]} – {layout.joints[parent]}" for child, parent in layout.bones]
    tables = [
        f"<h3>{title}, share of poses</h3><table>{rows}</table>"
        for title, rows in (
            ("Bones of implausible length", _shares(survey.bone_implausible, bones)),
            ("Joints not measured", _shares(survey.joint_missing, layout.joints)),
        )
        if rows
    ] or ["<p>All joints were measured, and all bones have plausible lengths.</p>"]
    empty = [f"{report.name(row)}: {why}" for row, why in report.empty]
    return f"""<section id="health">
<h2>Bones and joints</h2>
<p class="lead">A bone is implausible where it is over twice or under half its usual length, and off by more than
sensors err. A joint was not measured where it lies on its parent, or where its detector gave no confidence. The redder,
the more often.</p>
<div class="grid two">
<div class="card">{figure}</div>
<div class="card">{"".join(tables)}</div>
</div>
{_outliers(report)}
{_listing(f"{len(empty):,} near-empty recordings", empty)}
</section>
"""


def _shares(shares: np.ndarray, names: Sequence[str]) -> str:
    worst = [n for n in np.argsort(-shares, kind="stable")[:FIGURES] if shares[n] >= SHOWN]
    return "".join(f'<tr><td>{escape(names[n])}</td><td class="number">{shares[n]:.2%}</td></tr>' for n in worst)


def _outliers(report: Report) -> str:
    survey, layout, looks = report.survey, report.survey.manifest.layout, report.survey.looks
    rows = [int(row) for row in report.outliers if not report.copies.repeats[row]]
    if not rows:
        return ""
    joints = joints_of(survey, rows[:OUTLIERS])
    items = []
    for row in rows[:OUTLIERS]:
        frame, bone = int(looks.frame[row]), int(looks.bone[row])
        around = [n for n in range(frame - 2, frame + 3) if 0 <= n < len(joints[row])]
        poses = [upright(joints[row][n], layout) for n in around]
        child, parent = layout.bones[bone]
        what = f"{layout.joints[child]} – {layout.joints[parent]}, {looks.ratio[row]:.2g} × its usual length"
        items.append(
            f"<tr><td>{escape(report.name(row))}<br><small>{escape(what)} in frame {frame}</small></td>"
            f"<td>{charts.strip(poses, layout, bone, around.index(frame))}</td>"
            f'<td class="number">{looks.implausible[row]:.1%}</td></tr>'
        )
    others = [f"{report.name(row)}: {looks.implausible[row]:.1%}" for row in rows[OUTLIERS:]]
    return f"""<div class="card scroll below"><h3>Recordings with the most implausible bones</h3>
<table><tr><th>recording</th><th>around its worst frame</th><th class="number">of its bones</th></tr>
{"".join(items)}</table>
{_listing(f"{len(others):,} more outliers", others)}</div>"""


def _listing(title: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    items = "".join(f"<li>{escape(name)}</li>" for name in names[:LISTED])
    more = f"<p>and {len(names) - LISTED:,} more</p>" if len(names) > LISTED else ""
    return f"<details><summary>{escape(title)}</summary><ol>{items}</ol>{more}</details>"


def _counted(name: str, which: np.ndarray, copied: np.ndarray) -> tuple[str, int, int]:
    return name, int(which.sum()), int((which & copied).sum())


def _numbered(name: str, column: np.ndarray, copied: np.ndarray | None = None) -> list[tuple[str, int, int]]:
    """A row for every number that is known."""
    special = np.zeros(len(column), dtype=bool) if copied is None else copied
    return [_counted(f"{name} {number}", column == number, special) for number in np.unique(column[column >= 0])]
