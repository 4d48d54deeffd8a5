"""Tokens and rates, against what a token bucket is by definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bonestrap.server.access import CLIENTS, Buckets, Tokens
from bonestrap.server.settings import Settings

TOKEN = "0123456789abcdef"


def test_a_bucket_holds_its_burst_and_fills_at_its_rate() -> None:
    """Between two requests `rate` times the seconds fall into it, and it never holds more than `burst`."""
    now = 0.0
    rate, burst = 2.5, 4
    buckets = Buckets(rate, burst, clock=lambda: now)
    level, admitted = float(burst), 0
    for gap in np.random.default_rng(0).exponential(0.25, 400):
        now += float(gap)
        level = min(burst, level + rate * float(gap))
        wait = buckets.wait("a")
        if level >= 1:
            level -= 1
            admitted += 1
            assert wait == 0
        else:
            assert wait == pytest.approx((1 - level) / rate)
    assert admitted == pytest.approx(rate * now, rel=0.05)


def test_clients_have_buckets_of_their_own_and_few_are_remembered() -> None:
    buckets = Buckets(1, 1, clock=lambda: 0.0)
    assert buckets.wait("a") == 0 and buckets.wait("a") == 1 and buckets.wait("b") == 0
    for number in range(CLIENTS + 5):
        buckets.wait(f"client {number}")
    assert len(buckets.levels) == CLIENTS and buckets.wait("a") == 0
    assert Buckets(0, 1).wait("a") == Buckets(0, 1).wait("a") == 0


def test_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# ours\n\nlab {TOKEN}\ncamera {TOKEN}2\n")
    tokens = Tokens.read(file)
    assert tokens.name(f"Bearer {TOKEN}".encode()) == "lab"
    assert tokens.name(f"bearer  {TOKEN}2".encode()) == "camera"
    for wrong in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}3", TOKEN, f"Bearer {TOKEN[:-1]}", "Bearer \xff"):
        assert tokens.name(wrong.encode("latin-1")) is None
    assert TOKEN not in repr(vars(tokens))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("lab short\n", "line 1: give a name and a token of 16 or more characters"),
        (f"{TOKEN}\n", "line 1: give a name and a token"),
        (f"a {TOKEN}\nb {TOKEN}\n", "line 2: a name or a token stands there twice"),
        ("# none\n", "holds no token"),
        (None, "cannot be read: no such file"),
    ],
)
def test_a_bad_token_file_is_one_sentence(content: str | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tokens").write_text(content)
    with pytest.raises(ValueError, match=said):
        Tokens.read(tmp_path / "tokens")


def test_limits_that_cannot_hold_one_request() -> None:
    with pytest.raises(ValueError, match="queue must hold the 64 recordings"):
        Settings(queue=10)
    with pytest.raises(ValueError, match="memory_mib must hold a body of 16 MiB"):
        Settings(memory_mib=1)
