"""The shipped model: equal after a round trip and to the packed path, blind to the camera, plain about damage."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import nn

import bonestrap
from bonestrap.augment import ClipConfig
from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.encoders import STGCNConfig
from bonestrap.encoders.stgcn.network import STGCN
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20, NTU25, SBU15
from bonestrap.model import Description, Model, ModelError
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import calibrate
from bonestrap.serialization import load, save
from shards.packing import preprocess

CLASSES = ("wave", "drop", "throw")


def model(seed: int = 0, classes: tuple[str, ...] = CLASSES, fit: bool = False, layout: Layout = KINECT20) -> Model:
    """A random network that tells random recordings apart, with the statistics of such recordings."""
    torch.manual_seed(seed)
    description = Description(
        stage="teacher" if classes else "pretrained",
        encoder=STGCNConfig(width=0.125),
        layout=layout,
        clip=ClipConfig(frames=16, fit=fit),
        classes=classes,
        lineage={"data": "test", "labels": 0.1},
    )
    encoder = description.build_encoder()
    head = nn.Linear(encoder.features, len(classes)) if classes else None
    one = Model(description, encoder, head).eval()
    chunks = [one.prepare([recording(20, seed=100 + k, layout=layout) for k in range(8)])]
    calibrate(encoder, one.pipeline, chunks)
    if head is not None:
        features = extract(encoder, one.pipeline, chunks)
        with torch.no_grad():
            head.weight.copy_(torch.randn(head.weight.shape) / features.std(0).norm() * 2)
            head.bias.copy_(-head.weight @ features.mean(0))
    return one


def recording(frames: int, bodies: int = 1, seed: int = 0, layout: Layout = KINECT20) -> np.ndarray:
    """Random people before a camera, (T, M, V, C) float32."""
    generator = np.random.default_rng(seed)
    shape = (bodies, len(layout.joints), layout.axes)
    pose = generator.normal(0, 0.4, (1, *shape))
    moves = generator.normal(0, 0.02, (frames, *shape)).cumsum(0)
    return (pose + moves + np.array([0.3, -0.2, 3.0])[: layout.axes]).astype(np.float32)


def gappy() -> np.ndarray:
    """Nobody at first, then one person, then two, one of them missing for a while; the third slot is empty."""
    joints = np.full((25, 3, 20, 3), np.nan, np.float32)
    joints[2:, 0] = recording(23)[:, 0]
    joints[8:, 1] = recording(17, seed=1)[:, 0]
    joints[12:15, 0] = np.nan
    joints[20:22, :2] = np.nan
    return joints


# ---------------------------------------------------------------------- another layout


def test_arrays_of_another_layout_are_brought_into_the_models_joints() -> None:
    """Kinect v2 has all joints of Kinect v1, three of them under other names: picking them by hand is the same."""
    renamed = {"hip_center": "spine_base", "spine": "spine_mid", "shoulder_center": "spine_shoulder"}
    picked = [NTU25.joints.index(renamed.get(name, name)) for name in KINECT20.joints]
    one, recorded = model(), [recording(23, layout=NTU25), recording(9, layout=NTU25, seed=1)]
    expected = one.embed([joints[:, :, picked] for joints in recorded])
    for layout in (NTU25, "ntu25"):
        torch.testing.assert_close(one.embed(recorded, layout=layout), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.predict(recorded[0], layout=layout).sum(), torch.tensor(1.0))
    assert not torch.allclose(expected[0], one.embed(recorded[0][:, :, :20]), atol=1e-3)


def test_a_layout_of_ones_own_is_read_from_its_file(tmp_path: Path) -> None:
    fields = KINECT20.to_json()
    fields |= {"name": "mine", "joints": fields["joints"][::-1]}
    (tmp_path / "mine.json").write_text(json.dumps(fields))
    one, joints = model(), recording(12)
    found = one.embed(joints[:, :, ::-1].copy(), layout=str(tmp_path / "mine.json"))
    torch.testing.assert_close(found, one.embed(joints), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        ("ntu52", "ntu52: neither a layout file nor a known layout .*; did you mean ntu25"),
        ("ntu25", "joints must be frames x bodies x 25 x 3 for layout ntu25, got .12, 1, 20, 3."),
        ("coco17", "no joint can stand for another"),
    ],
)
def test_a_layout_that_does_not_fit_is_refused(layout: str, said: str) -> None:
    joints = recording(12, layout=COCO17) if layout == "coco17" else recording(12)
    with pytest.raises(ModelError, match=said):
        model().embed(joints, layout=layout)


# ---------------------------------------------------------------------- round trip


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_a_round_trip_gives_bit_equal_outputs(tmp_path: Path, classes: tuple[str, ...]) -> None:
    one = model(classes=classes)
    (tmp_path / "run").mkdir()
    save(tmp_path / "run" / "model", one)
    for place in (tmp_path / "run", str(tmp_path / "run" / "model")):
        two = bonestrap.load(place)
        assert not two.training
        assert two.description == one.description and two.classes == classes
        torch.testing.assert_close(dict(two.state_dict()), dict(one.state_dict()), rtol=0, atol=0)
        assert torch.equal(two.embed(gappy()), one.embed(gappy()))
        if classes:
            assert torch.equal(two.predict(gappy()), one.predict(gappy()))
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["model"]
    assert sorted(p.name for p in (tmp_path / "run" / "model").iterdir()) == ["model.json", "model.safetensors"]


def test_a_layout_of_ones_own_travels_with_the_model(tmp_path: Path) -> None:
    mine = dataclasses.replace(COCO17, name="mine", confidence=True, bones=(*COCO17.bones[:-1], (16, 12)))
    one = model(layout=mine)
    save(tmp_path / "model", one)
    two = load(tmp_path / "model")
    assert two.layout == mine
    joints = 200 * recording(12, bodies=2, layout=mine)
    joints[3:9, 0, 4, :2] = np.nan
    assert torch.equal(two.predict(joints), one.predict(joints))
    nearer = joints * np.array([3, 3, 1], np.float32) + np.array([40, -7, 0], np.float32)
    torch.testing.assert_close(two.predict(nearer), one.predict(joints), rtol=1e-3, atol=1e-4)


PARENT = {"model": "teacher-0", "lineage": {"data": "ntu60", "protocol": "xview", "parents": []}}
# model.json as the first two versions wrote it, by hand.
OLD: dict[str, dict[str, object]] = {
    "format 1": {
        "format": 1,
        "stage": "teacher",
        "encoder": "stgcn",
        "config": {"width": 0.125, "dropout": 0.0},
        "layout": "kinect20",
        "clip": {"frames": 16, "fit": False},
        "classes": ["wave", "drop", "throw"],
        "lineage": {"data": "nw-ucla", "protocol": "xsub", "labels": 0.1},
    },
    "format 2": {
        "format": 2,
        "stage": "student",
        "encoder": "stgcn",
        "config": {"width": 0.125, "dropout": 0.0},
        "layout": KINECT20.to_json(),
        "clip": {"frames": 16, "fit": True, "own_pose": True},
        "classes": ["wave", "drop", "throw"],
        "lineage": {"data": "ntu60", "protocol": "xsub", "parents": [PARENT]},
    },
}


@pytest.mark.parametrize("fields", OLD.values(), ids=OLD)
def test_models_of_older_versions_are_read(tmp_path: Path, fields: dict[str, object]) -> None:
    one = model(fit=fields["stage"] == "student")
    folder = tmp_path / "model"
    save(folder, one)
    (folder / "model.json").write_text(json.dumps(fields))
    two = load(folder)
    assert two.description.encoder == STGCNConfig(width=0.125, dropout=0.0)
    assert two.layout == KINECT20 and two.classes == CLASSES and two.description.stage == fields["stage"]
    assert two.description.head == "linear"
    torch.testing.assert_close(dict(two.state_dict()), dict(one.state_dict()), rtol=0, atol=0)
    if fields["format"] == 1:
        assert two.description.clip == ClipConfig(frames=16)
        assert two.description.lineage == {"data": "nw-ucla", "split": "xsub", "labels": 0.1}
        assert torch.equal(two.predict(gappy()), one.predict(gappy()))
    else:
        assert two.description.clip == ClipConfig(frames=16, fit=True, own_pose=True)
        lineage = two.description.lineage
        assert lineage["split"] == "xsub" and "protocol" not in lineage
        assert lineage["parents"][0]["lineage"] == {"data": "ntu60", "split": "xview", "parents": []}
    save(folder, two)  # and written anew as today's
    assert json.loads((folder / "model.json").read_text())["format"] == 3
    assert load(folder).description == two.description


def test_saving_again_replaces_the_model(tmp_path: Path) -> None:
    save(tmp_path / "model", model(seed=0))
    save(tmp_path / "model", model(seed=1))
    assert torch.equal(load(tmp_path / "model").embed(gappy()), model(seed=1).embed(gappy()))


def test_another_width_and_a_network_in_training_are_saved_as_they_are(tmp_path: Path) -> None:
    wide = model()
    description = dataclasses.replace(wide.description, encoder=STGCNConfig(width=0.25))
    encoder = description.build_encoder()
    wide = Model(description, encoder, nn.Linear(encoder.features, 3))
    save(tmp_path / "model", wide.train())
    two = load(tmp_path / "model")
    assert isinstance(two.encoder, STGCN) and two.encoder.features == 64
    assert torch.equal(two.predict(gappy()), wide.eval().predict(gappy()))


# ---------------------------------------------------------------------- raw joints


@pytest.mark.parametrize("fit", [False, True])
def test_raw_joints_take_the_path_of_packed_recordings(fit: bool) -> None:
    one = model(fit=fit)
    raw = [gappy(), recording(40), recording(1), recording(9, bodies=2, seed=2)]
    packed = [preprocess.prepare(joints, (), KINECT20, "test") for joints in raw]
    bodies = [torch.from_numpy(body) for joints in packed for body in joints.transpose(1, 0, 2, 3)]
    owner = torch.tensor([i for i, joints in enumerate(packed) for _ in range(joints.shape[1])])
    length = torch.tensor([len(body) for body in bodies])
    assert owner.tolist() == [0, 0, 1, 2, 3, 3]
    assert length.tolist() == [21, 21, 40, 1, 9, 9]
    recordings = Recordings(torch.cat(bodies), length.cumsum(0) - length, length, owner, len(raw))
    prepared = one.prepare(raw)
    torch.testing.assert_close(prepared.frames, recordings.frames, rtol=0, atol=1e-5)
    clips = Pipeline(KINECT20, one.description.clip)(recordings)
    with torch.no_grad():
        torch.testing.assert_close(one.predict(raw), one(clips).softmax(1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.embed(raw), one.encoder(clips), rtol=1e-4, atol=1e-5)


def test_missing_joints_take_the_path_of_packed_recordings() -> None:
    one = model(layout=COCO17)
    joints = recording(20, bodies=2, layout=COCO17)
    joints[np.random.default_rng(0).random(joints.shape[:3]) < 0.3] = np.nan
    joints[:, :, 16] = np.nan
    joints[4:6, 1] = np.nan
    packed = preprocess.prepare(joints, preprocess.detected(COCO17), COCO17, "test")
    prepared = one.prepare(joints)
    expected = torch.from_numpy(np.concatenate([packed[:, 0], packed[:, 1]]))
    torch.testing.assert_close(prepared.frames, expected, rtol=0, atol=1e-5)


def test_one_recording_or_many() -> None:
    one = model()
    raw = [gappy(), recording(40), recording(7, bodies=2)]
    together = one.predict(raw)
    assert together.shape == (3, 3)
    torch.testing.assert_close(together.sum(1), torch.ones(3))
    assert one.embed(raw).shape == (3, 32)
    for joints, row in zip(raw, together, strict=True):
        assert one.predict(joints).shape == (3,)
        torch.testing.assert_close(one.predict(joints), row, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.predict(torch.from_numpy(joints)), row, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.predict(joints.astype(np.float64)), row, rtol=1e-4, atol=1e-5)


def test_a_long_list_is_worked_on_in_chunks() -> None:
    """The figures are those of all recordings at once, and no step holds more than 64 of them."""
    one = model()
    raw = [recording(3 + k % 5, bodies=1 + k % 2, seed=k) for k in range(150)]
    clips = one.pipeline(one.prepare(raw))
    with torch.no_grad():
        expected = one.encoder(clips).float()
    sizes: list[int] = []
    one.encoder.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].size))
    torch.testing.assert_close(one.embed(raw), expected, rtol=1e-4, atol=1e-5)
    assert sizes == [64, 64, 22]
    assert one.head is not None
    torch.testing.assert_close(one.predict(raw), one.head(expected).softmax(1), rtol=1e-4, atol=1e-5)
    assert sizes == [64, 64, 22] * 2


def test_an_empty_list_is_refused() -> None:
    for answer in (model().embed, model().predict):
        with pytest.raises(ModelError, match="no recording in the list"):
            answer([])


@pytest.mark.parametrize("seed", range(4))
def test_any_rigid_motion_of_the_camera_changes_nothing(seed: int) -> None:
    one, generator = model(), np.random.default_rng(seed)
    turn = Rotation.random(rng=generator).as_matrix()
    for joints in (gappy(), recording(30, bodies=2, seed=seed)):
        moved = (joints @ turn.T + generator.uniform(-4, 4, 3)).astype(np.float32)
        assert np.nanmax(np.abs(moved - joints)) > 0.5
        torch.testing.assert_close(one.predict(moved), one.predict(joints), rtol=0, atol=1e-4)
        torch.testing.assert_close(one.embed(moved), one.embed(joints), rtol=0, atol=1e-4)


def test_what_is_predicted_depends_on_the_recording() -> None:
    one = model()
    predicted = one.predict([recording(30, seed=seed) for seed in range(6)])
    assert predicted.std(0).min() > 0.05


BAD_JOINTS: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "another layout": (lambda: np.zeros((4, 1, 25, 3), np.float32), "frames x bodies x 20 x 3 for layout kinect20"),
    "no body axis": (lambda: np.zeros((4, 20, 3), np.float32), r"got \(4, 20, 3\)"),
    "planar": (lambda: np.zeros((4, 1, 20, 2), np.float32), "x 3 for layout"),
    "nobody": (lambda: np.full((4, 2, 20, 3), np.nan, np.float32), "no frame of the recording holds a whole body"),
    "no frames": (lambda: np.zeros((0, 1, 20, 3), np.float32), "no frame of the recording holds a whole body"),
}


@pytest.mark.parametrize(("joints", "said"), BAD_JOINTS.values(), ids=BAD_JOINTS)
def test_joints_that_do_not_fit(joints: Callable[[], np.ndarray], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        model().predict(joints())


def test_an_encoder_alone_has_no_classes() -> None:
    one = model(classes=())
    assert one.embed(gappy()).shape == (32,)
    with pytest.raises(ModelError, match="no classes; fine-tune it first"):
        one.predict(gappy())


# ---------------------------------------------------------------------- damage


def edited(**changes: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        fields = json.loads((folder / "model.json").read_text()) | changes
        (folder / "model.json").write_text(json.dumps(fields))

    return damage


def without(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        fields = json.loads((folder / "model.json").read_text())
        del fields[name]
        (folder / "model.json").write_text(json.dumps(fields))

    return damage


def written(file: str, content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / file).write_bytes(content)

    return damage


def truncated(file: str, size: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / file).write_bytes((folder / file).read_bytes()[:size])

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "no description": (lambda folder: (folder / "model.json").unlink(), r"model\.json does not exist"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors"),
    "weights cut short": (truncated("model.safetensors", 5000), r"model\.safetensors is damaged"),
    "weights cut in the header": (truncated("model.safetensors", 20), r"model\.safetensors is damaged"),
    "empty weights": (written("model.safetensors", b""), r"model\.safetensors is damaged"),
    "a pickle for weights": (
        written("model.safetensors", b"\x80\x04\x95" + bytes(60)),
        r"model\.safetensors is damaged",
    ),
    "description cut short": (truncated("model.json", 100), r"model\.json is damaged"),
    "empty description": (written("model.json", b""), r"model\.json is damaged"),
    "a list": (written("model.json", b"[1, 2]"), r"model\.json is damaged"),
    "a number": (written("model.json", b"3"), r"model\.json is damaged"),
    "not text": (written("model.json", b"\xff\xfe\x00{}"), r"model\.json is damaged"),
    "another version": (edited(format=99), r"^\S+model\.json was written by another version"),
    "an alignment that is missing": (edited(format=4), r"model\.json is damaged \('alignment'\)"),
    "no format": (without("format"), r"model\.json is damaged"),
    "no classes": (without("classes"), r"model\.json is damaged"),
    "unknown layout": (edited(layout="octopus"), r"model\.json is damaged"),
    "a broken layout": (
        edited(layout={**KINECT20.to_json(), "root": "tail"}),
        r"model\.json is damaged \(layout kinect20: root speaks of joint tail",
    ),
    "another layout's weights": (edited(layout=SBU15.to_json()), r"model\.safetensors is damaged"),
    "unknown encoder": (edited(encoder="resnet"), r"model\.json is damaged"),
    "unknown field": (edited(colour="blue"), r"model\.json is damaged"),
    "unknown kind of encoder": (edited(encoder={"kind": "resnet"}), r"model\.json is damaged \(there is no resnet"),
    "impossible width": (edited(encoder={"kind": "stgcn", "width": -1.0}), r"model\.json is damaged \(width must lie"),
    "width of words": (edited(encoder={"kind": "stgcn", "width": "wide"}), r"model\.json is damaged \(width must be"),
    "an old field": (edited(config={"width": 0.125}), r"model\.json is damaged"),
    "impossible clip": (edited(clip={"frames": 0, "fit": False}), r"model\.json is damaged"),
    "another width": (edited(encoder={"kind": "stgcn", "width": 0.25}), r"model\.safetensors is damaged"),
    "another number of classes": (edited(classes=["a", "b"]), r"model\.safetensors is damaged"),
}


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_named_in_one_sentence(tmp_path: Path, damage: Callable[[Path], None], said: str) -> None:
    folder = tmp_path / "model"
    save(folder, model())
    damage(folder)
    with pytest.raises(ModelError, match=said) as caught:
        load(tmp_path)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelError, match="name a model directory or a run that has reached its end"):
            load(place)


def test_a_save_that_fails_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model", model(seed=0))
    full = OSError("no space left on device")

    def fails(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise full

    monkeypatch.setattr(Path, "write_bytes", fails)
    with pytest.raises(OSError, match="no space"):
        save(tmp_path / "model", model(seed=1))
    monkeypatch.undo()
    assert torch.equal(load(tmp_path / "model").embed(gappy()), model(seed=0).embed(gappy()))
    save(tmp_path / "model", model(seed=2))  # what was left behind is no hindrance
    assert torch.equal(load(tmp_path / "model").embed(gappy()), model(seed=2).embed(gappy()))
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_weights_never_meet_the_description_of_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "model", model(seed=0))
    replace = os.replace

    def dies_in_between(source: Path, target: Path) -> None:
        if Path(target).name == "model.json":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", dies_in_between)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "model", model(seed=1))
    monkeypatch.undo()
    with pytest.raises(ModelError, match=r"model\.json does not exist"):
        load(tmp_path)
