"""The claim query: which waiting job a worker gets, as one statement.

For each model that the worker can load, take the lowest-ranked waiting job that fits; claim the best of
these by the worker's own rank. One index lookup a model, however long the queue. This is `policy.choose`
in SQL, and a test compares the two.

Statements are built once for each shape of worker: its models, its warm models, its trust. Its id and
memory are parameters.
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
class WorkerShape:
    """What the statements of two workers differ by."""

    models: tuple[str, ...] | None
    warm_models: tuple[str, ...]
    is_trusted: bool


def shape_of(worker: WorkerInfo) -> WorkerShape:
    """Return the shape that the worker's statements are built for."""
    models = None if worker.models is None else tuple(sorted(worker.models))
    return WorkerShape(models, tuple(sorted(worker.warm_models)), worker.is_trusted)


def parameters_of(worker: WorkerInfo) -> dict[str, Any]:
    """Return the parameters of the worker's statements."""
    return {"worker_gib": worker.memory_gib, "load_s": worker.load_s}


def claim_statement(database: Database, shape: WorkerShape) -> Update:
    """Return the statement that gives a worker its job and returns the row, or no row.

    Two workers that claim at the same time get two jobs: PostgreSQL skips a row that another
    transaction is about to take, and SQLite has one writing transaction at a time. Its parameters are
    those of `parameters_of`, and `claimed_by` and `lease_s`.
    """
    now = database.now
    return (
        update(schema.job)
        .where(_JOB.id == best_job(shape, skip_locked=True), schema.in_phase(Phase.WAITING))
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


def best_job(
    shape: WorkerShape,
    *,
    skip_locked: bool = False,
    without: ColumnElement[bool] | None = None,
) -> ScalarSelect[str]:
    """Return the id of the waiting job that the policy gives to a worker.

    Args:
        shape: Of the worker; the rest are the parameters of `parameters_of`.
        skip_locked: Lock the row until the end of the transaction, and skip locked ones.
        without: Jobs to leave out.
    """
    firsts = [
        _first_of(shape, condition, is_warm, skip_locked=skip_locked, without=without)
        for condition, is_warm in _model_groups(shape)
    ]
    best = union_all(*firsts).subquery("firsts") if len(firsts) > 1 else firsts[0].subquery()
    return (
        select(best.c.id)
        .order_by(best.c.claim_rank, best.c.rank, best.c.id)
        .limit(1)
        .scalar_subquery()
    )


def _model_groups(shape: WorkerShape) -> list[tuple[ColumnElement[bool], bool]]:
    """Return a condition for each named model and one for all others, and whether it is warm."""
    named = shape.warm_models if shape.models is None else shape.models
    groups: list[tuple[ColumnElement[bool], bool]] = [
        (_JOB.model == model, model in shape.warm_models) for model in named
    ]
    if shape.models is None:
        groups.append((and_(True, *(_JOB.model != model for model in named)), False))
    return groups or [(false(), False)]


def _first_of(
    shape: WorkerShape,
    condition: ColumnElement[bool],
    is_warm: bool,
    *,
    skip_locked: bool,
    without: ColumnElement[bool] | None,
) -> Select[tuple[str, float, float]]:
    rank = rank_on_worker(_JOB.rank, _LOAD_S, is_warm)  # type: ignore[arg-type]  # plain arithmetic
    first = (
        select(_JOB.id, _JOB.rank, rank.label("claim_rank"))  # type: ignore[attr-defined]
        .where(schema.in_phase(Phase.WAITING), condition, *_fits(shape))
        .order_by(_JOB.rank, _JOB.id)
        .limit(1)
    )
    if without is not None:
        first = first.where(not_(without))
    if skip_locked:
        first = first.with_for_update(skip_locked=True)
    inner = first.subquery()
    return select(inner.c.id, inner.c.rank, inner.c.claim_rank)


def _fits(shape: WorkerShape) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [_JOB.memory_gib <= _MEMORY_GIB]
    if not shape.is_trusted:
        conditions.append(not_(_JOB.needs_trust))
    return conditions
