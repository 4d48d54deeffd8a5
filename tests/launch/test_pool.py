"""Several folders of other joints and frame rates train one encoder, and each of them is told of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bonestrap.layouts import KINECT20, NTU25
from bonestrap.options import UserError
from evaluation import trained
from evaluation.models import load_model
from shards.packing.pack import pack
from shards.pool import Pool, pooled
from shards.reader import Resident
from shards.reading import Reading
from shards.sources.source import Performance, View
from tests.launch.commands import command
from tests.launch.faults import SMALL
from tests.launch.waving import Waving

POOL = [word for word in SMALL if word not in ("--split", "cross-subject")]


class Nodding(Waving):
    """The same people before Kinect v2, at half the rate. They declare a split, by people."""

    name, layout = "lab", NTU25
    rate, licence = 15.0, "ours"

    def __getitem__(self, number: int) -> Performance:
        found = super().__getitem__(number)
        part = ("split/train", "split/train", "split/val", "split/test")[number // 2 % 4]
        views = [
            View(camera=view.camera, joints=view.joints, origin=f"lab{view.origin}", splits=(part,))
            for view in found.views
        ]
        return Performance(**{**vars(found), "views": tuple(views)})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twenty performances of 20 joints at 30 Hz, and as many of 25 joints at 15 Hz."""
    pytest.importorskip("webdataset")
    root = tmp_path_factory.mktemp("pool")
    pack(Waving(), root / "ucla", shard_bytes=40_000)
    pack(Nodding(), root / "lab", shard_bytes=40_000)
    return root / "ucla", root / "lab"


def pretrain(run: Path, *words: object, steps: int = 4) -> dict[str, torch.Tensor]:
    """The weights of a run of so many steps of 8 clips on 10 + 20 performances."""
    epochs = (steps - 0.5) * 8 / 30
    command(" ".join(map(str, ("pretrain byol-small --run", run, "--schedule.epochs", epochs, *POOL, *words))))
    return load_file(run / "model/model.safetensors")


@pytest.mark.parametrize("groups", ["mixed", "single"])
def test_a_pool_trains_and_resumes_bit_for_bit(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], groups: str
) -> None:
    run = tmp_path / "run"
    words = ("--data", *folders, "--pool.splits", "cross-subject", "all", "--pool.groups", groups)
    whole = pretrain(run, *words)
    for gone in (run / "checkpoints/step-00000004", run / "model"):
        shutil.rmtree(gone)
    capsys.readouterr()
    resumed = pretrain(run, *words)
    told = capsys.readouterr()
    assert "after 2 of 4 steps" in told.out + told.err
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_pool_is_streamed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pretrain(tmp_path / "run", "--data", *folders, "--split", "all", "--stream", "yes", "--window", 2, steps=2)


