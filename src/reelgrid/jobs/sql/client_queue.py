"""`ClientQueue` in SQL: admission, reading and listing, cancel, pause, resume, delete."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    delete,
    func,
    select,
    tuple_,
    update,
)

from reelgrid.errors import ConflictError, LimitError, NotFoundError, RequestError
from reelgrid.jobs import policy
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
    new_id,
    next_phase,
)
from reelgrid.jobs.sql import metering, preemption, recovery, schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.position import QueueSnapshots

MAX_PAGE = 1_000
_ID = re.compile(r"(video|image)_[0-9a-f]{24}")
_JOB = schema.job.c
_BY_ID = select(schema.job).where(_JOB.id == bindparam("job_id"), _JOB.is_deleted.is_(False))
_BY_IDS = select(schema.job).where(
    _JOB.id.in_(bindparam("job_ids", expanding=True)), _JOB.is_deleted.is_(False)
)
_OF_OWNER = _BY_ID.where(_JOB.owner == bindparam("of_owner"))
_BY_ID_LOCKED = _BY_ID.with_for_update()
_OF_OWNER_LOCKED = _OF_OWNER.with_for_update()
_PAST = {Transition.CANCEL: "cancelled", Transition.PAUSE: "paused", Transition.RESUME: "resumed"}

_IS_UNFINISHED = (_JOB.owner == bindparam("of_owner")) & schema.in_phase(
    Phase.WAITING, Phase.RUNNING, Phase.PAUSED
)
_INSERT = schema.job.insert().returning(schema.job)
_LAST_FAIR_START = (
    select(_JOB.fair_start_s, _JOB.estimate_s)
    .where(_IS_UNFINISHED)
    .order_by(_JOB.fair_start_s.desc())
    .limit(1)
)
_EARLIER = select(schema.job).where(
    _JOB.owner == bindparam("of_owner"),
    _JOB.idempotency_key == bindparam("key"),
    _JOB.idempotency_key.is_not(None),
)
_UNFINISHED = select(func.count(), func.coalesce(func.sum(schema.REMAINING_S), 0.0)).where(
    _IS_UNFINISHED
)


class SqlClientQueue:
    """Implements `queue.ClientQueue`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._snapshots = QueueSnapshots(database)

    def submit(self, job: NewJob, *, limits: KeyLimits | None = None) -> Job:
        """See `queue.ClientQueue`."""
        with self._database.write() as connection:
            row, is_new = _admit(self._database, connection, job, limits or KeyLimits())
            if is_new:
                preemption.consider_waiting(self._database, connection, row)
            return schema.to_job(row)

    def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `queue.ClientQueue`."""
        with self._database.read() as connection:
            return schema.to_job(_find(connection, job_id, owner))

    def get_many(self, job_ids: Collection[str]) -> dict[str, Job]:
        """See `queue.ClientQueue`."""
        with self._database.read() as connection:
            found = connection.execute(_BY_IDS, {"job_ids": sorted(job_ids)}).mappings().all()
        return {row["id"]: schema.to_job(row) for row in found}

    def list(
        self,
        *,
        owner: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        kind: str | None = None,
    ) -> JobPage:
        """See `queue.ClientQueue`."""
        if not 1 <= limit <= MAX_PAGE:
            raise RequestError(f"limit {limit} is out of range: 1 to {MAX_PAGE:,}", param="limit")
        key = tuple_(_JOB.created_at, _JOB.id)
        statement = select(schema.job).where(*_visible(owner))
        if kind is not None:
            statement = statement.where(_JOB.kind == str(kind))
        with self._database.read() as connection:
            if after is not None:
                last = _find(connection, after, owner)
                last_key = tuple_(last["created_at"], last["id"])
                statement = statement.where(key > last_key if order == "asc" else key < last_key)
            by = [column.asc() if order == "asc" else column.desc() for column in key.clauses]
            found = connection.execute(statement.order_by(*by).limit(limit + 1)).mappings().all()
        return JobPage(tuple(schema.to_job(row) for row in found[:limit]), len(found) > limit)

    def cancel(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            is_cancelled = row["error_code"] == FailureCode.CANCELLED
            if is_cancelled or row["requested"] == Requested.CANCEL:
                return schema.to_job(row)
            if row["phase"] == Phase.RUNNING:
                return schema.to_job(self._request(connection, row, Requested.CANCEL))
            now = self._database.now
            values = {"ended_at": now, "updated_at": now, **recovery.CANCELLED}
            ended = _move(connection, row, Transition.CANCEL, **values)
            return recovery.finalise(self._database, connection, ended)

    def pause(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            if row["phase"] == Phase.PAUSED or row["requested"] == Requested.PAUSE:
                return schema.to_job(row)
            if row["requested"] == Requested.CANCEL:
                raise ConflictError(f"{job_id} is being cancelled: it cannot be paused")
            if row["phase"] == Phase.RUNNING:
                return schema.to_job(self._request(connection, row, Requested.PAUSE))
            paused = _move(connection, row, Transition.PAUSE, updated_at=self._database.now)
            preemption.unmark(connection, job_id)
            return schema.to_job(paused)

    def resume(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            now = self._database.now
            if row["requested"] == Requested.CANCEL:
                raise ConflictError(f"{job_id} is being cancelled: it cannot be resumed")
            if row["requested"] == Requested.PAUSE:
                return schema.to_job(_change(connection, row, requested=None, updated_at=now))
            if row["phase"] in {Phase.WAITING, Phase.RUNNING}:
                return schema.to_job(row)
            times = {"waiting_since": now, "updated_at": now}
            waiting = _move(connection, row, Transition.RESUME, **times)
            preemption.consider_waiting(self._database, connection, waiting)
            return schema.to_job(waiting)

    def delete(self, job_id: str, *, owner: str | None = None) -> Job:
        """See `queue.ClientQueue`."""
        with self._database.write() as connection:
            row = _find(connection, job_id, owner, for_update=True)
            if row["phase"] == Phase.RUNNING:
                requested = self._request(connection, row, Requested.CANCEL)
                hidden = _change(connection, requested, is_deleted=True, idempotency_key=None)
                return schema.to_job(hidden)
            preemption.unmark(connection, job_id)
            connection.execute(delete(schema.job).where(_JOB.id == job_id))
            connection.execute(delete(schema.outbox).where(schema.outbox.c.job == job_id))
            return schema.to_job(row)

    def _request(self, connection: Connection, row: RowMapping, what: Requested) -> RowMapping:
        next_phase(Phase(row["phase"]), Transition.REQUEST)
        now = self._database.now
        return _change(connection, row, requested=str(what), yields_for=None, updated_at=now)

    def position_of(self, job: Job) -> QueuePosition | None:
        """See `queue.ClientQueue`."""
        if job.phase is not Phase.WAITING:
            return None
        return self._snapshots.position(job.rank, job.memory_gib, job.model)

    def position_if_submitted(self, job: NewJob) -> QueuePosition:
        """See `queue.ClientQueue`."""
        with self._database.read() as connection:
            admission = _rank(connection, job, self._database.read_now(connection))
        return self._snapshots.position(admission.rank, job.memory_gib, job.model)


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
    parameters = {"job_id": job_id} if owner is None else {"job_id": job_id, "of_owner": owner}
    is_id = _ID.fullmatch(job_id) is not None
    row = connection.execute(statement, parameters).mappings().first() if is_id else None
    if row is None:
        raise NotFoundError(f"there is no job {job_id[:80]!r}", param="id")
    return row


def _move(
    connection: Connection, row: RowMapping, transition: Transition, **values: Any
) -> RowMapping:
    """Make a transition of a row and change other columns with it, or say why it is not legal."""
    try:
        phase = next_phase(Phase(row["phase"]), transition)
    except ConflictError:
        raise ConflictError(
            f"{row['id']} is {row['phase']}: it cannot be {_PAST[transition]}"
        ) from None
    return _change(connection, row, phase=str(phase), **values)


def _change(connection: Connection, row: RowMapping, **values: Any) -> RowMapping:
    """Change a row that this transaction has read for update; return it as it is now."""
    statement = (
        update(schema.job)
        .where(_JOB.id == row["id"], _JOB.phase == row["phase"], _JOB.epoch == row["epoch"])
        .values(**values)
        .returning(schema.job)
    )
    return connection.execute(statement).mappings().one()


@dataclass(frozen=True, slots=True)
class AdmissionRank:
    """When a job is admitted, and the fair start and rank that it gets."""

    now_s: float
    fair_start_s: float
    rank: float


def _admit(
    database: Database, connection: Connection, job: NewJob, limits: KeyLimits
) -> tuple[RowMapping, bool]:
    """Return the job's row, and whether it is new.

    The first write locks the owner's usage of the day, so that fair starts, limits and idempotency keys
    of one owner are handled one after the other.

    Raises:
        ConflictError: The idempotency key was used with another body.
        LimitError: The owner has reached a limit.
    """
    day = int(database.read_now(connection) // metering.DAY_S)
    used_s, now_s = metering.add_usage(database, connection, job.owner, day, num_jobs=1)
    earlier = _find_earlier(connection, job)
    if earlier is not None:
        metering.add_usage(database, connection, job.owner, day, num_jobs=-1)
        return earlier, False
    _check_limits(connection, job, limits, used_s)
    values = new_row(job, _rank(connection, job, now_s))
    row = connection.execute(_INSERT, values).mappings().one()
    metering.observe(database, connection, [("submitted", job.model, None)])
    return row, True


def _rank(connection: Connection, job: NewJob, now_s: float) -> AdmissionRank:
    last = connection.execute(_LAST_FAIR_START, {"of_owner": job.owner}).first()
    fair_start_s = policy.fair_start_s(now_s, *(last or (None,)))
    rank = policy.rank(
        submitted_s=now_s,
        fair_start_s=fair_start_s,
        estimate_s=job.estimate_s,
        priority=job.priority,
        deadline_s=None if job.deadline_s is None else now_s + job.deadline_s,
    )
    return AdmissionRank(now_s, fair_start_s, rank)


def _find_earlier(connection: Connection, job: NewJob) -> RowMapping | None:
    if job.idempotency_key is None:
        return None
    parameters = {"of_owner": job.owner, "key": job.idempotency_key}
    row = connection.execute(_EARLIER, parameters).mappings().first()
    if row is not None and row["body_digest"] != job.body_digest:
        raise ConflictError(
            f"the idempotency key was used with another request, for {row['id']}: use a new one",
            param="idempotency_key",
        )
    return row


def _check_limits(connection: Connection, job: NewJob, limits: KeyLimits, used_s: float) -> None:
    if limits.max_jobs is None and limits.max_gpu_s_per_day is None:
        return
    num, ahead_s = connection.execute(_UNFINISHED, {"of_owner": job.owner}).one()
    if limits.max_jobs is not None and num >= limits.max_jobs:
        raise LimitError(
            f"{num} jobs are unfinished, this key may have {limits.max_jobs}: wait for one to end",
            limit="max_jobs",
        )
    bound_s = limits.max_gpu_s_per_day
    if bound_s is not None and used_s + ahead_s + job.estimate_s > bound_s:
        raise LimitError(
            f"{used_s:.0f} GPU-seconds are used today and {ahead_s:.0f} are waiting; with "
            f"{job.estimate_s:.0f} more it would be over the {bound_s:.0f} a day of this key",
            limit="max_gpu_s_per_day",
        )


def new_row(job: NewJob, admission: AdmissionRank) -> dict[str, object]:
    """Return the row of a job at its admission."""
    now_s = admission.now_s
    return {
        **{name: getattr(job, name) for name in _AS_SUBMITTED},
        **_AT_ADMISSION,
        "id": new_id(job.kind),
        "kind": str(job.kind),
        "request": dict(job.request),
        "created_at": now_s,
        "updated_at": now_s,
        "waiting_since": now_s,
        "priority": int(job.priority),
        "deadline_at": None if job.deadline_s is None else now_s + job.deadline_s,
        "fair_start_s": admission.fair_start_s,
        "rank": admission.rank,
        "inputs": list(job.inputs),
    }


_AS_SUBMITTED = (
    *("owner", "model", "num_steps", "estimate_s", "memory_gib", "clip_s", "needs_trust"),
    *("retain_s", "remixed_from", "extended_from", "idempotency_key", "body_digest", "webhook"),
)
_AT_ADMISSION: dict[str, object] = {
    "phase": str(Phase.WAITING),
    "step": 0,
    "epoch": 0,
    "losses": 0,
    "progress_mark": 0,
    "losses_at": {},
    "checkpoints": [],
    "files": {},
    "has_files": False,
    "gpu_s": 0.0,
    "charged_s": 0.0,
    "is_deleted": False,
}
