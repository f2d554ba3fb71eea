"""The cheapest leases that do what an order asks: solved with SciPy's HiGHS.

Not here: the rows (`milp`), what binds (`sensitivity`), and why nothing does (`infeasible`).

What somebody would choose with a sorted list: always the offer whose minutes are cheapest.

A baseline to compare the optimum with; it finds no choice where a cleverer one exists.
"""

import time
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from reelgrid.errors import PlanError
from reelgrid.plan.offers.milp import (
    INFEASIBLE,
    INFINITY,
    LIMIT,
    OPTIMAL,
    Column,
    Constraint,
    Group,
    MilpRows,
    Problem,
    SolverOptions,
    build_rows,
    group_of,
    making_rows,
    solve,
    survival_rule,
)
from reelgrid.plan.offers.speeds import OfferKind, offer_kind


def greedy_leases(problem: Problem) -> tuple[int, ...] | None:
    """Return the leases of each offer by the greedy choice, or none where it gets stuck.

    Workload by workload, the trusted part first, leases are taken from the cheapest minutes
    upwards; then, for each group that might be lost, more of what is left.
    """
    choice = _Greedy(problem)
    limits = problem.order.limits
    if not choice.cover_all(1 + limits.spare_share, None):
        return None
    lost = problem.groups if limits.survive_share > 0 else ()
    if not all(choice.cover_all(limits.survive_share, group) for group in lost):
        return None
    return tuple(choice.leases)


def greedy_cost(problem: Problem) -> float | None:
    """Return dollars an hour of the greedy choice, or none where it gets stuck."""
    leases = greedy_leases(problem)
    if leases is None:
        return None
    return sum(count * usd for count, usd in zip(leases, problem.lease_usd_per_h, strict=True))


class _Greedy:
    """Leases so far, and what is free of each when work is handed out in order."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.leases = [0] * len(problem.offers)

    def cover_all(self, share: float, lost: Group | None) -> bool:
        """Take leases until a share of every workload is made without a lost group."""
        problem = self.problem
        able = [i for i, offer in enumerate(problem.offers) if group_of(offer) != lost]
        free = {i: self.leases[i] * problem.working_gpus[i] for i in able}
        for job in problem.order.workloads:
            wanted = share * job.minutes_per_h
            private = wanted * job.trusted_share
            trusted = [i for i in able if problem.offers[i].is_trusted]
            if not self._cover(job.name, private, trusted, free):
                return False
            if not self._cover(job.name, wanted - private, able, free):
                return False
        return True

    def _cover(self, name: str, wanted: float, able: Iterable[int], free: dict[int, float]) -> bool:
        """Hand out work to what is free, then to new leases, the cheapest minutes first."""
        order = self._cheapest_first(name, able)
        for i, rate in order:
            used = min(free[i], wanted / rate)
            free[i] -= used
            wanted -= used * rate
        for i, rate in order:
            while wanted > 1e-9 and self._has_room(i):
                self.leases[i] += 1
                used = min(self.problem.working_gpus[i], wanted / rate)
                free[i] += self.problem.working_gpus[i] - used
                wanted -= used * rate
        return wanted <= 1e-9

    def _cheapest_first(self, name: str, able: Iterable[int]) -> list[tuple[int, float]]:
        problem = self.problem
        rates = {i: problem.rates.get((offer_kind(problem.offers[i]), name), 0.0) for i in able}

        def usd_per_minute(i: int) -> float:
            return problem.lease_usd_per_h[i] / (problem.working_gpus[i] * rates[i])

        usable = [i for i, rate in rates.items() if rate * problem.working_gpus[i] > 0]
        return [(i, rates[i]) for i in sorted(usable, key=usd_per_minute)]

    def _has_room(self, index: int) -> bool:
        offer, limits = self.problem.offers[index], self.problem.order.limits
        held = [
            (each, count * each.gpus_per_lease)
            for each, count in zip(self.problem.offers, self.leases, strict=True)
        ]
        of_provider = sum(gpus for each, gpus in held if each.provider == offer.provider)
        of_zone = sum(gpus for each, gpus in held if each.place == offer.place)
        return (
            self.leases[index] < offer.num_leases
            and _fits(of_provider + offer.gpus_per_lease, limits.provider_cap(offer.provider))
            and _fits(of_zone + offer.gpus_per_lease, limits.zone_cap(offer.place))
        )


def _fits(gpus: int, cap: int | None) -> bool:
    return cap is None or gpus <= cap


Work: TypeAlias = Mapping[tuple[OfferKind, str], float]
"""GPUs at work by kind and workload."""

ExtraRow: TypeAlias = tuple[Mapping[Column, float], float, float]
"""A row of somebody else's: coefficients of `("x", offer)`, lowest, highest."""

