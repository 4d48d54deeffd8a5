"""Notebooks as pages: their text, their code, and the outputs that are stored in them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any


def notebook_page(file: Path) -> tuple[str, dict[str, bytes]]:
    """The notebook in Markdown, and its pictures by name. Nothing is executed."""
    pictures: dict[str, bytes] = {}
    parts: list[str] = []
    for number, cell in enumerate(json.loads(file.read_text())["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            parts.append(shown(output, f"{file.stem}-{number}.png", pictures))
    return "\n\n".join(part for part in parts if part) + "\n", pictures


def shown(output: dict[str, Any], name: str, pictures: dict[str, bytes]) -> str:
    """One output: a picture where it is one, text otherwise."""
    if "image/png" in output.get("data", {}):
        pictures[name] = base64.b64decode(output["data"]["image/png"])
        return f"![What the code above draws]({name})"
    text = "".join(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return f"``` {{ .text .no-copy }}\n{text.rstrip()}\n```" if text.strip() else ""
