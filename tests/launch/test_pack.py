"""The packing command: what it prints, and that every user error is one line, exit code 2 and no folder."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from launch.cli.parser import start, start_choice
from launch.pack import FORMATS, Options, Verify, main, verify
from shards.manifest import Manifest
from shards.packing.losses import whole
from shards.reader import Resident

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three NW-UCLA files of two performances."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for seed, name in enumerate(("a01_s01_e00_v01", "a01_s01_e00_v02", "a12_s02_e00_v01")):
        skeletons = np.random.default_rng(seed).normal(0, 0.4, (4 + seed, 20, 3)).tolist()
        (folder / f"{name}.json").write_text(json.dumps({"skeletons": skeletons}))
    return folder


def run(*words: object) -> None:
    start_choice(main, "format", FORMATS, Options, [str(word) for word in words])


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run, expect exit code 2, and return the one sentence."""
    with pytest.raises(SystemExit) as caught:
        run(*words)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    return lines[-1]


def test_the_summary_tells_what_was_packed(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shards"
    run("nw-ucla", "--input", recordings, "--output", output)
    printed = capsys.readouterr()
    data = Resident.load(output)
    size = sum(path.stat().st_size for path in output.glob("*.tar"))
    assert printed.out.split("\n") == [
        f"{output}: nw-ucla, layout kinect20, 10 classes",
        "  performances 2",
        "  views        3",
        "  frames       15",
        f"  bytes        {size} in 1 shards, float16",
        f"  digest       {data.manifest.digest}",
        "  dropped      0",
        "",
    ]
    first, last = printed.err.splitlines()
    assert first == "packing   0%  0/2 performances"
    assert re.fullmatch(r"packing 100%  2/2 performances  [\d,.]+/s  in 0:0\d", last)


def test_dropped_files_are_listed_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("synthetic", "--subjects", 1, "--repetitions", 1, "--input", tmp_path / "raw", "--output", tmp_path / "a")
    capsys.readouterr()
    names = sorted(path.stem for path in (tmp_path / "raw").iterdir())
    (tmp_path / "raw" / f"{names[0]}.skeleton").write_text("1\n0\n")
    (tmp_path / "raw" / f"{names[7]}.skeleton").write_text("rubbish")
    (tmp_path / "missing.txt").write_text("\n".join(names[1:6]))
    words = ("ntu", "--input", tmp_path / "raw", "--missing", tmp_path / "missing.txt", "--output", tmp_path / "b")
    assert f"{names[7]}.skeleton: cut short" in refused(capsys, *words)
    run(*words, "--broken", "drop")
    listed = capsys.readouterr().out.splitlines()
    key = names[7][:4] + names[7][8:]
    first = listed.index("  dropped      7")
    assert [*listed[first : first + 5], listed[-1]] == [
        "  dropped      7",
        f"         5  listed as missing: {', '.join(f'{name}.skeleton' for name in names[1:4])}, ...",
        f"         1  no body in any frame: {names[0]}.skeleton",
        f"         1  broken: {key}",
        f"            first: {tmp_path / 'raw' / names[7]}.skeleton: cut short or not an NTU .skeleton file; fetch the "
        "file again or remove it",
        f"    all of them are in {tmp_path / 'b' / 'dropped.csv'}",
    ]
    with (tmp_path / "b" / "dropped.csv").open() as file:
        rows = [(file, reason) for file, reason in list(csv.reader(file))[1:]]
    assert sorted(file for file, _ in whole(rows)) == sorted([key, *(f"{name}.skeleton" for name in names[:6])])


def test_shards_are_verified(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "shards"
    run("nw-ucla", "--input", recordings, "--output", output)
    capsys.readouterr()
    start(verify, Verify, [str(output)])
    manifest = Manifest.read(output)
    assert capsys.readouterr().out == (
        f"OK  {output}: 5 members in 1 shards, 2 performances, 3 views, digest {manifest.digest}\n"
    )
    path = output / "shard-00000.tar"
    path.write_bytes(path.read_bytes()[:-1024])
    (output / "index.npz").unlink()
    with pytest.raises(SystemExit) as caught:
        start(verify, Verify, [str(output), "--workers", "1"])
    assert caught.value.code == 2
    printed = capsys.readouterr()
    damaged = [line for line in printed.err.splitlines() if line.startswith("DAMAGED")]
    assert damaged[0].startswith(f"DAMAGED  {output / 'index.npz'} is missing")
    assert damaged[1].startswith(f"DAMAGED  {path} is truncated") and len(damaged) == 2 and not printed.out
    with pytest.raises(SystemExit):
        start(verify, Verify, [str(tmp_path / "nowhere")])
    assert "no such folder of shards" in capsys.readouterr().err


def test_recordings_are_appended(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, more = tmp_path / "shards", tmp_path / "more"
    more.mkdir()
    (more / "a02_s03_e00_v01.json").write_bytes((recordings / "a12_s02_e00_v01.json").read_bytes())
    run("nw-ucla", "--input", recordings, "--output", output)
    run("nw-ucla", "--input", more, "--output", output, "--append")
    assert "  performances 3" in capsys.readouterr().out
    assert list(Resident.load(output).performance_key) == ["a01_s01_e00", "a12_s02_e00", "a02_s03_e00"]
    message = refused(capsys, "nw-ucla", "--input", more, "--output", output, "--append")
    assert "performance a02_s03_e00 is in these shards already" in message


def test_shards_that_are_there_are_kept_on_request(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "shards"
    words = ("nw-ucla", "--input", recordings, "--output", output, "--existing", "keep")
    run(*words)
    first, times = capsys.readouterr().out, [path.stat().st_mtime_ns for path in sorted(output.iterdir())]
    run(*words)
    assert capsys.readouterr().out == first
    assert [path.stat().st_mtime_ns for path in sorted(output.iterdir())] == times
    assert "empty" in refused(capsys, *words[:-2])
    assert "one of them" in refused(capsys, *words, "--append")


def test_workers_on_ray_change_nothing(recordings: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    run("nw-ucla", "--input", recordings, "--output", tmp_path / "a", "--workers", 1)
    run("nw-ucla", "--input", recordings, "--output", tmp_path / "b", "--ray")
    assert [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "b").iterdir())
    ]


def test_synthetic_recordings_go_through_the_ntu_parser(tmp_path: Path) -> None:
    run("synthetic", "--subjects", 1, "--repetitions", 1, "--output", tmp_path / "shards")
    data = Resident.load(tmp_path / "shards")
    assert (data.manifest.name, data.layout.name) == ("synthetic", "ntu25")
    assert len(data.performance_key) == len(data.manifest.classes) == len(set(data.performance_label))
    assert len(data.manifest.classes) >= 12 and len(data) == 3 * len(data.manifest.classes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards"]


def test_the_shard_size_is_obeyed(recordings: Path, tmp_path: Path) -> None:
    run("nw-ucla", "--input", recordings, "--output", tmp_path / "shards", "--dtype", "float32")
    manifest = Resident.load(tmp_path / "shards").manifest
    assert (manifest.dtype, len(manifest.shards)) == ("float32", 1)


def test_mistakes_are_one_sentence(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "shards"
    (tmp_path / "empty").mkdir()
    for words, message in (
        (("nw-ucla", "--output", output), "nw-ucla needs --input, the folder that holds the recordings"),
        (("nw-ucla", "--input", tmp_path / "empty", "--output", output), "no aAA_sSS_eEE_vVV.json files"),
        (("ntu", "--input", recordings, "--output", output), "no .skeleton files"),
        (("ntu", "--input", recordings, "--output", recordings), "is already there and not empty"),
        (("nw-ucla", "--inptu", recordings, "--output", output), "unknown option --inptu; did you mean --input?"),
        (("nw-ulca", "--input", recordings, "--output", output), "unknown format nw-ulca; did you mean nw-ucla?"),
        (("nw-ucla", "--input", recordings, "--output", output, "--append"), "no such folder of shards"),
        (
            ("nw-ucla", "--input", recordings, "--output", output, "--workers", 0),
            "--workers must lie in [1, 4096], got 0",
        ),
        (("synthetic", "--output", output, "--setups", 9), "--setups must lie in [1, 4], got 9"),
        (("synthetic", "--output", output, "--subjects", 0), "--subjects must lie in [1, 999], got 0"),
    ):
        assert message in refused(capsys, *words)
        assert not output.exists()


def test_nan_joints_name_the_file(recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recordings / "a12_s02_e00_v01.json"
    skeletons = json.loads(path.read_text())["skeletons"]
    skeletons[2][5][1] = float("nan")
    path.write_text(json.dumps({"skeletons": skeletons}))
    message = refused(capsys, "nw-ucla", "--input", recordings, "--output", tmp_path / "shards")
    assert "a12_s02_e00_v01.json: body 0 has NaN or infinite joints in frame 2" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recordings"]


def test_what_is_left_out_of_recordings_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    joints = np.random.default_rng(0).normal(0, 0.4, (2, 30, 20, 3)).astype(np.float32) + 3
    joints[0, [0, 1, 29]] = 0
    joints[1, 10:12] = np.nan
    joints[1, 20, 4] = 0
    (tmp_path / "in").mkdir()
    for name, one in zip("ab", joints, strict=True):
        np.save(tmp_path / "in" / f"{name}.npy", one)
    (tmp_path / "t.csv").write_text("file,label,rate\na,1,30\nb,2,25\n")
    words = ("--layout", "kinect20", "--table", tmp_path / "t.csv", "--output", tmp_path / "out", "--workers", 1)
    run("arrays", "--input", tmp_path / "in", *words)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert "  frames       55 of 60 read" in lines
    assert lines[-5:] == [
        "  dropped      0",
        "  in part      2",
        "         5  of 60 frames, frames without anybody: a.npy, b.npy",
        "         1  of 560 joints, joints at exactly zero, interpolated: b.npy",
        f"    all of them are in {tmp_path / 'out' / 'dropped.csv'}",
    ]
    assert [line[:45] for line in err.splitlines()[:2]] == [
        "warning: no recording is of class 0: the labe", "warning: recordings have 25 to 30 frames a se",
    ]  # fmt: skip
    with (tmp_path / "out" / "dropped.csv").open() as file:
        assert ["a.npy", "frames without anybody: 3 of 30 frames"] in list(csv.reader(file))


@pytest.mark.parametrize("start", [["launch/pack.py"], ["-m", "launch.pack"]])
def test_the_help_teaches_by_examples(start: list[str]) -> None:
    done = subprocess.run([sys.executable, *start, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python launch/pack.py nw-ucla --input" in done.stdout
    assert all(name in done.stdout for name in FORMATS)
