"""What is exported says what `Model.predict` says: in PyTorch for every kind of recording, and in ONNX Runtime."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bonestrap import deploy
from bonestrap.augment import ClipConfig
from bonestrap.classifiers import Perceptron
from bonestrap.commands.main import main as console
from bonestrap.deploy.agreement import agreement
from bonestrap.deploy.precision import Precision
from bonestrap.encoders import ConvTransformerConfig, EncoderConfig, SkeletonTransformerConfig, STGCNConfig
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20
from bonestrap.model import Description, Model, ModelError
from bonestrap.protocols.floor import calibrate
from bonestrap.serialization import load, save
from launch.cli import parser as cli
from launch.export import Options, main

SMALL = STGCNConfig(width=0.125)
CLASSES = ("wave", "drop", "throw")
LINEAGE = {
    "data": "random",
    "digest": "0",
    "split": "xsub",
    "run": "runs/random",
    "labels": 1.0,
    "labelled": 3,
    "seed": 0,
    "steps": 1,
    "device_hours": 0.0,
}
SCORED = dataclasses.replace(COCO17, name="scored", confidence=True)
PARTIAL = 0.2  # fraction of joints that a detector loses


def model(
    layout: Layout,
    clip: ClipConfig,
    classes: tuple[str, ...] = CLASSES,
    encoder_config: EncoderConfig = SMALL,
    contrast: float = 12,
) -> Model:
    """A random network whose features follow the statistics of random recordings, and a head that tells them apart.

    `contrast` is the spread of its logits in units of the head's random weights.
    """
    torch.manual_seed(0)
    description = Description(
        stage="student", encoder=encoder_config, layout=layout, clip=clip, classes=classes, lineage=LINEAGE
    )
    encoder = description.build_encoder()
    head = nn.Linear(encoder.features, len(classes)) if classes else None
    one = Model(description, encoder, head).eval()
    known = [walk(30, 1, seed, layout) for seed in range(8)]
    calibrate(encoder, one.pipeline, [one.prepare(known)])
    if head is not None:
        features = one.embed(known)
        with torch.no_grad():
            head.weight.div_(features.std(0).norm() / contrast)
            head.bias.copy_(-head.weight @ features.mean(0))
    return one


def walk(frames: int, bodies: int, seed: int, layout: Layout) -> np.ndarray:
    generator = np.random.default_rng(seed)
    shape = (bodies, len(layout.joints), layout.axes)
    moves = generator.normal(0, 0.03, (frames, *shape)).cumsum(0)
    return (generator.normal(0.5, 0.4, shape) + moves).astype(np.float32)


def recordings(layout: Layout) -> Iterator[np.ndarray]:
    """Of all lengths and numbers of bodies: whole ones, with missing joints, with empty frames and late bodies."""
    for seed, (frames, bodies) in enumerate([(1, 1), (2, 2), (9, 1), (16, 2), (17, 3), (40, 1), (75, 2)]):
        whole = walk(frames, bodies, seed, layout)
        yield whole
        gaps = whole.copy()
        gaps[np.random.default_rng(seed).random(gaps.shape[:3]) < PARTIAL, : layout.coordinates] = np.nan
        yield gaps
        if frames > 8:
            late = gaps.copy()
            late[:2] = late[5:7] = np.nan
            late[:4, 0] = late[-2:, -1] = np.nan
            late[:, -1, 3, : layout.coordinates] = np.nan
            yield np.concatenate([np.full_like(late[:, :1], np.nan), late], 1)


def seen(model: Model) -> list[tuple[np.ndarray, torch.Tensor]]:
    """Recordings with what the model predicts of them; those in which it finds nobody are left out."""
    found = []
    for joints in recordings(model.layout):
        if np.isfinite(joints[..., : model.layout.coordinates]).all(-1).any():
            found.append((joints, model.predict(joints)))
    assert torch.stack([probabilities for _, probabilities in found]).std(0).min() > 0.05
    return found


KINDS = {
    "cropped or repeated": (KINECT20, ClipConfig(frames=16)),
    "stretched, each body in its own pose": (KINECT20, ClipConfig(frames=24, fit=True, own_pose=True)),
    "planar": (COCO17, ClipConfig(frames=16, own_pose=True)),
    "motion, proportions kept": (KINECT20, ClipConfig(frames=24, fit=True, normalise="size", motion=True)),
    "the other person, motion": (KINECT20, ClipConfig(frames=24, fit=True, partner=True, motion=True)),
    "motion, each axis on its own, confidence": (SCORED, ClipConfig(frames=16, normalise="axes", motion=True)),
    "planar with confidence": (SCORED, ClipConfig(frames=16, fit=True)),
}


@pytest.mark.parametrize(("layout", "clip"), KINDS.values(), ids=KINDS)
def test_plain_operations_say_what_the_model_says(layout: Layout, clip: ClipConfig) -> None:
    one = model(layout, clip)
    deployed = deploy.Deployed(one).eval()
    with torch.no_grad():
        for joints, expected in seen(one):
            torch.testing.assert_close(deployed(torch.from_numpy(joints)), expected, rtol=0, atol=5e-5)


def nobody(layout: Layout) -> Iterator[np.ndarray]:
    """Recordings in which `Model.predict` finds no whole body."""
    for frames, bodies in ((1, 1), (1, 2), (12, 1), (40, 3)):
        yield np.full((frames, bodies, len(layout.joints), layout.axes), np.nan, np.float32)
    if layout.confidence:  # joints are there, but nobody knows how surely
        joints = walk(12, 2, 0, layout)
        joints[..., layout.coordinates :] = np.nan
        yield joints


@pytest.mark.parametrize(("layout", "clip"), KINDS.values(), ids=KINDS)
def test_a_recording_of_nobody_has_no_probabilities(layout: Layout, clip: ClipConfig) -> None:
    one = model(layout, clip)
    deployed = deploy.Deployed(one).eval()
    for joints in nobody(layout):
        with pytest.raises(ModelError, match="no frame of the recording holds a whole body"):
            one.predict(joints)
        with torch.no_grad():
            found = deployed(torch.from_numpy(joints))
        assert found.shape == (3,) and found.isnan().all()


def test_the_kth_known_frame() -> None:
    known = torch.tensor([False, True, True, False, True])
    count, frame = deploy.numbered(known)
    assert count.tolist() == [0, 1, 2, 2, 3]
    assert frame[1:4].tolist() == [1, 2, 4]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model, and its directory with an ONNX file."""
    for module in ("onnxruntime", "onnxscript"):
        pytest.importorskip(module, reason="install the extra onnx")
    folder = tmp_path_factory.mktemp("exported") / "model"
    one = model(KINECT20, ClipConfig(frames=24, fit=True, own_pose=True))
    save(folder, one)
    main(Options(model=folder.parent))
    return one, folder


