"""The process: a socket, a log, and an end that waits for the answers that are owed."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bonestrap.server.access import Tokens
from bonestrap.server.app import make_app
from bonestrap.server.front import Front
from bonestrap.server.served import Served
from bonestrap.server.settings import Settings

if TYPE_CHECKING:
    import uvicorn

HEAD = 2**15  # bytes of a request's head
IDLE = 15  # seconds after which a silent connection is closed
YOUNG = (
    50_000  # objects between two of the garbage collector's looks at the new ones; Python's own 700 are half a request
)


def tokens_of(file: Path | None) -> Tokens | None:
    """The tokens of a file, if there is one. Raises ValueError."""
    return None if file is None else Tokens.read(file)


def serve(
    models: Sequence[Served],
    settings: Settings,
    tokens: Tokens | None,
    *,
    host: str,
    port: int,
    proxy: str | None,
    access_log: bool,
) -> None:
    """Answer until SIGTERM or SIGINT, then end what has begun. Raises ValueError where the address cannot be used."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # whose warnings tell of every request that is not HTTP
    logging.getLogger("bonestrap.server").setLevel(logging.INFO if access_log else logging.WARNING)
    app = make_app(models, settings, tokens)
    listening = listen(host, port)
    server = configured(app, settings, proxy)
    for served in models:
        print(f"{served.name} {served.version}: {served.runtime}, {len(served.model.classes)} classes", flush=True)
    address = f"[{host}]" if ":" in host else host
    print(f"serving on http://{address}:{listening.getsockname()[1]}", flush=True)
    # uvicorn raises the signal again once it has ended; being asked to end is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # The million objects of PyTorch are here to stay: looking through all of them, which the lists of some requests
    # bring about, would keep everybody waiting for .1 to .2 s.
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG)
    server.run(sockets=[listening])
    print("stopped", flush=True)


def configured(app: Front, settings: Settings, proxy: str | None = None) -> uvicorn.Server:
    """The HTTP server around an application."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        limit_concurrency=settings.connections,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=settings.drain_seconds,
        h11_max_incomplete_event_size=HEAD,
    )
    return uvicorn.Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ValueError."""
    if not 0 <= port < 2**16:
        raise ValueError(f"--port must lie in [0, 65535], got {port}")
    # Of a socket whose protocol is not named, asyncio leaves TCP_NODELAY off, and an answer's body waits 40 ms for the
    # acknowledgement of its head.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
        return listening
    except OSError as error:
        listening.close()
        fault = (error.strerror or str(error)).lower()
        raise ValueError(f"--host {host} --port {port}: {fault}; give another address") from None
