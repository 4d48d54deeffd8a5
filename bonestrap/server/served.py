"""A model as the server runs it: its ONNX file where there is one, else PyTorch.

Legend: D features, K classes or texts, M bodies, T frames, V joints, C numbers a joint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bonestrap import deploy
from bonestrap.config import to_json
from bonestrap.deploy.precision import Precision
from bonestrap.model import Model, ModelError
from bonestrap.serialization import load
from bonestrap.text import TextError
from bonestrap.weights import shipped
from bonestrap.zero_shot.head import TextHead

Runtime = Literal["auto", "onnx", "torch"]
CARD = "README.md"
AGREE = 0.02  # largest difference of probabilities between a model and its ONNX file, float32
EMBED = "embed"  # the question after features


@dataclasses.dataclass(frozen=True)
class Served:
    """One model that is asked."""

    name: str
    version: str  # the first 12 digits of the SHA-256 of its weights
    folder: Path
    model: Model
    session: Any  # of ONNX Runtime, or None: PyTorch answers
    precision: Precision

    @property
    def runtime(self) -> str:
        return "torch" if self.session is None else f"onnx {self.precision}"

    @property
    def ranks_texts(self) -> bool:
        return isinstance(self.model.head, TextHead)

    def answer(self, recordings: Sequence[np.ndarray], question: Hashable) -> list[np.ndarray]:
        """Of each recording (T, M, V, C): features (D,) for `EMBED`, probabilities (K,) of a tuple of texts, or, for
        None, of the classes. Raises ModelError where texts cannot be ranked.
        """
        if question == EMBED:
            return list(self.model.embed(recordings).numpy())
        if isinstance(question, tuple):
            return list(self.model.predict(recordings, texts=question).numpy())
        if self.session is None:
            return list(self.model.predict(recordings).numpy())
        return [self.session.run(["probabilities"], {"joints": joints})[0] for joints in recordings]

    def about(self) -> dict[str, Any]:
        """What is known of it, as JSON values: what its card is made of, and the card."""
        described, layout = self.model.description, self.model.layout
        card = self.folder / CARD
        return {
            "name": self.name,
            "version": self.version,
            "stage": described.stage,
            "classes": list(self.model.classes),
            "ranks_texts": self.ranks_texts,
            "features": self.model.encoder.features,
            "parameters": sum(weights.numel() for weights in self.model.parameters()),
            "runtime": self.runtime,
            "encoder": to_json(described.encoder),
            "clip": to_json(described.clip),
            "layout": {
                "name": layout.name,
                "joints": list(layout.joints),
                "numbers": ["x", "y", "z"][: layout.coordinates] + ["confidence"] * layout.confidence,
                "unit": "metres" if layout.coordinates == 3 else "any, of the image",
            },
            "lineage": described.lineage,
            "card": card.read_text(encoding="utf-8") if card.is_file() else None,
        }


def open_model(
    name: str, path: Path, *, runtime: Runtime, precision: Precision = "float32", threads: int = 1
) -> Served:
    """A model or run directory, loaded and tried once. Raises ModelError in one sentence."""
    path = shipped(path) or path
    model = load(path)
    folder = path / "model" if (path / "model").is_dir() else path
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    file = folder / deploy.FILES[precision]
    session = None
    if runtime == "onnx" or precision != "float32" or (runtime == "auto" and file.is_file()):
        if not file.is_file():
            raise ModelError(
                f"{file} does not exist: bonestrap export --model {path} --precision {precision} writes it"
            )
        session = _session(file, model, digest, threads)
    served = Served(name, digest[:12], folder, model, session, precision)
    _try(served, file)
    return served


def _session(file: Path, model: Model, digest: str, threads: int) -> Any:
    """The ONNX file of these weights, ready to run."""
    try:
        import onnxruntime
    except ImportError:
        raise ModelError("ONNX files need the package onnxruntime: pip install 'bonestrap[serve]'") from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    settings.enable_mem_pattern = False  # it keeps a plan for every shape, and recordings have any
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # of a damaged file; its classes are onnxruntime's own
        raise ModelError(f"{file} cannot be loaded ({str(error).splitlines()[0]:.200}): export it again") from None
    about = session.get_modelmeta().custom_metadata_map
    if about.get("weights") not in (None, "", digest) or json.loads(about.get("classes", "[]")) != list(model.classes):
        raise ModelError(f"{file} was exported from another model: export it again")
    return session


def _try(served: Served, file: Path) -> None:
    """Answer one recording before the first request has to wait for what a first call prepares.

    The ONNX file must say what the model says: an old export without a digest may be of other weights.
    """
    layout = served.model.layout
    steps = np.random.default_rng(0).normal(0, 0.02, (20, 1, len(layout.joints), layout.axes)).cumsum(0)
    joints = (steps + np.random.default_rng(1).normal(0, 0.5, steps.shape[1:])).astype(np.float32)
    features = served.answer([joints], EMBED)
    if not served.model.classes:
        return
    said = served.answer([joints], None)
    expected = served.model.predict(joints).numpy()
    if served.session is not None and served.precision == "float32" and np.abs(said[0] - expected).max() > AGREE:
        raise ModelError(f"{file} does not answer as the model does: export it again")
    if not np.isfinite(said[0]).all() or not np.isfinite(features[0]).all():
        raise ModelError(f"{served.folder} gives no finite answer to a random recording: its weights are damaged")


def ranking_fault(served: Served) -> str:
    """Why an aligned model cannot rank texts here, or nothing."""
    head = served.model.head
    if not isinstance(head, TextHead):
        return "this model does not rank texts"
    try:
        head.classifier(("walk", "sit"))
    except (TextError, ImportError) as error:
        return f"texts cannot be ranked here: {error}"
    return ""
