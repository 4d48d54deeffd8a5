"""Where the files of MediaPipe's pose model are, and how they come there: out of the wheel of `mediapipe` 0.10.21.

They are Apache-2.0. The wheel is fetched with pip, from whatever index that is set to use, and nothing of it is
installed: it needs an older NumPy.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from bonestrap.files import write_atomically
from bonestrap.options import UserError
from shards.sources.video.blazepose import DETECTOR, LANDMARKS

WHEEL = "mediapipe==0.10.21"
PLATFORM = ("--python-version=3.11", "--platform=manylinux_2_28_x86_64", "--only-binary=:all:", "--no-deps")
MEMBERS = {
    DETECTOR: "mediapipe/modules/pose_detection/pose_detection.tflite",
    LANDMARKS: "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
}
DIGESTS = {
    DETECTOR: "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    LANDMARKS: "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
}


def model_folder(given: Path | None, notice: Callable[[str], None]) -> Path:
    """A folder with both files: `given`, or the user's cache, filled on first use.

    UserError where they are not in `given`, are other files, or cannot be fetched.
    """
    folder = given or cache()
    if all((folder / name).is_file() for name in MEMBERS):
        for name, digest in DIGESTS.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise UserError(f"{folder / name}: not the file of {WHEEL}; remove it")
        return folder
    if given:
        raise UserError(f"{given}: --models needs {' and '.join(MEMBERS)} of the wheel of {WHEEL}, see docs/video.md")
    notice(f"fetching MediaPipe's pose model with pip, once: {WHEEL}, 36 MB, to {folder}")
    with tempfile.TemporaryDirectory(prefix="bonestrap-") as scratch:
        unpack(_wheel(Path(scratch)), folder)
    return folder


def cache() -> Path:
    """The user's own: a folder in `bonestrap` of XDG_CACHE_HOME, or of ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bonestrap" / "mediapipe-0.10.21"


def unpack(wheel: Path, folder: Path) -> None:
    """Write both files of a wheel to a folder. UserError where they are not in it or other than expected."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = {name: archive.read(member) for name, member in MEMBERS.items()}
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{wheel.name}: not the wheel of {WHEEL} ({error})") from None
    for name, content in contents.items():
        if hashlib.sha256(content).hexdigest() != DIGESTS[name]:
            raise UserError(f"{wheel.name}: its {name} is not that of {WHEEL}")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_atomically(folder / name, content)


def _wheel(scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", *PLATFORM, "--dest", str(scratch), WHEEL]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    found = list(scratch.glob("*.whl"))
    if done.returncode or not found:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no wheel"]
        raise UserError(
            f"MediaPipe's pose model cannot be fetched ({said[-1]:.150}); where there is a network, run pip download "
            f"{' '.join(PLATFORM)} {WHEEL}, unzip both .tflite files of mediapipe/modules, and give their folder as "
            "--models"
        )
    return found[0]
