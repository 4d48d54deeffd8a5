"""Views of recordings with labels or of a teacher, by name."""

from __future__ import annotations

from typing import Literal

from bonestrap.augment import CONSERVATIVE, LIGHT, ROTATED, View

Views = Literal["conservative", "rotated", "light"]
VIEWS: dict[str, View] = {"conservative": CONSERVATIVE, "rotated": ROTATED, "light": LIGHT}
