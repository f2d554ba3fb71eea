"""One worker and the real job queue: a job from its claim to its end, and everything that may interrupt it."""

import numpy as np
import pytest

from reelgrid.engine.generation import Generation
from reelgrid.errors import BusyError, DeviceMemoryError, ModelError, StaleClaim, StorageFullError
from reelgrid.jobs.job import Phase
from reelgrid.jobs.messages import WorkerInfo
from reelgrid.jobs.policy import Priority
from reelgrid.media import read_provenance, write_image
from reelgrid.media.video_reader import iterate_frames
from reelgrid.spec import Request
from reelgrid.workers import attempt, start
from reelgrid.workers.checkpoints import job_checkpointer
from reelgrid.workers.lease import STAGE_LIMITS_S, Watchdog
from reelgrid.workers.loop import StepLoop
from reelgrid.workers.results import ResultStore
from reelgrid.workers.settings import WorkerIntervals
from tests.families.tiny import tiny_model
from tests.workers.rig import PROMPT

pytestmark = pytest.mark.filterwarnings("error")


def frames_of(rig, job_id):
    with rig.blobs.as_file(rig.job_queue.get(job_id).files["video"]) as path:
        return np.stack(list(iterate_frames(path)))


def test_a_job_becomes_a_video_with_its_pictures(rig):
    job = rig.submit()
    assert rig.worker().run_once()
    done = rig.job_queue.get(job.id)
    assert done.phase is Phase.COMPLETED
    assert set(done.files) == {"video", "thumbnail", "spritesheet"}
    assert len(frames_of(rig, job.id)) == 9
    assert rig.steps() == [1, 2, 3, 4]


def test_nothing_but_the_files_is_left_of_a_finished_job(rig):
    job = rig.submit()
    rig.worker(intervals={"preview_every_s": 1e-6}).run_once()
    assert rig.names() == sorted(rig.job_queue.get(job.id).files.values())
    assert list((rig.folder / "scratch-one").iterdir()) == []


def test_a_file_holds_no_prompt_unless_the_operator_wants_it(rig):
    for shows in (False, True):
        job = rig.submit()
        rig.worker(prompts_in_metadata=shows).run_once()
        with rig.blobs.as_file(rig.job_queue.get(job.id).files["video"]) as path:
            assert read_provenance(path).get("prompt") == (PROMPT if shows else None)


def test_the_frames_are_those_that_the_engine_makes(rig, model):
    job = rig.submit()
    rig.worker().run_once()
    with Generation(model, Request(PROMPT, seed=3, num_steps=4)) as generation:
        for _ in generation:
            pass
        made = generation.frames
    assert abs(frames_of(rig, job.id).astype(int) - made).mean() < 12  # 4:2:0 of noise


def test_without_work_there_is_nothing_to_do(rig):
    assert not rig.worker().run_once()


def test_a_cancelled_job_stops_at_the_next_step_and_leaves_nothing(rig):
    job = rig.submit()
    rig.at_step(2, lambda claim: rig.job_queue.cancel(job.id))
    rig.worker(intervals={"preview_every_s": 1e-6}).run_once()
    done = rig.job_queue.get(job.id)
    assert (done.phase, done.error_code) == (Phase.FAILED, "cancelled")
    assert rig.steps() == [1, 2]
    assert rig.names() == []


def test_a_job_that_is_deleted_while_it_runs_leaves_nothing(rig):
    job = rig.submit()
    rig.at_step(2, lambda claim: rig.job_queue.delete(job.id))
    rig.worker().run_once()
    assert rig.steps() == [1, 2]
    assert rig.names() == []
    assert not rig.job_queue.list().jobs


def test_a_paused_job_is_saved_and_nobody_can_take_it(rig):
    job = rig.submit()
    rig.at_step(2, lambda claim: rig.job_queue.pause(job.id))
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).phase is Phase.PAUSED
    assert not rig.worker("two").run_once()
    assert rig.steps() == [1, 2]


def test_a_paused_job_resumes_with_the_same_result(rig):
    job = rig.submit()
    rig.at_step(2, lambda claim: rig.job_queue.pause(job.id))
    rig.worker().run_once()
    rig.job_queue.resume(job.id)
    rig.worker("two").run_once()
    assert rig.steps() == [1, 2, 3, 4]
    assert rig.content(job.id) == rig.whole()


