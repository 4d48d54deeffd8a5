"""Several folders of shards as one training set: what is asked for, and what that comes to.

The first folder leads: its layout and frame rate are those of all unless others are asked for, and probes are on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bonestrap.bounds import Bounded, Bounds
from bonestrap.files import read_json
from bonestrap.layout import Layout
from bonestrap.options import UserError, option
from shards import splits, terms
from shards.errors import DataError
from shards.reading import Reading
from shards.sources.layout_file import read_layout
from shards.storage.folder import spoken

if TYPE_CHECKING:
    from bonestrap.retarget import Joints, Retarget

WEIGHT = Bounds(0, 1e9, above=True)
RATE = Bounds(0, 10_000, above=True)  # frames a second


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool(Bounded):
    """How several folders become one training set."""

    skeleton: str | None = option(
        None, "layout that all recordings are brought into, a name or a file; none takes the first folder's"
    )
    joints: Path | None = option(
        None, "JSON file that says, by layout, which recorded joints a joint of the skeleton is made of"
    )
    splits: tuple[str, ...] = option((), "split of each folder, in their order; none takes --split for all")
    weights: tuple[float, ...] = option(
        (), "how often each folder is drawn from, in their order; none: as its size to the power of alpha", WEIGHT
    )
    alpha: float = option(1.0, "1 draws every recording as often, 0 every folder", Bounds(0, 1))
    rate: float | None = option(
        None,
        "frames a second that all recordings are brought to; none takes the first folder's, if it is known",
        RATE,
    )
    groups: Literal["mixed", "single"] = option("mixed", "a normalisation group is of several folders, or of one")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights and self.alpha != 1:
            raise ValueError("alpha has no effect beside --pool.weights: leave one of them out")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Corpus:
    """One of the folders."""

    data: str  # where it is
    name: str
    digest: str
    split: str
    layout: str  # the recorded one's name
    rate: float | None
    licence: str

    @property
    def about(self) -> dict[str, Any]:
        """What a run record and a lineage say of it."""
        return {"data": self.name, **{k: getattr(self, k) for k in ("digest", "split", "layout", "rate", "licence")}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pooled:
    """The folders of a run, checked: picklable, and the same on every worker."""

    corpora: tuple[Corpus, ...]
    layout: Layout
    rate: float | None
    joints: Mapping[str, Joints]  # by recorded layout
    weights: tuple[float, ...]
    alpha: float
    groups: Literal["mixed", "single"]

    @property
    def about(self) -> dict[str, Any]:
        """All of it that shapes a result, as plain values."""
        return {
            "skeleton": self.layout.to_json(),
            "joints": {name: {joint: list(made) for joint, made in each.items()} for name, each in self.joints.items()},
            "rate": self.rate,
            "weights": list(self.weights),
            "alpha": self.alpha,
            "groups": self.groups,
            "corpora": [corpus.about for corpus in self.corpora],
        }

    @property
    def said(self) -> list[str]:
        """What is done with each folder, a line each."""
        lines = []
        for corpus in self.corpora:
            at = f"{corpus.rate:g} frames a second" if corpus.rate else "frame rate not known, frames as they are"
            at += f" as {self.rate:g}" if corpus.rate and self.rate and corpus.rate != self.rate else ""
            layouts = f"layout {corpus.layout} as {self.layout.name}"
            lines.append(f"{spoken(corpus.data)}: {corpus.name}, {corpus.split}, {layouts}, {at}")
        return lines

    def retarget(self, corpus: Corpus, recorded: Layout) -> Retarget:
        """How recordings of one of the folders come into the skeleton. Raises DataError where they do not."""
        from bonestrap.retarget import Retarget

        step = corpus.rate / self.rate if corpus.rate and self.rate else 1.0
        try:
            return Retarget.of(self.layout, recorded, self.joints.get(recorded.name), step)
        except ValueError as error:
            raise DataError(f"{spoken(corpus.data)}: {error}") from None

    def fractions(self, sizes: Sequence[int]) -> list[float]:
        """What fraction of the clips each folder gives, of folders with so many items."""
        weights = self.weights or [size**self.alpha for size in sizes]
        return [weight / sum(weights) for weight in weights]


def pooled(pool: Pool, readings: Sequence[Reading], split: str) -> Pooled:
    """The folders that are read, under `split` unless the pool names others.

    UserError or DataError where they cannot be one training set.
    """
    folders = [spoken(reading.data) for reading in readings]
    _check_counts(pool, folders)
    manifests = [reading.manifest for reading in readings]
    for place, manifest in enumerate(manifests):
        same = next((n for n in range(place) if manifests[n].digest == manifest.digest), place)
        if same < place:
            raise UserError(f"--data: {folders[place]} holds the recordings of {folders[same]}: name each folder once")
    layout = read_layout(pool.skeleton) if pool.skeleton else manifests[0].layout
    corpora = tuple(
        Corpus(
            data=reading.data,
            name=manifest.name,
            digest=manifest.digest,
            split=name,
            layout=manifest.layout.name,
            rate=terms.rate(manifest),
            licence=terms.licence(manifest),
        )
        for reading, manifest, name in zip(readings, manifests, pool.splits or [split] * len(folders), strict=True)
    )
    if pool.rate and (silent := next((corpus for corpus in corpora if not corpus.rate), None)):
        raise UserError(
            f"--pool.rate: {spoken(silent.data)} does not say how many frames a second it has: pack it with --rate"
        )
    found = Pooled(
        corpora=corpora,
        layout=layout,
        rate=pool.rate or corpora[0].rate,
        joints=read_joints(pool.joints) if pool.joints else {},
        weights=pool.weights,
        alpha=pool.alpha,
        groups=pool.groups,
    )
    for corpus, reading, manifest in zip(corpora, readings, manifests, strict=True):
        found.retarget(corpus, manifest.layout)
        _check_split(corpus, reading)
    return found


def _check_counts(pool: Pool, folders: Sequence[str]) -> None:
    if len(folders) == 1:
        for name in ("splits", "weights", "alpha", "groups"):
            if getattr(pool, name) != getattr(Pool(), name):
                raise UserError(f"--pool.{name} has no effect with one folder: leave it out, or name more in --data")
    for name in ("splits", "weights"):
        count = len(getattr(pool, name))
        if count and count != len(folders):
            raise UserError(f"--pool.{name} has {count} values and --data {len(folders)} folders: give one for each")


def _check_split(corpus: Corpus, reading: Reading) -> None:
    """DataError where a folder has no such split, or nothing that trains under it."""
    try:
        train = splits.find(corpus.name, corpus.split).train
        (count,) = reading.counts(train)
    except DataError as error:
        raise DataError(f"{error}; --pool.splits names the split of each folder") from None
    if not count:
        raise DataError(f"{spoken(corpus.data)}: {splits.said(train)} has no recording; leave the folder out")


def read_joints(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Which recorded joints each joint of a skeleton is made of, by the name of the recorded layout.

    A JSON file such as {"lab9": {"head": "skull", "neck": ["c7", "clavicle"]}}. Raises DataError for another shape.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; it is to say which joints a joint is made of")
    try:
        content = read_json(path)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from None

    def texts(value: Any) -> bool:
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))

    shape: Callable[[Any], bool] = lambda value: isinstance(value, dict) and all(map(texts, value.values()))  # noqa: E731
    if not (isinstance(content, dict) and all(map(shape, content.values()))):
        raise DataError(f'{path}: not of the form {{"LAYOUT": {{"JOINT": ["RECORDED JOINT", ...]}}}}')
    return {
        layout: {joint: (made,) if isinstance(made, str) else tuple(made) for joint, made in joints.items()}
        for layout, joints in content.items()
    }
