"""What kubectl would send: every overlay as built, and every container, command and variable in it."""

from __future__ import annotations

import copy
import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("local", "gpu", "kueue", "spot")

Resource = dict[str, Any]


def build(folder: Path) -> list[Resource]:
    """The resources of an overlay. Raises ValueError with kustomize's words where it cannot be built."""
    kubectl, kustomize = shutil.which("kubectl"), shutil.which("kustomize")
    if kubectl is None and kustomize is None:
        pytest.skip("neither kubectl nor kustomize is installed: overlays cannot be built")
    words = [kubectl, "kustomize"] if kubectl else [str(kustomize), "build"]
    done = subprocess.run([*words, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


@functools.cache
def _built(overlay: str) -> list[Resource]:
    return build(ROOT / "k8s" / "overlays" / overlay)


def resources(overlay: str) -> list[Resource]:
    """A copy that a test may spoil."""
    return copy.deepcopy(_built(overlay))


def one(found: list[Resource], kind: str, name: str) -> Resource:
    (resource,) = [each for each in found if each["kind"] == kind and each["metadata"]["name"] == name]
    return resource


def title(resource: Resource) -> str:
    return f"{resource['kind']} {resource['metadata']['name']}"


class Pod(NamedTuple):
    """A pod that some resource makes."""

    owner: str
    labels: dict[str, str]
    spec: dict[str, Any]

    @property
    def containers(self) -> list[dict[str, Any]]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(found: list[Resource]) -> Iterator[Pod]:
    for resource in found:
        yield from _pods(resource, title(resource))


def _pods(value: Any, owner: str) -> Iterator[Pod]:
    """Whatever holds containers is a pod, however deep."""
    if isinstance(value, list):
        for each in value:
            yield from _pods(each, owner)
    elif isinstance(value, dict):
        spec = value.get("spec")
        if isinstance(spec, dict) and "containers" in spec:
            yield Pod(owner, (value.get("metadata") or {}).get("labels") or {}, spec)
        for each in value.values():
            yield from _pods(each, owner)


def variables(container: dict[str, Any], found: list[Resource]) -> dict[str, str | None]:
    """Environment variables of a container; None stands for what a secret holds."""
    data = {each["metadata"]["name"]: each.get("data") or {} for each in found if each["kind"] == "ConfigMap"}
    given: dict[str, str | None] = {}
    for source in container.get("envFrom") or []:
        given.update(data[source["configMapRef"]["name"]])
    for variable in container.get("env") or []:
        given[variable["name"]] = variable.get("value")
    return given
