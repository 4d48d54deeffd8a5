"""What a server allows and how it batches. Importing this needs no torch and no web framework."""

from __future__ import annotations

import dataclasses

from bonestrap.bounds import THREADS, Bounded, Bounds
from bonestrap.options import option

SIZE = Bounds(0, 4096, above=True)  # MiB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Bounded):
    """Every limit that a request can run into, with the status that it then gets."""

    top_k: int = option(5, "classes of an answer where the request does not say how many", Bounds(1, 10_000))
    batch: int = option(16, "recordings that are computed together", Bounds(1, 1024))
    wait_ms: float = option(
        0.0,
        "how long an idle model waits for a fuller batch; 0: what came during one batch is the next",
        Bounds(0, 1e3),
    )
    threads: int = option(1, "CPU threads that compute one batch", THREADS)
    queue: int = option(256, "recordings that may wait for a model; 503 beyond", Bounds(1, 100_000))
    recordings: int = option(64, "recordings of a request; 413 beyond", Bounds(1, 10_000))
    frames: int = option(3000, "frames of a recording; 413 beyond", Bounds(1, 1_000_000))
    bodies: int = option(8, "bodies of a recording; 413 beyond", Bounds(1, 100))
    body_mib: float = option(16.0, "size of a request, MiB; 413 beyond", SIZE)
    memory_mib: float = option(128.0, "bodies of all requests that are being read, MiB; 503 beyond", SIZE)
    body_seconds: float = option(10.0, "time for a request's body to arrive; 408 beyond", Bounds(0, 3600, above=True))
    rate: float = option(
        0.0, "requests a second of a client, who is its token or its address; 429 beyond; 0: any number", Bounds(0, 1e6)
    )
    burst: int = option(50, "requests that a client who was silent may send at once", Bounds(1, 1_000_000))
    connections: int = option(1000, "open connections; 503 beyond", Bounds(1, 100_000))
    drain_seconds: int = option(30, "time for requests to end when the server is stopped", Bounds(0, 3600))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queue < self.recordings:
            raise ValueError(
                f"queue must hold the {self.recordings} recordings that one request may have, got {self.queue}"
            )
        if self.memory_mib < self.body_mib:
            raise ValueError(
                f"memory_mib must hold a body of {self.body_mib:g} MiB, which is allowed, got {self.memory_mib:g}"
            )
