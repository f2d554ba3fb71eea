"""Which constraints of a choice bind, and what one unit or one GPU more or less would change.

Every figure is a second solution, not a dual price: leases are whole numbers. Not here: choices
that cannot be (`infeasible`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from reelgrid.errors import PlanError
from reelgrid.plan.offers.milp import Column, Problem, SolverOptions
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.order import LeaseDemand, LeaseLimits, PeakWorkload
from reelgrid.plan.offers.solve import LeasePlan, cheapest_leases

_WORTH = 1e-6  # of the cost: less is the solver's rounding

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingConstraint:
    """One constraint, and what giving way would save.

    Attributes:
        constraint: In words.
        unit: By how much it is relaxed, in words.
        saves_usd_per_h: What that saves.
        saves_without_usd_per_h: What its absence would save.
    """

    constraint: str
    unit: str
    saves_usd_per_h: float
    saves_without_usd_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseChange:
    """What one lease more or less of a GPU would change in dollars an hour, all else chosen anew.

    Attributes:
        gpu: The kind.
        leased: GPUs that are leased.
        offered: GPUs that are offered.
        gpus_per_lease: GPUs that come and go together, of each offer: one more is so many more.
        one_more_usd_per_h: Added cost if one lease more of it has to be taken; none: impossible.
        one_less_usd_per_h: Added cost if one less may be taken; none: impossible, or none leased.
    """

    gpu: str
    leased: int
    offered: int
    gpus_per_lease: tuple[int, ...]
    one_more_usd_per_h: float | None
    one_less_usd_per_h: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Relaxation:
    constraint: str
    unit: str
    by_one: Problem
    without: Problem


def binding_constraints(
    problem: Problem,
    mix: LeasePlan,
    effort: SolverOptions,
    budget_s: float = 60.0,
    tell: Progress | None = None,
) -> tuple[tuple[BindingConstraint, ...], tuple[str, ...]]:
    """Return the constraints that cost something, dearest first, and those not looked at.

    Args:
        problem: What was solved.
        mix: Its solution.
        effort: For each of the solutions.
        budget_s: When this has passed, the remaining constraints are left out.
        tell: Is told of each constraint that is looked at.
    """
    deadline_s = time.monotonic() + budget_s
    levers, skipped = [], []
    for relaxation in _relaxations(problem, mix):
        if time.monotonic() > deadline_s:
            skipped.append(relaxation.constraint)
            continue
        if tell:
            tell(relaxation.constraint)
        try:
            lever = _lever(relaxation, mix, effort)
        except PlanError:  # no time
            skipped.append(relaxation.constraint)
            continue
        if lever:
            levers.append(lever)
    levers.sort(key=lambda lever: -lever.saves_without_usd_per_h)
    return tuple(levers), tuple(skipped)


def _lever(
    relaxation: _Relaxation, mix: LeasePlan, effort: SolverOptions
) -> BindingConstraint | None:
    """Return what a relaxation saves, or none where nothing is to be gained without it."""
    without = _saving(relaxation.without, mix, effort)
    if without <= _WORTH * mix.usd_per_h:
        return None
    by_one = (
        without
        if relaxation.by_one is relaxation.without
        else (_saving(relaxation.by_one, mix, effort))
    )
    return BindingConstraint(
        constraint=relaxation.constraint,
        unit=relaxation.unit,
        saves_usd_per_h=by_one,
        saves_without_usd_per_h=without,
    )


def _saving(problem: Problem, mix: LeasePlan, effort: SolverOptions) -> float:
    other = cheapest_leases(problem, effort)
    return max(0.0, mix.usd_per_h - other.usd_per_h) if other else 0.0


def _relaxations(problem: Problem, mix: LeasePlan) -> Iterator[_Relaxation]:
    order = problem.order
    for job in order.workloads:
        yield from _of_job(problem, job)
    yield from _of_shares(problem, order.limits)
    yield from _of_caps(problem, "provider", [offer.provider for offer in problem.offers])
    yield from _of_caps(problem, "zone", [offer.place for offer in problem.offers])
    yield from _of_counts(problem, mix)


def _of_job(problem: Problem, job: PeakWorkload) -> Iterator[_Relaxation]:
    def changed(**values: object) -> Problem:
        return _with_job(problem, replace(job, **values))  # type: ignore[arg-type]

    less = min(1.0, job.minutes_per_h / 10)
    yield _Relaxation(
        constraint=f"{job.minutes_per_h:g} minutes/h of {job.name} at peak",
        unit=f"{less:g} minutes/h less",
        by_one=changed(minutes_per_h=job.minutes_per_h - less),
        without=changed(minutes_per_h=job.minutes_per_h * 1e-9, trusted_share=0.0),
    )
    if job.trusted_share:
        yield _Relaxation(
            constraint=f"{job.trusted_share:.0%} of {job.name} on trusted GPUs",
            unit="1 point less",
            by_one=changed(trusted_share=max(0.0, job.trusted_share - 0.01)),
            without=changed(trusted_share=0.0),
        )
    if job.within_s is not None:
        yield _Relaxation(
            constraint=f"a clip of {job.name} within {job.within_s:g} s",
            unit="10 % longer",
            by_one=changed(within_s=job.within_s * 1.1),
            without=changed(within_s=None),
        )


def _of_shares(problem: Problem, limits: LeaseLimits) -> Iterator[_Relaxation]:
    words = {
        "survive_share": "{:.0%} of the peak without any one kind in one zone",
        "spare_share": "{:.0%} spare over the peak",
    }
    for name, text in words.items():
        share = getattr(limits, name)
        if share > 0:
            yield _Relaxation(
                constraint=text.format(share),
                unit="1 point less",
                by_one=_with_limits(problem, **{name: max(0.0, share - 0.01)}),
                without=_with_limits(problem, **{name: 0.0}),
            )


def _of_caps(problem: Problem, what: str, names: Sequence[str]) -> Iterator[_Relaxation]:
    limits = problem.order.limits
    for name in dict.fromkeys(names):
        cap = limits.provider_cap(name) if what == "provider" else limits.zone_cap(name)
        if cap is None:
            continue
        caps = limits.providers if what == "provider" else limits.zones
        more = {**caps, name: cap + 1}
        unlimited = {**caps, name: sum(offer.count for offer in problem.offers)}
        yield _Relaxation(
            constraint=f"at most {cap:,} GPUs of {what} {name}",
            unit="1 GPU more",
            by_one=_with_limits(problem, **{f"{what}s": more}),
            without=_with_limits(problem, **{f"{what}s": unlimited}),
        )


def _of_counts(problem: Problem, mix: LeasePlan) -> Iterator[_Relaxation]:
    """Yield for each offer that is taken whole: one lease more, or as many as one likes."""
    for index, (offer, taken) in enumerate(zip(problem.offers, mix.leases, strict=True)):
        if taken and taken == offer.num_leases:
            yield _Relaxation(
                constraint=f"{taken * offer.gpus_per_lease:,} {offer.name} are offered",
                unit=f"{offer.gpus_per_lease} more",
                by_one=_with_offer(problem, index, offer, 1),
                without=_with_offer(problem, index, offer, 100_000),
            )


def _with_job(problem: Problem, job: PeakWorkload) -> Problem:
    jobs = tuple(job if each.name == job.name else each for each in problem.order.workloads)
    return _with_order(problem, replace(problem.order, workloads=jobs))


def _with_limits(problem: Problem, **values: object) -> Problem:
    limits = replace(problem.order.limits, **values)  # type: ignore[arg-type]
    return _with_order(problem, replace(problem.order, limits=limits))


def _with_order(problem: Problem, order: LeaseDemand) -> Problem:
    return replace(problem, order=order)


def _with_offer(problem: Problem, index: int, offer: Offer, more_leases: int) -> Problem:
    count = min(1_000_000, offer.count + more_leases * offer.gpus_per_lease)
    offers = list(problem.offers)
    offers[index] = replace(offer, count=count)
    return replace(problem, offers=tuple(offers))


def lease_changes(
    problem: Problem, mix: LeasePlan, effort: SolverOptions, tell: Progress | None = None
) -> tuple[tuple[LeaseChange, ...], tuple[str, ...]]:
    """Return for every GPU on offer what one lease more or less would change.

    And second, for which there was no time.
    """
    changes, skipped = [], []
    for gpu in dict.fromkeys(offer.gpu for offer in problem.offers):
        if tell:
            tell(f"one {gpu} more or less")
        try:
            changes.append(_kind_change(problem, mix, gpu, effort))
        except PlanError:  # no time
            skipped.append(f"one {gpu} more or less")
    return tuple(changes), tuple(skipped)


def _kind_change(problem: Problem, mix: LeasePlan, gpu: str, effort: SolverOptions) -> LeaseChange:
    own = [index for index, offer in enumerate(problem.offers) if offer.gpu == gpu]
    leases = sum(mix.leases[index] for index in own)
    terms: dict[Column, float] = {("x", index): 1.0 for index in own}

    def added(low: float, high: float) -> float | None:
        other = cheapest_leases(problem, effort, pins=[(terms, low, high)])
        return max(0.0, other.usd_per_h - mix.usd_per_h) if other else None

    return LeaseChange(
        gpu=gpu,
        leased=sum(mix.leases[i] * problem.offers[i].gpus_per_lease for i in own),
        offered=sum(problem.offers[i].count for i in own),
        gpus_per_lease=tuple(sorted({problem.offers[i].gpus_per_lease for i in own})),
        one_more_usd_per_h=added(leases + 1, float("inf")),
        one_less_usd_per_h=added(0, leases - 1) if leases else None,
    )
