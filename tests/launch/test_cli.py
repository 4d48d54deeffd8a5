"""The command line as a user meets it: what it accepts, what it says, and how it starts."""

from __future__ import annotations

import dataclasses
import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from bonestrap.options import UserError, argument, option, required
from launch.cli.parser import parse, parse_choice, start, start_choice
from shards.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """How wide."""

    width: float = field(default=1.0, metadata={"help": "channels, as a share of the published ones"})
    blocks: tuple[int, ...] = (64, 128)

    def __post_init__(self) -> None:
        if self.width <= 0:
            raise ValueError(f"width must be positive, got {self.width:g}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    steps: int = 100
    learning_rate: float = 0.1
    encoder: Encoder = Encoder()

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("a run needs at least 1 step: raise --steps")


@dataclass(frozen=True, kw_only=True)
class Flags:
    data: Path = required("folder of shards")
    workers: int = option(0, "training processes; 0 trains in this one")
    device: Literal["auto", "cpu", "cuda"] = option("auto", "where to train")
    resume: bool = option(True, "go on from the newest checkpoint")
    threads: int | None = option(None, "CPU threads")
    stretch: tuple[float, float] = option((0.9, 1.1), "range of 100 % stretching")
    name: str = option("run", "title")


def small() -> Recipe:
    """A small recipe.

    Takes a minute.
    """
    return Recipe(steps=5, encoder=Encoder(width=0.25))


RECIPES = {"small": small, "full": Recipe}


def test_defaults_and_every_type() -> None:
    assert parse(Flags, ["--data", "here"]) == Flags(data=Path("here"))
    words = "--data=x --workers 2 --device cpu --no-resume --threads 3 --stretch 0.5 2 --name -"
    assert parse(Flags, words.split()) == Flags(
        data=Path("x"), workers=2, device="cpu", resume=False, threads=3, stretch=(0.5, 2.0), name="-"
    )
    assert parse(Flags, ["--data", "x", "--threads", "none"]).threads is None


def test_nested_options_override_only_what_they_name() -> None:
    name, flags, recipe = parse_choice(
        "recipe", RECIPES, Flags, ["small", "--data", "x", "--encoder.width", "2", "--learning-rate", "1e-3"]
    )
    assert (name, flags.data) == ("small", Path("x"))
    assert recipe == dataclasses.replace(small(), learning_rate=1e-3, encoder=Encoder(width=2.0))
    _, _, recipe = parse_choice("recipe", RECIPES, Flags, ["full", "--data", "x", "--encoder.blocks", "8", "16", "32"])
    assert recipe.encoder.blocks == (8, 16, 32)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("small --data x --encoder.widht 2", "unknown option --encoder.widht; did you mean --encoder.width?"),
        ("small --data x --encoder.widht=2", "unknown option --encoder.widht; did you mean --encoder.width?"),
        ("small --data x --zzz", "unknown option --zzz"),
        ("small --data x stray", "unexpected 'stray'"),
        ("smal --data x", "unknown recipe smal; did you mean small?; there is small, full"),
        ("--data x", "name the recipe first: small, full"),
        ("small", "--data must be given; --help explains every option"),
        ("small --data x --steps many", "--steps: expected a whole number, got 'many'"),
        ("small --data x --steps 1.5", "--steps: expected a whole number, got '1.5'"),
        ("small --data x --device gpu", "--device: expected one of auto, cpu, cuda, got 'gpu'"),
        ("small --data x --encoder.width -1", "--encoder.width must be positive, got -1"),
        ("small --data x --steps 0", "a run needs at least 1 step: raise --steps"),
        ("small --data x --stretch 1", "--stretch: expected 2 arguments"),
        ("small --data", "--data: expected one argument"),
        ("small --data x --resume=no", "--resume/--no-resume: takes no value, got 'no'"),
    ],
)
def test_each_mistake_has_its_sentence(words: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_choice("recipe", RECIPES, Flags, words.split())
    assert str(caught.value) == sentence


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    doc = "Train 100 % of it.\n\nExamples:\n  python launch/x.py small --data x"
    with pytest.raises(SystemExit) as stop:
        parse_choice("recipe", RECIPES, Flags, ["small", "--help"], doc)
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    parts = [
        "A small recipe.",
        "\n\nTakes a minute.",
        "--data PATH",
        "(required)",
        "--encoder.width X",
        "default: 0.25",
    ]
    parts += ["--resume, --no-resume", "auto|cpu|cuda", "range of 100 % stretching (default: 0.9 1.1)"]
    assert [part for part in parts if part not in shown] == []
    with pytest.raises(SystemExit):
        parse_choice("recipe", RECIPES, Flags, ["--help"], doc)
    shown = capsys.readouterr().out
    parts = ["Train 100 % of it.", "small  A small recipe.", "RECIPE --help lists", "launch/x.py small --data x"]
    assert [part for part in parts if part not in shown] == []
    assert "--encoder.width" not in shown and "Recipe(steps" not in shown


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (UserError("wrong: do this"), 2, "wrong: do this"),
        (DataError("shard 3 is cut short: pack again"), 2, "shard 3 is cut short: pack again"),
        (FileNotFoundError(2, "No such file or directory", "gone.tar"), 2, "gone.tar: no such file or directory"),
        (FileNotFoundError("no manifest in x"), 2, "no manifest in x"),
        (PermissionError(13, "Permission denied", "x"), 2, "x: permission denied"),
        (
            OSError(28, "No space left on device", "m"),
            2,
            "m: no space left on device; free space there, or choose another place",
        ),
        (
            OSError(30, "Read-only file system", "m"),
            2,
            "m: read-only file system; mount it for writing, or choose another place",
        ),
        (OSError(116, "Stale file handle", "m"), 2, "m: stale file handle; mount it again"),
        (OSError(5, "Input/output error"), 2, "input/output error; look at the disk, or at the connection to it"),
        (
            OSError(122, "Disk quota exceeded", "m"),
            2,
            "m: disk quota exceeded; free space there, or have the quota raised",
        ),
        (OSError(40, "Too many levels of symbolic links", "m"), 2, "m: too many levels of symbolic links"),
        (OSError("AWS Error NETWORK_CONNECTION\nmore"), 2, "AWS Error NETWORK_CONNECTION"),
        (ConnectionRefusedError(111, "Connection refused"), 2, "connection refused"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_what_a_user_can_mend_ends_in_one_line(
    error: BaseException, code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(flags: Flags) -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        start(fail, Flags, ["--data", "x"])
    shown = capsys.readouterr().err
    assert stop.value.code == code
    assert shown.endswith(sentence + "\n") and shown.count("\n") == 1


@pytest.mark.parametrize(
    "bug",
    [
        lambda: (_ for _ in ()).throw(ValueError("a bug")),
        lambda: os.close(10**6),  # OSErrors that no disk and no server has made
        lambda: os.kill(2**22 + 1, 0),
        lambda: os.waitpid(1, os.WNOHANG),
        lambda: io.BytesIO().fileno(),
    ],
    ids=["value", "bad descriptor", "no such process", "not a child", "unsupported"],
)
def test_other_errors_keep_their_traceback(bug: Callable[[], object]) -> None:
    def fail(flags: Flags) -> None:
        bug()

    with pytest.raises((ValueError, OSError)):
        start(fail, Flags, ["--data", "x"])


def test_start_choice_hands_over_all_three() -> None:
    seen: list[object] = []
    start_choice(lambda *got: seen.extend(got), "recipe", RECIPES, Flags, ["small", "--data", "x"])
    assert seen == ["small", Flags(data=Path("x")), small()]


SCRIPT = '''"""Say which packages were found."""
if __name__ == "__main__":
    import sys
    from pathlib import Path
    sys.path[0] = str(Path(__file__).resolve().parents[1])
import dataclasses
from launch.cli import parser as cli
@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    pass
def main(options: Options) -> None:
    import random
    print(cli.__file__, random.__file__)
if __name__ == "__main__":
    cli.start(main, Options)
'''


# All that the command line is made of, and what these import.
NEEDED = (
    "launch/__init__.py",
    *(f"launch/cli/{name}.py" for name in ("__init__", "changes", "errors", "fields", "parser")),
    *(f"bonestrap/{name}.py" for name in ("bounds", "config", "options")),
    *(f"shards/{name}.py" for name in ("__init__", "errors", "storage/__init__", "storage/redaction")),
)


@pytest.mark.parametrize("how", [["launch/show.py"], ["-m", "launch.show"]])
def test_a_script_starts_by_path_and_as_a_module_on_the_standard_library_alone(tmp_path: Path, how: list[str]) -> None:
    for file in NEEDED:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    (tmp_path / "distributed").mkdir()
    (tmp_path / "distributed" / "__init__.py").touch()
    (tmp_path / "bonestrap" / "__init__.py").touch()  # ours imports torch once a model is loaded
    (tmp_path / "launch" / "show.py").write_text(SCRIPT)
    (tmp_path / "launch" / "random.py").write_text("a neighbour that must not hide the standard module")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-S", *how]  # -S: no site-packages
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found, standard = done.stdout.split()
    assert found == str(tmp_path / "launch" / "cli" / "parser.py")
    assert str(tmp_path) not in standard


@dataclass(frozen=True, kw_only=True)
class Words:
    shards: Path = argument("folder of shards")
    output: Path | None = option(None, "a file")


def test_a_bare_word_needs_no_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse(Words, ["packed/a", "--output", "b"]) == Words(shards=Path("packed/a"), output=Path("b"))
    assert parse(Words, ["--output", "b", "packed/a"]).shards == Path("packed/a")
    with pytest.raises(UserError, match="SHARDS must be given; --help explains every option"):
        parse(Words, [])
    with pytest.raises(UserError, match="unexpected 'more'"):
        parse(Words, ["packed/a", "more"])
    with pytest.raises(SystemExit):
        parse(Words, ["--help"])
    assert "SHARDS" in capsys.readouterr().out
