"""The project speaks the field's language: words of its earlier, private one do not come back."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOUSES = ("bonestrap", "shards", "distributed", "evaluation", "reports", "experiments", "launch")
FOLDERS = (*HOUSES, "benchmarks", "tests", "docs", "k8s")
EXEMPT = ("tests/test_words.py", "tests/launch/test_configurations.py")  # this list, and the test of old spellings
SUFFIXES = {".py", ".md", ".html", ".js", ".css", ".yaml", ".toml"}
# Parameters of preprocessing steps stand under their names in every manifest, so they keep them.
KEPT = {
    r"\.(?:least|most)\b|\b(?:least|most): (?:int|float)\b|--least\b": (
        "shards/packing/preprocess.py",
        "shards/packing/repair.py",
    ),
    # What motion capture calls a recording, in its formats.
    r"(?i)\btrials?\b": ("shards/sources/mocap/c3d.py", "tests/shards/sources/test_markers.py"),
}
# A line of an alias table, or one that says what a name replaces, may hold the old name.
ALIAS = re.compile(r'alias|old spelling|renamed|the first called|\("--split', re.IGNORECASE)


def name(word: str) -> str:
    """A pattern for a word that is plain English in prose: only where it names a function or a class."""
    return rf"\b(?:def|class|import) {word}\b|\b{word}\("


# What is not written any more, as a regular expression, and what stands in its place.
WORDS = {
    # Metaphors.
    r"(?i)\bdossiers?\b": "run record",
    r"(?i)\bgrounds\b": "dataset facts",
    r"(?i)\bverdicts?\b": "summary",
    r"(?i)\btrials?\b": "prediction, attempt",
    r"(?i)\btall(y|ies)\b": "progress",
    r"(?i)\bjudg(e|es|ed|ing)\b": "score, scorer",
    r"(?i)\bcontenders?\b": "candidate",
    r"(?i)\bcrew\b": "worker config",
    r"(?i)\b(?<!-)board\b": "coordinator",
    r"(?i)\b(postman|delivery)\b": "MLflow sync",
    r"(?i)\btwins?\b": "duplicate, counterpart",
    r"(?i)\bbereaved\b": "lost worker",
    r"(?i)\bhush(ed)?\b(?! \(quiet\))": "silence a library's output",  # but for an action of NTU RGB+D
    r"\bHalvingSum\b": "pairwise accumulation",
    r"\bSentences\b": "errors, messages",
    r"(?i)\bmend(s|ed|ing)?\b": "fix, repair",
    # Words of everyday English as names in the code.
    r"\bclass Left\b|\braise Left\b|\bexcept Left\b|\bLeft\(": "GracefulStop",
    r"\bclass Place\b|\bimport Place\b|\bPlace\(|[:>] Place\b": "storage",
    name("carried"): "a verb and an object",
    name("counted"): "a verb and an object",
    name("claimed"): "a verb and an object",
    name("settled"): "a verb and an object",
    name("decided"): "a verb and an object",
    name("made"): "a verb and an object",
    name("sent"): "to_device",
    name("waves"): "batches, rounds",
    r"\.(?:least|most)\b|\b(?:least|most): (?:int|float)\b|--least\b": "min, max",
    # Terms of statistics and machine learning.
    r"(?i:\bshares? of\b)|\bSHARES?\b": "fraction of, percent of",
    r"(?i)(?<!standard )(?<!absolute )\bdeviations?\b": "std, standard deviation",
    r"--protocol\b(?!s)": "--split for a part of a data set; a protocol is a way of evaluating",
    # Phrases.
    r"(?i)\bdocument 00\d\b": "Moliner et al. (2022), arXiv:2202.02232",
    r"(?i)\b(go|goes|going|went|gone) on where\b|\bsame command goes on\b": "resumes",
    r"(?i)\blies nowhere\b": "is not in",
    r"(?i)\bthe manifest others\b": "the manifest has other ...",
    r"(?i)\bis no run directory\b": "is not a run directory",
    r"(?i)\bmistakes? (of the user )?(ends?|is) (in )?one sentence\b": "user errors: one line, exit code 2",
    r"(?i)\bwhat is taken for what\b": "confusion matrix",
    r"(?i)\bhow recordings lie\b": "feature space, t-SNE",
    r"(?i)\btest recordings that is right\b": "per-class recall",
}


@functools.cache
def lines() -> list[tuple[str, str]]:
    """Every line of the project, with where it stands."""
    files = [file for file in ROOT.iterdir() if file.suffix in SUFFIXES or file.name in ("Makefile", "Dockerfile")]
    files += [file for folder in FOLDERS for file in (ROOT / folder).rglob("*") if file.suffix in SUFFIXES]
    return [
        (f"{file.relative_to(ROOT)}:{number}", line)
        for file in sorted(files)
        if str(file.relative_to(ROOT)) not in EXEMPT
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
    ]


@pytest.mark.parametrize(("word", "instead"), WORDS.items(), ids=WORDS)
def test_the_word_is_gone(word: str, instead: str) -> None:
    pattern = re.compile(word)
    found = [
        f"{where}: {line.strip()}"
        for where, line in lines()
        if pattern.search(line) and not ALIAS.search(line) and not where.startswith(KEPT.get(word, "-"))
    ]
    assert not found, "\n".join([f"write instead: {instead}", *found])
