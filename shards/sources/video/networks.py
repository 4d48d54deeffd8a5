"""Which networks find persons and their joints: configurations that are pickled to the processes that run them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from shards.sources.video.blazepose import DETECTOR, LANDMARKS, BlazePose
from shards.sources.video.onnx_models import OnnxPose, Pixels
from shards.sources.video.person import Estimator


@dataclass(frozen=True, kw_only=True)
class Networks(ABC):
    """Files of networks, and how many persons they look for in a frame."""

    persons: int

    @abstractmethod
    def build(self, rate: float) -> Estimator:
        """An estimator for one video of `rate` frames a second.

        Raises UserError where a file is no network, or its library is not installed.
        """

    @cached_property
    def digest(self) -> str:
        """Of the files and of everything else that decides what is found."""
        return hashlib.sha256("\n".join(self._parts()).encode()).hexdigest()

    @abstractmethod
    def _parts(self) -> list[str]: ...


@dataclass(frozen=True, kw_only=True)
class MediaPipeFiles(Networks):
    """MediaPipe's pose model, and whether landmarks are smoothed over time."""

    folder: Path
    smooth: bool

    def build(self, rate: float) -> Estimator:
        return BlazePose(self.folder, persons=self.persons, rate=rate, smooth=self.smooth)

    def _parts(self) -> list[str]:
        files = [_hash(self.folder / name) for name in (DETECTOR, LANDMARKS)]
        return ["mediapipe", str(self.persons), str(self.smooth), *files]


@dataclass(frozen=True, kw_only=True)
class OnnxFiles(Networks):
    """A detector and a pose network of the user's."""

    detector: Path
    pose: Path
    pixels: Pixels

    def build(self, rate: float) -> Estimator:
        return OnnxPose(self.detector, self.pose, pixels=self.pixels, persons=self.persons)

    def _parts(self) -> list[str]:
        return ["onnx", str(self.persons), self.pixels, _hash(self.detector), _hash(self.pose)]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
