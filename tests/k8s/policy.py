"""House rules for manifests: each a function from resources to the sentences that say what breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.k8s import running
from tests.k8s.manifests import Pod, Resource, pods, title, variables

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|CREDENTIAL|PRIVATE", re.IGNORECASE)
SERVING = ("Deployment", "StatefulSet")
CLUSTER_SCOPED = (
    "Namespace", "PriorityClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterQueue",
    "ResourceFlavor",
)  # fmt: skip
LONGEST_RAYJOB = 47  # KubeRay makes longer names of it


def nobody_is_root(found: list[Resource]) -> Iterator[str]:
    for pod, container, context in contexts(found):
        where = f"{pod.owner}, {container['name']}"
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            yield f"{where}: runAsNonRoot and a runAsUser other than 0 must be set"
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{where}: allowPrivilegeEscalation must be false, and privileged not set"
        if (context.get("capabilities") or {}).get("drop") != ["ALL"] or (context.get("capabilities") or {}).get("add"):
            yield f"{where}: all capabilities must be dropped"
        if (context.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
            yield f"{where}: seccompProfile must be RuntimeDefault"
        if any(pod.spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{where}: the host's namespaces are not ours"
        if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
            yield f"{where}: hostPath is not allowed"


def contexts(found: list[Resource]) -> Iterator[tuple[Pod, dict[str, Any], dict[str, Any]]]:
    for pod in pods(found):
        for container in pod.containers:
            yield pod, container, {**pod.spec.get("securityContext", {}), **container.get("securityContext", {})}


def the_namespace_enforces_it(found: list[Resource]) -> Iterator[str]:
    for resource in found:
        if resource["kind"] == "Namespace":
            if resource["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
                yield f"{title(resource)}: pod security must be enforced as restricted"
            return
    yield "there is no namespace"


def images_have_versions(found: list[Resource]) -> Iterator[str]:
    for pod in pods(found):
        for container in pod.containers:
            _, _, tag = container["image"].rpartition("/")[2].partition(":")
            if not tag or tag == "latest":
                yield f"{pod.owner}, {container['name']}: {container['image']} needs a version"


def limits_are_set(found: list[Resource]) -> Iterator[str]:
    for pod in pods(found):
        for container in pod.containers:
            given = container.get("resources", {})
            for kind in ("requests", "limits"):
                if missing := {"cpu", "memory"} - set(given.get(kind, {})):
                    yield f"{pod.owner}, {container['name']}: {kind} of {' and '.join(sorted(missing))} are missing"
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
                yield f"{pod.owner}: emptyDir {volume['name']} needs a sizeLimit"


def secrets_are_referred_to(found: list[Resource]) -> Iterator[str]:
    for resource in found:
        if resource["kind"] == "Secret":
            yield f"{title(resource)}: secrets are made on the cluster, not kept here"
        for key, value in (resource.get("data") or {}).items() if resource["kind"] == "ConfigMap" else ():
            if SECRET.search(key) or re.search(r"://[^/\s:]+:[^@\s$]+@", value):
                yield f"{title(resource)}: {key} looks like a secret"
    for pod in pods(found):
        for container in pod.containers:
            for variable in container.get("env", []):
                plain = variable.get("value")
                if plain and (SECRET.search(variable["name"]) or re.search(r"://[^/\s:]+:(?!\$\()[^@\s]+@", plain)):
                    yield f"{pod.owner}, {container['name']}: {variable['name']} must come from a secret"


def services_are_probed(found: list[Resource]) -> Iterator[str]:
    for resource in found:
        if resource["kind"] in SERVING:
            for container in resource["spec"]["template"]["spec"]["containers"]:
                if missing := {"readinessProbe", "livenessProbe"} - set(container):
                    yield f"{title(resource)}, {container['name']}: no {' and '.join(sorted(missing))}"


def everything_is_closed_first(found: list[Resource]) -> Iterator[str]:
    policies = [each["spec"] for each in found if each["kind"] == "NetworkPolicy"]
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if closed not in policies:
        yield "no NetworkPolicy denies all ingress and egress"
    for each in found:
        if each["kind"] == "NetworkPolicy":
            for way in ("ingress", "egress"):
                if {} in each["spec"].get(way, []):
                    yield f"{title(each)}: an empty rule lets everything pass"
    labels = [set(pod.labels.items()) for pod in pods(found)]
    for each in policies:
        chosen = set((each["podSelector"].get("matchLabels") or {}).items())
        if not any(key.startswith("ray.io/") for key, _ in chosen) and not any(chosen <= of for of in labels):
            yield f"a NetworkPolicy chooses {dict(chosen)}, which no pod has"


def rights_are_few(found: list[Resource]) -> Iterator[str]:
    for resource in found:
        if resource["kind"] in ("ClusterRole", "ClusterRoleBinding"):
            yield f"{title(resource)}: nothing here needs rights beyond its namespace"
        for rule in resource.get("rules", []) if resource["kind"] == "Role" else []:
            if "*" in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]:
                yield f"{title(resource)}: * is not a right"
            if "secrets" in rule["resources"]:
                yield f"{title(resource)}: nobody reads secrets through the API server"
    for pod in pods(found):
        if pod.spec.get("serviceAccountName", "default") == "default":
            yield f"{pod.owner}: a service account of its own is missing"
        if "automountServiceAccountToken" not in pod.spec:
            yield f"{pod.owner}: say whether the pod has its account's token"


def code_of_jobs_has_no_token(found: list[Resource]) -> Iterator[str]:
    """Whoever may submit a job runs what he likes in Ray's containers, with whatever token is mounted there."""
    for pod in pods(found):
        for container in pod.containers:
            if container["name"] not in running.RAY:
                continue
            if pod.spec.get("automountServiceAccountToken") is not False:
                yield f"{pod.owner}, {container['name']}: the code of jobs would have the account's token"
            mounted = {each["name"] for each in container.get("volumeMounts", [])}
            for volume in pod.spec.get("volumes", []):
                sources = (volume.get("projected") or {}).get("sources", [])
                if volume["name"] in mounted and any("serviceAccountToken" in source for source in sources):
                    yield f"{pod.owner}, {container['name']}: mounts the token {volume['name']}"


