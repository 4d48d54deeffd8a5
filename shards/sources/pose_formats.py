"""The formats of pose software and motion capture, each with its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from bonestrap.bounds import Bounds
from bonestrap.layout import Layout
from bonestrap.layouts import JHMDB15, MEDIAPIPE33, NTU25, PENN13
from bonestrap.options import option
from shards.errors import DataError
from shards.packing.preprocess import detected, tracked
from shards.sources.described import CONFIDENCE, RATE, Foldered
from shards.sources.keypoints import alphapose, joint_csv, mediapipe, mmpose, openpose
from shards.sources.keypoints.detections import Detections, Read
from shards.sources.layout_file import read_layout
from shards.sources.mocap import bvh, c3d, mat, motion, outputs, trc
from shards.sources.mocap.motion import Motion
from shards.sources.recorded import Clips, Recorded
from shards.sources.source import Source, listed
from shards.sources.table import Table
from shards.sources.units import Unit

PIXELS = Bounds(1, 100_000)


@dataclass(frozen=True, kw_only=True)
class Detector(Foldered):
    """What software that finds persons in images has in common."""

    layout: str | None = option(None, "layout file (JSON) or a built-in layout; none: by the number of joints")
    confidence: Literal["hide", "keep"] = option("hide", "hide interpolates uncertain joints, keep stores it as well")
    min_confidence: float = option(0.1, "confidence below which a joint is interpolated", CONFIDENCE)
    bodies: int = option(2, "persons kept of a clip, those seen longest", Bounds(1, 1000))

    def source(self, folder: Path, clips: Mapping[str, Sequence[Path]], read: Read) -> Source:
        found = Detections(folder, clips, read, read_layout(self.layout) if self.layout else None)
        return self.scored(folder, found, found.layout)

    def scored(self, folder: Path, clips: Clips, layout: Layout, table: Table | None = None) -> Source:
        """The source of clips whose joints are `layout`'s, each with its confidence."""
        layout = dataclasses.replace(layout, confidence=self.confidence == "keep")
        cleaning = (*detected(layout, least=self.min_confidence), *tracked(layout, most=self.bodies))
        return self.recorded(folder, clips, layout, cleaning, table)


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
class MediaPipe(Detector):
    """MediaPipe Pose: 33 landmarks in CSV or JSON, a file a clip."""

    landmarks: mediapipe.Landmarks = option("world", "world: in metres around the hips; image: in the image")
    width: int | None = option(None, "pixels of the image, where its landmarks are parts of it", PIXELS)
    height: int | None = option(None, "pixels of the image, where its landmarks are parts of it", PIXELS)

    def open(self, folder: Path) -> Source:
        layout = read_layout(self.layout) if self.layout else MEDIAPIPE33
        if self.landmarks == "world":
            clips = Detections(folder, mediapipe.clips(folder), mediapipe.read_world, layout)
        else:
            layout = dataclasses.replace(layout, coordinates=2)
            read = partial(mediapipe.read_image, width=self.width, height=self.height)
            clips = Detections(folder, mediapipe.clips(folder), read, layout)
        return self.scored(folder, clips, layout)


@dataclass(frozen=True, kw_only=True)
class KinectCsv(Detector):
    """Kinect v2 joints in CSV, a file a clip: a column a number, or a row a joint; bodies by their tracking ids."""

    unit: Unit = option("metre", "of the joints")

    def open(self, folder: Path) -> Source:
        layout = read_layout(self.layout) if self.layout else NTU25
        paths = listed(path for path in folder.rglob("*") if path.suffix.lower() == ".csv")
        if not paths:
            raise DataError(f"{folder}: no .csv files below it; give the folder that holds them as --input")
        names = {path.relative_to(folder).as_posix(): [path] for path in paths}
        clips = Detections(folder, names, partial(joint_csv.read_scaled, layout=layout, unit=self.unit), layout)
        return self.scored(folder, clips, layout)


@dataclass(frozen=True, kw_only=True)
class Bvh(Foldered):
    """BVH motion capture: a file a recording, joints by forward kinematics."""

    layout: str | None = option(None, "layout file (JSON) with names of the files' joints; none: all joints and bones")
    unit: Unit = option("centimetre", "of the files' offsets and positions")
    rate: float | None = option(None, "frames a second to resample to; none keeps the frames as they are", RATE)

    def open(self, folder: Path) -> Source:
        layout = read_layout(self.layout) if self.layout else bvh.layout_of
        clips = Motion(folder, bvh.BVH, layout, unit=self.unit, default=self.unit, rate=self.rate)
        return self.recorded(folder, clips, clips.layout, ())


