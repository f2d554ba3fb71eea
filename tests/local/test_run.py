import subprocess
import sys
import threading

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
    run,
)
from reelgrid.local.run import RunHooks
from reelgrid.media import read_image, read_provenance, write_clip
from reelgrid.media.provenance import provenance_of
from reelgrid.spec import Request
from reelgrid.store.lock import lock_file
from tests.families.tiny import tiny_model
from tests.files import names

REQUEST = Request("a red ball rolls to the right", seed=3, num_steps=4)


@pytest.fixture(scope="module")
def model():
    return tiny_model("wan_unipc")


@pytest.fixture
def folder(tmp_path):
    """The folder for checkpoints."""
    return tmp_path / "data" / "checkpoints"


def spec(tmp_path, name="clip", **changes):
    return RunSpec(model="tiny", request=REQUEST.with_(**changes), output=tmp_path / name)


def stop_after(num_calls):
    calls = iter(range(num_calls))
    return lambda: next(calls, None) is None


def frames_in(folder):
    return np.stack([read_image(path) for path in sorted(folder.iterdir())])


def test_a_run_writes_a_file_that_says_how_it_was_made(tmp_path, folder, model):
    report = generate_file(spec(tmp_path, "clip.mp4"), model, RunHooks(checkpoint_folder=folder))
    said = read_provenance(tmp_path / "clip.mp4")
    assert (said["prompt"], said["seed"]) == (REQUEST.prompt, 3)
    assert said["extra"]["num_steps"] == 4
    assert report.output == tmp_path / "clip.mp4"
    assert report.request.num_frames == 9


def test_a_report_adds_up(tmp_path, folder, model):
    report = generate_file(spec(tmp_path), model, RunHooks(checkpoint_folder=folder))
    assert report.busy_s == report.encode_s + report.denoise_s + report.decode_s
    expected = (9 / 8 / 60) / (report.busy_s / 3600)
    assert report.minutes_per_gpu_hour == pytest.approx(expected)
    assert report.to_json()["minutes_of_video_per_gpu_hour"] == pytest.approx(expected, abs=0.01)


def test_the_same_seed_gives_the_same_file(tmp_path, folder, model):
    for name in ("one.mp4", "two.mp4"):
        generate_file(spec(tmp_path, name), model, RunHooks(checkpoint_folder=folder))
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_a_finished_run_leaves_no_checkpoint(tmp_path, folder, model):
    generate_file(spec(tmp_path), model, RunHooks(checkpoint_folder=folder, checkpoint_every_s=0.0))
    assert names(folder) == []


def test_a_short_run_saves_no_checkpoint(tmp_path, folder, model):
    generate_file(
        spec(tmp_path), model, RunHooks(checkpoint_folder=folder, checkpoint_every_s=3600.0)
    )
    assert not folder.exists()


@pytest.mark.parametrize("num_steps_before", [0, 1, 3])
def test_a_run_that_was_stopped_and_resumed_equals_an_uninterrupted_one(
    tmp_path, folder, model, num_steps_before
):
    generate_file(spec(tmp_path, "whole"), model, RunHooks(checkpoint_folder=folder))
    hooks = RunHooks(checkpoint_folder=folder, should_stop=stop_after(num_steps_before))
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(spec(tmp_path, "resumed"), model, hooks)
    assert not (tmp_path / "resumed").exists()
    resume(
        stopped.value.unfinished.checkpoint,
        None,
        lambda spec: model,
        RunHooks(checkpoint_folder=folder),
    )
    assert np.array_equal(frames_in(tmp_path / "whole"), frames_in(tmp_path / "resumed"))
    assert names(folder) == []


def test_a_stopped_run_is_listed_with_all_that_resuming_needs(tmp_path, folder, model):
    with pytest.raises(RunInterrupted):
        generate_file(
            spec(tmp_path), model, RunHooks(checkpoint_folder=folder, should_stop=stop_after(1))
        )
    (found,) = list_unfinished_runs(folder)
    assert (found.model, found.prompt) == ("tiny", REQUEST.prompt)
    assert found.output == tmp_path / "clip"


