"""`evaluation.json` of a run directory: what its evaluations found, by their names.

    {"format": 2, "linear": {"pretrained": {"accuracy": 0.58, ...}, "random encoder": {...}, "raw joints": {...}}, ...}

Of every evaluation the model stands first and its floors follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bonestrap.files import read_object, write_atomically
from bonestrap.options import UserError

FILE = "evaluation.json"
FORMAT = 2
# Format 1, which names no format, called these figures otherwise.
RENAMED = {"deviation": "std", "least": "min_labels", "most": "max_labels"}  # old spelling: new

Evaluations = dict[str, dict[str, dict[str, Any]]]  # by evaluation, then by candidate


def read(run: Path) -> Evaluations:
    """The evaluations of a run directory, none where there is no file. UserError where it cannot be read."""
    file = run / FILE
    if not file.exists():
        return {}
    try:
        found = read_object(file)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}): copy the run directory again") from None
    version = found.pop("format", 1)
    if version == 1:
        return {name: _renamed(candidates) for name, candidates in found.items()}
    if version != FORMAT:
        raise UserError(f"{file} has format {version!r:.20}, and this version reads up to {FORMAT}: update Bonestrap")
    return found


def write(run: Path, found: Mapping[str, Any]) -> None:
    """Add evaluations to those of a run directory; one of the same name is replaced."""
    whole = {"format": FORMAT, **read(run), **found}
    write_atomically(run / FILE, json.dumps(whole, indent=2) + "\n")


def _renamed(candidates: Any) -> Any:
    """The candidates of an evaluation in today's names; what has another shape stays for the reader to refuse."""
    if not isinstance(candidates, dict):
        return candidates
    return {
        who: {RENAMED.get(name, name): value for name, value in figures.items()}
        if isinstance(figures, dict)
        else figures
        for who, figures in candidates.items()
    }
