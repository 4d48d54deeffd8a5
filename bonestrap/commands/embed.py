"""Write the features of all recordings of a folder of shards into one file.

The file has one row a recording: key, view, label, class, subject, camera and features. A name that ends with .parquet
needs pyarrow; .npz is read with numpy alone. It is written whole or not at all.

Examples:
  bonestrap embed packed/nw-ucla --model runs/pretrained --output features.parquet
  bonestrap neighbours features.parquet --key a01_s02_e03 --count 5
"""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "write the features of all recordings of a folder of shards into one file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shards", type=Path, metavar="SHARDS", help="folder of packed shards")
    parser.add_argument("--model", type=Path, required=True, help="model or run directory")
    parser.add_argument("--output", type=Path, required=True, help="file to write: NAME.parquet or NAME.npz")
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where a command computes, and how much at a time."""
    kinds = ("auto", "cpu", "cuda")
    parser.add_argument("--device", choices=kinds, default="auto", help="auto takes a GPU where there is one")
    parser.add_argument("--batch-size", type=int, help="recordings at a time (default: 64 on a CPU, 512 on a GPU)")


def run(options: argparse.Namespace) -> None:
    import time

    from bonestrap import serialization
    from bonestrap.recordings.features import FeaturesFile, check_suffix
    from bonestrap.recordings.packed import PackedFolder

    check_suffix(options.output)
    loaded = serialization.load(options.model, device=device_of(options))
    folder = PackedFolder.read(options.shards)
    began = time.perf_counter()
    features = loaded.embed(folder, batch_size=options.batch_size, progress=True).float().cpu().numpy()
    seconds = time.perf_counter() - began
    about = {
        "data": folder.name,
        "digest": folder.digest,
        "stage": loaded.description.stage,
        "model": str(options.model),
        "lineage": loaded.description.lineage,
    }
    FeaturesFile.of(folder, features, about).write(options.output)
    count, width = features.shape
    print(f"{options.output}: {count:,} recordings x {width} features, {count / seconds:,.0f} recordings a second")


def device_of(options: argparse.Namespace) -> str:
    """The device that `--device` asks for. Raises ValueError where there is none."""
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch sees no GPU here; leave it out, or give --device cpu")
    return "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
