#!/usr/bin/env python3
"""Align an encoder with texts, so that it recognises actions that it was never shown (SA-DVAE, Li et al. 2024).

The encoder is frozen. Two small autoencoders, of its features and of texts, are trained on the seen classes; how long
is chosen on classes held out from them. The model that comes of it ranks any texts: model.predict(joints, texts=[...]).
Evaluate the method with `launch/evaluate.py zero-shot`, which does the same for every class split.

Examples:
  python launch/align.py --model runs/pretrained --data packed/nw-ucla --run runs/aligned
  python launch/align.py --model runs/pretrained --data packed/nw-ucla --unseen 1,4 --run runs/without-two
  python launch/align.py --model runs/ntu --data packed/ntu60 --unseen 55/5 --published --run runs/ntu-aligned
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.bounds import SEED, Bounds
from bonestrap.config import to_json
from bonestrap.options import UserError, option, required
from bonestrap.zero_shot import SADVAEConfig
from distributed.record import Record, prepared
from distributed.tracking import Dataset, Tracking, add, recording
from evaluation.models import load_model, located, split_of
from evaluation.provenance import provenance
from evaluation.zero_shot.class_splits import check, named
from evaluation.zero_shot.protocol import ClassSplit, Describing, seen_of, settings_of
from launch.cli.parser import start
from launch.training.conclusion import sized
from launch.training.registration import register_finished
from launch.training.run import DIGEST, flat, hours_before, mlflow_run
from shards.reading import Reading
from shards.storage.folder import resolved, spoken

if TYPE_CHECKING:
    import torch

    from bonestrap.model import Model
    from bonestrap.zero_shot.alignment import Alignment
    from bonestrap.zero_shot.texts import ClassTexts
    from evaluation.features import EvaluationData
    from shards.manifest import Manifest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Reading, Describing):
    model: Path = required("model or run directory of the encoder")
    run: Path = required("run directory, for the model and what was chosen")
    split: str | None = option(None, "whose training recordings are used; none takes the encoder's")
    unseen: str | None = option(
        None, "classes whose recordings are not used: a published split (55/5), a file, numbers or names; none uses all"
    )
    published: bool = option(False, "the paper's sizes and rates for this data set in place of --method")
    method: SADVAEConfig = SADVAEConfig()
    seed: int = option(0, "of weights, batches and noise", Bounds(0, SEED))
    experiment: str = option("align", "MLflow experiment")
    track: bool = option(True, "send the journal to MLflow")
    register: bool = option(True, "register the finished model in MLflow, where the run is tracked")


def main(options: Options) -> None:
    from evaluation.features import open_data

    run = resolved(options.run)
    options, _ = dataclasses.replace(options, model=located(options.model)).resolve_streaming(workers=1, cuda=False)
    source, manifest = load_model(options.model), options.manifest
    config = settings_of(options.method, options.published, manifest.name, fixed=options.unseen is not None)
    split = options.split or split_of(source)
    settings = {
        **{key: to_json(getattr(options, key)) for key in ("texts", "describe", "descriptions", "average", "unseen")},
        **{"text": to_json(options.text), "method": to_json(config), "model": str(options.model), "split": split},
        **{"hold_out": False, "seed": options.seed, "precision": "fp32", "digest": manifest.digest},
    }
    info = provenance()
    with prepared(run, record := Record.of(settings, info), None):
        data = open_data(options, split, choosing=False)
        texts = options.features(manifest.name, manifest.classes)
        tracking = tracked(options, source, manifest, settings, info) if options.track else None
        record.write(run)
        with recording(run, tracking, 0, print) as journal:
            began = time.time()
            classes = class_split(options, data, manifest)
            alignment, cycles, scores = aligned(options, config, source, data, texts, classes)
            for number, score in enumerate(scores, 1):
                journal.write(number, {"held_out_classes": score})
            hours = (time.time() - began) / 3600
            journal.write(cycles, {"device_hours": hours})
            told = lineage(options, source, data, classes, split, cycles, hours)
            model = model_of(options, config, source, alignment, texts, told)
            ship(options, model, data, classes, split)
    print(
        f"{run / 'model'}: aligned with {manifest.name} texts on {len(classes.seen)} seen classes, {cycles} cycles, "
        f"{max(scores):.1%} on held-out ones"
    )
    if tracking is not None:
        add(run, sized(model))
        if options.register:
            register_finished(run)


def class_split(options: Options, data: EvaluationData, manifest: Manifest) -> ClassSplit:
    """The classes that are learnt from, which have recordings, and those that are not."""
    from evaluation.candidates import labels_of

    there = set(labels_of(data.train).unique().tolist())
    unseen = named([options.unseen], manifest.name, manifest.classes)[0] if options.unseen else ()
    split = ClassSplit(tuple(sorted(there - set(unseen))), unseen)
    if unseen:
        check(unseen, len(split.seen) + len(unseen), f"--unseen {options.unseen}")
    return split


def aligned(
    options: Options, config: SADVAEConfig, source: Model, data: EvaluationData, texts: ClassTexts, classes: ClassSplit
) -> tuple[Alignment, int, list[float]]:
    """The alignment, its cycles, and the accuracy on held-out seen classes by cycle."""
    from bonestrap.zero_shot.alignment import Alignment, choose_and_fit, scaled

    seen = seen_of(*training_rows(source, data), texts, classes)
    scaling, seen = scaled(seen, config)
    try:
        (chosen,) = choose_and_fit(config, [seen], [len(classes.unseen)], options.seed)
    except ValueError as error:
        raise UserError(f"{spoken(options.data)}: {error}") from None
    return Alignment(scaling, chosen.model), chosen.cycles, chosen.scores


def training_rows(source: Model, data: EvaluationData) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features and labels of the training recordings, and which of them are of held-out subjects."""
    from evaluation.candidates import labels_of
    from evaluation.features import Features, adaptation

    rows = Features(source.encoder, source.pipeline, adaptation(source, data.train), data).train
    return rows, labels_of(data.train), data.held_out


