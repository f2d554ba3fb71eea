"""The choice of offers as a mixed-integer linear programme: variables, rows, and a name for each.

Whole numbers `x[o]` are leases of offer `o`; `y[k, w] >= 0` are GPUs of kind `k` at work on
workload `w`, and `y[g, k, w]` the same after the group `g`, one kind of GPU in one zone, is lost.
`docs/offers.md` writes the rows out. Not here: solving (`solve`), and what a lease yields (`lease_yield`).

Rows given to SciPy's HiGHS, and its answer.

Not here: which rows (`milp`), and what the answer means (`solve`).
"""

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from reelgrid.errors import RequestError
from reelgrid.plan.offers.lease_yield import Yield, lease_yield
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.order import LeaseDemand, PeakWorkload
from reelgrid.plan.offers.speeds import OfferKind, OfferSpeeds, offer_kind

INFINITY = float("inf")

Group: TypeAlias = tuple[str, str]
"""A GPU and a place: what fails together."""

Topic: TypeAlias = Literal[
    "throughput", "trust", "survival", "provider", "zone", "count", "capacity", "pin"
]


@dataclass(frozen=True, slots=True, order=True)
class Constraint:
    """The name of a constraint: what it is about, and of whom."""

    topic: Topic
    subject: str


@dataclass(frozen=True)
class Problem:
    """Order, offers and speeds: all that a choice depends on."""

    order: LeaseDemand
    offers: tuple[Offer, ...]
    speeds: OfferSpeeds

    @cached_property
    def yields(self) -> tuple[Yield, ...]:
        """What one GPU of each offer yields and costs."""
        return tuple(lease_yield(offer, self.order.lease) for offer in self.offers)

    @cached_property
    def lease_usd_per_h(self) -> tuple[float, ...]:
        """Dollars an hour of one lease of each offer."""
        return tuple(
            offer.gpus_per_lease * each.usd_per_h
            for offer, each in zip(self.offers, self.yields, strict=True)
        )

    @cached_property
    def working_gpus(self) -> tuple[float, ...]:
        """GPUs at work, of those of one lease of each offer, on average at peak."""
        return tuple(
            offer.gpus_per_lease * each.working_share * self.order.lease.utilisation
            for offer, each in zip(self.offers, self.yields, strict=True)
        )

    @cached_property
    def kinds(self) -> tuple[OfferKind, ...]:
        """The kinds of offers that differ in speed or trust."""
        return tuple(dict.fromkeys(offer_kind(offer) for offer in self.offers))

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """What fails together."""
        return tuple(dict.fromkeys(group_of(offer) for offer in self.offers))

    @cached_property
    def rates(self) -> Mapping[tuple[OfferKind, str], float]:
        """Minutes an hour of a working GPU, where a kind can make a workload."""
        found = {
            (kind, job.name): self.speeds.best(kind, job)
            for kind in self.kinds
            for job in self.order.workloads
        }
        return {key: speed.minutes_per_gpu_hour for key, speed in found.items() if speed}


def group_of(offer: Offer) -> Group:
    """Return what an offer fails together with."""
    return (offer.gpu, offer.place)


Column: TypeAlias = tuple[object, ...]


@dataclass
class MilpRows:
    """Rows `low <= sum of coefficient * column <= high`, each with the rule that it is of."""

    columns: dict[Column, int] = field(default_factory=dict)
    coefficients: list[dict[int, float]] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    rules: list[Constraint] = field(default_factory=list)

    def add(
        self,
        rule: Constraint,
        terms: Mapping[Column, float],
        *,
        low: float = -INFINITY,
        high: float = INFINITY,
    ) -> None:
        """Add a row; columns that are new get a place."""
        places = {
            self.columns.setdefault(column, len(self.columns)): value
            for column, value in terms.items()
        }
        self.coefficients.append(places)
        self.lows.append(low)
        self.highs.append(high)
        self.rules.append(rule)


def build_rows(problem: Problem, groups: Iterable[Group] | None = None) -> MilpRows:
    """Return the rows of the problem; the first columns are the leases, in order of the offers.

    Args:
        problem: Order, offers and speeds.
        groups: Whose loss has to be survived; any of the problem's where none are given.
    """
    rows = _lease_rows(problem)
    _add_making(rows, problem, None, 1 + problem.order.limits.spare_share)
    if problem.order.limits.survive_share > 0:
        for group in problem.groups if groups is None else groups:
            _add_making(rows, problem, group, problem.order.limits.survive_share)
    _add_caps(rows, problem)
    return rows


def making_rows(problem: Problem, lost: Group | None) -> MilpRows:
    """Return the rows of work alone, with nothing lost or after a group is."""
    limits = problem.order.limits
    rows = _lease_rows(problem)
    _add_making(
        rows, problem, lost, 1 + limits.spare_share if lost is None else limits.survive_share
    )
    return rows


def _lease_rows(problem: Problem) -> MilpRows:
    rows = MilpRows()
    for index, offer in enumerate(problem.offers):
        rows.add(Constraint("count", offer.gpu), {("x", index): 1.0}, high=offer.num_leases)
    return rows


