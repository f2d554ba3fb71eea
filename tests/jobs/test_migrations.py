"""Migrations: from any earlier version, once, whichever processes start at the same time."""

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Inspector, make_url

from reelgrid.errors import JobQueueError, ReelgridError
from reelgrid.jobs.job import CheckpointRef, Phase, Requested
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql import migrations, schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.migrations import STEPS, migrate
from reelgrid.jobs.sql.sql_queue import open_job_queue
from tests.jobs.builders import new_job, new_worker

FIXTURE = Path(__file__).parent / "jobs_v1.sql"


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that nobody has used."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'job_queue.sqlite'}"
    url = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
    name = f"fresh_{abs(hash(tmp_path))}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.set(database=name).render_as_string(hide_password=False)


def shape(inspector: Inspector) -> dict[str, dict[str, tuple[str, bool]]]:
    return {
        table: {
            column["name"]: (column["type"].as_generic().__class__.__name__, column["nullable"])
            for column in inspector.get_columns(table)
        }
        for table in inspector.get_table_names()
        if table != "schema_version"
    }


def test_the_migrated_tables_are_those_that_the_statements_mean(fresh_url: str) -> None:
    database = Database(fresh_url)
    migrate(database)
    with database.read() as connection:
        found = shape(inspect(connection))
    meant = {
        name: {
            column.name: (_generic(column.type), bool(column.nullable)) for column in table.columns
        }
        for name, table in schema.metadata.tables.items()
    }
    for name, columns in meant.items():
        assert {key: _family(*value) for key, value in found[name].items()} == columns
    assert found.keys() == meant.keys()
    database.close()


def _generic(kind: object) -> str:
    return "Text" if isinstance(kind, schema.Json | schema.Bound) else type(kind).__name__


def _family(kind: str, nullable: bool) -> tuple[str, bool]:
    return {"Double": "Float", "DOUBLE_PRECISION": "Float"}.get(kind, kind), nullable


def test_migrating_again_does_nothing(fresh_url: str) -> None:
    database = Database(fresh_url)
    assert migrate(database) == len(STEPS)
    assert migrate(database) == 0
    database.close()


def test_a_newer_database_is_refused_in_one_line(fresh_url: str) -> None:
    database = Database(fresh_url)
    migrate(database)
    with database.write() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    with pytest.raises(JobQueueError, match=f"version 99, this program knows up to {len(STEPS)}"):
        migrate(database)
    database.close()


def test_a_step_that_breaks_off_leaves_nothing(
    fresh_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(fresh_url)
    migrate(database)
    broken = (*STEPS, "CREATE TABLE half (x INTEGER); CREATE TABLE job (x INTEGER)")
    monkeypatch.setattr(migrations, "STEPS", broken)
    with pytest.raises(JobQueueError, match="already exists"):
        migrate(database, up_to=len(broken))
    with database.read() as connection:
        assert not inspect(connection).has_table("half")
        version = connection.execute(text("SELECT version FROM schema_version")).scalar_one()
    assert version == len(STEPS)
    database.close()


def _open(url: str, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    try:
        open_job_queue(url).close()
        results.put("")  # type: ignore[attr-defined]
    except ReelgridError as error:
        results.put(repr(error))  # type: ignore[attr-defined]


def test_processes_that_start_at_once_do_not_meet(fresh_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(4), context.Queue()
    starters = [context.Process(target=_open, args=(fresh_url, barrier, results)) for _ in range(4)]
    for each in starters:
        each.start()
    assert [results.get(timeout=60) for _ in starters] == [""] * 4
    for each in starters:
        each.join()
    open_job_queue(fresh_url).close()


def test_a_database_of_the_first_version_comes_up_with_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(FIXTURE.read_text(encoding="utf-8"))
    connection.close()
    job_queue = open_job_queue(path)
    jobs = {job.phase: job for job in job_queue.list(limit=100).jobs}
    assert set(jobs) == set(Phase)
    assert jobs[Phase.COMPLETED].files == {"video": "made/one.mp4"}
    assert jobs[Phase.FAILED].error_code == "generation_failed"
    lost = jobs[Phase.RUNNING]
    taken = [job_queue.claim(new_worker(f"w{n}")) for n in range(2)]
    assert {lost.id, jobs[Phase.WAITING].id} == {claim.id for claim in taken if claim}
    (again,) = [claim for claim in taken if claim and claim.id == lost.id]
    assert (again.epoch, again.checkpoint) == (lost.epoch + 1, lost.checkpoint)
    job_queue.resume(jobs[Phase.PAUSED].id)
    job_queue.submit(new_job())
    job_queue.close()


EARLIER_NAMES = """
INSERT INTO job (id, kind, owner, model, request, phase, step, num_steps, created_at, updated_at,
    waiting_since, priority, estimate_s, memory_gib, clip_s, needs_trust, turn_s, rank, epoch, losses,
    furthest, spots, worker, lease_until, wanted, states, files, has_files, inputs, gpu_s, charged_s,
    is_deleted)
VALUES ('video_000000000000000000000001', 'video', 'ann', 'tiny',
    '{"request":{"prompt":"say \\"input_reference\\": null","size":"8x8","num_frames":1,"fps":8.0,"num_steps":9,"guidance_scale":1.0,"input_reference": null}}', 'running', 3, 9, 1.0, 2.0, 1.0,
    1, 10.0, 1.0, 0.0, false, 41.5, 42.5, 2, 1, 3000003, '{"denoise, step 3": 1}', 'w1', 3.0, 'pause',
    '[["states/a", 3], ["states/b", 1]]', '{}', false, '[]', 7.0, 0.0, false);
INSERT INTO tally VALUES ('saves', 'tiny', 'inf', 5, 5.0), ('lost', 'denoise', 'inf', 1, 1.0);
INSERT INTO notice VALUES ('video_000000000000000000000002', 'ann', 'video.failed', 'https://a.b/', 1.0,
    2.0, 0)
"""


def test_a_database_with_the_earlier_names_opens_and_its_jobs_read(fresh_url: str) -> None:
    database = Database(fresh_url)
    migrate(database, up_to=3)
    with database.write() as connection:
        for statement in EARLIER_NAMES.split(";"):
            connection.exec_driver_sql(statement)
    database.close()
    job_queue = open_job_queue(fresh_url)
    (job,) = job_queue.list().jobs
    assert (job.fair_start_s, job.rank, job.requested) == (41.5, 42.5, Requested.PAUSE)
    request = JobRequest.from_json(job.request).request
    assert (request.prompt, request.first_frame) == ('say "input_reference": null', None)
    assert job.checkpoints == (
        CheckpointRef("states/a", 3),
        CheckpointRef("states/b", 1),
    )
    assert {(each.name, each.num) for each in job_queue.counters()} == {
        ("checkpoints", 5),
        ("workers_lost", 1),
    }
    (entry,) = job_queue.claim_outbox()
    assert entry.url == "https://a.b/"
    assert job_queue.expire_leases() == 1
    paused = job_queue.get(job.id)
    assert (paused.phase, paused.step, paused.losses) == (Phase.PAUSED, 3, 2)
    job_queue.close()
