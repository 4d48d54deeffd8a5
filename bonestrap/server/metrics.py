"""What Prometheus reads of a server."""

from __future__ import annotations

from collections.abc import Callable

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
RECORDINGS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one server; labels take few values, whatever clients send."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "bonestrap_requests", "Requests by path and status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "bonestrap_request_seconds", "From a request's head to the end of its answer.", ["path"],
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.batch = Histogram(
            "bonestrap_batch_recordings", "Recordings computed together.", ["model"],
            buckets=RECORDINGS, registry=self.registry,
        )  # fmt: skip
        self.computing = Histogram(
            "bonestrap_batch_seconds", "Computing one batch.", ["model"], buckets=SECONDS, registry=self.registry
        )
        self.queue = Gauge(
            "bonestrap_queue_recordings", "Recordings that wait for a model.", ["model"], registry=self.registry
        )
        self.model = Gauge(
            "bonestrap_model", "1 for each model that is served.", ["model", "version", "runtime"],
            registry=self.registry,
        )  # fmt: skip

    def watch_queue(self, model: str, depth: Callable[[], float]) -> None:
        """Have the queue's depth read when the metrics are."""
        self.queue.labels(model).set_function(depth)

    def computed(self, model: str) -> Callable[[int, float], None]:
        """What a batcher of this model calls."""
        batch, computing = self.batch.labels(model), self.computing.labels(model)

        def observe(recordings: int, seconds: float) -> None:
            batch.observe(recordings)
            computing.observe(seconds)

        return observe

    def text(self) -> tuple[bytes, str]:
        """The page, and its content type."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self.registry), CONTENT_TYPE_LATEST
