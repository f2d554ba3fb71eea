"""Events per second of both engines and of the same model in SimPy; the day of 720,000 GPUs.

    python benchmarks/simulation.py [--runs 5] [--no-day] [--write]

The three run the same fleet alternately in one process; the result is the median. An event is one
that comes from the event heap: an arrival, a completion, a node that is ready, lost or leased, a lost
job that returns. Starts, which follow from these, are not counted. SimPy runs the cheapest program
for it that we know: one timeout per execution, no process per job, checkpoints computed when a node
is lost. The day runs in its own process, whose peak memory is recorded. `--write` stores the result
in `benchmarks/results/` under today's date.
"""

import argparse
import json
import math
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numba
import numpy as np
import simpy

from reelgrid.jobs.policy import Priority
from reelgrid.measurement import processor_name
from reelgrid.plan.simulation.experiment import US, Experiment, JobStream, NodeKind, ZonePool
from reelgrid.plan.simulation.result import EventType, RunResult, TimeUse
from reelgrid.plan.simulation.run import simulate
from reelgrid.plan.simulation.statistics import over_runs, summarize

fast, reference = partial(simulate, engine="fast"), partial(simulate, engine="reference")

RESULTS = Path(__file__).parent / "results"
NUM_NODES, LOAD, MEAN_S, HOURS = 200, 0.85, 60.0, 24.0
HAZARD_PER_H, STARTUP_S, SIGMA = 0.2, 120.0, 0.95
CHECKPOINT_EVERY_S, CHECKPOINT_S, RESUME_S, LEASE_S, LOAD_S = 20.0, 1.0, 2.0, 20.0, 5.0
JOBS_PER_H = LOAD * NUM_NODES * 3600 / MEAN_S


def pool(name: str, kind: int, count: int, **changes: object) -> ZonePool:
    values = {
        "num_gpus": 1,
        "usd_per_h": 2.0,
        "is_start_up_billed": True,
        "lifetime_shape": 1.0,
        "lifetime_scale_us": 3600 * US / HAZARD_PER_H,
        "correlation": 0.0,
        "shared_loss_share": 1.0,
        "notice_us": 0,
        "absence_mean_us": 0,
        "startup_median_us": round(STARTUP_S * US),
        "startup_sigma": SIGMA,
        "checkpoint_every_us": round(CHECKPOINT_EVERY_S * US),
    }
    return ZonePool(name=name, kind=kind, count=count, **values | changes)  # type: ignore[arg-type]


def small_fleet(seed: int) -> Experiment:
    """200 nodes that are lost every 5 hours, jobs of 60 s, first come, first served."""
    kind = NodeKind(
        name="any", load_us=round(LOAD_S * US), memory_gib=80, is_trusted=True, time_factor=(1.0,)
    )
    stream = JobStream(
        platform="one",
        model="one",
        jobs_per_h=(JOBS_PER_H,),
        mean_work_us=round(MEAN_S * US),
        work="exponential",
    )
    return Experiment(
        kinds=(kind,),
        pools=(pool("one", 0, NUM_NODES),),
        streams=(stream,),
        horizon_us=round(HOURS * 3600 * US),
        seed=seed,
        checkpoint_us=round(CHECKPOINT_S * US),
        resume_us=round(RESUME_S * US),
        lease_us=round(LEASE_S * US),
        estimates="mean",
        has_preemption=False,
    )


