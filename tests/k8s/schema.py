"""Strict schemas: Kubernetes' own, and those of Ray's and Kueue's resources. An unknown field is a fault."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.k8s.manifests import Resource, title

HERE = Path(__file__).parent
VERSION = "1.34.0"  # of Kubernetes: the oldest that is promised
DEFINITIONS = "/api/_definitions.json"
OURS = {"ray.io/v1": "ray", "kueue.x-k8s.io/v1beta2": "kueue"}


def faults(resource: Resource) -> list[str]:
    """What the API server would refuse, or quietly drop."""
    if resource["apiVersion"] not in OURS:
        return core_faults(resource)
    document = json.loads((HERE / "schemas" / f"{OURS[resource['apiVersion']]}.json").read_text())
    kind = document["kinds"].get(resource["kind"])
    if kind is None:
        return [f"{title(resource)}: {resource['apiVersion']} has no such kind"]
    found = checked(resource, {**kind, "$defs": document.get("$defs", {})})
    return found + [fault for schema in definitions_of_the_cluster(resource) for fault in checked(resource, schema)]


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
                api = f"{definition['spec']['group']}/{version['name']}"
                if (api, definition["spec"]["names"]["kind"]) == (resource["apiVersion"], resource["kind"]):
                    yield strict(version["schema"]["openAPIV3Schema"])


def strict(schema: Any) -> Any:
    """The same, refusing fields that it does not name: the API server drops them without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: strict(value) for key, value in schema.items()}
    if out.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    known = out.get("properties")
    if known and "additionalProperties" not in out and not out.get("x-kubernetes-preserve-unknown-fields"):
        if "apiVersion" in known:
            out["properties"] = {**known, "metadata": {"type": "object"}}
        out["additionalProperties"] = False
    return out
