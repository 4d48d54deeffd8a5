"""A registered model is fetched by the digest of all of its files, before any of them is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from distributed.registry import digest, main

SCRIPT = """
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

class Model(PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input

set_model(Model())
"""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An MLflow server's address, and the folder in which it keeps the files of version 1 of `toy`."""
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("mlflow")
    (folder / "serving.py").write_text(SCRIPT)
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)
        mlflow.create_experiment("toy", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("toy")
        mlflow.pyfunc.log_model(
            name="model", python_model=str(folder / "serving.py"), pip_requirements=[], registered_model_name="toy"
        )
        mlflow.set_tracking_uri(None)
    (file,) = (folder / "artifacts").rglob("MLmodel")
    return uri, file.parent


@pytest.fixture(autouse=True)
def server(stored: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", stored[0])


def fetched(expected: str, to: Path, model: str = "models:/toy/1") -> int:
    return main([model, "--digest", expected, "--to", str(to)])


def test_what_was_registered_is_served(stored: tuple[str, Path], tmp_path: Path) -> None:
    kept = stored[1]
    assert fetched(digest(kept), tmp_path / "served") == 0
    assert (tmp_path / "served" / "serving.py").read_text() == SCRIPT
    assert digest(tmp_path / "served") == digest(kept)
    assert fetched(digest(kept), tmp_path / "served") == 2  # nothing is overwritten


@pytest.mark.parametrize("change", ["a file changed", "a file added", "a file renamed"])
def test_anything_else_is_refused(
    stored: tuple[str, Path], tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = stored[1]
    expected, script = digest(kept), kept / "serving.py"
    more = kept / ("torch.py" if change == "a file added" else "other.py")
    try:
        if change == "a file changed":
            script.write_text(f"print('owned'){SCRIPT}")
        elif change == "a file added":
            more.write_text("print('owned')")  # found before the package of that name
        else:
            script.rename(more)
        assert fetched(expected, tmp_path / "served") == 2
    finally:
        more.unlink(missing_ok=True)
        script.write_text(SCRIPT)
    said = capsys.readouterr()
    assert "it is not what was registered" in said.err and "owned" not in said.out
    assert not list(tmp_path.iterdir())
    assert digest(kept) == expected


def test_an_unknown_model_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetched("0" * 64, tmp_path / "served", "models:/toy@gone") == 2
    assert len(capsys.readouterr().err.strip().splitlines()[-1]) > 10
    assert not list(tmp_path.iterdir())
