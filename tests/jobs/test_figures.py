"""What the desk counts: GPU-seconds exactly once, times, histograms; what it keeps and lets go."""

import math
import statistics
from collections import defaultdict
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reelgrid.errors import ConflictError, StaleClaim
from reelgrid.jobs.job import Kind
from reelgrid.jobs.ledger import BOUNDS_S
from reelgrid.jobs.sql import SqlDesk
from reelgrid.jobs.work import Claim, Progress, Timing
from tests.jobs.given import Clock, empty, new_job, new_worker

FILES = {"video": "v"}


def claim(desk: SqlDesk, name: str = "w1") -> Claim:
    taken = desk.claim(new_worker(name))
    assert taken is not None
    return taken


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(gaps=st.lists(st.integers(0, 19), min_size=1, max_size=8), ends=st.booleans())
def test_every_second_under_a_lease_is_charged_once(
    desk: SqlDesk, clock: Clock, gaps: list[int], ends: bool
) -> None:
    empty(desk)
    desk.submit(new_job())
    taken = claim(desk)
    for number, gap in enumerate(gaps):
        clock.move(gap)
        if number % 2:
            desk.save(taken, f"s{number}", 1)
        else:
            desk.beat(taken, Progress(stage="denoise", step=1))
    clock.move(3)
    job = desk.finish(taken, FILES) if ends else desk.give_back(taken, "stopped")
    assert job.gpu_s == sum(gaps) + 3
    assert sum(each.gpu_s for each in desk.usage()) == job.gpu_s


def test_a_lost_worker_is_charged_to_its_last_beat_and_a_zombie_not_at_all(
    desk: SqlDesk, clock: Clock
) -> None:
    desk.submit(new_job())
    first = claim(desk)
    clock.move(5)
    desk.beat(first, Progress(stage="denoise", step=1))
    clock.move(30)
    second = claim(desk, "w2")
    clock.move(2)
    with pytest.raises(StaleClaim):
        desk.beat(first, Progress(stage="denoise", step=2))
    assert desk.finish(second, FILES).gpu_s == 7
    assert [each.gpu_s for each in desk.usage(owner="ann")] == [7]


