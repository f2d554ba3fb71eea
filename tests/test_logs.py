import json
import logging

import pytest

from reelgrid import logs


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(capture=False)


def test_text_goes_to_stderr(capsys):
    logs.configure("INFO")
    logging.getLogger("reelgrid.test").info("step %d", 3)
    assert capsys.readouterr() == ("", "INFO reelgrid.test: step 3\n")


def test_json_carries_what_was_given_as_extra(capsys):
    logs.configure("INFO", as_json=True)
    logging.getLogger("reelgrid.test").warning("slow", extra={"job": "j1"})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["message"], line["job"]) == ("WARNING", "slow", "j1")


def test_records_below_the_level_are_dropped(capsys):
    logs.configure("WARNING")
    logging.getLogger("reelgrid.test").info("chatter")
    assert capsys.readouterr().err == ""
