"""How the cluster runs: what a drain may evict, what a machine has to hold, what reaches an object store."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.k8s import running
from tests.k8s.manifests import OVERLAYS, ROOT, Pod, Resource, build, one, pods, resources
from tests.k8s.policy import broken
from tests.k8s.schema import SCHEMAS, published, strict

SYSTEM = {"cpu": 0.95, "memory": 290 * 2**20}  # kind's own pods: etcd, API server, controllers, DNS, network
OPERATOR = {"cpu": 0.1, "memory": 512 * 2**20}  # KubeRay's chart
UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 1e-3}


def protected(found: list[Resource]) -> set[str]:
    """Ray's pods that no eviction succeeds for, as the disruption controller computes it for so many of each."""
    out = set()
    for budget in (each for each in found if each["kind"] == "PodDisruptionBudget"):
        of = running.chosen(budget["spec"]["selector"], found)
        healthy = 64 * len(of)  # no group has more pods
        if budget["spec"].get("minAvailable", 0) >= healthy:
            out |= {named(pod) for pod in of}
    return out


def named(pod: Pod) -> str:
    return f"{pod.owner}, {pod.containers[0]['name']}"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_drain_evicts_what_no_run_ends_with(overlay: str) -> None:
    found = resources(overlay)
    heads = {f"RayJob {name}, ray-head" for name in ("pack", "pretrain", "finetune", "distill", "evaluate", "register")}
    workers = {f"RayJob {name}, ray-worker" for name in ("pretrain", "finetune", "distill")}
    assert protected(found) == heads | (set() if overlay == "spot" else workers)
    assert {"RayCluster interactive, ray-head", "RayCluster interactive, ray-worker"} <= {named(p) for p in pods(found)}


def budget(found: list[Resource]) -> Resource:
    return one(found, "PodDisruptionBudget", "jobs")["spec"]


def head(found: list[Resource]) -> Resource:
    return one(found, "RayJob", "pretrain")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]


def all_unavailable(found: list[Resource]) -> None:
    budget(found).pop("minAvailable")
    budget(found).update(maxUnavailable=0)


def without_the_rule(found: list[Resource], kind: str) -> None:
    found[:] = [each for each in found if each["kind"] != kind]


BREACHES: dict[str, tuple[Callable[[list[Resource]], Any], str]] = {
    "maxUnavailable for pods of a RayCluster": (all_unavailable, "integer minAvailable"),
    "a percentage": (lambda r: budget(r).update(minAvailable="100%"), "integer minAvailable"),
    "maxUnavailable by KubeRay's own label": (
        lambda r: r.append({
            "kind": "PodDisruptionBudget", "metadata": {"name": "heads"},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"ray.io/node-type": "head"}}},
        }), "integer minAvailable",
    ),
    "two budgets": (
        lambda r: r.append({**one(r, "PodDisruptionBudget", "jobs"), "metadata": {"name": "x"}}), "more than",
    ),
    "a budget for nobody": (lambda r: budget(r)["selector"]["matchLabels"].update(x="y"), "chooses no pod"),
    "the autoscaler's logs elsewhere": (
        lambda r: one(r, "RayJob", "pretrain")["spec"]["rayClusterSpec"]["autoscalerOptions"].pop("volumeMounts"),
        "must mount the head's ray at /tmp/ray",
    ),
    "threads of the node": (lambda r: head(r)["containers"][0].pop("env"), "OMP_NUM_THREADS"),
    "a token for jobs": (lambda r: head(r).update(automountServiceAccountToken=True), "would have the account's token"),
    "a token mounted": (
        lambda r: head(r)["containers"][0]["volumeMounts"].append({"name": "autoscaler-token", "mountPath": "/t"}),
        "mounts the token",
    ),
    "every patch": (lambda r: without_the_rule(r, "ValidatingAdmissionPolicy"), "may patch rayjobs"),
    "a policy that is not bound": (
        lambda r: without_the_rule(r, "ValidatingAdmissionPolicyBinding"), "bound to nothing",
    ),
    "an object store out of reach": (
        lambda r: one(r, "RayJob", "pretrain")["spec"].update(entrypoint="python x.py --data s3://b/x --cache /cache"),
        "no NetworkPolicy lets Ray's pods reach an object store",
    ),
}  # fmt: skip


@pytest.mark.parametrize("breach", BREACHES)
def test_the_rules_find(breach: str) -> None:
    found = resources("spot")
    spoil, sentence = BREACHES[breach]
    spoil(found)
    assert any(sentence in said for said in broken(found)), broken(found)


