"""Joints of one layout for another: by landmark, as declared, between their neighbours, or refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bonestrap import pose
from bonestrap.layout import Layout
from bonestrap.layouts import COCO17, KINECT20, LAYOUTS, NTU25, SBU15
from bonestrap.layouts.landmarks import KNOWN, landmark
from bonestrap.retarget import Retarget, correspondence, resampled
from tests.bonestrap.tiny import recordings

SAME = {"hip_center": "spine_base", "spine": "spine_mid", "shoulder_center": "spine_shoulder"}  # of Kinect v1 and v2


def made_of(wanted: Layout, recorded: Layout, joint: str, **declared: list[str]) -> dict[str, float]:
    row = correspondence(wanted, recorded, declared)[wanted.joints.index(joint)]
    return {name: round(weight, 6) for name, weight in zip(recorded.joints, row.tolist(), strict=True) if weight}


@pytest.mark.parametrize("wanted", [NTU25, KINECT20, SBU15], ids=lambda layout: layout.name)
@pytest.mark.parametrize("recorded", [NTU25, KINECT20, SBU15], ids=lambda layout: layout.name)
def test_left_is_made_of_left(wanted: Layout, recorded: Layout) -> None:
    weights = correspondence(wanted, recorded)
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    mirror = dict(recorded.sides) | {right: left for left, right in recorded.sides}
    mirrored = [mirror.get(joint, joint) for joint in range(len(recorded.joints))]
    for left, right in wanted.sides:
        torch.testing.assert_close(weights[left], weights[right][mirrored])
        assert set(weights[left].nonzero().squeeze(1).tolist()) & {joint for joint, _ in recorded.sides}


def test_joints_go_where_their_landmarks_are() -> None:
    weights = correspondence(KINECT20, NTU25)
    for row, name in enumerate(KINECT20.joints):
        assert weights[row].tolist() == [float(joint == SAME.get(name, name)) for joint in NTU25.joints]
    assert made_of(SBU15, KINECT20, "neck") == {"shoulder_center": 1}
    assert made_of(NTU25, SBU15, "spine_base") == {"left_hip": 0.5, "right_hip": 0.5}
    assert torch.equal(correspondence(dataclasses.replace(NTU25, name="mine"), NTU25), torch.eye(25))


def test_a_lacking_joint_lies_between_its_neighbours() -> None:
    """Kinect v1 has no neck of its own and no finger tips; OpenNI has neither wrists nor ankles."""
    assert made_of(NTU25, KINECT20, "neck") == {"head": 0.5, "shoulder_center": 0.5}
    for tip in ("left_thumb", "left_hand_tip"):
        assert made_of(NTU25, KINECT20, tip) == {"left_hand": 1}
    assert made_of(KINECT20, SBU15, "left_wrist") == {"left_elbow": 0.5, "left_hand": 0.5}
    # A chain of two that lack, against Jacobi's iteration on the bones.
    lacks = ("left_wrist", "left_hand", "left_knee", "left_thumb")
    known = [name for name in NTU25.joints if name not in lacks]
    keep = [NTU25.joints.index(name) for name in known]
    fields = NTU25.to_json()
    fields |= {"name": "less", "joints": known, "bones": [[name, "head"] for name in known if name != "head"]}
    fields |= {"sides": [pair for pair in fields["sides"] if not set(pair) & set(lacks)], "parts": {"trunk": known}}
    weights = correspondence(NTU25, Layout.from_json(fields)).double().numpy()
    expected = np.zeros((25, len(known)))
    expected[keep] = np.eye(len(known))
    for _ in range(500):
        for name in lacks:
            joint = NTU25.joints.index(name)
            near = [b for a, b in NTU25.bones if a == joint] + [a for a, b in NTU25.bones if b == joint]
            expected[joint] = expected[near].mean(0)
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_names_say_which_joint_is_meant() -> None:
    for name in ("left_knee", "LeftKnee", "knee.L", "l_knee", "Left Knee"):
        assert landmark(name) == "left_knee"
    assert [landmark(name) for name in ("pelvis", "MidHip", "neck", "right_hip")] == [
        "spine_base", "spine_base", "neck", "right_hip"
    ]  # fmt: skip
    camel = {name: "".join(word.capitalize() for word in name.split("_")) for name in KINECT20.joints}
    own = Layout.from_json(
        {
            "name": "own",
            "joints": [camel[name] for name in KINECT20.joints],
            "bones": [[camel[KINECT20.joints[a]], camel[KINECT20.joints[b]]] for a, b in KINECT20.bones],
            "root": "HipCenter",
            "spine": ["HipCenter", "ShoulderCenter"],
            "shoulders": ["RightShoulder", "LeftShoulder"],
        }
    )  # fmt: skip
    assert torch.equal(correspondence(KINECT20, own), torch.eye(20))
    table = {joint for joints in KNOWN["kinect20"].values() for joint in joints}
    assert table == set(KINECT20.joints) and all(set(KNOWN) > {name} for name in LAYOUTS if name != "ntu25")


def test_what_is_declared_goes_first() -> None:
    assert made_of(KINECT20, NTU25, "head", head=["head", "neck"]) == {"head": 0.5, "neck": 0.5}
    with pytest.raises(ValueError, match="ntu25: tail is declared and is no joint of layout kinect20"):
        correspondence(KINECT20, NTU25, {"tail": ["head"]})
    with pytest.raises(ValueError, match="ntu25: head is made of skull, which is no joint of that layout"):
        correspondence(KINECT20, NTU25, {"head": ["skull"]})


def test_what_does_not_match_is_refused() -> None:
    numbered = {f"{joint}": f"joint{number}" for number, joint in enumerate(KINECT20.joints)}
    fields = KINECT20.to_json()
    nameless = Layout(**{**vars(KINECT20), "name": "numbered", "joints": tuple(numbered.values())})
    with pytest.raises(ValueError, match=r"layout numbered has no joint that matches hip_center, .*right_foot of"):
        correspondence(KINECT20, nameless)
    assert torch.equal(correspondence(KINECT20, nameless, {a: [b] for a, b in numbered.items()}), torch.eye(20))
    with pytest.raises(ValueError, match="no joint can stand for another"):
        correspondence(COCO17, NTU25)
    # Without shoulders both would lie on the middle of the body, and nobody could say where it faces.
    arms = [name for name in fields["joints"] if name.partition("_")[2] in ("shoulder", "elbow", "wrist", "hand")]
    rest = [name for name in fields["joints"] if name not in arms]
    less = {
        "name": "armless", "joints": rest, "bones": [[name, "head"] for name in rest if name != "head"],
        "root": "hip_center", "spine": ["hip_center", "head"], "shoulders": ["right_hip", "left_hip"],
    }  # fmt: skip
    with pytest.raises(ValueError, match="layout armless has no joint that matches left_shoulder, left_elbow"):
        correspondence(KINECT20, Layout.from_json(less))


@pytest.mark.parametrize("step", [1.0, 1.5, 0.5])
def test_recordings_are_posed_anew_at_another_rate(step: float) -> None:
    source = recordings([1, 2, 1, 1], [7, 9, 12, 1], layout=NTU25)
    found = Retarget.of(KINECT20, NTU25, step=step)(source)
    places = [NTU25.joints.index(SAME.get(name, name)) for name in KINECT20.joints]
    assert found.size == 4 and torch.equal(found.owner, source.owner)
    for recording in range(4):
        own = (source.owner == recording).nonzero().squeeze(1).tolist()
        bodies = []
        for body in own:
            frames = source.frames[source.start[body] :][: source.length[body]][:, places].double().numpy()
            times = np.arange(0, len(frames) - 1 + 1e-9, step)
            flat = [np.interp(times, np.arange(len(frames)), column) for column in frames.reshape(len(frames), -1).T]
            bodies.append(np.stack(flat, 1).reshape(-1, 20, 3))
        expected = pose.canonical(torch.from_numpy(np.stack(bodies, 1)), KINECT20).float()
        for rank, body in enumerate(own):
            there = found.frames[found.start[body] :][: found.length[body]]
            torch.testing.assert_close(there, expected[:, rank], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.frames[0, 0], torch.zeros(3))  # the root, in the first frame


def test_nothing_to_do_leaves_recordings_as_they_are() -> None:
    source = recordings([1, 2], [7, 9])
    assert Retarget.of(SBU15, SBU15)(source) is source
    half = Retarget.of(SBU15, SBU15, step=2.0)(source._replace(frames=source.frames.half()))
    assert half.frames.dtype == torch.float16 and half.length.tolist() == [4, 5, 5]
    torch.testing.assert_close(resampled(torch.arange(5.0), 0.5), torch.arange(9.0) / 2)
