"""The choice of offers as a mixed-integer linear programme: variables, rows, and a name for each.

Whole numbers `x[o]` are leases of offer `o`; `y[k, w] >= 0` are GPUs of kind `k` at work on
workload `w`, and `y[g, k, w]` the same after the group `g`, one kind of GPU in one zone, is lost.
`docs/offers.md` writes the rows out. `solve` gives the rows to HiGHS.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from reelgrid.errors import PlanError, RequestError
from reelgrid.plan.offers.demand import LeaseDemand, PeakWorkload
from reelgrid.plan.offers.lease_yield import LeaseYield, lease_yield
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.speeds import OfferKind, OfferSpeeds, offer_kind

INFINITY = float("inf")

Topic: TypeAlias = Literal[
    "throughput", "trust", "survival", "provider", "zone", "count", "capacity", "extra"
]


class FailureGroup(NamedTuple):
    """GPUs of one kind in one zone of a provider: they are lost together."""

    gpu: str
    zone: str


class Constraint(NamedTuple):
    """The name of a constraint: what it is about, and of whom."""

    topic: Topic
    subject: str


@dataclass(frozen=True)
class LeaseProblem:
    """Demand, offers and speeds: all that a choice depends on."""

    demand: LeaseDemand
    offers: tuple[Offer, ...]
    speeds: OfferSpeeds

    @cached_property
    def yields(self) -> tuple[LeaseYield, ...]:
        """What one GPU of each offer yields and costs."""
        return tuple(lease_yield(offer, self.demand.lease) for offer in self.offers)

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
            offer.gpus_per_lease * each.working_share * self.demand.lease.utilisation
            for offer, each in zip(self.offers, self.yields, strict=True)
        )

    @cached_property
    def kinds(self) -> tuple[OfferKind, ...]:
        """The kinds of offers that differ in speed or trust."""
        return tuple(dict.fromkeys(offer_kind(offer) for offer in self.offers))

    @cached_property
    def groups(self) -> tuple[FailureGroup, ...]:
        """What fails together."""
        return tuple(dict.fromkeys(failure_group(offer) for offer in self.offers))

    @cached_property
    def rates(self) -> Mapping[tuple[OfferKind, str], float]:
        """Minutes an hour of a working GPU, where a kind can make a workload."""
        found = {
            (kind, workload.name): self.speeds.best(kind, workload)
            for kind in self.kinds
            for workload in self.demand.workloads
        }
        return {key: speed.minutes_per_gpu_hour for key, speed in found.items() if speed}


def failure_group(offer: Offer) -> FailureGroup:
    """Return the group that an offer fails with."""
    return FailureGroup(offer.gpu, offer.provider_zone)


class LeaseColumn(NamedTuple):
    """Leases of one offer: whole numbers."""

    offer: int


class WorkColumn(NamedTuple):
    """GPUs of one kind at work on one workload, while a group is lost or nothing is."""

    lost: FailureGroup | None
    kind: OfferKind
    workload: str


class ViolationColumn(NamedTuple):
    """By how much `constraint` may be broken."""

    constraint: Constraint


MilpColumn: TypeAlias = LeaseColumn | WorkColumn | ViolationColumn


@dataclass
class MilpRows:
    """Rows `low <= sum of coefficient * column <= high`, each with the constraint that it is of."""

    columns: dict[MilpColumn, int] = field(default_factory=dict)
    coefficients: list[dict[int, float]] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)

    def add(
        self,
        constraint: Constraint,
        terms: Mapping[MilpColumn, float],
        *,
        low: float = -INFINITY,
        high: float = INFINITY,
    ) -> None:
        """Add a row; new columns are numbered on."""
        numbered = {
            self.columns.setdefault(column, len(self.columns)): value
            for column, value in terms.items()
        }
        self.coefficients.append(numbered)
        self.lows.append(low)
        self.highs.append(high)
        self.constraints.append(constraint)


def build_rows(problem: LeaseProblem, groups: Iterable[FailureGroup] | None = None) -> MilpRows:
    """Return the rows of the problem; the first columns are the leases, in order of the offers.

    Args:
        problem: Demand, offers and speeds.
        groups: Whose loss has to be survived; `None` is every group of the problem.
    """
    rows = _lease_rows(problem)
    _add_production(rows, problem, None, 1 + problem.demand.limits.spare_share)
    if problem.demand.limits.survive_share > 0:
        for group in problem.groups if groups is None else groups:
            _add_production(rows, problem, group, problem.demand.limits.survive_share)
    _add_caps(rows, problem)
    return rows


def production_rows(problem: LeaseProblem, lost: FailureGroup | None) -> MilpRows:
    """Return the rows of production alone, with nothing lost or after a group is."""
    limits = problem.demand.limits
    rows = _lease_rows(problem)
    _add_production(
        rows, problem, lost, 1 + limits.spare_share if lost is None else limits.survive_share
    )
    return rows


def _lease_rows(problem: LeaseProblem) -> MilpRows:
    rows = MilpRows()
    for index, offer in enumerate(problem.offers):
        rows.add(Constraint("count", offer.gpu), {LeaseColumn(index): 1.0}, high=offer.num_leases)
    return rows


def _add_production(
    rows: MilpRows, problem: LeaseProblem, lost: FailureGroup | None, share: float
) -> None:
    """Add that what is left after a group is lost makes a share of every workload's peak."""
    _add_capacity(rows, problem, lost)
    for workload in problem.demand.workloads:
        what = (
            Constraint("throughput", workload.name) if lost is None else survival_constraint(lost)
        )
        rows.add(what, _shares_made(problem, lost, workload, problem.kinds), low=share)
        if workload.trusted_share > 0:
            what = Constraint("trust", workload.name) if lost is None else survival_constraint(lost)
            trusted = [kind for kind in problem.kinds if kind.is_trusted]
            made = _shares_made(problem, lost, workload, trusted)
            rows.add(what, made, low=share * workload.trusted_share)


