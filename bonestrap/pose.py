"""Centring, canonical orientation, bones and missing joints: written once, used by packing and by the shipped model.

Legend: C numbers a joint (coordinates, then confidence where the layout keeps it), T frames, V joints, M bodies;
`...` any leading axes.

The canonical frame belongs to the main body (body 0) in one reference frame: the first frame in which that body is
present and its orientation is defined. There, the root is the origin, the layout's spine bone points along +z and the
line from the left to the right shoulder, freed of its part along the spine, points along +x: the person faces +y
(Moliner et al., section 4.2: "centered, and rotated so that the body has a canonical orientation in the first frame").
One rotation and one translation serve a whole recording: what the person does afterwards, and where the second person
stands, is kept. A rigid motion of the camera therefore changes nothing.

Planar joints keep the axes of their image: a turn of the person cannot be undone there. They are centred in the same
way and measured in torsos, the main body's median length of the spine: a person near the camera and one far off look
the same. The median, because a torso that bends towards the camera is short.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bonestrap.layout import Layout, Point, points

SHORTEST = 1e-4  # metres, pixels; a bone or shoulder line below a tenth of a millimetre has no direction


def reference_frame(joints: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """The frame that fixes the canonical pose, and whether an orientation exists there.

    `joints` is (..., T, M, V, C); absent bodies are NaN. Returns (...) int64 indices and (...) bool. Without any usable
    frame the index is the first frame in which the main body is present (0 if none) and the flag is False.
    """
    body = joints[..., 0, :, : layout.coordinates]
    present = torch.isfinite(body).all(-1).all(-1)
    up = _between(body, layout.spine)
    height = up.norm(dim=-1)
    usable = present & (height > SHORTEST)
    if layout.coordinates == 3:
        # The shoulder line's distance from the spine's direction; zero where the two are parallel.
        across = _between(body, layout.shoulders)
        usable &= torch.linalg.cross(up, across, dim=-1).norm(dim=-1) / height.clamp_min(SHORTEST) > SHORTEST
    oriented = usable.any(-1)
    frame = torch.where(oriented, usable.int().argmax(-1), present.int().argmax(-1))
    return frame, oriented


def canonical_motion(joints: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """The matrix and the origin that make joints (..., T, M, V, C) canonical: a point p becomes A (p - origin).

    A (..., 3, 3) is a rotation in space; (..., 2, 2), in an image, a scale. The origin is the main body's root in the
    reference frame; zero where it is not known.
    """
    frame, oriented = reference_frame(joints, layout)
    body = _at(joints[..., : layout.coordinates], frame)
    origin = _point(body, layout.root)
    origin = torch.where(torch.isfinite(origin).all(-1, keepdim=True), origin, torch.zeros_like(origin))
    if layout.coordinates == 2:
        return torch.eye(2, dtype=body.dtype, device=body.device) / _torso(joints, layout)[..., None, None], origin
    return _rotation(body, oriented, layout), origin


def canonical(joints: Tensor, layout: Layout) -> Tensor:
    """Centre and orient (..., T, M, V, C) of one recording each. NaN bodies stay NaN. ValueError for another shape."""
    if joints.ndim < 4 or joints.shape[-1] != layout.axes or joints.shape[-2] != len(layout.joints):
        raise ValueError(
            f"layout {layout.name} needs joints (..., T, M, {len(layout.joints)}, {layout.axes}), "
            f"got {tuple(joints.shape)}"
        )
    matrix, origin = canonical_motion(joints, layout)
    places, rest = joints[..., : layout.coordinates], joints[..., layout.coordinates :]
    moved = (places - origin[..., None, None, None, :]) @ matrix.transpose(-1, -2)[..., None, None, :, :]
    return torch.cat((moved, rest), -1) if layout.confidence else moved


def bones(joints: Tensor, layout: Layout) -> Tensor:
    """The bone that ends in each joint, (..., V, C): joint minus parent; zero for the joint without a parent."""
    parents = torch.tensor(layout.parents, device=joints.device)
    return joints - joints.index_select(-2, parents)


def interpolate(joints: Tensor, layout: Layout) -> Tensor:
    """Find a place for the missing joints, NaN in their coordinates, of bodies that are there; joints (T, M, V, C).

    A joint lies on the line between where it was last seen and where it is seen next, or stays where it is seen first
    or last. A joint that is never seen lies on the nearest joint, counted in bones, that is. A body without any joint
    in a frame is absent there and stays NaN.
    """
    known = torch.isfinite(joints[..., : layout.coordinates]).all(-1)  # (T, M, V)
    if known.all():
        return joints
    frames = torch.arange(len(joints), device=joints.device)[:, None, None].expand_as(known)
    before = torch.where(known, frames, -1).cummax(0).values
    after = torch.where(known, frames, len(joints)).flip(0).cummin(0).values.flip(0)
    low = torch.where(before < 0, after, before).clamp(max=len(joints) - 1)
    high = torch.where(after == len(joints), before, after).clamp(min=0)
    return interpolated(joints, known, low, high, layout)


def interpolated(joints: Tensor, known: Tensor, low: Tensor, high: Tensor, layout: Layout) -> Tensor:
    """`interpolate` where the frames between which a joint lies, `low` and `high` (T, M, V), have been found."""
    places, rest = joints[..., : layout.coordinates], joints[..., layout.coordinates :]
    frames = torch.arange(joints.shape[0], device=joints.device)[:, None, None]
    weight = (frames - low).to(places.dtype) / (high - low).clamp(min=1)
    filled = torch.lerp(
        places.gather(0, low[..., None].expand(places.shape)),
        places.gather(0, high[..., None].expand(places.shape)),
        weight[..., None],
    )
    nearest = _nearest_seen(known.any(0), layout)  # (M, V)
    filled = filled.gather(2, nearest[None, ..., None].expand(places.shape))
    out = torch.where(known.any(-1)[..., None, None], filled, torch.nan)
    return torch.cat((out, rest), -1) if layout.confidence else out


def _nearest_seen(seen: Tensor, layout: Layout) -> Tensor:
    """For each joint of each body the joint itself if it is `seen` (M, V), or else the nearest one that is."""
    count = len(layout.joints)
    hops = torch.tensor([layout.hops(joint) for joint in range(count)], device=seen.device)
    rank = hops * count + torch.arange(count, device=seen.device)  # of two as near, the first
    return torch.where(seen[:, None, :], rank, count * count).argmin(-1)


def _torso(joints: Tensor, layout: Layout) -> Tensor:
    """The median length (...) of the main body's spine; one where it has none."""
    length = _between(joints[..., 0, :, : layout.coordinates], layout.spine).norm(dim=-1)
    known = torch.isfinite(length)
    middle = (known.sum(-1, keepdim=True) - 1).clamp(min=0) // 2  # of two in the middle, the shorter
    length = torch.where(known, length, torch.inf).sort(-1).values.gather(-1, middle).squeeze(-1)
    return torch.where((length > SHORTEST) & length.isfinite(), length, torch.ones_like(length))


