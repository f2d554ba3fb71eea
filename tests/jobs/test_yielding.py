"""Which running job gives way: one for each waiting job, and only when it helps."""

from reelgrid.jobs.job import Detail, Phase
from reelgrid.jobs.sql import SqlDesk
from reelgrid.jobs.work import Answer, Claim, Progress, WorkerInfo
from tests.jobs.given import Clock, new_job, new_worker

FILES = {"video": "v"}


def begin(desk: SqlDesk, worker: WorkerInfo, **values: object) -> Claim:
    job = desk.submit(new_job(**({"estimate_s": 400.0, "num_steps": 400} | values)))
    taken = desk.claim(worker)
    assert taken is not None
    assert taken.id == job.id
    return taken


def yielding(desk: SqlDesk) -> list[str]:
    return [job.id for job in desk.list().jobs if job.detail is Detail.YIELDING]


def test_a_short_job_is_served_at_the_next_step_of_a_long_one(desk: SqlDesk) -> None:
    long_job = begin(desk, new_worker())
    assert desk.signal(long_job) is Answer.GO
    short_job = desk.submit(new_job(owner="bob"))
    assert desk.signal(long_job) is Answer.YIELD
    desk.save(long_job, "s", 5)
    desk.give_back(long_job, "yielded")
    taken = desk.claim(new_worker())
    assert taken is not None
    assert taken.id == short_job.id
    desk.finish(taken, FILES)
    again = desk.claim(new_worker())
    assert again is not None
    assert (again.id, again.job.losses) == (long_job.id, 0)


def test_one_short_job_makes_one_worker_yield(desk: SqlDesk) -> None:
    claims = [begin(desk, new_worker(f"w{n}")) for n in range(3)]
    short_job = desk.submit(new_job(owner="bob"))
    assert len(yielding(desk)) == 1
    for each in claims:
        desk.beat(each, Progress(stage="denoise", step=1))
    assert len(yielding(desk)) == 1
    desk.submit(new_job(owner="eve"))
    for each in claims:
        desk.beat(each, Progress(stage="denoise", step=2))
    assert len(yielding(desk)) == 2
    assert desk.get(short_job.id).phase is Phase.WAITING


def test_nobody_yields_while_a_worker_is_idle(desk: SqlDesk, clock: Clock) -> None:
    long_job = begin(desk, new_worker())
    assert desk.claim(new_worker("idle")) is None
    desk.submit(new_job(owner="bob"))
    assert yielding(desk) == []
    clock.move(4)  # the idle one has died, and asks no more
    assert desk.beat(long_job, Progress(stage="denoise", step=4)) is Answer.YIELD


def test_an_idle_worker_that_does_not_fit_helps_nobody(desk: SqlDesk) -> None:
    long_job = begin(desk, new_worker())
    assert desk.claim(new_worker("small", memory_gib=0.5)) is None
    desk.submit(new_job(owner="bob"))
    assert desk.signal(long_job) is Answer.YIELD


def test_a_long_job_yields_to_none_that_does_not_pay(desk: SqlDesk) -> None:
    long_job = begin(desk, new_worker())
    desk.submit(new_job(owner="bob", estimate_s=300.0))
    assert desk.beat(long_job, Progress(stage="denoise", step=1)) is Answer.GO


def test_a_job_near_its_end_is_left_alone(desk: SqlDesk) -> None:
    long_job = begin(desk, new_worker())
    desk.beat(long_job, Progress(stage="denoise", step=390))
    desk.submit(new_job(owner="bob"))
    assert desk.beat(long_job, Progress(stage="denoise", step=391)) is Answer.GO


def test_the_mark_goes_when_the_waiting_job_does_not_wait_any_more(desk: SqlDesk) -> None:
    long_job = begin(desk, new_worker())
    for act in (desk.cancel, desk.delete, desk.pause):
        short_job = desk.submit(new_job(owner="bob"))
        assert desk.signal(long_job) is Answer.YIELD
        act(short_job.id)
        assert desk.signal(long_job) is Answer.GO
    desk.submit(new_job(owner="bob"))
    other = desk.claim(new_worker("w2"))
    assert other is not None
    assert desk.signal(long_job) is Answer.GO


def test_a_job_is_not_put_off_for_one_that_its_worker_would_not_take(desk: SqlDesk) -> None:
    slow_loader = new_worker(load_s=2_000.0, warm_models=frozenset({"tiny"}))
    long_job = begin(desk, slow_loader)
    desk.submit(new_job(owner="bob", model="other"))
    assert desk.beat(long_job, Progress(stage="denoise", step=1)) is Answer.GO


def test_what_the_owner_wants_comes_before_yielding(desk: SqlDesk) -> None:
    long_job = begin(desk, new_worker())
    desk.submit(new_job(owner="bob"))
    desk.pause(long_job.id)
    assert desk.signal(long_job) is Answer.PAUSE
    desk.cancel(long_job.id)
    assert desk.signal(long_job) is Answer.CANCEL


def test_a_job_that_is_resumed_overtakes_again(desk: SqlDesk) -> None:
    short_job = desk.pause(desk.submit(new_job(owner="bob")).id)
    long_job = begin(desk, new_worker())
    assert desk.signal(long_job) is Answer.GO
    desk.resume(short_job.id)
    assert desk.signal(long_job) is Answer.YIELD
