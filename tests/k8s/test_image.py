"""The image as far as it can be known without building it: versions, user, what is copied."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from importlib.util import find_spec

import pytest

from tests.k8s.manifests import OVERLAYS, ROOT, pods, resources
from tests.test_project import PACKAGES

LINES = [
    line for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines() if line[:1] not in ("", "#")
]
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]


def instructions(word: str, target: str) -> list[str]:
    """The arguments of an instruction in a stage."""
    found, stage = [], ""
    for line in LINES:
        first, _, rest = line.partition(" ")
        if first == "FROM":
            stage = rest.rpartition(" AS ")[2]
        if first == word and stage == target:
            found.append(rest.strip())
    return found


def argument(name: str) -> str:
    (value,) = [line.partition("=")[2] for line in LINES if line.startswith(f"ARG {name}=") and '""' not in line]
    return value


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def test_the_base_is_the_ray_that_was_tested() -> None:
    assert argument("RAY_VERSION") == pins()["ray"]
    (base,) = instructions("FROM", "train")
    tag = re.fullmatch(r"rayproject/ray:\$\{RAY_VERSION\}-py(\d)(\d+)-\$\{PLATFORM\} AS train", base)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert tag and project["requires-python"] == f">={tag[1]}.{tag[2]}"
    assert argument("PLATFORM") == "gpu"


@pytest.mark.parametrize("target", ["train", "mlflow"])
def test_it_runs_as_nobody_in_particular(target: str) -> None:
    *_, user = instructions("USER", target)
    assert user.split(":")[0].isdigit() and int(user.split(":")[0]) > 0


def test_the_manifests_run_as_the_images_users() -> None:
    for overlay in OVERLAYS:
        for pod in pods(resources(overlay)):
            context = pod.spec["securityContext"]
            for container in pod.containers:
                name = container["image"].rpartition("/")[2].partition(":")[0]
                target = {"bonestrap": "train", "bonestrap-mlflow": "mlflow"}.get(name)
                if target:
                    user = instructions("USER", target)[-1]
                    assert user == f"{context['runAsUser']}:{context['runAsGroup']}", pod.owner


def test_all_packages_are_in_it() -> None:
    copied = {words.split()[-2] for words in instructions("COPY", "train")}
    assert set(PACKAGES) <= copied
    assert all((ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in IGNORED if line.startswith("!")}
    assert IGNORED[0] == "*" and copied | {"constraints.txt", "pyproject.toml"} <= kept
    (guard,) = [line for line in instructions("RUN", "train") if "import launch" in line]  # against Dask's package
    assert all(find_spec(name) for name in guard.partition("import ")[2].partition("'")[0].split(", "))


def test_an_upload_holds_no_data() -> None:
    patterns = [line.strip("/") for line in (ROOT / ".rayignore").read_text().splitlines() if line and line[0] != "#"]
    for name in (".git", ".venv", "runs", "packed", "mlflow.db", "mlruns", "tests", "k8s"):
        assert any(fnmatch(name, pattern) for pattern in patterns), name
    assert not any(fnmatch(name, pattern) for name in PACKAGES for pattern in patterns)


def test_the_server_has_what_the_manifest_needs() -> None:
    (install,) = instructions("RUN", "mlflow")
    server = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["server"]
    assert all(re.split(r"[>=\[]", name)[0] in install for name in server)
