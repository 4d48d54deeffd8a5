"""The network of an exported graph in fewer bits. What prepares its input, frames and metres, stays in float32."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

Precision = Literal["float32", "float16", "int8"]
SCOPES = "pkg.torch.onnx.name_scopes"  # of each node, as PyTorch's exporter writes it: the modules that it comes from
NETWORK = ("network", "head")  # the modules of `Deployed` that are learnt
SMALL = 64  # numbers of a tensor that is not worth a cast


def of_network(node: Any) -> bool:
    """Whether an exported node belongs to the encoder or the classifier."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), "[]")
    return ast.literal_eval(scopes)[1:2] in ([name] for name in NETWORK)


def with_half_weights(model: Any) -> Any:
    """The same graph whose weights are stored as float16, in half the bytes.

    Each is cast to float32 before it is used, which ONNX Runtime does once, when it loads the file: the arithmetic is
    as fast as before. Its CPU kernels have no float16 to compute in.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    used = {name for node in made.graph.node if of_network(node) for name in node.input}
    casts = []
    for tensor in made.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name not in used or tensor.data_type != TensorProto.FLOAT or values.size < SMALL:
            continue
        name = tensor.name
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            continue  # weights beyond 65,504
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.float16"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.float16"], [name], f"{name}.cast", to=TensorProto.FLOAT))
    nodes = [*casts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    return made


def quantized(model: Any, calibration: Sequence[np.ndarray]) -> Any:
    """The same graph whose convolutions take int8 weights, one scale a channel, and uint8 inputs.

    Of a network without convolutions, the matrix products do. Beside convolutions they are few, such as the product
    with a skeleton's graph, and cost more accuracy than time. The range of each input is the smallest and the largest
    value that the `calibration` recordings (S, M, V, C) give. Raises ImportError where `onnxruntime` is missing.
    """
    import onnx
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self.rest = iter(calibration)

        def get_next(self) -> dict[str, np.ndarray] | None:
            joints = next(self.rest, None)
            return None if joints is None else {"joints": joints}

    nodes = [node for node in model.graph.node if of_network(node)]
    convolutions = [node.name for node in nodes if node.op_type == "Conv"]
    chosen = convolutions or [node.name for node in nodes if node.op_type in ("MatMul", "Gemm")]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantization.quantize_static(
            source,
            target,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=chosen,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        return onnx.load(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the hint, on the root logger, that the graph was not preprocessed: it is the exporter's own."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)
