"""Shards are standard: stock webdataset and Hugging Face's datasets read the samples that we read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shards.packing.pack import pack
from shards.reader import Resident


@pytest.fixture(scope="module")
def packed(people: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve performances in several shards, seen by two cameras each, but for the last, which has one."""
    source = people(36)
    both = [performance for performance in source.performances if len(performance.views) > 1]
    last = replace(both[11], views=both[11].views[:1])
    source.performances = [*(replace(performance, views=performance.views[:2]) for performance in both[:11]), last]
    folder = tmp_path_factory.mktemp("clients") / "shards"
    pack(source, folder, shard_bytes=6000)
    assert len(list(folder.glob("*.tar"))) > 3
    return folder


def expected(folder: Path) -> list[tuple[str, int, str, np.ndarray]]:
    """Key, label, member and joints (T, M, V, C) of every view, as our reader sees them."""
    data = Resident.load(folder)
    out = []
    for view in range(len(data)):
        length, bodies, start = data.view_length[view], data.view_bodies[view], data.view_start[view]
        joints = data.frames[start : start + length * bodies].unflatten(0, (bodies, length)).transpose(0, 1)
        facts = data.views
        out.append((facts.key[view], int(facts.label[view]), f"c{facts.camera[view]}.npy", joints.numpy()))
    return out


def agree(found: list[tuple[str, int, str, np.ndarray]], folder: Path) -> None:
    wanted = expected(folder)
    assert [view[:3] for view in found] == [view[:3] for view in wanted] and len(found) == 23
    for (*_, a), (*_, b) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_stock_webdataset(packed: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    urls = [str(path) for path in sorted(packed.glob("*.tar"))]
    found = [
        (sample["__key__"], sample["json"]["label"], member, sample[member])
        for sample in webdataset.WebDataset(urls, shardshuffle=False).decode()
        for member in sorted(sample)
        if member.endswith(".npy")
    ]
    agree(found, packed)
    assert {joints.dtype for *_, joints in found} == {np.dtype(np.float16)}


@pytest.mark.parametrize("streaming", [True, False])
def test_hugging_face_datasets(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streaming: bool) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    files = [str(path) for path in sorted(packed.glob("*.tar"))]
    samples = datasets.load_dataset(
        "webdataset", data_files=files, split="train", streaming=streaming, cache_dir=str(tmp_path)
    )
    found = [
        (sample["__key__"], sample["json"]["label"], member, np.array(sample[member], dtype=np.float16))
        for sample in samples
        for member in ("c1.npy", "c2.npy")
        if sample[member] is not None
    ]
    agree(found, packed)