def test_a_long_job_yields_to_a_short_one_within_two_steps(rig):
    long = rig.submit(rig.job_request(num_steps=400), estimate_s=40.0)
    short = []

    def ask_for_a_short_one(claim):
        short.append(
            rig.submit(rig.job_request(num_steps=10), estimate_s=1.0, priority=Priority.HIGH)
        )

    worker = rig.worker(intervals={"checkpoint_every_s": 60.0})
    rig.at_step(20, ask_for_a_short_one)
    assert worker.run_once()
    assert len(rig.steps(long.id)) <= 22
    assert worker.run_once()
    assert rig.job_queue.get(short[0].id).phase is Phase.COMPLETED
    assert rig.job_queue.get(long.id).phase is Phase.WAITING
    rig.job_queue.cancel(long.id)


def test_a_job_that_yielded_loses_no_step(rig):
    long = rig.submit(rig.job_request(num_steps=12), estimate_s=40.0)
    rig.at_step(
        5, lambda claim: rig.submit(rig.job_request(2), estimate_s=0.1, priority=Priority.HIGH)
    )
    worker = rig.worker(intervals={"checkpoint_every_s": 60.0})
    while worker.run_once():
        pass
    assert rig.steps(long.id) == list(range(1, 13))
    assert [line["job"] == long.id for line in rig.events("claimed")] == [True, False, True]
    assert rig.content(long.id) == rig.whole(rig.job_request(num_steps=12))


def test_a_worker_that_is_to_stop_saves_and_releases_its_job(rig):
    job = rig.submit()
    rig.at_step(3, lambda claim: rig.stopping.set())
    rig.worker(intervals={"checkpoint_every_s": 60.0}).run()
    back = rig.job_queue.get(job.id)
    assert (back.phase, back.reason, back.checkpoint.step) == (Phase.WAITING, "stopped", 3)
    rig.stopping.clear()
    rig.worker("two").run_once()
    assert rig.steps() == [1, 2, 3, 4]


def test_a_worker_whose_job_is_another_s_drops_it_and_writes_nothing(rig):
    job = rig.submit()
    files = []

    def overtake(claim):
        rig.job_queue.worker_died("one")
        rig.worker("two").run_once()
        files.append({name: rig.blobs.read(name) for name in rig.names()})

    rig.at_step(2, overtake)
    rig.worker(intervals={"checkpoint_every_s": 60.0}).run_once()
    assert [line["epoch"] for line in rig.events("dropped")] == [1]
    assert rig.job_queue.get(job.id).epoch == 2
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    assert {name: rig.blobs.read(name) for name in rig.names()} == files[0]


def test_a_stale_checkpoint_is_not_left_behind(rig, monkeypatch):
    put = rig.blobs.put

    def put_and_lose(name, content):
        put(name, content)
        rig.job_queue.worker_died("one")

    job = rig.submit()
    monkeypatch.setattr(rig.blobs, "put", put_and_lose)
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).phase is Phase.WAITING
    assert len(rig.events("dropped")) == 1
    assert rig.names() == []


def lose_at_step(rig, number):
    """A worker that is lost after some steps, all of them saved."""

    class Lost(BaseException):
        pass

    def vanish(claim):
        raise Lost

    rig.at_step(number, vanish)
    with pytest.raises(Lost):
        rig.worker("lost").run_once()
    rig.job_queue.worker_died("lost")


def damage(rig, blob):
    content = bytearray(rig.blobs.read(blob))
    content[-20] ^= 255
    rig.blobs.put(blob, bytes(content))


def test_a_lost_worker_s_job_resumes_from_its_last_checkpoint(rig):
    job = rig.submit(rig.job_request(num_steps=8))
    lose_at_step(rig, 5)
    assert rig.job_queue.get(job.id).checkpoint.step == 4
    rig.worker().run_once()
    assert rig.steps() == [1, 2, 3, 4, 5, 5, 6, 7, 8]
    assert rig.content(job.id) == rig.whole(rig.job_request(num_steps=8))
    counts = {counter.name: counter.num for counter in rig.job_queue.counters()}
    assert counts["resumes"] == 1


def test_the_newest_two_checkpoints_are_kept(rig):
    job = rig.submit(rig.job_request(num_steps=8))
    lose_at_step(rig, 6)
    checkpoints = rig.job_queue.get(job.id).checkpoints
    assert [checkpoint.step for checkpoint in checkpoints] == [5, 4]
    assert sorted(checkpoint.blob for checkpoint in checkpoints) == rig.names("checkpoints/")