def _add_making(rows: MilpRows, problem: Problem, lost: Group | None, share: float) -> None:
    """Add that what is left after a group is lost makes a share of every workload's peak."""
    _add_capacity(rows, problem, lost)
    for job in problem.order.workloads:
        what = Constraint("throughput", job.name) if lost is None else survival_rule(lost)
        rows.add(what, _shares_made(problem, lost, job, problem.kinds), low=share)
        if job.trusted_share > 0:
            what = Constraint("trust", job.name) if lost is None else survival_rule(lost)
            trusted = [kind for kind in problem.kinds if kind[2]]
            made = _shares_made(problem, lost, job, trusted)
            rows.add(what, made, low=share * job.trusted_share)


def _shares_made(
    problem: Problem, lost: Group | None, job: PeakWorkload, kinds: Sequence[OfferKind]
) -> dict[Column, float]:
    """Return by column which share of a workload's peak one working GPU makes."""
    return {
        (lost, kind, job.name): problem.rates[kind, job.name] / job.minutes_per_h
        for kind in kinds
        if (kind, job.name) in problem.rates
    }


def survival_rule(group: Group) -> Constraint:
    """Return the name of having to survive the loss of a group."""
    return Constraint("survival", f"{group[0]} at {group[1]}")


def _add_capacity(rows: MilpRows, problem: Problem, lost: Group | None) -> None:
    """Add that no kind works more than its leases allow."""
    for kind in problem.kinds:
        terms: dict[Column, float] = {
            (lost, kind, job.name): 1.0
            for job in problem.order.workloads
            if (kind, job.name) in problem.rates
        }
        if not terms:
            continue
        for index, offer in enumerate(problem.offers):
            if offer_kind(offer) == kind and group_of(offer) != lost:
                terms["x", index] = -problem.working_gpus[index]
        rows.add(Constraint("capacity", kind[0]), terms, high=0.0)


def _add_caps(rows: MilpRows, problem: Problem) -> None:
    limits = problem.order.limits
    for provider in dict.fromkeys(offer.provider for offer in problem.offers):
        cap = limits.provider_cap(provider)
        own = [i for i, offer in enumerate(problem.offers) if offer.provider == provider]
        _add_cap(rows, problem.offers, Constraint("provider", provider), own, cap)
    for place in dict.fromkeys(offer.place for offer in problem.offers):
        own = [i for i, offer in enumerate(problem.offers) if offer.place == place]
        _add_cap(rows, problem.offers, Constraint("zone", place), own, limits.zone_cap(place))


def _add_cap(
    rows: MilpRows, offers: Sequence[Offer], rule: Constraint, own: Sequence[int], cap: int | None
) -> None:
    if cap is not None:
        rows.add(rule, {("x", i): float(offers[i].gpus_per_lease) for i in own}, high=cap)


OPTIMAL, LIMIT, INFEASIBLE = 0, 1, 2
"""States of SciPy's `milp`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverOptions:
    """How hard to look: until the gap is at most `gap`, or `time_limit_s` have passed."""

    gap: float = 1e-6
    time_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 <= self.gap < 1 and 0 < self.time_limit_s < float("inf")):
            raise RequestError(
                f"gap {self.gap} or time limit {self.time_limit_s} s is out of range: "
                "0 to 1, and above 0 s",
                param="time_limit",
            )


def solve(
    rows: MilpRows,
    costs: Sequence[float],
    counts: Sequence[int],
    without: Set[Constraint],
    effort: SolverOptions,
    *,
    counted: Constraint | None = None,
    fixed: bool = False,
) -> Any:
    """Return SciPy's answer: `status`, `x`, `fun`, `mip_dual_bound`.

    Args:
        rows: The rows; leases are the first columns and whole numbers.
        costs: Of every column.
        counts: Bounds of the leases.
        without: Rules to set aside.
        effort: When to stop.
        counted: The rule of counts whose rows are used beside the bounds.
        fixed: Whether the counts are the leases themselves.

    Raises:
        RequestError: SciPy is not installed.
    """
    try:
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ImportError:
        raise RequestError('choosing offers needs SciPy: pip install "reelgrid[plan]"') from None
    kept = [
        index
        for index, rule in enumerate(rows.rules)
        if rule not in without and (rule.topic != "count" or rule == counted)
    ]
    upper = np.full(len(costs), np.inf)
    upper[: len(counts)] = counts
    lower = np.where((np.arange(len(costs)) < len(counts)) & fixed, upper, 0.0)
    constraints = LinearConstraint(
        _matrix(rows, kept),
        np.array([rows.lows[index] for index in kept]),
        np.array([rows.highs[index] for index in kept]),
    )
    with _stdout_kept_clean():
        return milp(
            np.array(costs),
            integrality=(np.arange(len(costs)) < len(counts)).astype(int),
            bounds=Bounds(lower, upper),
            constraints=constraints,
            options={"time_limit": max(1e-3, effort.time_limit_s), "mip_rel_gap": effort.gap},
        )


@contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Throw away what HiGHS writes to stdout, past Python and in spite of its options.

    Seen with SciPy 1.17: "HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();"
    would stand before the answer's JSON.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # the process has no stdout
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        _flush_c_output()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _flush_c_output() -> None:
    """Write out what C's own buffers hold, where there is such a library to ask."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).fflush(None)


def _matrix(rows: MilpRows, kept: Sequence[int]) -> Any:
    from scipy.sparse import coo_array

    entries = [
        (value, at, column)
        for at, index in enumerate(kept)
        for column, value in rows.coefficients[index].items()
    ]
    values, at, column = zip(*entries, strict=True) if entries else ((), (), ())
    return coo_array((values, (at, column)), shape=(len(kept), len(rows.columns))).tocsc()
