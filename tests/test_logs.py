import json
import logging

from reelgrid import logs


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


def test_a_command_in_a_test_leaves_no_handler_behind():
    """The fixture of all tests removes what the tests above have configured."""
    assert not [
        each for each in logging.getLogger().handlers if type(each) is logging.StreamHandler
    ]
