"""Every overlay builds, fits the schemas and keeps the house rules; each kind of mistake is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.k8s.manifests import OVERLAYS, ROOT, Resource, build, one, resources
from tests.k8s.policy import broken, ray_is_one_version
from tests.k8s.schema import faults

pytest.importorskip("yaml")


def pinned(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlay_fits_the_schemas(overlay: str) -> None:
    assert [fault for resource in resources(overlay) for fault in faults(resource)] == []


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_overlay_keeps_the_rules(overlay: str) -> None:
    found = resources(overlay)
    assert broken(found) == []
    assert list(ray_is_one_version(found, pinned("ray"))) == []


def test_what_makes_an_overlay() -> None:
    kinds = {overlay: {each["kind"] for each in resources(overlay)} for overlay in OVERLAYS}
    common = {"RayJob", "RayCluster", "Deployment", "StatefulSet", "NetworkPolicy", "PodDisruptionBudget", "Role"}
    assert all(common <= found for found in kinds.values())
    assert {"ClusterQueue", "LocalQueue", "ResourceFlavor"} <= kinds["kueue"]
    for overlay in ("gpu", "kueue", "spot"):
        worker = worker_of(one(resources(overlay), "RayJob", "pretrain"))
        assert worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in worker["tolerations"]
    assert one(resources("spot"), "RayJob", "pretrain")["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    queue = one(resources("kueue"), "LocalQueue", "training")["metadata"]["name"]
    release = next(each["data"]["RELEASE"] for each in resources("kueue") if "RELEASE" in (each.get("data") or {}))
    assert f'"kueue.x-k8s.io/queue-name":"{queue}"' in release


def worker_of(job: Resource) -> Resource:
    return job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]


# ---------------------------------------------------------------------- seeded mistakes


def pretrain(found: list[Resource]) -> Resource:
    return one(found, "RayJob", "pretrain")["spec"]


def mlflow(found: list[Resource]) -> Resource:
    return one(found, "Deployment", "mlflow")["spec"]["template"]["spec"]


def container(found: list[Resource]) -> Resource:
    return mlflow(found)["containers"][0]


MISTAKES: dict[str, Callable[[list[Resource]], object]] = {
    "a typo in a field of a RayJob": lambda r: pretrain(r).update(shutdownAfterJobFinnishes=True),
    "a typo in a field of a RayJob's cluster": lambda r: pretrain(r)["rayClusterSpec"].update(rayVersoin="2.60.0"),
    "a typo in a field of a Ray worker's pod": lambda r: worker_of(one(r, "RayJob", "pretrain")).update(tolerance=[]),
    "a typo in a field of a Deployment": lambda r: container(r).update(readynessProbe={}),
    "a typo in a field of a queue": lambda r: one(r, "LocalQueue", "training")["spec"].update(queue="x"),
    "a number that is a text": lambda r: pretrain(r).update(backoffLimit="3"),
    "a text that is a number": lambda r: pretrain(r)["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update(
        {"num-cpus": 0}
    ),
    "a variable that is a number": lambda r: container(r)["env"].append({"name": "X", "value": 1}),
    "a list where one is wanted": lambda r: pretrain(r).update(entrypoint=["python"]),
    "no such value": lambda r: pretrain(r)["rayClusterSpec"]["authOptions"].update(mode="tokens"),
    "a typo in the metadata of a RayJob": lambda r: one(r, "RayJob", "pretrain")["metadata"].update(lables={}),
    "a typo deep in a Ray worker's pod": lambda r: worker_of(one(r, "RayJob", "pretrain"))["containers"][0][
        "securityContext"
    ]["capabilities"].update(dropp=["ALL"]),
    "a typo in the autoscaler's options": lambda r: pretrain(r)["rayClusterSpec"].update(
        autoscalerOptions={"idleTimeoutSecond": 300}
    ),
    "another version of the API": lambda r: one(r, "RayJob", "pretrain").update(apiVersion="ray.io/v1alpha1"),
    "a required field is missing": lambda r: pretrain(r)["rayClusterSpec"].pop("headGroupSpec"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_schemas_find(mistake: str) -> None:
    found = resources("kueue")
    MISTAKES[mistake](found)
    assert len([fault for resource in found for fault in faults(resource)]) == 1


BREACHES: dict[str, tuple[Callable[[list[Resource]], object], str]] = {
    "root": (lambda r: mlflow(r)["securityContext"].update(runAsUser=0), "runAsUser"),
    "root in a Ray worker": (
        lambda r: worker_of(one(r, "RayJob", "pretrain"))["securityContext"].update(runAsNonRoot=False), "runAsUser",
    ),
    "escalation": (lambda r: container(r)["securityContext"].pop("allowPrivilegeEscalation"), "Escalation"),
    "capabilities": (lambda r: container(r)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]), "dropped"),
    "no seccomp profile": (lambda r: mlflow(r)["securityContext"].pop("seccompProfile"), "seccompProfile"),
    "the host's files": (lambda r: mlflow(r)["volumes"].append({"name": "h", "hostPath": {"path": "/"}}), "hostPath"),
    "pod security off": (
        lambda r: one(r, "Namespace", "bonestrap")["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"),
        "restricted",
    ),
    "latest": (lambda r: container(r).update(image="mlflow:latest"), "needs a version"),
    "no tag": (lambda r: container(r).update(image="registry.example.com:5000/mlflow"), "needs a version"),
    "no limit": (lambda r: container(r)["resources"]["limits"].pop("memory"), "limits of memory"),
    "no limit in a Ray worker": (
        lambda r: worker_of(one(r, "RayJob", "pretrain"))["containers"][0].pop("resources"), "cpu and memory",
    ),
    "a scratch volume without end": (lambda r: mlflow(r)["volumes"].append({"name": "e", "emptyDir": {}}), "sizeLimit"),
    "a plain password": (
        lambda r: container(r)["env"].append({"name": "DB_PASSWORD", "value": "hunter2"}), "must come from a secret"
    ),
    "a password in an address": (
        lambda r: container(r)["env"].append({"name": "URI", "value": "postgresql://a:hunter2@b/c"}), "from a secret"
    ),
    "a secret among the manifests": (
        lambda r: r.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}), "not kept here"
    ),
    "no probe": (lambda r: container(r).pop("livenessProbe"), "livenessProbe"),
    "an open network": (
        lambda r: r.remove(one(r, "NetworkPolicy", "default-deny")), "no NetworkPolicy denies all"
    ),
    "a policy for nobody": (
        lambda r: one(r, "NetworkPolicy", "database")["spec"]["podSelector"]["matchLabels"].update(tier="data"),
        "which no pod has",
    ),
    "every right": (lambda r: one(r, "Role", "workflow")["rules"][0].update(verbs=["*"]), "not a right"),
    "nobody's account": (lambda r: mlflow(r).pop("serviceAccountName"), "service account"),
    "no priority": (lambda r: mlflow(r).pop("priorityClassName"), "no priority"),
    "a ConfigMap that is not there": (
        lambda r: container(r)["envFrom"][0]["configMapRef"].update(name="mlflow-old"), "is not there"
    ),
    "a claim that is not there": (
        lambda r: r.remove(one(r, "PersistentVolumeClaim", "runs")), "PersistentVolumeClaim runs is not there"
    ),
    "no token": (lambda r: pretrain(r)["rayClusterSpec"].pop("authOptions"), "authentication is off"),
    "work on the head": (
        lambda r: pretrain(r)["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].pop("num-cpus"), "on the head"
    ),
    "a job that starts at once": (lambda r: pretrain(r).update(suspend=False), "begin suspended"),
}  # fmt: skip


@pytest.mark.parametrize("breach", BREACHES)
def test_the_rules_find(breach: str) -> None:
    found = resources("kueue")
    spoil, sentence = BREACHES[breach]
    spoil(found)
    assert any(sentence in said for said in broken(found))


def test_another_version_of_ray_is_found() -> None:
    found = resources("gpu")
    pretrain(found)["rayClusterSpec"]["rayVersion"] = "2.52.0"
    (said,) = ray_is_one_version(found, pinned("ray"))
    assert "RayJob pretrain: rayVersion is 2.52.0" in said


def test_a_patch_that_fits_nothing_does_not_build(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    file = tmp_path / "k8s" / "components" / "gpu" / "workers.yaml"
    file.write_text(file.read_text().replace("/spec/workerGroupSpecs/0/replicas", "/spec/workerGroups/0/replicas"))
    with pytest.raises(ValueError, match="workerGroups"):
        build(tmp_path / "k8s" / "overlays" / "gpu")
