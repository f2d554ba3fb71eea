"""Sensitivity: which constraints bind, and what one unit or one lease more or less would change.

Every figure comes from solving again with one constraint relaxed: with whole leases, dual prices
say nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from reelgrid.errors import PlanError
from reelgrid.plan.offers.demand import LeaseLimits, PeakWorkload
from reelgrid.plan.offers.milp import LeaseColumn, LeaseProblem, MilpColumn, SolverOptions
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.solve import LeasePlan, cheapest_leases

_WORTH = 1e-6  # of the cost: less is the solver's rounding

Progress: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingConstraint:
    """One constraint, and what relaxing it would save.

    Attributes:
        constraint: As people read it.
        unit: By how much it is relaxed, as people read it.
        saves_usd_per_h: What that saves.
        saves_without_usd_per_h: What its absence would save.
    """

    constraint: str
    unit: str
    saves_usd_per_h: float
    saves_without_usd_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseChange:
    """What one lease more or less of a GPU would change in dollars an hour, everything else chosen again.

    Attributes:
        gpu: The kind.
        leased: GPUs that are leased.
        offered: GPUs that are offered.
        gpus_per_lease: GPUs that come and go together, of each offer: one more is so many more.
        one_more_usd_per_h: Added cost if one lease more has to be taken; `None` if infeasible.
        one_less_usd_per_h: Added cost if one lease less is taken; `None` if infeasible, or if no
            lease was taken.
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
    by_one: LeaseProblem
    without: LeaseProblem


def binding_constraints(
    problem: LeaseProblem,
    plan: LeasePlan,
    options: SolverOptions,
    budget_s: float = 60.0,
    on_progress: Progress | None = None,
) -> tuple[tuple[BindingConstraint, ...], tuple[str, ...]]:
    """Return the constraints that cost something, dearest first, and those not examined.

    Args:
        problem: What was solved.
        plan: Its solution.
        options: For each of the solutions.
        budget_s: When this has passed, the remaining constraints are left out.
        on_progress: Called with each constraint before it is examined.
    """
    deadline_s = time.monotonic() + budget_s
    binding, skipped = [], []
    for relaxation in _relaxations(problem, plan):
        if time.monotonic() > deadline_s:
            skipped.append(relaxation.constraint)
            continue
        if on_progress:
            on_progress(relaxation.constraint)
        try:
            one = _binding(relaxation, plan, options)
        except PlanError:  # no time
            skipped.append(relaxation.constraint)
            continue
        if one:
            binding.append(one)
    binding.sort(key=lambda one: -one.saves_without_usd_per_h)
    return tuple(binding), tuple(skipped)


def _binding(
    relaxation: _Relaxation, plan: LeasePlan, options: SolverOptions
) -> BindingConstraint | None:
    """Return what a relaxation saves, or `None` where its absence saves nothing."""
    without = _saving(relaxation.without, plan, options)
    if without <= _WORTH * plan.usd_per_h:
        return None
    by_one = (
        without
        if relaxation.by_one is relaxation.without
        else _saving(relaxation.by_one, plan, options)
    )
    return BindingConstraint(
        constraint=relaxation.constraint,
        unit=relaxation.unit,
        saves_usd_per_h=by_one,
        saves_without_usd_per_h=without,
    )


def _saving(problem: LeaseProblem, plan: LeasePlan, options: SolverOptions) -> float:
    other = cheapest_leases(problem, options, start=plan.leases)
    return max(0.0, plan.usd_per_h - other.usd_per_h) if other else 0.0


def _relaxations(problem: LeaseProblem, plan: LeasePlan) -> Iterator[_Relaxation]:
    demand = problem.demand
    for workload in demand.workloads:
        yield from _of_workload(problem, workload)
    yield from _of_shares(problem, demand.limits)
    yield from _of_caps(problem, "provider", [offer.provider for offer in problem.offers])
    yield from _of_caps(problem, "zone", [offer.provider_zone for offer in problem.offers])
    yield from _of_counts(problem, plan)


def _of_workload(problem: LeaseProblem, workload: PeakWorkload) -> Iterator[_Relaxation]:
    def changed(**values: object) -> LeaseProblem:
        return _with_workload(problem, replace(workload, **values))  # type: ignore[arg-type]

    less = min(1.0, workload.minutes_per_h / 10)
    yield _Relaxation(
        constraint=f"{workload.minutes_per_h:g} minutes/h of {workload.name} at peak",
        unit=f"{less:g} minutes/h less",
        by_one=changed(minutes_per_h=workload.minutes_per_h - less),
        without=changed(minutes_per_h=workload.minutes_per_h * 1e-9, trusted_share=0.0),
    )
    if workload.trusted_share:
        yield _Relaxation(
            constraint=f"{workload.trusted_share:.0%} of {workload.name} on trusted GPUs",
            unit="1 point less",
            by_one=changed(trusted_share=max(0.0, workload.trusted_share - 0.01)),
            without=changed(trusted_share=0.0),
        )
    if workload.within_s is not None:
        yield _Relaxation(
            constraint=f"a clip of {workload.name} within {workload.within_s:g} s",
            unit="10 % longer",
            by_one=changed(within_s=workload.within_s * 1.1),
            without=changed(within_s=None),
        )