@pytest.mark.parametrize("num_damaged", [1, 2])
def test_a_damaged_checkpoint_is_passed_over_and_counted(rig, num_damaged, caplog):
    job = rig.submit(rig.job_request(num_steps=8))
    lose_at_step(rig, 6)
    checkpoints = rig.job_queue.get(job.id).checkpoints
    for checkpoint in checkpoints[:num_damaged]:
        damage(rig, checkpoint.blob)
    rig.worker().run_once()
    begun_at = 4 if num_damaged == 1 else 0
    assert rig.steps()[6:] == list(range(begun_at + 1, 9))
    assert rig.content(job.id) == rig.whole(rig.job_request(num_steps=8))
    counts = {counter.name: counter.num for counter in rig.job_queue.counters()}
    assert counts["checkpoints_refused"] == num_damaged
    assert "unusable checkpoint at step 5" in caplog.text


def test_a_queue_too_busy_to_count_a_damaged_checkpoint_ends_nothing(rig, monkeypatch):
    def refuse(*_):
        raise BusyError("held by another transaction")

    job = rig.submit(rig.job_request(num_steps=8))
    lose_at_step(rig, 6)
    damage(rig, rig.job_queue.get(job.id).checkpoints[0].blob)
    monkeypatch.setattr(rig.job_queue, "observe", refuse)
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED


def test_a_checkpoint_of_another_model_is_passed_over(rig):
    job = rig.submit(rig.job_request(num_steps=8))
    lose_at_step(rig, 6)
    other = tiny_model("wan_euler")
    rig.worker(model_cache=rig.model_cache(lambda name: other)).run_once()
    assert rig.steps()[6:] == list(range(1, 9))
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED


def short_of_memory(monkeypatch, num_times):
    left = iter(range(num_times))
    make_step = StepLoop.run

    def frames(*arguments):
        if next(left, None) is not None:
            raise DeviceMemoryError("cuda ran out of memory")
        return make_step(*arguments)

    monkeypatch.setattr(StepLoop, "run", frames)


def test_idle_models_are_evicted_for_a_job_that_runs_out_of_memory(rig, monkeypatch):
    model_cache = rig.model_cache()
    model_cache.get("idle")
    short_of_memory(monkeypatch, 1)
    job = rig.submit()
    rig.worker(model_cache=model_cache).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    assert model_cache.names == {"tiny"}


def test_a_job_that_runs_out_of_memory_resumes_from_what_it_has_saved_since_it_was_claimed(
    rig, monkeypatch
):
    """The checkpoints that the claim knew are gone by then."""
    job = rig.submit(rig.job_request(num_steps=8))
    lose_at_step(rig, 3)
    go_on = Generation.__next__
    left = iter(range(1))

    def fail_to_decode(generation):
        progress = go_on(generation)
        if progress.stage == "decode" and next(left, None) is not None:
            raise DeviceMemoryError("cuda ran out of memory")
        return progress

    monkeypatch.setattr(Generation, "__next__", fail_to_decode)
    model_cache = rig.model_cache()
    model_cache.get("idle")
    rig.worker(model_cache=model_cache).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    assert rig.steps() == [1, 2, 3, 3, 4, 5, 6, 7, 8]
    assert {counter.name for counter in rig.job_queue.counters()}.isdisjoint(
        {"checkpoints_refused"}
    )


def test_a_job_that_is_another_s_after_an_eviction_is_dropped(rig, monkeypatch):
    model_cache = rig.model_cache()
    model_cache.get("idle")
    short_of_memory(monkeypatch, 1)
    job = rig.submit()
    unload = model_cache.evict

    def lose_and_unload(keep):
        rig.job_queue.worker_died("one")
        return unload(keep)

    monkeypatch.setattr(model_cache, "evict", lose_and_unload)
    rig.worker(model_cache=model_cache).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.WAITING
    assert len(rig.events("dropped")) == 1


