"""The page about a folder of shards: the recordings, moving, and what is wrong with them (`launch/preview.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from reports import animation
from reports.data import sections
from reports.findings import FEW_FRAMES, Report
from reports.html import render
from shards.packing.losses import whole

DRAWN = 4  # recordings whose augmented views are shown
SPEEDS = (0.25, 0.5, 1, 2)


def page(report: Report, *, count: int, seed: int) -> str:
    """The whole page, with about `count` recordings to play; `seed` draws the augmentations."""
    gallery = animation.chosen(report, count)
    pose = animation.joints_of(report.survey, gallery[:1])[gallery[0]][0, 0]
    manifest = report.survey.manifest
    layout = manifest.layout
    return render(
        "data.html",
        scene=_scene(report, gallery, seed),
        styles=("page.css",),
        title=f"{manifest.name}: recordings",
        name=manifest.name,
        subtitle=f"Recordings, layout {layout.name}, {layout.coordinates}D, {manifest.dtype}",
        tiles=_tiles(report),
        findings=report.findings(),
        digest=manifest.digest,
        speeds=SPEEDS,
        content=sections.content(report),
        overlap=sections.overlap(report),
        health=sections.health(report, pose),
        steps=[str(step.get("step", "")).replace("_", " ") for step in manifest.preprocessing],
        dropped=len(whole(manifest.dropped)),
    )


def _scene(report: Report, gallery: list[int], seed: int) -> dict[str, Any]:
    """What the script draws. Canvases name a clip in it by its path, such as `gallery/3/clips/0`."""
    survey, layout = report.survey, report.survey.manifest.layout
    table, first, owners = survey.table, survey.table.first_view, survey.table.performance
    shown = {row: range(int(first[owners[row]]), int(first[owners[row] + 1])) for row in gallery}
    duplicates = [int(row) for row in next((group[:2] for group in report.copies.groups()), ())]
    joints = animation.joints_of(survey, [*(view for views in shown.values() for view in views), *duplicates])

    def clip(row: int) -> dict[str, Any]:
        camera = int(table.camera[row])
        name = f"camera {camera}" if camera >= 0 else "unknown camera"
        return {"name": name, **animation.encoded(joints[row], layout)}

    drawn = [row for row in gallery if len(joints[row]) >= FEW_FRAMES][:DRAWN]
    return {
        "layout": animation.drawing(layout),
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
                    {"name": "original", **animation.encoded(joints[row], layout)},
                    *(
                        {"name": name, **animation.encoded(view, layout)}
                        for name, view in animation.augmented(joints[row], layout, seed + number)
                    ),
                ],
            }
            for number, row in enumerate(drawn)
        ],
        "duplicates": [{**clip(row), "name": report.name(row)} for row in duplicates],
    }


def _tiles(report: Report) -> dict[str, str]:
    manifest, views = report.survey.manifest, report.survey.table.views
    known = (("subjects", views.subject), ("cameras", views.camera), ("setups", views.setup))
    return {
        "performances": f"{manifest.performances:,}",
        "recordings": f"{manifest.views:,}",
        "frames": f"{manifest.frames:,}",
        "classes": f"{len(manifest.classes):,}",
        **{name: f"{len(np.unique(column[column >= 0])):,}" for name, column in known if (column >= 0).any()},
        "joints": f"{len(manifest.layout.joints)}",
        "MB": f"{sum(shard.bytes for shard in manifest.shards) / 1e6:,.1f}",
    }
