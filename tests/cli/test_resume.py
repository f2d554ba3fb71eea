import json

import pytest

from reelgrid.local import RunInterrupted, RunSpec, generate_file
from reelgrid.local.run import RunHooks
from reelgrid.settings import Settings
from reelgrid.spec import Request
from tests.files import names


@pytest.fixture
def stopped(model, here):
    """Stop a generation after a step; return its checkpoint."""

    def stop(prompt="a red ball", name="a.mp4"):
        order = RunSpec(model="tiny", request=Request(prompt), output=here / name)
        with pytest.raises(RunInterrupted) as stop:
            generate_file(
                order,
                model,
                RunHooks(checkpoint_folder=Settings().checkpoints, should_stop=lambda: True),
            )
        return stop.value.unfinished.checkpoint

    return stop


def test_without_a_name_the_only_checkpoint_is_resumed(reelgrid, here, stopped):
    stopped()
    assert reelgrid("resume")[0] == 0
    assert names(here) == ["a.mp4"]
    assert names(Settings().checkpoints) == []


def test_of_several_each_is_listed_with_its_command(reelgrid, here, stopped):
    checkpoints = {str(stopped("a red ball")), str(stopped("a blue box"))}
    code, out, _ = reelgrid("resume")
    assert code == 0
    assert {
        line.split()[-1] for line in out.splitlines() if "reelgrid resume" in line
    } == checkpoints
    assert names(here) == []


def test_the_list_is_json_on_demand(reelgrid, stopped):
    checkpoint = stopped("a red ball")
    printed = json.loads(reelgrid("resume", "--list", "--json")[1])
    assert (printed["checkpoint"], printed["prompt"]) == (str(checkpoint), "a red ball")


def test_with_nothing_unfinished_it_says_so(reelgrid):
    code, _, err = reelgrid("resume")
    assert code == 2
    assert err == "reelgrid: nothing is unfinished: give a checkpoint file\n"
    assert reelgrid("resume", "--list", "--json") == (0, "", "nothing is unfinished\n")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_file_that_is_not_a_checkpoint_is_refused_in_one_line(reelgrid, here, content):
    if content is not None:
        (here / "bad.safetensors").write_bytes(content)
    code, out, err = reelgrid("resume", "bad.safetensors", "-o", "a.mp4")
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


def test_a_truncated_checkpoint_is_refused_and_kept(reelgrid, stopped):
    checkpoint = stopped()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    code, _, err = reelgrid("resume", checkpoint)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert checkpoint.exists()
