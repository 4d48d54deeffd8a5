"""The formats of pose software and motion capture, each with its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bonestrap.bounds import Bounds
from bonestrap.layout import Layout
from bonestrap.options import option
from shards.packing.preprocess import detected, tracked
from shards.sources import alphapose, bvh, mmpose, openpose
from shards.sources.described import CONFIDENCE, Foldered
from shards.sources.detections import Detections, Read
from shards.sources.layout_file import read_layout
from shards.sources.motion import Motion
from shards.sources.recorded import Clips, Recorded
from shards.sources.source import Source
from shards.sources.units import Unit

RATE = Bounds(0.1, 10_000)


@dataclass(frozen=True, kw_only=True)
class Detector(Foldered):
    """What software that finds persons in images has in common."""

    layout: str | None = option(None, "layout file (JSON) or a built-in layout; none: by the number of joints")
    confidence: Literal["hide", "keep"] = option("hide", "hide interpolates uncertain joints, keep stores it as well")
    min_confidence: float = option(0.1, "confidence below which a joint is interpolated", CONFIDENCE)
    bodies: int = option(2, "persons kept of a clip, those seen longest", Bounds(1, 1000))

    def source(self, folder: Path, clips: Mapping[str, Sequence[Path]], read: Read) -> Source:
        found = Detections(folder, clips, read, read_layout(self.layout) if self.layout else None)
        return self.recorded(folder, found, found.layout)

    def recorded(self, folder: Path, clips: Clips, layout: Layout) -> Source:
        """The source of clips whose joints are `layout`'s, each with its confidence."""
        layout = dataclasses.replace(layout, confidence=self.confidence == "keep")
        cleaning = (*detected(layout, least=self.min_confidence), *tracked(layout, most=self.bodies))
        table = self.known(clips.names)
        return Recorded(clips, name=self.named(folder), layout=layout, table=table, cleaning=cleaning)


@dataclass(frozen=True, kw_only=True)
class OpenPose(Detector):
    """OpenPose's --write_json: folders of one JSON file a frame, BODY_25 or COCO-18; a folder is a clip."""

    def open(self, folder: Path) -> Source:
        return self.source(folder, openpose.clips(folder), openpose.read)


@dataclass(frozen=True, kw_only=True)
class AlphaPose(Detector):
    """AlphaPose: a JSON file of results a clip, in any of its formats."""

    def open(self, folder: Path) -> Source:
        return self.source(folder, alphapose.clips(folder), alphapose.read)


@dataclass(frozen=True, kw_only=True)
class MMPose(Detector):
    """MMPose and RTMPose: a JSON file of predictions a video, in an image or in space."""

    def open(self, folder: Path) -> Source:
        return self.source(folder, mmpose.clips(folder), mmpose.read)


@dataclass(frozen=True, kw_only=True)
class Bvh(Foldered):
    """BVH motion capture: a file a recording, joints by forward kinematics."""

    layout: str | None = option(None, "layout file (JSON) with names of the files' joints; none: all joints and bones")
    unit: Unit = option("centimetre", "of the files' offsets and positions")
    rate: float | None = option(None, "frames a second to resample to; none keeps the frames as they are", RATE)

    def open(self, folder: Path) -> Source:
        layout = read_layout(self.layout) if self.layout else bvh.layout_of
        clips = Motion(folder, bvh.BVH, layout, unit=self.unit, default=self.unit, rate=self.rate)
        table = self.known(clips.names)
        return Recorded(clips, name=self.named(folder), layout=clips.layout, table=table, cleaning=())
