"""Settings of every test: those of a main program, without time limits that a busy machine exceeds."""

import logging

import pytest
from hypothesis import HealthCheck, settings

from reelgrid.startup import prepare_process

prepare_process()

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _logging_as_before():
    """Undo what a command that runs in the test's process configures.

    Its handler writes to the stderr of that one test. In later tests every record would fail with a
    traceback: a test that logs thousands of records then took minutes.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)
