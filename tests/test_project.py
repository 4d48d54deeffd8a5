"""The project's promises about itself: what imports what, what is installed, and whose `distributed` is found."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bonestrap", "shards", "distributed", "evaluation", "reports", "experiments", "launch")
FILES = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
ALWAYS_THERE = {"torch", "numpy", *PACKAGES, *sys.stdlib_module_names}


def imported(tree: ast.AST, inside_functions: bool) -> Iterator[str]:
    """The full names that a module imports; those of a function body run only when the function does."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imported(node, inside_functions)


KERNELS = "bonestrap/kernels/"  # whose modules are in triton's language
LAZY = ("__init__", "parity")  # but for these
OUTSIDE = [file for file in FILES if not str(file.relative_to(ROOT)).startswith(KERNELS) or file.stem in LAZY]


def test_kernels_are_imported_where_they_are_used() -> None:
    early = {
        (str(file.relative_to(ROOT)), name)
        for file in OUTSIDE
        for name in imported(ast.parse(file.read_text()), inside_functions=False)
        if name.startswith("bonestrap.kernels.")
    }
    assert early == {("bonestrap/kernels/__init__.py", "bonestrap.kernels.parity.PARITY")}


@pytest.mark.parametrize("file", OUTSIDE, ids=lambda file: str(file.relative_to(ROOT)))
def test_optional_libraries_are_imported_where_they_are_used(file: Path) -> None:
    top = {name.partition(".")[0] for name in imported(ast.parse(file.read_text()), inside_functions=False)}
    assert top <= ALWAYS_THERE, "move the import into the function that needs it: --workers 0 runs without the library"


def test_only_strategies_speak_to_torch_distributed() -> None:
    users = {
        str(file.relative_to(ROOT))
        for file in FILES
        for name in imported(ast.parse(file.read_text()), inside_functions=True)
        if f"{name}.".startswith(("torch.distributed.", "torch.nn.parallel."))
    }
    assert users <= {"distributed/strategy.py", "distributed/zero.py"}


def test_no_folder_holds_more_than_twenty_modules() -> None:
    folders = {file.parent for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
    assert {str(folder): count for folder in folders if (count := len(list(folder.glob("*.py")))) > 20} == {}


def test_no_script_hides_a_standard_module() -> None:
    top = [path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    scripts = [path.stem for path in (ROOT / "launch").iterdir()]
    assert not set(top + scripts) & set(sys.stdlib_module_names)


def test_everything_declared_is_pinned() -> None:
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): version for name, version in pinned.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        if requirement.name != "bonestrap":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


@pytest.fixture
def other_distributed(tmp_path: Path) -> dict[str, str]:
    """An environment in which a foreign package of the name `distributed` comes before everything installed."""
    package = tmp_path / "site" / "distributed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("class Client: ...\n")
    return os.environ | {"PYTHONPATH": str(package.parent)}


def python(*words: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_a_script_started_by_path_finds_our_distributed(tmp_path: Path, other_distributed: dict[str, str]) -> None:
    done = python(str(ROOT / "launch" / "compare.py"), "--help", cwd=tmp_path, env=other_distributed)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_clash_is_named_in_one_sentence(tmp_path: Path, other_distributed: dict[str, str]) -> None:
    """Without site-packages (-S), where an editable install of another checkout would come before this one."""
    code = f"import sys; sys.path.append({str(ROOT)!r}); import launch.cli.parser"
    done = python("-S", "-c", code, cwd=tmp_path, env=other_distributed)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: `import distributed` finds {tmp_path}/site/distributed/__init__.py instead of the package that"
        f" belongs to {ROOT}: set PYTHONPATH={ROOT}, or uninstall the other one"
    )
    assert python("-S", "-c", code, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == 0


WORKER = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from distributed import cluster
import ray
def found():
    import launch, distributed
    return distributed.__file__
with cluster.connection(1):
    print(ray.get(ray.remote(found).remote()))
"""


def test_workers_find_our_distributed(tmp_path: Path, other_distributed: dict[str, str]) -> None:
    pytest.importorskip("ray")
    done = python("-c", WORKER, cwd=tmp_path, env=other_distributed)
    assert done.stdout.strip() == str(ROOT / "distributed" / "__init__.py"), done.stderr
