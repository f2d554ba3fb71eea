import pytest

from reelgrid.workers import lease
from reelgrid.workers.checkpoints import Saving
from tests.families.tiny import tiny_model
from tests.workers.rig import Rig


@pytest.fixture(scope="session")
def model():
    return tiny_model("wan_unipc")


@pytest.fixture
def rig(tmp_path, model, monkeypatch):
    """Everything in one process; at the edge of every step the desk is asked, and a save waited for."""
    monkeypatch.setattr(lease, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(lease, "ASK_SHARE", 1e9)
    monkeypatch.setattr(Saving, "_is_writing", False)
    rig = Rig(tmp_path, model)
    yield rig
    rig.job_queue.close()
