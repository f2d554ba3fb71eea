import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from reelgrid.engine.checkpoint import read_checkpoint, write_checkpoint
from reelgrid.engine.generation import Generation, Progress
from reelgrid.errors import BusyError, CheckpointError, GenerationError, RequestError
from reelgrid.local import (
    RunInterrupted,
    RunSpec,
    UnfinishedRun,
    generate_file,
    list_unfinished_runs,
    resume,
    saving,
)
from reelgrid.local.request_provenance import provenance_of
from reelgrid.local.run import RunHooks
from reelgrid.media import read_image, read_provenance, write_clip
from reelgrid.spec import Request
from reelgrid.store import lock_file
from tests.families.tiny import tiny_model
from tests.files import names

REQUEST = Request("a red ball rolls to the right", seed=3, num_steps=4)


@pytest.fixture(scope="module")
def model():
    return tiny_model("wan_unipc")


@pytest.fixture
def states(tmp_path):
    return tmp_path / "data" / "states"


def order(tmp_path, name="clip", **changes):
    return RunSpec(model="tiny", request=REQUEST.with_(**changes), output=tmp_path / name)


def stop_after(num_calls):
    calls = iter(range(num_calls))
    return lambda: next(calls, None) is None


def frames_in(folder):
    return np.stack([read_image(path) for path in sorted(folder.iterdir())])


def test_an_order_becomes_a_file_that_says_how_it_was_made(tmp_path, states, model):
    report = generate_file(order(tmp_path, "clip.mp4"), model, RunHooks(states=states))
    said = read_provenance(tmp_path / "clip.mp4")
    assert (said["prompt"], said["seed"]) == (REQUEST.prompt, 3)
    assert said["extra"]["num_steps"] == 4
    assert report.output == tmp_path / "clip.mp4"
    assert report.request.num_frames == 9


def test_a_report_adds_up(tmp_path, states, model):
    report = generate_file(order(tmp_path), model, RunHooks(states=states))
    assert report.busy_s == report.encode_s + report.denoise_s + report.decode_s
    expected = (9 / 8 / 60) / (report.busy_s / 3600)
    assert report.minutes_per_gpu_hour == pytest.approx(expected)
    assert report.to_json()["minutes_of_video_per_gpu_hour"] == pytest.approx(expected, abs=0.01)


def test_the_same_seed_gives_the_same_file(tmp_path, states, model):
    for name in ("one.mp4", "two.mp4"):
        generate_file(order(tmp_path, name), model, RunHooks(states=states))
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_a_finished_generation_leaves_no_state(tmp_path, states, model):
    generate_file(order(tmp_path), model, RunHooks(states=states, checkpoint_every_s=0.0))
    assert names(states) == []


def test_a_short_generation_saves_nothing(tmp_path, states, model):
    generate_file(order(tmp_path), model, RunHooks(states=states, checkpoint_every_s=3600.0))
    assert not states.exists()


@pytest.mark.parametrize("num_steps_before", [0, 1, 3])
def test_stopped_and_resumed_equals_whole(tmp_path, states, model, num_steps_before):
    generate_file(order(tmp_path, "whole"), model, RunHooks(states=states))
    watch = RunHooks(states=states, should_stop=stop_after(num_steps_before))
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(order(tmp_path, "resumed"), model, watch)
    assert not (tmp_path / "resumed").exists()
    resume(stopped.value.unfinished.checkpoint, None, lambda order: model, RunHooks(states=states))
    assert np.array_equal(frames_in(tmp_path / "whole"), frames_in(tmp_path / "resumed"))
    assert names(states) == []


def test_what_was_stopped_is_found_with_all_that_resuming_needs(tmp_path, states, model):
    with pytest.raises(RunInterrupted):
        generate_file(order(tmp_path), model, RunHooks(states=states, should_stop=stop_after(1)))
    (found,) = list_unfinished_runs(states)
    assert (found.model, found.prompt) == ("tiny", REQUEST.prompt)
    assert found.output == tmp_path / "clip"


