"""The owners' side of the desk in SQL: admit, look, list, cancel, pause, resume, delete."""

import re
from typing import Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    delete,
    select,
    tuple_,
    update,
)

from reelgrid.errors import ConflictError, NotFoundError, RequestError
from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import (
    FailureCode,
    Job,
    JobPage,
    KeyLimits,
    NewJob,
    Phase,
    Requested,
    Transition,
    after,
)
from reelgrid.jobs.sql import admission, ending, preemption, rows, schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.position import Queue

MAX_PAGE = 1_000
_ID = re.compile(r"(video|image)_[0-9a-f]{24}")
_JOB = schema.job.c
_BY_ID = select(schema.job).where(_JOB.id == bindparam("job_id"), _JOB.is_deleted.is_(False))
_OF_OWNER = _BY_ID.where(_JOB.owner == bindparam("of_owner"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
_OF_OWNER_LOCKED = _OF_OWNER.with_for_update()
_VERBS = {Transition.CANCEL: "cancelled", Transition.PAUSE: "paused", Transition.RESUME: "resumed"}


class SqlClientQueue:
    """Implements `job_queue.ClientQueue`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue = Queue(database)

    def submit(self, job: NewJob, *, limits: KeyLimits | None = None) -> Job:
        """See `job_queue.ClientQueue`."""
        with self._database.write() as connection:
            row, is_new = admission.admit(self._database, connection, job, limits or KeyLimits())
            if is_new:
                preemption.consider_waiting(self._database, connection, row)
            return rows.to_job(row)

    def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `job_queue.ClientQueue`."""
        with self._database.read() as connection:
            return rows.to_job(_find(connection, job_id, owner))

    def list(
        self,
        *,
        owner: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        kind: str | None = None,
    ) -> JobPage:
        """See `job_queue.ClientQueue`."""
        if not 1 <= limit <= MAX_PAGE:
            raise RequestError(f"limit {limit} is out of range: 1 to {MAX_PAGE:,}", param="limit")
        place = tuple_(_JOB.created_at, _JOB.id)
        statement = select(schema.job).where(*_visible(owner))
        if kind is not None:
            statement = statement.where(_JOB.kind == str(kind))
        with self._database.read() as connection:
            if after is not None:
                last = _find(connection, after, owner)
                behind = tuple_(last["created_at"], last["id"])
                statement = statement.where(place > behind if order == "asc" else place < behind)
            ways = [column.asc() if order == "asc" else column.desc() for column in place.clauses]
            found = connection.execute(statement.order_by(*ways).limit(limit + 1)).mappings().all()
        return JobPage(tuple(rows.to_job(row) for row in found[:limit]), len(found) > limit)

    def cancel(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `job_queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            if row["error_code"] == FailureCode.CANCELLED or row["requested"] == Requested.CANCEL:
                return rows.to_job(row)
            return self._cancel(connection, row)

    def _cancel(self, connection: Connection, row: RowMapping) -> Job:
        if row["phase"] == Phase.RUNNING:
            return rows.to_job(self._ask(connection, row, Requested.CANCEL))
        now = self._database.now
        phase = str(_lead(row, Transition.CANCEL))
        ended = _change(
            connection, row, phase=phase, ended_at=now, updated_at=now, **ending.CANCELLED
        )
        return ending.finalise(self._database, connection, ended)

    def pause(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `job_queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            if row["phase"] == Phase.PAUSED or row["requested"] == Requested.PAUSE:
                return rows.to_job(row)
            if row["requested"] == Requested.CANCEL:
                raise ConflictError(f"{job_id} is being cancelled: it cannot be paused")
            if row["phase"] == Phase.RUNNING:
                return rows.to_job(self._ask(connection, row, Requested.PAUSE))
            phase = str(_lead(row, Transition.PAUSE))
            paused = _change(connection, row, phase=phase, updated_at=self._database.now)
            preemption.unmark(connection, job_id)
            return rows.to_job(paused)

    def resume(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `job_queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            now = self._database.now
            if row["requested"] == Requested.CANCEL:
                raise ConflictError(f"{job_id} is being cancelled: it cannot be resumed")
            if row["requested"] == Requested.PAUSE:
                return rows.to_job(_change(connection, row, requested=None, updated_at=now))
            if row["phase"] in {Phase.WAITING, Phase.RUNNING}:
                return rows.to_job(row)
            phase = str(_lead(row, Transition.RESUME))
            waiting = _change(connection, row, phase=phase, waiting_since=now, updated_at=now)
            preemption.consider_waiting(self._database, connection, waiting)
            return rows.to_job(waiting)

    def delete(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `job_queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            if row["phase"] == Phase.RUNNING:
                asked = self._ask(connection, row, Requested.CANCEL)
                hidden = _change(connection, asked, is_deleted=True, idempotency_key=None)
                return rows.to_job(hidden)
            preemption.unmark(connection, job_id)
            connection.execute(delete(schema.job).where(_JOB.id == job_id))
            connection.execute(delete(schema.outbox).where(schema.outbox.c.job == job_id))
            return rows.to_job(row)

    def _ask(self, connection: Connection, row: RowMapping, requested: Requested) -> RowMapping:
        after(Phase(row["phase"]), Transition.REQUEST)
        return _change(
            connection,
            row,
            requested=str(requested),
            yields_for=None,
            updated_at=self._database.now,
        )

    def queue_position(self, job_id: str, *, owner: str | None = None) -> QueuePosition | None:
        """See `job_queue.ClientQueue`."""
        job = self.get(job_id, owner=owner)
        if job.phase is not Phase.WAITING:
            return None
        return self.position_for(rank=job.rank, memory_gib=job.memory_gib, model=job.model)

    def position_for(self, *, rank: float, memory_gib: float, model: str) -> QueuePosition:
        """See `job_queue.ClientQueue`."""
        return self._queue.queue_position(rank=rank, memory_gib=memory_gib, model=model)

    def rank_now(self, job: NewJob) -> float:
        """See `job_queue.ClientQueue`."""
        with self._database.read() as connection:
            return admission.rank_now(self._database, connection, job).rank


def _visible(owner: str | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_JOB.is_deleted.is_(False)]
    if owner is not None:
        conditions.append(_JOB.owner == owner)
    return conditions


def _find(
    connection: Connection, job_id: str, owner: str | None, *, for_update: bool = False
) -> RowMapping:
    if owner is None:
        statement = _BY_ID_LOCKED if for_update else _BY_ID
    else:
        statement = _OF_OWNER_LOCKED if for_update else _OF_OWNER
    asked = {"job_id": job_id} if owner is None else {"job_id": job_id, "of_owner": owner}
    is_name = _ID.fullmatch(job_id) is not None
    row = connection.execute(statement, asked).mappings().first() if is_name else None
    if row is None:
        raise NotFoundError(f"there is no job {job_id[:80]!r}", param="id")
    return row


def _lead(row: RowMapping, move: Transition) -> Phase:
    """Return where a move leads, or say why it leads nowhere."""
    try:
        return after(Phase(row["phase"]), move)
    except ConflictError:
        raise ConflictError(f"{row['id']} is {row['phase']}: it cannot be {_VERBS[move]}") from None


def _change(connection: Connection, row: RowMapping, **values: object) -> RowMapping:
    """Change a row that this transaction has read for update; return it as it is now."""
    statement = (
        update(schema.job)
        .where(_JOB.id == row["id"], _JOB.phase == row["phase"], _JOB.epoch == row["epoch"])
        .values(**values)
        .returning(schema.job)
    )
    return connection.execute(statement).mappings().one()
