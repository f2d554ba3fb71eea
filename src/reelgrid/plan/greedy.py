"""What somebody would choose with a sorted list: always the offer whose minutes are cheapest.

A baseline to compare the optimum with; it finds no choice where a cleverer one exists.
"""

from collections.abc import Iterable

from reelgrid.plan.rows import Group, Problem, group_of
from reelgrid.plan.suitability import kind_of


def greedy_leases(problem: Problem) -> tuple[int, ...] | None:
    """Return the leases of each offer by the greedy choice, or none where it gets stuck.

    Workload by workload, the trusted part first, leases are taken from the cheapest minutes
    upwards; then, for each group that might be lost, more of what is left.
    """
    choice = _Greedy(problem)
    limits = problem.order.limits
    if not choice.cover_all(1 + limits.spare_share, None):
        return None
    lost = problem.groups if limits.survive_share > 0 else ()
    if not all(choice.cover_all(limits.survive_share, group) for group in lost):
        return None
    return tuple(choice.leases)


def greedy_cost(problem: Problem) -> float | None:
    """Return dollars an hour of the greedy choice, or none where it gets stuck."""
    leases = greedy_leases(problem)
    if leases is None:
        return None
    return sum(count * usd for count, usd in zip(leases, problem.lease_usd_per_h, strict=True))


class _Greedy:
    """Leases so far, and what is free of each when work is handed out in order."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.leases = [0] * len(problem.offers)

    def cover_all(self, share: float, lost: Group | None) -> bool:
        """Take leases until a share of every workload is made without a lost group."""
        problem = self.problem
        able = [i for i, offer in enumerate(problem.offers) if group_of(offer) != lost]
        free = {i: self.leases[i] * problem.working_gpus[i] for i in able}
        for job in problem.order.workloads:
            wanted = share * job.minutes_per_h
            private = wanted * job.trusted_share
            trusted = [i for i in able if problem.offers[i].is_trusted]
            if not self._cover(job.name, private, trusted, free):
                return False
            if not self._cover(job.name, wanted - private, able, free):
                return False
        return True

    def _cover(self, name: str, wanted: float, able: Iterable[int], free: dict[int, float]) -> bool:
        """Hand out work to what is free, then to new leases, the cheapest minutes first."""
        order = self._cheapest_first(name, able)
        for i, rate in order:
            used = min(free[i], wanted / rate)
            free[i] -= used
            wanted -= used * rate
        for i, rate in order:
            while wanted > 1e-9 and self._has_room(i):
                self.leases[i] += 1
                used = min(self.problem.working_gpus[i], wanted / rate)
                free[i] += self.problem.working_gpus[i] - used
                wanted -= used * rate
        return wanted <= 1e-9

    def _cheapest_first(self, name: str, able: Iterable[int]) -> list[tuple[int, float]]:
        problem = self.problem
        rates = {i: problem.rates.get((kind_of(problem.offers[i]), name), 0.0) for i in able}

        def usd_per_minute(i: int) -> float:
            return problem.lease_usd_per_h[i] / (problem.working_gpus[i] * rates[i])

        usable = [i for i, rate in rates.items() if rate * problem.working_gpus[i] > 0]
        return [(i, rates[i]) for i in sorted(usable, key=usd_per_minute)]

    def _has_room(self, index: int) -> bool:
        offer, limits = self.problem.offers[index], self.problem.order.limits
        held = [
            (each, count * each.gpus_per_lease)
            for each, count in zip(self.problem.offers, self.leases, strict=True)
        ]
        of_provider = sum(gpus for each, gpus in held if each.provider == offer.provider)
        of_zone = sum(gpus for each, gpus in held if each.place == offer.place)
        return (
            self.leases[index] < offer.num_leases
            and _fits(of_provider + offer.gpus_per_lease, limits.provider_cap(offer.provider))
            and _fits(of_zone + offer.gpus_per_lease, limits.zone_cap(offer.place))
        )


def _fits(gpus: int, cap: int | None) -> bool:
    return cap is None or gpus <= cap
