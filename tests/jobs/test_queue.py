"""The contract of the job queue: jobs, claims and leases, on SQLite and on PostgreSQL."""

import pytest
from sqlalchemy import select, update

from reelgrid.errors import ConflictError, LimitError, NotFoundError, RequestError, StaleClaim
from reelgrid.jobs import policy
from reelgrid.jobs.job import (
    CheckpointRef,
    JobKind,
    KeyLimits,
    Phase,
    Requested,
    Status,
    StatusDetail,
)
from reelgrid.jobs.messages import Claim, Command, JobProgress
from reelgrid.jobs.queue import JobQueue
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import START_S, Clock, empty, new_job, new_worker

FILES = {"video": "v.mp4", "thumbnail": "t.webp"}
LATE_S = 21.0  # longer than the lease


def claim(job_queue: SqlJobQueue, name: str = "w1") -> Claim:
    taken = job_queue.claim(new_worker(name))
    assert taken is not None
    return taken


def at(step: int, stage: str = "denoise") -> JobProgress:
    return JobProgress(stage=stage, step=step)


def test_a_queue_plays_its_role(job_queue: SqlJobQueue) -> None:
    assert isinstance(job_queue, JobQueue)


def test_a_job_that_was_admitted_is_read_back_as_it_was(job_queue: SqlJobQueue) -> None:
    odd = {"prompt": "nul \x00, lone \ud800, smile 🙂, 'quote\"", "size": [1, None, 2.5, True]}
    job = job_queue.submit(new_job(request=odd, inputs=("upload",), webhook="https://a.b/c"))
    assert job.request == odd
    assert job_queue.get(job.id) == job
    assert (job.status, job.phase, job.detail) == (Status.QUEUED, Phase.WAITING, None)
    assert job.created_at == START_S
    assert job.id.startswith("video_")
    assert job_queue.submit(new_job(kind=JobKind.IMAGE)).id.startswith("image_")


def test_many_jobs_are_read_at_once_without_those_that_are_gone(job_queue: SqlJobQueue) -> None:
    one, other, gone = (job_queue.submit(new_job(owner=name)) for name in ("a", "b", "c"))
    job_queue.delete(gone.id)
    found = job_queue.get_many([one.id, other.id, gone.id, "video_x"])
    assert found == {one.id: one, other.id: other}
    assert job_queue.get_many([]) == {}


def test_a_claim_gives_a_lease_and_an_epoch(job_queue: SqlJobQueue) -> None:
    job = job_queue.submit(new_job())
    taken = claim(job_queue)
    assert taken.id == job.id
    assert (taken.epoch, taken.job.worker, taken.job.lease_until) == (1, "w1", START_S + 20)
    assert (taken.job.status, taken.job.started_at) == (Status.IN_PROGRESS, START_S)
    assert job_queue.claim(new_worker("w2")) is None


