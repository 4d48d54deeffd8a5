"""Work on Ray that needs no talk between workers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from distributed.connection import connection
from shards.errors import DataError
from shards.packing.parallel import ahead

T = TypeVar("T")
Item = TypeVar("Item")


class Tasks:
    """Work that needs no talk between workers, such as packing: a `shards.packing.parallel.Spread` over Ray's tasks.

    At most `workers` are at work at once (None: one a core of the cluster), on any machines; all of them must see the
    files that are read. A task whose process or machine dies is done again elsewhere.
    """

    def __init__(self, workers: int | None) -> None:
        self.workers = workers

    def __call__(self, function: Callable[[Item], T], items: Iterable[Item]) -> Generator[T, None, None]:
        """Raises what `function` raises, and DataError where a task dies again and again."""
        with connection(self.workers or 1):
            import ray

            workers = self.workers or int(ray.cluster_resources().get("CPU", 1))
            shared = ray.put(function)
            task = ray.remote(num_cpus=1, max_retries=3)(on_item)

            def finished(running: set[Any]) -> set[Any]:
                return set(ray.wait(list(running), fetch_local=False)[0])

            for result in ahead(lambda item: task.remote(shared, item), iter(items), workers, finished):
                try:
                    yield ray.get(result)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from None
                except ray.exceptions.RayError as error:
                    kind = type(error).__name__
                    raise DataError(f"a packing task died four times ({kind}); start the same command again") from error


def on_item(function: Callable[[Item], T], item: Item) -> T:
    """What a task runs."""
    import torch

    torch.set_num_threads(1)
    return function(item)
