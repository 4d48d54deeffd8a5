"""The web application: what is asked under which path, and how it is answered."""

# No `from __future__ import annotations`: FastAPI reads annotations, and these are names of an optional library.

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bonestrap.model import ModelError
from bonestrap.server import openapi
from bonestrap.server.access import Buckets, Tokens
from bonestrap.server.batches import Batcher, Full
from bonestrap.server.front import OPEN, Front, error_body
from bonestrap.server.metrics import Metrics
from bonestrap.server.reading import JSON, Refused, parse, recordings_of, texts_of, top_k_of
from bonestrap.server.served import EMBED, Served, ranking_fault
from bonestrap.server.settings import Settings

if TYPE_CHECKING:
    from starlette.requests import Request

STUCK = 60.0  # seconds of one batch after which a model does not count as ready
ASIDE = 2**16  # bytes of a body that is parsed in a thread, so that others are answered meanwhile
MIB = 2**20
PATHS = ("/predict", "/embed", "/models", "/metrics", "/openapi.json", *OPEN)


class Server:
    """The models with their queues, and what requests share."""

    def __init__(self, models: Sequence[Served], settings: Settings) -> None:
        self.models = {served.name: served for served in models}
        self.settings, self.metrics = settings, Metrics()
        self.held = 0  # bytes of bodies that are being read
        self.closing = False
        self.faults = {served.name: ranking_fault(served) for served in models}
        self.batchers: dict[tuple[str, bool], Batcher] = {}
        for served in models:
            self.metrics.model.labels(served.name, served.version, served.runtime).set(1)
            self.metrics.watch_queue(served.name, functools.partial(self.depth, served.name))
            for texts in (False, True):  # fitting a classifier of new texts takes a second, and others do not wait
                self.batchers[served.name, texts] = Batcher(
                    served.answer, size=settings.batch, wait=settings.wait_ms / 1000, limit=settings.queue,
                    computed=self.metrics.computed(served.name),
                )  # fmt: skip

    def depth(self, name: str) -> int:
        """Recordings that wait for a model."""
        return sum(len(self.batchers[name, texts].waiting) for texts in (False, True))

    @property
    def ready(self) -> bool:
        return not self.closing and not any(batcher.stuck(STUCK) for batcher in self.batchers.values())

    async def start(self) -> None:
        for batcher in self.batchers.values():
            batcher.start()

    async def stop(self) -> None:
        """Answer what waits, and take nothing more."""
        self.closing = True
        await asyncio.gather(*(batcher.stop() for batcher in self.batchers.values()))

    async def predict(self, request: "Request") -> dict[str, Any]:
        async with self.read(request, ("model", "top_k", "texts")) as (served, options, recordings):
            question: Hashable = None
            names: Sequence[str] = served.model.classes
            if options.texts is not None:
                question = names = texts_of(options.texts)
                if fault := self.faults[served.name]:
                    raise Refused(422, "texts", f"cannot be ranked: {fault}")
            if not names:
                raise Refused(422, "model", f"{served.name} has features but no classes: ask /embed")
            top_k = top_k_of(options.top_k, self.settings.top_k, len(names))
            answers = await self.ask(served, recordings, question)
            return self.answer(served, "predictions", [ranked(answer, names, top_k) for answer in answers])

    async def embed(self, request: "Request") -> dict[str, Any]:
        async with self.read(request, ("model",)) as (served, _, recordings):
            answers = await self.ask(served, recordings, EMBED)
            return self.answer(served, "features", [answer.tolist() for answer in answers])

    @contextlib.asynccontextmanager
    async def read(self, request: "Request", allowed: tuple[str, ...]) -> AsyncIterator[tuple[Served, Any, Any]]:
        """The model, the options and the recordings of a request; its bytes count as held inside."""
        if self.closing:
            raise Refused(503, "", "the server is being stopped", {"Retry-After": "5"})
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "Content-Encoding", "must be identity: compressed bodies are not read")
        async with self.body(request) as body:
            if len(body) > ASIDE:
                yield await asyncio.to_thread(self.parsed, body, kind, request.query_params, allowed)
            else:
                yield self.parsed(body, kind, request.query_params, allowed)

    def parsed(self, body: bytes, kind: str, query: Any, allowed: tuple[str, ...]) -> tuple[Served, Any, Any]:
        options, given = parse(body, kind, query, allowed)
        name = next(iter(self.models)) if options.model is None else options.model
        if type(name) is not str or name not in self.models:
            raise Refused(404, "model", f"must be one of {', '.join(self.models)}")
        served = self.models[name]
        return served, options, recordings_of(given, served.model.layout, self.settings)

    @contextlib.asynccontextmanager
    async def body(self, request: "Request") -> AsyncIterator[bytes]:
        """A body that is no larger, and takes no longer, than is allowed."""
        limit, close = int(self.settings.body_mib * MIB), {"Connection": "close"}
        too_large = Refused(413, "body", f"is larger than the {limit} bytes that are allowed", close)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > limit):
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                async for part in request.stream():
                    parts.append(part)
                    size += len(part)
                    self.held += len(part)
                    if size > limit:
                        raise too_large
                    if self.held > self.settings.memory_mib * MIB:
                        raise Refused(503, "", "too many large requests at once", {"Retry-After": "1", **close})
            yield b"".join(parts)
        except TimeoutError:
            raise Refused(408, "body", f"took longer than {self.settings.body_seconds:g} s", close) from None
        finally:
            self.held -= size

    async def ask(self, served: Served, recordings: Sequence[np.ndarray], question: Hashable) -> list[np.ndarray]:
        """The answers of a model, each of finite numbers."""
        try:
            answers = await self.batchers[served.name, isinstance(question, tuple)].ask(recordings, question)
        except Full:
            raise Refused(503, "", "too many recordings wait", {"Retry-After": "1"}) from None
        except ModelError as error:
            raise Refused(422, "joints", f"cannot be used: {error}") from None
        for number, answer in enumerate(answers):
            if not np.isfinite(answer).all():
                raise Refused(422, f"recordings[{number}]", "gives no finite answer: are its joints those of a body?")
        return answers

    def answer(self, served: Served, name: str, found: list[Any]) -> dict[str, Any]:
        return {"model": served.name, "version": served.version, name: found}