def _shares_made(
    problem: LeaseProblem,
    lost: FailureGroup | None,
    workload: PeakWorkload,
    kinds: Sequence[OfferKind],
) -> dict[MilpColumn, float]:
    """Return by column which share of a workload's peak one working GPU makes."""
    return {
        WorkColumn(lost, kind, workload.name): problem.rates[kind, workload.name]
        / workload.minutes_per_h
        for kind in kinds
        if (kind, workload.name) in problem.rates
    }


def survival_constraint(group: FailureGroup) -> Constraint:
    """Return the name of having to survive the loss of a group."""
    return Constraint("survival", f"{group.gpu} at {group.zone}")


def _add_capacity(rows: MilpRows, problem: LeaseProblem, lost: FailureGroup | None) -> None:
    """Add that no kind works more than its leases allow."""
    for kind in problem.kinds:
        terms: dict[MilpColumn, float] = {
            WorkColumn(lost, kind, workload.name): 1.0
            for workload in problem.demand.workloads
            if (kind, workload.name) in problem.rates
        }
        if not terms:
            continue
        for index, offer in enumerate(problem.offers):
            if offer_kind(offer) == kind and failure_group(offer) != lost:
                terms[LeaseColumn(index)] = -problem.working_gpus[index]
        rows.add(Constraint("capacity", kind.gpu), terms, high=0.0)


