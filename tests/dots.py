"""Videos of a white dot on black, and small networks as ONNX files that find it, in place of a person.

The dot is a square of `DOT` pixels. The networks' person has the joints of COCO, all on a line from the dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64  # pixels of both sides of the detector's input
CELL = 8  # of it, of an anchor
BOX = 40.0  # side of every box
POSE = 64  # of the pose network's input
JOINTS = 17
STEP = 1  # pixels of the pose network's input between two joints, along x
DOT = 8

Place = tuple[int, int]  # x and y of the dot's upper left corner


def draw(places: Sequence[Place | None], width: int = 64, height: int = 64) -> list[np.ndarray]:
    """Frames with a dot at each place, or without one."""
    frames = []
    for place in places:
        frame = np.zeros((height, width, 3), np.uint8)
        if place:
            frame[place[1] : place[1] + DOT, place[0] : place[0] + DOT] = 255
        frames.append(frame)
    return frames


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    rate: int | Fraction = 10,
    codec: str = "mjpeg",
    times: Sequence[int] | None = None,
    aspect: Fraction | None = None,
) -> None:
    """A video of these frames; `times` count them in the rate's steps where they are not 0, 1, 2, ..."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = 1 / Fraction(rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (times[number] if times else number), 1 / Fraction(rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_detector(path: Path) -> None:
    """As Ultralytics exports YOLO: (1, 5, cells), a box around the middle of each cell, its brightness as the score."""
    from onnx import TensorProto, helper, numpy_helper

    cells = SIZE // CELL
    y, x = np.divmod(np.arange(cells**2), cells)
    boxes = np.stack([x * CELL + CELL / 2, y * CELL + CELL / 2, np.full(cells**2, BOX), np.full(cells**2, BOX)])
    constants = {"mean": np.full((1, 3, 1, 1), 1 / 3, np.float32), "boxes": boxes[None].astype(np.float32)}
    constants["shape"] = np.array([1, 1, cells**2])
    nodes = [
        helper.make_node("Conv", ["image", "mean"], ["grey"]),
        helper.make_node("AveragePool", ["grey"], ["pooled"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["pooled", "shape"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    _write(path, nodes, constants, ["output0"], SIZE, TensorProto, helper, numpy_helper)


def write_pose(path: Path, *, simcc: bool = False) -> None:
    """Heatmaps (1, JOINTS, h, w), or SimCC's two outputs: joint k is k * STEP pixels to the right of the dot's middle.

    Black is -2 or so after ImageNet's normalisation, and white 2.
    """
    from onnx import TensorProto, helper, numpy_helper

    reach = STEP * (JOINTS - 1)
    kernel = np.zeros((JOINTS, 3, 1, 2 * reach + 1), np.float32)
    for joint in range(JOINTS):
        kernel[joint, :, 0, reach - joint * STEP] = 1 / 3
    blur = np.ones((JOINTS, 1, DOT + 1, DOT + 1), np.float32) / (DOT + 1) ** 2
    constants = {
        "kernel": kernel,
        "blur": blur,
        "offset": np.array(2.2, np.float32),
        "scale": np.array(0.2, np.float32),
    }
    nodes = [
        helper.make_node("Add", ["image", "offset"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "scale"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "kernel"], ["moved"], pads=[0, reach, 0, reach]),
        helper.make_node("Conv", ["moved", "blur"], ["heatmaps"], pads=[DOT // 2] * 4, group=JOINTS),
    ]
    outputs = ["heatmaps"]
    if simcc:
        nodes += [
            helper.make_node("ReduceMax", ["heatmaps"], ["x"], axes=[2], keepdims=0),
            helper.make_node("ReduceMax", ["heatmaps"], ["y"], axes=[3], keepdims=0),
        ]
        outputs = ["x", "y"]
    _write(path, nodes, constants, outputs, POSE, TensorProto, helper, numpy_helper)


def _write(path: Path, nodes: list[Any], constants: dict[str, Any], outputs: list[str], size: int, *onnx: Any) -> None:
    from onnx import save

    types, helper, numpy_helper = onnx
    graph = helper.make_graph(
        nodes,
        "dots",
        [helper.make_tensor_value_info("image", types.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(name, types.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9), path)
