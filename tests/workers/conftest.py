import pytest

from reelgrid.engine.checkpointer import BackgroundWriter
from reelgrid.workers import lease
from tests.families.tiny import tiny_model
from tests.workers.rig import Rig


@pytest.fixture(scope="session")
def model():
    return tiny_model("wan_unipc")


@pytest.fixture
def rig(tmp_path, model, monkeypatch):
    """Everything in one process; between two steps the queue is polled and the last write waited for."""
    monkeypatch.setattr(lease, "POLL_EVERY_S", 0.0)
    monkeypatch.setattr(lease, "POLL_SHARE", 1e9)
    monkeypatch.setattr(BackgroundWriter, "is_busy", False)
    rig = Rig(tmp_path, model)
    yield rig
    rig.job_queue.close()
