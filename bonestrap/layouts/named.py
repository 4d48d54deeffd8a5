"""A layout by name, or of one's own from a JSON file; see `docs/data.md`."""

from __future__ import annotations

import json
from pathlib import Path

from bonestrap.files import read_json
from bonestrap.layout import Layout
from bonestrap.layouts import LAYOUTS
from bonestrap.options import did_you_mean


def named_layout(name: str) -> Layout:
    """The built-in layout of this name, or the one that the file of this name holds.

    Raises ValueError where there is neither, and saying what is wrong with the file.
    """
    if name in LAYOUTS:
        return LAYOUTS[name]
    path = Path(name)
    if not path.is_file():
        meant = did_you_mean(name, LAYOUTS)
        raise ValueError(f"{name}: neither a layout file nor a known layout ({', '.join(LAYOUTS)}){meant}")
    try:
        return Layout.from_json(read_json(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text; a layout is a JSON file") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
