"""The lease with a queue whose answers the test sets, on a clock that the test moves."""

import threading

import pytest

from reelgrid.errors import BusyError, JobQueueError, StaleClaim
from reelgrid.jobs.job import Job, JobKind, Phase
from reelgrid.jobs.messages import Claim, Command, JobProgress
from reelgrid.jobs.policy import Priority
from reelgrid.workers.lease import MIN_STEP_LIMIT_S, STAGE_LIMITS_S, Lease, Watchdog, WorkerStopping

LEASE_S = 20.0


def a_claim():
    job = Job(
        id="video_1",
        kind=JobKind.VIDEO,
        owner="local",
        model="tiny",
        request={},
        phase=Phase.RUNNING,
        num_steps=4,
        created_at=0.0,
        updated_at=0.0,
        priority=Priority.NORMAL,
        estimate_s=1.0,
        memory_gib=1.0,
        clip_s=1.0,
        fair_start_s=0.0,
        rank=0.0,
        epoch=1,
        worker="one",
        lease_until=LEASE_S,
    )
    return Claim(job, "one", LEASE_S)


class AnsweringQueue:
    """Gives the answers that a test sets; raises an answer that is an exception."""

    def __init__(self):
        self.says = Command.CONTINUE
        self.num_heartbeats = 0
        self.num_asked = 0

    def heartbeat(self, claim, progress):
        self.num_heartbeats += 1
        return self._say()

    def poll_command(self, claim):
        self.num_asked += 1
        return self._say()

    def _say(self):
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


class Time:
    def __init__(self):
        self.now_s = 100.0
        self.on_sleep = lambda: None

    def __call__(self):
        return self.now_s

    def sleep(self, for_s):
        self.now_s += for_s
        self.on_sleep()


@pytest.fixture
def job_queue():
    return AnsweringQueue()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def lease(job_queue, time):
    return Lease(job_queue, a_claim(), heartbeat_every_s=5.0, clock=time, sleep=time.sleep)


def test_the_queue_is_not_polled_at_every_one_of_many_quick_steps(lease, job_queue, time):
    for _ in range(100):
        assert lease.command() is Command.CONTINUE
        time.now_s += 0.01
    assert 15 <= job_queue.num_asked <= 21


def test_a_slow_queue_is_polled_for_a_fiftieth_of_the_time_only(lease, job_queue, time):
    def slowly(claim):
        time.now_s += 0.1
        job_queue.num_asked += 1
        return Command.CONTINUE

    job_queue.poll_command = slowly
    begun = time.now_s
    while time.now_s < begun + 18:
        lease.command()
        time.now_s += 0.01
    assert job_queue.num_asked <= 4


def test_a_command_is_passed_on(lease, job_queue):
    job_queue.says = Command.PAUSE
    assert lease.command() is Command.PAUSE


def test_a_stale_claim_is_raised_at_every_step(lease, job_queue):
    job_queue.says = StaleClaim("gone")
    for _ in range(2):
        with pytest.raises(StaleClaim):
            lease.command()
    assert not lease.is_good


def test_work_goes_on_without_the_queue_for_as_long_as_the_lease_is_good(lease, job_queue, time):
    job_queue.says = JobQueueError("refused")
    for _ in range(19):
        assert lease.command() is Command.CONTINUE
        time.now_s += 1.0
    assert lease.is_good


def test_past_its_lease_a_worker_waits_for_the_queue_and_goes_on_if_the_job_is_still_its_own(
    lease, job_queue, time
):
    job_queue.says = JobQueueError("refused")
    time.now_s += LEASE_S + 1
    assert not lease.is_good
    waits = iter(range(5))

    def come_back():
        if next(waits, None) is None:
            job_queue.says = Command.CONTINUE

    time.on_sleep = come_back
    assert lease.command() is Command.CONTINUE
    assert lease.is_good
    assert job_queue.num_heartbeats == 7


def test_past_its_lease_a_worker_drops_what_is_another_s(lease, job_queue, time):
    time.now_s += LEASE_S + 1
    job_queue.says = StaleClaim("gone")
    with pytest.raises(StaleClaim):
        lease.command()


def test_a_worker_that_is_to_stop_does_not_wait_for_the_queue(job_queue, time):
    lease = Lease(
        job_queue,
        a_claim(),
        heartbeat_every_s=5.0,
        clock=time,
        sleep=time.sleep,
        is_stopping=lambda: True,
    )
    job_queue.says = JobQueueError("refused")
    time.now_s += LEASE_S + 1
    with pytest.raises(WorkerStopping):
        lease.command()


def test_a_lease_counts_from_when_the_heartbeat_was_sent(lease, job_queue, time):
    def late(claim, progress):
        time.now_s += 4.0
        return Command.CONTINUE

    job_queue.heartbeat = late
    lease.heartbeat()
    time.now_s += LEASE_S - 4.0
    assert not lease.is_good


def test_a_write_is_tried_until_the_queue_takes_it(lease, time):
    refusals = [JobQueueError("refused"), JobQueueError("refused")]

    def write():
        if refusals:
            raise refusals.pop()
        return "done"

    assert lease.retry(write) == "done"
    assert time.now_s == pytest.approx(100.0 + 0.2 + 0.4)


def test_a_write_is_not_tried_again_past_the_lease_before_the_queue_has_confirmed_it(
    lease, job_queue, time
):
    def write():
        job_queue.says = StaleClaim("gone")
        time.now_s += LEASE_S
        raise JobQueueError("refused")

    with pytest.raises(StaleClaim):
        lease.retry(write)


