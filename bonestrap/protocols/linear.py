"""Linear classifiers on frozen features: ridge regression in closed form, logistic regression, and SGD as published.

The first two standardise the features with the training rows' mean and std, have one strength of regularisation
to choose, and choose it on held-out rows that the caller names: never on the test set. The published SGD has nothing to
choose.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

RIDGE_STRENGTHS = tuple(10.0**e for e in range(-2, 5))
LOGISTIC_STRENGTHS = tuple(10.0**e for e in range(-5, 1))
GRADIENT = 1e-6  # the largest component of the gradient at which logistic regression has converged
ITERATIONS = 20_000  # of L-BFGS at most; weak penalties on correlated features take about a thousand


class NotConverged(ValueError):
    """An optimiser that stopped before its stated tolerance; one sentence that names the remedy."""


class Fitted(Protocol):
    """A classifier of feature rows."""

    def votes(self, x: Tensor) -> Tensor: ...

    def predict(self, x: Tensor) -> Tensor: ...

    def accuracy(self, x: Tensor, y: Tensor) -> float: ...


Classifier = TypeVar("Classifier", bound=Fitted)


@dataclasses.dataclass(frozen=True)
class Linear:
    """A linear classifier on raw features: logits = x @ weight.T + bias."""

    weight: Tensor  # (classes, D)
    bias: Tensor  # (classes,)

    def votes(self, x: Tensor) -> Tensor:
        """The logits of each row, (R, classes)."""
        return x.to(self.weight.dtype) @ self.weight.T + self.bias

    def predict(self, x: Tensor) -> Tensor:
        """The most likely class of each row, (R,)."""
        return self.votes(x).argmax(1)

    def accuracy(self, x: Tensor, y: Tensor) -> float:
        return (self.predict(x) == y).float().mean().item()


def _standardise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.double()
    mean, std = x.mean(0), x.std(0, unbiased=False).clamp(min=1e-6)
    return (x - mean) / std, mean, std


def _raw(weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor) -> Linear:
    """The same classifier for features that are not standardised."""
    weight = weight / std
    return Linear(weight, bias - weight @ mean)


def ridge(x: Tensor, y: Tensor, classes: int, strength: float) -> Linear:
    """Least squares to +-1 targets with an L2 penalty of `strength` on the weights, in float64."""
    z, mean, std = _standardise(x)
    target = F.one_hot(y, classes).double() * 2 - 1
    centre = target.mean(0)
    gram = z.T @ z + strength * torch.eye(z.shape[1], dtype=z.dtype)
    return _raw(torch.linalg.solve(gram, z.T @ (target - centre)).T, centre, mean, std)


def logistic(x: Tensor, y: Tensor, classes: int, strength: float) -> Linear:
    """Multinomial logistic regression, mean cross-entropy plus strength / 2 * |W|^2, in float64 by L-BFGS.

    Converged where no component of the gradient is above `GRADIENT`, on standardised features. Raises NotConverged
    where that is not reached, which features that are not finite never do.
    """
    z, mean, std = _standardise(x)
    weight = torch.zeros(classes, z.shape[1], dtype=z.dtype, requires_grad=True)
    bias = torch.zeros(classes, dtype=z.dtype, requires_grad=True)
    # Nothing but the gradient and the limit ends the search: torch's other two would, early and in silence.
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=ITERATIONS,
        max_eval=2 * ITERATIONS,
        tolerance_grad=GRADIENT,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(z @ weight.T + bias, y) + strength / 2 * weight.square().sum()
        loss.backward()
        return loss

    if not z.isfinite().all():
        raise NotConverged("features hold numbers that are not finite: evaluate another model, or train this one again")
    optimizer.step(closure)
    closure()
    largest = max(part.grad.abs().max().item() for part in (weight, bias) if part.grad is not None)
    if not largest <= GRADIENT:
        raise NotConverged(
            f"logistic regression with a penalty of {strength:g} stopped at a gradient of {largest:.1e}, above "
            f"{GRADIENT:g}: choose ridge regression"
        )
    return _raw(weight.detach(), bias.detach(), mean, std)


def sgd(x: Tensor, y: Tensor, classes: int, seed: int) -> Linear:
    """Multinomial logistic regression as Moliner et al. trains it (section 4.3), on features as they are, in float32.

    100 epochs of batches of 256 in an order of the seed, momentum 0.9, no weight decay, learning rate 30, a tenth of it
    from epoch 60 and a hundredth from epoch 80.
    """
    x = x.float()
    generator = torch.Generator().manual_seed(seed)
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=30.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[60, 80])
    for _ in range(100):
        for rows in torch.randperm(len(x), generator=generator).split(256):
            optimizer.zero_grad()
            F.cross_entropy(x[rows] @ weight.T + bias, y[rows]).backward()
            optimizer.step()
        schedule.step()
    return Linear(weight.detach(), bias.detach())


def normalised_sgd(x: Tensor, y: Tensor, classes: int, seed: int) -> Linear:
    """As MAMP and STARS train it: features normalised by batch statistics without scale or shift, then a linear layer.

    100 epochs of batches of 256 in an order of the seed, momentum 0.9, no weight decay, learning rate 0.1 falling to 0
    along a cosine over the epochs (Mehraban et al., section 4.3; batch normalisation as in the public code).
    """
    x = x.float()
    generator = torch.Generator().manual_seed(seed)
    norm = torch.nn.BatchNorm1d(x.shape[1], affine=False)
    weight = torch.zeros(classes, x.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    for _ in range(100):
        for rows in torch.randperm(len(x), generator=generator).split(256):
            if len(rows) > 1:  # one row has no variance
                optimizer.zero_grad()
                F.cross_entropy(norm(x[rows]) @ weight.T + bias, y[rows]).backward()
                optimizer.step()
        schedule.step()
    assert norm.running_mean is not None and norm.running_var is not None
    return _raw(weight.detach(), bias.detach(), norm.running_mean, (norm.running_var + norm.eps).sqrt())


def accuracy(classifier: Fitted, x: Tensor, y: Tensor) -> float:
    """What `select` chooses by unless it is told otherwise."""
    return classifier.accuracy(x, y)


def balanced_accuracy(classifier: Fitted, x: Tensor, y: Tensor) -> float:
    """The mean over the classes that occur of the share that is right."""
    right = (classifier.predict(x) == y).double()
    count = torch.bincount(y)
    return (torch.bincount(y, weights=right)[count > 0] / count[count > 0]).mean().item()


def select(
    fit: Callable[[Tensor, Tensor, int, float], Classifier],
    strengths: Sequence[float],
    x: Tensor,
    y: Tensor,
    held_out: Tensor,
    classes: int,
    scorer: Callable[[Fitted, Tensor, Tensor], float] = accuracy,
) -> tuple[Classifier, float, float]:
    """Fit on the rows outside `held_out` (bool mask), choose the strength on the rows inside, refit on all rows.

    Returns the classifier, the chosen strength and its score on the held-out rows. Of equals, the stronger
    wins.
    """
    scored = [
        (scorer(fit(x[~held_out], y[~held_out], classes, s), x[held_out], y[held_out]), s) for s in strengths
    ]  # fmt: skip
    best, strength = max(scored)
    return fit(x, y, classes, strength), strength, best
