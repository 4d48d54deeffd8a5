"""Environment variables, both ways: what the code reads is set or has a default, what is set is read by somebody."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.k8s.manifests import OVERLAYS, ROOT, pods, resources, variables
from tests.k8s.policy import environment_names

# Read by the code, and not the manifests' business: who sets them, or that the code does without.
OTHERWISE = {
    "RAY_ADDRESS": "Ray sets it in a submitted job",
    "RAY_JOB_CONFIG_JSON_ENV_VAR": "Ray sets it in a submitted job",
    "RAY_AUTH_MODE": "KubeRay sets it, by authOptions",
    "PYTHONPATH": "the image sets it",
    "LOCAL_RANK": "has a default",
    "TRITON_INTERPRET": "for tests of kernels without a GPU",
    "DS_ACCELERATOR": "written, for DeepSpeed",
    "RAY_TRAIN_METRICS_ENABLED": "written before it is read, with what else the connection to Ray needs",
}
SERVERS = {  # variables of other programs' containers, which cannot be looked into here
    "POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "PGDATA", # Postgres' image
    "DATABASE_PASSWORD", # part of MLFLOW_BACKEND_STORE_URI
}  # fmt: skip


def read_by(folder: Path) -> set[str]:
    """The names with which Python files ask for environment variables without writing a default first."""
    return {name for file in folder.rglob("*.py") for name in asked(ast.parse(file.read_text()))}


def asked(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        name: ast.AST | None = None
        if (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == "os.environ"
            and isinstance(node.ctx, ast.Load)
        ):
            name = node.slice
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.environ.get", "os.getenv"):
            name = node.args[0]
        if isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield name.value


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_code_reads_is_set(overlay: str) -> None:
    wanted = set().union(*(read_by(ROOT / package) for package in ("bonestrap", "shards", "distributed", "launch")))
    assert "MLFLOW_TRACKING_URI" in wanted and "RAY_ADDRESS" in wanted
    missing = wanted - set(OTHERWISE) - environment_names(resources(overlay))
    assert not missing, f"the code reads {missing}, which nothing sets"
    assert "PYTHONPATH=/opt/bonestrap" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_stopped_job_has_a_minute_on_every_head(overlay: str) -> None:
    """Ray reads it in the process that supervises the job, whose environment is that of the head's container."""
    found = resources(overlay)
    heads = [pod for pod in pods(found) if any(container["name"] == "ray-head" for container in pod.containers)]
    assert heads
    for pod in heads:
        (head,) = [container for container in pod.containers if container["name"] == "ray-head"]
        assert variables(head, found)["RAY_JOB_STOP_WAIT_TIME_S"] == "60"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_workflow_reads_is_set(overlay: str) -> None:
    found = resources(overlay)
    (pod,) = [pod for pod in pods(found) if pod.owner == "Job workflow"]
    given = set(variables(pod.containers[0], found)) - {"workflow.py"}
    wanted = set(asked(ast.parse((ROOT / "k8s" / "base" / "workflow.py").read_text())))
    ours = {name for name in wanted if not name.startswith("KUBERNETES_")}  # the kubelet's
    assert given <= ours
    assert ours - given <= {"SERVICE_ACCOUNT", "POLL_SECONDS"}  # have defaults


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_set_is_read(overlay: str) -> None:
    found = resources(overlay)
    text = "".join(
        file.read_text() for package in ("shards", "distributed", "launch") for file in (ROOT / package).rglob("*.py")
    )
    unread = {name for name in environment_names(found) if name not in text}
    servers = {
        name
        for pod in pods(found)
        for container in pod.containers
        if container["name"] in ("mlflow", "postgres", "seaweedfs")
        for name in variables(container, found)
    }
    unread |= servers - SERVERS
    unread -= known_to("mlflow", unread) | known_to("botocore", unread) | known_to("ray", unread)
    assert not unread, f"{unread} is set and nobody reads it"


def known_to(package: str, names: set[str]) -> set[str]:
    """The names that a package's Python files mention."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"{package} is not installed")
    root = Path(spec.submodule_search_locations[0])
    places = ("environment_variables.py", "cli", "server", "store/artifact", "credentials.py", "configprovider.py",
              "dashboard/modules/job", "_private/utils.py")  # fmt: skip
    files = [
        file
        for place in places
        for file in ([root / place] if place.endswith(".py") else (root / place).rglob("*.py"))
        if file.is_file()
    ]
    text = "".join(file.read_text(errors="replace") for file in files)
    return {name for name in names if name in text or name.lower().removeprefix("aws_") in text}
