"""Optimizers and the learning-rate schedule. Importing this needs no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from bonestrap.bounds import DECAY, EPOCHS, FRACTION, RATE, WIDE, Bounded, Bounds
from bonestrap.options import option

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bonestrap.methods.method import Method

START = 1e-6  # learning rate at the beginning of a warm-up (Moliner et al., section 4.2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(Bounded):
    """What every optimizer is given. Learning rates belong to the batch as given: change both together."""

    kind: ClassVar[str] = ""
    learning_rate: float = option(0.2, "peak, after the warm-up", RATE)
    weight_decay: float = option(1e-4, "penalty on the weights", DECAY)
    decay_all: bool = option(True, "decay biases and the parameters of normalisation layers, too")
    layer_decay: float = option(
        1.0, "factor of the learning rate for each encoder layer further from the output", FRACTION
    )

    def build(self, method: Method) -> torch.optim.Optimizer:
        """The optimizer of a method; a param group's "scale" is its factor of the learning rate."""
        raise NotImplementedError

    def groups(self, method: Method) -> list[dict[str, Any]]:
        """The method's groups, divided further where layers decay or some parameters do not."""
        depth = _depths(method) if self.layer_decay < 1 else {}
        out: list[dict[str, Any]] = []
        for group in method.parameter_groups():
            parts: dict[tuple[int, bool], list[nn.Parameter]] = {}
            for name, parameter in group.parameters:
                decays = self.decay_all or (parameter.ndim > 1 and name.rpartition(".")[2] != "bias")
                parts.setdefault((depth.get(parameter, 0), decays), []).append(parameter)
            for (above, decays), parameters in parts.items():
                decay = {} if decays else {"weight_decay": 0.0}
                out.append({"params": parameters, "scale": group.scale * self.layer_decay**above, **decay})
        return out

    @staticmethod
    def kinds() -> Mapping[str, type[OptimizerConfig]]:
        """The optimizers that come with Bonestrap."""
        return OPTIMIZERS


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(OptimizerConfig):
    """Stochastic gradient descent with momentum; the weight decay is an L2 penalty."""

    kind: ClassVar[str] = "sgd"
    momentum: float = option(0.9, "of the gradient", Bounds(0, 1, below=True))

    def build(self, method: Method) -> torch.optim.SGD:
        from bonestrap.sgd import SGD as Plain

        return Plain(self.groups(method), lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW(OptimizerConfig):
    """Adam with decoupled weight decay (Loshchilov and Hutter), as transformers are trained."""

    kind: ClassVar[str] = "adamw"
    learning_rate: float = option(1e-3, "peak, after the warm-up", RATE)
    weight_decay: float = option(0.05, "decoupled decay of the weights", DECAY)
    decay_all: bool = option(False, "decay biases and the parameters of normalisation layers, too")
    betas: tuple[float, float] = option((0.9, 0.95), "of the two moving averages", Bounds(0, 1, below=True))

    def build(self, method: Method) -> torch.optim.AdamW:
        import torch

        return torch.optim.AdamW(
            self.groups(method), lr=self.learning_rate, betas=self.betas, weight_decay=self.weight_decay
        )


OPTIMIZERS: dict[str, type[OptimizerConfig]] = {"sgd": SGD, "adamw": AdamW}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule(Bounded):
    """How long and in what portions; the learning rate rises linearly and falls along a cosine."""

    epochs: float = option(1600.0, "passes over the performances", EPOCHS)
    batch: int = option(512, "clips a step, all workers together", Bounds(1, WIDE))
    group: int = option(
        128, "clips normalised together; the result does not depend on the number of workers", Bounds(1, WIDE)
    )
    warmup: float = option(10.0, "epochs of linear warm-up from 1e-6", Bounds(0, EPOCHS.most))
    floor: float = option(0.0, "fraction of the peak learning rate that is left at the end", Bounds(0, 1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup >= self.epochs:
            raise ValueError(
                f"epochs must be more than the {self.warmup:g} of the warm-up, got {self.epochs:g}: give a smaller "
                "--schedule.warmup as well"
            )
        if self.batch % self.group:
            raise ValueError(f"group must divide the batch of {self.batch}, got {self.group}")


def cosine(peak: float, steps: int, warmup: int = 0, floor: float = 0.0) -> Callable[[int], float]:
    """Linear from `START` to `peak` over the warm-up, then a cosine down to `floor` times the peak."""

    def rate(step: int) -> float:
        if step < warmup:
            return START + (peak - START) * step / warmup
        fall = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
        return peak * (floor + (1 - floor) * fall)

    return rate


def _depths(method: Method) -> dict[nn.Parameter, int]:
    """How many encoder layers lie between each parameter of the encoder and the head; at least one.

    What is in no layer, such as the embedding of positions, counts as the first one.
    """
    layers = list(method.encoder.layers())
    depths = dict.fromkeys(method.encoder.parameters(), len(layers))
    return depths | {p: len(layers) - index for index, layer in enumerate(layers) for p in layer.parameters()}