def test_checkpoints_are_read_again_only_while_the_job_is_the_worker_s_own(rig):
    """A job that is read again has the epoch of its present worker: a write with it would pass as that worker's."""
    rig.submit()
    context = rig.context("one")
    claim = rig.job_queue.claim(WorkerInfo(id="one", machine="here", memory_gib=8.0))
    assert claim is not None
    begun = attempt.Attempt(context, claim, context.clock())
    begun._reload_job()
    rig.job_queue.worker_died("one")
    assert rig.job_queue.claim(WorkerInfo(id="two", machine="here", memory_gib=8.0)) is not None
    with pytest.raises(StaleClaim):
        begun._reload_job()


def test_a_job_that_runs_out_of_memory_alone_is_failed_with_the_reason(rig, monkeypatch):
    short_of_memory(monkeypatch, 5)
    job = rig.submit()
    rig.worker().run_once()
    failed = rig.job_queue.get(job.id)
    assert (failed.error_code, failed.error_message) == ("out_of_memory", "cuda ran out of memory")


def test_a_job_that_runs_out_of_memory_waits_for_a_larger_worker(rig, monkeypatch):
    rig.job_queue.claim(WorkerInfo(id="large", machine="there", memory_gib=80.0))
    short_of_memory(monkeypatch, 5)
    job = rig.submit()
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).phase is Phase.WAITING
    assert not rig.worker().run_once()


def test_a_network_that_fails_fails_the_job_in_one_line(rig, monkeypatch):
    def fail(passage):
        raise RuntimeError("shapes do not match\nand much more")

    monkeypatch.setattr("reelgrid.engine.stepped_pipeline.SteppedPipeline.run_step", fail)
    job = rig.submit()
    rig.worker().run_once()
    failed = rig.job_queue.get(job.id)
    assert failed.error_code == "generation_failed"
    assert "shapes do not match" in failed.error_message
    assert "\n" not in failed.error_message
    assert rig.names() == []


def test_a_model_that_does_not_load_fails_the_job(rig):
    def load(name):
        raise ModelError(f"no model {name}")

    job = rig.submit()
    rig.worker(model_cache=rig.model_cache(load)).run_once()
    assert rig.job_queue.get(job.id).error_code == "model_unavailable"


def test_a_mistake_of_ours_fails_the_job_and_not_the_worker(rig, monkeypatch, caplog):
    missing: dict[str, str] = {}
    monkeypatch.setattr(ResultStore, "store_video", lambda *_: missing["video"])
    first = rig.submit()
    worker = rig.worker()
    assert worker.run_once()
    failed = rig.job_queue.get(first.id)
    assert (failed.error_code, failed.error_message) == ("internal_error", "KeyError")
    monkeypatch.undo()
    second = rig.submit()
    assert worker.run_once()
    assert rig.job_queue.get(second.id).phase is Phase.COMPLETED
    assert "failed unexpectedly" in caplog.text


def test_a_job_that_cannot_be_read_is_failed(rig):
    job = rig.submit(request={"nonsense": 1})
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).error_code == "internal_error"


def without_space(rig, monkeypatch, num_times, prefix):
    put, left = rig.blobs.put, iter(range(num_times))

    def refuse(name, content):
        if name.startswith(prefix) and next(left, None) is not None:
            raise StorageFullError("no space left on device")
        put(name, content)

    monkeypatch.setattr(rig.blobs, "put", refuse)


def test_checkpoints_that_find_no_space_do_not_end_the_work(rig, monkeypatch, caplog):
    without_space(rig, monkeypatch, 1_000, "checkpoints/")
    job = rig.submit()
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    assert "no space left" in caplog.text


class UnreachableError(Exception):
    """An error that a remote store may raise; it is not an OSError."""


def unreachable(rig, monkeypatch, num_times, prefix):
    put, left = rig.blobs.put, iter(range(num_times))

    def refuse(name, content):
        if name.startswith(prefix) and next(left, None) is not None:
            raise UnreachableError("no answer")
        put(name, content)

    monkeypatch.setattr(rig.blobs, "put", refuse)


@pytest.mark.parametrize("prefix", ["checkpoints/", "previews/"])
def test_an_unreachable_store_does_not_end_the_work(rig, monkeypatch, prefix):
    unreachable(rig, monkeypatch, 1_000, prefix)
    job = rig.submit()
    rig.worker(intervals={"preview_every_s": 1e-6}).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED


def test_files_wait_for_a_store_that_is_unreachable(rig, monkeypatch):
    unreachable(rig, monkeypatch, 3, "files/")
    naps: list[float] = []
    job = rig.submit()
    rig.worker(sleep=naps.append).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    assert rig.steps() == [1, 2, 3, 4]
    assert len(naps) == 3


