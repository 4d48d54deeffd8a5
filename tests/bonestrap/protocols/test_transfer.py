"""Joints of one layout for another: by name, as declared, or refused."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from bonestrap import pose
from bonestrap.layouts import COCO17, KINECT20, NTU25, SBU15
from bonestrap.protocols.transfer import DECLARED, correspondence, retarget
from tests.bonestrap.tiny import recordings


@pytest.mark.parametrize("pair", list(DECLARED))
def test_a_declared_pair_is_whole(pair: tuple[str, str]) -> None:
    known = {layout.name: layout for layout in (NTU25, KINECT20, SBU15)}
    weights = correspondence(known[pair[0]], known[pair[1]])
    torch.testing.assert_close(weights.sum(1), torch.ones(len(weights)))
    left = {j for pair_ in known[pair[0]].sides for j in pair_[:1]}
    for joint in left:  # a left joint is made of left joints, and its partner of their partners
        made_of = weights[joint].nonzero().squeeze(1).tolist()
        partner = dict(known[pair[0]].sides)[joint]
        mirrored = [dict(known[pair[1]].sides)[source] for source in made_of]
        assert weights[partner].nonzero().squeeze(1).tolist() == sorted(mirrored)


def test_joints_go_where_their_names_say() -> None:
    weights = correspondence(KINECT20, NTU25)
    for row, name in enumerate(KINECT20.joints):
        source = {"hip_center": "spine_base", "spine": "spine_mid", "shoulder_center": "spine_shoulder"}.get(name, name)
        assert weights[row].tolist() == [float(joint == source) for joint in NTU25.joints]
    middle = correspondence(NTU25, KINECT20)[NTU25.joints.index("neck")]
    assert middle[KINECT20.joints.index("head")] == middle[KINECT20.joints.index("shoulder_center")] == 0.5


def test_recordings_are_posed_anew() -> None:
    source = recordings([1, 2, 1], [7, 9, 12], layout=NTU25)
    found = retarget(source, correspondence(KINECT20, NTU25), KINECT20)
    places = [NTU25.joints.index({"hip_center": "spine_base", "spine": "spine_mid", "shoulder_center": "spine_shoulder"}
              .get(name, name)) for name in KINECT20.joints]  # fmt: skip
    assert found.size == 3 and torch.equal(found.owner, source.owner) and torch.equal(found.length, source.length)
    for recording in range(3):
        own = (source.owner == recording).nonzero().squeeze(1).tolist()
        bodies = torch.stack([source.frames[source.start[b] :][: source.length[b]][:, places] for b in own], 1)
        expected = pose.canonical(bodies, KINECT20)
        for rank, body in enumerate(own):
            there = found.frames[found.start[body] :][: found.length[body]]
            torch.testing.assert_close(there, expected[:, rank])
    torch.testing.assert_close(found.frames[0, 0], torch.zeros(3))  # the model's root, in the first frame


def test_what_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"layout sbu15 lacks spine_base, spine_mid, left_wrist, .*right_thumb of"):
        correspondence(NTU25, SBU15)
    with pytest.raises(ValueError, match="no joint can stand for another"):
        correspondence(COCO17, NTU25)
    own = dataclasses.replace(NTU25, name="mine")
    assert torch.equal(correspondence(own, NTU25), torch.eye(25))