def test_a_resumed_file_can_go_elsewhere(tmp_path, states, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(order(tmp_path), model, RunHooks(states=states, should_stop=stop_after(1)))
    state = stopped.value.unfinished.checkpoint
    resume(state, tmp_path / "other.gif", lambda order: model, RunHooks(states=states))
    assert names(tmp_path) == ["data", "other.gif"]


def test_a_bare_state_needs_to_be_told_where_its_file_goes(tmp_path, states, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(order(tmp_path), model, RunHooks(states=states, should_stop=stop_after(1)))
    stopped.value.unfinished.sidecar.unlink()
    state = stopped.value.unfinished.checkpoint
    with pytest.raises(CheckpointError, match="give --output"):
        resume(state, None, lambda order: model, RunHooks(states=states))
    resume(state, tmp_path / "clip", lambda order: model, RunHooks(states=states))
    assert names(states) == []


def test_one_that_somebody_is_at_work_on_is_neither_listed_nor_taken(tmp_path, states, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(order(tmp_path), model, RunHooks(states=states, should_stop=stop_after(1)))
    unfinished = stopped.value.unfinished
    with lock_file(unfinished.sidecar):
        assert list_unfinished_runs(states) == ()
        with pytest.raises(BusyError):
            resume(unfinished.checkpoint, None, lambda order: model, RunHooks(states=states))
    assert list_unfinished_runs(states) == (unfinished,)


def test_an_output_that_cannot_be_is_refused_before_any_step(tmp_path, states, model):
    steps: list[Progress] = []
    with pytest.raises(RequestError, match="unknown extension"):
        generate_file(
            order(tmp_path, "clip.avi"), model, RunHooks(states=states, on_progress=steps.append)
        )
    assert steps == []


@pytest.fixture
def no_room(monkeypatch):
    def write(path, saved):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "write_state", write)


@pytest.mark.usefixtures("no_room")
def test_a_state_that_finds_no_room_does_not_end_the_work(tmp_path, states, model, caplog):
    generate_file(order(tmp_path), model, RunHooks(states=states, checkpoint_every_s=0.0))
    assert "No space left on device" in caplog.text
    assert names(tmp_path / "clip")[0] == "frame_0001.png"
    assert names(states) == []


@pytest.mark.usefixtures("no_room")
def test_a_state_that_finds_no_room_when_stopped_is_one_line(tmp_path, states, model):
    with pytest.raises(GenerationError, match="set REELGRID_DATA to another folder"):
        generate_file(order(tmp_path), model, RunHooks(states=states, should_stop=lambda: True))
    assert names(states) == []


def test_a_note_that_finds_no_room_does_not_end_the_work(tmp_path, states, model, monkeypatch):
    def write(unfinished):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(UnfinishedRun, "_write_note", write)
    generate_file(order(tmp_path), model, RunHooks(states=states, checkpoint_every_s=0.0))
    assert names(states) == []


def test_steps_go_on_while_a_state_is_written(tmp_path, states, model, monkeypatch):
    """The writing waits for a later step, which would never come if the steps waited for it."""
    was_made = threading.Event()
    waited = []

    def write(path, saved):
        waited.append(was_made.wait(timeout=20))
        write_checkpoint(path, saved)
        write_checkpoint(tmp_path / f"{len(waited)}", saved)

    def on_progress(progress):
        if progress.step == 3:
            was_made.set()

    monkeypatch.setattr(saving, "write_state", write)
    watch = RunHooks(states=states, on_progress=on_progress, checkpoint_every_s=0.0)
    generate_file(order(tmp_path), model, watch)
    assert all(waited)
    with Generation.restore(tmp_path / "1", model) as restored:
        assert [progress.step for progress in restored] == [1, 2, 3, 4, 4]
        provenance = provenance_of("tiny", restored.request)
        write_clip(restored.frames, tmp_path / "again", fps=8.0, provenance=provenance)
    assert np.array_equal(frames_in(tmp_path / "clip"), frames_in(tmp_path / "again"))


def test_one_state_is_written_at_a_time(tmp_path, states, model, monkeypatch):
    is_last = threading.Event()
    steps = []

    def write(path, saved):
        steps.append(saved.position["step"])
        assert is_last.wait(timeout=20)

    def on_progress(progress):
        if progress.stage == "decode":
            is_last.set()

    monkeypatch.setattr(saving, "write_state", write)
    generate_file(
        order(tmp_path),
        model,
        RunHooks(states=states, on_progress=on_progress, checkpoint_every_s=0.0),
    )
    assert steps == [0]


def test_stopped_while_a_state_is_written_it_still_saves_where_it_stopped(
    tmp_path, states, model, monkeypatch
):
    steps = []

    def write(path, saved):
        time.sleep(0.2)
        write_checkpoint(path, saved)
        steps.append(saved.position["step"])

    monkeypatch.setattr(saving, "write_state", write)
    watch = RunHooks(states=states, should_stop=stop_after(1), checkpoint_every_s=0.0)
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(order(tmp_path), model, watch)
    assert steps == [0, 1]
    assert read_checkpoint(stopped.value.unfinished.checkpoint).position["step"] == 1


def test_a_network_that_fails_is_one_line(tmp_path, states, model, monkeypatch):
    def fail(passage):
        raise RuntimeError("shapes do not match\nand much more")

    monkeypatch.setattr("reelgrid.engine.stepped_pipeline.SteppedPipeline.make_step", fail)
    with pytest.raises(GenerationError, match="failed with RuntimeError: shapes do not match; try"):
        generate_file(order(tmp_path), model, RunHooks(states=states))
    assert not (tmp_path / "clip").exists()


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.families.tiny import tiny_model
from tests.local.test_run import REQUEST
from reelgrid.engine import state
from reelgrid.local import Order, make
from reelgrid.local.run import Watch

folder = Path(sys.argv[1])
states = folder / "data" / "states"

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on_progress(progress):
    while progress.step == 2 and not list(states.glob("*-*.safetensors")):
        time.sleep(0.01)
    if progress.step == 3 and sys.argv[2] == "between steps":
        die()
    time.sleep(0.1)

def die_in_the_middle(tensors, path, metadata):
    is_second = list(states.glob("*-*.safetensors"))
    save_file(tensors, path, metadata)
    if is_second:
        os.truncate(path, 1000)
        die()

save_file = state.save_file
if sys.argv[2] == "in the middle of a write":
    state.save_file = die_in_the_middle
order = Order(model="tiny", request=REQUEST, output=folder / "killed")
watch = Watch(states=states, on_progress=on_progress, save_every_s=0.0)
make(order, tiny_model("wan_unipc"), watch)
"""


@pytest.mark.parametrize("when", ["between steps", "in the middle of a write"])
def test_killed_outright_it_goes_on_from_its_last_save(tmp_path, states, model, when):
    generate_file(order(tmp_path, "whole"), model, RunHooks(states=states))
    command = [sys.executable, "-c", KILLED, str(tmp_path), when]
    killed = subprocess.run(command, check=False, timeout=120)
    assert killed.returncode == -9
    (found,) = list_unfinished_runs(states)
    steps: list[Progress] = []
    resume(
        found.checkpoint,
        None,
        lambda order: model,
        RunHooks(states=states, on_progress=steps.append),
    )
    made = [progress.step for progress in steps if progress.stage == "denoise"]
    assert made == [1, 2, 3, 4][-len(made) :]
    assert np.array_equal(frames_in(tmp_path / "whole"), frames_in(tmp_path / "killed"))