def test_with_the_component_shards_may_lie_in_an_object_store(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    file = tmp_path / "k8s" / "overlays" / "spot" / "kustomization.yaml"
    file.write_text(
        file.read_text().replace("  - ../../components/jobs\n", "  - ../../components/s3\n  - ../../components/jobs\n")
    )
    found = build(file.parent)
    entrypoint = "python /opt/bonestrap/launch/pretrain.py ntu60 --data s3://lab/ntu60 --cache /cache"
    one(found, "RayJob", "pretrain")["spec"]["entrypoint"] = entrypoint
    assert broken(found) == []


# ---------------------------------------------------------------------- what admission lets through


@pytest.mark.parametrize(
    ("policy", "kind", "free"),
    [
        ("bonestrap-workflow", "RayJob", {"suspend"}),
        ("bonestrap-autoscaler", "RayCluster", {"workerGroupSpecs"}),
    ],
)
def test_every_field_but_these_is_held(policy: str, kind: str, free: set[str]) -> None:
    """A field that a later KubeRay has and the policy does not name could be changed."""
    spec = published("ray.io", kind)
    assert spec is not None
    rule = one(resources("spot"), "ValidatingAdmissionPolicy", policy)["spec"]["validations"][0]["expression"]
    held = re.findall(r"object\.spec\.\?(\w+) == oldObject\.spec\.\?(\w+)", " ".join(rule.split()))
    assert {new for new, old in held if new == old} == set(spec["properties"]["spec"]["properties"]) - free


def test_of_a_group_of_workers_the_number_alone_is_free() -> None:
    spec = published("ray.io", "RayCluster")
    assert spec is not None
    group = spec["properties"]["spec"]["properties"]["workerGroupSpecs"]["items"]["properties"]
    policy = one(resources("spot"), "ValidatingAdmissionPolicy", "bonestrap-autoscaler")["spec"]
    rule = " ".join(policy["validations"][1]["expression"].split())
    held = {new for new, old in re.findall(r"new\.\??(\w+) == old\.\??(\w+)", rule) if new == old}
    assert held == set(group) - {"replicas", "scaleStrategy"}


# ---------------------------------------------------------------------- sizes


def amount(text: str) -> float:
    unit = next((unit for unit in UNITS if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * UNITS.get(unit, 1)


def requested(pod: Pod, kind: str) -> float:
    return sum(amount(container["resources"]["requests"][kind]) for container in pod.spec["containers"])


def peak(found: list[Resource], kind: str) -> float:
    """What is asked for while the largest job runs: its head, workers and submitter beside all that always runs."""
    always, jobs = 0.0, [0.0]
    for resource in found:
        if resource["kind"] in ("RayCluster", "RayJob"):
            spec = resource["spec"].get("rayClusterSpec") or resource["spec"]
            made = list(pods([resource]))
            of = [requested(pod, kind) for pod in made]
            times = [group["replicas"] if (group := owner(pod, spec)) else 1 for pod in made]
            total = sum(size * count for size, count in zip(of, times, strict=True))
            if resource["kind"] == "RayJob":
                jobs.append(total)
            elif not spec.get("suspend"):
                always += total
        else:
            always += sum(requested(pod, kind) for pod in pods([resource]))
    return always + max(jobs)


def owner(pod: Pod, spec: dict[str, Any]) -> dict[str, Any] | None:
    """The group of workers whose template a pod is of."""
    return next((group for group in spec.get("workerGroupSpecs", []) if group["template"]["spec"] == pod.spec), None)


def test_kind_needs_what_the_documentation_says() -> None:
    text = (ROOT / "docs" / "cluster.md").read_text()
    said = re.search(r"Needs (\d+) GB of memory and (\d+) CPUs", text)
    assert said, "docs/cluster.md says how large the machine for kind is"
    found = resources("local")
    memory, cpus = (peak(found, kind) + SYSTEM[kind] + OPERATOR[kind] for kind in ("memory", "cpu"))
    assert memory <= int(said[1]) * 1e9, f"{memory / 1e9:.1f} GB are asked for"
    assert cpus <= int(said[2]), f"{cpus:.1f} CPUs are asked for"


# ---------------------------------------------------------------------- documented commands


@pytest.mark.parametrize("file", ["README.md", "docs/cluster.md", "docs/operations.md"])
def test_a_head_that_is_called_by_name_listens_to_others(file: str) -> None:
    """Ray's dashboard, which takes jobs, listens to its own machine unless it is told otherwise."""
    text = (ROOT / file).read_text()
    elsewhere = re.findall(r"http://(?!localhost|127)[\w.-]+:8265", text)
    starts = re.findall(r"ray start --head[^\n#]*", text)
    if elsewhere:
        assert starts and all("--dashboard-host" in start for start in starts)


def test_strict_refuses_at_any_depth() -> None:
    schema = {"properties": {"a": {"items": {"properties": {"b": {"x-kubernetes-int-or-string": True}}}}}}
    out = strict(schema)
    assert out["additionalProperties"] is False
    assert out["properties"]["a"]["items"]["additionalProperties"] is False
    assert {file.stem for file in SCHEMAS.glob("*.json")} == {"kuberay-1.7-raycluster", "kuberay-1.7-rayjob", "kueue"}
