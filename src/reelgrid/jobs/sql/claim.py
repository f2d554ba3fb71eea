"""The claim: which waiting job a worker gets, as one statement.

`policy.choose` in SQL, and a test compares the two: of every model that the worker can load the
waiting job with the smallest rank that fits, and of those the one with the smallest rank as this
worker sees it. Each of them is one look into an index, however long the queue.

The statements are built once for each shape of worker: its models, the warm ones, its trust. Who
it is and what else it has are their parameters.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Float,
    ScalarSelect,
    Select,
    Update,
    and_,
    bindparam,
    false,
    func,
    not_,
    select,
    union_all,
    update,
)

from reelgrid.jobs.job import TRANSITIONS, Phase, Transition
from reelgrid.jobs.messages import STAGES, WorkerInfo
from reelgrid.jobs.policy import rank_on_worker
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.database import Database

_JOB = schema.job.c
_MEMORY_GIB = bindparam("worker_gib", type_=Float())
_LOAD_S = bindparam("load_s", type_=Float())


@dataclass(frozen=True, slots=True)
class Shape:
    """What the statements of two workers differ by."""

    models: tuple[str, ...] | None
    warm_models: tuple[str, ...]
    is_trusted: bool


def shape(worker: WorkerInfo) -> Shape:
    """Return what the worker's statements are built for."""
    models = None if worker.models is None else tuple(sorted(worker.models))
    return Shape(models, tuple(sorted(worker.warm_models)), worker.is_trusted)


def asked_by(worker: WorkerInfo) -> dict[str, Any]:
    """Return the parameters of the statements."""
    return {"worker_gib": worker.memory_gib, "load_s": worker.load_s}


def claim(database: Database, asking: Shape) -> Update:
    """Return the statement that gives a worker its job and returns the row, or no row.

    Two workers that ask at once get two jobs: on PostgreSQL a row that another transaction is about
    to take is skipped, on SQLite there is one writing transaction at a time. Its parameters are
    those of `asked_by`, and `claimed_by` and `lease_s`.
    """
    now = database.now
    return (
        update(schema.job)
        .where(_JOB.id == choice(asking, skip_locked=True), schema.in_phase(Phase.WAITING))
        .values(
            phase=str(TRANSITIONS[Phase.WAITING, Transition.CLAIM]),
            epoch=_JOB.epoch + 1,
            worker=bindparam("claimed_by"),
            stage=STAGES[0],
            lease_until=now + bindparam("lease_s", type_=Float()),
            started_at=func.coalesce(_JOB.started_at, now),
            updated_at=now,
            metered_at=now,
            charged_s=0.0,
        )
        .returning(schema.job)
    )


def choice(
    asking: Shape,
    *,
    skip_locked: bool = False,
    without: ColumnElement[bool] | None = None,
) -> ScalarSelect[str]:
    """Return the id of the waiting job that the policy gives to a worker.

    Args:
        asking: The shape of who asks; the rest are the parameters of `asked_by`.
        skip_locked: Take the row for the rest of the transaction, and pass over taken ones.
        without: Jobs that are not looked at.
    """
    heads = [
        _head(asking, condition, is_warm, skip_locked=skip_locked, without=without)
        for condition, is_warm in _kinds(asking)
    ]
    best = union_all(*heads).subquery("heads") if len(heads) > 1 else heads[0].subquery("heads")
    return (
        select(best.c.id)
        .order_by(best.c.claim_rank, best.c.rank, best.c.id)
        .limit(1)
        .scalar_subquery()
    )


def _kinds(asking: Shape) -> list[tuple[ColumnElement[bool], bool]]:
    """Return the worker's models, each apart and the rest together, and whether they are warm."""
    named = asking.warm_models if asking.models is None else asking.models
    kinds: list[tuple[ColumnElement[bool], bool]] = [
        (_JOB.model == model, model in asking.warm_models) for model in named
    ]
    if asking.models is None:
        kinds.append((and_(True, *(_JOB.model != model for model in named)), False))
    return kinds or [(false(), False)]


def _head(
    asking: Shape,
    condition: ColumnElement[bool],
    is_warm: bool,
    *,
    skip_locked: bool,
    without: ColumnElement[bool] | None,
) -> Select[tuple[str, float, float]]:
    rank = rank_on_worker(_JOB.rank, _LOAD_S, is_warm)  # type: ignore[arg-type]  # plain arithmetic
    head = (
        select(_JOB.id, _JOB.rank, rank.label("claim_rank"))  # type: ignore[attr-defined]
        .where(schema.in_phase(Phase.WAITING), condition, *_fits(asking))
        .order_by(_JOB.rank, _JOB.id)
        .limit(1)
    )
    if without is not None:
        head = head.where(not_(without))
    if skip_locked:
        head = head.with_for_update(skip_locked=True)
    inner = head.subquery()
    return select(inner.c.id, inner.c.rank, inner.c.claim_rank)


def _fits(asking: Shape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_JOB.memory_gib <= _MEMORY_GIB]
    if not asking.is_trusted:
        conditions.append(not_(_JOB.needs_trust))
    return conditions