def model_of(
    options: Options,
    config: SADVAEConfig,
    source: Model,
    alignment: Alignment,
    texts: ClassTexts,
    lineage: dict[str, Any],
) -> Model:
    """The encoder, and a head that ranks texts."""
    from bonestrap.model import Description, Model
    from bonestrap.zero_shot.head import AlignmentConfig, TextHead

    units, old = texts.features.shape[1], source.description
    about = AlignmentConfig(method=config, text=options.text, text_features=units, seed=options.seed)
    description = Description(
        stage="aligned", encoder=old.encoder, layout=old.layout, clip=old.clip, classes=options.manifest.classes,
        lineage=lineage, alignment=about,
    )  # fmt: skip
    head = TextHead(about, alignment, alignment.classifier(texts, options.seed))
    return Model(description, source.encoder, head)


def lineage(
    options: Options, source: Model, data: EvaluationData, classes: ClassSplit, split: str, cycles: int, hours: float
) -> dict[str, Any]:
    """What the model says of its making."""
    import torch

    from evaluation.candidates import labels_of

    manifest = data.train.manifest
    seen = torch.isin(labels_of(data.train), torch.tensor(classes.seen))
    parent = {"stage": source.description.stage, "run": options.model.name}
    return {
        "data": manifest.name,
        "digest": manifest.digest,
        "split": split,
        "seed": options.seed,
        "steps": cycles,
        "device_hours": round(hours, 5),
        "run": resolved(options.run).name,
        "labels": 1.0,
        "labelled": int(seen.sum()),
        "left_out": list(classes.unseen),
        "parents": [{**parent, "lineage": source.description.lineage}],
    }


def ship(options: Options, model: Model, data: EvaluationData, classes: ClassSplit, split: str) -> None:
    """Write the model, what it was trained on, and its card."""
    import torch

    from bonestrap import serialization
    from evaluation import run_record, trained
    from evaluation.candidates import labels_of
    from reports import card
    from reports.data.facts import DatasetFacts

    run = resolved(options.run)
    serialization.save(run / "model", model)
    rows = torch.isin(labels_of(data.train), torch.tensor(classes.seen)).nonzero().squeeze(1).numpy()
    trained.keep(run, trained.fingerprints(data.train)[rows], [options.model])
    card.ship(run_record.read(run), DatasetFacts.of(options, split))


def tracked(
    options: Options, source: Model, manifest: Manifest, settings: dict[str, Any], info: dict[str, Any]
) -> Tracking:
    """What MLflow is told of the run."""
    parent = mlflow_run(options.model)
    params = {**flat(settings), "stage": "aligned", "encoder": source.description.encoder.label, "labels": 1.0}
    hours = hours_before([options.model])
    return Tracking(
        experiment=options.experiment,
        name=resolved(options.run).name,
        params={**params, **({} if hours is None else {"ancestors_device_hours": hours})},
        tags={
            "bonestrap.stage": "aligned",
            **({"bonestrap.parent": parent} if parent else {}),
            **{f"bonestrap.{key}": value for key, value in info.items()},
        },
        dataset=Dataset(manifest.name, manifest.digest[:DIGEST], spoken(options.data)),
    )


if __name__ == "__main__":
    start(main, Options)
