"""The cheapest leases that meet a demand, and the greedy choice to compare them with."""

import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TypeAlias

from reelgrid.errors import PlanError
from reelgrid.plan.offers.milp import (
    INFINITY,
    Constraint,
    FailureGroup,
    LeaseProblem,
    MilpColumn,
    MilpRows,
    MilpSolution,
    SolverOptions,
    ViolationColumn,
    WorkColumn,
    build_rows,
    failure_group,
    production_rows,
    solve,
    survival_constraint,
)
from reelgrid.plan.offers.speeds import OfferKind, offer_kind

GpusAtWork: TypeAlias = Mapping[tuple[OfferKind, str], float]
"""GPUs at work by kind and workload."""

ExtraRow: TypeAlias = tuple[Mapping[MilpColumn, float], float, float]
"""A row that the caller adds: coefficients, lowest, highest."""

UNLIMITED = 1_000_000
"""Leases of an offer where its count is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePlan:
    """What to lease.

    Attributes:
        leases: How many of each offer, in the order of the offers.
        work: GPUs at work by kind and workload, on average at peak.
        usd_per_h: Cost of each hour for which the GPUs are leased.
        bound_usd_per_h: No choice costs less than this.
        has_proof: Whether it is the cheapest to within the gap asked for; else time ran out.
        solve_s: How long solving took.
    """

    leases: tuple[int, ...]
    work: GpusAtWork
    usd_per_h: float
    bound_usd_per_h: float
    has_proof: bool
    solve_s: float

    @property
    def gap(self) -> float:
        """How much cheaper another choice might be at most, as a share of the cost."""
        if self.usd_per_h == 0:
            return 0.0
        return max(0.0, 1 - self.bound_usd_per_h / self.usd_per_h)


def cheapest_leases(
    problem: LeaseProblem,
    options: SolverOptions | None = None,
    *,
    without: Set[Constraint] = frozenset(),
    extra: Sequence[ExtraRow] = (),
    start: Sequence[int] = (),
) -> LeasePlan | None:
    """Return the cheapest choice, or `None` if no choice meets the demand.

    Hardly any of the hundreds of groups whose loss has to be survived binds; those that do are
    found by solving without them.

    Args:
        problem: Demand, offers and speeds.
        options: When to stop; at a gap of one part in a million or after a minute by default.
        without: Constraints to set aside.
        extra: Rows to add.
        start: Leases of a similar problem, to begin the search with.

    Raises:
        PlanError: Time ran out before any choice was found.
    """
    begun_s = time.perf_counter()
    options = options or SolverOptions()
    groups: list[FailureGroup] = []
    while True:
        rows = build_rows(problem, groups)
        for terms, low, high in extra:
            rows.add(Constraint("extra", ""), terms, low=low, high=high)
        left = replace(options, time_limit_s=_left_s(options, begun_s))
        costs, counts = _costs(problem, rows), _counts(problem, without)
        found = solve(rows, costs, counts, without, left, start=start)
        if found.status == "infeasible":
            return None
        leases = tuple(round(value) for value in found.columns[: len(problem.offers)])
        broken = _not_survived(problem, leases, {*groups}, without) if leases else []
        if leases and not broken:
            return _lease_plan(problem, leases, _work(problem, rows, found), found, begun_s)
        groups += broken
        if not leases or found.status == "time_limit" or _left_s(options, begun_s) <= _NO_TIME_S:
            leases, work = _fallback(problem, options, is_changed=bool(without or extra))
            late = replace(found, status="time_limit")
            return _lease_plan(problem, leases, work, late, begun_s)


_NO_TIME_S = 1e-3


def _left_s(options: SolverOptions, begun_s: float) -> float:
    return max(_NO_TIME_S, options.time_limit_s - (time.perf_counter() - begun_s))


def _lease_plan(
    problem: LeaseProblem,
    leases: tuple[int, ...],
    work: GpusAtWork,
    found: MilpSolution,
    begun_s: float,
) -> LeasePlan:
    cost = sum(count * usd for count, usd in zip(leases, problem.lease_usd_per_h, strict=True))
    return LeasePlan(
        leases=leases,
        work=work,
        usd_per_h=cost,
        bound_usd_per_h=min(max(0.0, found.bound), cost),
        has_proof=found.status == "optimal",
        solve_s=time.perf_counter() - begun_s,
    )


def _not_survived(
    problem: LeaseProblem, leases: Sequence[int], known: Set[FailureGroup], without: Set[Constraint]
) -> list[FailureGroup]:
    """Return the groups, of those not known, whose loss the leases do not survive.

    A group that is not leased need not be tried, as long as the whole peak has to be made.
    """
    if problem.demand.limits.survive_share == 0:
        return []
    suspects = {*problem.groups}
    if not any(constraint.topic in {"throughput", "trust"} for constraint in without):
        pairs = zip(problem.offers, leases, strict=True)
        suspects = {failure_group(offer) for offer, count in pairs if count}
    return [
        group
        for group in problem.groups
        if group in suspects - known
        and survival_constraint(group) not in without
        and _work_of_leases(problem, leases, group) is None
    ]


def _work_of_leases(
    problem: LeaseProblem, leases: Sequence[int], lost: FailureGroup | None
) -> GpusAtWork | None:
    """Return which GPUs make what with given leases, or `None` where they do not suffice."""
    rows = production_rows(problem, lost)
    found = solve(rows, [0.0] * len(rows.columns), leases, frozenset(), SolverOptions(), fixed=True)
    return _work(problem, rows, found, lost) if found.columns else None


def _fallback(
    problem: LeaseProblem, options: SolverOptions, *, is_changed: bool
) -> tuple[tuple[int, ...], GpusAtWork]:
    """Return the greedy choice, for when time has run out.

    Raises:
        PlanError: It gets stuck, or constraints were added or set aside, which it does not consider.
    """
    leases = None if is_changed else greedy_leases(problem)
    work = None if leases is None else _work_of_leases(problem, leases, None)
    if leases is None or work is None:
        raise PlanError(
            f"no choice was found in {options.time_limit_s:g} s: allow more with --time-limit"
        )
    return leases, work


def smallest_violation(
    problem: LeaseProblem, constraint: Constraint, without: Set[Constraint], options: SolverOptions
) -> float:
    """Return by how much a constraint has to be relaxed so that all others can hold.

    Args:
        problem: Demand, offers and speeds.
        constraint: The one that may be violated.
        without: Constraints to set aside altogether.
        options: When to stop.

    Returns:
        In the unit of the constraint's rows: shares of a peak, GPUs, or leases; infinite where even
        that does not help.
    """
    rows = build_rows(problem)
    violation = len(rows.columns)
    rows.columns[ViolationColumn(constraint)] = violation
    for index, each in enumerate(rows.constraints):
        if each == constraint:
            rows.coefficients[index][violation] = 1.0 if rows.lows[index] > -INFINITY else -1.0
    costs = [0.0] * violation + [1.0]
    counts = _counts(problem, without | ({constraint} if constraint.topic == "count" else set()))
    found = solve(rows, costs, counts, without, options, counted=constraint)
    return found.cost if found.columns else INFINITY


def _counts(problem: LeaseProblem, without: Set[Constraint]) -> list[int]:
    return [
        UNLIMITED if Constraint("count", offer.gpu) in without else offer.num_leases
        for offer in problem.offers
    ]


def _costs(problem: LeaseProblem, rows: MilpRows) -> list[float]:
    others = len(rows.columns) - len(problem.offers)
    return [*problem.lease_usd_per_h, *[0.0] * others]


def _work(
    problem: LeaseProblem, rows: MilpRows, found: MilpSolution, lost: FailureGroup | None = None
) -> GpusAtWork:
    return {
        (kind, name): found.columns[rows.columns[WorkColumn(lost, kind, name)]]
        for kind in problem.kinds
        for name in (workload.name for workload in problem.demand.workloads)
        if (kind, name) in problem.rates
    }


def greedy_leases(problem: LeaseProblem) -> tuple[int, ...] | None:
    """Return the leases of each offer by the greedy choice, or `None` where it gets stuck.

    Workload by workload, the trusted part first, leases are taken from the cheapest minutes
    upwards; then, for each group that might be lost, more of what is left.
    """
    choice = _Greedy(problem)
    limits = problem.demand.limits
    if not choice.cover_all(1 + limits.spare_share, None):
        return None
    lost = problem.groups if limits.survive_share > 0 else ()
    if not all(choice.cover_all(limits.survive_share, group) for group in lost):
        return None
    return tuple(choice.leases)


def greedy_cost(problem: LeaseProblem) -> float | None:
    """Return dollars an hour of the greedy choice, or `None` where it gets stuck."""
    leases = greedy_leases(problem)
    if leases is None:
        return None
    return sum(count * usd for count, usd in zip(leases, problem.lease_usd_per_h, strict=True))


class _Greedy:
    """Leases so far, and what is free of each when work is handed out in order."""

    def __init__(self, problem: LeaseProblem) -> None:
        self.problem = problem
        self.leases = [0] * len(problem.offers)

    def cover_all(self, share: float, lost: FailureGroup | None) -> bool:
        """Take leases until a share of every workload is made without a lost group."""
        problem = self.problem
        able = [i for i, offer in enumerate(problem.offers) if failure_group(offer) != lost]
        free = {i: self.leases[i] * problem.working_gpus[i] for i in able}
        for workload in problem.demand.workloads:
            required = share * workload.minutes_per_h
            private = required * workload.trusted_share
            trusted = [i for i in able if problem.offers[i].is_trusted]
            if not self._cover(workload.name, private, trusted, free):
                return False
            if not self._cover(workload.name, required - private, able, free):
                return False
        return True

    def _cover(
        self, name: str, missing: float, able: Iterable[int], free: dict[int, float]
    ) -> bool:
        """Hand out work to what is free, then to new leases, the cheapest minutes first."""
        ordered = self._cheapest_first(name, able)
        for i, rate in ordered:
            used = min(free[i], missing / rate)
            free[i] -= used
            missing -= used * rate
        for i, rate in ordered:
            while missing > 1e-9 and self._can_lease_more(i):
                self.leases[i] += 1
                used = min(self.problem.working_gpus[i], missing / rate)
                free[i] += self.problem.working_gpus[i] - used
                missing -= used * rate
        return missing <= 1e-9

    def _cheapest_first(self, name: str, able: Iterable[int]) -> list[tuple[int, float]]:
        problem = self.problem
        rates = {i: problem.rates.get((offer_kind(problem.offers[i]), name), 0.0) for i in able}

        def usd_per_minute(i: int) -> float:
            return problem.lease_usd_per_h[i] / (problem.working_gpus[i] * rates[i])

        usable = [i for i, rate in rates.items() if rate * problem.working_gpus[i] > 0]
        return [(i, rates[i]) for i in sorted(usable, key=usd_per_minute)]

    def _can_lease_more(self, index: int) -> bool:
        offer, limits = self.problem.offers[index], self.problem.demand.limits
        held = [
            (each, count * each.gpus_per_lease)
            for each, count in zip(self.problem.offers, self.leases, strict=True)
        ]
        of_provider = sum(gpus for each, gpus in held if each.provider == offer.provider)
        of_zone = sum(gpus for each, gpus in held if each.provider_zone == offer.provider_zone)
        return (
            self.leases[index] < offer.num_leases
            and _fits(of_provider + offer.gpus_per_lease, limits.cap("provider", offer.provider))
            and _fits(of_zone + offer.gpus_per_lease, limits.cap("zone", offer.provider_zone))
        )


def _fits(gpus: int, cap: int | None) -> bool:
    return cap is None or gpus <= cap
