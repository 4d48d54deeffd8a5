"""`evaluation.json`: today's format, the one before it, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bonestrap.options import UserError
from evaluation import evaluation_file

LINEAR = {"pretrained": {"accuracy": 0.5, "recordings": 20}, "raw joints": {"accuracy": 0.4, "recordings": 20}}


def test_what_is_written_is_read_and_others_stay(tmp_path: Path) -> None:
    assert evaluation_file.read(tmp_path) == {}
    evaluation_file.write(tmp_path, {"linear": LINEAR})
    evaluation_file.write(tmp_path, {"knn": LINEAR})
    assert evaluation_file.read(tmp_path) == {"linear": LINEAR, "knn": LINEAR}
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {"format": 2, "linear": LINEAR, "knn": LINEAR}


def test_the_format_before_is_read_in_today_s_names(tmp_path: Path) -> None:
    """As the version before wrote it: a spread and label counts by their old spelling."""
    old = {"accuracy": 0.5, "deviation": 0.02, "labels": 40, "least": 3, "most": 5, "runs": [0.5]}  # old spelling
    (tmp_path / "evaluation.json").write_text(json.dumps({"semi-supervised 0.1": {"pretrained": old}, "test": LINEAR}))
    new = {"accuracy": 0.5, "std": 0.02, "labels": 40, "min_labels": 3, "max_labels": 5, "runs": [0.5]}
    found = {"semi-supervised 0.1": {"pretrained": new}, "test": LINEAR}
    assert evaluation_file.read(tmp_path) == found
    evaluation_file.write(tmp_path, {})
    assert json.loads((tmp_path / "evaluation.json").read_text()) == {"format": 2, **found}


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"format": 3}', "has format 3"), ("[1]", "cannot be read"), ('{"test":', "cannot be read")],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises(UserError, match=rf"evaluation\.json {said}"):
        evaluation_file.read(tmp_path)
