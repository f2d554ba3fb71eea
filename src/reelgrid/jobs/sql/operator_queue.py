"""`OperatorQueue` in SQL: readiness, metrics, retention, blob names and the webhook outbox."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, not_, select, update

from reelgrid.errors import ConflictError, NotFoundError
from reelgrid.jobs.accounting import Counter, JobCount, OutboxEntry, OwnerUsage, TimingProfile
from reelgrid.jobs.job import Job, Phase
from reelgrid.jobs.messages import KnownWorker
from reelgrid.jobs.sql import metering, preemption, schema
from reelgrid.jobs.sql.database import Database

_JOB = schema.job.c
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_FORGET_WORKERS_S = 86_400.0


class SqlOperatorQueue:
    """Implements `queue.OperatorQueue`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def now(self) -> float:
        """See `queue.OperatorQueue`."""
        with self._database.read() as connection:
            return self._database.read_now(connection)

    def workers(self) -> Sequence[KnownWorker]:
        """See `queue.OperatorQueue`."""
        entry = schema.worker
        with self._database.read() as connection:
            known = {
                each.info.id: each for each in preemption.known_workers(self._database, connection)
            }
            found = connection.execute(select(entry).order_by(entry.c.id)).mappings().all()
        return [known.get(row["id"], schema.to_worker(row, is_live=False)) for row in found]

    def forget_workers(self) -> int:
        """See `queue.OperatorQueue`."""
        is_old = schema.worker.c.seen_at < self._database.now - _FORGET_WORKERS_S
        has_job = exists().where(schema.in_phase(Phase.RUNNING), _JOB.worker == schema.worker.c.id)
        with self._database.write() as connection:
            statement = delete(schema.worker).where(is_old, not_(has_job))
            return connection.execute(statement).rowcount

    def job_counts(self) -> Sequence[JobCount]:
        """See `queue.OperatorQueue`."""
        left_s = func.coalesce(func.sum(schema.REMAINING_S), 0.0)
        statement = select(_JOB.phase, _JOB.model, func.count(), left_s).group_by(
            _JOB.phase, _JOB.model
        )
        with self._database.read() as connection:
            found = connection.execute(statement).all()
        return [
            JobCount(phase=phase, model=model, num=num, remaining_s=left_s)
            for phase, model, num, left_s in found
        ]

    def oldest_wait_s(self) -> float:
        """See `queue.OperatorQueue`."""
        waited_s = self._database.now - func.min(_JOB.waiting_since)
        with self._database.read() as connection:
            oldest_s = connection.execute(
                select(waited_s).where(schema.in_phase(Phase.WAITING))
            ).scalar()
        return max(oldest_s or 0.0, 0.0)

    def counters(self) -> Sequence[Counter]:
        """See `queue.OperatorQueue`."""
        with self._database.read() as connection:
            found = connection.execute(select(schema.counter)).mappings().all()
        counters = (Counter(**row) for row in found)
        return sorted(counters, key=lambda counter: (counter.name, counter.label, counter.bound))

    def observe(self, name: str, label: str = "", value: float | None = None) -> None:
        """See `queue.OperatorQueue`."""
        with self._database.write() as connection:
            metering.observe(self._database, connection, [(name, label, value)])

    def profiles(self, *, model: str | None = None) -> Sequence[TimingProfile]:
        """See `queue.OperatorQueue`."""
        table = schema.profile
        statement = select(table).order_by(*table.primary_key.columns)
        if model is not None:
            statement = statement.where(table.c.model == model)
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        return [_to_profile(dict(row)) for row in found]

    def usage(self, *, owner: str | None = None, since: date | None = None) -> Sequence[OwnerUsage]:
        """See `queue.OperatorQueue`."""
        table = schema.usage
        statement = select(table).order_by(table.c.day.desc(), table.c.owner)
        if owner is not None:
            statement = statement.where(table.c.owner == owner)
        if since is not None:
            statement = statement.where(table.c.day >= since.toordinal() - _EPOCH_DAY)
        with self._database.read() as connection:
            found = connection.execute(statement).mappings().all()
        return [
            OwnerUsage(**dict(row) | {"day": date.fromordinal(row["day"] + _EPOCH_DAY)})
            for row in found
        ]

    def expired(self, *, limit: int = 100) -> Sequence[Job]:
        """See `queue.OperatorQueue`."""
        is_past = _JOB.expires_at <= self._database.now
        return self._with_files(_JOB.expires_at, limit, is_past)

    def oldest_with_files(self, *, limit: int = 100) -> Sequence[Job]:
        """See `queue.OperatorQueue`."""
        return self._with_files(_JOB.ended_at, limit)

    def _with_files(
        self, order: ColumnElement[float | None], limit: int, *conditions: ColumnElement[bool]
    ) -> Sequence[Job]:
        statement = (
            select(schema.job)
            .where(schema.HAS_FILES, order.is_not(None), *conditions)
            .order_by(order)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [schema.to_job(row) for row in connection.execute(statement).mappings()]

    def drop_files(self, job_id: str) -> Job:
        """See `queue.OperatorQueue`."""
        with self._database.write() as connection:
            found = select(schema.job).where(_JOB.id == job_id).with_for_update()
            row = connection.execute(found).mappings().first()
            if row is None:
                raise NotFoundError(f"there is no job {job_id[:80]!r}", param="id")
            if not Phase(row["phase"]).is_final:
                raise ConflictError(f"{job_id} is {row['phase']}: its files are needed")
            emptied = {"files": {}, "has_files": False, "inputs": [], "checkpoints": []}
            connection.execute(update(schema.job).where(_JOB.id == job_id).values(emptied))
            return schema.to_job(row)

    def purge(self, *, older_than_s: float, limit: int = 1_000) -> int:
        """See `queue.OperatorQueue`."""
        old = (
            select(_JOB.id)
            .where(
                schema.in_phase(Phase.COMPLETED, Phase.FAILED),
                _JOB.has_files.is_(False),
                _JOB.ended_at < self._database.now - older_than_s,
            )
            .order_by(_JOB.ended_at)
            .limit(limit)
        )
        with self._database.write() as connection:
            return connection.execute(delete(schema.job).where(_JOB.id.in_(old))).rowcount

    def blob_names(self) -> frozenset[str]:
        """See `queue.OperatorQueue`."""
        statement = select(_JOB.files, _JOB.checkpoints, _JOB.preview, _JOB.inputs)
        names: set[str] = set()
        with self._database.read() as connection:
            for files, checkpoints, preview, inputs in connection.execute(statement):
                names.update(files.values(), (blob for blob, _ in checkpoints), inputs)
                names.update(() if preview is None else (preview,))
        return frozenset(names)

    def claim_outbox(self, *, limit: int = 20, lease_s: float = 60.0) -> Sequence[OutboxEntry]:
        """See `queue.OperatorQueue`."""
        table = schema.outbox
        now = self._database.now
        is_due = table.c.due_at <= now
        with self._database.read() as connection:
            if not connection.execute(select(exists().where(is_due))).scalar():
                return []
        due = (
            select(table.c.job)
            .where(is_due)
            .order_by(table.c.due_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken = (
            update(table)
            .where(table.c.job.in_(due))
            .values(due_at=now + lease_s, num_attempts=table.c.num_attempts + 1)
            .returning(table)
        )
        with self._database.write() as connection:
            found = connection.execute(taken).mappings().all()
        return [
            _to_outbox_entry(dict(row)) for row in sorted(found, key=lambda row: row["created_at"])
        ]

    def settle_outbox(self, entry: OutboxEntry, *, retry_in_s: float | None) -> None:
        """See `queue.OperatorQueue`."""
        table = schema.outbox
        its_own = (table.c.job == entry.job) & (table.c.num_attempts == entry.num_attempts)
        with self._database.write() as connection:
            if retry_in_s is None:
                connection.execute(delete(table).where(its_own))
            else:
                due_at = self._database.now + retry_in_s
                connection.execute(update(table).where(its_own).values(due_at=due_at))


def _to_profile(values: dict[str, Any]) -> TimingProfile:
    squares = values.pop("squares_log")
    return TimingProfile(**values, variance_log=squares / values["num"])


def _to_outbox_entry(values: dict[str, Any]) -> OutboxEntry:
    del values["due_at"]
    return OutboxEntry(**values)
