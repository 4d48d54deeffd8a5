"""Recordings that take no time to make: twenty performances, random but smooth."""

from __future__ import annotations

import numpy as np

from bonestrap.layouts import KINECT20
from shards.sources.source import Performance, Source, View


class Waving(Source):
    """Two actions by ten people before two cameras, random but smooth."""

    name = "nw-ucla"
    layout = KINECT20
    classes = ("fast", "slow")

    def __len__(self) -> int:
        return 20

    def key(self, number: int) -> str:
        return f"p{number:02}"

    def stamp(self, number: int) -> str:
        return ""

    def __getitem__(self, number: int) -> Performance:
        rng = np.random.default_rng(number)
        views = []
        for camera in (1, 2):
            steps = rng.normal(0, 0.02 * (1 + number % 2), (20, 1, len(self.layout.joints), 3)).cumsum(0)
            body = rng.normal(0, 0.4, steps.shape[1:]) + steps
            views.append(View(camera=camera, joints=body.astype(np.float32), origin=f"{number}.{camera}"))
        return Performance(
            key=self.key(number),
            label=number % 2,
            subject=1 + number // 2,
            setup=None,
            replication=0,
            views=tuple(views),
        )
