"""The cheapest leases that do what an order asks: solved with SciPy's HiGHS.

Not here: the rows (`rows`), what binds (`levers`), and why nothing does (`impossible`).
"""

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from reelgrid.errors import PlanError
from reelgrid.plan.greedy import greedy_leases
from reelgrid.plan.highs import INFEASIBLE, LIMIT, OPTIMAL, Effort, solve
from reelgrid.plan.rows import (
    INFINITY,
    Column,
    Group,
    Problem,
    Rows,
    Rule,
    build_rows,
    group_of,
    making_rows,
    survival_rule,
)
from reelgrid.plan.suitability import Kind

Work: TypeAlias = Mapping[tuple[Kind, str], float]
"""GPUs at work by kind and workload."""

Pin: TypeAlias = tuple[Mapping[Column, float], float, float]
"""A row of somebody else's: coefficients of `("x", offer)`, lowest, highest."""

UNLIMITED = 1_000_000
"""Leases of an offer where its count is set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
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


def cheapest_mix(
    problem: Problem,
    effort: Effort | None = None,
    *,
    without: Set[Rule] = frozenset(),
    pins: Sequence[Pin] = (),
) -> Mix | None:
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
    effort = effort or Effort()
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
    return Mix(
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
    without: Set[Rule],
    pins: Sequence[Pin],
    effort: Effort,
) -> tuple[Any, Rows]:
    """Return SciPy's answer where the loss of only some groups has to be survived.

    Hardly any of the hundreds of groups binds; those that do are found by trying without.
    """
    rows = build_rows(problem, groups)
    for terms, low, high in pins:
        rows.add(Rule("pin", ""), terms, low=low, high=high)
    counts = _counts(problem, without)
    return solve(rows, _costs(problem, rows), counts, without, effort), rows


def _not_survived(
    problem: Problem, leases: Sequence[int], known: Set[Group], without: Set[Rule]
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
    found = solve(rows, [0.0] * len(rows.columns), leases, frozenset(), Effort(), fixed=True)
    return None if found.x is None else _work(problem, rows, found, lost)


def _makeshift(
    problem: Problem, without: Set[Rule], pins: Sequence[Pin], effort: Effort
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


def smallest_breach(problem: Problem, rule: Rule, without: Set[Rule], effort: Effort) -> float:
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


def _counts(problem: Problem, without: Set[Rule]) -> list[int]:
    return [
        UNLIMITED if Rule("count", offer.gpu) in without else offer.num_leases
        for offer in problem.offers
    ]


def _costs(problem: Problem, rows: Rows) -> list[float]:
    others = len(rows.columns) - len(problem.offers)
    return [*problem.lease_usd_per_h, *[0.0] * others]


def _leases(problem: Problem, found: Any) -> tuple[int, ...]:
    return tuple(round(float(value)) for value in found.x[: len(problem.offers)])


def _work(problem: Problem, rows: Rows, found: Any, lost: Group | None = None) -> Work:
    return {
        (kind, job.name): float(found.x[rows.columns[lost, kind, job.name]])
        for kind in problem.kinds
        for job in problem.order.workloads
        if (kind, job.name) in problem.rates
    }
