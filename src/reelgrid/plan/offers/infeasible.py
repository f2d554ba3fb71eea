"""Why no choice of offers does what an order asks: a smallest set of constraints that clash.

First what no offer can do at any number (memory, promise, GPUs of a lease), then a minimal
infeasible set by the deletion filter (Chinneck & Dravnieks, ORSA Journal on Computing 3, 1991),
and for each of its members by how much it alone would have to give way.
"""

from collections.abc import Iterable, Set

from reelgrid.plan.offers.milp import INFINITY, Constraint, Problem, SolverOptions, build_rows
from reelgrid.plan.offers.order import PeakWorkload
from reelgrid.plan.offers.solve import cheapest_leases, smallest_violation
from reelgrid.plan.offers.speeds import OfferKind, OfferSpeed

_TELLABLE = 1e-6
"""Shares below this are the solver's rounding."""

_DROPPED_FIRST = ("zone", "provider", "survival", "count", "trust", "throughput")


def minimal_infeasible_set(problem: Problem, effort: SolverOptions) -> tuple[Constraint, ...]:
    """Return rules that cannot hold together, while any of them left out leaves a choice.

    Args:
        problem: One that has no solution.
        effort: The time limit of each of the solutions; any feasible one will do.
    """
    quick = SolverOptions(gap=0.999, time_limit_s=effort.time_limit_s)
    known = {rule for rule in build_rows(problem).rules if rule.topic in _DROPPED_FIRST}
    rules = sorted(known, key=lambda rule: (_DROPPED_FIRST.index(rule.topic), rule))
    dropped: set[Constraint] = set()
    for rule in rules:
        if cheapest_leases(problem, quick, without=dropped | {rule}) is None:
            dropped.add(rule)
    return tuple(rule for rule in reversed(rules) if rule not in dropped)


def explain_infeasible(problem: Problem, effort: SolverOptions | None = None) -> tuple[str, ...]:
    """Return sentences that say why there is no choice, for a problem that has none."""
    effort = effort or SolverOptions()
    unable = [sentence for job in problem.order.workloads for sentence in _why_unable(problem, job)]
    if unable:
        return tuple(unable)
    clash = minimal_infeasible_set(problem, effort)
    others = {rule for rule in build_rows(problem).rules if rule not in clash}
    others -= {rule for rule in others if rule.topic in {"capacity", "pin"}}
    return tuple(_sentence(problem, rule, others, effort) for rule in clash)


def _why_unable(problem: Problem, job: PeakWorkload) -> Iterable[str]:
    """Yield why no offer, or no trusted one, makes a workload at all."""
    if not any((kind, job.name) in problem.rates for kind in problem.kinds):
        yield _reason(problem, job, problem.kinds, "offer")
    elif job.trusted_share > 0:
        trusted = [kind for kind in problem.kinds if kind[2]]
        if not trusted:
            yield (
                f"a trusted share of {job.trusted_share:g} of {job.name} needs trusted GPUs: "
                "none are offered"
            )
        elif not any((kind, job.name) in problem.rates for kind in trusted):
            yield _reason(problem, job, trusted, "trusted offer")


def _reason(problem: Problem, job: PeakWorkload, kinds: Iterable[OfferKind], what: str) -> str:
    ways = [(kind, speed) for kind in kinds for speed in problem.speeds.table[kind, job.name]]
    made = f"{job.model} at {job.size}" if job.size else job.model
    if not ways:
        need = min(job.gpus_per_clip)
        return f"no {what} has the {need} GPUs in one lease that {job.name} needs (gpus_per_clip)"
    fitting = [(kind, speed) for kind, speed in ways if speed.fits]
    if not fitting:
        kind, best = max(ways, key=lambda way: way[1].usable_gib - (way[1].need_gib or 0.0))
        return (
            f"no {what} has the {best.need_gib or 0.0:.1f} GiB that {made} needs ({job.name}): "
            f"the nearest, {_named(kind, best)}, has {best.usable_gib:.1f} GiB"
        )
    kind, fastest = min(fitting, key=lambda way: way[1].seconds)
    return (
        f"no {what} makes a clip of {job.name} ({made}) within {job.within_s:g} s: the fastest "
        f"that has the memory, {_named(kind, fastest)}, takes {fastest.seconds:.3g} s"
    )


def _named(kind: OfferKind, speed: OfferSpeed) -> str:
    return f"{speed.gpus_per_clip} x {kind[0]}" if speed.gpus_per_clip > 1 else kind[0]


def _sentence(
    problem: Problem, rule: Constraint, others: Set[Constraint], effort: SolverOptions
) -> str:
    """Return what a rule of the clash wants, and what would do in its place."""
    breach = smallest_violation(problem, rule, others, effort)
    order, subject = problem.order, rule.subject
    if rule.topic == "throughput":
        wanted = 1 + order.limits.spare_share
        job = next(job for job in order.workloads if job.name == subject)
        share = max(0.0, wanted - breach)
        if share < _TELLABLE and any(offer.num_leases for offer in problem.offers):
            made = "less than a millionth of that"
        else:
            made = f"{job.minutes_per_h * share:.4g}"
        return (
            f"{job.minutes_per_h * wanted:g} minutes/h of {subject} are wanted at peak, "
            f"{made} can be made"
        )
    if rule.topic == "trust":
        return _trust_sentence(problem, subject, breach)
    if rule.topic == "survival":
        share = order.limits.survive_share
        return (
            f"{share:.0%} of the peak has to survive the loss of all {subject}, "
            f"{max(0.0, share - breach):.1%} can"
        )
    if rule.topic == "count":
        count = sum(offer.count for offer in problem.offers if offer.gpu == subject)
        return f"{count:,} {subject} are offered{_more(breach, 'lease', 'more of each offer')}"
    limits = order.limits
    cap = limits.provider_cap(subject) if rule.topic == "provider" else limits.zone_cap(subject)
    return f"at most {cap} GPU{'s' * (cap != 1)} of {rule.topic} {subject} are allowed{_more(breach, 'GPU', 'more')}"


def _trust_sentence(problem: Problem, name: str, breach: float) -> str:
    job = next(job for job in problem.order.workloads if job.name == name)
    wanted = job.trusted_share * (1 + problem.order.limits.spare_share)
    offered = sum(offer.count for offer in problem.offers if offer.is_trusted)
    possible = max(0.0, wanted - breach)
    need = f"about {offered * wanted / possible:,.0f}" if possible > 1e-9 else "more"
    return (
        f"a trusted share of {job.trusted_share:g} of {name} needs {need} trusted GPUs, "
        f"{offered:,} are offered"
    )


def _more(breach: float, unit: str, what: str) -> str:
    """Return how much more would do; whole numbers, since leases and GPUs are."""
    if breach == INFINITY or breach <= 0:
        return ""
    count = int(breach + 1 - 1e-6)
    return f" (with {count:,} {unit}{'s' * (count != 1)} {what} it could be done)"
