"""How a command reads its shards: where they lie, all at once or as a stream, within which memory."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np

from bonestrap.bounds import WIDE, Bounded, Bounds
from bonestrap.files import read_object
from bonestrap.options import option, required
from shards.index import Views
from shards.manifest import Manifest
from shards.order import Plan
from shards.storage.cache import LIMIT, Cache
from shards.storage.folder import absolute, open_folder, resolved, spoken

if TYPE_CHECKING:
    import torch

    from shards.catalogue import Select
    from shards.reader import Resident
    from shards.stream import Stream

Recorded: TypeAlias = "Resident | Stream"
Kind = TypeVar("Kind", bound="Reading")

GIB = 2**30
SIZE = Bounds(0, 1e6, above=True)  # GiB; at most a petabyte
FRACTION = 0.5  # of the free memory; the rest is for training
MEMINFO = Path("/proc/meminfo")
LIMITS = (  # of a container, and what it uses: control groups 2 and 1
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading(Bounded):
    """Where recordings are and how they are read. Of these only the window of a stream touches a result."""

    data: str = required("folder of packed shards, or its address: s3://bucket/shards, https://host/shards")
    stream: Literal["auto", "yes", "no"] = option(
        "auto", "yes reads shards as it goes, no reads everything first; auto does that where it fits the memory"
    )
    window: int = option(
        4, "shards of a stream that mix at a time, in the part of one normalisation group", Bounds(1, WIDE)
    )
    stream_gib: float = option(2.0, "the most of its shards that a stream keeps open, GiB a worker", SIZE)
    cache: Path | None = option(None, "folder that keeps shards from an address; none takes ~/.cache/bonestrap")
    cache_gib: float = option(LIMIT / GIB, "the most that this folder may hold, GiB", SIZE)

    def found(self: Kind) -> Kind:
        """The same with paths that mean the same in a worker's directory."""
        return dataclasses.replace(self, data=absolute(self.data), cache=self.cache and resolved(self.cache))

    @property
    def store(self) -> Cache:
        """The cache for shards from an address."""
        return Cache(self.cache or Cache.default().folder, int(self.cache_gib * GIB))

    @property
    def manifest(self) -> Manifest:
        """What the shards say of themselves, without their frames."""
        return open_folder(self.data, self.store).manifest()

    def open(self, select: Select, device: torch.device | str) -> Recorded:
        """The selected recordings, for training or evaluation. Call `resolve_streaming` first."""
        from shards.reader import Resident
        from shards.stream import Stream

        assert self.stream != "auto"
        if self.stream == "no":
            return Resident.load(self.data, select=select, device=device, cache=self.store)
        limit = int(self.stream_gib * GIB)
        return Stream.open(self.data, select=select, device=device, cache=self.store, limit=limit)

    def counts(self, *parts: Select) -> list[int]:
        """How many views each of these selects."""
        from shards import catalogue

        views = catalogue.read(open_folder(self.data, self.store), hashed=False)[1].views
        return [int(part(views).sum()) for part in parts]

    def require(self, *parts: Select) -> None:
        """DataError where one of these selects no view, before any frame is read."""
        from shards.splits import nothing_left

        for part, count in zip(parts, self.counts(*parts), strict=True):
            if not count:
                raise nothing_left(open_folder(self.data, self.store).name, part)

    def views_each(self, part: Select) -> float:
        """How many of the selected views a performance has, in the mean: an epoch over views is so much longer."""
        from shards import catalogue

        views = catalogue.read(open_folder(self.data, self.store), hashed=False)[1].views
        chosen = views.take(np.flatnonzero(part(views)))
        return chosen.size / len(set(chosen.key))

    def sample(self, select: Select, limit: int, device: torch.device | str) -> Resident:
        """At most `limit` of the selected views, evenly spaced over their order, for a probe."""

        import torch

        from shards.reader import Resident

        def chosen(views: Views) -> np.ndarray:
            rows = np.flatnonzero(select(views))
            places = torch.linspace(0, len(rows) - 1, min(limit, len(rows))).round().long().numpy()
            return np.isin(np.arange(views.size), rows[places])

        return Resident.load(self.data, select=chosen, device=device, verify=False, cache=self.store)

    def plan(self, *, batch: int, group: int, seed: int) -> Plan:
        """How batches are cut, and within a stream also how far recordings mix."""
        return Plan(batch=batch, group=group, seed=seed, window=self.mixing)

    @property
    def mixing(self) -> int | None:
        """The window where there is a stream: a stream's order is another one, so this shapes results."""
        return self.window if self.stream == "yes" else None

    def resolve_streaming(
        self: Kind, *, workers: int, cuda: bool, run: Path | None = None, beside: int = 0
    ) -> tuple[Kind, str]:
        """The same with `auto` decided, and a sentence that says how; `beside` are the bytes of other folders.

        Every worker reads for itself, so each needs room of its own. A run that was started is gone on with as it was
        begun, even where there is more or less memory now.
        """
        manifest = self.manifest
        size = f"{spoken(self.data)}: {manifest.total_bytes / GIB:.2f} GiB in {len(manifest.shards)} shards"
        begun = None if run is None else _begun(run)
        if begun is not None and self.stream == "auto":
            window, why = begun, ", as this run was begun"
        elif self.stream == "auto":
            free = min(_free(cuda))
            window, why = 0, ""
            if (manifest.total_bytes + beside) * workers > FRACTION * free:
                window = self.window
                why = f", because {workers} x that is more than half of the {free / GIB:.1f} GiB that are free"
        else:
            window, why = self.window if self.stream == "yes" else 0, ""
        if not window:
            return dataclasses.replace(self, stream="no"), f"{size}, read at once{why}"
        said = f"{size}, streamed{why}; at most {self.stream_gib:g} GiB a worker are open at a time"
        return dataclasses.replace(self, stream="yes", window=window), said


def _begun(run: Path) -> int | None:
    """The window with which the run in this directory was begun, 0 where it read at once; None where there is none."""
    try:
        return int(read_object(run / "run.json")["result"]["window"] or 0)
    except (OSError, ValueError, KeyError, TypeError):  # no run yet, or one that is refused with a reason later
        return None


def _free(cuda: bool) -> list[int]:
    """Bytes that are free: of the machine, of the container if there is one, of the GPU if there is one."""
    free = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    if MEMINFO.exists():
        fields = dict(line.split(":") for line in MEMINFO.read_text().splitlines())
        free.append(int(fields["MemAvailable"].split()[0]) * 1024)
    for limit, used in LIMITS:
        if limit.exists() and used.exists() and (said := limit.read_text().strip()).isdigit():
            free.append(max(0, int(said) - int(used.read_text())))
    if cuda:
        import torch

        free += [torch.cuda.mem_get_info()[0]] if torch.cuda.is_available() else []
    return free