def patches_are_limited(found: list[Resource]) -> Iterator[str]:
    """A right to patch what makes pods reaches every account and secret of the namespace, unless admission says."""
    limited = {
        (each["spec"]["matchConditions"][0]["expression"].rpartition(":")[2].strip('"'), resource)
        for each in found
        if each["kind"] == "ValidatingAdmissionPolicy"
        for rule in each["spec"]["matchConstraints"]["resourceRules"]
        for resource in rule["resources"]
    }
    bound = {
        each["spec"]["policyName"]
        for each in found
        if each["kind"] == "ValidatingAdmissionPolicyBinding" and each["spec"]["validationActions"] == ["Deny"]
    }
    for each in found:
        if each["kind"] == "ValidatingAdmissionPolicy" and each["metadata"]["name"] not in bound:
            yield f"{title(each)}: is bound to nothing"
        for rule in each.get("rules", []) if each["kind"] == "Role" else []:
            for resource in rule["resources"] if {"patch", "update", "create"} & set(rule["verbs"]) else []:
                if (each["metadata"]["name"], resource) not in limited:
                    yield f"{title(each)}: may patch {resource}, and no admission policy says what of them"


def what_is_the_clusters_has_no_namespace(found: list[Resource]) -> Iterator[str]:
    for each in found:
        if each["kind"] in CLUSTER_SCOPED and "namespace" in each["metadata"]:
            yield f"{title(each)}: has no namespace"


def priorities_are_known(found: list[Resource]) -> Iterator[str]:
    known = {each["metadata"]["name"] for each in found if each["kind"] == "PriorityClass"}
    for pod in pods(found):
        if pod.spec.get("priorityClassName") not in known:
            yield f"{pod.owner}: no priority, or one that is not defined"


def what_is_referred_to_is_there(found: list[Resource]) -> Iterator[str]:
    names = {(each["kind"], each["metadata"]["name"]) for each in found}
    for pod in pods(found):
        wanted = {("ServiceAccount", pod.spec.get("serviceAccountName", ""))}
        for container in pod.containers:
            wanted |= {("ConfigMap", s["configMapRef"]["name"]) for s in container.get("envFrom", [])}
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            own = {volume["name"] for volume in pod.spec.get("volumes", [])}
            if pod.owner.startswith("StatefulSet"):
                own |= {"data"}
            if mounted - own:
                yield f"{pod.owner}, {container['name']}: mounts {', '.join(mounted - own)}, which is no volume"
        for volume in pod.spec.get("volumes", []):
            if "configMap" in volume:
                wanted.add(("ConfigMap", volume["configMap"]["name"]))
            if "persistentVolumeClaim" in volume:
                wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
        for kind, name in sorted(wanted - names):
            yield f"{pod.owner}: {kind} {name} is not there"


def ray_is_guarded(found: list[Resource]) -> Iterator[str]:
    for resource in found:
        spec = resource.get("spec") or {}
        if resource["kind"] == "RayJob":
            if len(resource["metadata"]["name"]) > LONGEST_RAYJOB:
                yield f"{title(resource)}: the name is longer than {LONGEST_RAYJOB} characters"
            if not spec.get("suspend") or not spec.get("shutdownAfterJobFinishes") or "deletionStrategy" in spec:
                yield f"{title(resource)}: must begin suspended and shut its cluster down"
            spec = spec.get("rayClusterSpec") or {}
        elif resource["kind"] != "RayCluster":
            continue
        if spec.get("authOptions", {}).get("mode") != "token" or not spec["authOptions"].get("secretName"):
            yield f"{title(resource)}: token authentication is off"
        if spec.get("headGroupSpec", {}).get("rayStartParams", {}).get("num-cpus") != "0":
            yield f"{title(resource)}: workers must not be placed on the head"


def ray_is_one_version(found: list[Resource], pinned: str) -> Iterator[str]:
    for resource in found:
        spec = resource.get("spec") or {}
        spec = spec.get("rayClusterSpec") or spec
        if "rayVersion" in spec and spec["rayVersion"] != pinned:
            yield f"{title(resource)}: rayVersion is {spec['rayVersion']}, constraints.txt has {pinned}"


def environment_names(found: list[Resource]) -> set[str]:
    """All variables that Ray's containers get."""
    return {
        name
        for pod in pods(found)
        for container in pod.containers
        if container["name"].startswith("ray-")
        for name in variables(container, found)
    }


RULES: tuple[Callable[[list[Resource]], Iterator[str]], ...] = (
    nobody_is_root, the_namespace_enforces_it, images_have_versions, limits_are_set, secrets_are_referred_to,
    services_are_probed, everything_is_closed_first, rights_are_few, priorities_are_known,
    what_is_referred_to_is_there, ray_is_guarded, code_of_jobs_has_no_token, patches_are_limited,
    what_is_the_clusters_has_no_namespace, *running.RULES,
)  # fmt: skip


def broken(found: list[Resource]) -> list[str]:
    return [sentence for rule in RULES for sentence in rule(found)]
