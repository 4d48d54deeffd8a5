"""The evaluation protocols: what each puts on the features of frozen encoders, and on what it chooses.

A protocol is a dataclass of its options with a method `learn`: it gets the training recordings, fits and chooses, and
returns a function that scores the test recordings, which nothing has read before.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from bonestrap.bounds import COUNT, FRACTION, SEED, WIDE, Bounded, Bounds
from bonestrap.options import UserError, option
from bonestrap.protocols.bootstrap import bootstrap
from bonestrap.protocols.long_tailed import long_tailed
from bonestrap.protocols.scores import spread
from evaluation.draws import check_distinct, check_seeds, fit_few, over_draws, over_long_tails
from evaluation.scoring import Clusters, Episodes, Outcome, Scored, Scorer, Search, TrainingSet, scorer_of
from evaluation.zero_shot.protocol import GeneralisedZeroShotProtocol, ZeroShotProtocol

if TYPE_CHECKING:
    from torch import Tensor

    from bonestrap.protocols.linear import Fitted
    from bonestrap.protocols.retrieval import Gallery


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinearProtocol:
    """A linear classifier on frozen features; its strength of regularisation is chosen on held-out subjects.

    The raw-joint floor is kernel ridge regression on the joints themselves.
    """

    fit: Literal["logistic", "ridge", "sgd", "sgd-bn"] = option(
        "logistic",
        "logistic: to convergence; ridge: least squares in closed form, fast; sgd: as published, nothing chosen; "
        "sgd-bn: as MAMP and STARS do, on batch-normalised features",
    )

    def learn(self, train: TrainingSet) -> Scorer:
        return scorer_of("linear" if self.fit == "logistic" else f"linear {self.fit}", self.fitted(train).votes)

    def fitted(self, train: TrainingSet) -> Fitted:
        from bonestrap.protocols import linear
        from bonestrap.protocols.floor import KERNEL_STRENGTHS, kernel_ridge
        from bonestrap.protocols.linear import LOGISTIC_STRENGTHS, RIDGE_STRENGTHS, logistic, ridge, select

        x, y, held_out, classes = train.x, train.y, train.held_out, train.classes
        if train.raw:
            return select(kernel_ridge, KERNEL_STRENGTHS, x, y, held_out, classes)[0]
        if self.fit == "sgd":
            return linear.sgd(x, y, classes, train.seed)
        if self.fit == "sgd-bn":
            return linear.normalised_sgd(x, y, classes, train.seed)
        if self.fit == "ridge":
            return select(ridge, RIDGE_STRENGTHS, x, y, held_out, classes)[0]
        return select(logistic, LOGISTIC_STRENGTHS, x, y, held_out, classes)[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferProtocol(LinearProtocol):
    """A linear classifier on frozen features of another data set than the model's, of its joint layout or another.

    Joints are matched by name, or as declared for the two layouts. Give the --split of the data set.
    """

    def learn(self, train: TrainingSet) -> Scorer:
        return scorer_of("transfer", self.fitted(train).votes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnnProtocol(Bounded):
    """The majority label of the nearest training features, by cosine similarity."""

    k: tuple[int, ...] = option((1,), "neighbours; of several numbers, one evaluation each", Bounds(1, COUNT))
    temperature: float | None = option(
        None, "a neighbour's vote is exp(similarity / temperature); none: one vote each", Bounds(1e-3, 1e3)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.k:
            raise ValueError("k must be one number or more")

    def learn(self, train: TrainingSet) -> Scorer:
        if max(self.k) > len(train.x):
            raise UserError(f"--k {max(self.k)}: there are {len(train.x)} training recordings; give a smaller number")

        def scorer(scored: Scored) -> Outcome:
            each = [self.scorer_with(k, train)(scored) for k in dict.fromkeys(self.k)]
            return Outcome({name: found for one in each for name, found in one.figures.items()}, each[0].predicted)

        return scorer

    def scorer_with(self, k: int, train: TrainingSet) -> Scorer:
        """The scorer of one number of neighbours."""
        from bonestrap.protocols.knn import knn_votes

        def votes(x: Tensor) -> Tensor:
            return knn_votes(train.x, train.y, x, train.classes, k, self.temperature)

        name = "knn" if k == 1 else f"knn {k}"
        return scorer_of(name if self.temperature is None else f"{name} at {self.temperature:g}", votes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TestProtocol:
    """The model's own classifier, as fine-tuned, distilled or trained from scratch.

    Beside it, on the same labels: logistic regression on a random encoder, kernel ridge regression on raw joints.
    """

    def learn(self, train: TrainingSet) -> Scorer:
        """How a floor is fitted to the model's labels."""
        return scorer_of("test", LinearProtocol().fitted(train).votes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiSupervisedProtocol(Bounded):
    """Frozen features and few labels, class-balanced, over several draws of them; launch/finetune.py moves the encoder.

    Logistic regression, or kernel ridge regression on raw joints, whose strength is chosen on half of these labels.
    """

    fractions: tuple[float, ...] = option((0.01, 0.05, 0.1), "fractions of the training labels", FRACTION)
    seeds: tuple[int, ...] = option((0, 1, 2, 3, 4), "draws of the labelled recordings", Bounds(0, SEED))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.fractions:
            raise ValueError("fractions must be one number or more")
        check_seeds(self.seeds)

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.protocols import linear
        from shards.loader import balanced_subset

        labels = train.y.numpy()
        draws = {part: [balanced_subset(labels, part, seed) for seed in self.seeds] for part in self.fractions}
        check_distinct([(part, labels[rows[0]]) for part, rows in sorted(draws.items())], self.fractions)
        fitted = {part: [fit_few(train, rows, linear.accuracy) for rows in each] for part, each in draws.items()}
        return lambda scored: Outcome(
            {
                f"semi-supervised {part:g}": over_draws(each, labels[draws[part][0]], scored)
                for part, each in fitted.items()
            }
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LongTailedProtocol(Bounded):
    """Frozen features and long-tailed labels: the commonest class has --imbalance times as many as the rarest.

    Scored by balanced accuracy, over several draws of which classes are common. The strength of regularisation is
    chosen by balanced accuracy on half of these labels.
    """

    imbalance: float = option(
        100.0, "labels of the commonest class over labels of the rarest; between, exponential", Bounds(1, COUNT)
    )
    seeds: tuple[int, ...] = option(
        (0, 1, 2, 3, 4), "draws of the order of classes and of the labelled recordings", Bounds(0, SEED)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_seeds(self.seeds)

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.protocols import linear

        labels = train.y.numpy()
        draws = [long_tailed(labels, self.imbalance, seed) for seed in self.seeds]
        fitted = [fit_few(train, rows, linear.balanced_accuracy) for rows in draws]
        kept = [labels[rows] for rows in draws]
        return lambda scored: Outcome({f"long-tailed {self.imbalance:g}": over_long_tails(fitted, kept, scored)})


@dataclasses.dataclass(frozen=True, kw_only=True)
class FewShotProtocol(Bounded):
    """A few exemplars of novel classes, by training subjects; a test recording takes the class of the nearest one.

    Novel are the classes that pretraining left out (--classes.leave-out novel), or those that it would have left out:
    NTU-120's official list of 20, or half of a data set's classes.
    """

    shots: int = option(1, "exemplars of a class", Bounds(1, WIDE))
    neighbours: int = option(1, "nearest exemplars that vote; Mehraban et al. take as many as shots", Bounds(1, WIDE))
    episodes: int = option(200, "draws of the exemplars", Bounds(2, 1_000_000))

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.protocols import few_shot

        fewest = min(int((train.y == label).sum()) for label in train.novel)
        if fewest < self.shots:
            raise UserError(f"a novel class has {fewest} training recordings: give --shots {max(1, fewest)}, or fewer")
        exemplars = self.shots * len(train.novel)
        if self.neighbours > exemplars:
            raise UserError(f"--neighbours {self.neighbours}: there are {exemplars} exemplars; give a smaller number")
        name = f"few-shot {self.shots}" + (f" by {self.neighbours}" if self.neighbours > 1 else "")

        def scorer(scored: Scored) -> Outcome:
            found = few_shot.few_shot(
                train.x, train.y, scored.x, scored.y, train.novel,
                shots=self.shots, episodes=self.episodes, seed=train.seed, neighbours=self.neighbours,
            )  # fmt: skip
            drawn = bootstrap(found.right, scored.groups.take(found.asked))
            counts = len(train.novel), self.shots, self.episodes
            return Outcome({name: Episodes(*spread(found.accuracies), *counts, drawn)})

        return scorer


@dataclasses.dataclass(frozen=True, kw_only=True)
class RetrievalProtocol:
    """Search by example, by cosine similarity: mean average precision, and recall among the first 1, 5 and 10.

    Nothing is fitted or chosen. A query never finds a recording of its own performance.
    """

    gallery: Literal["train", "test"] = option("train", "what is searched: training recordings, or the other test ones")

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.protocols.retrieval import retrieve

        def scorer(scored: Scored) -> Outcome:
            queries, gallery = _galleries(train, scored)
            try:
                found = retrieve(queries, gallery if self.gallery == "train" else queries)
            except ValueError as error:
                raise UserError(f"{error}; search another one with --gallery") from None
            drawn = bootstrap(found.each, scored.groups.take(found.asked))
            figures = Search(found.precision, *found.recall, found.queries, drawn)
            return Outcome({f"retrieval in {self.gallery}": figures})

        return scorer


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClustersProtocol:
    """How well test recordings of a class lie together: the silhouette, and distances between and within classes.

    Nothing is fitted or chosen.
    """

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.protocols.clusters import separation

        def scorer(scored: Scored) -> Outcome:
            try:
                found = separation(scored.x, scored.y)
            except ValueError as error:
                raise UserError(f"{error}; choose another --split") from None
            figures = Clusters(found.silhouette, found.ratio, found.between, found.within, len(scored.y))
            return Outcome({"clusters": figures})

        return scorer


PROTOCOLS = {
    "linear": LinearProtocol,
    "knn": KnnProtocol,
    "test": TestProtocol,
    "semi-supervised": SemiSupervisedProtocol,
    "few-shot": FewShotProtocol,
    "retrieval": RetrievalProtocol,
    "transfer": TransferProtocol,
    "long-tailed": LongTailedProtocol,
    "zero-shot": ZeroShotProtocol,
    "generalised-zero-shot": GeneralisedZeroShotProtocol,
    "clusters": ClustersProtocol,
}
Chosen = (
    LinearProtocol
    | KnnProtocol
    | TestProtocol
    | SemiSupervisedProtocol
    | FewShotProtocol
    | RetrievalProtocol
    | LongTailedProtocol
    | ZeroShotProtocol
    | ClustersProtocol
)


def _galleries(train: TrainingSet, scored: Scored) -> tuple[Gallery, Gallery]:
    """The scored and the training recordings, whose performances are numbered alike."""
    import torch

    from bonestrap.protocols.retrieval import Gallery

    numbers: dict[str, int] = {}

    def gallery(rows: TrainingSet | Scored) -> Gallery:
        performance = [numbers.setdefault(key, len(numbers)) for key in rows.keys]
        return Gallery(rows.x, rows.y, torch.tensor(performance))

    return gallery(scored), gallery(train)