class InSimPy:
    """The small fleet as a SimPy program."""

    def __init__(self, seed: int) -> None:
        self.env = simpy.Environment()
        self.jobs = simpy.PriorityStore(self.env)
        self.draw = random.Random(seed)
        self.waits: list[float] = []
        self.num_events = self.num_losses = 0
        self.kept_s = self.leased_s = 0.0

    def run(self) -> "InSimPy":
        self.env.process(self.arrivals())
        for _ in range(NUM_NODES):
            self.env.process(self.node())
        self.env.run(until=HOURS * 3600)
        return self

    def arrivals(self):  # type: ignore[no-untyped-def]
        number = 0
        while True:
            yield self.env.timeout(self.draw.expovariate(JOBS_PER_H / 3600))
            self.num_events += 1
            work_s = self.draw.expovariate(1 / MEAN_S)
            self.jobs.put(simpy.PriorityItem((self.env.now, number), [work_s, 0.0, self.env.now]))
            number += 1

    def back(self, key, job):  # type: ignore[no-untyped-def]
        yield self.env.timeout(LEASE_S)
        self.num_events += 1
        self.jobs.put(simpy.PriorityItem(key, job))

    def node(self):  # type: ignore[no-untyped-def]
        startup_s = 0.0
        while True:
            if startup_s:
                yield self.env.timeout(startup_s)
            self.num_events += 1
            end_s = self.env.now + self.draw.expovariate(HAZARD_PER_H / 3600)
            load_s = LOAD_S
            while (yield from self.one_job(end_s, load_s)):
                load_s = 0.0
            self.num_losses += 1
            self.num_events += 2  # lost, leased again at once
            startup_s = self.draw.lognormvariate(math.log(STARTUP_S), SIGMA)

    def one_job(self, end_s: float, load_s: float):  # type: ignore[no-untyped-def]
        """Take a job and work on it; return whether the node is still there."""
        env = self.env
        get = self.jobs.get()
        if not get.triggered:
            yield get | env.timeout(end_s - env.now)
            if not get.triggered:
                get.cancel()
                return False
        key, job = get.value.priority, get.value.item
        work_s, kept_s, arrived_s = job
        if arrived_s is not None:
            self.waits.append(env.now - arrived_s)
        begin_s = env.now + load_s + (RESUME_S if kept_s else 0.0)
        left_s = work_s - kept_s
        finish_s = begin_s + left_s + math.floor(left_s / CHECKPOINT_EVERY_S) * CHECKPOINT_S
        if finish_s <= end_s:
            yield env.timeout(finish_s - env.now)
            self.num_events += 1
            self.kept_s += left_s
            return True
        yield env.timeout(end_s - env.now)
        elapsed_s = max(0.0, end_s - begin_s)
        saved_s = math.floor(elapsed_s / (CHECKPOINT_EVERY_S + CHECKPOINT_S)) * CHECKPOINT_EVERY_S
        self.kept_s += saved_s
        env.process(self.back(key, [work_s, kept_s + saved_s, None]))
        return False


def ours(result: RunResult) -> dict[str, float]:
    figures = summarize([result]).figures
    hours = result.time_use_us.sum(axis=0) / US / 3600
    return {
        "events": result.num_heap_events,
        "losses": int(result.events[EventType.LOSS]),
        "wait_mean_s": figures["wait_mean_s"].value,
        "kept_share": float(hours[TimeUse.USEFUL] + hours[TimeUse.REDONE]) / (NUM_NODES * HOURS),
    }


def theirs(model: InSimPy) -> dict[str, float]:
    return {
        "events": model.num_events,
        "losses": model.num_losses,
        "wait_mean_s": float(np.mean(model.waits)),
        "kept_share": model.kept_s / 3600 / (NUM_NODES * HOURS),
    }


def compare(num_runs: int) -> dict[str, object]:
    sides: dict[str, Callable[[int], dict[str, float]]] = {
        "simpy": lambda seed: theirs(InSimPy(seed).run()),
        "reference": lambda seed: ours(reference(small_fleet(seed))),
        "fast": lambda seed: ours(fast(small_fleet(seed))),
    }
    fast(replace(small_fleet(0), horizon_us=3600 * US))  # compiled, or read from the cache
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for seed in range(num_runs):
        for name, side in sides.items():
            begin_s = time.process_time()
            figures = side(seed)
            rates[name].append(figures["events"] / (time.process_time() - begin_s))
            found[name].append(figures)
            print(f"{name} {rates[name][-1]:,.0f} events per second", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "median_events_per_cpu_s": medians,
        "all_events_per_cpu_s": rates,
        "over_simpy": {name: value / medians["simpy"] for name, value in medians.items()},
        "figures_with_95_intervals": {
            name: {
                key: asdict(over_runs([each[key] for each in values])) for key in values[0]
            }
            for name, values in found.items()
        },
    }  # fmt: skip