def test_a_worker_that_waits_for_space_does_not_count_as_hanging(rig, monkeypatch):
    without_space(rig, monkeypatch, 3, "files/")
    now_s = [0.0]
    watchdog, seen = Watchdog(lambda: now_s[0]), []

    def sleep(_):
        now_s[0] += STAGE_LIMITS_S["write"] - 1
        seen.append(watchdog.is_alive)

    rig.submit()
    rig.worker(sleep=sleep, watchdog=watchdog).run_once()
    assert seen == [True] * 3


@pytest.mark.parametrize("part", ["load", "encode", "decode", "write"])
def test_a_worker_that_hangs_in_any_stage_stops_its_heartbeats(rig, monkeypatch, part):
    now_s, seen = [0.0], []
    watchdog = Watchdog(lambda: now_s[0])

    def hang():
        now_s[0] += STAGE_LIMITS_S[part] + 1
        seen.append(watchdog.is_alive)

    go_on = Generation.__next__

    def hang_in(generation):
        if generation._stage == part:
            hang()
        return go_on(generation)

    store_video = ResultStore.store_video
    monkeypatch.setattr(Generation, "__next__", hang_in)
    if part == "load":
        monkeypatch.setattr(attempt, "restore", lambda *a: (hang(), start.restore(*a))[1])
    if part == "write":
        monkeypatch.setattr(ResultStore, "store_video", lambda *a: (hang(), store_video(*a))[1])
    job = rig.submit()
    rig.worker(watchdog=watchdog).run_once()
    assert seen == [False]
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED  # it did come back
    assert watchdog.is_alive


def test_a_first_frame_that_finds_no_space_waits_for_it(rig, monkeypatch):
    model = tiny_model("wan_image_to_video")
    source = rig.submit()
    rig.worker().run_once()
    left = iter(range(2))

    def refuse(*arguments, **settings):
        if next(left, None) is not None:
            raise OSError(28, "No space left on device")
        write_image(*arguments, **settings)

    monkeypatch.setattr(start, "write_image", refuse)
    video = rig.job_queue.get(source.id).files["video"]
    longer = rig.submit(rig.job_request(num_steps=2, card=model.card, extends=video))
    naps: list[float] = []
    rig.worker(model_cache=rig.model_cache(lambda name: model), sleep=naps.append).run_once()
    assert rig.job_queue.get(longer.id).phase is Phase.COMPLETED
    assert len(naps) == 2


def test_files_that_find_no_space_wait_for_it(rig, monkeypatch, caplog):
    without_space(rig, monkeypatch, 3, "files/")
    naps: list[float] = []
    job = rig.submit()
    rig.worker(sleep=naps.append).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    assert rig.steps() == [1, 2, 3, 4]
    assert naps == [attempt.STORE_RETRY_EVERY_S] * 3
    assert "waits for storage" in caplog.text


def refuse_for_good(rig, monkeypatch, error):
    """A store that always refuses the same file."""
    put, asked = rig.blobs.put, []

    def refuse(name, content):
        if name.startswith("files/"):
            asked.append(name)
            raise error
        put(name, content)

    monkeypatch.setattr(rig.blobs, "put", refuse)
    return asked


@pytest.mark.parametrize(
    "error",
    [
        OSError(27, "File too large"),
        PermissionError("Access Denied"),  # the error of s3fs for a revoked key
        FileNotFoundError("The specified bucket does not exist"),
    ],
)
def test_a_store_that_refuses_for_good_fails_the_job_at_once(rig, monkeypatch, error):
    asked = refuse_for_good(rig, monkeypatch, error)
    job = rig.submit()

    def sleep(_):
        rig.job_queue.cancel(job.id)

    rig.worker(sleep=sleep).run_once()
    failed = rig.job_queue.get(job.id)
    assert (failed.phase, failed.error_code) == (Phase.FAILED, "generation_failed")
    assert str(error) in failed.error_message
    assert len(asked) == 1


