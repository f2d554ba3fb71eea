"""Metering: GPU-seconds by owner and day, counters, histograms and time profiles.

Each function adds to a row in the transaction of the event that it counts, so that a figure is there
exactly if the event is. In every transaction these rows come last and in one order, so that two
transactions never wait for each other.
"""

import bisect
import math
from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, Insert, RowMapping, Table, case
from sqlalchemy.sql.dml import ReturningInsert

from reelgrid.jobs.messages import Timing
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.database import Database

DAY_S = 86_400.0
BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, math.inf)
"""Upper bounds of the histogram buckets: about half a decade each, from one step to a long job."""

Observation = tuple[str, str, float | None]
"""Name, label and value; a plain counter has no value."""


def charge(now: ColumnElement[float]) -> dict[str, ColumnElement[float]]:
    """Return the columns that a worker's write sets to charge the time since the last one once.

    Time beyond the lease is not charged: the worker was silent, or the clock jumped.
    """
    job = schema.job.c
    until = case((now < job.lease_until, now), else_=job.lease_until)
    charged = case((until > job.metered_at, until - job.metered_at), else_=0.0)
    return {"charged_s": charged, "gpu_s": job.gpu_s + charged, "metered_at": now}


def record_charge(database: Database, connection: Connection, row: RowMapping) -> None:
    """Add what the last write charged for a job to its owner's usage of the day."""
    if row["charged_s"]:
        add_usage(
            database,
            connection,
            row["owner"],
            int(row["updated_at"] // DAY_S),
            gpu_s=row["charged_s"],
        )


def add_usage(
    database: Database,
    connection: Connection,
    owner: str,
    day: int,
    *,
    gpu_s: float = 0.0,
    num_jobs: int = 0,
) -> tuple[float, float]:
    """Add to an owner's usage of a day; the row is locked until the transaction ends.

    Returns:
        Its GPU-seconds, and the time when the lock was acquired.
    """
    values = {"owner": owner, "day": day, "gpu_s": gpu_s, "num_jobs": num_jobs}
    gpu_s_now, now_s = connection.execute(database.prepared(_add_usage), values).one()
    return float(gpu_s_now), float(now_s)


def _add_usage(database: Database) -> ReturningInsert[float, float]:
    added = _add(database, schema.usage, "gpu_s", "num_jobs")
    return added.returning(schema.usage.c.gpu_s, database.now)


def _add(database: Database, table: Table, *names: str) -> Insert:
    """Return the statement that inserts a row, or adds these columns to the row with its key."""
    new = database.insert(table)
    return new.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: table.c[name] + new.excluded[name] for name in names},
    )


def observe(
    database: Database, connection: Connection, observations: Iterable[Observation]
) -> None:
    """Add to counters and histograms."""
    upsert = database.prepared(_add_tally)
    for name, label, value in sorted(observations, key=lambda seen: seen[:2]):
        bound = math.inf if value is None else BOUNDS_S[bisect.bisect_left(BOUNDS_S, value)]
        amount = 1.0 if value is None else value
        connection.execute(
            upsert, {"name": name, "label": label, "bound": bound, "num": 1, "total": amount}
        )


def _add_tally(database: Database) -> Insert:
    return _add(database, schema.counter, "num", "total")


def update_profiles(
    database: Database, connection: Connection, machine: str, model: str, timing: Timing
) -> None:
    """Add measured times to the machine's profile (Welford 1962, on logarithms)."""
    table = schema.profile
    for part, time_s in sorted(timing.parts.items()):
        seen = math.log(time_s)
        new = database.insert(table).values(
            machine=machine,
            model=model,
            workload=timing.workload,
            part=part,
            num=1,
            mean_log=seen,
            squares_log=0.0,
        )
        off = new.excluded.mean_log - table.c.mean_log
        share = off / (table.c.num + 1)
        connection.execute(
            new.on_conflict_do_update(
                index_elements=list(table.primary_key.columns),
                set_={
                    "num": table.c.num + 1,
                    "mean_log": table.c.mean_log + share,
                    "squares_log": table.c.squares_log + off * (off - share),
                },
            )
        )
