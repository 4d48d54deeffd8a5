"""What a recipe and a command line know of a method. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from bonestrap.augment import ClipConfig, View
from bonestrap.bounds import Bounded, Bounds

if TYPE_CHECKING:
    from bonestrap.encoders.encoder import Encoder
    from bonestrap.layout import Layout
    from bonestrap.methods.method import Method
    from bonestrap.model import Model


WEIGHT = Bounds(0, 1e6)  # of a term of a loss


class Input(NamedTuple):
    """What a method is shown at a time."""

    unit: Literal["view", "performance"] = "view"  # of an epoch: every recording, or one or two cameras' of each
    pairs: bool = False  # two recordings a clip, `Batch.views[0]` and `[1]`; of a view, the same one twice
    labels: bool = False  # only recordings with a label, and `Batch.labels`


class Task(NamedTuple):
    """What a method is built for."""

    layout: Layout
    clip: ClipConfig
    steps: int  # of the whole run, for schedules
    classes: int  # 0 where labels are not read
    source: Model | None = None  # a trained model that the run starts from or learns from
    batch: int = 0  # clips a step, all workers together
    groups: int = 1  # normalisation groups that they are divided into


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodConfig(Bounded):
    """The settings of a learning method, which build it. Derive a frozen keyword-only dataclass from this."""

    kind: ClassVar[str] = ""  # names the class in files and on command lines; empty: package.module:Name
    # Kinds of a recipe's other settings, which a command line takes where it names this method and not them.
    goes_with: ClassVar[Mapping[str, str]] = {}
    tunes: ClassVar[bool] = False  # a trained encoder, which `--init-from` names

    @property
    def input(self) -> Input:
        """What the loader gives: by default one recording a clip, without labels."""
        return Input()

    @property
    def views(self) -> Mapping[str, View]:
        """The augmentations by name, for pictures of them."""
        return {}

    def build(self, encoder: Encoder, task: Task) -> Method:
        """The method around this encoder."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What a table calls the method."""
        return type(self).__name__.removesuffix("Config")

    @staticmethod
    def kinds() -> Mapping[str, type[MethodConfig]]:
        """The methods that pretrain and come with Bonestrap."""
        from bonestrap.methods import METHODS

        return METHODS
