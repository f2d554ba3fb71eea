"""Folders for files on their way, which a killed worker leaves behind and the next one removes."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent` that is removed at the end of the block.

    Yields:
        The folder.
    """
    with tempfile.TemporaryDirectory(prefix="work-", dir=parent) as name:
        yield Path(name)


def empty_scratch(folder: Path) -> None:
    """Make the folder, without anything that a killed worker left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
