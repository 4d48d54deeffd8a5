"""What every request passes before it is answered: token, rate, a line in the log, metrics."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from bonestrap.server.access import Buckets, Tokens
from bonestrap.server.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("bonestrap.server.access")
OPEN = ("/health", "/ready")  # for whoever watches the server: no token, no rate
OTHER = "other"  # the metrics' path of whatever is not there
SHOWN = 200  # characters of a path in the log


class Front:
    """An ASGI application around another one."""

    def __init__(self, app: App, paths: tuple[str, ...], metrics: Metrics, tokens: Tokens | None, buckets: Buckets):
        self.app, self.paths, self.metrics, self.tokens, self.buckets = app, paths, metrics, tokens, buckets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        client = scope["client"][0] if scope.get("client") else "unknown"
        refused = None
        if scope["path"] not in OPEN:
            client, refused = self._admit(scope, client)
        try:
            await (refused or self.app)(scope, receive, sending)
        finally:
            self._record(scope, client, status, time.perf_counter() - began)

    def _admit(self, scope: Scope, address: str) -> tuple[str, App | None]:
        """Who asks, and what answers instead where they may not."""
        if self.tokens is None:
            return address, self._limited(address)
        name = self.tokens.name(dict(scope["headers"]).get(b"authorization", b""))
        if name is not None:
            return name, self._limited(name)
        reason = "must be Bearer and a token that this server knows"
        return address, self._limited(address) or error(401, "Authorization", reason, {"WWW-Authenticate": "Bearer"})

    def _limited(self, client: str) -> App | None:
        wait = self.buckets.wait(client)
        if not wait:
            return None
        seconds = str(math.ceil(wait))
        reason = f"more than {self.buckets.rate:g} requests a second; try again in {seconds} s"
        return error(429, "", reason, {"Retry-After": seconds})

    def _record(self, scope: Scope, client: str, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else OTHER
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        # Neither headers nor the query: what is secret must not be in a log. Escaped, so that a path is one line.
        shown = scope["path"][:SHOWN].encode("unicode_escape").decode()
        LOG.info("%s %s %s %d %.1f ms", client, scope["method"][:20], shown, status, seconds * 1000)


def error(status: int, field: str, reason: str, headers: Mapping[str, str] | None = None) -> App:
    """An application that answers with this error."""
    body = error_body(field, reason)
    named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        lines = [(name.lower().encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": body})

    return answer


def error_body(field: str, reason: str) -> bytes:
    """What every error is answered with."""
    return json.dumps({"error": {"field": field, "message": f"{field} {reason}".strip()}}).encode()