def test_a_resumed_run_can_write_another_file(tmp_path, folder, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(
            spec(tmp_path), model, RunHooks(checkpoint_folder=folder, should_stop=stop_after(1))
        )
    state = stopped.value.unfinished.checkpoint
    resume(state, tmp_path / "other.gif", lambda spec: model, RunHooks(checkpoint_folder=folder))
    assert names(tmp_path) == ["data", "other.gif"]


def test_a_checkpoint_without_its_sidecar_needs_an_output(tmp_path, folder, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(
            spec(tmp_path), model, RunHooks(checkpoint_folder=folder, should_stop=stop_after(1))
        )
    stopped.value.unfinished.sidecar.unlink()
    state = stopped.value.unfinished.checkpoint
    with pytest.raises(CheckpointError, match="give --output"):
        resume(state, None, lambda spec: model, RunHooks(checkpoint_folder=folder))
    resume(state, tmp_path / "clip", lambda spec: model, RunHooks(checkpoint_folder=folder))
    assert names(folder) == []


def test_a_run_that_a_process_works_on_is_neither_listed_nor_resumed(tmp_path, folder, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(
            spec(tmp_path), model, RunHooks(checkpoint_folder=folder, should_stop=stop_after(1))
        )
    unfinished = stopped.value.unfinished
    with lock_file(unfinished.sidecar):
        assert list_unfinished_runs(folder) == ()
        with pytest.raises(BusyError):
            resume(
                unfinished.checkpoint, None, lambda spec: model, RunHooks(checkpoint_folder=folder)
            )
    assert list_unfinished_runs(folder) == (unfinished,)


def test_a_checkpoint_that_disappears_while_runs_are_listed_is_left_out(tmp_path, folder, model):
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(
            spec(tmp_path),
            model,
            RunHooks(checkpoint_folder=folder, should_stop=stop_after(1)),
        )
    run_ = stopped.value.unfinished
    gone = folder / "gone.safetensors"
    gone.symlink_to(folder / "nothing")
    gone.with_suffix(".json").write_bytes(run_.sidecar.read_bytes())
    assert list_unfinished_runs(folder) == (run_,)


def test_an_output_that_cannot_be_written_is_refused_before_any_step(tmp_path, folder, model):
    steps: list[Progress] = []
    with pytest.raises(RequestError, match="unknown extension"):
        generate_file(
            spec(tmp_path, "clip.avi"),
            model,
            RunHooks(checkpoint_folder=folder, on_progress=steps.append),
        )
    assert steps == []


@pytest.fixture
def full_disk(monkeypatch):
    def write(path, saved):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run, "write_checkpoint", write)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_under_a_checkpoint_does_not_end_the_run(tmp_path, folder, model, caplog):
    generate_file(spec(tmp_path), model, RunHooks(checkpoint_folder=folder, checkpoint_every_s=0.0))
    assert "No space left on device" in caplog.text
    assert names(tmp_path / "clip")[0] == "frame_0001.png"
    assert names(folder) == []


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_when_the_run_is_stopped_is_one_line(tmp_path, folder, model):
    with pytest.raises(GenerationError, match="set REELGRID_DATA to another folder"):
        generate_file(
            spec(tmp_path), model, RunHooks(checkpoint_folder=folder, should_stop=lambda: True)
        )
    assert names(folder) == []


def test_a_full_disk_under_the_sidecar_does_not_end_the_run(tmp_path, folder, model, monkeypatch):
    def write(unfinished):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(UnfinishedRun, "_write_sidecar", write)
    generate_file(spec(tmp_path), model, RunHooks(checkpoint_folder=folder, checkpoint_every_s=0.0))
    assert names(folder) == []


def test_steps_continue_while_a_checkpoint_is_written(tmp_path, folder, model, monkeypatch):
    """The writer waits for a later step; if steps waited for the writer, none would follow."""
    was_made = threading.Event()
    waited = []

    def write(path, saved):
        waited.append(was_made.wait(timeout=20))
        write_checkpoint(path, saved)
        write_checkpoint(tmp_path / f"{len(waited)}", saved)

    def on_progress(progress):
        if progress.step == 3:
            was_made.set()

    monkeypatch.setattr(run, "write_checkpoint", write)
    hooks = RunHooks(checkpoint_folder=folder, on_progress=on_progress, checkpoint_every_s=0.0)
    generate_file(spec(tmp_path), model, hooks)
    assert all(waited)
    with Generation.restore(tmp_path / "1", model) as restored:
        assert [progress.step for progress in restored] == [1, 2, 3, 4, 4]
        provenance = provenance_of("tiny", restored.request)
        write_clip(restored.frames, tmp_path / "again", fps=8.0, provenance=provenance)
    assert np.array_equal(frames_in(tmp_path / "clip"), frames_in(tmp_path / "again"))


def test_one_checkpoint_is_written_at_a_time(tmp_path, folder, model, monkeypatch):
    is_last = threading.Event()
    steps = []

    def write(path, saved):
        steps.append(saved.position["step"])
        assert is_last.wait(timeout=20)

    def on_progress(progress):
        if progress.stage == "decode":
            is_last.set()

    monkeypatch.setattr(run, "write_checkpoint", write)
    generate_file(
        spec(tmp_path),
        model,
        RunHooks(checkpoint_folder=folder, on_progress=on_progress, checkpoint_every_s=0.0),
    )
    assert steps == [0]


def test_a_run_stopped_while_a_checkpoint_is_written_saves_its_last_step(
    tmp_path, folder, model, monkeypatch
):
    is_stopped = threading.Event()
    answers = iter((False, True))
    steps = []

    def should_stop():
        if next(answers):
            is_stopped.set()
        return is_stopped.is_set()

    def write(path, saved):
        assert is_stopped.wait(timeout=20)
        write_checkpoint(path, saved)
        steps.append(saved.position["step"])

    monkeypatch.setattr(run, "write_checkpoint", write)
    hooks = RunHooks(checkpoint_folder=folder, should_stop=should_stop, checkpoint_every_s=0.0)
    with pytest.raises(RunInterrupted) as stopped:
        generate_file(spec(tmp_path), model, hooks)
    assert steps == [0, 1]
    assert read_checkpoint(stopped.value.unfinished.checkpoint).position["step"] == 1


def test_a_network_that_fails_is_one_line(tmp_path, folder, model, monkeypatch):
    def fail(pipeline):
        raise RuntimeError("shapes do not match\nand much more")

    monkeypatch.setattr("reelgrid.engine.stepped_pipeline.SteppedPipeline.run_step", fail)
    with pytest.raises(GenerationError, match="failed with RuntimeError: shapes do not match; try"):
        generate_file(spec(tmp_path), model, RunHooks(checkpoint_folder=folder))
    assert not (tmp_path / "clip").exists()


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.families.tiny import tiny_model
from tests.local.test_run import REQUEST
from reelgrid.engine import checkpoint
from reelgrid.local import RunSpec, generate_file
from reelgrid.local.run import RunHooks

folder = Path(sys.argv[1])
checkpoints = folder / "data" / "checkpoints"

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on_progress(progress):
    while progress.step == 2 and not list(checkpoints.glob("*-*.safetensors")):
        time.sleep(0.01)
    if progress.step == 3 and sys.argv[2] == "between steps":
        die()
    if progress.stage == "decode":
        time.sleep(60)  # the write that ends the process is under way

def die_in_the_middle(tensors, path, metadata):
    is_second = list(checkpoints.glob("*-*.safetensors"))
    save_file(tensors, path, metadata)
    if is_second:
        os.truncate(path, 1000)
        die()

save_file = checkpoint.save_file
if sys.argv[2] == "in the middle of a write":
    checkpoint.save_file = die_in_the_middle
spec = RunSpec(model="tiny", request=REQUEST, output=folder / "killed")
hooks = RunHooks(checkpoint_folder=checkpoints, on_progress=on_progress, checkpoint_every_s=0.0)
generate_file(spec, tiny_model("wan_unipc"), hooks)
"""


@pytest.mark.parametrize("when", ["between steps", "in the middle of a write"])
def test_a_killed_run_resumes_from_its_last_checkpoint(tmp_path, folder, model, when):
    generate_file(spec(tmp_path, "whole"), model, RunHooks(checkpoint_folder=folder))
    command = [sys.executable, "-c", KILLED, str(tmp_path), when]
    killed = subprocess.run(command, check=False, timeout=120)
    assert killed.returncode == -9
    (found,) = list_unfinished_runs(folder)
    steps: list[Progress] = []
    resume(
        found.checkpoint,
        None,
        lambda spec: model,
        RunHooks(checkpoint_folder=folder, on_progress=steps.append),
    )
    made = [progress.step for progress in steps if progress.stage == "denoise"]
    assert made == [1, 2, 3, 4][-len(made) :]
    assert np.array_equal(frames_in(tmp_path / "whole"), frames_in(tmp_path / "killed"))
