"""Previews alone: which worker may write them, and how many are kept."""

import numpy as np
import pytest

from reelgrid.engine.generation import Generation
from reelgrid.media import Provenance
from reelgrid.store.blobs import Blobs
from reelgrid.workers.previews import Previews

PROVENANCE = Provenance(prompt="", seed=0, model="", software="", prompts_in_metadata=False)


class Picture(Generation):
    """A generation that has only a preview."""

    def __init__(self):
        pass

    def preview(self):
        return np.zeros((8, 8, 3), dtype=np.uint8)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def make(blobs, folder, names, *, may_write=True, is_kept=False):
    with Previews(blobs, folder, may_write=lambda: may_write, every_s=1.0) as previews:
        for name in names:
            previews.make(Picture(), PROVENANCE, name, is_kept=is_kept)
    return [blob.name for blob in blobs.list()], previews.latest


def test_the_newest_two_are_kept(blobs, tmp_path):
    names = [f"previews/a/{number}.webp" for number in range(4)]
    assert make(blobs, tmp_path, names) == (names[2:], names[3])


def test_those_that_are_to_be_kept_are(blobs, tmp_path):
    names = [f"previews/a/{number}.webp" for number in range(4)]
    assert make(blobs, tmp_path, names, is_kept=True) == (names, None)


def test_no_preview_is_written_of_a_job_that_is_another_s(blobs, tmp_path):
    assert make(blobs, tmp_path, ["previews/a/1.webp"], may_write=False) == ([], None)
    assert [path.name for path in tmp_path.iterdir()] == ["blobs"]