def test_storage_that_does_not_come_back_fails_the_job_after_an_hour(rig, monkeypatch):
    without_space(rig, monkeypatch, 10_000, "files/")
    now_s, naps = [0.0], []
    job = rig.submit()

    def sleep(for_s):
        naps.append(for_s)
        now_s[0] += 60.0
        if len(naps) == 100:
            rig.job_queue.cancel(job.id)

    intervals = {"lease_s": 1e6}  # of the same clock
    rig.worker(sleep=sleep, clock=lambda: now_s[0], intervals=intervals).run_once()
    assert rig.job_queue.get(job.id).error_message == (
        "storage failed for 60 min: no space left on device"
    )
    assert len(naps) == 60


def test_a_job_that_waits_for_space_can_be_cancelled(rig, monkeypatch):
    without_space(rig, monkeypatch, 1_000, "files/")
    job = rig.submit()
    naps: list[float] = []

    def cancel(for_s):
        naps.append(for_s)
        rig.job_queue.cancel(job.id)

    rig.worker(sleep=cancel).run_once()
    assert rig.job_queue.get(job.id).error_code == "cancelled"
    assert len(naps) <= 2


def test_a_clip_begins_with_a_given_picture(rig, tmp_path):
    from PIL import Image

    model = tiny_model("wan_image_to_video")
    Image.new("RGB", (32, 32), (200, 30, 30)).save(tmp_path / "first.png")
    rig.blobs.put("inputs/first.png", tmp_path / "first.png")
    job_request = rig.job_request(num_steps=2, card=model.card, first_frame="inputs/first.png")
    model_cache = rig.model_cache(lambda name: model)
    job = rig.submit(job_request)
    rig.worker(model_cache=model_cache).run_once()
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
    with Generation(
        model, Request(PROMPT, seed=3, num_steps=2, first_frame=tmp_path / "first.png")
    ) as generation:
        for _ in generation:
            pass
        made = generation.frames
    assert abs(frames_of(rig, job.id).astype(int) - made).mean() < 12


def test_a_first_frame_that_is_gone_fails_the_job(rig):
    model = tiny_model("wan_image_to_video")
    job = rig.submit(rig.job_request(card=model.card, first_frame="inputs/gone.png"))
    rig.worker(model_cache=rig.model_cache(lambda name: model)).run_once()
    assert "is gone" in rig.job_queue.get(job.id).error_message


def test_an_extension_is_the_source_and_what_follows_its_last_frame(rig):
    source = rig.submit()
    rig.worker().run_once()
    model = tiny_model("wan_image_to_video")
    video = rig.job_queue.get(source.id).files["video"]
    longer = rig.submit(rig.job_request(num_steps=2, card=model.card, extends=video))
    rig.worker(model_cache=rig.model_cache(lambda name: model)).run_once()
    frames = frames_of(rig, longer.id)
    assert len(frames) == 9 + 8
    assert np.array_equal(frames[:9], frames_of(rig, source.id))


def test_every_image_of_a_series_is_the_one_of_its_seed(rig):
    job_request = rig.job_request(num_steps=2, num_images=3, request={"num_frames": 1})
    job = rig.submit(job_request)
    rig.worker().run_once()
    files = rig.job_queue.get(job.id).files
    assert list(files) == ["image_0", "image_1", "image_2"]
    assert rig.steps() == [1, 2, 3, 4, 5, 6]
    single = rig.job_request(num_steps=2, seed=4, request={"num_frames": 1})
    assert rig.content(job.id, "image_1") == rig.whole(single, "image_0")


def test_a_series_of_images_resumes_with_the_image_it_was_interrupted_in(rig):
    job = rig.submit(rig.job_request(num_steps=4, num_images=3, request={"num_frames": 1}))
    lose_at_step(rig, 6)
    assert rig.job_queue.get(job.id).checkpoint.step == 5
    rig.worker().run_once()
    assert rig.steps()[6:] == list(range(6, 13))
    single = rig.job_request(num_steps=4, seed=4, request={"num_frames": 1})
    assert rig.content(job.id, "image_1") == rig.whole(single, "image_0")