def test_heartbeats_keep_a_claim_for_as_long_as_they_come(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    for step in range(5):
        clock.move(19)
        assert job_queue.heartbeat(taken, at(step)) is Command.CONTINUE
        assert job_queue.claim(new_worker("w2")) is None
    job = job_queue.get(taken.id)
    assert (job.stage, job.step, job.progress) == ("denoise", 4, 40)


def test_a_job_whose_worker_is_silent_goes_to_another_from_its_checkpoint(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    first = claim(job_queue)
    job_queue.save_checkpoint(first, "s4", 4)
    job_queue.heartbeat(first, at(6))
    clock.move(LATE_S)
    second = claim(job_queue, "w2")
    assert (second.id, second.epoch) == (first.id, 2)
    assert second.checkpoint == CheckpointRef("s4", 4)
    assert second.job.step == 4
    assert second.job.losses == 1


@pytest.mark.parametrize("act", ["heartbeat", "poll", "checkpoint", "finish", "fail", "release"])
def test_a_worker_that_woke_too_late_changes_nothing(
    job_queue: SqlJobQueue, clock: Clock, act: str
) -> None:
    job_queue.submit(new_job())
    zombie = claim(job_queue)
    clock.move(LATE_S)
    claim(job_queue, "w2")
    before = job_queue.get(zombie.id), job_queue.usage(), job_queue.counters(), job_queue.workers()
    with pytest.raises(StaleClaim, match="no longer with worker w1"):
        _write(job_queue, zombie, act)
    assert (
        job_queue.get(zombie.id),
        job_queue.usage(),
        job_queue.counters(),
        job_queue.workers(),
    ) == before


def _write(job_queue: SqlJobQueue, zombie: Claim, act: str) -> None:
    match act:
        case "heartbeat":
            job_queue.heartbeat(zombie, at(9))
        case "poll":
            job_queue.poll_command(zombie)
        case "checkpoint":
            job_queue.save_checkpoint(zombie, "late", 9)
        case "finish":
            job_queue.finish(zombie, FILES)
        case "fail":
            job_queue.fail(zombie, "out_of_memory", "late")
        case _:
            job_queue.release(zombie, "late")


def test_a_late_worker_keeps_a_job_that_was_not_claimed_meanwhile(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    clock.move(1_000)
    assert job_queue.heartbeat(taken, at(3)) is Command.CONTINUE
    assert job_queue.claim(new_worker("w2")) is None


def test_a_clock_that_jumps_ends_leases_and_nothing_else(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    clock.move(-86_400)
    assert job_queue.heartbeat(taken, at(1)) is Command.CONTINUE
    clock.move(10 * 86_400)
    again = claim(job_queue, "w2")
    assert job_queue.finish(again, FILES).phase is Phase.COMPLETED


def test_two_checkpoints_are_kept_and_the_blobs_of_others_are_named(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    assert job_queue.save_checkpoint(taken, "a", 1) == ()
    assert job_queue.save_checkpoint(taken, "b", 2) == ()
    assert job_queue.save_checkpoint(taken, "c", 3) == ("a",)
    assert job_queue.get(taken.id).checkpoints == (CheckpointRef("c", 3), CheckpointRef("b", 2))
    assert job_queue.blob_names() == {"b", "c"}


def test_a_finished_job_has_its_files_and_has_no_worker(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job(retain_s=100.0))
    taken = claim(job_queue)
    job_queue.save_checkpoint(taken, "a", 1)
    clock.move(5)
    job = job_queue.finish(taken, FILES)
    assert job.checkpoint == CheckpointRef("a", 1)  # for the worker, to remove
    job = job_queue.get(taken.id)
    assert (job.status, job.files, job.progress) == (Status.COMPLETED, FILES, 100)
    assert (job.completed_at, job.expires_at) == (START_S + 5, START_S + 105)
    assert (job.worker, job.lease_until, job.checkpoints) == (None, None, ())
    assert job_queue.blob_names() == set(FILES.values())
    with pytest.raises(StaleClaim):
        job_queue.finish(taken, {"video": "other"})


def test_a_finish_whose_answer_was_lost_may_be_sent_again(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job = job_queue.finish(taken, FILES)
    counters = job_queue.counters()
    assert job_queue.finish(taken, FILES) == job
    assert job_queue.counters() == counters


def test_a_failed_job_says_why_in_one_line(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    job = job_queue.fail(claim(job_queue), "generation_failed", "two\nlines \x00 and\tmore")
    assert (job.status, job.error_code) == (Status.FAILED, "generation_failed")
    assert job.error_message == "two lines and more"
    assert job_queue.claim(new_worker()) is None


def test_a_waiting_job_is_cancelled_at_once(job_queue: SqlJobQueue) -> None:
    job = job_queue.cancel(job_queue.submit(new_job()).id)
    assert (job.status, job.error_code) == (Status.FAILED, "cancelled")
    assert job_queue.claim(new_worker()) is None
    assert job_queue.cancel(job.id) == job_queue.get(job.id)


def test_a_running_job_is_cancelled_at_its_next_step(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    asked = job_queue.cancel(taken.id)
    assert (asked.status, asked.detail) == (Status.IN_PROGRESS, StatusDetail.CANCELLING)
    assert job_queue.poll_command(taken) is Command.CANCEL
    assert job_queue.heartbeat(taken, at(1)) is Command.CANCEL
    job = job_queue.release(taken, "cancelled")
    assert (job.phase, job.error_code) == (Phase.FAILED, "cancelled")


@pytest.mark.parametrize("act", ["finish", "fail", "die"])
def test_a_cancelled_job_ends_as_cancelled_whatever_its_worker_does(
    job_queue: SqlJobQueue, clock: Clock, act: str
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.cancel(taken.id)
    if act == "finish":
        assert job_queue.finish(taken, FILES).phase is Phase.FAILED
    elif act == "fail":
        job_queue.fail(taken, "out_of_memory", "too small")
    else:
        clock.move(LATE_S)
        assert job_queue.claim(new_worker("w2")) is None
    job = job_queue.get(taken.id)
    assert (job.phase, job.error_code, job.files) == (Phase.FAILED, "cancelled", {})


def test_a_paused_job_is_not_claimed_and_goes_on_from_its_checkpoint(
    job_queue: SqlJobQueue,
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    assert job_queue.pause(taken.id).detail is StatusDetail.PAUSING
    assert job_queue.poll_command(taken) is Command.PAUSE
    job_queue.save_checkpoint(taken, "s", 3)
    job = job_queue.release(taken, "paused")
    assert (job.status, job.detail) == (Status.IN_PROGRESS, StatusDetail.PAUSED)
    assert job_queue.claim(new_worker()) is None
    assert job_queue.resume(job.id).detail is StatusDetail.RESUMING
    again = claim(job_queue)
    assert (again.epoch, again.checkpoint) == (2, CheckpointRef("s", 3))


def test_a_job_is_paused_before_it_begins(job_queue: SqlJobQueue) -> None:
    job = job_queue.pause(job_queue.submit(new_job()).id)
    assert (job.status, job.detail) == (Status.QUEUED, StatusDetail.PAUSED)
    assert job_queue.claim(new_worker()) is None
    assert job_queue.pause(job.id) == job
    job_queue.resume(job.id)
    assert claim(job_queue).id == job.id


def test_a_job_whose_worker_dies_while_it_is_to_pause_is_paused(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.pause(taken.id)
    clock.move(LATE_S)
    assert job_queue.expire_leases() == 1
    assert job_queue.get(taken.id).phase is Phase.PAUSED


def test_a_pause_can_be_withdrawn_before_it_is_obeyed(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.pause(taken.id)
    job_queue.resume(taken.id)
    assert job_queue.poll_command(taken) is Command.CONTINUE


def test_what_has_ended_cannot_be_cancelled_paused_or_resumed(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    job = job_queue.finish(claim(job_queue), FILES)
    for act in (job_queue.cancel, job_queue.pause, job_queue.resume):
        with pytest.raises(ConflictError, match=f"{job.id} is completed: it cannot be"):
            act(job.id)
    assert job_queue.get(job.id).phase is Phase.COMPLETED


def test_what_is_being_cancelled_cannot_be_paused_or_resumed(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.cancel(taken.id)
    for act in (job_queue.pause, job_queue.resume):
        with pytest.raises(ConflictError, match="is being cancelled"):
            act(taken.id)
    assert job_queue.get(taken.id).requested is Requested.CANCEL


def test_a_deleted_job_is_gone(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    job = job_queue.delete(job_queue.finish(claim(job_queue), FILES).id)
    assert job.files == FILES
    with pytest.raises(NotFoundError):
        job_queue.get(job.id)
    assert job_queue.blob_names() == frozenset()


@pytest.mark.parametrize("act", ["finish", "give back", "die"])
def test_a_running_job_that_is_deleted_is_cancelled_and_removed_when_its_worker_stops(
    job_queue: SqlJobQueue, clock: Clock, act: str
) -> None:
    job_queue.submit(new_job(webhook="https://a.b/"))
    taken = claim(job_queue)
    job_queue.delete(taken.id)
    with pytest.raises(NotFoundError):
        job_queue.get(taken.id)
    assert job_queue.list().jobs == ()
    assert job_queue.poll_command(taken) is Command.CANCEL
    if act == "die":
        clock.move(LATE_S)
        assert job_queue.claim(new_worker("w2")) is None
    elif act == "finish":
        assert job_queue.finish(taken, FILES).phase is Phase.FAILED
    else:
        job_queue.release(taken, "cancelled")
    assert job_queue.job_counts() == []
    assert job_queue.claim_outbox() == []


def test_each_owner_sees_and_touches_its_own_jobs_only(job_queue: SqlJobQueue) -> None:
    job = job_queue.submit(new_job(owner="ann"))
    for act in (
        job_queue.get,
        job_queue.cancel,
        job_queue.pause,
        job_queue.resume,
        job_queue.delete,
    ):
        with pytest.raises(NotFoundError, match="there is no job"):
            act(job.id, owner="bob")
    assert job_queue.list(owner="bob").jobs == ()
    with pytest.raises(NotFoundError):
        job_queue.list(owner="bob", after=job.id)
    assert job_queue.get(job.id, owner="ann") == job


@pytest.mark.parametrize(
    "name", ["", "x", "video_", "video_" + "0" * 24, "../../etc", "a\x00b", "%"]
)
def test_what_is_no_id_is_not_found(job_queue: SqlJobQueue, name: str) -> None:
    with pytest.raises(NotFoundError):
        job_queue.get(name)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_hold_every_job_once_in_order(
    job_queue: SqlJobQueue, clock: Clock, order: str
) -> None:
    ids = []
    for number in range(7):
        ids.append(job_queue.submit(new_job()).id)
        job_queue.submit(new_job(owner="bob"))
        clock.move(number % 2)  # some at the same time
    seen: list[str] = []
    times: list[float] = []
    after = None
    for is_last in (False, False, True):
        page = job_queue.list(owner="ann", after=after, limit=3, order=order)  # type: ignore[arg-type]
        assert page.has_more is not is_last
        seen += [job.id for job in page.jobs]
        times += [job.created_at for job in page.jobs]
        after = seen[-1]
    assert sorted(seen) == sorted(ids)
    assert times == sorted(times, reverse=order == "desc")


def test_a_page_of_an_impossible_length_is_refused(job_queue: SqlJobQueue) -> None:
    for limit in (0, 1_001):
        with pytest.raises(RequestError, match="limit"):
            job_queue.list(limit=limit)


def test_the_same_request_sent_again_is_the_same_job(job_queue: SqlJobQueue) -> None:
    job = job_queue.submit(new_job(idempotency_key="k", body_digest="d"))
    again = job_queue.submit(new_job(idempotency_key="k", body_digest="d", estimate_s=99.0))
    assert again == job
    assert job_queue.usage()[0].num_jobs == 1
    assert job_queue.submit(new_job(owner="bob", idempotency_key="k", body_digest="x")).id != job.id
    with pytest.raises(ConflictError, match=f"another request, for {job.id}"):
        job_queue.submit(new_job(idempotency_key="k", body_digest="other"))


def test_an_owner_has_no_more_unfinished_jobs_than_the_limit(job_queue: SqlJobQueue) -> None:
    limits = KeyLimits(max_jobs=2)
    first = job_queue.submit(new_job(), limits=limits)
    job_queue.submit(new_job(), limits=limits)
    with pytest.raises(LimitError, match="this key may have 2") as refused:
        job_queue.submit(new_job(), limits=limits)
    assert refused.value.limit == "max_jobs"
    job_queue.submit(new_job(owner="bob"), limits=limits)
    job_queue.cancel(first.id)
    job_queue.submit(new_job(), limits=limits)


def test_an_owner_has_no_more_seconds_a_day_than_the_limit(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    limits = KeyLimits(max_gpu_s_per_day=25.0)
    job_queue.submit(new_job(estimate_s=10.0), limits=limits)
    taken = claim(job_queue)
    clock.move(15)
    job_queue.finish(taken, FILES)
    job_queue.submit(new_job(estimate_s=10.0), limits=limits)
    with pytest.raises(LimitError, match="15 GPU-seconds are used") as refused:
        job_queue.submit(new_job(estimate_s=1.0), limits=limits)
    assert refused.value.limit == "max_gpu_s_per_day"
    clock.move(86_400)
    job_queue.submit(new_job(estimate_s=15.0), limits=limits)


def test_a_job_that_loses_three_workers_at_the_same_step_fails(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job(webhook="https://a.b/"))
    for number in range(3):
        taken = claim(job_queue, f"w{number}")
        job_queue.heartbeat(taken, at(7))
        clock.move(LATE_S)
    assert job_queue.claim(new_worker()) is None
    job = job_queue.get(taken.id)
    assert (job.phase, job.error_code) == (Phase.FAILED, "worker_crash")
    assert job.error_message == (
        "3 workers were lost, 3 of them at stage denoise, step 7 of 10, without getting further"
    )
    assert [entry.event for entry in job_queue.claim_outbox()] == ["video.failed"]


def test_a_job_that_makes_progress_each_time_never_fails_for_lost_workers(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    places = [at(0, "load"), at(0, "encode"), *(at(step) for step in range(1, 9)), at(8, "decode")]
    for number, place in enumerate(places):
        taken = claim(job_queue, f"w{number}")
        job_queue.heartbeat(taken, place)
        clock.move(LATE_S)
    assert claim(job_queue).job.losses == 1


def test_a_job_that_loses_workers_at_different_steps_gets_more_attempts(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    places = [at(9, "write"), *(at(step) for step in range(8)), at(9, "write")]
    for number, place in enumerate(places):
        taken = claim(job_queue, f"w{number}")
        job_queue.heartbeat(taken, place)
        assert taken.job.losses == number
        clock.move(LATE_S)
    assert job_queue.claim(new_worker()) is None
    assert job_queue.get(taken.id).error_message == (
        "10 workers were lost, 2 of them at stage write, step 9 of 10, without getting further"
    )


def test_a_dead_workers_jobs_are_free_at_once(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    assert job_queue.worker_died("unknown") == 0
    assert job_queue.worker_died("w1") == 1
    with pytest.raises(StaleClaim):
        job_queue.poll_command(taken)
    assert claim(job_queue, "w2").id == taken.id


def test_out_of_memory_sends_a_job_to_a_bigger_worker_that_is_known(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job())
    job_queue.claim(new_worker("huge", memory_gib=80.0, models=frozenset({"other"})))
    job_queue.claim(new_worker("idle", memory_gib=24.0, models=frozenset({"none"})))
    taken = job_queue.claim(new_worker("small", memory_gib=8.0))
    assert taken is not None
    job_queue.claim(new_worker("big", memory_gib=24.0))
    job_queue.save_checkpoint(taken, "s", 3)
    job = job_queue.fail(taken, "out_of_memory", "8.1 GiB wanted")
    assert (job.phase, job.memory_gib) == (Phase.WAITING, 24.0)
    assert job.reason == "out of memory, waits for 24.0 GiB: 8.1 GiB wanted"
    assert job_queue.claim(new_worker("small", memory_gib=8.0)) is None
    again = job_queue.claim(new_worker("big", memory_gib=24.0))
    assert again is not None
    assert again.checkpoint == CheckpointRef("s", 3)
    assert job_queue.fail(again, "out_of_memory", "30 GiB wanted").error_code == "out_of_memory"


def test_out_of_memory_ends_a_job_that_no_known_worker_has_memory_for(
    job_queue: SqlJobQueue,
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.claim(new_worker("big", memory_gib=24.0))
    job = job_queue.fail(taken, "out_of_memory", "40 GiB wanted", needs_gib=40.0)
    assert (job.phase, job.error_code) == (Phase.FAILED, "out_of_memory")


def test_owners_alternate_however_many_jobs_one_of_them_submits(job_queue: SqlJobQueue) -> None:
    for _ in range(5):
        job_queue.submit(new_job(owner="ann"))
    for _ in range(2):
        job_queue.submit(new_job(owner="bob"))
    order = []
    for _ in range(7):
        taken = claim(job_queue)
        order.append(taken.job.owner)
        job_queue.finish(taken, FILES)
    assert sorted(order[:2]) == sorted(order[2:4]) == ["ann", "bob"]


def test_no_job_starves_behind_shorter_ones_that_keep_coming(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    long_job = job_queue.submit(
        new_job(estimate_s=1_000.0, priority=policy.Priority.LOW, owner="bob")
    )
    for _ in range(200):
        job_queue.submit(new_job(owner="ann", estimate_s=100.0, priority=policy.Priority.HIGH))
        taken = claim(job_queue)
        if taken.id == long_job.id:
            break
        clock.move(100)
        job_queue.finish(taken, FILES)
    assert taken.id == long_job.id
    assert clock.now_s <= long_job.rank + 100


def test_a_private_job_stays_on_trusted_workers(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job(needs_trust=True))
    assert job_queue.claim(new_worker("stranger", is_trusted=False)) is None
    assert job_queue.claim(new_worker("ours")) is not None


def test_a_position_counts_the_work_before_a_job(job_queue: SqlJobQueue) -> None:
    job_queue.submit(new_job(estimate_s=40.0))
    taken = claim(job_queue)
    job_queue.heartbeat(taken, at(5))
    for owner in ("bob", "eve"):
        job_queue.submit(new_job(owner=owner, estimate_s=1.0))
    job = job_queue.submit(new_job(owner="joe", estimate_s=5.0))
    position = job_queue.position_of(job)
    assert position is not None
    assert (position.num_ahead, position.ahead_s, position.running_s, position.num_workers) == (
        2,
        2,
        20,
        1,
    )
    assert position.wait_s == 22
    assert job_queue.position_of(job_queue.get(taken.id)) is None


def test_the_position_before_submission_is_by_the_clock_of_the_database(
    job_queue: SqlJobQueue,
) -> None:
    """The test's database is years away from the clock of this machine."""
    job_queue.submit(new_job(owner="bob", estimate_s=1.0))
    job_queue.submit(new_job(owner="ann", estimate_s=100.0))
    for asked in (
        new_job(owner="eve", estimate_s=50.0),
        new_job(owner="eve", estimate_s=0.1),
        new_job(owner="eve", estimate_s=200.0, deadline_s=401.0),
    ):
        before = job_queue.position_if_submitted(asked)
        assert job_queue.position_of(job_queue.submit(asked)) == before
        empty(job_queue)


@pytest.mark.parametrize("phase", list(Phase))
def test_seconds_of_work_left_are_the_same_in_python_and_in_sql_and_never_negative(
    job_queue: SqlJobQueue, phase: Phase
) -> None:
    is_running, is_final = phase is Phase.RUNNING, phase.is_final
    values = {
        "phase": str(phase),
        "worker": "w" if is_running else None,
        "lease_until": START_S if is_running else None,
        "ended_at": START_S if is_final else None,
        "error_code": "cancelled" if phase is Phase.FAILED else None,
    }
    for num_steps in (0, 1, 3, 50):
        for step in (0, 1, 2, 49, 50, 97):
            job = job_queue.submit(new_job(estimate_s=7.3, num_steps=num_steps))
            is_it = schema.job.c.id == job.id
            with job_queue.database.write() as connection:
                connection.execute(update(schema.job).where(is_it).values(**values, step=step))
                left_s = connection.execute(select(schema.REMAINING_S).where(is_it)).scalar_one()
            assert left_s == pytest.approx(job_queue.get(job.id).remaining_s, abs=1e-12)
            assert 0 <= left_s <= 7.3


def test_more_steps_than_planned_make_neither_the_queue_nor_the_keys_limit_shorter(
    job_queue: SqlJobQueue,
) -> None:
    """Solvers such as Heun's count two calls of the model for a step."""
    job_queue.submit(new_job(estimate_s=10.0))
    job_queue.heartbeat(claim(job_queue), at(19))
    waiting = job_queue.submit(new_job(owner="bob", estimate_s=4.0))
    position = job_queue.position_of(waiting)
    assert position is not None
    assert position.running_s == 0
    with pytest.raises(LimitError, match="0 are waiting"):
        job_queue.submit(new_job(estimate_s=6.0), limits=KeyLimits(max_gpu_s_per_day=5.0))
