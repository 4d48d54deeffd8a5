"""The format `video`: its options, and the source that they open."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from bonestrap.bounds import Bounds
from bonestrap.layouts import MEDIAPIPE33
from bonestrap.options import UserError, option
from shards.errors import DataError
from shards.packing.parallel import Spread
from shards.sources.described import RATE
from shards.sources.keypoints.detections import Detections
from shards.sources.layout_file import read_layout
from shards.sources.mocap.motion import common, mixed
from shards.sources.pose_formats import Detector
from shards.sources.source import Source
from shards.sources.video.extraction import Extract, Found, read_clip
from shards.sources.video.folder import clip_names, of_clips, videos
from shards.sources.video.frames import stated_seconds
from shards.sources.video.model_files import model_folder
from shards.sources.video.networks import MediaPipeFiles, Networks, OnnxFiles
from shards.sources.video.onnx_models import Pixels
from shards.sources.video.watch import Progress, Watch

Notice = Callable[[str], None]  # a sentence for the user


@dataclass(frozen=True, kw_only=True)
class Video(Detector):
    """Videos, in a folder a class: persons are found in their frames, followed, and cut into clips of keypoints."""

    rate: float | None = option(None, "frames a second to read; none reads all frames", RATE)
    clip_seconds: float = option(10.0, "longer videos are cut into clips of as many", Bounds(0.1, 3600))
    persons: int = option(2, "persons looked for in a frame; fewer are faster", Bounds(1, 100))
    landmarks: Literal["image", "world"] = option(
        "image", "image: joints in the image; world: MediaPipe's in metres around the hips"
    )
    smooth: bool = option(True, "smooth MediaPipe's landmarks over time, as it does in videos")
    models: Path | None = option(None, "folder of MediaPipe's two .tflite files; none: fetched once with pip")
    detector: Path | None = option(None, "ONNX file of a person detector, instead of MediaPipe's")
    pose: Path | None = option(None, "ONNX file of a pose network, with --detector")
    detector_pixels: Pixels = option("yolo", "what the detector's input is: RGB / 255, RTMDet's or YOLOX's")
    keypoints: Path | None = option(None, "folder of finished videos' keypoints, kept; none: OUTPUT.keypoints")

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.detector is None) != (self.pose is None):
            raise ValueError("--detector and --pose are given together: one finds persons, the other their joints")
        if self.detector and (self.models or self.landmarks == "world" or not self.smooth):
            raise ValueError(
                "--models, --landmarks world and --no-smooth are about MediaPipe: leave out --detector and --pose"
            )

    def found(
        self, folder: Path, home: Path, spread: Spread, progress: Progress, notice: Notice
    ) -> tuple[list[Found], list[tuple[str, str]]]:
        """What became of every video, and (file, reason) of what was not tried."""
        names, others = videos(folder)
        networks = self._networks(notice)
        networks.build(self.rate or 1.0)  # a fault of theirs is one sentence now, not one from a process
        extract = Extract(root=folder, home=home, networks=networks, rate=self.rate, seconds=self.clip_seconds)
        folders = [extract.digest(name) for name in names]
        lengths = [stated_seconds(folder / name) for name in names]
        done: list[Found] = []
        with Watch(home, dict(zip(folders, lengths, strict=True)), self.clip_seconds, progress) as watch:
            for one in spread(extract, names):
                watch.finished(folders[len(done)])
                done.append(one)
        return done, others

    def clips(self, folder: Path, found: tuple[Sequence[Found], Sequence[tuple[str, str]]]) -> Source:
        """The source of the clips of what was found."""
        done, others = found
        dropped = [*others, *((one.name, one.reason) for one in done if one.reason)]
        kept = [one for one in done if not one.reason]
        paths = {name: [path] for one in kept for name, path in clip_names(one).items()}
        if not paths:
            name, reason = dropped[-1]
            raise DataError(f"{folder}: nothing to pack in {len(dropped)} files, such as {name}: {reason}")
        given = read_layout(self.layout) if self.layout else None if self.detector else MEDIAPIPE33
        layout = dataclasses.replace(given, coordinates=3 if self.landmarks == "world" else 2) if given else None
        read = partial(read_clip, kind="world" if self.landmarks == "world" else "joints")
        clips = Detections(folder, paths, read, layout)
        clips.rate, clips.notices = common(one.rate for one in kept), mixed(one.rate for one in kept)
        table = self.known([one.name for one in done])
        spread = table and of_clips(table, {one.name: [] if one.reason else list(clip_names(one)) for one in done})
        source = self.scored(folder, clips, clips.layout, spread)
        source.dropped = [*source.dropped, *dropped]
        return source

    def _networks(self, notice: Notice) -> Networks:
        if self.detector and self.pose:
            for path in (self.detector, self.pose):
                if not path.is_file():
                    raise UserError(f"{path}: no such file; give a network as ONNX")
            return OnnxFiles(
                detector=self.detector.resolve(),
                pose=self.pose.resolve(),
                pixels=self.detector_pixels,
                persons=self.persons,
            )
        folder = model_folder(self.models, notice).resolve()
        return MediaPipeFiles(folder=folder, persons=self.persons, smooth=self.smooth)
