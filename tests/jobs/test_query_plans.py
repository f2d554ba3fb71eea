"""Query plans: no frequent statement scans all jobs, however many there are."""

from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from reelgrid.jobs.messages import JobProgress
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue
from tests.jobs.builders import TABLES, new_job, new_worker

FEW_ROWS = ("job_yields", "job_lease")  # running jobs, and which of them are to yield
IN_ORDER_OF_RANK = ("USING INDEX job_waiting", "USING COVERING INDEX job_waiting")  # and stops
Statements = list[tuple[str, Any]]


def searches_all(job_queue: SqlJobQueue, statement: str, parameters: Any) -> list[str]:
    with job_queue.database.read() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    lines = [row[3] for row in rows]
    return [
        line
        for line in lines
        if line.startswith(("SCAN job", "SCAN victim", "SCAN waiting", "BLOOM FILTER ON job"))
        and not any(allowed in line for allowed in IN_ORDER_OF_RANK)
        and not any(few in line for few in FEW_ROWS)
    ]


def run_a_day(job_queue: SqlJobQueue) -> Statements:
    """Do everything once, and return the statements that the database received."""
    for number in range(300):
        job_queue.submit(new_job(owner=f"o{number % 7}", model=f"m{number % 3}"))
    with job_queue.database.write() as connection:
        connection.execute(text("ANALYZE"))
    seen: Statements = []
    engine = job_queue.database._engine

    def note(_c: Any, _k: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    warm = new_worker(warm_models=frozenset({"m1"}), load_s=5.0)
    for worker in (warm, new_worker("w2", models=frozenset({"m0", "m2"}))):
        claim = job_queue.claim(worker)
        assert claim is not None
        job_queue.heartbeat(claim, JobProgress(stage="denoise", step=1))
        job_queue.poll_command(claim)
        job_queue.save_checkpoint(claim, "s", 1)
        job_queue.finish(claim, {"video": "v"})
    too_small = new_worker("w3", memory_gib=0.1)
    assert job_queue.claim(too_small) is None
    assert job_queue.claim(too_small) is None
    job = job_queue.submit(new_job(idempotency_key="k", body_digest="d"))
    for act in (
        job_queue.pause,
        job_queue.resume,
        job_queue.get,
        job_queue.cancel,
        job_queue.delete,
    ):
        act(job.id)
    job_queue.list(owner="o1", limit=5)
    job_queue.expire_leases()
    job_queue.worker_died("w2")
    job_queue.expired()
    job_queue.claim_outbox()
    event.remove(engine, "before_cursor_execute", note)
    asked = [(words, values) for words, values in seen if words.split()[0] in {"SELECT", "UPDATE"}]
    assert len(asked) > 40
    return asked


def test_no_statement_searches_through_all_jobs(tmp_path: Path) -> None:
    job_queue = open_job_queue(tmp_path)
    for words, values in run_a_day(job_queue):
        assert searches_all(job_queue, words, values) == [], words.partition("WHERE")[2]
    job_queue.close()


def test_nor_does_one_on_postgresql(postgres_url: str) -> None:
    job_queue = open_job_queue(postgres_url)
    with job_queue.database.write() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {table}")
    asked = run_a_day(job_queue)
    with job_queue.database.write() as connection:
        connection.exec_driver_sql(
            "SET LOCAL enable_seqscan = off"
        )  # which a table of few rows would justify
        for words, values in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN {words}", values).scalars().all()
            assert not any("Seq Scan on job" in line for line in plan), "\n".join(plan)
    job_queue.close()


def test_what_is_due_is_found_by_its_time_on_postgresql(postgres_url: str) -> None:
    """A clock that is read for every row would force a scan of the whole index."""
    job_queue = open_job_queue(postgres_url)
    due = "SELECT id FROM job WHERE has_files AND expires_at <= {now} ORDER BY expires_at LIMIT 9"
    with job_queue.database.write() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        words = f"EXPLAIN {due.format(now=job_queue.database.now)}"
        plan = "\n".join(connection.exec_driver_sql(words).scalars())
    assert "Index Cond: (expires_at <=" in plan, plan
    job_queue.close()
