"""Why no choice of offers meets a demand: a minimal infeasible set of constraints, in sentences.

First what no offer can do in any number (memory, promise, GPUs of a lease), then a minimal
infeasible set by the deletion filter (Chinneck & Dravnieks, ORSA Journal on Computing 3, 1991),
and for each of its members by how much it alone would have to be relaxed.
"""

from collections.abc import Iterable, Set

from reelgrid.plan.offers.demand import PeakWorkload
from reelgrid.plan.offers.milp import INFINITY, Constraint, LeaseProblem, SolverOptions, build_rows
from reelgrid.plan.offers.solve import cheapest_leases, smallest_violation
from reelgrid.plan.offers.speeds import OfferKind, OfferSpeed

_ROUNDING = 1e-6
"""Shares below this are the solver's rounding."""

_DROPPED_FIRST = ("zone", "provider", "survival", "count", "trust", "throughput")


def minimal_infeasible_set(problem: LeaseProblem, options: SolverOptions) -> tuple[Constraint, ...]:
    """Return constraints that cannot hold together; without any one of them there is a choice.

    Args:
        problem: One that has no solution.
        options: The time limit of each of the solutions; any feasible one will do.
    """
    quick = SolverOptions(gap=0.999, time_limit_s=options.time_limit_s)
    known = {each for each in build_rows(problem).constraints if each.topic in _DROPPED_FIRST}
    constraints = sorted(known, key=lambda each: (_DROPPED_FIRST.index(each.topic), each))
    dropped: set[Constraint] = set()
    for constraint in constraints:
        if cheapest_leases(problem, quick, without=dropped | {constraint}) is None:
            dropped.add(constraint)
    return tuple(each for each in reversed(constraints) if each not in dropped)


def explain_infeasible(
    problem: LeaseProblem, options: SolverOptions | None = None
) -> tuple[str, ...]:
    """Return sentences that say why there is no choice, for an infeasible problem."""
    options = options or SolverOptions()
    unable = [why for each in problem.demand.workloads for why in _why_unable(problem, each)]
    if unable:
        return tuple(unable)
    conflict = minimal_infeasible_set(problem, options)
    others = {each for each in build_rows(problem).constraints if each not in conflict}
    others -= {each for each in others if each.topic in {"capacity", "extra"}}
    return tuple(_sentence(problem, constraint, others, options) for constraint in conflict)


def _why_unable(problem: LeaseProblem, workload: PeakWorkload) -> Iterable[str]:
    """Yield why no offer, or no trusted one, makes a workload at all."""
    if not any((kind, workload.name) in problem.rates for kind in problem.kinds):
        yield _reason(problem, workload, problem.kinds, "offer")
    elif workload.trusted_share > 0:
        trusted = [kind for kind in problem.kinds if kind.is_trusted]
        if not trusted:
            yield (
                f"a trusted share of {workload.trusted_share:g} of {workload.name} needs trusted GPUs: "
                "none are offered"
            )
        elif not any((kind, workload.name) in problem.rates for kind in trusted):
            yield _reason(problem, workload, trusted, "trusted offer")


def _reason(
    problem: LeaseProblem, workload: PeakWorkload, kinds: Iterable[OfferKind], what: str
) -> str:
    ways = [(kind, speed) for kind in kinds for speed in problem.speeds.table[kind, workload.name]]
    made = f"{workload.model} at {workload.size}" if workload.size else workload.model
    if not ways:
        need = min(workload.gpus_per_clip)
        return (
            f"no {what} has the {need} GPUs in one lease that {workload.name} needs (gpus_per_clip)"
        )
    fitting = [(kind, speed) for kind, speed in ways if speed.fits]
    if not fitting:
        kind, best = max(ways, key=lambda way: way[1].usable_gib - (way[1].need_gib or 0.0))
        return (
            f"no {what} has the {best.need_gib or 0.0:.1f} GiB that {made} needs ({workload.name}): "
            f"the nearest, {_named(kind, best)}, has {best.usable_gib:.1f} GiB"
        )
    kind, fastest = min(fitting, key=lambda way: way[1].seconds)
    return (
        f"no {what} makes a clip of {workload.name} ({made}) within {workload.within_s:g} s: the fastest "
        f"that has the memory, {_named(kind, fastest)}, takes {fastest.seconds:.3g} s"
    )


def _named(kind: OfferKind, speed: OfferSpeed) -> str:
    return f"{speed.gpus_per_clip} x {kind.gpu}" if speed.gpus_per_clip > 1 else kind.gpu


def _sentence(
    problem: LeaseProblem, constraint: Constraint, others: Set[Constraint], options: SolverOptions
) -> str:
    """Return what a constraint of the conflict requires, and what would be possible instead."""
    violation = smallest_violation(problem, constraint, others, options)
    limits, subject = problem.demand.limits, constraint.subject
    if constraint.topic == "throughput":
        return _throughput_sentence(problem, subject, violation)
    if constraint.topic == "trust":
        return _trust_sentence(problem, subject, violation)
    if constraint.topic == "survival":
        possible = max(0.0, limits.survive_share - violation)
        return (
            f"{limits.survive_share:.0%} of the peak has to survive the loss of all {subject}, "
            f"{possible:.1%} can"
        )
    if constraint.topic == "count":
        count = sum(offer.count for offer in problem.offers if offer.gpu == subject)
        return f"{count:,} {subject} are offered{_more(violation, 'lease', 'more of each offer')}"
    cap = limits.cap(constraint.topic, subject)
    return (
        f"at most {cap} GPU{'s' * (cap != 1)} of {constraint.topic} {subject} are allowed"
        f"{_more(violation, 'GPU', 'more')}"
    )


def _throughput_sentence(problem: LeaseProblem, name: str, violation: float) -> str:
    workload = _workload(problem, name)
    required = 1 + problem.demand.limits.spare_share
    share = max(0.0, required - violation)
    made = f"{workload.minutes_per_h * share:.4g}"
    if share < _ROUNDING and any(offer.num_leases for offer in problem.offers):
        made = "less than a millionth of that"
    return f"{workload.minutes_per_h * required:g} minutes/h of {name} are required at peak, {made} can be made"


def _workload(problem: LeaseProblem, name: str) -> PeakWorkload:
    return next(each for each in problem.demand.workloads if each.name == name)


def _trust_sentence(problem: LeaseProblem, name: str, violation: float) -> str:
    workload = _workload(problem, name)
    required = workload.trusted_share * (1 + problem.demand.limits.spare_share)
    offered = sum(offer.count for offer in problem.offers if offer.is_trusted)
    possible = max(0.0, required - violation)
    need = f"about {offered * required / possible:,.0f}" if possible > 1e-9 else "more"
    return (
        f"a trusted share of {workload.trusted_share:g} of {name} needs {need} trusted GPUs, "
        f"{offered:,} are offered"
    )


def _more(violation: float, unit: str, what: str) -> str:
    """Return how much more would do; whole numbers, since leases and GPUs are."""
    if violation == INFINITY or violation <= 0:
        return ""
    count = int(violation + 1 - 1e-6)
    return f" (with {count:,} {unit}{'s' * (count != 1)} {what} it could be done)"
