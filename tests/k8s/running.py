"""Rules of how the cluster runs: each a function from resources to the sentences that say what breaks it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from tests.k8s.manifests import Pod, Resource, pods, title, variables

LOGS = "/tmp/ray"  # where KubeRay gives the autoscaler a volume of its own, unless one is mounted
RAY = {"ray-head": "head", "ray-worker": "worker"}
KEYS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def clusters(found: list[Resource]) -> Iterator[tuple[Resource, dict[str, Any]]]:
    """Every resource that makes a Ray cluster, with the cluster's spec."""
    for resource in found:
        spec = resource.get("spec") or {}
        if resource["kind"] in ("RayCluster", "RayJob"):
            yield resource, spec.get("rayClusterSpec") or spec


def labels(pod: Pod) -> dict[str, str]:
    """A pod's labels with those that KubeRay adds."""
    kind = next((RAY[each["name"]] for each in pod.containers if each["name"] in RAY), None)
    return {**pod.labels, **({"ray.io/is-ray-node": "yes", "ray.io/node-type": kind} if kind else {})}


def chosen(selector: dict[str, Any], found: list[Resource]) -> list[Pod]:
    wanted = (selector.get("matchLabels") or {}).items()
    return [pod for pod in pods(found) if wanted <= labels(pod).items()]


def budgets_can_be_computed(found: list[Resource]) -> Iterator[str]:
    """The disruption controller's rules: owners without a scale subresource need an integer minAvailable."""
    every = [each for each in found if each["kind"] == "PodDisruptionBudget"]
    for budget in every:
        spec, of = budget["spec"], chosen(budget["spec"]["selector"], found)
        if not of:
            yield f"{title(budget)}: chooses no pod"
        if any(pod.owner.startswith("Ray") for pod in of) and not isinstance(spec.get("minAvailable"), int):
            yield f"{title(budget)}: pods of a RayCluster need an integer minAvailable; nothing else can be computed"
    for pod in pods(found):
        if sum(set(b["spec"]["selector"]["matchLabels"].items()) <= set(labels(pod).items()) for b in every) > 1:
            yield f"{pod.owner}: more than one PodDisruptionBudget, with which no eviction succeeds"


def the_autoscaler_shares_the_heads_logs(found: list[Resource]) -> Iterator[str]:
    for resource, spec in clusters(found):
        if spec.get("enableInTreeAutoscaling"):
            head = spec["headGroupSpec"]["template"]["spec"]["containers"][0]
            of = {each["name"] for each in head["volumeMounts"] if each["mountPath"] == LOGS}
            mounts = spec["autoscalerOptions"].get("volumeMounts", [])
            if of and of != {each["name"] for each in mounts if each["mountPath"] == LOGS}:
                yield f"{title(resource)}: the autoscaler must mount the head's {' and '.join(of)} at {LOGS}"


def threads_are_the_pods(found: list[Resource]) -> Iterator[str]:
    """torch counts the node's cores."""
    for pod in pods(found):
        for container in pod.containers:
            if container["name"] in RAY:
                given = {each["name"]: each.get("valueFrom") or {} for each in container.get("env", [])}
                if given.get("OMP_NUM_THREADS", {}).get("resourceFieldRef", {}).get("resource") != "limits.cpu":
                    yield f"{pod.owner}, {container['name']}: OMP_NUM_THREADS must be the container's limits.cpu"


def remote_data_can_be_reached(found: list[Resource]) -> Iterator[str]:
    """Where a job names an address, its pods have a way out and keys."""
    out = {"matchLabels": {"ray.io/is-ray-node": "yes"}}
    ways = [
        rule
        for each in found
        if each["kind"] == "NetworkPolicy" and each["spec"]["podSelector"] == out
        for rule in each["spec"].get("egress", [])
        if any("ipBlock" in to for to in rule.get("to", [])) and {"port": 443} in rule.get("ports", [])
    ]
    for job in found:
        if job["kind"] == "RayJob" and any(re.match(r"s3://", word) for word in shlex.split(job["spec"]["entrypoint"])):
            if not ways:
                yield f"{title(job)}: no NetworkPolicy lets Ray's pods reach an object store: add components/s3"
            for pod in pods([job]):
                for container in pod.containers:
                    if container["name"] in RAY and not set(variables(container, found)) >= KEYS:
                        yield f"{title(job)}, {container['name']}: no keys for s3://: add components/s3"


RULES: tuple[Callable[[list[Resource]], Iterator[str]], ...] = (
    budgets_can_be_computed, the_autoscaler_shares_the_heads_logs, threads_are_the_pods, remote_data_can_be_reached,
)  # fmt: skip
