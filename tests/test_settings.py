from pathlib import Path

import pytest
from pydantic import ValidationError

from reelgrid.settings import Settings


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
