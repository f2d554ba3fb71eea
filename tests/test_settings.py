from pathlib import Path

import pytest
from pydantic import ValidationError

from reelgrid.cli.options import read_settings
from reelgrid.errors import RequestError
from reelgrid.settings import RENAMED_VARIABLES, Settings


def test_the_data_folder_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    assert Settings().checkpoints == tmp_path / "checkpoints"
    assert Settings().measurements == tmp_path / "bench.jsonl"


def test_without_a_word_it_is_the_users_own(monkeypatch):
    monkeypatch.delenv("REELGRID_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    monkeypatch.setattr("sys.platform", "linux")
    assert Settings().data == Path("/somewhere/reelgrid")


def test_a_level_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("REELGRID_LOG_LEVEL", "LOUD")
    with pytest.raises(ValidationError):
        Settings()


def test_a_database_of_an_earlier_version_is_not_left_behind(tmp_path):
    settings = Settings(data=tmp_path)
    (tmp_path / "desk.sqlite").touch()
    assert settings.database_url == f"sqlite:///{tmp_path}/desk.sqlite"
    (tmp_path / "jobs.sqlite").touch()
    assert settings.database_url == f"sqlite:///{tmp_path}/jobs.sqlite"
    assert Settings(data=tmp_path / "new").database_url.endswith("/new/jobs.sqlite")


@pytest.mark.parametrize(("earlier", "name"), RENAMED_VARIABLES.items())
def test_a_variable_with_an_earlier_name_is_refused(monkeypatch, earlier, name):
    assert name.removeprefix("REELGRID_").lower() in Settings.model_fields
    monkeypatch.setenv(earlier, "1")
    with pytest.raises(RequestError, match=f"{earlier} is called {name} now"):
        read_settings()
