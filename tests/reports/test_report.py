"""The page about models and the cards beside them: every figure is the one that was measured, and nothing is loaded."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bonestrap
from bonestrap.augment import ClipConfig
from bonestrap.config import to_json
from bonestrap.encoders import EncoderConfig
from bonestrap.encoders.encoder import Encoder
from bonestrap.layout import Layout
from bonestrap.methods import MethodConfig
from bonestrap.model import Model
from distributed import tracking
from distributed.tracking import Tracking, describe
from evaluation import evaluation_file, run_record
from evaluation.predictions import Prediction, Predictions
from launch import compare, distill, evaluate, finetune, pretrain, report
from launch.cli import parser as cli
from launch.cli.parser import start, start_choice
from launch.recipes import RECIPES
from reports import card
from reports.model_sections import markdown
from shards.manifest import Manifest, sha256
from shards.packing.pack import pack
from shards.sources.source import Performance, View
from tests.launch.waving import Waving

SPLIT = "cross-view-published"
COPIES = 6
STAGES = ("pretrained", "teacher", "student")


class Copied(Waving):
    """Two actions by ten people before three cameras; of the first performances camera 3 copies camera 2."""

    classes = ("fast", "slow & <low>")  # a page has to escape this

    def __init__(self, seed: int = 0, frames: int = 20) -> None:
        self.seed, self.frames = seed, frames

    def __getitem__(self, number: int) -> Performance:
        rng = np.random.default_rng((self.seed, number))
        seen = []
        for _ in range(3):
            steps = rng.normal(0, 0.02 * (1 + number % 2), (self.frames, 1, len(self.layout.joints), 3)).cumsum(0)
            seen.append((rng.normal(0, 0.4, steps.shape[1:]) + steps).astype(np.float32))
        if number < COPIES:
            seen[2] = seen[1]
        views = [View(camera=n, joints=joints, origin=f"{number}.{n}") for n, joints in enumerate(seen, 1)]
        return Performance(
            key=self.key(number),
            label=number % 2,
            subject=1 + number // 2,
            setup=None,
            replication=0,
            views=tuple(views),
        )


def evaluated(name: str, model: Path, data: Path, *words: str) -> None:
    words = (name, "--model", str(model), "--data", str(data), *words)
    start_choice(evaluate.main, "protocol", evaluate.PROTOCOLS, evaluate.Options, words)


def reported(runs: list[Path], data: Path, output: Path) -> str:
    words = [word for run in runs for word in ("--model", str(run))]
    start(report.main, report.Options, [*words, "--data", str(data), "--output", str(output)])
    return output.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, and three runs that have been evaluated."""
    pytest.importorskip("webdataset")
    home = tmp_path_factory.mktemp("report")
    pack(Copied(), home / "shards")
    pretrained, teacher, student = (str(home / name) for name in STAGES)
    common = ["--data", str(home / "shards"), "--no-track", "--device", "cpu", "--precision", "fp32"]
    small = ["--encoder.width", "0.05", "--clip.frames", "8", "--method.hidden", "16", "--method.projection", "8"]
    short = ["--schedule.batch", "8", "--schedule.group", "8", "--schedule.epochs", "1", "--schedule.warmup", "0"]
    words = ["byol-small", *common, "--run", pretrained, *small, *short, "--split", SPLIT]
    start_choice(pretrain.main, "recipe", RECIPES, pretrain.Options, words)
    few = ["--batch", "4", "--log-every", "1"]
    words = ["--model", pretrained, *common, "--run", teacher, "--labels", "0.5", "--steps", "3", *few]
    start(finetune.main, finetune.Options, words)
    words = ["--teacher", teacher, *common, "--run", student, "--epochs", "0.5", *few]
    start(distill.main, distill.Options, words)
    evaluated("linear", home / "pretrained", home / "shards")
    evaluated("test", home / "teacher", home / "shards")
    evaluated("test", home / "student", home / "shards")
    return home