def test_a_write_that_is_refused_for_ever_is_not_tried_for_ever(lease, job_queue, time):
    """This holds while heartbeats are accepted; the worker waits for a queue that it cannot reach."""
    tried: list[float] = []

    def write():
        tried.append(time())
        raise JobQueueError("a constraint")

    time.on_sleep = lease.heartbeat
    with pytest.raises(JobQueueError, match="a constraint"):
        lease.retry(write)
    assert tried[-1] - tried[0] > 2 * LEASE_S


@pytest.mark.parametrize("lease_s", [LEASE_S, 1e9])
def test_a_queue_that_cannot_be_reached_is_waited_for_however_long(job_queue, time, lease_s):
    claim = Claim(a_claim().job, "one", lease_s)
    lease = Lease(job_queue, claim, heartbeat_every_s=5.0, clock=time, sleep=time.sleep)
    left = iter(range(1_000))

    def write():
        if job_queue.says is Command.CONTINUE:
            return "done"
        raise job_queue.says

    def come_back():
        if next(left, None) is None:
            job_queue.says = Command.CONTINUE

    job_queue.says = JobQueueError("refused")
    time.on_sleep = come_back
    assert lease.retry(write) == "done"


def test_a_stage_is_reported_at_once(lease, job_queue):
    lease.start_stage(JobProgress(stage="decode", step=4))
    assert job_queue.num_heartbeats == 1
    job_queue.says = StaleClaim("gone")
    with pytest.raises(StaleClaim):
        lease.start_stage(JobProgress(stage="write", step=4))


def test_heartbeats_come_from_a_thread_while_a_step_takes_its_time(job_queue):
    was_sent = threading.Event()

    def heartbeat(claim, progress):
        was_sent.set()
        return Command.CONTINUE

    job_queue.heartbeat = heartbeat
    with Lease(job_queue, a_claim(), heartbeat_every_s=0.01):
        assert was_sent.wait(60)


def test_work_that_hangs_is_not_kept_alive_by_heartbeats(job_queue):
    was_asked = threading.Event()

    class Hanging(Watchdog):
        @property
        def is_alive(self):
            was_asked.set()
            return False

    with Lease(job_queue, a_claim(), heartbeat_every_s=0.001, watchdog=Hanging()):
        assert was_asked.wait(60)
    assert job_queue.num_heartbeats == 0


def test_a_heartbeat_that_was_not_taken_is_tried_again_at_the_next_tick(
    job_queue, time, monkeypatch
):
    """Not a whole interval later: four of those are the lease."""
    monkeypatch.setattr("reelgrid.workers.lease.PROGRESS_EVERY_S", 0.005)
    lease = Lease(job_queue, a_claim(), heartbeat_every_s=0.02, clock=time)
    lease.heartbeat()  # there is nothing new to report
    heartbeats: list[None] = []
    enough = threading.Event()

    def refuse(claim, progress):
        heartbeats.append(None)
        if len(heartbeats) == 4:
            enough.set()
        raise BusyError("held")

    job_queue.heartbeat = refuse
    ticks = []
    wait = lease._has_ended.wait

    def tick(for_s):
        ticks.append(for_s)
        return wait(for_s)

    monkeypatch.setattr(lease._has_ended, "wait", tick)
    with lease:
        assert enough.wait(60)
    assert len(ticks) <= 4 + len(heartbeats)  # four ticks to the first, then one each


def test_a_lease_counts_from_when_the_claim_was_asked_for(job_queue, time):
    """A worker that was frozen between its claim and its work has less than the whole lease left."""
    lease = Lease(
        job_queue, a_claim(), heartbeat_every_s=5.0, clock=time, asked_at=time() - LEASE_S
    )
    assert not lease.is_good


def test_a_worker_that_waits_for_the_queue_does_not_count_as_hanging(job_queue, time):
    """Otherwise its supervisor would kill it and lose what it has in memory."""
    watchdog = Watchdog(time)
    watchdog.step_done(0.01)
    lease = Lease(
        job_queue, a_claim(), heartbeat_every_s=5.0, clock=time, sleep=time.sleep, watchdog=watchdog
    )
    job_queue.says = JobQueueError("refused")
    seen = []

    def look():
        seen.append(watchdog.is_alive)
        if len(seen) > MIN_STEP_LIMIT_S:  # two seconds each
            job_queue.says = Command.CONTINUE

    time.on_sleep = look
    time.now_s += LEASE_S + 1
    assert lease.command() is Command.CONTINUE
    assert all(seen)


def test_a_step_may_take_twenty_times_as_long_as_the_ones_before(time):
    watchdog = Watchdog(time)
    watchdog.step_done(100.0)
    time.now_s += 1999.0
    assert watchdog.is_alive
    time.now_s += 2.0
    assert not watchdog.is_alive
    watchdog.step_done(0.01)
    time.now_s += MIN_STEP_LIMIT_S - 1
    assert watchdog.is_alive


@pytest.mark.parametrize("stage", sorted(STAGE_LIMITS_S))
def test_a_stage_without_steps_may_take_long_but_not_for_ever(time, stage):
    watchdog = Watchdog(time)
    watchdog.step_done(0.01)
    watchdog.start_stage(stage)
    time.now_s += STAGE_LIMITS_S[stage] - 1
    assert watchdog.is_alive
    time.now_s += 2
    assert not watchdog.is_alive


def test_without_work_a_worker_is_alive(time):
    watchdog = Watchdog(time)
    watchdog.step_done(0.01)
    watchdog.idle()
    watchdog.waiting()
    time.now_s += 1e9
    assert watchdog.is_alive
