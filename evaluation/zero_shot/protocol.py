"""Zero-shot protocols: classes of which no recording is ever shown, recognised by their texts.

Training and selection get `Seen`: the training recordings of seen classes and the texts of these. Texts of unseen
classes are used when the test recordings are scored, and their recordings in training subjects never.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from bonestrap.bounds import WIDE, Bounded, Bounds
from bonestrap.options import UserError, option
from bonestrap.protocols.scores import spread, wilson
from bonestrap.text import MiniLM, TextEncoder, TextError
from bonestrap.zero_shot import PUBLISHED, SADVAEConfig
from evaluation.scoring import Generalised, Outcome, Scored, Scorer, TrainingSet, ZeroShot
from evaluation.zero_shot.class_splits import check, drawn, named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from bonestrap.zero_shot.alignment import Alignment, Chosen, Seen
    from bonestrap.zero_shot.generalised import Recogniser
    from bonestrap.zero_shot.ridge import TextRidge
    from bonestrap.zero_shot.scaling import Scaling
    from bonestrap.zero_shot.texts import ClassTexts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Describing(Bounded):
    """Where the texts of classes come from, and what makes them into features."""

    texts: Path | None = option(
        None, ".npy file of features, one row a class, as launch/describe.py writes; none describes the classes here"
    )
    describe: Literal["names", "descriptions", "both"] = option(
        "descriptions", "texts of a class: its name, its long descriptions, or both"
    )
    descriptions: Path | None = option(
        None, "file of descriptions, lines `class: text | text`; none takes ours of the data set"
    )
    average: bool = option(True, "one feature a class, the mean of its texts; no: each text counts on its own")
    text: TextEncoder = MiniLM()

    def features(self, dataset: str, names: Sequence[str]) -> ClassTexts:
        """Of the classes of a data set, in their order. UserError where a class has no text."""
        from bonestrap.zero_shot.texts import class_texts, grouped, load

        try:
            if self.texts is not None:
                return load(self.texts, names)
            each = class_texts(dataset, names, self.describe, self.descriptions)
            found = self.text.encode([text for one in each for text in one])
        except TextError as error:
            raise UserError(str(error)) from None
        return grouped(found, [len(one) for one in each], average=self.average)


class ClassSplit(NamedTuple):
    """Which classes are seen and unseen."""

    seen: tuple[int, ...]
    unseen: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroShotProtocol(Describing):
    """Recordings of unseen classes alone, told apart by texts: SA-DVAE on frozen features of seen classes.

    Beside it, ridge regression from features to texts. Cycles and strengths are chosen on held-out seen classes. The
    mean over class splits has Student's interval; a single split has Wilson's.
    """

    unseen: tuple[str, ...] = option(
        (), "class splits, each by its unseen classes: a published one (55/5), a file (.npy, or a class a line), or "
        "numbers (from 0) or names separated by commas; none draws them",
    )  # fmt: skip
    count: int | None = option(None, "unseen classes of a drawn split; none: a fifth of the classes", Bounds(2, WIDE))
    splits: int = option(3, "drawn splits; all there are, if these are no more", Bounds(1, 100_000))
    among: Literal["all", "left-out"] = option(
        "all", "left-out: draw unseen classes among those that pretraining left out, --classes.leave-out"
    )
    published: bool = option(False, "the paper's sizes and rates for this data set in place of --method")
    method: SADVAEConfig = SADVAEConfig()

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.zero_shot.alignment import Alignment
        from bonestrap.zero_shot.ridge import choose_ridge

        texts, splits, config = self.prepared(train)
        learned: list[tuple[Alignment, TextRidge, int]] = []
        for scaling, seen, chosen in chosen_for(config, train, texts, splits):
            ridge = choose_ridge(seen, len(splits[len(learned)].unseen), train.seed)
            learned.append((Alignment(scaling, chosen.model), ridge, chosen.cycles))

        def scorer(scored: Scored) -> Outcome:
            def figures(votes: Callable[[int, Tensor, ClassTexts], Tensor], cycles: tuple[int, ...]) -> ZeroShot:
                return over_splits(splits, scored, texts, votes, cycles)

            def aligned(number: int, x: Tensor, asked: ClassTexts) -> Tensor:
                return learned[number][0].votes(x, asked, train.seed)

            def by_ridge(number: int, x: Tensor, asked: ClassTexts) -> Tensor:
                alignment, found, _ = learned[number]
                return found.votes(alignment.scaling(x.float()), asked)

            name = self.name("zero-shot", splits)
            return Outcome(
                {
                    name: figures(aligned, tuple(each[2] for each in learned)),
                    f"{name} ridge": figures(by_ridge, ()),
                }
            )

        return scorer

    def prepared(self, train: TrainingSet) -> tuple[ClassTexts, list[ClassSplit], SADVAEConfig]:
        """The texts of all classes, the class splits, and the method's settings for them."""
        config = settings_of(self.method, self.published, train.dataset, fixed=bool(self.unseen))
        return self.features(train.dataset, train.names), self.class_splits(train), config

    def class_splits(self, train: TrainingSet) -> list[ClassSplit]:
        """As asked for. Seen classes have training recordings. UserError where a split leaves too few."""
        names = train.names
        there = set(train.y.unique().tolist())
        if self.unseen:
            found = named(self.unseen, train.dataset, names)
        else:
            among = sorted(there if self.among == "all" else train.left_out)
            count = self.count or max(2, round(len(names) / 5))
            if len(among) < count:
                raise UserError(
                    f"--among left-out: pretraining left out {len(among)} classes, and --count is {count}; pretrain "
                    "with --classes.leave-out, or give --among all"
                )
            found = drawn(among, count, self.splits, seed=0)
        out = [ClassSplit(tuple(sorted(there - set(unseen))), unseen) for unseen in found]
        for split in out:
            check(split.unseen, len(split.seen) + len(split.unseen), f"--unseen {listed(split)}")
        return out

    def name(self, protocol: str, splits: Sequence[ClassSplit]) -> str:
        """What the evaluation is called: a result of other settings does not replace it."""
        first = splits[0]
        parts = [protocol, f"{len(first.seen)}/{len(first.unseen)}"]
        parts += [f"x{len(splits)}"] if len(splits) > 1 else []
        parts += ["without disentanglement"] if not self.method.style else []
        parts += ["without penalty"] if self.method.style and not self.method.penalty else []
        parts += [self.describe] if self.describe != "descriptions" and self.texts is None else []
        return " ".join(parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneralisedZeroShotProtocol(ZeroShotProtocol):
    """Recordings of seen and unseen classes: accuracy on either side, and their harmonic mean.

    A gate decides which classifier answers; it is fitted on held-out seen classes and held-out training subjects.
    Beside it, ridge regression from features to texts, nearest of all texts.
    """

    def learn(self, train: TrainingSet) -> Scorer:
        from bonestrap.zero_shot.generalised import fit_recogniser
        from bonestrap.zero_shot.ridge import choose_ridge

        texts, splits, config = self.prepared(train)
        learned: list[tuple[Scaling, Recogniser, TextRidge]] = []
        for scaling, seen, chosen in chosen_for(config, train, texts, splits):
            hidden = len(splits[len(learned)].unseen)
            recogniser = fit_recogniser(config, seen, chosen, hidden, train.seed)
            learned.append((scaling, recogniser, choose_ridge(seen, hidden, train.seed)))

        def scorer(scored: Scored) -> Outcome:
            def gated(number: int, x: Tensor) -> Tensor:
                scaling, recogniser, _ = learned[number]
                return recogniser.predict(scaling(x.float()), texts.of(splits[number].unseen), train.seed)

            def ridge(number: int, x: Tensor) -> Tensor:
                scaling, _, found = learned[number]
                asked = texts.of([*splits[number].seen, *splits[number].unseen])
                return found.votes(scaling(x.float()), asked).argmax(1)

            name = self.name("generalised zero-shot", splits)
            return Outcome(
                {name: both_sides(splits, scored, gated), f"{name} ridge": both_sides(splits, scored, ridge)}
            )

        return scorer


def listed(split: ClassSplit) -> str:
    """Its unseen classes, as one gives them."""
    return ",".join(map(str, split.unseen))


def settings_of(method: SADVAEConfig, published: bool, dataset: str, *, fixed: bool) -> SADVAEConfig:
    """The method's settings, or the paper's for fixed or random splits, without what the method leaves out.

    UserError where none were published.
    """
    if not published:
        return method
    found = PUBLISHED.get((dataset, "fixed" if fixed else "random"))
    if found is None:
        raise UserError(f"--published: the paper has no settings for {dataset} and such splits; leave it out")
    ablated: dict[str, Any] = {name: 0 for name in ("style", "penalty") if not getattr(method, name)}
    return dataclasses.replace(found, **ablated)


def seen_of(x: Tensor, y: Tensor, held_out: Tensor, texts: ClassTexts, split: ClassSplit) -> Seen:
    """All that training and selection get: recordings and texts of seen classes, numbered in their order."""
    import torch

    from bonestrap.zero_shot.alignment import Seen

    rows = torch.isin(y, torch.tensor(split.seen))
    number = torch.searchsorted(torch.tensor(split.seen), y[rows])
    return Seen(x[rows].float(), number, texts.of(split.seen), held_out[rows])


def chosen_for(
    config: SADVAEConfig, train: TrainingSet, texts: ClassTexts, splits: Sequence[ClassSplit]
) -> list[tuple[Scaling, Seen, Chosen]]:
    """For each class split the scaling, the seen recordings in it, and the network."""
    from bonestrap.zero_shot.alignment import choose_and_fit, scaled

    parts = [scaled(seen_of(train.x, train.y, train.held_out, texts, split), config) for split in splits]
    hidden = [len(split.unseen) for split in splits]
    found = choose_and_fit(config, [seen for _, seen in parts], hidden, train.seed)
    return [(*part, chosen) for part, chosen in zip(parts, found, strict=True)]


def over_splits(
    splits: Sequence[ClassSplit],
    scored: Scored,
    texts: ClassTexts,
    votes: Callable[[int, Tensor, ClassTexts], Tensor],
    cycles: tuple[int, ...],
) -> ZeroShot:
    """Accuracy on the recordings of unseen classes, split by split."""
    import torch

    from bonestrap.zero_shot.alignment import balanced

    runs, by_class, counts = [], [], []
    for number, split in enumerate(splits):
        rows = torch.isin(scored.y, torch.tensor(split.unseen))
        if not rows.any():
            raise UserError(f"no test recording is of the unseen classes {listed(split)}: choose others")
        truth = torch.searchsorted(torch.tensor(split.unseen), scored.y[rows])
        predicted = votes(number, scored.x[rows], texts.of(split.unseen)).argmax(1)
        runs.append((predicted == truth).double().mean().item())
        by_class.append(balanced(predicted, truth))
        counts.append(len(truth))
    low, high = wilson(runs[0], counts[0]) if len(runs) == 1 else spread(runs)[2:]
    chance = sum(1 / len(split.unseen) for split in splits) / len(splits)
    return ZeroShot(
        spread(runs).mean, spread(runs).std, low, high, spread(by_class).mean, chance, tuple(runs),
        tuple(split.unseen for split in splits), cycles,
    )  # fmt: skip


def both_sides(splits: Sequence[ClassSplit], scored: Scored, predict: Callable[[int, Tensor], Tensor]) -> Generalised:
    """Accuracy on seen and on unseen classes, split by split, where a recording may be of either."""
    import torch

    sides = []
    for number, split in enumerate(splits):
        order = torch.tensor([*split.seen, *split.unseen])
        rows = torch.isin(scored.y, order)
        right = order[predict(number, scored.x[rows])] == scored.y[rows]
        unseen = torch.isin(scored.y[rows], torch.tensor(split.unseen))
        if not unseen.any() or unseen.all():
            raise UserError(f"the test recordings are all of one side of {listed(split)}: choose others")
        sides.append((right[~unseen].double().mean().item(), right[unseen].double().mean().item()))
    runs = [2 * s * u / (s + u) if s + u else 0.0 for s, u in sides]
    return Generalised(
        *spread(runs), spread([s for s, _ in sides]).mean, spread([u for _, u in sides]).mean, tuple(runs),
        tuple(split.unseen for split in splits), tuple(sides),
    )  # fmt: skip
