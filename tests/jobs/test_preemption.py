"""Preemption: one running job yields for each waiting one, and only when it is worthwhile."""

from reelgrid.jobs.job import Phase, StatusDetail
from reelgrid.jobs.messages import Claim, Command, JobProgress, WorkerInfo
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import Clock, new_job, new_worker

FILES = {"video": "v"}


def begin(job_queue: SqlJobQueue, worker: WorkerInfo, **values: object) -> Claim:
    job = job_queue.submit(new_job(**({"estimate_s": 400.0, "num_steps": 400} | values)))
    taken = job_queue.claim(worker)
    assert taken is not None
    assert taken.id == job.id
    return taken


def yielding(job_queue: SqlJobQueue) -> list[str]:
    return [job.id for job in job_queue.list().jobs if job.detail is StatusDetail.YIELDING]


def test_a_short_job_is_served_at_the_next_step_of_a_long_one(job_queue: SqlJobQueue) -> None:
    long_job = begin(job_queue, new_worker())
    assert job_queue.poll_command(long_job) is Command.CONTINUE
    short_job = job_queue.submit(new_job(owner="bob"))
    assert job_queue.poll_command(long_job) is Command.YIELD
    job_queue.save_checkpoint(long_job, "s", 5)
    job_queue.release(long_job, "yielded")
    taken = job_queue.claim(new_worker())
    assert taken is not None
    assert taken.id == short_job.id
    job_queue.finish(taken, FILES)
    again = job_queue.claim(new_worker())
    assert again is not None
    assert (again.id, again.job.losses) == (long_job.id, 0)


def test_one_short_job_makes_one_worker_yield(job_queue: SqlJobQueue) -> None:
    claims = [begin(job_queue, new_worker(f"w{n}")) for n in range(3)]
    short_job = job_queue.submit(new_job(owner="bob"))
    assert len(yielding(job_queue)) == 1
    for each in claims:
        job_queue.heartbeat(each, JobProgress(stage="denoise", step=1))
    assert len(yielding(job_queue)) == 1
    job_queue.submit(new_job(owner="eve"))
    for each in claims:
        job_queue.heartbeat(each, JobProgress(stage="denoise", step=2))
    assert len(yielding(job_queue)) == 2
    assert job_queue.get(short_job.id).phase is Phase.WAITING


def test_no_job_yields_while_a_worker_is_idle(job_queue: SqlJobQueue, clock: Clock) -> None:
    long_job = begin(job_queue, new_worker())
    assert job_queue.claim(new_worker("idle")) is None
    job_queue.submit(new_job(owner="bob"))
    assert yielding(job_queue) == []
    clock.move(4)  # the idle worker has died and claims nothing
    assert job_queue.heartbeat(long_job, JobProgress(stage="denoise", step=4)) is Command.YIELD


def test_an_idle_worker_that_does_not_fit_does_not_count(job_queue: SqlJobQueue) -> None:
    long_job = begin(job_queue, new_worker())
    assert job_queue.claim(new_worker("small", memory_gib=0.5)) is None
    job_queue.submit(new_job(owner="bob"))
    assert job_queue.poll_command(long_job) is Command.YIELD


def test_a_long_job_yields_to_none_that_does_not_pay(job_queue: SqlJobQueue) -> None:
    long_job = begin(job_queue, new_worker())
    job_queue.submit(new_job(owner="bob", estimate_s=300.0))
    assert job_queue.heartbeat(long_job, JobProgress(stage="denoise", step=1)) is Command.CONTINUE


def test_a_job_near_its_end_is_left_alone(job_queue: SqlJobQueue) -> None:
    long_job = begin(job_queue, new_worker())
    job_queue.heartbeat(long_job, JobProgress(stage="denoise", step=390))
    job_queue.submit(new_job(owner="bob"))
    assert job_queue.heartbeat(long_job, JobProgress(stage="denoise", step=391)) is Command.CONTINUE


def test_the_mark_is_cleared_when_the_waiting_job_no_longer_waits(job_queue: SqlJobQueue) -> None:
    long_job = begin(job_queue, new_worker())
    for act in (job_queue.cancel, job_queue.delete, job_queue.pause):
        short_job = job_queue.submit(new_job(owner="bob"))
        assert job_queue.poll_command(long_job) is Command.YIELD
        act(short_job.id)
        assert job_queue.poll_command(long_job) is Command.CONTINUE
    job_queue.submit(new_job(owner="bob"))
    other = job_queue.claim(new_worker("w2"))
    assert other is not None
    assert job_queue.poll_command(long_job) is Command.CONTINUE


def test_a_job_is_not_put_off_for_one_that_its_worker_would_not_take(
    job_queue: SqlJobQueue,
) -> None:
    slow_loader = new_worker(load_s=2_000.0, warm_models=frozenset({"tiny"}))
    long_job = begin(job_queue, slow_loader)
    job_queue.submit(new_job(owner="bob", model="other"))
    assert job_queue.heartbeat(long_job, JobProgress(stage="denoise", step=1)) is Command.CONTINUE


def test_what_the_owner_wants_comes_before_yielding(job_queue: SqlJobQueue) -> None:
    long_job = begin(job_queue, new_worker())
    job_queue.submit(new_job(owner="bob"))
    job_queue.pause(long_job.id)
    assert job_queue.poll_command(long_job) is Command.PAUSE
    job_queue.cancel(long_job.id)
    assert job_queue.poll_command(long_job) is Command.CANCEL


def test_a_job_that_is_resumed_overtakes_again(job_queue: SqlJobQueue) -> None:
    short_job = job_queue.pause(job_queue.submit(new_job(owner="bob")).id)
    long_job = begin(job_queue, new_worker())
    assert job_queue.poll_command(long_job) is Command.CONTINUE
    job_queue.resume(short_job.id)
    assert job_queue.poll_command(long_job) is Command.YIELD
