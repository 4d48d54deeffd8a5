"""A page with frames of videos and, drawn over them, the skeletons that were found.

Legend: H height, W width, V joints.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from bonestrap.files import write_atomically
from bonestrap.layout import Layout
from reports.html import environment
from shards.sources.follow import Clip
from shards.sources.video.extraction import Found, read_clip
from shards.sources.video.frames import Video

VIDEOS = 24  # on the page, spread evenly over all
FRAMES = 4  # of each, of its first clip
WIDTH = 320  # pixels of a frame
SURE = 0.1  # confidence of both ends of a bone that is drawn
COLOURS = ("#ffd400", "#00e5ff", "#ff5ce1", "#7cff4f")  # of the persons in a frame


def write_page(
    path: Path,
    root: Path,
    found: Sequence[Found],
    dropped: Sequence[tuple[str, str]],
    layout: Layout,
    rate: float | None,
) -> Path:
    """Write the page of videos below `root`, which were read at `rate`, to `path`, which it returns."""
    kept = [one for one in found if not one.reason]
    chosen = [kept[number * len(kept) // min(VIDEOS, len(kept))] for number in range(min(VIDEOS, len(kept)))]
    page = environment().get_template("video.html")
    text = page.render(
        name=root.name,
        videos=len(kept),
        clips=sum(len(one.clips) for one in kept),
        frames=sum(sum(one.clips) for one in kept),
        seen=sum(sum(one.seen) for one in kept),
        shown=[_shown(one, root, layout, rate) for one in chosen],
        dropped=dropped,
    )
    write_atomically(path, text)
    return path


def _shown(one: Found, root: Path, layout: Layout, rate: float | None) -> dict[str, Any]:
    clip = read_clip(one.paths[:1])
    wanted = sorted({(2 * number + 1) * one.clips[0] // (2 * FRAMES) for number in range(FRAMES)})
    pictures = []
    with Video(root / one.name, rate) as video:
        for number, image in enumerate(video):
            if number in wanted:
                lines = bones(clip, number, layout)
                pictures.append({"number": number, "jpeg": base64.b64encode(jpeg(image)).decode(), "lines": lines})
            if number == wanted[-1]:
                break
    return {
        "name": one.name,
        "width": one.width,
        "height": one.height,
        "rate": f"{one.rate:.4g}",
        "seen": sum(one.seen),
        "frames": sum(one.clips),
        "stroke": f"{one.width / 120:.2f}",
        "pictures": pictures,
    }


def bones(clip: Clip, number: int, layout: Layout) -> list[dict[str, str]]:
    """The bones of the persons in a frame whose two ends are sure enough, as lines in pixels."""
    lines = []
    for place, person in enumerate(one for one in clip.detections if one.frame == (number,)):
        for joint, parent in layout.bones:
            ends = person.joints[[joint, parent]]
            if ends[:, 2].min() >= SURE:
                (x1, y1), (x2, y2) = ends[:, :2].round(1)
                line = {"x1": f"{x1:g}", "y1": f"{y1:g}", "x2": f"{x2:g}", "y2": f"{y2:g}"}
                lines.append({**line, "colour": COLOURS[place % len(COLOURS)]})
    return lines


def jpeg(image: np.ndarray) -> bytes:
    """An RGB image (H, W, 3) as a JPEG of `WIDTH` pixels' width."""
    import av

    height = max(2, round(image.shape[0] * WIDTH / image.shape[1] / 2) * 2)
    codec: Any = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = WIDTH, height, "yuvj420p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    frame = frame.reformat(width=WIDTH, height=height, format="yuvj420p", dst_color_range="JPEG")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])
