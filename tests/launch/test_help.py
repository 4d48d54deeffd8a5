"""`--help` and a mistyped option answer without the libraries that training needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(file.name for file in (ROOT / "launch").glob("*.py") if file.read_text().startswith("#!"))
# With a first word, the options of one recipe, format, protocol or table.
CHOICES = [("pretrain.py", "ntu60"), ("pack.py", "coco"), ("pack.py", "verify"), ("evaluate.py", "linear")]
CHOICES += [("reproduce.py", "table-2")]
HEAVY = ("torch", "ray", "mlflow", "numba", "pandas", "pyarrow", "matplotlib", "scipy", "sklearn")
LOADED = f"""
import runpy, sys
sys.argv = sys.argv[1:]
sys.path[0] = "launch"  # as Python sets it for a script
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print("exit", end.code, *sorted(set({HEAVY}) & set(sys.modules)), file=sys.stderr)
"""


def ended(*words: str) -> str:
    """The last line of a command's standard error: its exit code, and which heavy libraries it has imported."""
    done = subprocess.run([sys.executable, "-c", LOADED, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr.splitlines()[-1]


def test_every_command_is_asked() -> None:
    assert {"pack.py", "pretrain.py", "finetune.py", "distill.py", "evaluate.py", "demo.py"} <= set(COMMANDS)


@pytest.mark.parametrize("words", [*((command,) for command in COMMANDS), *CHOICES], ids=" ".join)
def test_help_imports_no_heavy_library(words: tuple[str, ...]) -> None:
    assert ended(f"launch/{words[0]}", *words[1:], "--help") == "exit 0"


def test_a_mistyped_option_imports_no_heavy_library() -> None:
    assert ended("launch/pretrain.py", "byol-small", "--schedule.epoch", "3") == "exit 2"