UNLIMITED = 1_000_000
"""Leases of an offer where its count is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePlan:
    """What to lease.

    Attributes:
        leases: How many of each offer, in the order of the offers.
        work: GPUs at work by kind and workload, on average at peak.
        usd_per_h: What it costs, by the hour that the GPUs are wanted.
        bound_usd_per_h: No choice costs less than this.
        has_proof: Whether it is the cheapest to within the gap asked for; else time ran out.
        solve_s: How long solving took.
    """

    leases: tuple[int, ...]
    work: Work
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
    problem: Problem,
    effort: SolverOptions | None = None,
    *,
    without: Set[Constraint] = frozenset(),
    pins: Sequence[ExtraRow] = (),
) -> LeasePlan | None:
    """Return the cheapest choice, or none where there is none.

    Args:
        problem: Order, offers and speeds.
        effort: How hard to look; to one part in a million or a minute where none is given.
        without: Rules to set aside.
        pins: Rows to add: coefficients of `("x", offer)`, lowest, highest.

    Raises:
        PlanError: Time ran out before any choice was found.
    """
    begun_s = time.perf_counter()
    effort = effort or SolverOptions()
    groups: list[Group] = []
    while True:
        left_s = max(1e-3, effort.time_limit_s - (time.perf_counter() - begun_s))
        found, rows = _round(problem, groups, without, pins, replace(effort, time_limit_s=left_s))
        if found.status == INFEASIBLE:
            return None
        leases = None if found.x is None else _leases(problem, found)
        more = [] if leases is None else _not_survived(problem, leases, {*groups}, without)
        if leases is not None and not more:
            work, has_proof = _work(problem, rows, found), found.status == OPTIMAL
            break
        groups += more
        is_late = time.perf_counter() - begun_s >= effort.time_limit_s
        if leases is None or found.status == LIMIT or is_late:
            leases, work = _makeshift(problem, without, pins, effort)
            has_proof = False
            break
    cost = sum(count * usd for count, usd in zip(leases, problem.lease_usd_per_h, strict=True))
    bound = 0.0 if found.mip_dual_bound is None else float(found.mip_dual_bound)
    return LeasePlan(
        leases=leases,
        work=work,
        usd_per_h=cost,
        bound_usd_per_h=min(max(0.0, bound), cost),
        has_proof=has_proof,
        solve_s=time.perf_counter() - begun_s,
    )


def _round(
    problem: Problem,
    groups: Sequence[Group],
    without: Set[Constraint],
    pins: Sequence[ExtraRow],
    effort: SolverOptions,
) -> tuple[Any, MilpRows]:
    """Return SciPy's answer where the loss of only some groups has to be survived.

    Hardly any of the hundreds of groups binds; those that do are found by trying without.
    """
    rows = build_rows(problem, groups)
    for terms, low, high in pins:
        rows.add(Constraint("pin", ""), terms, low=low, high=high)
    counts = _counts(problem, without)
    return solve(rows, _costs(problem, rows), counts, without, effort), rows


def _not_survived(
    problem: Problem, leases: Sequence[int], known: Set[Group], without: Set[Constraint]
) -> list[Group]:
    """Return the groups, of those not known, that could not be lost.

    One that is not leased can be, as long as the whole peak has to be made.
    """
    if problem.order.limits.survive_share == 0:
        return []
    suspects = {*problem.groups}
    if not any(rule.topic in {"throughput", "trust"} for rule in without):
        suspects = {
            group_of(offer) for offer, count in zip(problem.offers, leases, strict=True) if count
        }
    return [
        group
        for group in problem.groups
        if group in suspects - known
        and survival_rule(group) not in without
        and _makes(problem, leases, group) is None
    ]


def _makes(problem: Problem, leases: Sequence[int], lost: Group | None) -> Work | None:
    """Return who makes what with given leases, or none where they do not suffice."""
    rows = making_rows(problem, lost)
    found = solve(rows, [0.0] * len(rows.columns), leases, frozenset(), SolverOptions(), fixed=True)
    return None if found.x is None else _work(problem, rows, found, lost)


def _makeshift(
    problem: Problem, without: Set[Constraint], pins: Sequence[ExtraRow], effort: SolverOptions
) -> tuple[tuple[int, ...], Work]:
    """Return the greedy choice, for when time has run out.

    Raises:
        PlanError: There is none, or it is not asked for as it stands.
    """
    leases = None if without or pins else greedy_leases(problem)
    work = None if leases is None else _makes(problem, leases, None)
    if leases is None or work is None:
        raise PlanError(
            f"no choice was found in {effort.time_limit_s:g} s: allow more with --time-limit"
        )
    return leases, work


def smallest_violation(
    problem: Problem, rule: Constraint, without: Set[Constraint], effort: SolverOptions
) -> float:
    """Return by how much a rule has to be relaxed so that all others can hold.

    Args:
        problem: Order, offers and speeds.
        rule: The rule that may give way.
        without: Rules to set aside altogether.
        effort: How hard to look.

    Returns:
        In the unit of the rule's rows: shares of a peak, GPUs, or leases; infinite where even
        that does not help.
    """
    rows = build_rows(problem)
    breach = len(rows.columns)
    rows.columns["breach",] = breach
    for index, each in enumerate(rows.rules):
        if each == rule:
            rows.coefficients[index][breach] = 1.0 if rows.lows[index] > -INFINITY else -1.0
    costs = [0.0] * breach + [1.0]
    counts = [*_counts(problem, without | ({rule} if rule.topic == "count" else set()))]
    found = solve(rows, costs, counts, without, effort, counted=rule)
    return INFINITY if found.x is None else float(found.fun)


def _counts(problem: Problem, without: Set[Constraint]) -> list[int]:
    return [
        UNLIMITED if Constraint("count", offer.gpu) in without else offer.num_leases
        for offer in problem.offers
    ]


def _costs(problem: Problem, rows: MilpRows) -> list[float]:
    others = len(rows.columns) - len(problem.offers)
    return [*problem.lease_usd_per_h, *[0.0] * others]


def _leases(problem: Problem, found: Any) -> tuple[int, ...]:
    return tuple(round(float(value)) for value in found.x[: len(problem.offers)])


def _work(problem: Problem, rows: MilpRows, found: Any, lost: Group | None = None) -> Work:
    return {
        (kind, job.name): float(found.x[rows.columns[lost, kind, job.name]])
        for kind in problem.kinds
        for job in problem.order.workloads
        if (kind, job.name) in problem.rates
    }
