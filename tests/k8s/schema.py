"""Strict schemas: Kubernetes' own, KubeRay's as published, and ours of Kueue. An unknown field is a fault."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.manifests import Resource, title

SCHEMAS = Path(__file__).parent / "schemas"
VERSION = "1.34.0"  # of Kubernetes: the oldest that is promised
DEFINITIONS = "/api/_definitions.json"
METADATA = {"$ref": f"{DEFINITIONS}#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}


def faults(resource: Resource) -> list[str]:
    """What the API server would refuse, or quietly drop."""
    group = resource["apiVersion"].partition("/")[0]
    if group not in ("ray.io", "kueue.x-k8s.io"):
        return core_faults(resource)
    schema = published(group, resource["kind"]) if group == "ray.io" else transcribed(resource["kind"])
    if schema is None or schema["properties"]["apiVersion"]["const"] != resource["apiVersion"]:
        return [f"{title(resource)}: {resource['apiVersion']} has no such kind"]
    found = checked(resource, schema)
    return found + [fault for own in definitions_of_the_cluster(resource) for fault in checked(resource, own)]


@functools.cache
def published(group: str, kind: str) -> dict[str, Any] | None:
    """The custom resource definition of a kind, made strict."""
    for file in SCHEMAS.glob("kuberay-*.json"):
        document = json.loads(file.read_text())
        if (document["group"], document["kind"]) == (group, kind):
            ((version, schema),) = document["versions"].items()
            return resource_schema(schema, f"{group}/{version}", kind)
    return None


def transcribed(kind: str) -> dict[str, Any] | None:
    """Ours, where the published definition is not at hand."""
    return json.loads((SCHEMAS / "kueue.json").read_text())["kinds"].get(kind)


def resource_schema(schema: dict[str, Any], api: str, kind: str) -> dict[str, Any]:
    """A whole resource: its metadata is Kubernetes' own, what the API server requires of everything is required."""
    out = strict(schema)
    out["properties"] |= {"apiVersion": {"const": api}, "kind": {"const": kind}, "metadata": METADATA}
    return {**out, "required": ["apiVersion", "kind", "metadata", "spec"]}


def core_faults(resource: Resource) -> list[str]:
    validate = pytest.importorskip("kubernetes_validate")
    try:
        validate.validate(resource, VERSION, strict=True)
    except validate.ValidationError as error:
        return [told(resource, error)]
    except validate.SchemaNotFoundError as error:
        return [f"{title(resource)}: {error.message}"]
    return []


def checked(resource: Resource, schema: dict[str, Any]) -> list[str]:
    import jsonschema
    from referencing import Registry
    from referencing import Resource as Referred

    core = Referred.from_contents(core_definitions())
    validator = jsonschema.Draft202012Validator(schema, registry=Registry().with_resource(DEFINITIONS, core))
    return [told(resource, error) for error in validator.iter_errors(resource)]


def told(resource: Resource, error: Any) -> str:
    return f"{title(resource)}: {'.'.join(map(str, error.absolute_path))}: {error.message[:200]}"


@functools.cache
def core_definitions() -> dict[str, Any]:
    package = Path(pytest.importorskip("kubernetes_validate").__file__).parent
    folder = package / "kubernetes-json-schema" / f"v{VERSION}-local-strict"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **json.loads((folder / "_definitions.json").read_text()),
    }


def definitions_of_the_cluster(resource: Resource) -> Iterator[dict[str, Any]]:
    """The cluster's own definition of this kind, made strict, if `BONESTRAP_CRDS` names a file that holds it."""
    if file := os.environ.get("BONESTRAP_CRDS"):
        for definition in json.loads(Path(file).read_text())["items"]:
            for version in definition["spec"]["versions"]:
                api, kind = f"{definition['spec']['group']}/{version['name']}", definition["spec"]["names"]["kind"]
                if (api, kind) == (resource["apiVersion"], resource["kind"]):
                    yield resource_schema(version["schema"]["openAPIV3Schema"], api, kind)


def strict(schema: Any) -> Any:
    """The same, refusing fields that it does not name: the API server drops them without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    if out.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if (
        isinstance(out.get("properties"), dict)
        and "additionalProperties" not in out
        and not out.get("x-kubernetes-preserve-unknown-fields")
    ):
        out["additionalProperties"] = False
    return out
