"""What a run trains on: one folder of shards, or several that are pooled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bonestrap.clips import Recordings
from bonestrap.layout import Layout
from bonestrap.options import UserError
from distributed.probes import Sample
from evaluation import trained
from evaluation.features import adaptation
from evaluation.models import chunks
from launch.training.options import Options
from shards import splits
from shards.loader import Loader, balanced_subset
from shards.manifest import Manifest
from shards.mixture import Mixture, Part, part_plan, retargeted
from shards.order import Plan
from shards.pool import Pooled
from shards.reader import Resident
from shards.splits import Split
from shards.storage.folder import spoken

if TYPE_CHECKING:
    import torch

    from bonestrap.model import Model
    from launch.training.training import Training
    from shards.reading import Recorded

PROBED = 1000  # recordings a part of a probe
CALIBRATED = 1024  # recordings whose batch statistics a new encoder begins with


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The recordings of a run."""

    layout: Layout  # as the encoder sees them
    manifest: Manifest  # of the folder, or of the first
    loader: Loader | Mixture
    some: Callable[[], Iterable[Recordings]]  # up to CALIBRATED of them
    fingerprints: np.ndarray  # of those that train; see `evaluation.trained`
    labelled: int | None = None  # recordings whose labels are used, where a fraction of them was asked for
    lineage: dict[str, Any] = dataclasses.field(default_factory=dict)  # what a model says of them beside the manifest


def open_data(training: Training, options: Options, source: Model | None, device: torch.device) -> TrainingData:
    """The recordings that train. `source` is the model that learns further or teaches: its layout is the run's."""
    plan = options.plan(batch=training.schedule.batch, group=training.schedule.group, seed=options.seed)
    if training.pool is not None:
        return _of_pool(training, training.pool, options, plan, device)
    return _of_folder(training, options, plan, source, device)


def _of_folder(
    training: Training, options: Options, plan: Plan, source: Model | None, device: torch.device
) -> TrainingData:
    unit, pairs, labels = training.method.input
    packed, subset = recordings(training, options, splits.find(options.manifest.name, training.split), device)
    layout, data, own = packed.layout, packed, trained.fingerprints(packed)
    if source is not None:
        layout, adapt = source.layout, adaptation(source, packed)
        if adapt.changes:
            if not isinstance(packed, Resident):
                raise UserError(
                    f"{spoken(options.data)} holds layout {packed.layout.name} and the model was made for "
                    f"{layout.name}: a stream is not brought into another layout here, give --stream no"
                )
            data = retargeted(packed, adapt)
    return TrainingData(
        layout=layout,
        manifest=packed.manifest,
        loader=Loader(data, plan, unit=unit, pairs=pairs, labels=labels, subset=subset),
        some=lambda: (data.recordings(chunk) for chunk in chunks(min(len(data), CALIBRATED))),
        fingerprints=own if subset is None else own[subset],
        labelled=None if subset is None else len(subset),
        lineage={} if source is None else inherited(source),
    )


def inherited(source: Model) -> dict[str, Any]:
    """What a model keeps of the lineage of the one that it is made from: how recordings come to its joints."""
    lineage = source.description.lineage
    return {name: lineage[name] for name in ("rate", "joints") if name in lineage}


def recordings(
    training: Training, options: Options, split: Split, device: torch.device
) -> tuple[Recorded, np.ndarray | None]:
    """The training recordings of a folder, and which of them have a label that is used (None: all)."""
    select = split.fit if options.hold_out else split.train
    if training.method.input.labels:
        select = splits.labelled(select)
    data = training.composition.chosen(options.open(select, device), options.seed)
    if training.labels is None:
        return data, None
    return data, balanced_subset(data.labels(range(len(data))).cpu().numpy(), training.labels, options.seed)


def _of_pool(training: Training, pool: Pooled, options: Options, plan: Plan, device: torch.device) -> TrainingData:
    unit, pairs, labels = training.method.input
    parts, known = [], []
    for number, corpus in enumerate(pool.corpora):
        reading = dataclasses.replace(options, data=corpus.data)
        split = splits.find(corpus.name, corpus.split)
        packed = reading.open(split.fit if options.hold_out else split.train, device)
        known.append(trained.fingerprints(packed))  # now: the frames as packed are not kept
        retarget = pool.retarget(corpus, packed.layout)
        data, rest = (retargeted(packed, retarget), None) if isinstance(packed, Resident) else (packed, retarget)
        loader = Loader(data, part_plan(plan, number), unit=unit, pairs=pairs, labels=labels)
        parts.append(Part(loader=loader, retarget=rest))
    fractions = pool.fractions([len(part.loader.items) for part in parts])
    mixture = Mixture(parts, fractions, plan, single=pool.groups == "single")
    corpora = [
        {**corpus.about, "recordings": len(part.loader.data), "fraction": fraction}
        for corpus, part, fraction in zip(pool.corpora, parts, mixture.fractions, strict=True)
    ]
    about = pool.about
    return TrainingData(
        layout=pool.layout,
        manifest=options.manifest,
        loader=mixture,
        some=lambda: _first(mixture),
        fingerprints=np.concatenate(known),
        lineage={"corpora": corpora, "rate": pool.rate, "joints": about["joints"]},
    )


def _first(mixture: Mixture) -> Iterator[Recordings]:
    """The first view of the first clips that train: of every folder its fraction."""
    for slot in range(-(-CALIBRATED // mixture.plan.group)):
        yield mixture.group(*divmod(slot, mixture.groups)).views[0]


def probed(training: Training, options: Options, device: torch.device) -> tuple[Sample, Sample, Layout] | None:
    """Recordings to fit a probe on and held-out ones to measure on, and their layout; None where none have labels.

    Of several folders those of the first, in the skeleton.
    """
    split = splits.find(options.manifest.name, training.split)
    parts = [splits.labelled(part) for part in (split.fit, split.held_out)]
    if not all(options.counts(*parts)):
        return None
    found = [options.sample(part, PROBED, device) for part in parts]
    layout = found[0].layout
    if training.pool is not None:
        retarget = training.pool.retarget(training.pool.corpora[0], layout)
        layout, found = retarget.layout, [retargeted(data, retarget) for data in found]
    fit, held_out = (Sample.of(data, limit=PROBED) for data in found)
    return fit, held_out, layout
