"""What is known of recordings beside their joints: a CSV or Parquet table, one row a recording.

Only the column `file` is required. `label` names the class, by text or number; `subject`, `camera` and `setup` are
texts or numbers, `replication` a number; rows of one `performance` are views of it; `rate` is in frames a second. Every
column whose name begins with `split` declares a split: train, val or test, or nothing. An empty field is not known;
other columns are passed over.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bonestrap.files import content
from bonestrap.options import did_you_mean
from shards.errors import DataError
from shards.sources import declare
from shards.sources.labels import numbered as classes_of

NUMBERS = ("subject", "camera", "setup", "replication")
COLUMNS = ("file", "label", "performance", "rate", *NUMBERS)
NAMED = 5  # classes that a sentence names
NEGATIVE = re.compile(r"-\d+")
ROWS = 10_000_000
LIMITS = {"camera": 2**15 - 1}  # what an index holds; of other numbers 2 ** 31 - 1
WHOLE = re.compile(r"(\d+)\.0+")  # a whole number that went through a column of floating-point numbers


@dataclass(frozen=True, kw_only=True)
class Table:
    """One row a recording. None or "" is not known."""

    files: tuple[str, ...]
    labels: tuple[int | None, ...]
    classes: tuple[str, ...]
    performances: tuple[str, ...]
    subjects: tuple[int | None, ...]
    cameras: tuple[int | None, ...]
    setups: tuple[int | None, ...]
    replications: tuple[int | None, ...]
    splits: tuple[tuple[str, ...], ...]  # the declared parts of each row
    notices: tuple[str, ...] = ()  # what is doubtful about it, in sentences


def bare(files: Sequence[str]) -> Table:
    """A table that knows nothing but the files."""
    return tabled({"file": list(files)}, "the recordings", None)


def by_folders(files: Sequence[str]) -> Table:
    """A table of recordings whose classes are the folders they lie in, the first of each name's."""
    labels = _whole([file.partition("/")[0] if "/" in file else "" for file in files])
    return tabled({"file": list(files), "label": labels}, "the folders", tuple(sorted(set(labels) - {""})))


def read_table(path: Path, classes: Path | None = None) -> Table:
    """Read a `.csv` (commas, semicolons or tabs) or `.parquet` table.

    `classes` is a file of class names, one a line, in the order of their numbers; without it texts are numbered by
    their alphabet, and numbers are their own names. Raises DataError saying what is wrong with either.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such table; correct --table or leave it out")
    columns = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    if "file" not in columns:
        meant = next(filter(None, (did_you_mean(name, ["file"]) for name in columns)), "")
        raise DataError(f"{path}: a table needs the column file, this one has {', '.join(columns) or 'none'}{meant}")
    for name in columns:
        absent = [column for column in COLUMNS if column not in columns]
        if name not in COLUMNS and (meant := did_you_mean(name, absent, cutoff=0.75)):
            raise DataError(f"{path}: unknown column {name}{meant}")
    return tabled(columns, str(path), read_classes(classes) if classes else None)


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names of a file, one a line. Raises DataError where there are none or one comes twice."""
    if not Path(path).is_file():
        raise DataError(f"{path}: no such list of classes; correct --classes or leave it out")
    names = tuple(line.strip() for line in _lines(path) if line.strip())
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path}: a list of classes holds one name a line, and each once")
    return names


def _lines(path: Path) -> list[str]:
    try:
        return content(path).decode("utf-8-sig").splitlines()
    except ValueError as error:
        raise DataError(f"{path}: not a list of classes in UTF-8 ({error}); save it as UTF-8 text") from None


def _csv(path: Path) -> dict[str, list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            file.seek(0)
            rows = list(csv.reader(file, delimiter=max(",;\t", key=head.count)))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a text in UTF-8 ({error}); save it again as UTF-8 (in Excel: CSV UTF-8), or as Parquet"
        ) from None
    except csv.Error as error:
        raise DataError(f"{path}: not a readable table ({error})") from None
    names = [name.strip() for name in rows[0]] if rows else []
    body = [row for row in rows[1:] if any(field.strip() for field in row)]
    for number, row in enumerate(body, 2):
        if len(row) != len(names):
            raise DataError(f"{path}: row {number} has {len(row)} fields and the heading {len(names)}")
    return {name: [row[column].strip() for row in body] for column, name in enumerate(names)}


def _parquet(path: Path) -> dict[str, list[str]]:
    try:
        from pyarrow import ArrowException, parquet
    except ModuleNotFoundError:
        raise DataError(f"{path}: reading Parquet needs the pyarrow package; pip install pyarrow, or use CSV") from None
    try:
        with parquet.ParquetFile(path) as file:  # a few bytes may stand for any number of rows
            if file.metadata.num_rows > ROWS:
                raise DataError(f"{path}: {file.metadata.num_rows} rows; a table has {ROWS} at most, split it")
            table = file.read()
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable Parquet table ({str(error).splitlines()[0]})") from None
    return {name: ["" if v is None else str(v).strip() for v in table[name].to_pylist()] for name in table.column_names}


def _whole(texts: Sequence[str]) -> list[str]:
    """Numbers as they were before a missing value made them 3.0 and nan."""
    return ["" if text.lower() == "nan" else WHOLE.sub(r"\1", text) for text in texts]


