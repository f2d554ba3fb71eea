"""The cheapest leases that do what an order asks: solved with SciPy's HiGHS.

Not here: the rows (`rows`), what binds (`levers`), and why nothing does (`impossible`).
"""

import ctypes
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from reelgrid.errors import PlanError, RequestError
from reelgrid.plan.rows import INFINITY, Column, Problem, Rows, Rule, build_rows
from reelgrid.plan.suitability import Kind

UNLIMITED = 1_000_000
"""Leases of an offer where its count is set aside."""

_OPTIMAL, _LIMIT, _INFEASIBLE = 0, 1, 2  # states of SciPy's milp


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
    work: Mapping[tuple[Kind, str], float]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
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


def cheapest_mix(
    problem: Problem,
    effort: Effort | None = None,
    *,
    without: Set[Rule] = frozenset(),
    pins: Sequence[tuple[Mapping[Column, float], float, float]] = (),
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
    rows = build_rows(problem)
    for terms, low, high in pins:
        rows.add(Rule("pin", ""), terms, low=low, high=high)
    found = _solve(rows, _costs(problem, rows), _counts(problem, without), without, effort)
    if found.status == _INFEASIBLE:
        return None
    if found.x is None:
        raise PlanError(
            f"no choice was found in {effort.time_limit_s:g} s: allow more with --time-limit"
        )
    return _mix(problem, rows, found, time.perf_counter() - begun_s)


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
    found = _solve(rows, costs, counts, without, effort, counted=rule)
    return INFINITY if found.x is None else float(found.fun)


def _counts(problem: Problem, without: Set[Rule]) -> list[int]:
    return [
        UNLIMITED if Rule("count", offer.gpu) in without else offer.num_leases
        for offer in problem.offers
    ]


def _costs(problem: Problem, rows: Rows) -> list[float]:
    others = len(rows.columns) - len(problem.offers)
    return [*problem.lease_usd_per_h, *[0.0] * others]


def _solve(
    rows: Rows,
    costs: Sequence[float],
    counts: Sequence[int],
    without: Set[Rule],
    effort: Effort,
    counted: Rule | None = None,
) -> Any:
    """Return SciPy's answer; counts are bounds, but those of the rule `counted` are rows."""
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
    constraints = LinearConstraint(
        _matrix(rows, kept),
        np.array([rows.lows[index] for index in kept]),
        np.array([rows.highs[index] for index in kept]),
    )
    with _stdout_kept_clean():
        return milp(
            np.array(costs),
            integrality=(np.arange(len(costs)) < len(counts)).astype(int),
            bounds=Bounds(np.zeros(len(costs)), upper),
            constraints=constraints,
            options={"time_limit": effort.time_limit_s, "mip_rel_gap": effort.gap},
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


def _matrix(rows: Rows, kept: Sequence[int]) -> Any:
    from scipy.sparse import coo_array

    entries = [
        (value, at, column)
        for at, index in enumerate(kept)
        for column, value in rows.coefficients[index].items()
    ]
    values, at, column = zip(*entries, strict=True) if entries else ((), (), ())
    return coo_array((values, (at, column)), shape=(len(kept), len(rows.columns))).tocsc()


def _mix(problem: Problem, rows: Rows, found: Any, solve_s: float) -> Mix:
    leases = tuple(round(float(value)) for value in found.x[: len(problem.offers)])
    cost = sum(count * usd for count, usd in zip(leases, problem.lease_usd_per_h, strict=True))
    bound = float(found.mip_dual_bound) if found.mip_dual_bound is not None else 0.0
    work = {
        (kind, job.name): float(found.x[rows.columns[None, kind, job.name]])
        for kind in problem.kinds
        for job in problem.order.workloads
        if (kind, job.name) in problem.rates
    }
    return Mix(
        leases=leases,
        work=work,
        usd_per_h=cost,
        bound_usd_per_h=min(bound, cost),
        has_proof=found.status == _OPTIMAL,
        solve_s=solve_s,
    )
