"""The claim: which waiting job a worker gets, as one statement.

`policy.choose` in SQL, and a test compares the two: of every model that the worker can load the
waiting job with the smallest rank that fits, and of those the one with the smallest rank as this
worker sees it. Each of them is one look into an index, however long the queue.
"""

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    Update,
    func,
    not_,
    select,
    union_all,
    update,
)

from reelgrid.jobs import schema
from reelgrid.jobs.job import MOVES, Move, Phase
from reelgrid.jobs.policy import rank_for
from reelgrid.jobs.work import STAGES, WorkerInfo

_JOB = schema.job.c


def claim(worker: WorkerInfo, lease_s: float, now: ColumnElement[float]) -> Update:
    """Return the statement that gives the worker its job and returns the row, or no row.

    Two workers that ask at once get two jobs: on PostgreSQL a row that another transaction is about
    to take is skipped, on SQLite there is one writing transaction at a time.
    """
    return (
        update(schema.job)
        .where(_JOB.id == choice(worker, skip_locked=True), schema.in_phase(Phase.WAITING))
        .values(
            phase=str(MOVES[Phase.WAITING, Move.CLAIM]),
            epoch=_JOB.epoch + 1,
            worker=worker.id,
            stage=STAGES[0],
            lease_until=now + lease_s,
            started_at=func.coalesce(_JOB.started_at, now),
            updated_at=now,
            metered_at=now,
            charged_s=0.0,
        )
        .returning(schema.job)
    )


def choice(
    worker: WorkerInfo,
    *,
    skip_locked: bool = False,
    without: ColumnElement[bool] | None = None,
) -> ScalarSelect[str]:
    """Return the id of the waiting job that the policy gives to the worker.

    Args:
        worker: Who asks.
        skip_locked: Take the row for the rest of the transaction, and pass over taken ones.
        without: Jobs that are not looked at.
    """
    heads = [
        _head(worker, condition, is_warm, skip_locked=skip_locked, without=without)
        for condition, is_warm in _kinds(worker)
    ]
    best = union_all(*heads).subquery("heads") if len(heads) > 1 else heads[0].subquery("heads")
    return (
        select(best.c.id)
        .order_by(best.c.claim_rank, best.c.rank, best.c.id)
        .limit(1)
        .scalar_subquery()
    )


def _kinds(worker: WorkerInfo) -> list[tuple[ColumnElement[bool], bool]]:
    """Return the worker's models, each apart and the rest together, and whether they are warm."""
    named = worker.warm_models if worker.models is None else worker.models
    kinds = [(_JOB.model == model, model in worker.warm_models) for model in sorted(named)]
    if worker.models is None:
        kinds.append((not_(_JOB.model.in_(sorted(named))), False))
    return kinds or [(_JOB.model.in_([]), False)]


def _head(
    worker: WorkerInfo,
    condition: ColumnElement[bool],
    is_warm: bool,
    *,
    skip_locked: bool,
    without: ColumnElement[bool] | None,
) -> Select[tuple[str, float, float]]:
    rank = rank_for(_JOB.rank, worker.load_s, is_warm)  # type: ignore[arg-type]  # plain arithmetic
    head = (
        select(_JOB.id, _JOB.rank, rank.label("claim_rank"))  # type: ignore[attr-defined]
        .where(schema.in_phase(Phase.WAITING), condition, *_fits(worker))
        .order_by(_JOB.rank, _JOB.id)
        .limit(1)
    )
    if without is not None:
        head = head.where(not_(without))
    if skip_locked:
        head = head.with_for_update(skip_locked=True)
    inner = head.subquery()
    return select(inner.c.id, inner.c.rank, inner.c.claim_rank)


def _fits(worker: WorkerInfo) -> list[ColumnElement[bool]]:
    conditions = [_JOB.memory_gib <= worker.memory_gib]
    if not worker.is_trusted:
        conditions.append(not_(_JOB.needs_trust))
    return conditions
