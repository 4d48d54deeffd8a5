"""Execute the notebooks of docs/ and store their outputs without what is this machine's: `make notebooks`."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
MACHINE = re.compile(re.escape(tempfile.gettempdir()) + r"/tmp\w+/?")  # folders in which the notebooks work


def executed(file: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs that it has here. Raises CellExecutionError where a cell fails."""
    notebook = nbformat.read(file, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(file.parent)}}
    ).execute()
    return notebook


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """In place: without warnings, progress lines, times and folders of this machine."""
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if output.output_type == "stream":
                    output.text = MACHINE.sub("", output.text)
    return notebook


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        nbformat.write(cleaned(executed(file)), file)
        print(file)