def _rotation(body: Tensor, oriented: Tensor, layout: Layout) -> Tensor:
    """The rotation (..., 3, 3), determinant +1, that takes a body (..., V, 3) to the canonical orientation.

    Its rows are the new axes: right, forward, up. The identity where `oriented` is False.
    """
    up = torch.nn.functional.normalize(_between(body, layout.spine), dim=-1)
    left_to_right = -_between(body, layout.shoulders)
    right = left_to_right - (left_to_right * up).sum(-1, keepdim=True) * up
    right = torch.nn.functional.normalize(right, dim=-1)
    rotation = torch.stack((right, torch.linalg.cross(up, right, dim=-1), up), dim=-2)
    identity = torch.eye(3, dtype=body.dtype, device=body.device)
    return torch.where(oriented[..., None, None], rotation, identity)


def _point(body: Tensor, where: Point) -> Tensor:
    """The place of a point of the layout, (..., C)."""
    # Not indexed by a list: that goes to a GPU anew each time, and the host waits until it is there.
    return torch.stack([body[..., joint, :] for joint in points(where)], -2).mean(-2)


def _between(body: Tensor, ends: tuple[Point, Point]) -> Tensor:
    """The vector from the first to the second of `ends`, (..., C)."""
    return _point(body, ends[1]) - _point(body, ends[0])


def _at(joints: Tensor, frame: Tensor) -> Tensor:
    """The main body in one frame of each recording: (..., T, M, V, C) and (...) to (..., V, C)."""
    body = joints[..., 0, :, :]
    index = frame[..., None, None, None].expand(*frame.shape, 1, *body.shape[-2:])
    return body.gather(-3, index).squeeze(-3)