@pytest.fixture(scope="module")
def page(home: Path) -> str:
    pytest.importorskip("sklearn")
    return reported([home / name for name in STAGES], home / "shards", home / "report.html")


@pytest.fixture
def copy(home: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    return Path(shutil.copytree(home, tmp_path / "copy"))


def scene(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def of_json(run: Path, name: str) -> dict[str, Any]:
    return json.loads((run / name).read_text())


class Elements(HTMLParser):
    """Fails where an element is closed that was not open, or where the page would load something."""

    VOID = frozenset(("meta", "br"))

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: dict[str, list[str]] = {}
        self.feed(page)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
                assert tag == "use" and str(value).startswith("#"), f"{tag} loads {value}"
            assert not name.startswith("on")
            assert "url(" not in str(value) and "//" not in str(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> while {self.open} are open"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            self.text.setdefault(self.open[-1], []).append(data)


def test_the_page_loads_nothing_and_is_whole(page: str) -> None:
    elements = Elements(page)
    assert not re.search(r"@import|url\(|https?://", page)
    titles = [
        "Accuracy, size and latency", "Results", "Training cost", "Per-class recall", "Confusion matrix",
        "What is confused", "Feature space (t-SNE)", "Training curves", "Augmented training clips", "Model cards",
    ]  # fmt: skip
    assert elements.text["h2"] == titles
    assert "slow &amp; &lt;low&gt;" in page and "<low>" not in page
    assert page.count('class="cloud"') == len(STAGES) and page.count("<polyline") >= 2 * len(STAGES)


class Averaged(Encoder):
    """The mean pose over time, through one layer."""

    def __init__(self, layout: Layout, features: int) -> None:
        super().__init__()
        self.features = features
        self.layer = torch.nn.Linear(len(layout.joints) * layout.channels, features)

    def encode_bodies(self, joints_NTVC: torch.Tensor) -> torch.Tensor:
        return self.layer(joints_NTVC.mean(1).flatten(1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AveragedConfig(EncoderConfig):
    """No width, and settings that are not numbers."""

    streams: tuple[str, ...] = ("joints", "bones")
    bias: float | None = None

    def build(self, layout: Layout, clip: ClipConfig) -> Encoder:
        return Averaged(layout, 12)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoViewsConfig(MethodConfig):
    """A method that augments nothing."""


def test_any_encoder_any_method_and_any_name_of_a_run_render(copy: Path) -> None:
    run = (copy / "student").rename(copy / "<script>alert(1)<b>")
    before = bonestrap.load(run)
    description = dataclasses.replace(before.description, encoder=AveragedConfig())
    encoder = description.build_encoder()
    bonestrap.serialization.save(run / "model", Model(description, encoder, torch.nn.Linear(encoder.features, 2)))
    told = of_json(run, "run.json")
    told["result"]["method"] = to_json(NoViewsConfig())
    (run / "run.json").write_text(json.dumps(told))
    (run / "evaluation.json").unlink()
    evaluated("test", run, copy / "shards")
    page = reported([run, copy / "teacher"], copy / "shards", copy / "two.html")
    elements = Elements(page)
    assert elements.text["h2"][0] == "Accuracy, size and latency" and "alert(1)" in "".join(elements.text["b"])
    assert page.count("<script") == 2, "the data and the page's own"
    assert next(row[2] for row in table_of(page) if "alert(1)" in row[0]) == "Averaged"
    kind = f"{AveragedConfig.__module__}:AveragedConfig"
    line = f'- **encoder**: Averaged ({kind}, streams ["joints", "bones"], bias None)'
    assert line in (run / "model" / card.FILE).read_text()
    alone = reported([run], copy / "shards", copy / "one.html")
    assert [clip["name"] for clip in scene(alone)["augmented"][0]["clips"]] == ["original", "at test time"]


def test_markdown_of_a_card_becomes_text() -> None:
    blocks = markdown("# a <b>\n\n- **x**: `<i>` and `\n- y\n\nend")
    assert [block["kind"] for block in blocks] == ["heading", "list", "paragraph"]
    assert blocks[1]["lines"] == [
        [("bold", "x"), ("text", ": "), ("code", "<i>"), ("text", " and `")],
        [("text", "y")],
    ]


def test_every_figure_is_that_of_its_file(home: Path, page: str) -> None:
    models = {one["name"]: one for one in scene(page)["models"]}
    assert list(models) == list(STAGES)
    for name, evaluation in zip(STAGES, ("linear", "test", "test"), strict=True):
        shown = models[name]["evaluation"]
        written = of_json(home / name, "evaluation.json")[evaluation]
        told = {who: {key: scores[key] for key in shown["model"]} for who, scores in written.items()}
        own, *floors = told
        model = bonestrap.load(home / name)
        assert shown == {
            "name": evaluation,
            "model": told[own],
            "floors": {who: told[who] for who in floors},
            "seen": 0,
        }
        assert models[name]["parameters"] == sum(p.numel() for p in model.parameters())
        latencies = [line["latency_ms"] for line in tracking.read(home / name) if "latency_ms" in line]
        assert models[name]["latency_ms"] == latencies[-1]
        assert sum(cost["hours"] for cost in models[name]["costs"]) == pytest.approx(lineage_hours(home / name))
    rows = {row[0]: row for row in table_of(page)}
    for name, model in models.items():
        measured = model["evaluation"]["model"]
        assert f"{measured['accuracy']:.1%}" in rows[name]
        assert f"{measured['low']:.1%} to {measured['high']:.1%}" in rows[name]
        drawn = measured["bootstrap"]
        assert f"{drawn['low']:.1%} to {drawn['high']:.1%}, 10 subjects" in rows[name]
        assert {f"{model['parameters']:,}", f"{model['latency_ms']:.2f}"} <= set(rows[name])
        assert of_json(home / name, "run.json")["info"]["commit"][:8] in " ".join(rows[name])
        assert Manifest.read(home / "shards").digest[:8] in rows[name]


def lineage_hours(run: Path) -> float:
    total, lineage = 0.0, of_json(run, "model/model.json")["lineage"]
    while lineage:
        total += lineage["device_hours"]
        lineage = lineage.get("parents", [{"lineage": None}])[0]["lineage"]
    return total


def table_of(page: str) -> Iterator[list[str]]:
    """The cells of the table of models, as text."""
    body = re.search(r'<table class="models">(.*?)</table>', page, re.DOTALL)
    assert body
    for row in re.findall(r"<tr>(.*?)</tr>", body[1])[1:]:
        cells = [re.sub(r"<br>.*", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)]
        yield [re.sub(r"<.*?>", "", cell) for cell in cells]


def test_confusions_are_those_of_the_shipped_model(home: Path, page: str) -> None:
    """Against the recordings as they were before packing, one by one through the model's own `predict`."""
    model, source = bonestrap.load(home / "student"), Copied()
    counts = np.zeros((2, 2), dtype=int)
    for number in range(len(source)):
        performance = source[number]
        raw = np.asarray(performance.views[2].joints)
        counts[performance.label, int(model.predict(raw).argmax())] += 1
    shown = np.array({one["name"]: one for one in scene(page)["models"]}["student"]["confusion"])
    assert shown.sum() == 20 and np.abs(shown - counts).sum() <= 2  # packing stores half precision
    told = of_json(home / "student", "evaluation.json")["test"]["student"]
    assert shown.trace() / shown.sum() == pytest.approx(told["accuracy"])


def test_the_page_names_the_faults_of_the_recordings(page: str) -> None:
    faults = "\n".join(Elements(page).text["span"])
    assert f"{COPIES} of 60 recordings are exact duplicates of another camera's" in faults
    assert f"{COPIES} of 20 test recordings (30.0%) are duplicates of training recordings" in faults


def test_a_neighbour_is_of_another_performance() -> None:
    rng = np.random.default_rng(0)
    owner = np.arange(30) // 2
    x, truth = rng.normal(size=(15, 4))[owner] + rng.normal(0, 0.01, (30, 4)), owner % 3
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    right = 0
    for row in range(30):
        others = [other for other in range(30) if owner[other] != owner[row]]
        right += truth[max(others, key=lambda other: unit[row] @ unit[other])] == truth[row]

    class Owners:
        view_performance = owner

    predictions = Predictions(data=Owners(), truth=truth, each=(Prediction(features=torch.from_numpy(x), table=None),))  # type: ignore[arg-type]
    assert predictions.neighbours(0) == pytest.approx(right / 30)


def test_an_option_of_many_words_may_be_repeated() -> None:
    words = ["--model", "a", "--model", "b", "c", "--data", "d", "--output", "o.html"]
    assert cli.parse(report.Options, words).model == (Path("a"), Path("b"), Path("c"))


@pytest.mark.parametrize("name", STAGES)
def test_a_card_says_what_the_files_of_its_run_say(home: Path, name: str) -> None:
    text = (home / name / "model" / card.FILE).read_text()
    told, model = of_json(home / name, "run.json"), of_json(home / name, "model/model.json")
    manifest = Manifest.read(home / "shards")
    for fact in (told["info"]["command"], told["info"]["commit"], told["info"]["hardware"], manifest.digest, SPLIT):
        assert fact in text
    assert f"**seed**: {told['result']['seed']}," in text
    assert f"SHA-256 `{sha256(home / name / 'model' / 'model.safetensors')}`" in text
    assert f"**{name}** ({model['stage']}): {model['lineage']['steps']:,} steps" in text
    assert f"**total cost**: {lineage_hours(home / name):.4f} device-hours" in text
    assert "**training recordings**: 40 of 60, 10 subjects, 2 cameras" in text
    assert text.count("**known issue**: ") == 2 and f"{COPIES} of 60 recordings are exact duplicates" in text
    labels = {"pretrained": "none", "teacher": f"50% of the training recordings, class-balanced: {20}"}
    assert f"**labels**: {labels.get(name, 'none; the teacher used the labels of 50%')}" in text


def test_a_card_has_what_few_labels_gave(home: Path, tmp_path: Path) -> None:
    run = tmp_path / "pretrained"
    shutil.copytree(home / "pretrained", run)
    model = {"accuracy": 0.5, "std": 0.125, "runs": [0.375, 0.5, 0.625], "labels": 40, "low": 0.2, "high": 0.8}
    few = {"pretrained": model, "random encoder": {**model, "accuracy": 0.25}, "raw joints": {**model, "accuracy": 0.5}}
    name = "semi-supervised 0.05 on lab 0a1b2c3d under fold-1"
    evaluation_file.write(run, {name: few, f"{name} on held-out": few})
    (line,) = [line for line in card.results(run_record.read(run)) if "semi-supervised" in line]
    assert line == (
        f"- **{name}**: accuracy 50.0% ± 12.5% over 3 draws of 40 labels; floors: random encoder 25.0%; "
        "raw joints 50.0%. **Not above raw joints**"
    )


def test_an_evaluation_completes_the_card(home: Path) -> None:
    text = (home / "teacher" / "model" / card.FILE).read_text()
    told = of_json(home / "teacher", "evaluation.json")["test"]
    line = next(line for line in text.splitlines() if line.startswith("- **test**"))
    assert f"{told['teacher']['accuracy']:.1%} (95 %: {told['teacher']['low']:.1%}" in line
    drawn = told["teacher"]["bootstrap"]
    assert f"{drawn['low']:.1%} to {drawn['high']:.1%} (bootstrap over 10 subjects))" in line
    assert f"raw joints {told['raw joints']['accuracy']:.1%}" in line and card.UNTESTED not in text
    fails = text.partition("## Worst classes: test")[2]
    rights = [int(count) for count in re.findall(r"of (\d+) recordings", fails)]
    assert rights == [10, 10]
    below = [who for who in ("random encoder", "raw joints") if told[who]["accuracy"] >= told["teacher"]["accuracy"]]
    assert ("Not above" in line) == bool(below)


def test_a_card_is_of_its_weights_alone(copy: Path) -> None:
    run = copy / "student"
    file = run / "model" / card.FILE
    card.ship(run_record.read(run), None)
    assert "Worst classes: test" in file.read_text()  # the same weights
    model = bonestrap.load(run)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    bonestrap.serialization.save(run / "model", model)
    card.ship(run_record.read(run), None)
    assert "Worst classes: test" not in file.read_text()
    assert bonestrap.load(run).classes == Copied.classes


def test_results_on_another_split_are_kept_beside_and_not_over(copy: Path) -> None:
    """The two published ways to test NW-UCLA's third camera share what is trained on."""
    file = copy / "student" / "evaluation.json"
    before = json.loads(file.read_text())
    evaluated("test", copy / "student", copy / "shards", "--split", "cross-view-nodup")
    after = json.loads(file.read_text())
    under = after.pop("test under cross-view-nodup")
    assert after == before
    recordings = [figures["student"]["recordings"] for figures in (under, before["test"])]
    assert recordings == [20 - COPIES, 20]


def test_other_shards_never_replace_the_headline(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, file = copy / "student", copy / "student" / "model" / card.FILE
    evaluations, before, measured = of_json(run, "evaluation.json"), file.read_text(), tracking.latest(run)
    pack(Copied(), copy / "again", shard_bytes=9000)  # the same recordings in other shards
    pack(Copied(seed=1, frames=21), copy / "new")
    said, digests = {}, {name: Manifest.read(copy / name).digest[:8] for name in ("shards", "again", "new")}
    assert len(set(digests.values())) == 3
    capsys.readouterr()
    for name, words in {"again": ["--split", "cross-subject"], "new": []}.items():
        evaluated("test", run, copy / name, *words)
        said[name] = capsys.readouterr().out

    after = of_json(run, "evaluation.json")
    again = after.pop(f"test on nw-ucla {digests['again']} under cross-subject")["student"]
    new = after.pop(f"test on nw-ucla {digests['new']}")["student"]
    assert after == evaluations
    now = tracking.latest(run)
    assert {key: now[key] for key in measured} == measured
    lines = [line for line in file.read_text().splitlines() if line.startswith("- **test")]
    assert lines[0] in before and len(lines) == 3

    # Of subjects 6 to 10, 10 performances, cameras 1 and 2 were trained on, and camera 3, which has 30 recordings
    # with them, was not.
    assert (again["recordings"], again["seen"]) == (30, 20) and (new["recordings"], new["seen"]) == (20, 0)
    assert "WARNING: 20 of these 30 recordings were in the training of this model" in said["again"]
    assert "20 of them were in the training set" in lines[1] and "WARNING" not in said["new"]


def test_the_total_cost_is_that_of_the_report(copy: Path, tmp_path: Path, mlflow_uri: str) -> None:
    """Three runs of one lineage, of which MLflow has the last alone: it has noted what came before."""
    uri, run = mlflow_uri, tmp_path / "student"
    words = ["--teacher", str(copy / "teacher"), "--data", str(copy / "shards"), "--run", str(run), "--device", "cpu"]
    start(distill.main, distill.Options, [*words, "--epochs", "0.1", "--batch", "4", "--tracking-uri", uri])
    (row,) = compare.compare(compare.read(uri, None))
    costs = run_record.read(run).costs
    assert [cost.stage for cost in costs] == ["pretrained", "teacher", "student"]
    own, total = row.own_device_hours, row.total_device_hours
    assert own == pytest.approx(costs[-1].hours, abs=1e-5) and total == pytest.approx(lineage_hours(run), abs=1e-5)
    assert own and total and total > own


def test_sections_of_an_earlier_card_are_kept_under_their_new_headings(copy: Path) -> None:
    run = copy / "student"
    file = run / "model" / card.FILE
    now = file.read_text()
    earlier = now.replace("## Worst classes: test", "## Where it fails: test").replace(
        "## Lineage", "## Where it comes from"
    )
    file.write_text(earlier)
    card.ship(run_record.read(run), None)
    assert "## Worst classes: test" in file.read_text()
    file.write_text(earlier)
    evaluated("test", run, copy / "shards")
    heads = re.findall("^## .*", file.read_text(), re.MULTILINE)
    assert heads == re.findall("^## .*", now, re.MULTILINE)


def test_worst_classes_are_listed_with_their_most_frequent_error() -> None:
    lines = card.failures([[8, 2, 0], [1, 4, 5], [0, 0, 0]], ("a", "b", "c"), "test")
    assert lines[0].endswith("1 of 2 classes below 50%:")
    assert lines[1:] == [
        "- b: recall 40.0% of 10 recordings, 5 predicted as c",
        "- a: recall 80.0% of 10 recordings, 2 predicted as b",
    ]


def spoil(copy: Path, what: str) -> tuple[list[Path], Path]:
    """Make a mistake, and say what the command is then given."""
    student, data = copy / "student", copy / "shards"
    if what == "no evaluation":
        (student / "evaluation.json").unlink()
    elif what == "other data set":
        data = copy / "other"
        pack(Copied(seed=1), data)
    elif what == "no journal":
        (student / "journal.jsonl").unlink()
    elif what == "other evaluation":
        told = of_json(student, "evaluation.json")
        told["test"]["student"]["accuracy"] += 0.1
        (student / "evaluation.json").write_text(json.dumps(told))
    elif what == "torn evaluation":
        (student / "evaluation.json").write_text('{"test": {"student": {"accuracy"')
    elif what == "no run":
        (student / "run.json").unlink()
    elif what == "same name":
        shutil.copytree(student, copy / "again" / "student")
        return [student, copy / "again" / "student"], data
    return [copy / "teacher", student], data


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no evaluation", "has not been evaluated on test recordings: python launch/evaluate.py test"),
        ("other data set", "give the shards it was trained on"),
        ("no journal", "journal.jsonl is missing"),
        ("other evaluation", "evaluate it again"),
        ("torn evaluation", "cannot be read"),
        ("no run", "run.json is missing"),
        ("same name", "two run directories are called student"),
    ],
)
def test_mistakes_are_one_sentence(copy: Path, capsys: pytest.CaptureFixture[str], what: str, message: str) -> None:
    runs, data = spoil(copy, what)
    (copy / "report.html").unlink(missing_ok=True)
    with pytest.raises(SystemExit) as caught:
        reported(runs, data, copy / "report.html")
    said = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2 and len(said) == 1 and message in said[0]
    assert not (copy / "report.html").exists()


def test_the_page_is_kept_with_its_run(
    copy: Path, tmp_path: Path, mlflow_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, uri = copy / "student", mlflow_uri
    describe(run, Tracking(experiment="e", name="student", tags={"bonestrap.stage": "student"}, uri=uri))
    evaluated("test", run, copy / "shards", "--report", str(tmp_path / "page.html"))
    capsys.readouterr()
    start(compare.main, compare.Options, ["--tracking-uri", uri])
    last = capsys.readouterr().out.strip().splitlines()[-1]
    name, address = last.split(": ", 1)
    kept = Path(address.removeprefix("file://"))
    assert name == "student" and kept.read_bytes() == (tmp_path / "page.html").read_bytes()


def test_an_evaluation_outlives_mlflow(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copy / "student"
    before = (run / "evaluation.json").read_text()
    (run / "evaluation.json").unlink()
    describe(run, Tracking(experiment="e", name="student", uri="http://127.0.0.1:9"))
    evaluated("test", run, copy / "shards", "--report", str(tmp_path / "page.html"))
    assert json.loads((run / "evaluation.json").read_text()) == json.loads(before)
    assert (tmp_path / "page.html").exists()
    assert "MLflow has not taken" in capsys.readouterr().err
