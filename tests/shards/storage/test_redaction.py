"""No part of a secret is left of an address, wherever it stands, and what is none stays as it is."""

from __future__ import annotations

import pytest

from shards.storage.redaction import command, plain, redacted, shown


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("s3://key:secret@bucket/a/b?token=secret", "s3://bucket/a/b"),
        ("s3://key:sec/ret@bucket/a", "s3://bucket/a"),
        ("http://user:sec?ret@host:5000/", "http://host:5000"),
        ("https://host/shards?X-Amz-Signature=secret&b=c#secret", "https://host/shards"),
        ("postgresql+psycopg2://user:secret@[::1]:5432/mlflow", "postgresql+psycopg2://[::1]:5432/mlflow"),
        ("https://secret@host/x", "https://host/x"),
        ("http://127.0.0.1:80/run@2/shards/", "http://127.0.0.1:80/run@2/shards"),
        ("sqlite:////home/mlflow.db", "sqlite:////home/mlflow.db"),
        ("file:///home/user@host/x", "file:///home/user@host/x"),
    ],
)
def test_an_address_keeps_its_place_alone(address: str, expected: str) -> None:
    assert shown(address) == expected
    assert redacted(f"{address}: 'is away' ({address}).").replace("/:", ":") in (
        f"{expected}: 'is away' ({expected}).",
        f"{expected}: 'is away' ({expected}/).",
    )


def test_other_text_stays_as_it_is() -> None:
    text = "runs/a: user@host 12:30 (see https://host/doc), s3://bucket/x; {1: 'http://h:1/x'}"
    assert redacted(text) == text


def test_a_password_with_a_space_is_not_left_behind() -> None:
    words = ["python", "launch/x.py", "--data", "s3://k:sec ret@bucket/x", "--uri=http://u:secret@h", "--n", "a b"]
    assert command(words) == "python launch/x.py --data s3://bucket/x --uri=http://h --n 'a b'"
    more = "--tracking-uri http://u:secret@h --checkpoints s3://k:secret@b/c?x=secret"
    assert command(["--pretrain", more]) == "--pretrain '--tracking-uri http://h --checkpoints s3://b/c'"
    assert "ret" not in redacted("cannot parse s3://k:ret")


def test_values_are_redacted_with_their_keys() -> None:
    told = {"uri": "http://u:secret@h", "runs": {"http://u:secret@h": "1"}, "n": [1, None, ("s3://k:secret@b",)]}
    assert plain(told) == {"uri": "http://h", "runs": {"http://h": "1"}, "n": [1, None, ["s3://b"]]}
