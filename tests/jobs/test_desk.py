"""The contract of a desk: jobs, claims and leases, on SQLite and on PostgreSQL."""

import pytest

from reelgrid.errors import ConflictError, LimitError, NotFoundError, RequestError, StaleClaim
from reelgrid.jobs import policy
from reelgrid.jobs.desk import Desk
from reelgrid.jobs.job import Detail, Kind, Limits, Phase, SavedState, Status, Wanted
from reelgrid.jobs.sql import SqlDesk
from reelgrid.jobs.work import Answer, Claim, Progress
from tests.jobs.given import START_S, Clock, new_job, new_worker

FILES = {"video": "v.mp4", "thumbnail": "t.webp"}
LATE_S = 21.0  # longer than the lease


def claim(desk: SqlDesk, name: str = "w1") -> Claim:
    taken = desk.claim(new_worker(name))
    assert taken is not None
    return taken


def at(step: int, stage: str = "denoise") -> Progress:
    return Progress(stage=stage, step=step)


def test_a_desk_plays_its_role(desk: SqlDesk) -> None:
    assert isinstance(desk, Desk)


def test_a_job_that_was_admitted_is_read_back_as_it_was(desk: SqlDesk) -> None:
    odd = {"prompt": "nul \x00, lone \ud800, smile 🙂, 'quote\"", "size": [1, None, 2.5, True]}
    job = desk.submit(new_job(request=odd, inputs=("upload",), webhook="https://a.b/c"))
    assert job.request == odd
    assert desk.get(job.id) == job
    assert (job.status, job.phase, job.detail) == (Status.QUEUED, Phase.WAITING, None)
    assert job.created_at == START_S
    assert job.id.startswith("video_")
    assert desk.submit(new_job(kind=Kind.IMAGE)).id.startswith("image_")


def test_a_claim_gives_a_lease_and_an_epoch(desk: SqlDesk) -> None:
    job = desk.submit(new_job())
    taken = claim(desk)
    assert taken.id == job.id
    assert (taken.epoch, taken.job.worker, taken.job.lease_until) == (1, "w1", START_S + 20)
    assert (taken.job.status, taken.job.started_at) == (Status.IN_PROGRESS, START_S)
    assert desk.claim(new_worker("w2")) is None