@dataclass(frozen=True, kw_only=True)
class Markers(Foldered):
    """What recordings of markers have in common."""

    layout: str | None = option(None, "layout file (JSON) with names of markers; none: the built-in one that fits")
    unit: Unit | None = option(None, "of coordinates; none takes what the files state")
    bodies: int = option(2, "persons kept of a recording, those seen longest", Bounds(1, 1000))
    rate: float | None = option(None, "frames a second to resample to; none keeps the frames as they are", RATE)

    def source(self, folder: Path, form: motion.Format) -> Source:
        layout = read_layout(self.layout) if self.layout else partial(outputs.of_file, form)
        clips = Motion(folder, form, layout, unit=self.unit, default="millimetre", rate=self.rate)
        cleaning = (*detected(clips.layout), *tracked(clips.layout, most=self.bodies))
        return self.recorded(folder, clips, clips.layout, cleaning)


@dataclass(frozen=True, kw_only=True)
class Trc(Markers):
    """TRC: markers in space as text, a file a recording."""

    def open(self, folder: Path) -> Source:
        return self.source(folder, trc.TRC)


@dataclass(frozen=True, kw_only=True)
class C3d(Markers):
    """C3D: markers in space, a file a recording; names before a colon tell several persons apart."""

    def open(self, folder: Path) -> Source:
        return self.source(folder, c3d.C3D)


@dataclass(frozen=True, kw_only=True)
class Pose2Sim(Foldered):
    """Pose2Sim: takes with pose-3d/*.trc; the filtered file of each person, all persons of a take together."""

    layout: str | None = option(None, "layout file (JSON) with names of markers; none: the built-in one that fits")
    rate: float | None = option(None, "frames a second to resample to; none keeps the frames as they are", RATE)
    bodies: int = option(2, "persons kept of a take, those seen longest", Bounds(1, 1000))

    def open(self, folder: Path) -> Source:
        clips = outputs.Pose2Sim(folder, read_layout(self.layout) if self.layout else None, self.rate)
        cleaning = (*detected(clips.layout), *tracked(clips.layout, most=self.bodies))
        return self.recorded(folder, clips, clips.layout, cleaning)


@dataclass(frozen=True, kw_only=True)
class FreeMoCap(Foldered):
    """FreeMoCap: folders of recordings with output_data/mediapipe_body_3d_xyz.npy or .csv."""

    def open(self, folder: Path) -> Source:
        clips = outputs.FreeMoCap(folder)
        return self.recorded(folder, clips, clips.layout, detected(clips.layout))


@dataclass(frozen=True, kw_only=True)
class Mat(Foldered):
    """MATLAB files with an array of joints: UTD-MHAD's aA_sS_tT_skeleton.mat, or others like them."""

    layout: str = option("kinect20", "layout file (JSON) or a built-in layout")
    variable: str = option("d_skel", "name of the array")
    axes: Literal["VCT", "CVT", "TVC", "TCV", "VTC", "CTV"] = option(
        "VCT", "order of its axes: joints, coordinates, time"
    )
    unit: Unit = option("metre", "of coordinates in space")

    def open(self, folder: Path) -> Source:
        layout, files = read_layout(self.layout), mat.files(folder)
        utd = layout.name == "kinect20" and self.variable == "d_skel"
        read = partial(
            mat.array,
            name=self.variable,
            axes=self.axes,
            joints=len(layout.joints),
            order=mat.UTD_ORDER if utd else None,
        )
        clips = mat.Mat(files, (self.variable,), read, self.unit if layout.coordinates == 3 else None)
        named = mat.utd_table(clips.names) if utd and not self.table else None
        return self.recorded(folder, clips, layout, detected(layout), named)


@dataclass(frozen=True, kw_only=True)
class Jhmdb:
    """JHMDB: CLASS/CLIP/joint_positions.mat and, for the published splits, CLASS_test_splitN.txt."""

    def open(self, folder: Path) -> Source:
        files, table = mat.jhmdb(folder)
        clips = mat.Mat(files, ("pos_img",), mat.jhmdb_joints)
        return Recorded(clips, name="jhmdb", layout=JHMDB15, table=table, cleaning=detected(JHMDB15, least=0.5))


@dataclass(frozen=True, kw_only=True)
class PennAction:
    """Penn Action: labels/NNNN.mat with class, split, joints and whether each is visible."""

    def open(self, folder: Path) -> Source:
        files, table = mat.penn(folder)
        clips = mat.Mat(files, ("x", "y", "visibility"), mat.penn_joints)
        return Recorded(clips, name="penn-action", layout=PENN13, table=table, cleaning=detected(PENN13, least=0.5))
