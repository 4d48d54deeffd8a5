"""What a model's lineage says of the classes and labels that its training has seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.candidates import label_seed, left_out

DATA: Any = SimpleNamespace(manifest=SimpleNamespace(name="synthetic"))
PRETRAINED = {"data": "synthetic", "seed": 1, "left_out": [4, 2, 7]}
SUPERVISED = {**PRETRAINED, "labels": 1.0, "labelled": 12}  # pretraining on labels, of a part of the classes
ELSEWHERE = {"data": "ntu60", "seed": 1, "left_out": [4]}


def child(lineage: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"data": "synthetic", "seed": 2, **more, "parents": [{"stage": "pretrained", "lineage": lineage}]}


@pytest.mark.parametrize(
    ("lineage", "classes"),
    [
        (PRETRAINED, (2, 4, 7)),
        (SUPERVISED, (2, 4, 7)),
        (child(SUPERVISED, labels=0.1, labelled=5), (2, 4, 7)),
        (child(PRETRAINED, left_out=[7, 9]), (7,)),  # a pretraining that started from another
        (child(PRETRAINED), ()),
        (ELSEWHERE, ()),
        ({"data": "synthetic", "seed": 1, "labels": 0.1, "labelled": 5}, ()),  # from scratch
    ],
)
def test_left_out_is_what_no_pretraining_of_the_lineage_had(lineage: dict[str, Any], classes: tuple[int, ...]) -> None:
    model: Any = SimpleNamespace(description=SimpleNamespace(lineage=lineage))
    assert left_out(model, DATA) == classes


def test_a_student_has_its_teacher_s_labels() -> None:
    teacher = child(PRETRAINED, labels=0.1, labelled=5)
    assert label_seed({"seed": 9, "labels": 0.1, "parents": [{"stage": "teacher", "lineage": teacher}]}) == 2
