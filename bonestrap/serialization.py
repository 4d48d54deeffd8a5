"""Models on disk: a directory that is written whole or not at all, and every format that there has been.

A model directory holds `model.safetensors` and `model.json`, and `model.onnx` once `bonestrap.deploy` has written it;
a run directory holds one under `model/`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bonestrap.augment import ClipConfig
from bonestrap.classifiers import HEADS
from bonestrap.config import from_json, to_json
from bonestrap.encoders import ENCODERS, EncoderConfig
from bonestrap.files import misfit, opened, read_object
from bonestrap.layout import Layout
from bonestrap.layouts import LAYOUTS
from bonestrap.model import Description, Model, ModelError
from bonestrap.weights import shipped
from bonestrap.zero_shot.head import AlignmentConfig, TextHead

FORMAT = 3
ALIGNED = 4  # the format of models that rank texts, which older versions cannot use
NAMED_LAYOUTS = 1  # the format that held a built-in layout's name instead of the layout
PROTOCOLS = 2  # the format that called a lineage's split its protocol
ONNX_FILE = "model.onnx"
CLASSES = 10_000  # the most that a model knows


def save(directory: Path, model: Model) -> None:
    """Write the model into `directory`, whole or not at all. An existing model there is replaced. Raises OSError."""
    from safetensors.torch import save as packed

    aside = directory.with_name(directory.name + ".partial")
    aside.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    (aside / "model.safetensors").write_bytes(packed(tensors))  # written here: a full disk is an OSError
    about = model.description
    fields = {**to_json({**vars(about), "layout": None}), "layout": model.layout.to_json(), "format": ALIGNED}
    if about.alignment is None:
        del fields["alignment"]
        fields["format"] = FORMAT
    text = json.dumps(fields, indent=2, sort_keys=True)
    (aside / "model.json").write_text(text + "\n")
    directory.mkdir(exist_ok=True)
    # The description goes first and comes last: without it there is no model, so weights never meet another's.
    (directory / "model.json").unlink(missing_ok=True)
    for exported in directory.glob("model*.onnx"):  # of the model that was here before
        exported.unlink()
    for name in ("model.safetensors", "model.json"):
        with (aside / name).open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside / name, directory / name)
    aside.rmdir()


def load(directory: Path | str, device: torch.device | str = "cpu") -> Model:
    """The model of a model or run directory, in evaluation mode. Raises ModelError naming the file and the remedy.

    The name "bonestrap-small" gives weights that come with the library; see `bonestrap.weights`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = shipped(directory) or Path(directory)
    if (folder / "model").is_dir():
        folder = folder / "model"
    file = folder / "model.json"
    if not file.is_file():
        raise ModelError(f"{file} does not exist: name a model directory or a run that has reached its end")
    try:
        description = _description(read_object(file), file)
        _check(description)
        encoder = description.build_encoder()
    except ModelError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # not JSON, not an object, or impossible values
        raise ModelError(f"{file} is damaged ({error!s:.300}): copy the model directory again") from error
    model = Model(description, encoder, _head(description, encoder.features))
    try:
        with opened(folder / "model.safetensors"):  # a FIFO would block
            model.load_state_dict(load_file(folder / "model.safetensors"))
        _check_finite(model)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"{folder / 'model.safetensors'} is damaged ({misfit(error)}): copy the model directory again"
        ) from error
    return model.to(device).eval()


def _head(description: Description, features: int) -> nn.Module | None:
    """What a model says of features, without its weights; nothing where it knows no classes."""
    if not description.classes:
        return None
    if description.alignment is not None:
        return TextHead.empty(description.alignment, features, len(description.classes))
    return HEADS[description.head](features, len(description.classes))


def _description(fields: dict[str, Any], file: Path) -> Description:
    """What model.json says, of this format or an older one."""
    version = fields.pop("format")
    if version not in (ALIGNED, FORMAT, PROTOCOLS, NAMED_LAYOUTS):
        raise ModelError(f"{file} was written by another version of Bonestrap: install the version that wrote it")
    if version < FORMAT:
        fields["encoder"] = {"kind": fields["encoder"], **fields.pop("config")}
        _rename_protocol(fields["lineage"])
    layout = LAYOUTS[fields["layout"]] if version == NAMED_LAYOUTS else Layout.from_json(fields["layout"])
    encoder = from_json(EncoderConfig, ENCODERS, fields["encoder"])
    clip, classes = ClipConfig(**fields["clip"]), tuple(fields["classes"])
    known = {"encoder": encoder, "layout": layout, "clip": clip, "classes": classes}
    if version == ALIGNED:
        known["alignment"] = from_json(AlignmentConfig, AlignmentConfig.kinds(), fields["alignment"])
    return Description(**{**fields, **known})


def _rename_protocol(lineage: dict[str, Any]) -> None:
    """Call the split of a lineage and of its parents by today's name, in place."""
    if "protocol" in lineage:
        lineage["split"] = lineage.pop("protocol")
    for parent in lineage.get("parents", ()):
        _rename_protocol(parent["lineage"])


def _check(description: Description) -> None:
    """ValueError where a description is not what `save` writes."""
    texts = (description.stage, *description.classes)
    if not all(isinstance(text, str) for text in texts) or len(description.classes) > CLASSES:
        raise ValueError(f"its stage and classes, {CLASSES} at most, are texts")
    if description.head not in HEADS:
        raise ValueError(f"there is no head {description.head!r:.40}")
    if not isinstance(description.lineage, dict):
        raise ValueError(f"its lineage is {description.lineage!r:.40} and not an object")


def _check_finite(model: Model) -> None:
    """ValueError where a weight is NaN or infinite: whatever such a model says would be made up."""
    for name, weights in model.state_dict().items():
        if weights.is_floating_point() and not torch.isfinite(weights).all():
            raise ValueError(f"{name} holds NaN or infinite weights")
