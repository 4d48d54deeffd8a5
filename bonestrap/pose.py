"""Centring, canonical orientation and bones: written once, used by packing and by the shipped model.

Legend: C coordinates, T frames, V joints, M bodies; `...` any leading axes.

The canonical frame belongs to the main body (body 0) in one reference frame: the first frame in which that body is
present and its orientation is defined. There, the root is the origin, the layout's spine bone points along +z and the
line from the left to the right shoulder, freed of its part along the spine, points along +x: the person faces +y
(document 001, section 4.2: "centered, and rotated so that the body has a canonical orientation in the first frame").
One rotation and one translation serve a whole recording: what the person does afterwards, and where the second person
stands, is kept. A rigid motion of the camera therefore changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bonestrap.layout import Layout, Point, points

SHORTEST = 1e-4  # metres; a bone or shoulder line below a tenth of a millimetre has no direction


def reference_frame(joints: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """The frame that fixes the canonical pose, and whether an orientation exists there.

    `joints` is (..., T, M, V, 3); absent bodies are NaN. Returns (...) int64 indices and (...) bool. Without any usable
    frame the index is the first frame in which the main body is present (0 if none) and the flag is False.
    """
    body = joints[..., 0, :, :]
    present = torch.isfinite(body).all(-1).all(-1)
    up = _between(body, layout.spine)
    across = _between(body, layout.shoulders)
    height = up.norm(dim=-1)
    # The shoulder line's distance from the spine's direction; zero where the two are parallel.
    width = torch.linalg.cross(up, across, dim=-1).norm(dim=-1) / height.clamp_min(SHORTEST)
    usable = present & (height > SHORTEST) & (width > SHORTEST)
    oriented = usable.any(-1)
    frame = torch.where(oriented, usable.int().argmax(-1), present.int().argmax(-1))
    return frame, oriented


def canonical_motion(joints: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """The rotation (..., 3, 3) and origin (..., 3) of joints (..., T, M, V, 3): a point p becomes R (p - origin).

    The origin is the main body's root in the reference frame; zero where it is not known.
    """
    frame, oriented = reference_frame(joints, layout)
    body = _at(joints, frame)
    origin = _point(body, layout.root)
    origin = torch.where(torch.isfinite(origin).all(-1, keepdim=True), origin, torch.zeros_like(origin))
    return _rotation(body, oriented, layout), origin


def canonical(joints: Tensor, layout: Layout) -> Tensor:
    """Centre and rotate (..., T, M, V, 3) of one recording each. NaN bodies stay NaN. ValueError for another shape."""
    if joints.ndim < 4 or joints.shape[-1] != 3 or joints.shape[-2] != len(layout.joints):
        raise ValueError(
            f"layout {layout.name} needs joints (..., T, M, {len(layout.joints)}, 3), got {tuple(joints.shape)}"
        )
    rotation, origin = canonical_motion(joints, layout)
    return (joints - origin[..., None, None, None, :]) @ rotation.transpose(-1, -2)[..., None, None, :, :]


def bones(joints: Tensor, layout: Layout) -> Tensor:
    """The bone that ends in each joint, (..., V, C): joint minus parent; zero for the joint without a parent."""
    parents = torch.tensor(layout.parents, device=joints.device)
    return joints - joints.index_select(-2, parents)


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
    return body[..., list(points(where)), :].mean(-2)


def _between(body: Tensor, ends: tuple[Point, Point]) -> Tensor:
    """The vector from the first to the second of `ends`, (..., C)."""
    return _point(body, ends[1]) - _point(body, ends[0])


def _at(joints: Tensor, frame: Tensor) -> Tensor:
    """The main body in one frame of each recording: (..., T, M, V, C) and (...) to (..., V, C)."""
    body = joints[..., 0, :, :]
    index = frame[..., None, None, None].expand(*frame.shape, 1, *body.shape[-2:])
    return body.gather(-3, index).squeeze(-3)
