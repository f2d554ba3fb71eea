"""Demands and offers for tests: rates are given, so that nothing depends on predictions."""

from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.offers.choice import lease_problem
from reelgrid.plan.offers.demand import LeaseDemand, LeaseLimits, LeaseTerms, PeakWorkload
from reelgrid.plan.offers.milp import LeaseProblem
from reelgrid.plan.offers.offer import Offer

FACTS = shipped_facts()
RATES = {"RTX 4090": 1.0, "L40S": 2.0, "H100 SXM": 5.0}
PLAIN = LeaseTerms(hours=1e6, load_s=0.0, utilisation=1.0)


def offer(gpu="L40S", count=10, usd_per_h=1.0, provider="p", zone="z", **more) -> Offer:
    return Offer(gpu=gpu, count=count, usd_per_h=usd_per_h, provider=provider, zone=zone, **more)


def workload(name="clips", minutes_per_h=10.0, rates=None, **more) -> PeakWorkload:
    return PeakWorkload(
        name=name,
        model="wan2.1-t2v-1.3b",
        minutes_per_h=minutes_per_h,
        minutes_per_gpu_hour=RATES if rates is None else rates,
        **more,
    )


def demand(*workloads: PeakWorkload, lease=PLAIN, limits=None, **more) -> LeaseDemand:
    return LeaseDemand(
        title="test",
        workloads=workloads or (workload(),),
        lease=lease,
        limits=limits or LeaseLimits(),
        **more,
    )


def problem(offers, *workloads: PeakWorkload, **more) -> LeaseProblem:
    return lease_problem(demand(*workloads, **more), offers, FACTS)