def session(file: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def test_onnx_runtime_says_what_the_model_says(
    exported: tuple[Model, Path], tmp_path: Path, recordings_root: Path
) -> None:
    one, folder = exported
    runs = session(folder / "model.onnx")
    for joints, expected in seen(one):
        (found,) = runs.run(None, {"joints": joints})
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-4)
    for joints in nobody(KINECT20):
        (found,) = runs.run(None, {"joints": joints})
        assert found.shape == (3,) and np.isnan(found).all()
    for file in sorted((recordings_root / "nw_ucla" / "all_sqe").glob("*.json"))[::97]:
        real = np.array(json.loads(file.read_text())["skeletons"], np.float32)[:, None]
        (found,) = runs.run(None, {"joints": real})
        np.testing.assert_allclose(found, one.predict(real).numpy(), rtol=0, atol=1e-4)
    about = runs.get_modelmeta().custom_metadata_map
    assert tuple(json.loads(about["classes"])) == CLASSES
    assert Layout.from_json(json.loads(about["layout"])) == KINECT20
    assert about["weights"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    again = shutil.copytree(folder, tmp_path / "model")
    (again / "model-int8.onnx").touch()
    save(again, one)  # perhaps another one: a file of the old weights must not stay beside it
    assert sorted(path.name for path in again.iterdir()) == ["model.json", "model.safetensors"]


def test_a_network_of_fewer_bits(exported: tuple[Model, Path], tmp_path: Path) -> None:
    """Against float16 and int8 roundings by hand, of the weights alone; and nothing else of the graph is touched."""
    import onnx
    from onnx import numpy_helper

    one, folder = exported
    again = shutil.copytree(folder, tmp_path / "model")
    given = [joints for joints, _ in seen(one)]
    half = deploy.export(one, again, "float16")
    small = deploy.export(one, again, "int8", given[::3])
    assert half.name == "model-float16.onnx" and small.name == "model-int8.onnx"
    assert max(half.stat().st_size, small.stat().st_size) < (again / "model.onnx").stat().st_size
    plain = onnx.load(again / "model.onnx")
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    halves = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(half).graph.initializer}
    learnt = {name for name in weights if name.startswith("network.") and weights[name].size >= 64}
    assert len(learnt) > 30
    for name in learnt:
        np.testing.assert_array_equal(halves[f"{name}.float16"], weights[name].astype(np.float16))
    eighths = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(small).graph.initializer}
    name = "network.blocks.3.temporal.weight"
    scale = np.abs(weights[name]).max((1, 2, 3), keepdims=True) / 127
    np.testing.assert_array_less(np.abs(eighths[f"{name}_quantized"] - weights[name] / scale), 1.01)
    files: dict[Precision, Path] = {"float32": again / "model.onnx", "float16": half, "int8": small}
    runs = {precision: session(file) for precision, file in files.items()}
    expected = torch.stack([probabilities for _, probabilities in seen(one)]).numpy()
    labels = torch.from_numpy(expected.argmax(1))
    found = {each.precision: each for each in agreement(one, files, given, labels, None)}
    bounds: dict[Precision, float] = {"float32": 1e-4, "float16": 0.02, "int8": 0.3}
    for precision, bound in bounds.items():
        said = np.stack([runs[precision].run(None, {"joints": joints})[0] for joints in given])
        assert found[precision].difference == pytest.approx(np.abs(said - expected).max(), abs=1e-6)
        assert found[precision].difference < bound
        equal = (said.argmax(1) == labels.numpy()).mean()
        assert found[precision].scores.accuracy == pytest.approx(equal) and found[precision].equal == equal
    for joints in nobody(KINECT20):
        for run in runs.values():
            assert np.isnan(run.run(None, {"joints": joints})[0]).all()
    with pytest.raises(ModelError, match="int8 needs recordings"):
        deploy.export(one, again, "int8")


