"""How far the keypoints of a folder of videos are, told while they are found: inside a long video as well."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

Progress = Callable[[int, int], None]  # seconds of video done, seconds in all

LOOK = 2.0  # seconds between two looks at the folders


class Watch:
    """Calls `progress` every few seconds, and when a video is done.

    `seconds` has the length of each video by the name of its folder of keypoints in `home`; unfinished folders are
    looked at for clips of `clip` seconds, whoever writes them.
    """

    def __init__(self, home: Path, seconds: Mapping[str, float], clip: float, progress: Progress) -> None:
        self.home, self.seconds, self.clip, self.progress = home, seconds, clip, progress
        self.done: set[str] = set()
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self.tell()
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self.thread.join()

    def finished(self, folder: str) -> None:
        """The video of this folder is done, or left out."""
        self.done.add(folder)
        self.tell()

    def tell(self) -> None:
        """Call `progress` now."""
        with self.lock:
            total = max(1, round(sum(self.seconds.values())))  # of files that state no length there may be none
            done = sum(self.seconds[folder] for folder in self.done) + sum(self._begun().values())
            self.progress(total if len(self.done) == len(self.seconds) else min(round(done), total - 1), total)

    def _begun(self) -> dict[str, float]:
        """Seconds done of the videos that somebody works on."""
        out: dict[str, float] = {}
        for partial in self.home.glob(".*.partial"):
            folder = partial.name.split(".")[1]
            if folder in self.seconds and folder not in self.done:
                clips = self.clip * sum(1 for _ in partial.glob("[0-9]*.npz"))
                out[folder] = max(out.get(folder, 0.0), min(clips, self.seconds[folder]))
        return out

    def _look(self) -> None:
        while not self.ended.wait(LOOK):
            self.tell()
