"""Features of recordings in one file, with what the recordings are: `.parquet`, or `.npz` where pyarrow is not there.

Legend: D features, Q queries, R recordings.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from bonestrap import files
from bonestrap.options import UserError

if TYPE_CHECKING:
    from bonestrap.recordings.packed import PackedFolder

FORMAT = "bonestrap-features"
SUFFIXES = (".parquet", ".npz")
NUMBERS, TEXTS = ("label", "subject", "camera"), ("key", "view")  # columns, one element a recording


@dataclasses.dataclass(frozen=True, kw_only=True)
class FeaturesFile:
    """Features and what is known of their recordings, one element each; -1: unknown.

    As a file it has the columns key, view, label, class, subject, camera and features (D float32 a row), and `about`
    as metadata: in a `.parquet` file as JSON under "bonestrap", in an `.npz` file as the array `about`.
    """

    key: tuple[str, ...]  # of the performance
    view: tuple[str, ...]  # the performance's member: c2 is its view from camera 2
    label: np.ndarray  # (R,) int64, as the next two
    subject: np.ndarray
    camera: np.ndarray
    features: np.ndarray  # (R, D) float32
    classes: tuple[str, ...]  # titles of the labels
    about: dict[str, Any]  # the model and the data

    @classmethod
    def of(cls, folder: PackedFolder, features: np.ndarray, about: dict[str, Any]) -> FeaturesFile:
        """The features (R, D) of all recordings of a folder."""
        numbers = {name: getattr(folder, name) for name in NUMBERS}
        return cls(key=folder.key, view=folder.view, features=features, classes=folder.classes, about=about, **numbers)

    def __len__(self) -> int:
        """The number of recordings."""
        return len(self.key)

    @property
    def titles(self) -> list[str]:
        """The class of each recording; an empty text where it has no label."""
        return [self.classes[label] if label >= 0 else "" for label in self.label]

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises UserError for another suffix or without pyarrow, and OSError."""
        about = json.dumps({**self.about, "format": FORMAT, "classes": self.classes})
        check_suffix(path)
        files.write_atomically(path, lambda file: (_parquet if path.suffix == ".parquet" else _npz)(self, about, file))

    @classmethod
    def read(cls, path: Path) -> FeaturesFile:
        """A file that `write` made. Raises UserError naming the file, the fault and the remedy."""
        check_suffix(path)
        try:
            columns, text = (_read_parquet if path.suffix == ".parquet" else _read_npz)(path)
            about = files.parse_json(text)
            if about.pop("format") != FORMAT:
                raise ValueError("it holds other columns")
            classes = tuple(about.pop("classes"))
            found = cls(classes=classes, about=about, **columns)
            if {len(column) for column in columns.values()} != {len(found)} or found.features.ndim != 2:
                raise ValueError("its columns have other lengths")
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: bonestrap embed writes features") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path} holds no features ({error!s:.200}): write them with bonestrap embed") from None
        return found

    def nearest(self, queries: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows with the highest cosine similarity to each query (Q, D), and those: two arrays (Q, count)."""
        rows = _normalised(self.features)
        similarity = _normalised(np.atleast_2d(np.asarray(queries, np.float32))) @ rows.T
        count = min(count, len(self))
        best = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(similarity, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        return best, np.take_along_axis(similarity, best, 1)


def check_suffix(path: Path) -> None:
    """UserError where no features are written or read under such a name here: before any work."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} must end with {' or '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UserError(
                f"{path}: .parquet needs pyarrow, which is not installed: pip install pyarrow, or name a file .npz"
            ) from None


def _normalised(features: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    normalised: np.ndarray = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return normalised


def _parquet(content: FeaturesFile, about: str, file: BinaryIO) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = {name: pa.array(getattr(content, name), mask=getattr(content, name) < 0) for name in NUMBERS}
    flat = pa.array(np.ascontiguousarray(content.features, np.float32).reshape(-1))
    columns = {
        "key": pa.array(content.key),
        "view": pa.array(content.view),
        "label": numbers["label"],
        "class": pa.array([title or None for title in content.titles], pa.string()),
        "subject": numbers["subject"],
        "camera": numbers["camera"],
        "features": pa.FixedSizeListArray.from_arrays(flat, content.features.shape[1]),
    }
    pq.write_table(pa.table(columns).replace_schema_metadata({"bonestrap": about}), file)


def _read_parquet(path: Path) -> tuple[dict[str, Any], str]:
    import pyarrow.parquet as pq

    with files.opened(path) as file:
        table = pq.read_table(file)
    numbers = {name: table[name].fill_null(-1).to_numpy() for name in NUMBERS}
    texts = {name: tuple(table[name].to_pylist()) for name in TEXTS}
    features = table["features"].combine_chunks()
    rows = features.flatten().to_numpy().reshape(len(features), -1)
    return {**numbers, **texts, "features": rows}, table.schema.metadata[b"bonestrap"].decode()


def _npz(content: FeaturesFile, about: str, file: BinaryIO) -> None:
    columns: dict[str, Any] = {name: np.asarray(getattr(content, name)) for name in (*TEXTS, *NUMBERS, "features")}
    columns |= {"class": np.array(content.titles), "about": np.array(about)}
    np.savez(file, **columns)


def _read_npz(path: Path) -> tuple[dict[str, Any], str]:
    with files.unzipped(path) as archive:
        found: dict[str, Any] = {name: files.read_member(archive, name) for name in (*TEXTS, *NUMBERS, "features")}
        about = str(files.read_member(archive, "about"))
    return found | {name: tuple(found[name].tolist()) for name in TEXTS}, about
