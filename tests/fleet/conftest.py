import pytest

from reelgrid.fleet import lease
from tests.families.tiny import tiny_model
from tests.fleet.rig import Rig


@pytest.fixture(scope="session")
def model():
    return tiny_model("wan_unipc")


@pytest.fixture
def rig(tmp_path, model, monkeypatch):
    """Everything in one process; the desk is asked at the edge of every step."""
    monkeypatch.setattr(lease, "ASK_EVERY_S", 0.0)
    monkeypatch.setattr(lease, "ASK_SHARE", 1e9)
    rig = Rig(tmp_path, model)
    yield rig
    rig.desk.close()
