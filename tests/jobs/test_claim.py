"""The claim statement chooses what the policy chooses, for any jobs and any worker."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from reelgrid.jobs import policy
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import empty, new_job, new_worker

MODELS = ("a", "b", "c")
quarters = st.integers(0, 40).map(lambda n: n / 4)  # exact in binary: no ties by rounding
jobs = st.lists(
    st.tuples(st.sampled_from(MODELS), quarters, st.sampled_from((1.0, 8.0, 24.0)), st.booleans()),
    min_size=3,
    max_size=8,
)
subsets = st.frozensets(st.sampled_from(MODELS))
workers = st.builds(
    new_worker,
    memory_gib=st.sampled_from((8.0, 80.0, 80.0, 80.0)),
    models=st.none() | st.just(frozenset(MODELS)) | subsets,
    warm_models=subsets,
    load_s=st.integers(1, 20).map(float),
    is_trusted=st.sampled_from((True, True, False)),
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(jobs=jobs, worker=workers)
def test_the_statement_claims_what_the_policy_chooses(
    job_queue: SqlJobQueue, jobs: list[tuple[str, float, float, bool]], worker: object
) -> None:
    empty(job_queue)
    waiting = []
    for model, rank, memory_gib, needs_trust in jobs:
        job = job_queue.submit(new_job(model=model, memory_gib=memory_gib, needs_trust=needs_trust))
        with job_queue.database.write() as connection:
            its_row = schema.job.c.id == job.id
            connection.execute(update(schema.job).where(its_row).values(rank=rank))
        waiting.append(
            policy.WaitingJob(
                id=job.id,
                rank=rank,
                estimate_s=10.0,
                memory_gib=memory_gib,
                model=model,
                needs_trust=needs_trust,
            )
        )
    assert isinstance(worker, type(new_worker()))
    while True:  # until nothing is left that fits
        chosen = policy.choose(worker, waiting)
        taken = job_queue.claim(worker)
        assert (taken and taken.id) == (chosen and chosen.id)
        if chosen is None:
            return
        waiting.remove(chosen)
