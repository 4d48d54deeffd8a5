"""Whatever a manifest starts is understood by what it starts: our command lines, MLflow's, Ray's, our scripts."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launch.cli import parser as cli
from launch.cli.parser import Aliases, renamed
from tests.k8s.manifests import OVERLAYS, ROOT, one, pods, resources

IMAGE_ROOT = "/opt/bonestrap"


def understood(entrypoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The options that a job's entrypoint means. Raises cli.UserError where the code does not know them."""
    python, script, *words = shlex.split(entrypoint)
    assert python == "python"
    file = ROOT / Path(script).relative_to(IMAGE_ROOT)
    parsed: list[Any] = []

    def start(main: object, options: type, argv: Sequence[str] | None = None, aliases: Aliases | None = None) -> None:
        parsed.append(cli.parse(options, renamed(words if argv is None else argv, aliases or {})))

    def start_choice(
        main: object,
        what: str,
        choices: Any,
        options: type,
        argv: Sequence[str] | None = None,
        aliases: Aliases | None = None,
    ) -> None:
        parsed.extend(cli.parse_choice(what, choices, options, renamed(words, aliases or {}))[1:])

    monkeypatch.setattr(cli, "start", start)
    monkeypatch.setattr(cli, "start_choice", start_choice)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", [str(file), *words])
    runpy.run_path(str(file), run_name="__main__")
    return parsed[0]


def entrypoints() -> list[tuple[str, str]]:
    return [
        (f"{overlay}-{each['metadata']['name']}", each["spec"]["entrypoint"])
        for overlay in OVERLAYS
        for each in resources(overlay)
        if each["kind"] == "RayJob"
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_code_knows_what_its_jobs_ask(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = resources(overlay)
    jobs = {each["metadata"]["name"]: each["spec"] for each in found if each["kind"] == "RayJob"}
    assert set(jobs) == {"pack", "pretrain", "finetune", "distill", "evaluate", "register"}
    for name, spec in jobs.items():
        options = understood(spec["entrypoint"], monkeypatch)
        mounted = head(spec)["volumeMounts"]
        for path in paths(options):
            assert any(path.is_relative_to(each["mountPath"]) for each in mounted), f"{name}: {path} is on no volume"
        if hasattr(options, "config"):
            # a node holds one worker: as many pods as the run may have workers
            (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
            assert options.config.workers.max <= max(group["replicas"], group["maxReplicas"])
            assert options.storage is not None, f"{name}: several nodes need --storage"
            if not options.config.workers.elastic:
                assert options.config.workers.max == group["replicas"]


def paths(options: Any) -> list[Path]:
    named = [getattr(options, name, None) for name in ("run", "teacher", "output", "input", "storage")]
    return [Path(value) for value in (*named, *data(options), *models(options)) if value is not None]


def data(options: Any) -> tuple[str, ...]:
    """One folder of shards, or the several that pretraining takes."""
    given = getattr(options, "data", ())
    return given if isinstance(given, tuple) else (given,)


def models(options: Any) -> tuple[Path, ...]:
    """One model to train on, any number to evaluate."""
    given = getattr(options, "model", ())
    return given if isinstance(given, tuple) else (given,)


def head(spec: dict[str, Any]) -> dict[str, Any]:
    return spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--workers 4 --epochs 3", "unknown option --epochs"),
        ("--workers four", "workers must be a number"),
        ("--wrokers 4", "did you mean --workers"),
    ],
)
def test_an_argument_that_the_code_does_not_know_is_found(
    wrong: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entrypoint = one(resources("gpu"), "RayJob", "pretrain")["spec"]["entrypoint"]
    assert "--workers 4" in entrypoint
    with pytest.raises(cli.UserError, match=sentence):
        understood(entrypoint.replace("--workers 4", wrong), monkeypatch)


def test_each_stage_reads_what_the_one_before_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    for overlay in OVERLAYS:
        found = resources(overlay)
        stage = {
            each["metadata"]["name"]: understood(each["spec"]["entrypoint"], monkeypatch)
            for each in found
            if each["kind"] == "RayJob"
        }
        order = next(each["data"]["STAGES"] for each in found if "STAGES" in (each.get("data") or {})).split()
        assert order == ["pack", "pretrain", "finetune", "distill", "evaluate", "register"]
        shards = {str(stage["pack"].output)}
        read = {each for name in ("pretrain", "finetune", "distill", "evaluate") for each in data(stage[name])}
        assert read == shards
        assert models(stage["finetune"]) == (stage["pretrain"].run,)
        assert stage["distill"].teacher == stage["finetune"].run
        assert models(stage["evaluate"]) == (stage["register"].run,) == (stage["distill"].run,)


def test_mlflow_knows_its_arguments() -> None:
    pytest.importorskip("mlflow")
    from mlflow.cli import cli as command

    for overlay in OVERLAYS:
        for pod in pods(resources(overlay)):
            for container in pod.containers:
                if container["name"] == "mlflow":
                    program, *words = container["args"]
                    assert program == "mlflow"
                    server = command.get_command(None, words[0])
                    context = server.make_context("server", list(words[1:]))
                    assert (context.params["host"], context.params["port"]) == ("0.0.0.0", 5000)


def test_ray_knows_how_it_is_started() -> None:
    pytest.importorskip("ray")
    from ray.scripts.scripts import start

    known = {name.removeprefix("--") for option in start.params for name in option.opts}
    for overlay in OVERLAYS:
        for each in resources(overlay):
            spec = each.get("spec") or {}
            spec = spec.get("rayClusterSpec") or spec
            groups = [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])] if "headGroupSpec" in spec else []
            for group in groups:
                assert set(group["rayStartParams"]) <= known


def test_ray_knows_how_a_node_is_drained() -> None:
    pytest.importorskip("ray")
    from ray.scripts.scripts import drain_node

    known = {name for option in drain_node.params for name in option.opts}
    text = (ROOT / "k8s" / "components" / "spot" / "drain.py").read_text()
    used = {word.strip('",') for word in text.split() if word.startswith('"--')}
    assert used and used <= known