def tabled(columns: dict[str, list[str]], where: str, classes: tuple[str, ...] | None) -> Table:
    """The table of these columns of texts, as a file of them would be; `where` names them in messages."""
    files = columns["file"]
    empty = [""] * len(files)
    if "" in files:
        raise DataError(f"{where}: row {files.index('') + 2} names no file")
    twice = _twice(files)
    if twice:
        raise DataError(f"{where}: {twice} comes twice; a recording has one row")
    rows = [f"row {row}" for row in range(2, len(files) + 2)]
    labels, names = numbered_labels(columns.get("label", empty), rows, where, classes)
    numbers = {name: _numbers(columns.get(name, empty), name, where) for name in NUMBERS}
    performances = [name or file for name, file in zip(columns.get("performance", empty), files, strict=True)]
    declared = {
        name: [declare.check_part(text, f"{where}: {name} of {file}") for text, file in zip(parts, files, strict=True)]
        for name, parts in columns.items()
        if name.startswith(declare.DEFAULT)
    }
    subjects = numbers["subject"]
    if declared:
        known = [
            name if subject is None else f"subject {subject}"
            for name, subject in zip(performances, subjects, strict=True)
        ]
        splits = declare.complete(declared, known)
    else:
        drawn = _drawn(performances, labels, subjects)
        splits = [(f"{declare.DEFAULT}/{drawn[performance]}",) for performance in performances]
    return Table(
        files=tuple(files),
        labels=tuple(labels),
        classes=names,
        performances=tuple(performances),
        subjects=tuple(subjects),
        cameras=tuple(numbers["camera"]),
        setups=tuple(numbers["setup"]),
        replications=tuple(numbers["replication"]),
        splits=tuple(splits),
        notices=(
            *([] if classes else empty_classes(names, labels)),
            *_rates(columns.get("rate", empty), rows, where),
        ),
    )


def _drawn(performances: list[str], labels: list[int | None], subjects: list[int | None]) -> dict[str, str]:
    """A part for each performance: its first row speaks for it."""
    first: dict[str, int] = {}
    for row, performance in enumerate(performances):
        first.setdefault(performance, row)
    rows = first.values()
    parts = declare.drawn(list(first), [labels[row] for row in rows], [subjects[row] for row in rows])
    return dict(zip(first, parts, strict=True))


def numbered_labels(
    texts: Sequence[str], rows: Sequence[str], where: str, classes: tuple[str, ...] | None
) -> tuple[list[int | None], tuple[str, ...]]:
    """Labels, None for "", and the names of their classes, from texts or numbers; `rows` names each in messages.

    Without `classes` texts are numbered by their alphabet, and numbers are their own names. Raises DataError for a
    label that is none of the classes, and for a negative number, which many write where the class is not known.
    """
    texts = _whole(texts)
    known = {text for text in texts if text}
    numbered = all(text.isdecimal() for text in known)
    for row, text in zip(rows, texts, strict=True):
        if NEGATIVE.fullmatch(text) and text not in (classes or ()):
            raise DataError(
                f"{where}: the label {text} in {row} is below 0; leave out labels that are not known, or name "
                f"the class {text} in --classes"
            )
    if classes is None:
        highest = max((text.lstrip("0") for text in known), key=lambda text: (len(text), text), default=None)
        classes = tuple(sorted(known)) if highest is None or not numbered else classes_of(highest, where)
    place = {name: label for label, name in enumerate(classes)}
    labels: list[int | None] = []
    for row, text in zip(rows, texts, strict=True):
        label = place.get(text, int(text) if numbered and text and len(text.lstrip("0")) < 10 else None)
        if text and (label is None or label >= len(classes)):
            raise DataError(f"{where}: the label {text!r:.40} in {row} is none of the {len(classes)} classes")
        labels.append(label if text else None)
    return labels, classes


def empty_classes(classes: Sequence[str], labels: Sequence[int | None]) -> list[str]:
    """A sentence about classes that no label names, as where numbers count from 1; nothing where there are none."""
    known = {label for label in labels if label is not None}
    absent = [name for label, name in enumerate(classes) if label not in known]
    if not absent:
        return []
    named = ", ".join(absent[:NAMED]) + (", ..." if len(absent) > NAMED else "")
    return [
        f"no recording is of class {named}: the labels {min(known)} to {max(known)} make {len(classes)} classes, "
        "numbered from 0; subtract what is too much, or name the classes with --classes"
    ]


def _rates(texts: Sequence[str], rows: Sequence[str], where: str) -> list[str]:
    """A sentence where recordings differ in their frames a second, or some are not known. DataError for no rate."""
    rates: set[float] = set()
    for row, text in zip(rows, texts, strict=True):
        try:
            rate = float(text) if text and text.lower() != "nan" else None
        except ValueError:
            rate = -1.0
        if rate is not None and not 0 < rate < math.inf:
            raise DataError(
                f"{where}: the rate {text!r} in {row} is not a number of frames a second above 0; correct it"
            )
        rates |= {rate} if rate else set()
    if len(rates) < 2:
        return []
    return [
        f"recordings have {min(rates):g} to {max(rates):g} frames a second, and a frame counts the same in all; "
        "resample them to one rate"
    ]


def _numbers(texts: list[str], name: str, where: str) -> list[int | None]:
    """Numbers as they are; texts are numbered from 1 in the order of their alphabet."""
    texts = _whole(texts)
    known = sorted({text for text in texts if text})
    if all(text.isdecimal() for text in known):
        most = LIMITS.get(name, 2**31 - 1)
        if large := next((text for text in known if len(text) > 20 or int(text) > most), None):
            raise DataError(f"{where}: {name} {large:.20} is too large; a {name} is a number up to {most}, or a text")
        return [int(text) if text else None for text in texts]
    if name == "replication":
        odd = next(text for text in known if not text.isdecimal())
        raise DataError(f"{where}: a replication is a whole number, not {odd!r}")
    place = {text: number for number, text in enumerate(known, 1)}
    return [place.get(text) for text in texts]


def _twice(values: Iterable[str]) -> str:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""
