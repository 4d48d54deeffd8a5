"""What an evaluation protocol is given and what it says: recordings as rows, and figures of several kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from bonestrap.protocols.scores import ClassScore, Scores, score
from shards.columns import Strings

if TYPE_CHECKING:
    from torch import Tensor


class Known(NamedTuple):
    """Training recordings as one contender sees them."""

    x: Tensor  # (R, D)
    y: Tensor  # (R,)
    held_out: Tensor  # (R,) bool: for choosing
    keys: Strings  # the performance of each
    dataset: str
    classes: int
    raw: bool  # rows are joints and no features
    seed: int
    novel: tuple[int, ...]  # the classes that the model left out, or those of the data set


class Scored(NamedTuple):
    """The recordings that are scored, read once."""

    x: Tensor
    y: Tensor
    keys: Strings


class Repeated(NamedTuple):
    """Accuracies over several draws of labels or exemplars, shares in 0..1."""

    accuracy: float  # mean
    deviation: float
    low: float  # 95 % interval of the mean over the draws
    high: float
    runs: tuple[float, ...]
    balanced: float  # means
    top5: float
    classes: tuple[ClassScore, ...]  # of all draws together


class Episodes(NamedTuple):
    """Accuracies among novel classes, shares in 0..1, over draws of exemplars."""

    accuracy: float  # mean
    deviation: float
    low: float  # 95 % interval of the mean over the draws
    high: float
    ways: int
    shots: int
    episodes: int


class LongTail(NamedTuple):
    """Shares in 0..1 over several draws of long-tailed labels; balanced accuracy counts."""

    balanced: float  # mean
    deviation: float
    low: float  # 95 % interval of the mean over the draws
    high: float
    runs: tuple[float, ...]
    accuracy: float  # means
    top5: float
    common: float | None  # mean recall of the commonest third of the classes, of the next and of the rarest
    between: float | None
    rare: float | None
    most: int  # labels of the commonest class, and of the rarest
    least: int
    classes: tuple[ClassScore, ...]  # of all draws together


class Search(NamedTuple):
    """Shares in 0..1, means over queries."""

    precision: float  # mean average precision
    recall1: float
    recall5: float
    recall10: float
    queries: int


Figures = Scores | Repeated | Episodes | LongTail | Search


class Outcome(NamedTuple):
    """What a protocol says of a contender: figures by name, and predictions where there is one a recording."""

    figures: dict[str, Figures]
    predicted: Tensor | None = None


Judge = Callable[[Scored], Outcome]


def judged(name: str, votes: Callable[[Tensor], Tensor]) -> Judge:
    """The judge of one classifier."""

    def judge(scored: Scored) -> Outcome:
        found = votes(scored.x)
        return Outcome({name: score(found, scored.y)}, found.argmax(1))

    return judge
