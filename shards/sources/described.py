"""Options of recordings that are told apart by a table, or by the folders they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bonestrap.bounds import Bounded, Bounds
from bonestrap.layout import Layout
from bonestrap.options import UserError, option
from shards.packing.preprocess import Step
from shards.sources.recorded import FOREIGN, Clips, Recorded
from shards.sources.source import Source
from shards.sources.table import Table, by_folders, read_table

CONFIDENCE = Bounds(0, 1e6)  # detectors' own scales are not always 0 to 1
RATE = Bounds(0, 10_000, above=True)


@dataclass(frozen=True, kw_only=True)
class Described(Bounded):
    """What recordings of one's own are told apart by."""

    table: Path | None = option(
        None, "CSV or Parquet: file, and as far as known label, subject, camera, performance ..."
    )
    classes: Path | None = option(None, "class names, one a line, in the order of their labels; none: as they sort")
    name: str | None = option(None, "of the data set; none takes the name of --input")
    rate: float | None = option(None, "frames a second; training on several folders resamples them to one rate", RATE)
    licence: str = option("", "terms of the recordings, for the card of every model that is trained on them")

    def read(self) -> Table | None:
        if self.classes and not self.table:
            raise UserError("--classes needs --table, which says what recording is of which class")
        return read_table(self.table, self.classes) if self.table else None

    def named(self, folder: Path) -> str:
        return FOREIGN.sub("-", self.name or folder.stem)

    def told(self, source: Source) -> Source:
        """The source, which says the rate and the licence of its recordings."""
        source.rate, source.licence = self.rate, self.licence
        return source


@dataclass(frozen=True, kw_only=True)
class Foldered(Described):
    """Recordings that lie in a folder a class, unless a table says what they are."""

    labels: Literal["folder", "none"] = option(
        "folder", "without --table: folder takes the first sub-folder of a recording for its class, none has no classes"
    )

    def known(self, names: Sequence[str]) -> Table | None:
        """What is known of these recordings."""
        return self.read() or (by_folders(names) if self.labels == "folder" else None)

    def recorded(
        self, folder: Path, clips: Clips, layout: Layout, cleaning: tuple[Step, ...], table: Table | None = None
    ) -> Source:
        """The source of clips. Of those that state their rate, and are of one, it is the source's."""
        table = table or self.known(clips.names)
        source = self.told(Recorded(clips, name=self.named(folder), layout=layout, table=table, cleaning=cleaning))
        source.rate = source.rate or clips.rate
        return source