def the_day() -> Experiment:
    """Return the report's demand on 720,000 GPUs of three kinds that equal 720,000 H100s.

    21.4 million one-minute clips, twice the mean in the evening, 24 minutes each on an H100. Speeds
    by dense bf16 peaks (B200 2,250, H100 989, A100 312 TFLOP/s). H100: losses as Salad measured,
    0.0108 per node-hour, 92 % of them together by zone. B200: 0.006, likewise. A100: spot as on AWS,
    Weibull 0.60 and 1.75 h, two minutes' notice, outages of 0.8 h. Three priorities, a million
    owners, checkpoints of 3 s at Daly's interval.
    """
    hours = [1 + math.cos(2 * math.pi * (hour - 20) / 24) for hour in range(24)]
    shares = {Priority.LOW: 0.1, Priority.NORMAL: 0.8, Priority.HIGH: 0.1}
    streams = tuple(
        JobStream(
            platform=platform,
            model="sora",
            jobs_per_h=tuple(minutes * 2 * share / 24 * weight for weight in hours),
            mean_work_us=24 * 60 * US,
            clip_s=60.0,
            priority=priority,
            first_owner=first_owner,
            num_owners=500_000,
        )
        for platform, minutes, first_owner in (("TikTok", 8.5e6, 0), ("YouTube", 2.2e6, 500_000))
        for priority, share in shares.items()
    )
    kinds = tuple(
        NodeKind(
            name=name,
            load_us=60 * US,
            memory_gib=memory_gib,
            is_trusted=True,
            time_factor=(time_factor,) * len(streams),
        )
        for name, memory_gib, time_factor in (
            ("H100", 80, 1.0), ("B200", 180, 989 / 2250), ("A100", 80, 989 / 312),
        )
    )  # fmt: skip
    steady = {"correlation": 0.92, "absence_mean_us": 1800 * US, "startup_median_us": 600 * US}
    spot = {
        "lifetime_shape": 0.6,
        "lifetime_scale_us": 1.75 * 3600 * US,
        "correlation": 0.92,
        "notice_us": 120 * US,
        "absence_mean_us": 2880 * US,
        "startup_median_us": 600 * US,
        "checkpoint_every_us": 245 * US,
    }
    salad = {"lifetime_scale_us": 3600 * US / 0.0108, "checkpoint_every_us": 1414 * US}
    old = {"lifetime_scale_us": 3600 * US / 0.006, "checkpoint_every_us": 1897 * US}
    pools = (
        *(pool(f"H100 {zone}", 0, 8_150, **steady | salad) for zone in range(60)),
        *(pool(f"B200 {zone}", 1, 4_050, **steady | old) for zone in range(20)),
        *(pool(f"A100 {zone}", 2, 2_500, **spot) for zone in range(60)),
    )
    return Experiment(
        kinds=kinds,
        pools=pools,
        streams=streams,
        horizon_us=24 * 3600 * US,
        seed=1,
        checkpoint_us=3 * US,
        resume_us=3 * US,
    )


def run_day() -> None:
    """Run the day and print its measurements as JSON, for the parent process."""
    experiment = the_day()
    begin_s = time.perf_counter()
    fast(replace(small_fleet(0), horizon_us=1))
    ready_s, begin_cpu_s = time.perf_counter(), time.process_time()
    result = fast(experiment)
    done_s, cpu_s = time.perf_counter(), time.process_time() - begin_cpu_s
    errors = list(result.conservation_errors())
    print(
        json.dumps({
            "nodes": experiment.num_nodes,
            "jobs": len(result.arrived_us),
            "heap_events": result.num_heap_events,
            "events": {event.name.lower(): int(result.events[event]) for event in EventType},
            "compile_or_read_s": ready_s - begin_s,
            "simulate_s": done_s - ready_s,
            "simulate_cpu_s": cpu_s,
            "heap_events_per_cpu_s": result.num_heap_events / cpu_s,
            "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
            "conservation_errors": errors,
            "digest": f"{result.digest:016x}",
            "unfinished_at_the_end": result.unfinished,
            "figures": {
                key: value.value for key, value in summarize([result]).figures.items()
            },
        })
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--day", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-day", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.day:
        run_day()
        return
    result: dict[str, object] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor_name(),
        "software": {
            "python": platform.python_version(),
            "numba": numba.__version__,
            "numpy": np.__version__,
            "simpy": simpy.__version__,
        },
        "runs": options.runs,
        "small_fleet": compare(options.runs),
    }
    if not options.no_day:
        command = [sys.executable, __file__, "--day"]
        day = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result["day_of_720000_gpus"] = json.loads(day)
    text = json.dumps(result, indent=1)
    print(text)
    if options.write:
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}_simulation.json"
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
