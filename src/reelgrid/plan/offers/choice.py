"""The whole answer to "which offers to take": the choice, its doubt, what binds, what to compare.

Not here: how it is shown (`tables`, `page`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reelgrid.errors import PlanError
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.offers.infeasible import explain_infeasible
from reelgrid.plan.offers.milp import Problem, SolverOptions
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.order import LeaseDemand
from reelgrid.plan.offers.sensitivity import (
    BindingConstraint,
    LeaseChange,
    binding_constraints,
    lease_changes,
)
from reelgrid.plan.offers.solve import LeasePlan, cheapest_leases, greedy_cost
from reelgrid.plan.offers.speeds import named, offer_speeds

SURENESSES = (0.1, 0.5, 0.9)
"""How sure predicted times are to hold, for which the choice is made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to lease, and what that rests on.

    Attributes:
        problem: What was solved.
        mix: The cheapest leases.
        levers: The constraints that cost something, dearest first.
        not_examined: Constraints for which there was no time.
        kinds: What one lease more or less of each GPU would change.
        usd_per_h_by_sureness: Cost of the best choice where times are predicted that hold with
            this probability; none where there is then no choice.
        greedy_usd_per_h: What the cheapest-first choice costs; none where it finds none.
    """

    problem: Problem
    mix: LeasePlan
    levers: tuple[BindingConstraint, ...]
    not_examined: tuple[str, ...]
    kinds: tuple[LeaseChange, ...]
    usd_per_h_by_sureness: tuple[tuple[float, float | None], ...]
    greedy_usd_per_h: float | None

    @property
    def minutes_per_h(self) -> float:
        """Minutes of video an hour on average, all workloads together."""
        return sum(job.minutes_per_h * job.mean_to_peak for job in self.problem.order.workloads)

    @property
    def usd_per_minute(self) -> float:
        """Dollars for each minute that is made on average: idle hours are in it."""
        return self.mix.usd_per_h / self.minutes_per_h

    @property
    def num_gpus(self) -> int:
        """GPUs that are leased."""
        return sum(
            count * offer.gpus_per_lease
            for count, offer in zip(self.mix.leases, self.problem.offers, strict=True)
        )


def problem_of(order: LeaseDemand, offers: Sequence[Offer], facts: Facts) -> Problem:
    """Return order, offers and their speeds.

    Raises:
        RequestError: A GPU or a model is unknown, or a model cannot make a workload.
    """
    known = named(offers, facts)
    return Problem(order, known, offer_speeds(order, known, facts))


def choose(
    order: LeaseDemand,
    offers: Sequence[Offer],
    facts: Facts,
    effort: SolverOptions | None = None,
    tell: Callable[[str], None] | None = None,
) -> Choice:
    """Return the cheapest choice with all that is to be said of it.

    Args:
        order: What is wanted.
        offers: What can be leased.
        facts: Hardware, architectures and measurements.
        effort: How hard to look at each of the solutions.
        tell: Is told what is being looked at.

    Raises:
        RequestError: Order and offers do not go together.
        PlanError: No choice does what the order asks; the message says which constraints clash.
    """
    effort = effort or SolverOptions()
    problem = problem_of(order, offers, facts)
    mix = cheapest_leases(problem, effort)
    if mix is None:
        reasons = explain_infeasible(problem, effort)
        raise PlanError(f"{order.title}: impossible: " + "; and ".join(reasons))
    kinds, kinds_skipped = lease_changes(problem, mix, effort, tell)
    levers, skipped = binding_constraints(problem, mix, effort, effort.time_limit_s, tell)
    return Choice(
        problem=problem,
        mix=mix,
        levers=levers,
        not_examined=skipped + kinds_skipped,
        kinds=kinds,
        usd_per_h_by_sureness=tuple(
            (sureness, _cost_when(sureness, order, offers, facts, effort))
            for sureness in SURENESSES
        ),
        greedy_usd_per_h=greedy_cost(problem),
    )


def _cost_when(
    sureness: float,
    order: LeaseDemand,
    offers: Sequence[Offer],
    facts: Facts,
    effort: SolverOptions,
) -> float | None:
    other = cheapest_leases(problem_of(replace(order, sureness=sureness), offers, facts), effort)
    return other.usd_per_h if other else None
