#!/usr/bin/env python3
"""What bf16 changes in a gradient, beside what drawing another batch changes in it.

A recipe is trained in float32. At some of its steps the gradient of many batches is taken twice, in float32 and in
bf16, with the same weights, recordings and draws, and nothing is learned from them. Shares are of the length of the
mean gradient in float32:

  another batch   how far the gradient of one batch lies from the mean: the noise that training lives with
  rounding        how far the bf16 gradient of a batch lies from its float32 gradient
  bias            the part of this that does not average out over batches, which alone could lead training elsewhere;
                  beside it the least that so many batches can tell from nothing
  cosine          of the mean gradients of both kinds

Examples:
  python -m benchmarks.rounding --data packed/synthetic
  python -m benchmarks.rounding --data packed/ntu60 --recipe ntu60 --at 0 500 2000 --steps 42000 --batches 32
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from benchmarks.rates import table
from bonestrap.augment.pipeline import Pipeline
from bonestrap.methods.config import Task
from bonestrap.methods.method import Method
from bonestrap.optim import cosine
from bonestrap.protocols.floor import calibrate
from evaluation.models import chunks
from launch.recipes import RECIPES, Recipe
from shards import splits
from shards.loader import Loader, Plan
from shards.reader import Resident
from shards.reading import Reading

OTHERS = 1_000_000  # the step whose batches, and those after it, training does not reach


class Pairs:
    """Gradients of the same batches in float32 and in bf16, as sums: nothing is kept but two vectors."""

    def __init__(self) -> None:
        self.count = 0
        self.exact = self.off = torch.zeros(())  # sums of the float32 gradients and of the differences to them
        self.exact_squares = self.off_squares = 0.0

    def add(self, exact: Tensor, rounded: Tensor) -> None:
        off = rounded - exact
        self.count += 1
        self.exact, self.off = self.exact + exact, self.off + off
        self.exact_squares += float(exact.square().sum())
        self.off_squares += float(off.square().sum())

    def shares(self) -> dict[str, float]:
        """What the module's docstring lists, of two batches or more."""
        n, mean, off = self.count, self.exact / self.count, self.off / self.count
        length = float(mean.norm())
        sampling = (self.exact_squares / n - length**2) * n / (n - 1)
        scatter = (self.off_squares / n - float(off.square().sum())) / (n - 1)  # of the mean difference, squared
        return {
            "another batch": max(sampling, 0.0) ** 0.5 / length,
            "rounding": (self.off_squares / n) ** 0.5 / length,
            "bias": max(float(off.square().sum()) - scatter, 0.0) ** 0.5 / length,
            "least": max(scatter, 0.0) ** 0.5 / length,
            "cosine": float(torch.cosine_similarity(mean, mean + off, dim=0)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of packed shards, or its address")
    parser.add_argument("--recipe", default="byol-small", choices=RECIPES, help="as launch/pretrain.py takes it")
    parser.add_argument("--steps", type=int, default=480, help="of the schedule of which the first are trained")
    parser.add_argument("--at", type=int, nargs="+", default=[0, 60, 240], help="steps at which gradients are compared")
    parser.add_argument("--batches", type=int, default=64, help="compared at each, two or more")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and draws")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    if options.batches < 2 or not all(0 <= step < options.steps for step in options.at):
        parser.error("--batches must be at least 2, and every step of --at below --steps")
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    recipe = RECIPES[options.recipe]()
    loader, method = build(recipe, options.data, options.seed, options.steps, device)
    warmup = round(options.steps * warm(recipe))
    rate = cosine(recipe.optimizer.learning_rate, options.steps, warmup, recipe.schedule.floor)
    optimizer = recipe.optimizer.build(method)
    began, rows = time.perf_counter(), []
    for step in range(max(options.at) + 1):
        if step in options.at:
            rows.append((str(step), *shown(compared(method, loader, options.batches).shares())))
            print(f"step {step}: {options.batches} batches, {time.perf_counter() - began:.0f} s", flush=True)
        gradient(method, loader, step, half=False)
        for group in optimizer.param_groups:
            group["lr"] = rate(step) * group["scale"]
        optimizer.step()
        method.after_step(step)
    print(f"\n{options.recipe}, {loader.plan.batch} clips a batch, torch {torch.__version__}, {device}\n")
    print(table(("step", "another batch", "rounding", "bias", "least", "cosine"), rows))


def warm(recipe: Recipe) -> float:
    """The fraction of the schedule that is its warm-up."""
    return recipe.schedule.warmup / recipe.schedule.epochs


def build(recipe: Recipe, data: str, seed: int, steps: int, device: torch.device) -> tuple[Loader, Method]:
    """What launch/pretrain.py trains: recordings of the split's training part, and a new network."""
    split = splits.find(Reading(data=data).manifest.name, recipe.split)
    resident = Resident.load(data, select=split.train, device=device)
    plan = Plan(batch=recipe.schedule.batch, group=recipe.schedule.group, seed=seed)
    unit, pairs, labels = recipe.method.input
    loader = Loader(resident, plan, unit=unit, pairs=pairs, labels=labels)
    torch.manual_seed(seed)
    encoder = recipe.encoder.build(resident.layout, recipe.clip).to(device)
    plain = Pipeline(resident.layout, recipe.clip)
    calibrate(encoder, plain, (resident.recordings(chunk) for chunk in chunks(min(len(resident), 1024))))
    task = Task(resident.layout, recipe.clip, steps, len(resident.manifest.classes) if labels else 0)
    return loader, recipe.method.build(encoder, task).to(device)


def compared(method: Method, loader: Loader, batches: int) -> Pairs:
    """Gradients of batches that training does not draw, at the weights as they are."""
    pairs = Pairs()
    for number in range(OTHERS, OTHERS + batches):
        pairs.add(*(gradient(method, loader, number, half=half) for half in (False, True)))
        method.moments.zero_()
    return pairs


def gradient(method: Method, loader: Loader, number: int, *, half: bool) -> Tensor:
    """Of one batch, left in the parameters, and as one vector of float64."""
    method.zero_grad()
    for group in range(loader.groups):
        batch = loader.group(number, group)
        with torch.autocast(batch.views[0].frames.device.type, torch.bfloat16, enabled=half):
            loss = method(batch, number)["loss"]
        (loss / loader.groups).backward()
    return torch.cat([p.grad.flatten().double() for p in method.parameters() if p.grad is not None])


def shown(shares: dict[str, float]) -> list[str]:
    *lengths, cosine_of_means = shares.values()
    return [*(f"{share:.1%}" for share in lengths), f"{cosine_of_means:.5f}"]


if __name__ == "__main__":
    main()
