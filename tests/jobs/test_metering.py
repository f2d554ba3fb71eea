"""Metering: GPU-seconds exactly once, counters, histograms, profiles, and when they are removed."""

import math
import statistics
from collections import defaultdict
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelgrid.errors import ConflictError, StaleClaim
from reelgrid.jobs.job import JobKind
from reelgrid.jobs.messages import Claim, JobProgress, Timing
from reelgrid.jobs.sql import database as database_module
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.metering import BOUNDS_S
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import Clock, empty, new_job, new_worker

FILES = {"video": "v"}


def claim(job_queue: SqlJobQueue, name: str = "w1") -> Claim:
    taken = job_queue.claim(new_worker(name))
    assert taken is not None
    return taken


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(gaps=st.lists(st.integers(0, 19), min_size=1, max_size=8), ends=st.booleans())
def test_every_second_under_a_lease_is_charged_once(
    job_queue: SqlJobQueue, clock: Clock, gaps: list[int], ends: bool
) -> None:
    empty(job_queue)
    job_queue.submit(new_job())
    taken = claim(job_queue)
    for number, gap in enumerate(gaps):
        clock.move(gap)
        if number % 2:
            job_queue.save_checkpoint(taken, f"s{number}", 1)
        else:
            job_queue.heartbeat(taken, JobProgress(stage="denoise", step=1))
    clock.move(3)
    job = job_queue.finish(taken, FILES) if ends else job_queue.release(taken, "stopped")
    assert job.gpu_s == sum(gaps) + 3
    assert sum(each.gpu_s for each in job_queue.usage()) == job.gpu_s


