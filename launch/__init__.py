"""What a person starts.

Dask has a package named `distributed` too. Were it found first, every script here would fail on some name that Dask's
lacks; this names the clash before any of them looks for one. Scripts started by path and workers put the root first on
their path and find the right one; `python -m` from elsewhere, with both installed, may not.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_FOUND = importlib.util.find_spec("distributed")
if _FOUND is None or Path(_FOUND.origin or "").resolve().parent != _ROOT / "distributed":
    raise ImportError(
        f"`import distributed` finds {_FOUND.origin if _FOUND else 'nothing'} instead of the package that belongs to"
        f" {_ROOT}: set PYTHONPATH={_ROOT}, or uninstall the other one"
    )
