"""What the sections of the page about recordings show, as values for `templates/data.html`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reports import charts, skeletons
from reports.animation import joints_of, upright
from reports.charts import Bar, Grid
from reports.findings import FEW_FRAMES, Report, copied_classes
from shards.packing.duplicates import Contamination

OUTLIERS = 6  # recordings whose worst frame is drawn
CELLS = 60  # classes or half as many subjects, at most, in a table of both
LISTED = 8  # bones and joints that are listed
SHOWN = 5e-5  # smaller fractions are written as 0.00 %

Values = dict[str, Any]


def content(report: Report) -> Values:
    """How many recordings there are of each class, subject, camera and length."""
    manifest, table, views = report.survey.manifest, report.survey.table, report.survey.table.views
    copied = report.copies.repeats
    classes = [_counted(name, views.label == label, copied) for label, name in enumerate(manifest.classes)]
    if (views.label < 0).any():
        classes.append(_counted("unlabelled", views.label < 0, copied))
    others = (
        ("Cameras", _numbered("camera", views.camera, copied)),
        ("Setups", _numbered("setup", views.setup, copied)),
        ("Persons per recording", _numbered("persons =", table.bodies)),
        ("Cameras per performance", _numbered("cameras =", np.diff(table.first_view))),
    )
    cards = [[("Classes", classes)], [("Subjects", _numbered("subject", views.subject, copied))], others]
    return {
        "cards": [drawn for card in cards if (drawn := [(title, _bars(rows)) for title, rows in card if rows])],
        "copied": bool(copied.any()),
        "crossed": _crossed(report),
        "lengths": charts.histogram(table.frames, unit="frames", few=FEW_FRAMES),
        "shortest": int(table.frames.min()),
        "longest": int(table.frames.max()),
        "few": FEW_FRAMES,
    }


def _bars(rows: Sequence[tuple[str, int, int]]) -> list[Bar]:
    return charts.bars(rows, marked="duplicates")


def _crossed(report: Report) -> Grid | None:
    """Classes by subjects; None where one of them is unknown or there are too many."""
    classes, views = report.survey.manifest.classes, report.survey.table.views
    subjects = np.unique(views.subject[views.subject >= 0])
    if not len(subjects) or not 1 < len(classes) <= CELLS or len(subjects) > CELLS // 2:
        return None
    table = np.zeros((len(classes), len(subjects)), dtype=np.int64)
    both = (views.label >= 0) & (views.subject >= 0)
    np.add.at(table, (views.label[both], np.searchsorted(subjects, views.subject[both])), 1)
    return charts.heatmap(table, classes, [str(subject) for subject in subjects], "classes by subject")


def overlap(report: Report) -> Values:
    """Splits with recordings on both sides, and the recordings that are the same."""
    groups = [" = ".join(report.name(int(row)) for row in group) for group in report.copies.groups()]
    classes = charts.bars([(name, count, 0) for name, count in copied_classes(report).items()])
    return {"splits": [_split(one) for one in report.protocols], "groups": groups, "classes": classes}


def _split(one: Contamination) -> Values:
    parts = (
        (one.train - one.held_out, "training", "train", ""),
        (one.held_out, "held out", "held", ""),
        (one.test - one.copied, "test", "test", ""),
        (one.copied, "test, also in training", "copied", ""),
    )
    return {
        "name": one.split.name,
        "description": one.split.description,
        "contaminated": bool(one.copied or one.held_out_copied),
        "segments": charts.stacked(parts, one.train + one.test),
        "counts": (one.train, one.held_out, one.test, one.copied, one.test_twice),
    }


def health(report: Report, pose: np.ndarray) -> Values:
    """Which bones and joints have faults, drawn on one body (V, C), and in which recordings."""
    survey, layout = report.survey, report.survey.manifest.layout
    bones = [f"{layout.joints[child]} – {layout.joints[parent]}" for child, parent in layout.bones]
    tables = (
        ("Implausible bone lengths", _worst(survey.bone_implausible, bones)),
        ("Missing joints", _worst(survey.joint_missing, layout.joints)),
    )
    looks = survey.looks
    rows = [int(row) for row in report.outliers if not report.copies.repeats[row]]
    return {
        "body": skeletons.body(upright(pose, layout), layout, survey.bone_implausible, survey.joint_missing),
        "tables": tables,
        "outliers": _outliers(report, rows[:OUTLIERS]),
        "others": [f"{report.name(row)}: {looks.implausible[row]:.1%}" for row in rows[OUTLIERS:]],
        "empty": [f"{report.name(row)}: {why}" for row, why in report.empty],
    }


def _worst(fractions: np.ndarray, names: Sequence[str]) -> list[tuple[str, float]]:
    order = np.argsort(-fractions, kind="stable")[:LISTED]
    return [(names[n], float(fractions[n])) for n in order if fractions[n] >= SHOWN]


def _outliers(report: Report, rows: Sequence[int]) -> list[Values]:
    survey, layout, looks = report.survey, report.survey.manifest.layout, report.survey.looks
    joints, out = joints_of(survey, rows), []
    for row in rows:
        frame, bone = int(looks.frame[row]), int(looks.bone[row])
        around = [n for n in range(frame - 2, frame + 3) if 0 <= n < len(joints[row])]
        poses = [upright(joints[row][n], layout) for n in around]
        child, parent = layout.bones[bone]
        out.append(
            {
                "name": report.name(row),
                "what": f"{layout.joints[child]} – {layout.joints[parent]}, {looks.ratio[row]:.2g} × its usual length",
                "frame": frame,
                "strip": skeletons.strip(poses, layout, bone, around.index(frame)),
                "fraction": float(looks.implausible[row]),
            }
        )
    return out


def _counted(name: str, which: np.ndarray, copied: np.ndarray) -> tuple[str, int, int]:
    return name, int(which.sum()), int((which & copied).sum())


def _numbered(name: str, column: np.ndarray, copied: np.ndarray | None = None) -> list[tuple[str, int, int]]:
    """A row for every number that is known."""
    special = np.zeros(len(column), dtype=bool) if copied is None else copied
    return [_counted(f"{name} {number}", column == number, special) for number in np.unique(column[column >= 0])]
