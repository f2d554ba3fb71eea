"""No statement of the daily work searches through all jobs, however many there are."""

from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from reelgrid.jobs.sql import SqlDesk, open_desk
from reelgrid.jobs.work import Progress
from tests.jobs.given import TABLES, new_job, new_worker

FEW_ROWS = ("job_yields", "job_lease")  # running jobs, and those of them that are to yield
IN_ORDER_OF_RANK = ("USING INDEX job_waiting", "USING COVERING INDEX job_waiting")  # and stops
Statements = list[tuple[str, Any]]


def searches_all(desk: SqlDesk, statement: str, parameters: Any) -> list[str]:
    with desk.database.read() as connection:
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    lines = [row[3] for row in rows]
    return [
        line
        for line in lines
        if line.startswith(("SCAN job", "SCAN victim", "SCAN waiting", "BLOOM FILTER ON job"))
        and not any(allowed in line for allowed in IN_ORDER_OF_RANK)
        and not any(few in line for few in FEW_ROWS)
    ]


def run_a_day(desk: SqlDesk) -> Statements:
    """Return what was asked of the database, having done everything once."""
    for number in range(300):
        desk.submit(new_job(owner=f"o{number % 7}", model=f"m{number % 3}"))
    with desk.database.write() as connection:
        connection.execute(text("ANALYZE"))
    seen: Statements = []
    engine = desk.database._engine

    def note(_c: Any, _k: Any, statement: str, parameters: Any, *_: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    warm = new_worker(warm_models=frozenset({"m1"}), load_s=5.0)
    for worker in (warm, new_worker("w2", models=frozenset({"m0", "m2"}))):
        claim = desk.claim(worker)
        assert claim is not None
        desk.beat(claim, Progress(stage="denoise", step=1))
        desk.signal(claim)
        desk.save(claim, "s", 1)
        desk.finish(claim, {"video": "v"})
    too_small = new_worker("w3", memory_gib=0.1)
    assert desk.claim(too_small) is None
    assert desk.claim(too_small) is None
    job = desk.submit(new_job(idempotency_key="k", body_digest="d"))
    for act in (desk.pause, desk.resume, desk.get, desk.cancel, desk.delete):
        act(job.id)
    desk.list(owner="o1", limit=5)
    desk.tend()
    desk.bury("w2")
    desk.expired()
    desk.take_notices()
    event.remove(engine, "before_cursor_execute", note)
    asked = [(words, values) for words, values in seen if words.split()[0] in {"SELECT", "UPDATE"}]
    assert len(asked) > 40
    return asked


def test_no_statement_searches_through_all_jobs(tmp_path: Path) -> None:
    desk = open_desk(tmp_path)
    for words, values in run_a_day(desk):
        assert searches_all(desk, words, values) == [], words.partition("WHERE")[2]
    desk.close()


def test_nor_does_one_on_postgresql(postgres_url: str) -> None:
    desk = open_desk(postgres_url)
    with desk.database.write() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {table}")
    asked = run_a_day(desk)
    with desk.database.write() as connection:
        connection.exec_driver_sql(
            "SET LOCAL enable_seqscan = off"
        )  # which few rows would be worth
        for words, values in asked:
            plan = connection.exec_driver_sql(f"EXPLAIN {words}", values).scalars().all()
            assert not any("Seq Scan on job" in line for line in plan), "\n".join(plan)
    desk.close()


def test_what_is_due_is_found_by_its_time_on_postgresql(postgres_url: str) -> None:
    """A clock that is read anew for every row would make the search walk the whole index."""
    desk = open_desk(postgres_url)
    due = "SELECT id FROM job WHERE has_files AND expires_at <= {now} ORDER BY expires_at LIMIT 9"
    with desk.database.write() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        words = f"EXPLAIN {due.format(now=desk.database.now)}"
        plan = "\n".join(connection.exec_driver_sql(words).scalars())
    assert "Index Cond: (expires_at <=" in plan, plan
    desk.close()
