"""`embed` and `predict` of a list, a padded batch or a folder: the rows of one recording at a time, in its order."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from bonestrap.layouts import COCO17
from bonestrap.model import Model, ModelError
from bonestrap.recordings.progress import line
from tests.bonestrap.recordings.shards_by_hand import by_tarfile, packed
from tests.bonestrap.test_model import gappy, model, recording

RAW = [gappy(), recording(40), recording(1), recording(9, bodies=2, seed=2), recording(30, bodies=2, seed=3)]
RAW += [recording(5 + 3 * k, seed=10 + k) for k in range(6)]
TOLERANCES = [(torch.float64, 1e-6), (torch.float32, 5e-6)]


@pytest.fixture(scope="module")
def one() -> Model:
    return model()


def padded(recordings: list[np.ndarray]) -> np.ndarray:
    """A batch (B, T, M, V, C) with NaN where a recording has ended, and for bodies that it lacks."""
    frames, bodies = (max(joints.shape[axis] for joints in recordings) for axis in (0, 1))
    batch = np.full((len(recordings), frames, bodies, *recordings[0].shape[2:]), np.nan, np.float32)
    for row, joints in zip(batch, recordings, strict=True):
        row[: joints.shape[0], : joints.shape[1]] = joints
    return batch


@pytest.mark.parametrize(("dtype", "atol"), TOLERANCES)
def test_any_form_and_batch_size_gives_the_rows_of_one_at_a_time(dtype: torch.dtype, atol: float) -> None:
    one = model().to(dtype)
    for answer in (one.embed, one.predict):
        wanted = torch.stack([answer(joints) for joints in RAW])
        assert wanted.dtype == dtype
        for given, sizes in ((RAW, (1, 4, None)), (padded(RAW), (4,)), (torch.from_numpy(padded(RAW)), (None,))):
            for size in sizes:
                torch.testing.assert_close(answer(given, batch_size=size), wanted, rtol=0, atol=atol)
        assert answer(padded(RAW)[:1]).shape == (1, *wanted.shape[1:])


def test_a_folder_gives_the_rows_of_its_recordings(one: Model, tmp_path: Path) -> None:
    """The packed joints are in the canonical pose already, and half precision moves them by less than a millimetre."""
    folder = packed(tmp_path / "shards")
    for answer in (one.embed, one.predict):
        wanted = torch.stack([answer(joints.astype(np.float32)) for *_, joints in by_tarfile(folder)])
        for given, size in ((folder, 5), (str(folder), None)):
            found = answer(given, batch_size=size)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        assert (found - found.roll(1, 0)).abs().max() > 0.01  # so that another order would be seen


def test_progress_is_told_of_every_batch(one: Model, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    one.embed(RAW, batch_size=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 11), (8, 11), (11, 11)]
    one.embed(RAW, batch_size=4, progress=True)
    said = capsys.readouterr()
    assert said.out == "" and re.fullmatch(r"11 of 11 recordings, [\d,]+ a second, \d+\.\d s in all\n", said.err)


def test_the_line_says_rate_and_time_left() -> None:
    assert line(1280, 10_560, 4.0) == "1,280 of 10,560 recordings, 320 a second, 0:29 left"
    assert line(5, 500, 100.0) == "5 of 500 recordings, 0 a second, 165:00 left"
    assert line(500, 500, 2.0) == "500 of 500 recordings, 250 a second, 2.0 s in all"


def test_a_batch_that_is_padded_with_zeros_is_refused(one: Model) -> None:
    with pytest.raises(ModelError, match=r"recording 0 of the batch holds a body whose joints are all zero"):
        one.embed(np.nan_to_num(padded(RAW)))


def test_what_does_not_fit_is_refused(one: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="batch_size must be 1 or more, got 0"):
        one.embed(RAW, batch_size=0)
    with pytest.raises(ModelError, match=r"frames x bodies x 20 x 3 for layout kinect20, got \(8, 20, 3\)"):
        one.embed(np.zeros((8, 20, 3)))
    with pytest.raises(ModelError, match="no recording in the list"):
        one.embed(np.zeros((0, 8, 1, 20, 3)))
    with pytest.raises(ModelError, match=r"layout coco17 has 2 numbers a joint .* no joint can stand for another"):
        model(layout=COCO17).embed(packed(tmp_path / "shards"))
