"""The Ray cluster that a command works on: the one it was submitted to, or one of its own on this machine."""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shards.packing.parallel import cores

ANSWER_SECONDS, ASKED_AT_ONCE = 5.0, 32  # for a connection to a node; nodes
TRIES = 3  # to start Ray on this machine
ROOT = Path(__file__).resolve().parent.parent
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # at the default of 2 s the end and a failure are noticed late
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",  # then the number of workers is chosen anew
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_get_check_signal_interval_milliseconds": "100",  # at the default a SIGTERM is noticed up to a second later
}


SHARED = {  # on a cluster that others look at: its dashboard lists the run, and its metrics have the run's
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_METRICS_ENABLED": "1",
}


@contextmanager
def connection(workers: int) -> Iterator[None]:
    """Connect to the cluster of `RAY_ADDRESS` (as inside a submitted job) or start one here, and leave it as it was."""
    shared = SHARED if os.environ.get("RAY_ADDRESS") else {}
    for name, value in {**ENVIRONMENT, **shared}.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield
        return
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address, runtime_env={"env_vars": import_path()}, **QUIET)
    else:
        start_here(max(cores(), workers))
    silence_ray()
    try:
        yield
    finally:
        ray.shutdown()


def start_here(cores: int) -> None:
    """A cluster of this machine alone. Ray gives its processes half a minute, too little where others are busy."""
    import ray

    close_to_others()
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process, and nobody takes this machine away
    os.environ.setdefault("RAY_worker_niceness", "0")  # of 15 they would wait for Ray's own processes, and others
    with inherited(import_path()):
        for tries in range(TRIES):
            try:
                ray.init("local", num_cpus=cores, include_dashboard=False, object_store_memory=128 * 2**20, **QUIET)
                return
            except Exception as error:
                if tries + 1 == TRIES or "timed out during startup" not in str(error):
                    raise
                ray.shutdown()


@contextmanager
def inherited(variables: dict[str, str]) -> Iterator[None]:
    """What is started inside has these environment variables.

    In a `runtime_env` they would keep workers from the Python processes that Ray starts beforehand: others would be
    started instead.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def close_to_others() -> None:
    """Let the cluster of this machine ask for a token that only this process and its children know.

    By itself Ray leaves one in the home directory, and every `ray start` there asks for it from then on.
    """
    given = os.environ.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
    if not given and os.environ.get("RAY_AUTH_MODE", "token").lower() == "token":
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def silence_ray() -> None:
    """Keep Ray's paragraphs about killed processes from the terminal: what has happened is said here in one line."""
    with suppress(ImportError):
        from ray._private import worker

        worker.print_to_stdstream = lambda *arguments, **options: None


def submission() -> str:
    """The id of the job of Ray's that this command is; empty where nobody has submitted it."""
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    return str((job.get("metadata") or {}).get("job_submission_id", ""))


def import_path() -> dict[str, str]:
    """The environment in which a worker finds `launch`, `distributed`, `shards` and `bonestrap`.

    A submitted job may set the path itself; Ray refuses to set a variable twice.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR") or "{}")
    if "PYTHONPATH" in ((job.get("runtime_env") or {}).get("env_vars") or {}):
        return {}
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def room(resource: str) -> int:
    """How many workers with one `resource` each ("CPU", "GPU") the nodes hold that are there and will stay."""
    import ray

    leaving: set[str] = set()
    with suppress(AttributeError):  # not a public name of Ray's
        leaving = set(ray._private.state.state.get_draining_nodes())
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]
    with ThreadPoolExecutor(ASKED_AT_ONCE) as threads:
        there = threads.map(answers, nodes)
    return sum(int(node["Resources"].get(resource, 0)) for node, is_there in zip(nodes, there, strict=True) if is_there)


def answers(node: dict[str, Any]) -> bool:
    """Whether a node is still there: Ray counts a lost machine as alive for a quarter of a minute."""
    try:
        with socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), timeout=ANSWER_SECONDS):
            return True
    except OSError:
        return False
