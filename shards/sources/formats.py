"""The formats that `launch/pack.py` reads, each with its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bonestrap.bounds import SEED, Bounded, Bounds
from bonestrap.options import option, required
from shards.sources import arrays, coco, synthetic
from shards.sources.datasets.ntu import NTU
from shards.sources.datasets.nw_ucla import NWUCLA
from shards.sources.datasets.pku_mmd import PKUMMD
from shards.sources.datasets.sbu import SBU
from shards.sources.described import CONFIDENCE, Described
from shards.sources.layout_file import read_layout
from shards.sources.pose_formats import (
    AlphaPose,
    Bvh,
    C3d,
    FreeMoCap,
    Jhmdb,
    KinectCsv,
    Mat,
    MediaPipe,
    MMPose,
    OpenPose,
    PennAction,
    Pose2Sim,
    Trc,
)
from shards.sources.pyskl import Pyskl
from shards.sources.source import Source
from shards.sources.table import read_classes
from shards.sources.units import Unit
from shards.sources.video.options import Video


@dataclass(frozen=True, kw_only=True)
class NwUcla:
    """Northwestern-UCLA: a folder of aAA_sSS_eEE_vVV.json files, or one that holds all_sqe/."""

    planar: bool = option(False, "joints as each camera sees them: projected onto its image, two coordinates")

    def open(self, folder: Path) -> Source:
        return NWUCLA(folder, planar=self.planar)


@dataclass(frozen=True, kw_only=True)
class Ntu:
    """NTU RGB+D 60 or 120: raw SsssCcccPpppRrrrAaaa.skeleton files, in any folders below the given one."""

    missing: Path | None = option(None, "list of names without usable skeletons, one a line, to leave out")

    def open(self, folder: Path) -> Source:
        return NTU(folder, missing=self.missing)


@dataclass(frozen=True, kw_only=True)
class Synthetic(Bounded):
    """Generated people, needing no data: written as NTU files (kept in --input, if given), then packed like them."""

    subjects: int = option(20, "people, each with a build and a style of their own", Bounds(1, 999))
    setups: int = option(4, "placements of the three cameras, 1 to 4", Bounds(1, len(synthetic.SETUPS)))
    repetitions: int = option(2, "times that every subject performs every action", Bounds(1, 999))
    seed: int = option(0, "what all random choices follow from", Bounds(0, SEED))

    def open(self, folder: Path, progress: Callable[[int, int], None] | None = None) -> Source:
        synthetic.write(
            folder,
            subjects=self.subjects,
            setups=self.setups,
            repetitions=self.repetitions,
            seed=self.seed,
            progress=progress,
        )
        return NTU(folder, name="synthetic", classes=synthetic.SYNTHETIC)


@dataclass(frozen=True, kw_only=True)
class Sbu:
    """SBU Kinect Interaction: sXXsYY/CC/NNN/skeleton_pos.txt files, two persons in each."""

    def open(self, folder: Path) -> Source:
        return SBU(folder)


@dataclass(frozen=True, kw_only=True)
class PkuMmd:
    """PKU-MMD I or II: a folder with skeleton.../, label.../ and the split files of one phase."""

    def open(self, folder: Path) -> Source:
        return PKUMMD(folder)


@dataclass(frozen=True, kw_only=True)
class Own(Described):
    """Recordings of one's own: any .npy and .npz files, a layout and, if there is one, a table of what is known."""

    layout: str = required("layout file (JSON), or a built-in one, such as ntu25, coco17 or mediapipe33")
    coordinates: Literal[2, 3] | None = option(None, "of a joint: 3 in space, 2 in an image; none takes the layout's")
    axes: str | None = option(None, "order of an array's axes, such as CTVM; none: TVC or TMVC")
    unit: Unit = option("metre", "of coordinates in space")
    confidence: Literal["hide", "keep"] | None = option(
        None, "where the last number of a joint is one: hide interpolates uncertain joints, keep stores it as well"
    )
    min_confidence: float = option(0.1, "confidence below which a joint is interpolated", CONFIDENCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axes is not None:
            arrays.check_axes(self.axes)

    def open(self, folder: Path) -> Source:
        layout = read_layout(self.layout)
        layout = dataclasses.replace(layout, coordinates=self.coordinates or layout.coordinates)
        return self.told(
            arrays.arrays(
                folder,
                name=self.named(folder),
                layout=layout,
                table=self.read(),
                axes=self.axes,
                unit=self.unit,
                confidence=self.confidence or ("keep" if layout.confidence else "none"),
                min_confidence=self.min_confidence,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Coco(Described):
    """2D keypoints with confidence in COCO's JSON: a folder with one file a clip, or one file of results."""

    layout: str = option("coco17", "layout file (JSON) of other keypoints than COCO's")
    confidence: Literal["hide", "keep"] = option("hide", "hide interpolates uncertain joints, keep stores it as well")
    min_confidence: float = option(0.1, "confidence below which a joint is interpolated", CONFIDENCE)
    bodies: int = option(2, "persons kept of a clip, those seen longest", Bounds(1, 1000))

    def open(self, folder: Path) -> Source:
        return self.told(
            coco.keypoints(
                folder,
                name=self.named(folder),
                layout=read_layout(self.layout),
                table=self.read(),
                confidence=self.confidence,
                min_confidence=self.min_confidence,
                bodies=self.bodies,
            )
        )


@dataclass(frozen=True, kw_only=True)
class Pickled(Bounded):
    """A pickled file of pyskl or MMAction2; --input is the file. Nothing in it can run."""

    layout: str | None = option(None, "layout file (JSON) of other joints than coco17 and ntu25")
    classes: Path | None = option(None, "class names, one a line, in the order of their labels")
    unit: Unit = option("metre", "of coordinates in space")
    confidence: Literal["hide", "keep"] | None = option(
        None,
        "hide interpolates uncertain joints, keep stores it as well; given for a file without scores: the last "
        "number of a joint is one; none: hide scores",
    )
    min_confidence: float = option(0.1, "confidence below which a joint is interpolated", CONFIDENCE)

    def open(self, folder: Path) -> Source:
        return Pyskl(
            folder,
            layout=read_layout(self.layout) if self.layout else None,
            classes=read_classes(self.classes) if self.classes else None,
            confidence=self.confidence,
            min_confidence=self.min_confidence,
            unit=self.unit,
        )


Format = (
    NwUcla | Ntu | PkuMmd | Sbu | Pickled | Coco | Own | Synthetic | OpenPose | AlphaPose | MMPose | MediaPipe
    | Video | KinectCsv | Bvh | C3d | Trc | Pose2Sim | FreeMoCap | Mat | Jhmdb | PennAction
)  # fmt: skip
FORMATS: dict[str, Callable[[], Format]] = {
    "nw-ucla": NwUcla,
    "ntu": Ntu,
    "pku-mmd": PkuMmd,
    "sbu": Sbu,
    "pyskl": Pickled,
    "coco": Coco,
    "arrays": Own,
    "openpose": OpenPose,
    "alphapose": AlphaPose,
    "mmpose": MMPose,
    "mediapipe": MediaPipe,
    "video": Video,
    "kinect-csv": KinectCsv,
    "bvh": Bvh,
    "c3d": C3d,
    "trc": Trc,
    "pose2sim": Pose2Sim,
    "freemocap": FreeMoCap,
    "mat": Mat,
    "jhmdb": Jhmdb,
    "penn-action": PennAction,
    "synthetic": Synthetic,
}
