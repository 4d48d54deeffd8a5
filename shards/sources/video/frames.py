"""Frames of a video file, decoded one at a time with PyAV.

Legend: H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from bonestrap.options import UserError

ENDINGS = frozenset(  # of files that are read as videos
    (
        ".3gp",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    )
)
PICTURES = frozenset((".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
STILL = ("image2", "image2pipe", "gif")  # FFmpeg's names of the formats of pictures; others end in _pipe
MISSING_FRAMES = 2  # at the end of what a file states: lengths of edited files are off by as many
MISSING_FRACTION = 0.02
UNEVEN = 0.01  # by which the frames a second of a file may be off what it states
GAP = 60.0  # seconds without a frame: times that jump are damage
EARLY = 1e-4  # seconds: times are stored in whole ticks


class VideoFault(ValueError):
    """Why a file is no usable video: a phrase without the file's name."""


class Video:
    """The frames of a file, at `rate` frames a second, or as the file holds them.

    At a rate, each moment shows the frame nearest to it: frames are left out or repeated, never mixed. After the last
    frame `rate` is that of the frames' times, where these are not as regular as the file states. Raises VideoFault
    where the file is no video, and while iterating where it is damaged or ends before the length it states.
    """

    def __init__(self, path: Path, rate: float | None = None) -> None:
        self.path, self.wanted = path, rate
        self.width = self.height = 0  # of the images, once there is one
        av = _library()
        try:
            self.container: Any = av.open(str(path), metadata_errors="replace")
        except av.FFmpegError as error:
            raise VideoFault(f"not a video ({_said(error)})") from None
        try:
            self.stream = self._stream()
            self.rate = rate or float(self.stream.average_rate or self.stream.guessed_rate or 0)
            if not 0 < self.rate < math.inf:
                raise VideoFault("it states no frames a second; convert it, or give --rate")
        except BaseException:
            self.container.close()
            raise
        self.stream.codec_context.thread_count = 1  # videos are spread over processes
        self.aspect = self.stream.sample_aspect_ratio or Fraction(1)

    def __enter__(self) -> Video:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.container.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Upright RGB images (H, W, 3) uint8 of square pixels."""
        if self.wanted is None:
            yield from (self._image(frame) for _, frame in self._decoded())
            return
        due, last, before, seconds = 0, None, 0.0, 0.0
        for seconds, frame in self._decoded():
            between = (before + seconds) / 2
            if last is not None and due / self.wanted < between:
                image = self._image(last)
                while due / self.wanted < between:
                    yield image
                    due += 1
            last, before = frame, seconds
        while last is not None and due / self.wanted <= seconds + EARLY:
            yield self._image(last)
            due += 1

    def _stream(self) -> Any:
        if not self.container.streams.video:
            raise VideoFault("no pictures in it, only sound or data")
        name, stream = self.container.format.name, self.container.streams.video[0]
        if name in STILL or name.endswith("_pipe"):
            raise VideoFault("a still image, not a video")
        if stream.codec_context is None:
            raise VideoFault("no decoder for it in this build of FFmpeg")
        return stream

    def _decoded(self) -> Iterator[tuple[float, Any]]:
        """Each frame with its time in seconds after the first one."""
        av = _library()
        count, start, seconds, last, damaged = 0, 0.0, 0.0, 0.0, 0
        native = self._native()
        try:
            for frame in self.container.decode(self.stream):
                time = float(frame.time) if frame.time is not None else count / native
                start = time if not count else start
                count, seconds = count + 1, time - start
                damaged += bool(frame.is_corrupt)
                if seconds - last > GAP:
                    raise VideoFault(f"no frame for {seconds - last:.0f} seconds after the first {last:.0f}")
                last = max(last, seconds)
                yield seconds, frame
        except av.FFmpegError as error:
            raise VideoFault(f"damaged after {count} frames ({_said(error)})") from None
        if damaged:
            raise VideoFault(f"damaged in {damaged} of {count} frames")
        stated, shown = self.stated(), seconds + 1 / native
        if shown < stated - max(MISSING_FRAMES / native, MISSING_FRACTION * stated):
            raise VideoFault(f"cut short: {shown:.2f} of {stated:.2f} seconds")
        if self.wanted is None and count > 1 and abs(seconds * native / (count - 1) - 1) > UNEVEN:
            self.rate = (count - 1) / seconds if seconds > 0 else self.rate

    def stated(self) -> float:
        """The seconds that the file says it has; 0 where it does not."""
        stream, native = self.stream, self._native()
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        if stream.frames:
            return float(stream.frames / native)
        alone = len(self.container.streams) == 1
        return self.container.duration / 1e6 if alone and self.container.duration else 0.0

    def _native(self) -> float:
        """Frames a second that the file states, or those that are asked for."""
        return float(self.stream.average_rate or self.rate)

    def _image(self, frame: Any) -> np.ndarray:
        width = max(1, round(frame.width * self.aspect))
        image = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        image = upright(image, getattr(frame, "rotation", 0))
        self.height, self.width = image.shape[:2]
        return image


def stated_seconds(path: Path) -> float:
    """How long a file says that it is; 0 where it does not, or is no video."""
    try:
        with Video(path) as video:
            return video.stated()
    except VideoFault:
        return 0.0


def upright(image: np.ndarray, degrees: float) -> np.ndarray:
    """An image (H, W, 3) turned by a file's rotation, counterclockwise, in quarters of a turn."""
    return np.ascontiguousarray(np.rot90(image, round(degrees / 90) % 4))


def _library() -> Any:
    try:
        import av
    except ModuleNotFoundError:
        raise UserError(
            "reading videos needs the package av, which is not installed; pip install av ai-edge-litert onnxruntime"
        ) from None
    with suppress(AttributeError):
        av.logging.set_level(av.logging.PANIC)  # faults are reported here, once a file
    return av


def _said(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return str(said)[:100].lower()