def test_every_folder_is_told_of(
    folders: tuple[Path, Path], tmp_path: Path, mlflow_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ("--data", *folders, "--pool.splits", "cross-subject", "all", "--pool.weights", 1, 3)
    pretrain(run, *words, "--track", "--tracking-uri", mlflow_uri)
    said = capsys.readouterr().out
    assert f"{folders[0]}: nw-ucla, cross-subject, layout kinect20 as kinect20, 30 frames a second\n" in said
    assert f"{folders[1]}: lab, all, layout ntu25 as kinect20, 15 frames a second as 30\n" in said
    digests = [json.loads((folder / "manifest.json").read_text())["digest"] for folder in folders]
    description = json.loads((run / "model/model.json").read_text())
    assert description["layout"] == KINECT20.to_json()
    corpora = description["lineage"]["corpora"]
    assert [each["digest"] for each in corpora] == digests and description["lineage"]["digest"] == digests[0]
    assert [(each["fraction"], each["recordings"]) for each in corpora] == [(0.25, 20), (0.75, 40)]
    recorded = json.loads((run / "run.json").read_text())["result"]["pool"]
    assert [each["digest"] for each in recorded["corpora"]] == digests and recorded["rate"] == 30
    assert [each["licence"] for each in recorded["corpora"]] == [corpora[0]["licence"], "ours"]
    card = (run / "model/README.md").read_text()
    assert all(digest in card for digest in digests) and "- lab: ours\n" in card and "layout ntu25, 40 rec" in card
    assert "nw-ucla and lab before using" in card and "75.0% of the clips" in card
    import mlflow

    client = mlflow.MlflowClient(mlflow_uri)
    (found,) = client.search_runs([client.get_experiment_by_name("bonestrap").experiment_id])
    assert [each.dataset.digest for each in found.inputs.dataset_inputs] == [digest[:36] for digest in digests]
    assert found.data.params["pool.corpora"] == "nw-ucla cross-subject + lab all"
    description["lineage"]["corpora"][1].pop("licence")
    (run / "model/model.json").write_text(json.dumps(description))
    with pytest.raises(UserError, match=r"lineage is damaged \(corpora is not a list of data sets\)"):
        load_model(run)
    known = trained.read(run)
    assert known is not None and len(known) == 60
    for folder, count in zip(folders, (20, 40), strict=True):
        assert np.isin(trained.fingerprints(Resident.load(folder)), known).sum() == count


def test_a_model_meets_other_joints(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Under every protocol, and when it is fine-tuned."""
    run = tmp_path / "run"
    pretrain(run, "--data", folders[0], "--pool.skeleton", "sbu15", "--split", "cross-subject", steps=1)
    for protocol in ("linear", "knn", "semi-supervised --fractions 0.5", "few-shot --shots 1", "retrieval", "transfer"):
        command(f"evaluate {protocol} --model {run} --data {folders[1]} --split split --no-track")
    teacher = tmp_path / "teacher"
    few = f"--split split --labels 1 --steps 1 --batch 4 --no-track --device cpu --threads 1 --run {teacher}"
    command(f"finetune --model {run} --data {folders[1]} {few}")
    description = json.loads((teacher / "model/model.json").read_text())
    assert (description["layout"]["name"], description["lineage"]["rate"]) == ("sbu15", 30)
    command(f"evaluate test --model {teacher} --data {folders[1]} --no-track")
    suffix = f" on lab {json.loads((folders[1] / 'manifest.json').read_text())['digest'][:8]} under split"
    protocols = ("few-shot 1", "knn", "linear", "retrieval in train", "semi-supervised 0.5", "transfer")
    assert set(json.loads((run / "evaluation.json").read_text())) == {
        "format", *(f"{name}{suffix}" for name in protocols)
    }  # fmt: skip


def refused(capsys: pytest.CaptureFixture[str], run: Path, *words: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        pretrain(run, *words)
    (line,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and not run.exists()
    return line


def test_what_is_no_pool_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ucla, lab = folders
    both, run = ("--data", ucla, lab, "--pool.splits", "cross-subject", "all"), tmp_path / "run"
    (tmp_path / "copy").symlink_to(lab)
    assert "name each folder once" in refused(capsys, run, *both[:3], tmp_path / "copy")
    assert "--pool.weights has 3 values and --data 2 folders" in refused(capsys, run, *both, "--pool.weights", 1, 2, 3)
    assert "--pool.splits has 1 values and" in refused(capsys, run, *both[:4], "all")
    assert "--pool.weights must lie in (0," in refused(capsys, run, *both, "--pool.weights", 0, 1)
    assert "--pool.alpha has no effect" in refused(capsys, run, *both, "--pool.weights", 1, 1, "--pool.alpha", 0.5)
    assert "--pool.alpha has no effect with one" in refused(capsys, run, "--data", ucla, "--pool.alpha", 0.5)
    said = refused(capsys, run, *both[:3])
    assert "lab has no split cross-subject" in said and "--pool.splits names the split of each folder" in said
    assert "neither a layout file nor a known layout" in refused(capsys, run, *both, "--pool.skeleton", "kinekt")
    said = refused(capsys, run, *both, "--pool.skeleton", "coco17")
    assert f"{ucla}: layout coco17 has 2 numbers a joint" in said
    assert "--classes chooses among the classes" in refused(capsys, run, *both, "--classes.leave-out", "novel")
    with pytest.raises(SystemExit):
        command(f"pretrain supervised --run {run} --data {ucla} {lab} --pool.splits cross-subject all --no-track")
    assert "a method with labels takes one folder" in capsys.readouterr().err
    (tmp_path / "joints.json").write_text('{"ntu25": {"head": "skull"}}')
    said = refused(capsys, run, *both, "--pool.joints", tmp_path / "joints.json")
    assert f"{lab}: ntu25: head is made of skull, which is no joint of that layout" in said
    (tmp_path / "joints.json").write_text('{"ntu25": ["head"]}')
    assert "not of the form" in refused(capsys, run, *both, "--pool.joints", tmp_path / "joints.json")


def test_an_empty_corpus_and_one_of_no_known_rate_are_refused(tmp_path: Path) -> None:
    class Still(Nodding):
        """Recordings that only test, of no known rate."""

        rate: float | None = None  # type: ignore[assignment]
        licence = ""

        def __getitem__(self, number: int) -> Performance:
            found = super().__getitem__(number)
            views = tuple(View(**{**vars(view), "splits": ("split/test",)}) for view in found.views)
            return Performance(**{**vars(found), "views": views})

    for name, source in (("ucla", Waving()), ("still", Still())):
        pack(source, tmp_path / name)
    readings = [Reading(data=str(tmp_path / name)) for name in ("ucla", "still")]
    with pytest.raises(ValueError, match=r"still: the training side of split split has no recording; leave the folder"):
        pooled(Pool(splits=("all", "split")), readings, "all")
    with pytest.raises(ValueError, match=r"still does not say how many frames a second it has: pack it with --rate"):
        pooled(Pool(rate=20.0), readings, "all")
    found = pooled(Pool(alpha=0.0), readings, "all")
    assert found.rate == 30 and "frame rate not known" in found.said[1]
    assert found.retarget(found.corpora[1], NTU25).step == 1 and found.fractions([10, 1000]) == [0.5, 0.5]
    root = pooled(Pool(alpha=0.5), readings, "all").fractions([100, 900])
    assert root == [pytest.approx(0.25), pytest.approx(0.75)]
