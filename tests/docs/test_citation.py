"""CITATION.cff is of this version and has the papers that the README names; templates for issues are readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="pyyaml is not installed: pip install -e '.[test]'")

ROOT = Path(__file__).resolve().parents[2]


def test_the_citation_is_of_this_version_and_has_the_readmes_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what the format requires
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text()
    papers = {reference["url"] for reference in citation["references"]}
    assert papers == set(re.findall(r"https://arxiv\.org/abs/[\d.]+", (ROOT / "README.md").read_text()))


def test_templates_ask_for_what_is_needed() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert len(forms) >= 4
    for form in forms:
        read = yaml.safe_load(form.read_text())
        if form.stem != "config":
            identifiers = [field["id"] for field in read["body"]]
            assert {"name", "description", "labels", "body"} == set(read) and len(set(identifiers)) == len(identifiers)
