"""Time to choose among many offers, distance to the optimum, and cost of the greedy choice.

    python benchmarks/offers.py [--output FILE] [--offers 25 100 400] [--seeds 5]

A seed draws each problem: kinds, prices between the public low and high, counts, zones, hazards.
Each has two workloads, trust, caps, and 70 % of the peak if all of one kind in one zone are lost.
"""

import argparse
import json
import platform
import random
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from reelgrid.measurement import processor_name
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.offers.choice import lease_problem
from reelgrid.plan.offers.demand import LeaseDemand, LeaseLimits, LeaseTerms, PeakWorkload
from reelgrid.plan.offers.milp import SolverOptions
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.solve import cheapest_leases, greedy_cost
from reelgrid.spec import Size

FACTS = shipped_facts()
GPUS = [gpu for gpu in FACTS.hardware.values() if gpu.usd_per_h_low and gpu.bf16_dense_tflops]
PROVIDERS = ["akash", "runpod", "lambda", "vast", "nebius", "verda", "salad", "aws"]


def drawn_offer(rng: random.Random) -> Offer:
    gpu = rng.choice(GPUS)
    assert gpu.usd_per_h_low
    assert gpu.usd_per_h_high
    is_trusted = rng.random() < 0.4
    in_lease = rng.choice([1, 1, 1, 8]) if gpu.kind == "datacentre" else 1
    return Offer(
        gpu=gpu.name,
        count=in_lease * rng.randint(1, 12),
        usd_per_h=round(rng.uniform(gpu.usd_per_h_low, gpu.usd_per_h_high), 3),
        provider=rng.choice(PROVIDERS),
        zone=f"zone-{rng.randint(1, 4)}",
        startup_s=rng.choice([300.0, 600.0]),
        hazard_per_h=0.001 if is_trusted else 0.0108,
        is_trusted=is_trusted,
        gpus_per_lease=in_lease,
    )


def demand(num_offers: int) -> LeaseDemand:
    return LeaseDemand(
        title="benchmark",
        lease=LeaseTerms(load_s=120.0, utilisation=0.8),
        limits=LeaseLimits(gpus_per_provider=2 * num_offers, gpus_per_zone=num_offers, survive_share=0.7),
        workloads=(
            PeakWorkload(name="drafts", model="wan2.1-t2v-1.3b", minutes_per_h=1.0 * num_offers,
                num_steps=30, within_s=300.0),
            PeakWorkload(name="finals", model="wan2.2-t2v-a14b", size=Size(1280, 720),
                minutes_per_h=0.06 * num_offers, within_s=3000.0, trusted_share=0.3),
        ),
    )  # fmt: skip


def measured(num_offers: int, seed: int, gap: float, time_limit_s: float) -> dict[str, object]:
    rng = random.Random(seed)
    offers = [drawn_offer(rng) for _ in range(num_offers)]
    begun_s = time.perf_counter()
    problem = lease_problem(demand(num_offers), offers, FACTS)
    posed_s = time.perf_counter() - begun_s
    begun_cpu_s = time.process_time()
    plan = cheapest_leases(problem, SolverOptions(gap=gap, time_limit_s=time_limit_s))
    cpu_s = time.process_time() - begun_cpu_s
    greedy = greedy_cost(problem)
    row: dict[str, object] = {"offers": num_offers, "seed": seed, "pose_s": round(posed_s, 3)}
    if plan is None:
        return {**row, "possible": False, "greedy_possible": greedy is not None}
    excess = None if greedy is None else greedy / plan.usd_per_h - 1
    return {
        **row, "possible": True, "solve_s": round(plan.solve_s, 3),
        "solve_cpu_s": round(cpu_s, 3), "proved": plan.has_proof,
        "gap": plan.gap, "usd_per_h": plan.usd_per_h, "greedy_excess": excess,
    }  # fmt: skip


def summary(rows: list[dict[str, object]], num_offers: int) -> dict[str, object]:
    own = [row for row in rows if row["offers"] == num_offers and row["possible"]]
    if not own:
        return {"offers": num_offers, "possible": 0}
    times = [float(str(row["solve_cpu_s"])) for row in own]
    excess = [row["greedy_excess"] for row in own if row["greedy_excess"] is not None]
    return {
        "offers": num_offers,
        "possible": len(own),
        "solve_cpu_s_median": statistics.median(times),
        "solve_cpu_s_max": max(times),
        "gap_max": max(float(str(row["gap"])) for row in own),
        "greedy_stuck": len(own) - len(excess),
        "greedy_excess_median": statistics.median(map(float, map(str, excess))) if excess else None,
        "greedy_excess_max": max(map(float, map(str, excess))) if excess else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--offers", type=int, nargs="+", default=[25, 50, 100, 200, 400])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--gap", type=float, default=1e-4)
    parser.add_argument("--time-limit", type=float, default=60.0)
    options = parser.parse_args()
    rows = []
    for num_offers in options.offers:
        for seed in range(options.seeds):
            rows.append(measured(num_offers, seed, options.gap, options.time_limit))
            print(rows[-1], flush=True)
    result = {
        "what": "choosing offers: time, gap and greedy's excess by number of offers",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor_name(),
        "software": {"python": platform.python_version(), "highspy": version("highspy")},
        "gap_asked": options.gap,
        "time_limit_s": options.time_limit,
        "summary": [summary(rows, num_offers) for num_offers in options.offers],
        "rows": rows,
    }
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["summary"], indent=1))


if __name__ == "__main__":
    main()
