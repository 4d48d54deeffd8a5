"""Other readers of the same recordings, each set up as its own documentation does, without worker processes.

A reader is a function that walks one epoch in shuffled batches of float16 joints, (B, T, M, V, C), and counts clips.
Opening one raises ImportError where its library is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

Walk = Callable[[], int]
SHARD = 64 * 2**20  # bytes, as ours


def count_samples(batches: Iterable[Tensor], shape: tuple[int, ...]) -> int:
    """Walk through the batches; the clips in them. `shape` is a clip's."""
    count = 0
    for batch in batches:
        assert batch.shape[1:] == shape and batch.dtype == torch.float16
        count += len(batch)
    return count


def memory_map(joints: np.ndarray, batch: int) -> Walk:
    """Rows of one array in a file, without anything around them: the least that reading can cost."""
    rng = np.random.default_rng(0)

    def walk() -> int:
        order = rng.permutation(len(joints))
        rows = (order[i : i + batch] for i in range(0, len(order) - batch + 1, batch))
        return count_samples((torch.from_numpy(joints[chosen]) for chosen in rows), joints.shape[1:])

    return walk


def webdataset(folder: Path, batch: int, shape: tuple[int, ...]) -> Walk:
    """webdataset on our own shards: its decoder, its shuffle buffer of a thousand samples, its batches."""
    import webdataset as wds

    urls = [str(path) for path in sorted(folder.glob("*.tar"))]
    data = wds.WebDataset(urls, shardshuffle=len(urls), seed=0).shuffle(1000).decode().to_tuple("c1.npy")
    batches = data.batched(batch, partial=False)
    return lambda: count_samples((torch.as_tensor(joints) for (joints,) in batches), shape)


def mosaicml(folder: Path, joints: np.ndarray, batch: int) -> Walk:
    """mosaicml-streaming on its own shards, arrays of a known type and shape, which it decodes without a copy."""
    from streaming import MDSWriter, StreamingDataset

    shape = joints.shape[1:]
    kind = f"ndarray:{joints.dtype.name}:{','.join(map(str, shape))}"
    with MDSWriter(out=str(folder), columns={"joints": kind}, size_limit=SHARD) as writer:
        for recording in joints:
            writer.write({"joints": np.array(recording)})
    data = StreamingDataset(local=str(folder), shuffle=True, batch_size=batch)
    batches = DataLoader(data, batch_size=batch, drop_last=True)
    return lambda: count_samples((sample["joints"] for sample in batches), shape)


def litdata(folder: Path, joints: np.ndarray, batch: int) -> Walk:
    """litdata on its own chunks of tensors."""
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import Cache

    folder.mkdir()
    chunks = Cache(str(folder), chunk_bytes=SHARD)
    for row, recording in enumerate(joints):
        chunks[row] = torch.from_numpy(np.array(recording))
    chunks.done()
    chunks.merge()
    data = StreamingDataset(str(folder), shuffle=True, drop_last=True)
    batches = StreamingDataLoader(data, batch_size=batch, drop_last=True, num_workers=0)
    return lambda: count_samples(batches, joints.shape[1:])
