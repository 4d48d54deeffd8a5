"""The documentation builds into a site without a broken link, that needs no network and fits any screen."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install -e '.[docs]'")

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (320, 768, 1600)
PAGES = (
    "index",
    "start",
    "data",
    "results",
    "results/nw_ucla",
    "reference/commands/pretrain",
    "reference/python",
    "notebooks/your_encoder",
)
ALLOWED = ("http://www.w3.org/", "https://www.sitemaps.org/")  # names of formats, which nobody loads


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # a link or an anchor that is not there is a warning
    return folder


@pytest.mark.timeout(600)
def test_every_document_and_every_command_has_a_page(site: Path) -> None:
    documents = {file.relative_to(ROOT / "docs").with_suffix("") for file in (ROOT / "docs").rglob("*.md")}
    pages = {page.relative_to(site).with_suffix("") for page in site.rglob("*.html")}
    assert documents | {Path("contributing"), Path("changelog")} <= pages
    scripts = {file.stem for file in (ROOT / "launch").glob("*.py")} - {"__init__"}
    assert scripts | {"pack-verify"} <= {page.stem for page in (site / "reference/commands").glob("*.html")}


@pytest.mark.timeout(600)
def test_options_are_those_of_the_parsers(site: Path) -> None:
    page = (site / "reference/commands/pretrain.html").read_text()
    from launch.recipes import RECIPES

    assert all(f"recipe: {name}" in page for name in RECIPES)
    assert "<code>--checkpoint-every N</code>" in page  # of every recipe
    assert "<code>--method.view1.shear.limit X</code>" in page  # of one
    assert "seconds without any progress after which workers count as hung (default: 300.0)" in page


@pytest.mark.timeout(600)
def test_the_interface_is_taken_from_the_docstrings(site: Path) -> None:
    page = re.sub(r"<[^>]+>", "", (site / "reference/python.html").read_text())
    assert "The model of a model or run directory, in evaluation mode." in page
    assert "Class probabilities (B, classes) of raw recordings" in page


@pytest.mark.timeout(600)
def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"""(?:<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=|@import |url\()["']?(https?:)?//[^"'> )]+"""
    )
    found = [
        f"{page.relative_to(site)}: {match[0][-120:]}"
        for page in [*site.rglob("*.html"), *site.rglob("*.css")]
        for match in loads.finditer(page.read_text())
        if not any(name in match[0] for name in ALLOWED)
    ]
    assert not found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}: the pages are looked at in Chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.mark.timeout(600)
def test_pages_fit_and_say_no_error(site: Path, browser: Any) -> None:
    """Opened from disk. A request to the network would fail, and be an error in the console."""
    said: list[str] = []
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if not request.url.startswith("file:") else None)
    wide = []
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri(), wait_until="load")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if overflow > 0:
                wide.append((name, width, overflow))
    context.close()
    assert (wide, said) == ([], [])


@pytest.mark.timeout(600)
def test_search_answers_from_disk(site: Path, browser: Any) -> None:
    context = browser.new_context(offline=True, viewport={"width": 1600, "height": 900})
    page = context.new_page()
    page.goto((site / "index.html").as_uri(), wait_until="load")
    page.click("input[name=query]")
    page.keyboard.type("momentum batch normalisation")
    found = page.locator(".md-search-result__item a.md-search-result__link")
    found.first.wait_for(timeout=120_000)
    assert any("methods.html" in link.get_attribute("href") for link in found.all())
    context.close()
