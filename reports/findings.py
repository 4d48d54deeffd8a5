"""What is wrong with a folder of shards, in sentences that the terminal and the page of `launch/preview.py` share.

The figures come from `shards.packing.survey` and `shards.packing.duplicates`; the thresholds are here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from shards.packing.duplicates import Contamination, Copies, contaminations, protocols_of
from shards.packing.survey import Survey
from shards.sources.units import LARGEST, SMALLEST
from shards.splits import untested, untested_said

FEW_FRAMES = 10  # a recording below is near-empty
STILL = 0.05  # metres or torsos: where no joint comes farther around, nobody moves
REPEATED = 0.5  # of the frames: more repeat the one before than not
OUTLIER = 0.02  # of a recording's bones: more of an implausible length make it an outlier
INCOMPLETE = 0.05  # of a recording's joints: more that were not measured make it incomplete
RARE = 5.0  # a class this many times smaller than the largest is rare
NAMED = 5  # recordings that a sentence lists

Level = Literal["fault", "note", "good"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One result of the checks."""

    level: Level
    title: str  # one or two words
    text: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """A survey and the results of its checks. Arrays of rows index the views."""

    survey: Survey
    copies: Copies
    protocols: tuple[Contamination, ...]
    empty: tuple[tuple[int, str], ...]  # near-empty views, each with what makes it one
    outliers: np.ndarray  # views of too many implausible bones, the worst first
    incomplete: np.ndarray  # views of too many missing joints, the worst first

    @classmethod
    def of(cls, survey: Survey) -> Report:
        """Check a survey."""
        table, looks = survey.table, survey.looks
        copies = Copies.of(looks.content)
        known = protocols_of(survey.manifest.name, table)
        return cls(
            survey=survey,
            copies=copies,
            protocols=tuple(contaminations(table.views, copies, known)),
            empty=tuple(_empty(survey)),
            outliers=_worst(looks.implausible, OUTLIER),
            incomplete=_worst(looks.missing, INCOMPLETE),
        )

    def name(self, row: int) -> str:
        """A view by the file it came from."""
        return self.survey.table.origin[row]

    def title(self, row: int) -> str:
        """The class of a view, or its file where that is unknown."""
        label = int(self.survey.table.views.label[row])
        return self.survey.manifest.classes[label] if label >= 0 else self.name(row)

    def findings(self) -> list[Finding]:
        """The results of all checks, faults first."""
        found = [
            *self._contamination(),
            *self._untested(),
            self._copies(),
            self._empty_views(),
            self._bones(),
            self._joints(),
            *self._rare(),
            *self._size(),
            *(Finding(level="note", title="layout", text=doubt) for doubt in self.survey.manifest.layout.doubts),
        ]
        order = {"fault": 0, "note": 1, "good": 2}
        return sorted(found, key=lambda finding: order[finding.level])

    def _contamination(self) -> list[Finding]:
        out = []
        for c in self.protocols:
            if c.copied:
                what = f"{c.copied:,} of {c.test:,} test recordings ({c.share:.1%}) are also in training"
                text = f"{c.protocol.name}: {what}"
                out.append(Finding(level="fault", title="contaminated", text=text))
            if c.held_out_copied:
                text = (
                    f"{c.protocol.name}: {c.held_out_copied:,} of {c.held_out:,} held-out recordings are also in "
                    "the rest of the training set"
                )
                out.append(Finding(level="fault", title="contaminated", text=text))
        clean = [c.protocol.name for c in self.protocols if not c.copied and not c.held_out_copied]
        if clean:
            text = f"{', '.join(clean)}: no recording is in both training and test"
            out.append(Finding(level="good", title="clean", text=text))
        return out

    def _untested(self) -> list[Finding]:
        views, classes = self.survey.table.views, self.survey.manifest.classes
        out = []
        for one in self.protocols:
            if absent := [classes[label] for label in untested(one.protocol, views)]:
                text = f"{one.protocol.name}: {untested_said('test', absent, len(classes))}"
                out.append(Finding(level="note", title="classes", text=text))
        return out

    def _copies(self) -> Finding:
        copies, views = self.copies, self.survey.table.views
        count = int(copies.repeats.sum())
        if not count:
            return Finding(level="good", title="duplicates", text="no exact duplicates")
        across = copies.differing(self.survey.table.performance)
        kinds = (
            (across, "in different performances"),
            (copies.differing(views.camera), "from different cameras"),
            (copies.differing(views.subject), "of different subjects"),
            (copies.differing(views.label), "of different classes"),
        )
        what = "is an exact duplicate of another" if count == 1 else "are exact duplicates of others"
        text = f"{_recordings(count)} {what}: "
        text += ", ".join(f"{number:,} {kind}" for number, kind in kinds if number)
        return Finding(level="fault" if across else "note", title="duplicates", text=text.removesuffix(": "))

    def _empty_views(self) -> Finding:
        if not self.empty:
            return Finding(level="good", title="near-empty", text="no near-empty recordings")
        text = f"{_recordings(len(self.empty))}: {self._some([f'{self.name(row)} ({why})' for row, why in self.empty])}"
        return Finding(level="note", title="near-empty", text=text)

    def _bones(self) -> Finding:
        fraction = float(self.survey.bone_implausible.mean())
        text = f"{fraction:.2%} of bone lengths are implausible"
        if not len(self.outliers):
            return Finding(level="good", title="bones", text=text)
        names = [f"{self.name(row)} ({self.survey.looks.implausible[row]:.0%})" for row in self.outliers]
        text += f"; more than {OUTLIER:.0%} in {_recordings(len(names))}: {self._some(names)}"
        return Finding(level="note", title="bones", text=text)

    def _joints(self) -> Finding:
        fraction = float(self.survey.joint_missing.mean())
        text = f"{fraction:.2%} of joints are missing"
        if not len(self.incomplete):
            return Finding(level="good", title="joints", text=text)
        names = [f"{self.name(row)} ({self.survey.looks.missing[row]:.0%})" for row in self.incomplete]
        text += f"; more than {INCOMPLETE:.0%} in {_recordings(len(names))}: {self._some(names)}"
        return Finding(level="note", title="joints", text=text)

    def _rare(self) -> list[Finding]:
        classes = self.survey.manifest.classes
        label = self.survey.table.label
        unknown = int((label < 0).sum())
        out = []
        if unknown:
            text = f"{unknown:,} of {len(label):,} performances are unlabelled"
            out.append(Finding(level="note", title="labels", text=text))
        if unknown == len(label) or not classes:
            return out
        counts = np.bincount(label[label >= 0], minlength=len(classes))
        absent = [classes[c] for c in np.flatnonzero(counts == 0)]
        rare = [classes[c] for c in np.flatnonzero((counts > 0) & (counts * RARE < counts.max()))]
        for names, what in (
            (absent, "have no recordings"),
            (rare, f"have less than 1/{RARE:.0f} of the recordings of the largest class"),
        ):
            if names:
                text = f"{len(names)} of {len(classes)} classes {what}: {self._some(names)}"
                out.append(Finding(level="note", title="classes", text=text))
        return out

    def _size(self) -> list[Finding]:
        if self.survey.manifest.layout.coordinates != 3:
            return []
        size = self.survey.looks.size
        rows = np.flatnonzero((size < SMALLEST) | (size > LARGEST))
        if not len(rows):
            return []
        names = [f"{self.name(int(row))} ({size[row]:.3g} metres)" for row in rows]
        text = f"implausible body size in {_recordings(len(rows))}: {self._some(names)}"
        return [Finding(level="fault", title="size", text=f"{text}; pack again with the right --unit")]

    def _some(self, names: list[str]) -> str:
        rest = len(names) - NAMED
        return ", ".join(names[:NAMED]) + (f" and {rest:,} more" if rest > 0 else "")


def copied_classes(report: Report) -> Counter[str]:
    """How many duplicates each class has, the most first."""
    rows = np.flatnonzero(report.copies.repeats)
    labels = report.survey.table.views.label[rows]
    names = [report.survey.manifest.classes[label] if label >= 0 else "unlabelled" for label in labels]
    return Counter(dict(Counter(names).most_common()))


def _empty(survey: Survey) -> list[tuple[int, str]]:
    frames, looks = survey.table.frames, survey.looks
    out = []
    for row in np.flatnonzero((frames < FEW_FRAMES) | (looks.extent < STILL) | (looks.repeated > REPEATED)):
        if frames[row] < FEW_FRAMES:
            out.append((int(row), f"{frames[row]} frame{'s' if frames[row] > 1 else ''}"))
        elif looks.extent[row] < STILL:
            out.append((int(row), "no motion"))
        else:
            out.append((int(row), f"{looks.repeated[row]:.0%} repeated frames"))
    return out


def _worst(fractions: np.ndarray, above: float) -> np.ndarray:
    rows = np.flatnonzero(fractions > above)
    return rows[np.argsort(-fractions[rows], kind="stable")]


def _recordings(count: int) -> str:
    return f"{count:,} recording{'' if count == 1 else 's'}"