def test_the_console_command_takes_recordings_for_int8(
    exported: tuple[Model, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, folder = exported
    again, files = shutil.copytree(folder, tmp_path / "model"), [tmp_path / f"{number}.npy" for number in range(3)]
    given = [joints for joints, _ in seen(one)][::3][: len(files)]
    for file, joints in zip(files, given, strict=True):
        np.save(file, joints)
    words = ["export", "--model", str(again), "--precision", "int8"]
    with pytest.raises(SystemExit, match="2"):
        console(words)
    assert "--calibration and --precision int8 belong together" in capsys.readouterr().err
    console([*words, "--calibration", *map(str, files)])
    other = deploy.export(one, shutil.copytree(folder, tmp_path / "other"), "int8", given)
    for joints in given:
        here, there = (session(file).run(None, {"joints": joints})[0] for file in (again / "model-int8.onnx", other))
        np.testing.assert_allclose(here, there, atol=1e-6)


def test_the_server_runs_the_file_of_the_model_alone(exported: tuple[Model, Path], tmp_path: Path) -> None:
    from bonestrap.server.served import open_model

    one, folder = exported
    served = open_model("one", folder.parent, runtime="auto")
    assert served.runtime == "onnx float32"
    for joints, expected in seen(one):
        np.testing.assert_allclose(served.answer([joints], None)[0], expected.numpy(), rtol=0, atol=1e-4)
    assert open_model("one", folder.parent, runtime="torch").runtime == "torch"
    with pytest.raises(ModelError, match=r"does not exist: bonestrap export --model .* --precision int8 writes it"):
        open_model("one", folder.parent, runtime="onnx", precision="int8")
    other = model(KINECT20, ClipConfig(frames=24, fit=True), contrast=5)
    save(tmp_path / "other", other)
    file = tmp_path / "other" / "model.onnx"
    file.write_bytes((folder / "model.onnx").read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx was exported from another model: export it again"):
        open_model("other", tmp_path / "other", runtime="auto")
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"model\.onnx cannot be loaded"):
        open_model("other", tmp_path / "other", runtime="auto")


@pytest.mark.parametrize("layout", [KINECT20, SCORED], ids=["space", "confidence"])
def test_a_convolutional_transformer_says_the_same_everywhere(layout: Layout, tmp_path: Path) -> None:
    config = ConvTransformerConfig(width=12, depth=2)
    one = model(layout, ClipConfig(frames=12, fit=True), encoder_config=config, contrast=18)
    save(tmp_path, one)
    again = load(tmp_path)
    deployed = deploy.Deployed(one).eval()
    runtime = pytest.importorskip("onnxruntime", reason="install the extra onnx")
    pytest.importorskip("onnxscript", reason="install the extra onnx")
    session = runtime.InferenceSession(deploy.export(one, tmp_path), providers=["CPUExecutionProvider"])
    for joints, expected in seen(one):
        assert torch.equal(again.predict(joints), expected)
        with torch.no_grad():
            torch.testing.assert_close(deployed(torch.from_numpy(joints)), expected, rtol=0, atol=5e-5)
        np.testing.assert_allclose(session.run(None, {"joints": joints})[0], expected.numpy(), rtol=0, atol=1e-4)


def test_a_transformer_of_tokens_with_a_perceptron_says_the_same_everywhere(tmp_path: Path) -> None:
    config = SkeletonTransformerConfig(width=1 / 32, depth=2, heads=2, pool="joint")
    one = model(KINECT20, ClipConfig(frames=12, fit=True), encoder_config=config)
    one.description = dataclasses.replace(one.description, head="perceptron")
    one.head = Perceptron(one.encoder.features, len(CLASSES)).eval()
    save(tmp_path, one)
    again = load(tmp_path)
    deployed = deploy.Deployed(one).eval()
    runtime = pytest.importorskip("onnxruntime", reason="install the extra onnx")
    pytest.importorskip("onnxscript", reason="install the extra onnx")
    session = runtime.InferenceSession(deploy.export(one, tmp_path), providers=["CPUExecutionProvider"])
    said = []
    for bodies in (1, 2):
        joints = walk(20 * bodies, bodies, bodies, KINECT20)
        expected = one.predict(joints)
        assert torch.equal(again.predict(joints), expected)
        with torch.no_grad():
            torch.testing.assert_close(deployed(torch.from_numpy(joints)), expected, rtol=0, atol=5e-5)
        np.testing.assert_allclose(session.run(None, {"joints": joints})[0], expected.numpy(), rtol=0, atol=1e-4)
        said.append(expected)
    assert (said[0] - said[1]).abs().max() > 1e-3


def without_classes(folder: Path, _: pytest.MonkeyPatch) -> None:
    save(folder, model(KINECT20, ClipConfig(frames=16), classes=()))


def without_data(folder: Path, _: pytest.MonkeyPatch) -> None:
    save(folder, model(KINECT20, ClipConfig(frames=16)))


def without_the_packages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, model(KINECT20, ClipConfig(frames=16)))
    monkeypatch.setitem(sys.modules, "onnx", None)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (without_classes, "has features but no classes; fine-tune it first"),
        (without_data, "--precision int8 needs --data: shards whose training recordings show the range"),
        (without_the_packages, r"exporting needs onnx, which is not installed: pip install -e '\.\[onnx\]'"),
    ],
)
def test_what_cannot_be_exported(
    prepare: Callable[[Path, pytest.MonkeyPatch], None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if prepare is without_classes and importlib.util.find_spec("onnxscript") is None:
        pytest.skip("install the extra onnx")
    prepare(tmp_path / "model", monkeypatch)
    with pytest.raises(cli.UserError, match=said):
        main(Options(model=tmp_path / "model", precision="int8" if prepare is without_data else "float32"))
