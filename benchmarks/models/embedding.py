#!/usr/bin/env python3
"""Features of a folder of shards with `Model.embed`, beside the encoder alone on clips that are ready.

Both work on the same recordings in batches of the same size and take turns; what lies between them is reading,
hashing, checking and resampling. On a CPU a rate is recordings a CPU-second of the round that was disturbed least; on a
GPU it is recordings a second, and the encoder alone finds its clips on the GPU.

Examples:
  python -m benchmarks.models.embedding
  python -m benchmarks.models.embedding --width 1 --frames 150 --device cuda --count 20000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks.made_shards import make
from benchmarks.rates import Table
from bonestrap.augment import ClipConfig
from bonestrap.clips import Clips
from bonestrap.encoders import STGCNConfig
from bonestrap.layouts import NTU25
from bonestrap.model import BATCH, Description, Model
from bonestrap.recordings.packed import PackedFolder

HEADER = ("width", "frames", "encoder alone", "embed", "ratio")
READY = 2**30  # bytes of clips that are kept ready; more recordings go round over them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=float, nargs="+", default=[0.25, 1.0], help="encoder widths")
    parser.add_argument("--frames", type=int, nargs="+", default=[64], help="frames of a clip")
    parser.add_argument("--count", type=int, default=512, help="recordings, of 300 frames each")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, after a first one that is not counted")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--autocast", action="store_true", help="under autocast in bf16")
    options = parser.parse_args()
    where = torch.cuda.get_device_name() if options.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(
        f"recordings a {'second' if options.device == 'cuda' else 'CPU-second'}, {where}, torch {torch.__version__}\n"
    )
    table = Table(HEADER)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "shards", options.count)
        shards = PackedFolder.read(Path(folder) / "shards")
        for width in options.width:
            for frames in options.frames:
                model = untrained(width, frames).to(options.device)
                with torch.autocast(options.device, torch.bfloat16, enabled=options.autocast):
                    alone, embed = rates(model, shards, options.rounds, options.device)
                table.row(f"{width:g}", str(frames), f"{alone:,.0f}", f"{embed:,.0f}", f"{embed / alone:.2f}")


def untrained(width: float, frames: int) -> Model:
    """A model with random weights; its speed is that of a trained one."""
    torch.manual_seed(0)
    encoder = STGCNConfig(width=width)
    description = Description(
        stage="random", encoder=encoder, layout=NTU25, clip=ClipConfig(frames=frames), classes=(), lineage={}
    )
    return Model(description, description.build_encoder(), None).eval()


def rates(model: Model, shards: PackedFolder, rounds: int, device: str) -> tuple[float, float]:
    """Recordings a second of the encoder alone, and of `embed`: the best rounds."""
    ready = list(clips(model, shards))

    def alone() -> None:
        for number in range(-(-len(shards) // BATCH[device])):
            model.encoder(ready[number % len(ready)])

    variants: tuple[Callable[[], object], ...] = (alone, lambda: model.embed(shards))
    best = [0.0, 0.0]
    with torch.no_grad():
        for number in range(rounds + 1):
            for place, work in enumerate(variants):
                seconds = timed(work, device)
                if number:
                    best[place] = max(best[place], len(shards) / seconds)
    return best[0], best[1]


def clips(model: Model, shards: PackedFolder) -> Iterator[Clips]:
    """Batches of clips on the model's device, as many as are kept ready."""
    size = 0
    for recordings in model._batches(shards, BATCH["cuda" if next(model.parameters()).is_cuda else "cpu"]):
        batch = model.pipeline(recordings)
        size += batch.joints.nbytes
        if size > READY:
            return
        yield batch


def timed(work: Callable[[], object], device: str) -> float:
    """Seconds: of all the process's threads on a CPU, of the clock with a GPU."""
    clock = time.perf_counter if device == "cuda" else time.process_time
    if device == "cuda":
        torch.cuda.synchronize()
    before = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - before


if __name__ == "__main__":
    main()
