from contextlib import suppress
from pathlib import Path

import pytest

from reelgrid.store import atomic
from reelgrid.store.atomic import atomic_write, atomic_write_folder
from tests.files import names


def test_a_finished_file_takes_its_name(tmp_path):
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole", encoding="utf-8")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "whole"
    assert names(tmp_path) == ["a.txt"]


def test_the_temporary_name_has_the_same_suffix_and_folder(tmp_path):
    with atomic_write(tmp_path / "a.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == tmp_path


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("before", encoding="utf-8")
    with pytest.raises(OSError, match="full"):
        write_half(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "before"
    assert names(tmp_path) == ["a.txt"]


def test_a_new_file_has_the_users_usual_permissions(tmp_path):
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_folder_replaces_the_one_before_it(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "old").touch()
    with atomic_write_folder(folder) as temporary:
        (temporary / "new").touch()
    assert names(folder) == ["new"]
    assert names(tmp_path) == ["frames"]


def test_a_folder_that_is_replaced_is_never_missing(tmp_path, monkeypatch):
    """Killed before any step of the replacement, the name shows the old folder or the new one."""
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "old").touch()
    steps = []

    def rename(self, target):
        steps.append(self)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return really_rename(self, target)

    really_rename = Path.rename
    monkeypatch.setattr(Path, "rename", rename)
    with suppress(KeyboardInterrupt), atomic_write_folder(folder) as temporary:
        (temporary / "new").touch()
    assert names(folder) in (["old"], ["new"])


def test_without_a_system_call_that_swaps_names_a_folder_is_replaced_too(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda new, path: False)
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "old").touch()
    with atomic_write_folder(tmp_path / "frames") as temporary:
        (temporary / "new").touch()
    assert names(tmp_path / "frames") == ["new"]
    assert names(tmp_path) == ["frames"]


def test_a_folder_that_fails_leaves_the_one_before_it(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(OSError, match="full"):
        write_half_folder(folder)
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["frames"]


def write_half(path):
    with atomic_write(path) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise OSError("full")


def write_half_folder(path):
    with atomic_write_folder(path) as temporary:
        (temporary / "new").touch()
        raise OSError("full")


def test_the_umask_is_never_changed_not_even_for_a_moment(tmp_path, monkeypatch):
    def touched(mask):
        raise AssertionError("another thread would make files that anybody may write")

    monkeypatch.setattr("os.umask", touched)
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.touch()
    with atomic_write_folder(tmp_path / "frames") as temporary:
        (temporary / "new").touch()
    assert names(tmp_path) == ["a.txt", "frames"]


def test_a_secret_is_nobody_elses_from_its_first_byte(tmp_path):
    with atomic_write(tmp_path / "key.pem", mode=0o600) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o600
        temporary.write_text("secret", encoding="utf-8")
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
