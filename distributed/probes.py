"""Is it learning? What a self-supervised loss does not say: measures of the features on a small labelled sample.

Labels are read here and never shape the weights, and the sample comes from training recordings alone: the parts are fit
and held-out training subjects, so that a curve may be used to choose a recipe without a look at the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bonestrap.augment.pipeline import Pipeline
from bonestrap.clips import Recordings
from bonestrap.layout import Layout
from bonestrap.protocols.features import extract
from bonestrap.protocols.floor import KERNEL_STRENGTHS, RawJoints, kernel_ridge_votes, raw_pipeline
from bonestrap.protocols.knn import knn_accuracy
from bonestrap.protocols.linear import RIDGE_STRENGTHS, ridge
from bonestrap.protocols.scores import wilson
from shards.reader import Resident

# A healthy encoder is far above both; one whose output no longer depends on its input falls through both.
LEAST_SPREAD = 0.02
LEAST_RANK = 2.0
PATIENCE = 3  # probes in a row: early on, features dip below for a while and come back


class Sample(NamedTuple):
    """Recordings in chunks that fit the device, and their labels (R,) on the CPU."""

    chunks: Sequence[Recordings]
    labels: Tensor

    @classmethod
    def of(cls, data: Resident, *, limit: int, chunk: int = 128) -> Sample:
        """At most `limit` labelled views of `data`, evenly spaced over its order, the same in every run."""
        labels = torch.from_numpy(data.performance_label[data.view_performance])  # -1: unknown
        views = (labels >= 0).nonzero().squeeze(1)
        views = views[torch.linspace(0, len(views) - 1, min(limit, len(views))).round().long()]
        return cls([data.recordings(part) for part in views.split(chunk)], labels[views])


class Probe:
    """Called on a cadence by the loop: kNN and linear accuracy on the held-out part, feature spread, effective rank.

    Beside them stands what raw joints of `layout` give on the same recordings, computed at the first call. `say` is
    told that once, and once when the features have collapsed and stay so. Raises ValueError if either part is empty.
    """

    def __init__(
        self,
        encoder: nn.Module,
        pipeline: Pipeline,
        *,
        layout: Layout,
        fit: Sample,
        held_out: Sample,
        say: Callable[[str], None],
    ) -> None:
        for name, sample in (("fit", fit), ("held-out", held_out)):
            if not len(sample.labels):
                raise ValueError(
                    f"The {name} part of the probe has no labelled recording: probe nothing, or label some."
                )
        self.encoder, self.pipeline, self.layout, self.say = encoder, pipeline, layout, say
        self.fit, self.held_out = fit, held_out
        self.floor: float | None = None  # of raw joints, once it is known
        self.below = 0  # probes in a row

    def __call__(self) -> dict[str, float]:
        """{"knn", "linear", "raw_joints"}: accuracies, 0..1; {"knn_low", "knn_high"}: Wilson's 95 % interval of kNN's;
        {"spread", "rank"}: of all features, see below."""
        if self.floor is None:
            self.floor = self.raw_joints()
            self.say(
                f"Raw joints give {self.floor:.1%} on the probe's {len(self.held_out.labels)} held-out recordings with "
                "all labels: what the encoder's linear probe is to be compared with."
            )
        fit_x = extract(self.encoder, self.pipeline, self.fit.chunks)
        held_x = extract(self.encoder, self.pipeline, self.held_out.chunks)
        features = torch.cat([fit_x, held_x])
        values = {"spread": feature_spread(features), "rank": effective_rank(features), "raw_joints": self.floor}
        if not features.isfinite().all():
            self.say("The encoder's features are not finite: the run is lost; lower the learning rate.")
            return values
        values["knn"] = knn_accuracy(fit_x, self.fit.labels, held_x, self.held_out.labels)
        values["knn_low"], values["knn_high"] = wilson(values["knn"], len(self.held_out.labels))
        values["linear"] = self.linear(fit_x, held_x)
        self.below = self.below + 1 if collapsed(values["spread"], values["rank"]) else 0
        if self.below == PATIENCE:
            self.say(
                f"The features have collapsed (spread {values['spread']:.3f} of 1, effective rank {values['rank']:.1f} "
                f"of {features.shape[1]}): the encoder says nearly the same of every recording."
            )
        return values

    @property
    def classes(self) -> int:
        return int(max(self.fit.labels.max(), self.held_out.labels.max())) + 1

    def linear(self, fit_x: Tensor, held_x: Tensor) -> float:
        """Ridge regression's best accuracy over its strengths: a curve to watch, chosen on what it is measured on."""
        fits = (ridge(fit_x, self.fit.labels, self.classes, strength) for strength in RIDGE_STRENGTHS)
        return max(fitted.accuracy(held_x, self.held_out.labels) for fitted in fits)

    def raw_joints(self) -> float:
        """Kernel ridge regression's accuracy on the joints themselves, the best over its strengths as well."""
        raw, plain = RawJoints(self.layout.coordinates), raw_pipeline(self.layout)
        fit_x, held_x = (extract(raw, plain, part.chunks) for part in (self.fit, self.held_out))
        votes = kernel_ridge_votes(fit_x, self.fit.labels, held_x, self.classes, KERNEL_STRENGTHS)
        return max((each.argmax(1) == self.held_out.labels).float().mean().item() for each in votes)


def feature_spread(features: Tensor) -> float:
    """Mean standard deviation of the L2-normalised features (R, D) over the recordings, in units of 1 / sqrt(D).

    1 if they are spread evenly over the sphere, 0 if they are all one point (SimSiam, section 4.1).
    """
    unit = F.normalize(features.double(), dim=1)
    return (unit.std(0, unbiased=False).mean() * features.shape[1] ** 0.5).item()


def effective_rank(features: Tensor) -> float:
    """exp(entropy) of the singular values of the centred features (R, D), normalised to sum to one (Roy & Vetterli).

    The number of directions in which recordings differ: D if evenly in all, 1 if in one, 0 if they do not differ.
    """
    centred = features.double() - features.double().mean(0)
    if not centred.isfinite().all():
        return float("nan")
    values = torch.linalg.svdvals(centred)
    if values[0] <= 1e-12 * features.double().norm():
        return 0.0
    p = values / values.sum()
    return torch.special.entr(p).sum().exp().item()


def collapsed(spread: float, rank: float) -> bool:
    """Whether features have stopped telling recordings apart."""
    return spread < LEAST_SPREAD or rank < LEAST_RANK
