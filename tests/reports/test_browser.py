"""Pages as a browser shows them: no error in the console, no overflow, no label over another one, at three widths."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from launch import preview
from launch.cli.parser import start
from reports import charts, figures
from reports.html import environment, style
from reports.palette import class_look, model_colour
from tests.launch.commands import command
from tests.reports.browser import OVERFLOWS, OVERLAPS, PAINTED, WIDTHS, chromium, opened, sound

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.timeout(600)  # seconds: beside other work servers and browsers start slowly
MODELS = ("teacher", "student")  # in this order on the page
LONG = "distilled-0.25x-from-finetuned-0.1-2-of-pretrained-full-cross-subject-1x-0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report_page(browser: Browser, chain: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page about two models of sixteen classes."""
    pytest.importorskip("sklearn")
    home = Path(shutil.copytree(chain, tmp_path_factory.mktemp("browser") / "runs"))
    tested = " ".join(f"--model {home / name}" for name in MODELS)
    command(f"evaluate test {tested} --data {shards} --no-track")
    command(f"report {tested} --data {shards} --no-track --output {home / 'report.html'}")
    return (home / "report.html").as_uri()


@pytest.fixture(scope="module")
def preview_page(browser: Browser, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page about recordings."""
    page = tmp_path_factory.mktemp("browser") / "preview.html"
    start(preview.main, preview.Options, [str(shards), "--output", str(page), "--workers", "1", "--recordings", "6"])
    return page.as_uri()


# Pages by the fixture that gives their address: a documentation site is one more.
@pytest.mark.parametrize("page", ["report_page", "preview_page"])
def test_a_page_is_sound(browser: Browser, request: pytest.FixtureRequest, page: str) -> None:
    sound(browser, request.getfixturevalue(page))


def test_skeletons_move_when_they_are_asked_to(browser: Browser, report_page: str) -> None:
    with opened(browser, report_page, 768, dark=True) as page:
        canvas = page.locator("#mistakes canvas").first
        canvas.scroll_into_view_if_needed()
        page.wait_for_function(f"({PAINTED})(document.querySelector('#mistakes canvas'))")
        picture = "document.querySelector('#mistakes canvas').toDataURL()"
        still = page.evaluate(picture)
        page.wait_for_timeout(200)  # milliseconds: several frames, in which nothing moves
        assert page.evaluate(picture) == still
        button = page.locator("#mistakes button.toggle")
        button.click()
        page.wait_for_function(f"{picture} !== {still!r}")
        assert button.inner_text() == "Pause"
        captions = page.locator("#mistakes figcaption").all_inner_texts()
        assert all(text.startswith("true: ") for text in captions) and "predicted: " in captions[0]


def test_the_table_scrolls_inside_its_box(browser: Browser, report_page: str) -> None:
    with opened(browser, report_page, 320) as page:
        box = page.locator("#results .scroll")
        wide, seen = box.evaluate("(box) => [box.scrollWidth, box.clientWidth]")
        assert wide > 2 * seen and seen < 320
        name = page.locator("#results td").first
        before = name.bounding_box()
        box.evaluate("(box) => { box.scrollLeft = box.scrollWidth }")
        assert name.bounding_box() == before, "names of models stay in sight"


def test_a_model_has_one_colour(browser: Browser, report_page: str) -> None:
    """The dot before its name, its point, its bars and its curves, in every section."""
    drawn = """() => {
      const out = {};
      const put = (name, one, property) =>
        (out[name.split(/[:,]/)[0].trim()] ??= new Set()).add(getComputedStyle(one)[property]);
      const all = (selector) => document.querySelectorAll(selector);
      for (const dot of all("i.dot")) {
        const bold = dot.nextElementSibling?.tagName === "B";
        put((bold ? dot.nextElementSibling : dot.nextSibling).textContent, dot, "backgroundColor");
      }
      for (const point of all("circle.point:not(.hollow)")) put(point.textContent, point, "fill");
      for (const bar of all("#cost rect, #recall rect")) put(bar.textContent, bar, "fill");
      for (const card of all("#curves .card"))
        put(card.querySelector("h3").childNodes[1].textContent, card.querySelector("polyline"), "stroke");
      return Object.fromEntries(Object.entries(out).map(([name, colours]) => [name, [...colours]]));
    }"""
    shades = {}
    for dark in (False, True):
        with opened(browser, report_page, 1600, dark=dark) as page:
            found = page.evaluate(drawn)
            assert set(MODELS) <= set(found)
            assert all(len(found[name]) == 1 for name in MODELS), found
            shades[dark] = [found[name][0] for name in MODELS]
            assert len(set(shades[dark])) == len(MODELS)
    assert not set(shades[False]) & set(shades[True]), "a dark page has lighter colours"


CHARTS = """{% import "charts.html" as charts %}<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{{ css }}</style></head><body><main>
{{ charts.shapes() }}<div class="grid two">
{% for macro, chart in drawn %}<div class="card">{{ charts[macro](chart) }}</div>{% endfor %}
</div></main></body></html>"""


def crowded() -> list[tuple[str, object]]:
    """Charts of many models with long names, of equal sizes and accuracies, and of many classes with long names."""
    rng = np.random.default_rng(0)
    out: list[tuple[str, object]] = []
    for sizes in ([100_000] * 6, [100_000, 100_000, 101_000, 6_000_000, 5_900_000, 700_000, 720_000, 1_000]):
        points = tuple(
            figures.Point(
                name=f"{'teacher' if number % 2 else LONG}-{number}", colour=model_colour(number), parameters=size,
                latency_ms=None, accuracy=48 + number % 3, low=40, high=56, classifies=bool(number % 3),
                random=(("random encoder", 14.0),),
            )
            for number, size in enumerate(sizes)
        )  # fmt: skip
        floors = tuple(figures.Floor(name="raw joints", labels=f"{n}% of labels", accuracy=46 + n) for n in range(3))
        shown = figures.Accuracies(points=points, floors=floors)
        out.append(("scatter", charts.scatter(shown, [float(size) for size in sizes], "parameters", "sizes")))
    for count in (16, 60):
        names = tuple(f"{number} putting on one's glasses or hat" for number in range(count))
        matrix = figures.Confusion(counts=rng.integers(0, 9, (count, count)), classes=names)
        out.append(("grid", charts.confusion(matrix)))
        out.append(("class_legend", [(name, *class_look(label)) for label, name in enumerate(names)]))
        out.append(("bars", charts.bars([(name, 10**label % 997, 0) for label, name in enumerate(names)])))
    subjects = [str(number) for number in range(95, 125)]
    out.append(("grid", charts.heatmap(rng.integers(0, 9, (3, 30)), names[:3], subjects, "classes by subject")))
    steps = charts.Axis(title="optimizer steps", low=0, high=1_234_567)
    loss = charts.Axis(title="training loss", low=0, high=0.000123)
    curve = charts.Line(name="loss", x=[0, 1_234_567], y=[0.000123, 0], colour="#0072B2")
    out.append(("lines", charts.Lines(x=steps, y=loss, curves=(curve,) * 5)))
    for top in (3, 90, 4000):
        out.append(("histogram", charts.histogram(rng.integers(1, top, 500), unit="frames", few=2)))
    return out


@pytest.fixture(scope="module")
def crowded_page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> str:
    page = tmp_path_factory.mktemp("browser") / "charts.html"
    css = style("page.css", "models.css")
    page.write_text(environment().from_string(CHARTS).render(css=css, drawn=crowded()), encoding="utf-8")
    return page.as_uri()


def test_crowded_charts_are_legible(browser: Browser, crowded_page: str) -> None:
    for width in (320, 480, 768, 900, 1024, 1200, 1600):
        with opened(browser, crowded_page, width) as page:
            assert page.evaluate(OVERFLOWS) == [] and page.evaluate(OVERLAPS) == [], width


# What MLflow's page says of itself whatever is in it: it asks for the user, whom only its authentication app knows, and
# sets up its table (AG Grid) with two options that the table's library calls deprecated.
MLFLOW_SAYS = ("status of 404", "AG Grid: since v27.1")


@pytest.fixture
def mlflow_page(mlflow_uri: str, tmp_path: Path) -> Iterator[str]:
    """MLflow's view of two runs."""
    mlflow = pytest.importorskip("mlflow")
    if not (Path(mlflow.__file__).parent / "server" / "js" / "build" / "index.html").exists():
        pytest.skip("this installation of MLflow has no files of its pages")
    client = mlflow.MlflowClient(mlflow_uri)
    experiment = client.create_experiment("browser", artifact_location=str(tmp_path / "artifacts"))
    for number, name in enumerate(MODELS):
        run = client.create_run(experiment, run_name=name, tags={"bonestrap.stage": name}).info.run_id
        client.log_metric(run, "accuracy", 0.4 + 0.1 * number)
        client.set_terminated(run)
    port = free_port()
    words = ["--backend-store-uri", mlflow_uri, "--port", str(port), "--workers", "1"]
    with (tmp_path / "ui.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "mlflow", "ui", *words], stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        while not answers(f"{address}/health"):
            assert server.poll() is None, (tmp_path / "ui.log").read_text()
            time.sleep(0.2)
        yield f"{address}/#/experiments/{experiment}/runs"
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=10):
            return True
    except OSError:
        return False


def test_mlflow_shows_the_runs(browser: Browser, mlflow_page: str) -> None:
    with opened(browser, mlflow_page, WIDTHS[-1], tolerated=MLFLOW_SAYS) as page:
        for name in MODELS:
            page.get_by_role("link", name=name, exact=True).first.wait_for(timeout=90_000)  # milliseconds
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
