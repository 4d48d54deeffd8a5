"""The texts of classes, and their features.

Legend: S texts, D text features, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from bonestrap.files import opened, read_array, read_object
from bonestrap.text import TextError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Mode = Literal["names", "descriptions", "both"]
OF_DATASET = {
    "ntu60": "ntu", "ntu120": "ntu", "pku-mmd": "ntu", "nw-ucla": "nw-ucla", "sbu": "sbu", "ui_prmd": "ui-prmd",
    "bandai": "bandai", "synthetic": "synthetic",
}  # fmt: skip


class ClassTexts(NamedTuple):
    """Features of the texts of some classes: one a class, or several."""

    features: Tensor  # (S, D), each of length 1
    owner: Tensor  # (S,) int64, ascending: the class of each, 0..K-1

    def of(self, classes: Sequence[int]) -> ClassTexts:
        """Those of some classes, which are numbered anew in this order."""
        import torch

        rows = [(self.owner == label).nonzero().squeeze(1) for label in classes]
        owner = [torch.full_like(each, number) for number, each in enumerate(rows)]
        return ClassTexts(self.features[torch.cat(rows)], torch.cat(owner))

    @property
    def classes(self) -> int:
        return int(self.owner[-1]) + 1

    @property
    def means(self) -> Tensor:
        """One feature a class (K, D), of length 1."""
        from torch.nn import functional as F

        total = self.features.new_zeros(self.classes, self.features.shape[1])
        return F.normalize(total.index_add_(0, self.owner, self.features), dim=1)


def grouped(features: Tensor, counts: Sequence[int], *, average: bool) -> ClassTexts:
    """Texts that follow one another class by class, `counts[k]` of class k; averaged to one a class, or kept."""
    import torch
    from torch.nn import functional as F

    unit = F.normalize(features.float(), dim=1)
    each = ClassTexts(unit, torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)))
    return ClassTexts(each.means, torch.arange(len(counts))) if average else each


def class_texts(dataset: str, names: Sequence[str], mode: Mode, file: Path | None = None) -> list[tuple[str, ...]]:
    """The texts of every class: its name, its descriptions, or both.

    Descriptions are ours, by data set, or of `file`. Raises TextError where a name stands twice or has no description.
    """
    check_names(names)
    if mode == "names":
        return [(name,) for name in names]
    if file is None and dataset not in OF_DATASET:
        raise TextError(
            f"there are no descriptions of {dataset}: write a file of lines `class: text | text` and give it with "
            "--descriptions, or take --describe names"
        )
    known = read_descriptions(file) if file else built_in(OF_DATASET[dataset])
    where = str(file) if file else f"the descriptions of {dataset}"
    if missing := [name for name in names if name not in known]:
        raise TextError(f"{where} have no text for class {missing[0]!r:.60}: add a line, or take --describe names")
    return [(name, *known[name]) if mode == "both" else known[name] for name in names]


def check_names(names: Sequence[str]) -> None:
    """TextError where two classes have one name: no text could tell them apart."""
    if twice := sorted({name for name in names if list(names).count(name) > 1}):
        raise TextError(f"two classes are called {twice[0]!r:.60}: give every class a name of its own")


def built_in(name: str) -> dict[str, tuple[str, ...]]:
    """Our descriptions of a data set's classes."""
    return parsed((resources.files("bonestrap.zero_shot") / "descriptions" / f"{name}.txt").read_text("utf-8"), name)


def read_descriptions(file: Path) -> dict[str, tuple[str, ...]]:
    """Descriptions from lines `class: text | text`. Raises TextError naming what is wrong."""
    try:
        with opened(file) as stream:
            return parsed(stream.read().decode(), str(file))
    except (OSError, ValueError) as error:
        if isinstance(error, TextError):
            raise
        raise TextError(f"{file} cannot be read ({error}): give a text file in UTF-8") from None


def parsed(text: str, where: str) -> dict[str, tuple[str, ...]]:
    """By class; a line that begins with # says something else."""
    out: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, rest = line.partition(": ")
        texts = tuple(part.strip() for part in rest.split(" | ") if part.strip())
        if not colon or not texts:
            raise TextError(f"{where}, line {number}: {line!r:.60} is not `class: text | text`; correct it")
        if name in out:
            raise TextError(f"{where}, line {number}: class {name!r:.60} stands there twice; remove one")
        out[name] = texts
    return out


def save(file: Path, found: ClassTexts, names: Sequence[str], about: dict[str, Any]) -> None:
    """Write features as a plain array, (K, D) or (K, texts, D), and beside it what they are, as JSON."""
    counts = np.bincount(found.owner.numpy())
    rows = found.features.numpy()
    starts = np.cumsum(counts) - counts
    most = int(counts.max())
    # A class with fewer texts than another repeats them.
    index = np.stack([start + np.arange(most) % count for start, count in zip(starts, counts, strict=True)])
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        np.save(stream, rows[index][:, 0] if most == 1 else rows[index])
    file.with_suffix(".json").write_text(json.dumps({"classes": list(names), **about}, indent=2) + "\n", "utf-8")


def load(file: Path, names: Sequence[str]) -> ClassTexts:
    """Features of these classes in their order, from a plain array (K, D) or (K, texts, D).

    Raises TextError where they are of other classes or not finite. A JSON file beside them names the classes.
    """
    import torch

    try:
        with opened(file) as stream:
            stream.seek(0, 2)
            size = stream.tell()
            stream.seek(0)
            array = np.array(read_array(stream, size), dtype=np.float32)
    except (OSError, ValueError, TypeError) as error:
        raise TextError(f"{file} holds no features of texts ({error}): make it with launch/describe.py") from None
    check_names(names)
    _check_classes(file, names)
    if array.ndim not in (2, 3) or len(array) != len(names) or not array.size:
        shape = " x ".join(map(str, array.shape))
        raise TextError(f"{file} is {shape}, and there are {len(names)} classes: give one row of features a class")
    if not np.isfinite(array).all() or not np.abs(array).sum(-1).all():
        raise TextError(f"{file} holds features that are zero or not finite: describe the classes again")
    flat = torch.from_numpy(array).flatten(0, -2)
    return grouped(flat, [len(flat) // len(names)] * len(names), average=False)


def _check_classes(file: Path, names: Sequence[str]) -> None:
    beside = file.with_suffix(".json")
    if not beside.exists():
        return
    try:
        classes = read_object(beside).get("classes")
    except (OSError, ValueError) as error:
        raise TextError(f"{beside} cannot be read ({error}): describe the classes again") from None
    if classes != list(names):
        first = next((name for name in names if name not in (classes or ())), names[0])
        raise TextError(f"{file} describes other classes: {first!r:.60} has no text there; describe these")


def same_size(found: torch.Tensor, units: int, what: str) -> None:
    """TextError where features of texts are not those that a model was made for."""
    if found.shape[1] != units:
        raise TextError(
            f"{what} have {found.shape[1]} features, and the model was aligned with texts of {units}: take the text "
            "encoder that it was aligned with"
        )
