"""Answer recordings over HTTP with class names and probabilities: batches, limits, tokens, metrics for Prometheus.

POST /predict takes JSON, {"joints": frames x bodies x joints x numbers, null where absent}, or an .npy file, and POST
/embed gives features; GET /models, /health, /ready, /metrics. A classifier runs as its ONNX file where there is one
(bonestrap export writes it), else in PyTorch. It speaks plain HTTP: put a proxy with TLS before it.

Examples:
  bonestrap serve --model runs/student
  bonestrap serve --model walking=runs/walking --model runs/other --port 9000 --token-file tokens.txt --rate 20
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonestrap.server.settings import Settings

if TYPE_CHECKING:
    from bonestrap.server.served import Served

HELP = "answer recordings over HTTP with class names and probabilities"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", action="append", required=True, metavar="[NAME=]PATH",
        help="model or run directory, by the name that requests give; again for a further one",
    )  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--token-file", type=Path, help="lines NAME TOKEN; without it anybody may ask")
    parser.add_argument(
        "--runtime", choices=("auto", "onnx", "torch"), default="auto", help="auto: ONNX where there is a file of it"
    )
    parser.add_argument(
        "--precision", choices=("float32", "float16", "int8"), default="float32", help="which ONNX file"
    )
    parser.add_argument("--proxy", help="address of a proxy whose X-Forwarded-For is believed")
    parser.add_argument("--no-access-log", action="store_true", help="without a line for each request on stderr")
    limits = parser.add_argument_group("limits")
    for field in dataclasses.fields(Settings):
        limits.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default, metavar="N",
            help=f"{field.metadata['help']} (default: %(default)s)",
        )  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Serve until a signal ends it. Raises ValueError for what cannot be served."""
    settings = limits_of(options)
    try:
        from bonestrap.server import run as running

        tokens = running.tokens_of(options.token_file)
        models = opened(options, settings)
        running.serve(
            models, settings, tokens, host=options.host, port=options.port, proxy=options.proxy,
            access_log=not options.no_access_log,
        )  # fmt: skip
    except ImportError as error:
        raise ValueError(
            f"serving needs {error.name}, which is not installed: pip install 'bonestrap[serve]'"
        ) from None


def limits_of(options: argparse.Namespace) -> Settings:
    try:
        return Settings(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)})
    except ValueError as error:
        name, _, fault = str(error).partition(" ")
        raise ValueError(f"--{name.replace('_', '-')} {fault}") from None


def opened(options: argparse.Namespace, settings: Settings) -> Sequence[Served]:
    """All models, by different names."""
    import torch

    from bonestrap.server.served import open_model

    torch.set_num_threads(settings.threads)
    found: dict[str, Served] = {}
    for word in options.model:
        name, path = named(word)
        if name in found:
            raise ValueError(f"--model: two models are called {name}; name one of them, as in --model NAME={path}")
        found[name] = open_model(
            name, path, runtime=options.runtime, precision=options.precision, threads=settings.threads
        )
    return list(found.values())


def named(word: str) -> tuple[str, Path]:
    """The name and the path of --model; without a name, the folder's."""
    name, equals, rest = word.partition("=")
    if equals and name and "/" not in name:
        return name, Path(rest)
    path = Path(word)
    folder = path.resolve()
    return (folder.parent if folder.name == "model" else folder).name, path
