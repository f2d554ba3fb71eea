"""How far the queueing approximations are from simulated queues.

    python benchmarks/queueing.py [--jobs 6000000] [--write]

First come, first served, random arrivals, gamma-distributed or equal sizes of mean 1 s. For each number
of servers, utilisation and squared coefficient of variation, the script simulates and approximates the
mean wait, the 95th percentile of the wait, and the share of jobs that start within a tenth of a second
on a fleet of `servers_for_promise`. The standard error of the simulation comes from 30 batches; points
where it is above 3 %, and waits below 0.02 s, are left out of the summary, not of the file. `--write`
writes the result under today's date.
"""

import argparse
import heapq
import json
import math
import platform
import statistics
from datetime import UTC, datetime
from pathlib import Path

import numba
import numpy as np

from reelgrid.measurement import processor_name
from reelgrid.plan.demand.queueing import erlang_c, mgc_mean_wait_s, servers_for_promise

RESULTS = Path(__file__).parent / "results"
SERVERS = (1, 4, 16, 64, 256)
USE = (0.7, 0.9, 0.97)
CV2 = (0.0, 0.25, 1.0, 2.0, 4.0)
PROMISE_S, SHARE = 0.1, 0.95
NUM_BATCHES, MAX_STANDARD_ERROR, LEAST_WAIT_S = 30, 0.03, 0.02


def sizes_of(cv2: float, num_jobs: int, rng: np.random.Generator) -> np.ndarray:
    return np.ones(num_jobs) if cv2 == 0 else rng.gamma(1 / cv2, cv2, num_jobs)


@numba.njit(cache=True)
def waits_of(gaps: np.ndarray, sizes: np.ndarray, num_servers: int) -> np.ndarray:
    """Waits of a first-come queue (Kiefer and Wolfowitz 1955)."""
    free = [0.0] * num_servers
    waits = np.empty(len(sizes))
    now = 0.0
    for index in range(len(sizes)):
        now += gaps[index]
        begin = max(now, free[0])
        waits[index] = begin - now
        heapq.heapreplace(free, begin + sizes[index])
    return waits


def simulated_waits(num_servers: int, rate: float, sizes: np.ndarray, rng) -> np.ndarray:
    gaps = rng.exponential(1 / rate, len(sizes))
    return waits_of(gaps, sizes, num_servers)[len(sizes) // 10 :]


def standard_error(waits: np.ndarray) -> float:
    """Relative standard error of the mean, by batches."""
    batches = np.array([batch.mean() for batch in np.array_split(waits, NUM_BATCHES)])
    return float(batches.std(ddof=1) / np.sqrt(NUM_BATCHES) / max(waits.mean(), 1e-300))


def wait_95_s(num_servers: int, rate: float, cv2: float) -> float:
    """The approximated 95th percentile of the wait: exponential for jobs that wait at all."""
    waiting = float(erlang_c(num_servers, rate))
    mean_s = float(mgc_mean_wait_s(num_servers, rate, 1.0, cv2))
    return max(0.0, mean_s / waiting * math.log(waiting / (1 - SHARE)))


def measured(num_servers: int, use: float, cv2: float, num_jobs: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    rate = use * num_servers
    sizes = sizes_of(cv2, num_jobs, rng)
    waits = simulated_waits(num_servers, rate, sizes, rng)
    needed = int(servers_for_promise(rate, 1.0, cv2, promise_s=PROMISE_S, share=SHARE))
    kept = float((simulated_waits(needed, rate, sizes, rng) <= PROMISE_S).mean())
    return {
        "num_servers": num_servers,
        "use": use,
        "cv2": cv2,
        "standard_error": standard_error(waits),
        "mean_wait_s": {
            "simulated": float(waits.mean()),
            "approximated": float(mgc_mean_wait_s(num_servers, rate, 1.0, cv2)),
        },
        "wait_95_s": {
            "simulated": float(np.quantile(waits, SHARE)),
            "approximated": wait_95_s(num_servers, rate, cv2),
        },
        "servers_for_promise": needed,
        "kept": kept,
    }


def relative_errors(rows: list[dict], what: str) -> list[float]:
    return [
        abs(row[what]["approximated"] / row[what]["simulated"] - 1)
        for row in rows
        if row["standard_error"] < MAX_STANDARD_ERROR and row[what]["simulated"] > LEAST_WAIT_S
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=6_000_000)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    rows = [
        measured(num_servers, use, cv2, arguments.jobs, seed)
        for seed, (num_servers, use, cv2) in enumerate(
            (c, rho, v) for c in SERVERS for rho in USE for v in CV2
        )
    ]
    summary = {}
    for what in ("mean_wait_s", "wait_95_s"):
        errors = relative_errors(rows, what)
        summary[what] = {
            "median_relative_error": statistics.median(errors),
            "largest_relative_error": max(errors),
            "num_points": len(errors),
        }
    kept = [row["kept"] for row in rows]
    summary["kept_promise"] = {"least": min(kept), "median": statistics.median(kept)}
    print(json.dumps(summary, indent=2))
    if arguments.write:
        today = datetime.now(UTC).date().isoformat()
        record = {
            "measured_at": today,
            "machine": processor_name(),
            "python": platform.python_version(),
            "num_jobs": arguments.jobs,
            "promise": {"wait_s": PROMISE_S, "share": SHARE},
            "summary": summary,
            "points": rows,
        }
        path = RESULTS / f"{today}_queueing.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"wrote {path}")


if __name__ == "__main__":
    main()
