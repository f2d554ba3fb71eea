"""One tiny Wan pipeline, shared: generations do not change it."""

import pytest

from reelgrid.spec import Request
from tests.families.tiny import tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model("wan_unipc", num_steps=4)


@pytest.fixture
def request_():
    return Request("a red ball rolls to the right", seed=7)