def test_beats_keep_a_claim_for_as_long_as_they_come(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    for step in range(5):
        clock.move(19)
        assert desk.beat(taken, at(step)) is Answer.GO
        assert desk.claim(new_worker("w2")) is None
    job = desk.get(taken.id)
    assert (job.stage, job.step, job.progress) == ("denoise", 4, 40)


def test_a_job_whose_worker_is_silent_goes_to_another_from_its_saved_state(
    desk: SqlDesk, clock: Clock
) -> None:
    desk.submit(new_job())
    first = claim(desk)
    desk.save(first, "s4", 4)
    desk.beat(first, at(6))
    clock.move(LATE_S)
    second = claim(desk, "w2")
    assert (second.id, second.epoch) == (first.id, 2)
    assert second.state == SavedState("s4", 4)
    assert second.job.step == 4
    assert second.job.losses == 1


@pytest.mark.parametrize("act", ["beat", "signal", "save", "finish", "fail", "give back"])
def test_a_worker_that_woke_too_late_changes_nothing(desk: SqlDesk, clock: Clock, act: str) -> None:
    desk.submit(new_job())
    zombie = claim(desk)
    clock.move(LATE_S)
    claim(desk, "w2")
    before = desk.get(zombie.id), desk.usage(), desk.tallies(), desk.workers()
    with pytest.raises(StaleClaim, match="no longer with worker w1"):
        _write(desk, zombie, act)
    assert (desk.get(zombie.id), desk.usage(), desk.tallies(), desk.workers()) == before


def _write(desk: SqlDesk, zombie: Claim, act: str) -> None:
    match act:
        case "beat":
            desk.beat(zombie, at(9))
        case "signal":
            desk.signal(zombie)
        case "save":
            desk.save(zombie, "late", 9)
        case "finish":
            desk.finish(zombie, FILES)
        case "fail":
            desk.fail(zombie, "out_of_memory", "late")
        case _:
            desk.give_back(zombie, "late")


def test_a_late_worker_keeps_the_job_that_nobody_took(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    clock.move(1_000)
    assert desk.beat(taken, at(3)) is Answer.GO
    assert desk.claim(new_worker("w2")) is None


def test_a_clock_that_jumps_ends_leases_and_nothing_else(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    clock.move(-86_400)
    assert desk.beat(taken, at(1)) is Answer.GO
    clock.move(10 * 86_400)
    again = claim(desk, "w2")
    assert desk.finish(again, FILES).phase is Phase.COMPLETED


def test_saving_keeps_two_states_and_names_what_may_go(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    assert desk.save(taken, "a", 1) == ()
    assert desk.save(taken, "b", 2) == ()
    assert desk.save(taken, "c", 3) == ("a",)
    assert desk.get(taken.id).states == (SavedState("c", 3), SavedState("b", 2))
    assert desk.blob_names() == {"b", "c"}


def test_a_finished_job_has_its_files_and_is_nobodys(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job(retain_s=100.0))
    taken = claim(desk)
    desk.save(taken, "a", 1)
    clock.move(5)
    job = desk.finish(taken, FILES)
    assert job.state == SavedState("a", 1)  # for the worker, to remove
    job = desk.get(taken.id)
    assert (job.status, job.files, job.progress) == (Status.COMPLETED, FILES, 100)
    assert (job.completed_at, job.expires_at) == (START_S + 5, START_S + 105)
    assert (job.worker, job.lease_until, job.states) == (None, None, ())
    assert desk.blob_names() == set(FILES.values())
    with pytest.raises(StaleClaim):
        desk.finish(taken, {"video": "other"})


def test_a_finish_whose_answer_was_lost_may_be_sent_again(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    job = desk.finish(taken, FILES)
    tallies = desk.tallies()
    assert desk.finish(taken, FILES) == job
    assert desk.tallies() == tallies


def test_a_failed_job_says_why_in_one_line(desk: SqlDesk) -> None:
    desk.submit(new_job())
    job = desk.fail(claim(desk), "generation_failed", "two\nlines \x00 and\tmore")
    assert (job.status, job.error_code) == (Status.FAILED, "generation_failed")
    assert job.error_message == "two lines and more"
    assert desk.claim(new_worker()) is None


def test_a_waiting_job_is_cancelled_at_once(desk: SqlDesk) -> None:
    job = desk.cancel(desk.submit(new_job()).id)
    assert (job.status, job.error_code) == (Status.FAILED, "cancelled")
    assert desk.claim(new_worker()) is None
    assert desk.cancel(job.id) == desk.get(job.id)


def test_a_running_job_is_cancelled_at_its_next_step(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    asked = desk.cancel(taken.id)
    assert (asked.status, asked.detail) == (Status.IN_PROGRESS, Detail.CANCELLING)
    assert desk.signal(taken) is Answer.CANCEL
    assert desk.beat(taken, at(1)) is Answer.CANCEL
    job = desk.give_back(taken, "cancelled")
    assert (job.phase, job.error_code) == (Phase.FAILED, "cancelled")


@pytest.mark.parametrize("act", ["finish", "fail", "die"])
def test_a_cancelled_job_ends_as_cancelled_whatever_its_worker_does(
    desk: SqlDesk, clock: Clock, act: str
) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    desk.cancel(taken.id)
    if act == "finish":
        assert desk.finish(taken, FILES).phase is Phase.FAILED
    elif act == "fail":
        desk.fail(taken, "out_of_memory", "too small")
    else:
        clock.move(LATE_S)
        assert desk.claim(new_worker("w2")) is None
    job = desk.get(taken.id)
    assert (job.phase, job.error_code, job.files) == (Phase.FAILED, "cancelled", {})


def test_a_paused_job_is_claimed_by_nobody_and_goes_on_from_its_state(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    assert desk.pause(taken.id).detail is Detail.PAUSING
    assert desk.signal(taken) is Answer.PAUSE
    desk.save(taken, "s", 3)
    job = desk.give_back(taken, "paused")
    assert (job.status, job.detail) == (Status.IN_PROGRESS, Detail.PAUSED)
    assert desk.claim(new_worker()) is None
    assert desk.resume(job.id).detail is Detail.RESUMING
    again = claim(desk)
    assert (again.epoch, again.state) == (2, SavedState("s", 3))


def test_a_job_is_paused_before_it_begins(desk: SqlDesk) -> None:
    job = desk.pause(desk.submit(new_job()).id)
    assert (job.status, job.detail) == (Status.QUEUED, Detail.PAUSED)
    assert desk.claim(new_worker()) is None
    assert desk.pause(job.id) == job
    desk.resume(job.id)
    assert claim(desk).id == job.id


def test_a_job_whose_worker_dies_while_it_is_to_pause_is_paused(
    desk: SqlDesk, clock: Clock
) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    desk.pause(taken.id)
    clock.move(LATE_S)
    assert desk.tend() == 1
    assert desk.get(taken.id).phase is Phase.PAUSED


def test_a_pause_is_taken_back_before_it_is_obeyed(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    desk.pause(taken.id)
    desk.resume(taken.id)
    assert desk.signal(taken) is Answer.GO


def test_what_has_ended_cannot_be_cancelled_paused_or_resumed(desk: SqlDesk) -> None:
    desk.submit(new_job())
    job = desk.finish(claim(desk), FILES)
    for act in (desk.cancel, desk.pause, desk.resume):
        with pytest.raises(ConflictError, match=f"{job.id} is completed: it cannot be"):
            act(job.id)
    assert desk.get(job.id).phase is Phase.COMPLETED


def test_what_is_being_cancelled_cannot_be_paused_or_resumed(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    desk.cancel(taken.id)
    for act in (desk.pause, desk.resume):
        with pytest.raises(ConflictError, match="is being cancelled"):
            act(taken.id)
    assert desk.get(taken.id).wanted is Wanted.CANCEL


def test_a_deleted_job_is_gone(desk: SqlDesk) -> None:
    desk.submit(new_job())
    job = desk.delete(desk.finish(claim(desk), FILES).id)
    assert job.files == FILES
    with pytest.raises(NotFoundError):
        desk.get(job.id)
    assert desk.blob_names() == frozenset()


@pytest.mark.parametrize("act", ["finish", "give back", "die"])
def test_a_running_job_that_is_deleted_is_cancelled_and_goes_with_its_worker(
    desk: SqlDesk, clock: Clock, act: str
) -> None:
    desk.submit(new_job(webhook="https://a.b/"))
    taken = claim(desk)
    desk.delete(taken.id)
    with pytest.raises(NotFoundError):
        desk.get(taken.id)
    assert desk.list().jobs == ()
    assert desk.signal(taken) is Answer.CANCEL
    if act == "die":
        clock.move(LATE_S)
        assert desk.claim(new_worker("w2")) is None
    elif act == "finish":
        assert desk.finish(taken, FILES).phase is Phase.FAILED
    else:
        desk.give_back(taken, "cancelled")
    assert desk.counts() == []
    assert desk.take_notices() == []


def test_each_owner_sees_and_touches_his_own_jobs_only(desk: SqlDesk) -> None:
    job = desk.submit(new_job(owner="ann"))
    for act in (desk.get, desk.cancel, desk.pause, desk.resume, desk.delete, desk.place):
        with pytest.raises(NotFoundError, match="there is no job"):
            act(job.id, owner="bob")
    assert desk.list(owner="bob").jobs == ()
    with pytest.raises(NotFoundError):
        desk.list(owner="bob", after=job.id)
    assert desk.get(job.id, owner="ann") == job


@pytest.mark.parametrize(
    "name", ["", "x", "video_", "video_" + "0" * 24, "../../etc", "a\x00b", "%"]
)
def test_what_is_no_id_is_not_found(desk: SqlDesk, name: str) -> None:
    with pytest.raises(NotFoundError):
        desk.get(name)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_hold_every_job_once_in_order(desk: SqlDesk, clock: Clock, order: str) -> None:
    ids = []
    for number in range(7):
        ids.append(desk.submit(new_job()).id)
        desk.submit(new_job(owner="bob"))
        clock.move(number % 2)  # some at the same time
    seen: list[str] = []
    times: list[float] = []
    after = None
    for is_last in (False, False, True):
        page = desk.list(owner="ann", after=after, limit=3, order=order)  # type: ignore[arg-type]
        assert page.has_more is not is_last
        seen += [job.id for job in page.jobs]
        times += [job.created_at for job in page.jobs]
        after = seen[-1]
    assert sorted(seen) == sorted(ids)
    assert times == sorted(times, reverse=order == "desc")


def test_a_page_of_an_impossible_length_is_refused(desk: SqlDesk) -> None:
    for limit in (0, 1_001):
        with pytest.raises(RequestError, match="limit"):
            desk.list(limit=limit)


def test_the_same_request_sent_again_is_the_same_job(desk: SqlDesk) -> None:
    job = desk.submit(new_job(idempotency_key="k", body_digest="d"))
    again = desk.submit(new_job(idempotency_key="k", body_digest="d", estimate_s=99.0))
    assert again == job
    assert desk.usage()[0].num_jobs == 1
    assert desk.submit(new_job(owner="bob", idempotency_key="k", body_digest="x")).id != job.id
    with pytest.raises(ConflictError, match=f"another request, for {job.id}"):
        desk.submit(new_job(idempotency_key="k", body_digest="other"))


def test_an_owner_has_no_more_unfinished_jobs_than_the_limit(desk: SqlDesk) -> None:
    limits = Limits(max_jobs=2)
    first = desk.submit(new_job(), limits=limits)
    desk.submit(new_job(), limits=limits)
    with pytest.raises(LimitError, match="this key may have 2") as refused:
        desk.submit(new_job(), limits=limits)
    assert refused.value.limit == "max_jobs"
    desk.submit(new_job(owner="bob"), limits=limits)
    desk.cancel(first.id)
    desk.submit(new_job(), limits=limits)


def test_an_owner_has_no_more_seconds_a_day_than_the_limit(desk: SqlDesk, clock: Clock) -> None:
    limits = Limits(max_gpu_s_per_day=25.0)
    desk.submit(new_job(estimate_s=10.0), limits=limits)
    taken = claim(desk)
    clock.move(15)
    desk.finish(taken, FILES)
    desk.submit(new_job(estimate_s=10.0), limits=limits)
    with pytest.raises(LimitError, match="15 GPU-seconds are used") as refused:
        desk.submit(new_job(estimate_s=1.0), limits=limits)
    assert refused.value.limit == "max_gpu_s_per_day"
    clock.move(86_400)
    desk.submit(new_job(estimate_s=15.0), limits=limits)


def test_a_job_that_loses_three_workers_at_the_same_place_is_given_up(
    desk: SqlDesk, clock: Clock
) -> None:
    desk.submit(new_job(webhook="https://a.b/"))
    for number in range(3):
        taken = claim(desk, f"w{number}")
        desk.beat(taken, at(7))
        clock.move(LATE_S)
    assert desk.claim(new_worker()) is None
    job = desk.get(taken.id)
    assert (job.phase, job.error_code) == (Phase.FAILED, "worker_crash")
    assert job.error_message == (
        "3 workers were lost, 3 of them at stage denoise, step 7 of 10, without getting further"
    )
    assert [notice.event for notice in desk.take_notices()] == ["video.failed"]


def test_a_job_that_gets_further_each_time_is_never_given_up(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    places = [at(0, "load"), at(0, "encode"), *(at(step) for step in range(1, 9)), at(8, "decode")]
    for number, place in enumerate(places):
        taken = claim(desk, f"w{number}")
        desk.beat(taken, place)
        clock.move(LATE_S)
    assert claim(desk).job.losses == 1


def test_a_job_that_dies_in_different_places_is_given_more_chances(
    desk: SqlDesk, clock: Clock
) -> None:
    desk.submit(new_job())
    places = [at(9, "write"), *(at(step) for step in range(8)), at(9, "write")]
    for number, place in enumerate(places):
        taken = claim(desk, f"w{number}")
        desk.beat(taken, place)
        assert taken.job.losses == number
        clock.move(LATE_S)
    assert desk.claim(new_worker()) is None
    assert desk.get(taken.id).error_message == (
        "10 workers were lost, 2 of them at stage write, step 9 of 10, without getting further"
    )


def test_a_dead_workers_jobs_are_free_at_once(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    assert desk.bury("nobody") == 0
    assert desk.bury("w1") == 1
    with pytest.raises(StaleClaim):
        desk.signal(taken)
    assert claim(desk, "w2").id == taken.id


def test_out_of_memory_sends_a_job_to_a_bigger_worker_that_is_known(desk: SqlDesk) -> None:
    desk.submit(new_job())
    desk.claim(new_worker("huge", memory_gib=80.0, models=frozenset({"other"})))
    desk.claim(new_worker("idle", memory_gib=24.0, models=frozenset({"none"})))
    taken = desk.claim(new_worker("small", memory_gib=8.0))
    assert taken is not None
    desk.claim(new_worker("big", memory_gib=24.0))
    desk.save(taken, "s", 3)
    job = desk.fail(taken, "out_of_memory", "8.1 GiB wanted")
    assert (job.phase, job.memory_gib) == (Phase.WAITING, 24.0)
    assert job.reason == "out of memory, waits for 24.0 GiB: 8.1 GiB wanted"
    assert desk.claim(new_worker("small", memory_gib=8.0)) is None
    again = desk.claim(new_worker("big", memory_gib=24.0))
    assert again is not None
    assert again.state == SavedState("s", 3)
    assert desk.fail(again, "out_of_memory", "30 GiB wanted").error_code == "out_of_memory"


def test_out_of_memory_ends_a_job_that_no_known_worker_has_room_for(desk: SqlDesk) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    desk.claim(new_worker("big", memory_gib=24.0))
    job = desk.fail(taken, "out_of_memory", "40 GiB wanted", needs_gib=40.0)
    assert (job.phase, job.error_code) == (Phase.FAILED, "out_of_memory")


def test_owners_take_turns_however_many_jobs_one_of_them_sends(desk: SqlDesk) -> None:
    for _ in range(5):
        desk.submit(new_job(owner="ann"))
    for _ in range(2):
        desk.submit(new_job(owner="bob"))
    order = []
    for _ in range(7):
        taken = claim(desk)
        order.append(taken.job.owner)
        desk.finish(taken, FILES)
    assert sorted(order[:2]) == sorted(order[2:4]) == ["ann", "bob"]


def test_no_job_starves_behind_shorter_ones_that_keep_coming(desk: SqlDesk, clock: Clock) -> None:
    long_job = desk.submit(new_job(estimate_s=1_000.0, priority=policy.Priority.LOW, owner="bob"))
    for _ in range(200):
        desk.submit(new_job(owner="ann", estimate_s=100.0, priority=policy.Priority.HIGH))
        taken = claim(desk)
        if taken.id == long_job.id:
            break
        clock.move(100)
        desk.finish(taken, FILES)
    assert taken.id == long_job.id
    assert clock.now_s <= long_job.rank + 100


def test_a_private_job_stays_on_trusted_workers(desk: SqlDesk) -> None:
    desk.submit(new_job(needs_trust=True))
    assert desk.claim(new_worker("stranger", is_trusted=False)) is None
    assert desk.claim(new_worker("ours")) is not None


def test_a_place_counts_the_work_before_a_job(desk: SqlDesk) -> None:
    desk.submit(new_job(estimate_s=40.0))
    taken = claim(desk)
    desk.beat(taken, at(5))
    for owner in ("bob", "eve"):
        desk.submit(new_job(owner=owner, estimate_s=1.0))
    job = desk.submit(new_job(owner="joe", estimate_s=5.0))
    place = desk.place(job.id)
    assert place is not None
    assert (place.num_ahead, place.ahead_s, place.running_s, place.num_workers) == (2, 2, 20, 1)
    assert place.wait_s == 22
    assert desk.place(taken.id) is None