def ranked(probabilities: np.ndarray, names: Sequence[str], top_k: int) -> list[dict[str, Any]]:
    """The likeliest classes first; of equal ones, the first."""
    order = np.argsort(-probabilities, kind="stable")[:top_k]
    return [{"class": names[at], "probability": float(probabilities[at])} for at in order]


def make_app(models: Sequence[Served], settings: Settings, tokens: Tokens | None = None) -> Front:
    """The ASGI application. Raises ImportError where a package of the extra `serve` is missing."""
    from fastapi import FastAPI, Request, Response
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect

    server = Server(models, settings)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await server.start()
        yield
        await server.stop()

    # Pages of documentation would load scripts from another server: not without internet, nor beside tokens.
    app = FastAPI(title="Bonestrap", docs_url=None, redoc_url=None, lifespan=life)

    def reply(content: Any, status: int = 200) -> Response:
        return Response(json.dumps(content, allow_nan=False), status, media_type=JSON)

    async def predict(request: Request) -> Response:
        return reply(await server.predict(request))

    async def embed(request: Request) -> Response:
        return reply(await server.embed(request))

    async def list_models() -> Response:
        return reply({"models": [served.about() for served in models]})

    async def health() -> Response:
        return reply({"status": "alive"})

    async def ready() -> Response:
        return reply({"status": "ready" if server.ready else "not ready"}, 200 if server.ready else 503)

    async def metrics() -> Response:
        text, kind = server.metrics.text()
        return Response(text, media_type=kind)

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return Response(error_body(error.field, error.reason), error.status, error.headers, JSON)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = f"does not exist, or not with this method; there are {', '.join(PATHS)}"
        return Response(error_body("path", said), error.status_code, dict(error.headers or {}), JSON)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(error_body("body", "ended before it was whole"), 400, media_type=JSON)

    app.add_api_route(
        "/predict", predict, methods=["POST"], responses=openapi.PREDICTED, openapi_extra=openapi.PREDICT,
        summary="Class names with probabilities, likeliest first",
    )  # fmt: skip
    app.add_api_route(
        "/embed", embed, methods=["POST"], responses=openapi.EMBEDDED, openapi_extra=openapi.EMBED,
        summary="Features of an encoder",
    )  # fmt: skip
    app.add_api_route("/models", list_models, summary="The models with their classes, layout, lineage and card")
    app.add_api_route("/health", health, summary="Whether the process answers")
    app.add_api_route("/ready", ready, summary="Whether models can be asked")
    app.add_api_route("/metrics", metrics, summary="Metrics for Prometheus")
    app.add_exception_handler(Refused, refused)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(ClientDisconnect, gone)
    return Front(app, PATHS, server.metrics, tokens, Buckets(settings.rate, settings.burst))