def _of_shares(problem: LeaseProblem, limits: LeaseLimits) -> Iterator[_Relaxation]:
    texts = {
        "survive_share": "{:.0%} of the peak without any one kind in one zone",
        "spare_share": "{:.0%} spare over the peak",
    }
    for name, text in texts.items():
        share = getattr(limits, name)
        if share > 0:
            yield _Relaxation(
                constraint=text.format(share),
                unit="1 point less",
                by_one=_with_limits(problem, **{name: max(0.0, share - 0.01)}),
                without=_with_limits(problem, **{name: 0.0}),
            )


def _of_caps(problem: LeaseProblem, what: str, names: Sequence[str]) -> Iterator[_Relaxation]:
    limits = problem.demand.limits
    for name in dict.fromkeys(names):
        cap = limits.cap(what, name)
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


def _of_counts(problem: LeaseProblem, plan: LeasePlan) -> Iterator[_Relaxation]:
    """Yield for each offer of which every lease is taken: one lease more, or any number."""
    for index, (offer, taken) in enumerate(zip(problem.offers, plan.leases, strict=True)):
        if taken and taken == offer.num_leases:
            yield _Relaxation(
                constraint=f"{taken * offer.gpus_per_lease:,} {offer.name} are offered",
                unit=f"{offer.gpus_per_lease} more",
                by_one=_with_offer(problem, index, offer, 1),
                without=_with_offer(problem, index, offer, 100_000),
            )


def _with_workload(problem: LeaseProblem, workload: PeakWorkload) -> LeaseProblem:
    every = problem.demand.workloads
    workloads = tuple(workload if each.name == workload.name else each for each in every)
    return replace(problem, demand=replace(problem.demand, workloads=workloads))


def _with_limits(problem: LeaseProblem, **values: object) -> LeaseProblem:
    limits = replace(problem.demand.limits, **values)  # type: ignore[arg-type]
    return replace(problem, demand=replace(problem.demand, limits=limits))


def _with_offer(problem: LeaseProblem, index: int, offer: Offer, more_leases: int) -> LeaseProblem:
    count = min(1_000_000, offer.count + more_leases * offer.gpus_per_lease)
    offers = list(problem.offers)
    offers[index] = replace(offer, count=count)
    return replace(problem, offers=tuple(offers))


def lease_changes(
    problem: LeaseProblem,
    plan: LeasePlan,
    options: SolverOptions,
    on_progress: Progress | None = None,
) -> tuple[tuple[LeaseChange, ...], tuple[str, ...]]:
    """Return what one lease more or less of each GPU would change, and those not examined."""
    changes, skipped = [], []
    for gpu in dict.fromkeys(offer.gpu for offer in problem.offers):
        if on_progress:
            on_progress(f"one {gpu} more or less")
        try:
            changes.append(_lease_change(problem, plan, gpu, options))
        except PlanError:  # no time
            skipped.append(f"one {gpu} more or less")
    return tuple(changes), tuple(skipped)


def _lease_change(
    problem: LeaseProblem, plan: LeasePlan, gpu: str, options: SolverOptions
) -> LeaseChange:
    own = [index for index, offer in enumerate(problem.offers) if offer.gpu == gpu]
    leases = sum(plan.leases[index] for index in own)
    terms: dict[MilpColumn, float] = {LeaseColumn(index): 1.0 for index in own}

    def added(low: float, high: float) -> float | None:
        other = cheapest_leases(problem, options, extra=[(terms, low, high)])
        return max(0.0, other.usd_per_h - plan.usd_per_h) if other else None

    return LeaseChange(
        gpu=gpu,
        leased=sum(plan.leases[i] * problem.offers[i].gpus_per_lease for i in own),
        offered=sum(problem.offers[i].count for i in own),
        gpus_per_lease=tuple(sorted({problem.offers[i].gpus_per_lease for i in own})),
        one_more_usd_per_h=added(leases + 1, float("inf")),
        one_less_usd_per_h=added(0, leases - 1) if leases else None,
    )
