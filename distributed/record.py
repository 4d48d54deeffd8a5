"""The run record: all that shapes a run's result, in `RUN/run.json` and in the manifest of every checkpoint.

It tells whose a run directory or a checkpoint is. Where and how a run is done (workers, folders, intervals) is no part
of it: the same run may resume elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bonestrap.augment import CONSERVATIVE
from bonestrap.config import to_json
from bonestrap.files import read_object, write_atomically
from bonestrap.optim import SGD, Schedule
from bonestrap.options import UserError
from distributed.lease import FILE as LEASE
from shards.storage.redaction import plain
from shards.storage.remote import is_address

FILE = "run.json"
FORMAT = 2  # of run.json; without one, the first
NAMED = 6  # settings that a message lists
OF_NOBODY = (FILE, LEASE, "lost+found")  # what a start that was killed leaves, and what a new file system holds


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run is. Values are those that JSON gives back, so that what was read compares equal."""

    result: Mapping[str, Any]  # all that shapes the result
    info: Mapping[str, Any]  # of the command that began it: the command itself, commit, versions, hardware

    @classmethod
    def of(cls, result: Mapping[str, Any], info: Mapping[str, Any]) -> Record:
        """With paths and tuples as JSON has them, and addresses without their secrets."""
        return cls(result=_plain(result), info=_plain(info))

    def check(self, run: Path) -> None:
        """Change nothing. Raises ValueError where `run` is another's: other settings, or files without a record."""
        if (run / FILE).exists():
            self.compare(run)
        elif found := next(_files(run), None):
            raise ValueError(
                f"{run} is not empty and holds no run: {found} is there and {FILE} is not; "
                "move the files away, or choose another --run"
            )

    def compare(self, run: Path) -> None:
        """Raises ValueError unless `RUN/run.json` has these settings."""
        file = run / FILE
        try:
            there = upgraded(read_object(file)["result"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is damaged ({error}); put a copy of it back, or choose another --run") from None
        if there != self.result:
            raise ValueError(
                f"{run} holds a run with other settings ({differences(there, self.result)}); "
                "repeat its command or choose another --run"
            )

    def write(self, run: Path) -> None:
        """Make `run` this run's unless it already is, in one step: of two that write at once one finds the other's.

        Raises ValueError where other settings are there.
        """
        run.mkdir(parents=True, exist_ok=True)
        if (run / FILE).exists():
            self.compare(run)
            return
        text = json.dumps({"format": FORMAT, "result": self.result, "info": self.info}, indent=2) + "\n"
        try:
            write_atomically(run / FILE, text, replace=False)
        except FileExistsError:
            self.compare(run)


def differences(there: Any, here: Any) -> str:
    """The dotted names of the settings that differ, for a message."""
    names = sorted(_differences(there, here))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _differences(a: Any, b: Any, path: str = "") -> set[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        keys = set(a) | set(b)
        return set().union(*(_differences(a.get(k), b.get(k), f"{path}.{k}".lstrip(".")) for k in keys))
    return set() if a == b else {path or "all of it"}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return plain(json.loads(json.dumps(values, default=str)))


def _files(run: Path) -> Iterator[Path]:
    """The files of a folder and its folders that are somebody's."""
    for folder, folders, files in os.walk(run):
        folders[:] = [name for name in folders if name not in OF_NOBODY]
        yield from (Path(folder, name) for name in files if not name.lstrip(".").startswith(OF_NOBODY))


@contextmanager
def prepared(run: Path, record: Record, checkpoints: str | None) -> Iterator[None]:
    """`run` as a folder in which `record` may be written, by whoever holds its lease.

    Nothing is written here. Folders that this start has made and that are still empty at its end are removed: files
    never are, so there is nothing to lose where a start fails, whoever else works there by then. UserError where the
    directory is another run's or cannot be written to.
    """
    try:
        record.check(run)
    except ValueError as error:
        raise UserError(str(error)) from None
    used = [run / "checkpoints", *([] if checkpoints is None or is_address(checkpoints) else [Path(checkpoints)])]
    absent = {folder for each in used for folder in (each, *each.parents) if not folder.exists()}
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not os.access(run, os.W_OK | os.X_OK):
            raise UserError(f"{run} cannot be written to; choose another --run, or change its permissions")
        yield
    finally:
        for folder in sorted(absent, key=lambda each: len(each.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()


def claim(run: Path, record: Record) -> None:
    """Make `run` the directory of this record, or find that it already is. UserError where it is another's."""
    try:
        record.check(run)
        record.write(run)
    except ValueError as error:
        raise UserError(str(error)) from None


# Settings that came later, by what they belong to, with the value that holds of every run before them.
LATER: dict[tuple[str, str | None], dict[str, Any]] = {
    ("clip", None): {"normalise": "none", "partner": False, "motion": False},
    ("encoder", "stgcn"): {"partitions": "distance"},
    ("method", "byol"): {"variance": 0.0, "covariance": 0.0},
    ("method", "supervised"): {"head": "linear", "freeze": []},
}
# Recipes of format 1 whose names are other recipes' today: old spelling, new.
RECIPES = {"demo": "byol-small", "own": "byol-own"}


def upgraded(result: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run record of any age, under today's names and with those that it did not know yet."""
    out = _renamed(result)
    for (part, kind), later in LATER.items():
        settings = out.get(part)
        if isinstance(settings, dict) and settings and settings.get("kind") == kind:
            out[part] = later | settings
    method = out.get("method")
    if isinstance(method, dict) and "pretrained" in method:  # the encoder kept its statistics
        settings = {name: value for name, value in method.items() if name != "pretrained"}
        out["method"] = {**settings, "statistics": "kept" if method["pretrained"] else "batch"}
    if "recipe" not in out and ("scratch" in out or "teacher" in out):
        out = {"optimizer": {}, **out}
    if "scratch" in out:
        out = {"warmup": None, "floor": 0.0, **out}
    return out


def _renamed(result: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of format 1 under the names of format 2; others as they are."""
    out = dict(result)
    if "protocol" not in out:
        return out
    out["split"] = out.pop("protocol")
    if "recipe" in out:
        return _pretraining(out)
    view = to_json(CONSERVATIVE)
    width = out["encoder"].get("width")
    out["encoder"] = {} if width is None else {"width": width}
    if "scratch" in out:
        scratch = out["scratch"]
        pace = {"encoder_rate": 1.0, "frozen": 0.0} if scratch else {k: out[k] for k in ("encoder_rate", "frozen")}
        out["method"] = {
            "kind": "supervised",
            "head": "linear",
            **out["method"],
            "pretrained": not scratch,
            **pace,
            "view": view,
        }
    else:
        out["method"] = {"kind": "distill", **out["method"], "view": view}
    return out


def _pretraining(out: dict[str, Any]) -> dict[str, Any]:
    """BYOL on ST-GCN with SGD, all that there was."""
    out["recipe"] = RECIPES.get(out["recipe"], out["recipe"])
    schedule = dict(out["schedule"])
    rate, decay = schedule.pop("learning_rate"), schedule.pop("weight_decay")
    out["method"] = {
        "kind": "byol",
        **out["method"],
        "predictor_rate": schedule.pop("predictor_rate"),
        "multiview": out.pop("multiview"),
        "view1": _view(out.pop("view1")),
        "view2": _view(out.pop("view2")),
    }
    out["encoder"] = {"kind": "stgcn", **out["encoder"]}
    out["optimizer"] = to_json(SGD(learning_rate=rate, weight_decay=decay))
    out["schedule"] = {**schedule, "floor": Schedule().floor}
    return out


def _view(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"kind": "resample", "rate": list(told["resample"])},
        {"kind": "shift", "limit": float(told["shift"])},
        {"kind": "crop", "anywhere": told["crop"]},
        {"kind": "smooth", "probability": told["smooth"]},
        {"kind": "drop", "probability": told["drop"]},
        {"kind": "shear", "limit": told["shear"]},
    ]
