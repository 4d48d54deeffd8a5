"""The notebooks run as they are, and what is stored in them is theirs and not a machine's."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: pip install -e '.[notebooks]'")
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install -e '.[notebooks]'")

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
NEEDS = {"our_encoder": ("lightning",), "your_encoder": ("matplotlib", "webdataset")}


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    specification = importlib.util.spec_from_file_location("run_notebooks", ROOT / "docs" / "site" / "run_notebooks.py")
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_every_cell_runs_and_prints_as_much_as_is_stored(
    file: Path, runner: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebooks assert what they claim; digits may differ between machines, what is shown may not."""
    for library in NEEDS[file.stem]:
        pytest.importorskip(library)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    stored = nbformat.read(file, as_version=4)
    ran = runner.cleaned(runner.executed(file))
    assert [kinds(cell) for cell in ran.cells] == [kinds(cell) for cell in stored.cells]


def kinds(cell: Any) -> list[tuple[str, ...]]:
    """What kinds of output a cell has; successive pieces of one stream count once."""
    found = [(output.output_type, *sorted(output.get("data", {}))) for output in cell.get("outputs", [])]
    return [kind for kind, before in zip(found, [None, *found], strict=False) if kind != before]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_nothing_of_a_machine_is_stored(file: Path) -> None:
    notebook = nbformat.read(file, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))  # stored as run, from the top
    for cell in notebook.cells:
        assert cell.metadata == {}
        for output in cell.get("outputs", []):
            assert output.output_type in ("stream", "display_data")
            assert output.get("name") != "stderr"
            text = str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"(?<![\w.<])/\w+/\w", text), text  # a path from the root of a disk