def test_time_beyond_the_lease_is_nobodys(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    clock.move(3_600)
    desk.beat(taken, Progress(stage="denoise", step=1))
    assert desk.get(taken.id).gpu_s == 20
    clock.move(-7_200)
    desk.beat(taken, Progress(stage="denoise", step=2))
    assert desk.get(taken.id).gpu_s == 20


def test_usage_is_kept_by_day(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    clock.move(10)
    desk.beat(taken, Progress(stage="denoise", step=1))
    clock.move(86_400)
    desk.finish(taken, FILES)
    desk.submit(new_job())
    today, yesterday = desk.usage()
    assert (yesterday.day, yesterday.gpu_s, yesterday.num_jobs) == (date(2027, 1, 15), 10, 1)
    assert (today.day, today.gpu_s, today.num_jobs) == (date(2027, 1, 16), 20, 1)
    assert desk.usage(since=date(2027, 1, 16)) == [today]


def test_a_profile_is_the_mean_and_spread_of_the_logarithms(desk: SqlDesk) -> None:
    times_s = [0.5, 0.8, 1.7, 0.6]
    for step_s in times_s:
        desk.submit(new_job())
        desk.finish(claim(desk), FILES, timing=Timing(workload="8x8x1", step_s=step_s, load_s=2.0))
    load, step = desk.profiles(model="tiny")
    logs = [math.log(step_s) for step_s in times_s]
    assert (step.machine, step.workload, step.part, step.num) == ("cpu", "8x8x1", "step", 4)
    assert step.median_s == pytest.approx(math.exp(statistics.mean(logs)))
    assert step.sigma == pytest.approx(statistics.stdev(logs))
    assert (load.part, load.sigma) == ("load", 0)
    assert load.median_s == pytest.approx(2.0)
    assert desk.profiles(model="other") == []


def test_a_histogram_counts_each_value_in_its_bucket(desk: SqlDesk) -> None:
    values = [0.0, 0.01, 0.02, 5.0, 1e9]
    for value in values:
        desk.count("probe_s", "x", value)
    desk.count("refused", "size")
    desk.count("refused", "size")
    probe = [tally for tally in desk.tallies() if tally.name == "probe_s"]
    assert sum(tally.total for tally in probe) == sum(values)
    for tally in probe:
        low = max((bound for bound in BOUNDS_S if bound < tally.bound), default=-1.0)
        assert tally.num == sum(low < value <= tally.bound for value in values)
    refused = [tally for tally in desk.tallies() if tally.name == "refused"]
    assert [(tally.label, tally.num) for tally in refused] == [("size", 2)]


def test_moves_are_counted(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job(clip_s=2.0))
    clock.move(4)
    desk.save(claim(desk), "s", 1)
    clock.move(30)
    desk.finish(claim(desk, "w2"), FILES)
    sums = {(tally.name, tally.label): tally.total for tally in desk.tallies()}
    assert sums["submitted", "tiny"] == sums["completed", "tiny"] == sums["saves", "tiny"] == 1
    assert sums["lost", "denoise"] == 1
    assert sums["wait_s", "tiny"] == 4
    assert sums["clip_s", "tiny"] == 2
    assert sums["turnaround_s", "tiny"] == 34


def test_images_do_not_count_as_time_for_videos(desk: SqlDesk, clock: Clock) -> None:
    for kind, after_s in ((Kind.VIDEO, 4), (Kind.IMAGE, 7)):
        desk.submit(new_job(kind=kind, clip_s=2.0 if kind is Kind.VIDEO else 0.0))
        taken = claim(desk)
        clock.move(after_s)
        desk.finish(taken, FILES)
    sums: defaultdict[str, float] = defaultdict(float)
    for tally in desk.tallies():
        sums[tally.name] += tally.total
    assert (sums["gpu_s"], sums["video_gpu_s"], sums["clip_s"]) == (11, 4, 2)


def test_counts_are_by_phase_and_model(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job(estimate_s=10.0))
    desk.beat(claim(desk), Progress(stage="denoise", step=5))
    for _ in range(2):
        desk.submit(new_job(model="big", estimate_s=7.0))
    counts = {(each.phase, each.model): (each.num, each.remaining_s) for each in desk.counts()}
    assert counts == {("running", "tiny"): (1, 5.0), ("waiting", "big"): (2, 14.0)}
    clock.move(6)
    assert desk.oldest_wait_s() == 6
    assert desk.num_unfinished("ann") == 3


def test_workers_are_listed_with_their_jobs(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job())
    taken = claim(desk)
    desk.claim(new_worker("w2", models=frozenset({"a"}), warm_models=frozenset({"a"})))
    busy, idle = desk.workers()
    assert (busy.job, busy.is_live, busy.is_idle) == (taken.id, True, False)
    assert (idle.job, idle.is_idle, idle.info.models) == (None, True, frozenset("a"))
    clock.move(10)
    assert [each.is_live for each in desk.workers()] == [True, False]
    clock.move(86_400)
    desk.ping()
    assert desk.workers() == []


def test_files_expire_and_jobs_are_forgotten_in_time(desk: SqlDesk, clock: Clock) -> None:
    first = desk.submit(new_job(retain_s=100.0, inputs=("upload",)))
    clock.move(1)
    second = desk.submit(new_job(owner="bob"))
    for name in ("w1", "w2"):
        desk.finish(claim(desk, name), {"video": name})
    assert desk.expired() == []
    clock.move(101)
    (job,) = desk.expired()
    assert job.id == first.id
    assert {each.id for each in desk.oldest_with_files()} == {first.id, second.id}
    assert desk.drop_files(job.id).files == {"video": "w1"}
    assert desk.expired() == []
    assert desk.blob_names() == {"w2"}
    assert desk.purge(older_than_s=200.0) == 0
    clock.move(200)
    assert desk.purge(older_than_s=200.0) == 1
    assert [each.owner for each in desk.list().jobs] == ["bob"]


def test_files_that_are_needed_are_not_dropped(desk: SqlDesk) -> None:
    job = desk.submit(new_job(inputs=("upload",)))
    with pytest.raises(ConflictError, match="its files are needed"):
        desk.drop_files(job.id)


def test_a_notice_comes_again_until_it_is_settled(desk: SqlDesk, clock: Clock) -> None:
    desk.submit(new_job(webhook="https://a.b/c"))
    job = desk.finish(claim(desk), FILES)
    (notice,) = desk.take_notices(lease_s=60.0)
    assert (notice.event, notice.url, notice.job) == ("video.completed", "https://a.b/c", job.id)
    assert desk.take_notices() == []
    clock.move(61)  # the sender died
    (again,) = desk.take_notices()
    assert again.num_attempts == 2
    desk.settle_notice(notice, retry_in_s=None)  # and woke: too late
    desk.settle_notice(again, retry_in_s=10.0)
    assert desk.take_notices() == []
    clock.move(10)
    (last,) = desk.take_notices()
    desk.settle_notice(last, retry_in_s=None)
    clock.move(86_400)
    assert desk.take_notices() == []
