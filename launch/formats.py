"""The formats that `launch/pack.py` reads, each with its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from launch.bar import Bar
from launch.cli import option
from shards.sources import synthetic
from shards.sources.ntu import NTU
from shards.sources.nw_ucla import NWUCLA
from shards.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class NwUcla:
    """Northwestern-UCLA: a folder of aAA_sSS_eEE_vVV.json files, or one that holds all_sqe/."""

    def open(self, folder: Path) -> Source:
        return NWUCLA(folder)


@dataclass(frozen=True, kw_only=True)
class Ntu:
    """NTU RGB+D 60 or 120: raw SsssCcccPpppRrrrAaaa.skeleton files, in any folders below the given one."""

    missing: Path | None = option(None, "list of names without usable skeletons, one a line, to leave out")

    def open(self, folder: Path) -> Source:
        return NTU(folder, missing=self.missing)


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """Generated people, needing no data: written as NTU files (kept in --input, if given), then packed like them."""

    subjects: int = option(20, "people, each with a build and a style of their own")
    setups: int = option(4, "placements of the three cameras, 1 to 4")
    repetitions: int = option(2, "times that every subject performs every action")
    seed: int = option(0, "what all random choices follow from")

    def __post_init__(self) -> None:
        for name, value, most in (
            ("subjects", self.subjects, 999),
            ("setups", self.setups, len(synthetic.SETUPS)),
            ("repetitions", self.repetitions, 999),
        ):
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")
        if self.seed < 0:
            raise ValueError("seed must not be negative")

    def open(self, folder: Path) -> Source:
        synthetic.write(
            folder,
            subjects=self.subjects,
            setups=self.setups,
            repetitions=self.repetitions,
            seed=self.seed,
            progress=Bar("recording", "performances"),
        )
        return NTU(folder, name="synthetic", classes=synthetic.SYNTHETIC)


Format = NwUcla | Ntu | Synthetic
FORMATS: dict[str, Callable[[], Format]] = {"nw-ucla": NwUcla, "ntu": Ntu, "synthetic": Synthetic}