def test_a_lost_worker_is_charged_to_its_last_heartbeat_and_a_zombie_not_at_all(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    first = claim(job_queue)
    clock.move(5)
    job_queue.heartbeat(first, JobProgress(stage="denoise", step=1))
    clock.move(30)
    second = claim(job_queue, "w2")
    clock.move(2)
    with pytest.raises(StaleClaim):
        job_queue.heartbeat(first, JobProgress(stage="denoise", step=2))
    assert job_queue.finish(second, FILES).gpu_s == 7
    assert [each.gpu_s for each in job_queue.usage(owner="ann")] == [7]


def test_time_beyond_the_lease_is_not_charged(job_queue: SqlJobQueue, clock: Clock) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    clock.move(3_600)
    job_queue.heartbeat(taken, JobProgress(stage="denoise", step=1))
    assert job_queue.get(taken.id).gpu_s == 20
    clock.move(-7_200)
    job_queue.heartbeat(taken, JobProgress(stage="denoise", step=2))
    assert job_queue.get(taken.id).gpu_s == 20


def test_usage_is_kept_by_day(job_queue: SqlJobQueue, clock: Clock) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    clock.move(10)
    job_queue.heartbeat(taken, JobProgress(stage="denoise", step=1))
    clock.move(86_400)
    job_queue.finish(taken, FILES)
    job_queue.submit(new_job())
    today, yesterday = job_queue.usage()
    assert (yesterday.day, yesterday.gpu_s, yesterday.num_jobs) == (date(2027, 1, 15), 10, 1)
    assert (today.day, today.gpu_s, today.num_jobs) == (date(2027, 1, 16), 20, 1)
    assert job_queue.usage(since=date(2027, 1, 16)) == [today]


def test_a_profile_is_the_mean_and_spread_of_the_logarithms(job_queue: SqlJobQueue) -> None:
    times_s = [0.5, 0.8, 1.7, 0.6]
    for step_s in times_s:
        job_queue.submit(new_job())
        job_queue.finish(
            claim(job_queue), FILES, timing=Timing(workload="8x8x1", step_s=step_s, load_s=2.0)
        )
    load, step = job_queue.profiles(model="tiny")
    logs = [math.log(step_s) for step_s in times_s]
    assert (step.machine, step.workload, step.part, step.num) == ("cpu", "8x8x1", "step", 4)
    assert step.median_s == pytest.approx(math.exp(statistics.mean(logs)))
    assert step.sigma == pytest.approx(statistics.stdev(logs))
    assert (load.part, load.sigma) == ("load", 0)
    assert load.median_s == pytest.approx(2.0)
    assert job_queue.profiles(model="other") == []


def test_a_histogram_counts_each_value_in_its_bucket(job_queue: SqlJobQueue) -> None:
    values = [0.0, 0.01, 0.02, 5.0, 1e9]
    for value in values:
        job_queue.observe("probe_s", "x", value)
    job_queue.observe("refused", "size")
    job_queue.observe("refused", "size")
    probe = [counter for counter in job_queue.counters() if counter.name == "probe_s"]
    assert sum(counter.total for counter in probe) == sum(values)
    for counter in probe:
        low = max((bound for bound in BOUNDS_S if bound < counter.bound), default=-1.0)
        assert counter.num == sum(low < value <= counter.bound for value in values)
    refused = [counter for counter in job_queue.counters() if counter.name == "refused"]
    assert [(counter.label, counter.num) for counter in refused] == [("size", 2)]


def test_moves_are_counted(job_queue: SqlJobQueue, clock: Clock) -> None:
    job_queue.submit(new_job(clip_s=2.0))
    clock.move(4)
    job_queue.save_checkpoint(claim(job_queue), "s", 1)
    clock.move(30)
    job_queue.finish(claim(job_queue, "w2"), FILES)
    sums = {(counter.name, counter.label): counter.total for counter in job_queue.counters()}
    assert (
        sums["submitted", "tiny"] == sums["completed", "tiny"] == sums["checkpoints", "tiny"] == 1
    )
    assert sums["workers_lost", "denoise"] == 1
    assert sums["wait_s", "tiny"] == 4
    assert sums["clip_s", "tiny"] == 2
    assert sums["turnaround_s", "tiny"] == 34


def test_images_do_not_count_as_time_for_videos(job_queue: SqlJobQueue, clock: Clock) -> None:
    for kind, after_s in ((JobKind.VIDEO, 4), (JobKind.IMAGE, 7)):
        job_queue.submit(new_job(kind=kind, clip_s=2.0 if kind is JobKind.VIDEO else 0.0))
        taken = claim(job_queue)
        clock.move(after_s)
        job_queue.finish(taken, FILES)
    sums: defaultdict[str, float] = defaultdict(float)
    for counter in job_queue.counters():
        sums[counter.name] += counter.total
    assert (sums["gpu_s"], sums["video_gpu_s"], sums["clip_s"]) == (11, 4, 2)


def test_counts_are_by_phase_and_model(job_queue: SqlJobQueue, clock: Clock) -> None:
    job_queue.submit(new_job(estimate_s=10.0))
    job_queue.heartbeat(claim(job_queue), JobProgress(stage="denoise", step=5))
    for _ in range(2):
        job_queue.submit(new_job(model="big", estimate_s=7.0))
    counts = {
        (each.phase, each.model): (each.num, each.remaining_s) for each in job_queue.job_counts()
    }
    assert counts == {("running", "tiny"): (1, 5.0), ("waiting", "big"): (2, 14.0)}
    clock.move(6)
    assert job_queue.oldest_wait_s() == 6


def test_workers_are_listed_with_their_jobs(job_queue: SqlJobQueue, clock: Clock) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.claim(new_worker("w2", models=frozenset({"a"}), warm_models=frozenset({"a"})))
    busy, idle = job_queue.workers()
    assert (busy.job, busy.is_live, busy.is_idle) == (taken.id, True, False)
    assert (idle.job, idle.is_idle, idle.info.models) == (None, True, frozenset("a"))
    clock.move(10)
    assert [each.is_live for each in job_queue.workers()] == [True, False]


def test_a_worker_that_was_not_seen_for_a_day_is_forgotten_unless_it_has_a_job(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job())
    taken = claim(job_queue)
    job_queue.claim(new_worker("w2"))
    assert job_queue.forget_workers() == 0
    clock.move(86_401)
    assert job_queue.forget_workers() == 1
    assert [each.info.id for each in job_queue.workers()] == ["w1"]
    job_queue.finish(taken, FILES)
    clock.move(86_401)
    assert job_queue.forget_workers() == 1
    assert job_queue.workers() == []


def test_reading_the_workers_writes_nothing_and_waits_for_no_writer(
    job_queue: SqlJobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LOCK_TIMEOUT_S", 0.1)
    with job_queue.database.write() as connection:
        connection.execute(schema.usage.delete())
        assert job_queue.workers() == []


def test_files_expire_and_jobs_are_forgotten_in_time(job_queue: SqlJobQueue, clock: Clock) -> None:
    first = job_queue.submit(new_job(retain_s=100.0, inputs=("upload",)))
    clock.move(1)
    second = job_queue.submit(new_job(owner="bob"))
    for name in ("w1", "w2"):
        job_queue.finish(claim(job_queue, name), {"video": name})
    assert job_queue.expired() == []
    clock.move(101)
    (job,) = job_queue.expired()
    assert job.id == first.id
    assert {each.id for each in job_queue.oldest_with_files()} == {first.id, second.id}
    assert job_queue.drop_files(job.id).files == {"video": "w1"}
    assert job_queue.expired() == []
    assert job_queue.blob_names() == {"w2"}
    assert job_queue.purge(older_than_s=200.0) == 0
    clock.move(200)
    assert job_queue.purge(older_than_s=200.0) == 1
    assert [each.owner for each in job_queue.list().jobs] == ["bob"]


def test_files_that_are_needed_are_not_dropped(job_queue: SqlJobQueue) -> None:
    job = job_queue.submit(new_job(inputs=("upload",)))
    with pytest.raises(ConflictError, match="its files are needed"):
        job_queue.drop_files(job.id)


def test_an_outbox_entry_comes_again_until_it_is_settled(
    job_queue: SqlJobQueue, clock: Clock
) -> None:
    job_queue.submit(new_job(webhook="https://a.b/c"))
    job = job_queue.finish(claim(job_queue), FILES)
    (entry,) = job_queue.claim_outbox(lease_s=60.0)
    assert (entry.event, entry.url, entry.job) == ("video.completed", "https://a.b/c", job.id)
    assert job_queue.claim_outbox() == []
    clock.move(61)  # the sender died
    (again,) = job_queue.claim_outbox()
    assert again.num_attempts == 2
    job_queue.settle_outbox(entry, retry_in_s=None)  # and woke: too late
    job_queue.settle_outbox(again, retry_in_s=10.0)
    assert job_queue.claim_outbox() == []
    clock.move(10)
    (last,) = job_queue.claim_outbox()
    job_queue.settle_outbox(last, retry_in_s=None)
    clock.move(86_400)
    assert job_queue.claim_outbox() == []
