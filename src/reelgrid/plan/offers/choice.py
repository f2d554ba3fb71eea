"""The answer to "which offers to lease": the choice, its uncertainty, its sensitivity, a baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reelgrid.errors import PlanError
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.offers.demand import LeaseDemand
from reelgrid.plan.offers.infeasible import explain_infeasible
from reelgrid.plan.offers.milp import LeaseProblem, SolverOptions
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.sensitivity import (
    BindingConstraint,
    LeaseChange,
    binding_constraints,
    lease_changes,
)
from reelgrid.plan.offers.solve import LeasePlan, cheapest_leases, greedy_cost
from reelgrid.plan.offers.speeds import offer_speeds, with_known_names

CONFIDENCES = (0.1, 0.5, 0.9)
"""Probabilities with which predicted times hold, for each of which offers are chosen again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to lease, and the problem, bounds and sensitivities behind it.

    Attributes:
        problem: What was solved.
        plan: The cheapest leases.
        binding: The constraints that cost something, dearest first.
        not_examined: Constraints for which there was no time.
        changes: What one lease more or less of each GPU would change.
        usd_per_h_by_confidence: Cost of the best choice where times are predicted that hold with
            this probability; `None` where there is no choice.
        greedy_usd_per_h: What the cheapest-first choice costs; `None` where it gets stuck.
    """

    problem: LeaseProblem
    plan: LeasePlan
    binding: tuple[BindingConstraint, ...]
    not_examined: tuple[str, ...]
    changes: tuple[LeaseChange, ...]
    usd_per_h_by_confidence: tuple[tuple[float, float | None], ...]
    greedy_usd_per_h: float | None

    @property
    def minutes_per_h(self) -> float:
        """Minutes of video an hour on average, all workloads together."""
        return sum(
            workload.minutes_per_h * workload.mean_to_peak
            for workload in self.problem.demand.workloads
        )

    @property
    def usd_per_minute(self) -> float:
        """Dollars for each minute that is made on average: idle hours are in it."""
        return self.plan.usd_per_h / self.minutes_per_h

    @property
    def num_gpus(self) -> int:
        """GPUs that are leased."""
        return sum(
            count * offer.gpus_per_lease
            for count, offer in zip(self.plan.leases, self.problem.offers, strict=True)
        )


def lease_problem(demand: LeaseDemand, offers: Sequence[Offer], facts: Facts) -> LeaseProblem:
    """Return demand, offers and their speeds.

    Raises:
        RequestError: A GPU or a model is unknown, or a model cannot make a workload.
    """
    known = with_known_names(offers, facts)
    return LeaseProblem(demand, known, offer_speeds(demand, known, facts))


def choose(
    demand: LeaseDemand,
    offers: Sequence[Offer],
    facts: Facts,
    options: SolverOptions | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Choice:
    """Return the cheapest choice, what it depends on, and a baseline to compare it with.

    Args:
        demand: What the leases are for.
        offers: What can be leased.
        facts: Hardware, architectures and measurements.
        options: When to stop, for each of the solutions.
        on_progress: Called with what is examined next.

    Raises:
        RequestError: Demand and offers do not go together.
        PlanError: No choice meets the demand; the message says which constraints conflict.
    """
    options = options or SolverOptions()
    problem = lease_problem(demand, offers, facts)
    plan = cheapest_leases(problem, options)
    if plan is None:
        reasons = explain_infeasible(problem, options)
        raise PlanError(f"{demand.title}: infeasible: " + "; and ".join(reasons))
    changes, changes_skipped = lease_changes(problem, plan, options, on_progress)
    binding, skipped = binding_constraints(
        problem, plan, options, options.time_limit_s, on_progress
    )
    return Choice(
        problem=problem,
        plan=plan,
        binding=binding,
        not_examined=skipped + changes_skipped,
        changes=changes,
        usd_per_h_by_confidence=tuple(
            (confidence, _cost_when(confidence, demand, offers, facts, options))
            for confidence in CONFIDENCES
        ),
        greedy_usd_per_h=greedy_cost(problem),
    )


def _cost_when(
    confidence: float,
    demand: LeaseDemand,
    offers: Sequence[Offer],
    facts: Facts,
    options: SolverOptions,
) -> float | None:
    other = cheapest_leases(
        lease_problem(replace(demand, confidence=confidence), offers, facts), options
    )
    return other.usd_per_h if other else None
