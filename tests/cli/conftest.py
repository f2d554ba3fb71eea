"""The command line in this process, on a tiny random model instead of a shipped one."""

import pytest

from reelgrid.cli.app import run
from tests.families.tiny import tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model("wan_unipc")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with the user's data beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path / "data"))
    return folder


@pytest.fixture
def reelgrid(model, monkeypatch, capsys):
    """Run a command line; the answer is its exit code, stdout and stderr."""
    monkeypatch.setattr(
        "reelgrid.models.loading.load_model", lambda *args, **options: model, raising=False
    )

    def command(*words):
        code = run([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command
