"""Raw NTU RGB+D files: `SsssCcccPpppRrrrAaaa.skeleton`, the text that the Kinect v2 recorder of that data set wrote.

The number of frames; in each frame the number of bodies; for each body a line of ten values (id, six hand and edge
flags, two of lean, tracking state), the number of joints, and a line of twelve values a joint: x, y, z in metres, the
pixel in the depth and in the colour image, four of orientation (zeros here, as the recorder wrote where it had none),
and the tracking state.

Legend: T frames, V joints.
"""

from __future__ import annotations

import numpy as np

from shards.sources.synthetic.tracking import Track

FIRST_ID = 72057594037900000
DEPTH_LENS = np.array([366.0, -366.0, 256.0, 212.0])  # focal lengths, then centre, of the Kinect v2 in pixels
COLOUR_LENS = np.array([1060.0, -1060.0, 960.0, 540.0])
JOINT = "%.5f %.5f %.5f %.2f %.2f %.2f %.2f 0 0 0 0 %d\n"


def name(*, setup: int, camera: int, subject: int, replication: int, action: int) -> str:
    """All numbers count from 1."""
    return f"S{setup:03d}C{camera:03d}P{subject:03d}R{replication:03d}A{action:03d}.skeleton"


def text(tracks: list[Track], rng: np.random.Generator) -> str:
    """The content of one file."""
    frames = len(tracks[0].present)
    ids = FIRST_ID + rng.choice(99999, len(tracks), replace=False)
    values = [_values(track) for track in tracks]
    count = tracks[0].states.shape[1]
    body = f"{count}\n" + JOINT * count
    lines = [f"{frames}\n"]
    for t in range(frames):
        here = [m for m, track in enumerate(tracks) if track.present[t]]
        lines.append(f"{len(here)}\n")
        for m in here:
            lines.append(f"{ids[m]} 0 1 1 1 1 0 0 0 2\n" + body % tuple(values[m][t]))
    return "".join(lines)


def _values(track: Track) -> list[list[float]]:
    """(T, V * 8): position, depth pixel, colour pixel, state of every joint."""
    position = track.joints
    ratio = position[..., :2] / position[..., 2:]
    pixels = [ratio * lens[:2] + lens[2:] for lens in (DEPTH_LENS, COLOUR_LENS)]
    table = np.concatenate([position, *pixels, track.states[..., None]], -1)
    return table.reshape(len(position), -1).tolist()
