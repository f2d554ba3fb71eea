"""Rows given to SciPy's HiGHS, and its answer.

Not here: which rows (`rows`), and what the answer means (`mix`).
"""

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from reelgrid.errors import RequestError
from reelgrid.plan.rows import Rows, Rule

OPTIMAL, LIMIT, INFEASIBLE = 0, 1, 2
"""States of SciPy's `milp`."""


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


def solve(
    rows: Rows,
    costs: Sequence[float],
    counts: Sequence[int],
    without: Set[Rule],
    effort: Effort,
    *,
    counted: Rule | None = None,
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


def _matrix(rows: Rows, kept: Sequence[int]) -> Any:
    from scipy.sparse import coo_array

    entries = [
        (value, at, column)
        for at, index in enumerate(kept)
        for column, value in rows.coefficients[index].items()
    ]
    values, at, column = zip(*entries, strict=True) if entries else ((), (), ())
    return coo_array((values, (at, column)), shape=(len(kept), len(rows.columns))).tocsc()
