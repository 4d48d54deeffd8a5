"""Pages: one HTML file with everything in it, readable without a network, and what `launch/preview.py` puts there.

Text, tables and charts are plain HTML and SVG; a script draws the recordings on canvases.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.layout import Layout
from reports import animation
from reports.findings import FEW_FRAMES, Report
from reports.sections import KINDS, augmented, borders, content, health, moving
from shards.packing.losses import whole

ASSETS = Path(__file__).resolve().parent / "assets"
PACE = 30  # frames a second: what sensors record at; shards do not say
DRAWN = 4  # recordings whose augmented views are shown


def page(report: Report, *, count: int, seed: int) -> str:
    """The whole page, with about `count` recordings to play; `seed` draws the augmentations."""
    gallery = animation.chosen(report, count)
    scene = _scene(report, gallery, seed)
    pose = animation.joints_of(report.survey, gallery[:1])[gallery[0]][0, 0]
    parts = (_findings(report), moving(scene), augmented(scene), content(report), borders(report, scene))
    return document(
        f"{report.survey.manifest.name}: recordings",
        top=_top(report),
        body="".join(parts) + health(report, pose),
        foot=_foot(report),
        scene=scene,
    )


def document(
    title: str, *, top: str, body: str, foot: str, scene: dict[str, Any], styles: Sequence[str] = ("preview.css",)
) -> str:
    """A page that needs nothing but itself: style sheets, script and all that the script draws are in it."""
    data = json.dumps(scene, separators=(",", ":")).replace("<", "\\u003c")
    style = "".join((ASSETS / name).read_text(encoding="utf-8") for name in styles)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
{style}</style>
</head>
<body>
{top}
<main>
{body}
</main>
{foot}
<script id="data" type="application/json">{data}</script>
<script>
{(ASSETS / "preview.js").read_text(encoding="utf-8")}</script>
</body>
</html>
"""


def _scene(report: Report, gallery: list[int], seed: int) -> dict[str, Any]:
    """What the script draws."""
    survey, layout = report.survey, report.survey.manifest.layout
    table, first, owners = survey.table, survey.table.first_view, survey.table.performance
    shown = {row: range(int(first[owners[row]]), int(first[owners[row] + 1])) for row in gallery}
    twins = [int(row) for row in next((group[:2] for group in report.copies.groups()), ())]
    joints = animation.joints_of(survey, [*(view for views in shown.values() for view in views), *twins])

    def clip(row: int) -> dict[str, Any]:
        camera = int(table.camera[row])
        name = f"camera {camera}" if camera >= 0 else "one view"
        return {"name": name, **animation.encoded(joints[row], layout)}

    drawn = [row for row in gallery if len(joints[row]) >= FEW_FRAMES][:DRAWN]
    return {
        "layout": drawing(layout),
        "gallery": [
            {
                "title": report.title(row),
                "key": table.key[owners[row]],
                "front": list(views).index(row),
                "clips": [clip(view) for view in views],
            }
            for row, views in shown.items()
        ],
        "augmented": [
            {
                "title": report.title(row),
                "clips": [
                    {"name": "as recorded", **animation.encoded(joints[row], layout)},
                    *(
                        {"name": name, **animation.encoded(view, layout)}
                        for name, view in animation.augmented(joints[row], layout, seed + number)
                    ),
                ],
            }
            for number, row in enumerate(drawn)
        ],
        "twins": [{**clip(row), "name": report.name(row)} for row in twins],
    }


def drawing(layout: Layout) -> dict[str, Any]:
    """Bones with their colours, the head, and the joints that leave a trail: the ends of limbs."""
    part = {joint: name for name, members in layout.parts.items() for joint in members}
    kinds = [KINDS.index(_kind(part[joint])) for joint in range(len(layout.joints))]
    parents = {parent for _, parent in layout.bones}
    ends = [child for child, _ in layout.bones if child not in parents and kinds[child]]
    heads = [joint for joint, name in enumerate(layout.joints) if name in ("head", "nose")]
    return {
        "bones": [[child, parent, kinds[child]] for child, parent in layout.bones],
        "head": heads[0] if heads else -1,
        "ends": [[joint, kinds[joint]] for joint in ends],
        "colours": KINDS,
        "pace": PACE,
        "planar": layout.coordinates == 2,
    }


def _kind(part: str) -> str:
    side = next((side for side in ("left", "right") if part.startswith(side)), "")
    return f"{side}-{'leg' if 'leg' in part else 'arm'}" if side else "trunk"


def _top(report: Report) -> str:
    manifest, views = report.survey.manifest, report.survey.table.views
    layout = manifest.layout
    figures = {
        "performances": f"{manifest.performances:,}",
        "recordings": f"{manifest.views:,}",
        "frames": f"{manifest.frames:,}",
        "classes": f"{len(manifest.classes):,}",
        **{
            name: f"{len(np.unique(column[column >= 0])):,}"
            for name, column in (("subjects", views.subject), ("cameras", views.camera), ("setups", views.setup))
            if (column >= 0).any()
        },
        "joints": f"{len(layout.joints)}",
        "megabytes": f"{sum(shard.bytes for shard in manifest.shards) / 1e6:,.1f}",
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    where = "in space" if layout.coordinates == 3 else "in the plane"
    return f"""<header class="top">
<p class="what">Recordings, layout {escape(layout.name)}, {where}, {manifest.dtype}</p>
<h1>{escape(manifest.name)}</h1>
<dl class="figures">{tiles}</dl>
</header>"""


def _findings(report: Report) -> str:
    items = "\n".join(
        f'<li class="{finding.level}"><b>{escape(finding.title)}</b><span>{escape(finding.text)}</span></li>'
        for finding in report.findings()
    )
    return f'<ul class="findings">\n{items}\n</ul>\n'


def _foot(report: Report) -> str:
    manifest = report.survey.manifest
    steps = " → ".join(escape(str(step.get("step", "")).replace("_", " ")) for step in manifest.preprocessing)
    files = len(whole(manifest.dropped))
    dropped = f" {files:,} files of the source were left out." if files else ""
    return f"""<footer>
<p>Prepared by: {steps}.{dropped} Played at {PACE} frames a second; shards do not say what was recorded at.</p>
<p>Digest <code>{manifest.digest}</code></p>
</footer>"""