def test_the_checkpoint_of_a_stored_image_is_not_used_for_the_next(rig):
    """For a worker lost between the two, the newest checkpoint is the first image's last."""

    class Lost(BaseException):
        pass

    asked_at = []

    def vanish(claim):
        asked_at.append(len(rig.steps()))
        if asked_at.count(4) == 2:  # at the end of the first image, and at the start of the second
            rig.job_queue.on_poll = lambda claim: None
            raise Lost

    job = rig.submit(rig.job_request(num_steps=4, num_images=2, request={"num_frames": 1}))
    rig.job_queue.on_poll = vanish
    with pytest.raises(Lost):
        rig.worker("lost").run_once()
    rig.job_queue.worker_died("lost")
    assert rig.job_queue.get(job.id).checkpoint.step == 4
    rig.worker().run_once()
    assert rig.steps() == [1, 2, 3, 4, 5, 6, 7, 8]
    single = rig.job_request(num_steps=4, seed=4, request={"num_frames": 1})
    assert rig.content(job.id, "image_1") == rig.whole(single, "image_0")


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_images_come_in_the_format_that_was_asked_for(rig, image_format):
    job_request = rig.job_request(2, image_format=image_format, request={"num_frames": 1})
    job = rig.submit(job_request)
    rig.worker().run_once()
    assert rig.job_queue.get(job.id).files["image_0"].endswith(f".{image_format}")


def test_partial_images_are_spread_over_the_steps(rig):
    job_request = rig.job_request(num_steps=6, num_partial_images=2, request={"num_frames": 1})
    job = rig.submit(job_request)
    rig.worker().run_once()
    assert rig.names("previews/") == [
        f"previews/{job.id}/partial-0-{number}.webp" for number in (0, 1)
    ]


def test_a_preview_is_there_while_the_job_runs(rig):
    job = rig.submit(rig.job_request(num_steps=8))
    seen: list[list[str]] = []
    rig.at_step(6, lambda claim: seen.append(rig.names("previews/")))
    rig.worker(intervals={"preview_every_s": 1e-6}).run_once()
    (names,) = seen
    assert 1 <= len(names) <= 2
    assert set(names) <= {f"previews/{job.id}/00001-{step:06}.webp" for step in range(1, 7)}


def test_measured_times_go_to_the_job_queue(rig):
    rig.submit()
    rig.worker().run_once()
    profiles = {profile.part: profile for profile in rig.job_queue.profiles()}
    assert set(profiles) == {"step", "load", "encode", "decode", "write"}
    assert profiles["step"].machine == "here"
    assert profiles["step"].workload == "32x32x9"


def test_a_heartbeat_has_to_come_before_the_lease_expires():
    with pytest.raises(ValueError, match="cannot keep a lease"):
        WorkerIntervals(lease_s=5.0, heartbeat_every_s=5.0)


def test_a_job_that_has_lost_workers_is_saved_more_often(rig, monkeypatch):
    intervals_s = []

    def noted(*arguments):
        checkpointer = job_checkpointer(*arguments)
        intervals_s.append(checkpointer._interval_s(0.0))
        return checkpointer

    monkeypatch.setattr(attempt, "job_checkpointer", noted)
    rig.submit()
    for _ in range(2):
        rig.job_queue.claim(WorkerInfo(id="lost", machine="here", memory_gib=8.0))
        rig.job_queue.worker_died("lost")
    rig.worker(intervals={"checkpoint_every_s": 4.0}).run_once()
    assert intervals_s == [1.0]


def test_a_job_that_is_lost_while_its_files_are_written_makes_no_step_again(rig, monkeypatch):
    class Lost(BaseException):
        pass

    def vanish(*_):
        raise Lost

    job = rig.submit()
    with monkeypatch.context() as patch:
        patch.setattr(ResultStore, "store_video", vanish)
        with pytest.raises(Lost):
            rig.worker("lost").run_once()
    rig.job_queue.worker_died("lost")
    assert rig.job_queue.get(job.id).checkpoint.step == 4
    rig.worker().run_once()
    assert rig.steps() == [1, 2, 3, 4]
    assert rig.content(job.id) == rig.whole()


@pytest.mark.parametrize(("elapsed_s", "steps"), [(1.4, [4]), (0.4, [])])
def test_the_last_step_is_saved_earlier_than_others(rig, elapsed_s, steps):
    """It is saved after a quarter of the interval, but not before: a quick job is not slowed down."""
    job = rig.submit()

    def clock():  # moves when a step has been made, so that the last one is made at `elapsed_s`
        return elapsed_s * len(rig.steps()) / 4

    rig.worker(intervals={"checkpoint_every_s": 5.0}, clock=clock).run_once()
    assert [event["step"] for event in rig.events("saved")] == steps
    assert rig.job_queue.get(job.id).phase is Phase.COMPLETED