def _add_caps(rows: MilpRows, problem: LeaseProblem) -> None:
    owners: tuple[tuple[Topic, list[str]], ...] = (
        ("provider", [offer.provider for offer in problem.offers]),
        ("zone", [offer.provider_zone for offer in problem.offers]),
    )
    for topic, names in owners:
        for name in dict.fromkeys(names):
            cap = problem.demand.limits.cap(topic, name)
            terms: dict[MilpColumn, float] = {
                LeaseColumn(i): float(offer.gpus_per_lease)
                for i, offer in enumerate(problem.offers)
                if names[i] == name
            }
            if cap is not None:
                rows.add(Constraint(topic, name), terms, high=cap)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolverOptions:
    """When the solver stops: the gap is at most `gap`, or `time_limit_s` have passed."""

    gap: float = 1e-6
    time_limit_s: float = 60.0

    def __post_init__(self) -> None:
        if not (0 <= self.gap < 1 and 0 < self.time_limit_s < float("inf")):
            raise RequestError(
                f"gap {self.gap} or time limit {self.time_limit_s} s is out of range: "
                "0 to 1, and above 0 s",
                param="time_limit",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MilpSolution:
    """What HiGHS found.

    Attributes:
        status: `time_limit`: a solution without proof, or no solution.
        columns: Values of the columns; empty where no solution was found.
        cost: Of the solution.
        bound: No solution costs less.
    """

    status: Literal["optimal", "infeasible", "time_limit"]
    columns: tuple[float, ...]
    cost: float
    bound: float


def solve(
    rows: MilpRows,
    costs: Sequence[float],
    counts: Sequence[int],
    without: Set[Constraint],
    options: SolverOptions,
    *,
    counted: Constraint | None = None,
    fixed: bool = False,
    start: Sequence[int] = (),
) -> MilpSolution:
    """Return the cheapest values of the columns that keep the rows, found by HiGHS.

    Args:
        rows: The rows; leases are the first columns and whole numbers.
        costs: Of every column.
        counts: Bounds of the leases.
        without: Constraints to set aside.
        options: When to stop.
        counted: The constraint of counts whose rows are used beside the bounds.
        fixed: Whether the counts are the leases themselves.
        start: Leases to begin the search with, where such are known to be good.

    Raises:
        RequestError: `highspy` is not installed.
        PlanError: HiGHS gave up for another reason than time.
    """
    try:
        import highspy
    except ImportError:
        raise RequestError('choosing offers needs highspy: pip install "reelgrid[plan]"') from None
    kept = [
        index
        for index, constraint in enumerate(rows.constraints)
        if constraint not in without and (constraint.topic != "count" or constraint == counted)
    ]
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("time_limit", max(1e-3, options.time_limit_s))
    highs.setOptionValue("mip_rel_gap", options.gap)
    highs.passModel(_highs_model(rows, kept, costs, counts, fixed=fixed))
    if start:
        highs.setSolution(len(start), np.arange(len(start), dtype=np.int32), np.array(start, float))
    highs.run()
    return _solution(highs)


def _highs_model(
    rows: MilpRows,
    kept: Sequence[int],
    costs: Sequence[float],
    counts: Sequence[int],
    *,
    fixed: bool,
) -> Any:
    """Return the rows that are kept as HiGHS has them, by row."""
    import highspy

    others = len(costs) - len(counts)
    model = highspy.HighsLp()
    model.num_col_, model.num_row_ = len(costs), len(kept)
    model.col_cost_ = np.array(costs, dtype=np.float64)
    model.col_lower_ = np.array([*(counts if fixed else [0] * len(counts)), *[0.0] * others], float)
    model.col_upper_ = np.array([*counts, *[INFINITY] * others], dtype=np.float64)
    model.integrality_ = [highspy.HighsVarType.kInteger] * len(counts) + [
        highspy.HighsVarType.kContinuous
    ] * others
    model.row_lower_ = np.array([rows.lows[index] for index in kept], dtype=np.float64)
    model.row_upper_ = np.array([rows.highs[index] for index in kept], dtype=np.float64)
    entries = [rows.coefficients[index] for index in kept]
    matrix = model.a_matrix_
    matrix.format_ = highspy.MatrixFormat.kRowwise
    matrix.start_ = np.cumsum([0, *map(len, entries)], dtype=np.int32)
    matrix.index_ = np.array([column for row in entries for column in row], dtype=np.int32)
    matrix.value_ = np.array([value for row in entries for value in row.values()], np.float64)
    return model


def _solution(highs: Any) -> MilpSolution:
    import highspy

    known: dict[object, Literal["optimal", "infeasible", "time_limit"]] = {
        highspy.HighsModelStatus.kOptimal: "optimal",
        highspy.HighsModelStatus.kModelEmpty: "optimal",
        highspy.HighsModelStatus.kInfeasible: "infeasible",
        highspy.HighsModelStatus.kUnboundedOrInfeasible: "infeasible",  # costs are not negative
        highspy.HighsModelStatus.kTimeLimit: "time_limit",
    }
    status = known.get(highs.getModelStatus())
    if status is None:
        raise PlanError(f"HiGHS stopped: {highs.modelStatusToString(highs.getModelStatus())}")
    info = highs.getInfo()
    has_solution = info.primal_solution_status == highspy.kSolutionStatusFeasible
    return MilpSolution(
        status=status,
        columns=tuple(highs.getSolution().col_value) if has_solution else (),
        cost=info.objective_function_value,
        bound=info.mip_dual_bound,
    )
