"""The choice of offers as a mixed-integer linear programme: variables, rows, and a name for each.

Whole numbers `x[o]` are leases of offer `o`; `y[k, w] >= 0` are GPUs of kind `k` at work on
workload `w`, and `y[g, k, w]` the same after the group `g`, one kind of GPU in one zone, is lost.
`docs/offers.md` writes the rows out. Not here: solving (`mix`), and what a lease yields (`leasing`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

from reelgrid.plan.leasing import Yield, lease_yield
from reelgrid.plan.offers import Offer
from reelgrid.plan.order import Job, Order
from reelgrid.plan.suitability import Kind, Speeds, kind_of

INFINITY = float("inf")

Group: TypeAlias = tuple[str, str]
"""A GPU and a place: what fails together."""

Topic: TypeAlias = Literal[
    "throughput", "trust", "survival", "provider", "zone", "count", "capacity", "pin"
]


@dataclass(frozen=True, slots=True, order=True)
class Rule:
    """The name of a constraint: what it is about, and of whom."""

    topic: Topic
    subject: str


@dataclass(frozen=True)
class Problem:
    """Order, offers and speeds: all that a choice depends on."""

    order: Order
    offers: tuple[Offer, ...]
    speeds: Speeds

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
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of offers that differ in speed or trust."""
        return tuple(dict.fromkeys(kind_of(offer) for offer in self.offers))

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """What fails together."""
        return tuple(dict.fromkeys(group_of(offer) for offer in self.offers))

    @cached_property
    def rates(self) -> Mapping[tuple[Kind, str], float]:
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
class Rows:
    """Rows `low <= sum of coefficient * column <= high`, each with the rule that it is of."""

    columns: dict[Column, int] = field(default_factory=dict)
    coefficients: list[dict[int, float]] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)

    def add(
        self,
        rule: Rule,
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


def build_rows(problem: Problem, groups: Iterable[Group] | None = None) -> Rows:
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


def making_rows(problem: Problem, lost: Group | None) -> Rows:
    """Return the rows of work alone, with nothing lost or after a group is."""
    limits = problem.order.limits
    rows = _lease_rows(problem)
    _add_making(
        rows, problem, lost, 1 + limits.spare_share if lost is None else limits.survive_share
    )
    return rows


def _lease_rows(problem: Problem) -> Rows:
    rows = Rows()
    for index, offer in enumerate(problem.offers):
        rows.add(Rule("count", offer.gpu), {("x", index): 1.0}, high=offer.num_leases)
    return rows


def _add_making(rows: Rows, problem: Problem, lost: Group | None, share: float) -> None:
    """Add that what is left after a group is lost makes a share of every workload's peak."""
    _add_capacity(rows, problem, lost)
    for job in problem.order.workloads:
        what = Rule("throughput", job.name) if lost is None else survival_rule(lost)
        rows.add(what, _shares_made(problem, lost, job, problem.kinds), low=share)
        if job.trusted_share > 0:
            what = Rule("trust", job.name) if lost is None else survival_rule(lost)
            trusted = [kind for kind in problem.kinds if kind[2]]
            made = _shares_made(problem, lost, job, trusted)
            rows.add(what, made, low=share * job.trusted_share)


def _shares_made(
    problem: Problem, lost: Group | None, job: Job, kinds: Sequence[Kind]
) -> dict[Column, float]:
    """Return by column which share of a workload's peak one working GPU makes."""
    return {
        (lost, kind, job.name): problem.rates[kind, job.name] / job.minutes_per_h
        for kind in kinds
        if (kind, job.name) in problem.rates
    }


def survival_rule(group: Group) -> Rule:
    """Return the name of having to survive the loss of a group."""
    return Rule("survival", f"{group[0]} at {group[1]}")


def _add_capacity(rows: Rows, problem: Problem, lost: Group | None) -> None:
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
            if kind_of(offer) == kind and group_of(offer) != lost:
                terms["x", index] = -problem.working_gpus[index]
        rows.add(Rule("capacity", kind[0]), terms, high=0.0)


def _add_caps(rows: Rows, problem: Problem) -> None:
    limits = problem.order.limits
    for provider in dict.fromkeys(offer.provider for offer in problem.offers):
        cap = limits.provider_cap(provider)
        own = [i for i, offer in enumerate(problem.offers) if offer.provider == provider]
        _add_cap(rows, problem.offers, Rule("provider", provider), own, cap)
    for place in dict.fromkeys(offer.place for offer in problem.offers):
        own = [i for i, offer in enumerate(problem.offers) if offer.place == place]
        _add_cap(rows, problem.offers, Rule("zone", place), own, limits.zone_cap(place))


def _add_cap(
    rows: Rows, offers: Sequence[Offer], rule: Rule, own: Sequence[int], cap: int | None
) -> None:
    if cap is not None:
        rows.add(rule, {("x", i): float(offers[i].gpus_per_lease) for i in own}, high=cap)
