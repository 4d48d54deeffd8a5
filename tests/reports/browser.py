"""Pages in a browser: what the console says, what leaves the window, and which labels lie over one another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (320, 768, 1600)  # a phone, a tablet, a desk
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# Labels of a chart as quadrilaterals, so that slanted ones are not taken for their bounding boxes; a label covers what
# its letters do, less a pixel. Two of them overlap where no edge of either separates them.
OVERLAPS = """() => {
  const corners = (text) => {
    const { x, y, width, height } = text.getBBox(), to = text.getScreenCTM();
    const [left, right, low, high] = [x + 1, x + width - 1, y + 0.18 * height, y + 0.9 * height];
    return [[left, low], [right, low], [right, high], [left, high]].map(([a, b]) => [
      to.a * a + to.c * b + to.e, to.b * a + to.d * b + to.f]);
  };
  const apart = (one, other) => [one, other].some((shape) => shape.some((from, n) => {
    const to = shape[(n + 1) % 4], normal = [from[1] - to[1], to[0] - from[0]];
    const [a, b] = [one, other].map((each) => each.map((p) => p[0] * normal[0] + p[1] * normal[1]));
    return Math.max(...a) <= Math.min(...b) || Math.max(...b) <= Math.min(...a);
  }));
  const says = (text) =>
    [...text.childNodes].filter((node) => node.nodeName !== "title").map((node) => node.textContent).join(" ");
  const found = [];
  for (const chart of document.querySelectorAll("svg")) {
    if (chart.parentElement.closest("svg")) continue;
    const visible = (text) => text.getClientRects().length && text.getBBox().width;
    const labels = [...chart.querySelectorAll("text")].filter(visible);
    const boxes = labels.map(corners);
    for (let a = 0; a < boxes.length; a++) for (let b = a + 1; b < boxes.length; b++)
      if (!apart(boxes[a], boxes[b])) found.push(`"${says(labels[a])}" over "${says(labels[b])}"`);
    const card = chart.closest(".card");
    if (!card || chart.closest(".scroll")) continue;
    const { left, right } = card.getBoundingClientRect();
    labels.forEach((text, n) => {
      if (boxes[n].some(([x]) => x < left || x > right)) found.push(`"${says(text)}" leaves its card`);
    });
  }
  return found;
}"""

OVERFLOWS = """() => {
  const found = [], window_ = document.documentElement.clientWidth;
  const inside = (box) => !box.width || (box.right <= window_ + 1 && box.left >= -1);
  if (document.documentElement.scrollWidth > window_) found.push("the page is wider than its window");
  for (const one of document.querySelectorAll("main *, header *, footer *")) {
    if (one.closest(".scroll > *, svg *") || inside(one.getBoundingClientRect())) continue;
    found.push(`${one.tagName} ${one.className} leaves the window`);
  }
  return found;
}"""

PAINTED = """(canvas) =>
  canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value)"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. Skips where playwright or the browser is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="opening pages takes playwright, of the extra `test`")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"opening pages takes a browser, one of {', '.join(BROWSERS)}")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, address: str, width: int, *, dark: bool = False, tolerated: Sequence[str] = ()
) -> Iterator[Page]:
    """A page in a window of this width. Once left, errors and warnings in its console fail but for `tolerated`."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
    page, said = context.new_page(), []
    page.on("console", lambda one: said.append(f"{one.type}: {one.text}") if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(f"uncaught: {error}"))
    page.on("requestfailed", lambda request: said.append(f"not loaded: {request.url}"))
    try:
        page.goto(address)
        yield page
    finally:
        context.close()
    said = [line for line in said if not any(part in line for part in tolerated)]
    assert not said, f"{address} at {width} pixels: {said}"


def sound(browser: Browser, address: str, *, tolerated: Sequence[str] = ()) -> None:
    """A page without an error in its console, without overflow and without labels over one another, at all widths."""
    for width in WIDTHS:
        with opened(browser, address, width, tolerated=tolerated) as page:
            page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
            page.wait_for_timeout(50)  # milliseconds: two frames of drawing
            assert page.evaluate(OVERFLOWS) == [], f"{address} at {width} pixels"
            assert page.evaluate(OVERLAPS) == [], f"{address} at {width} pixels"
