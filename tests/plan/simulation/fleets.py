"""Small fleets for the tests, simple ones with closed forms and random ones with every feature; the engines."""

import random

from reelgrid.jobs.policy import Priority
from reelgrid.plan.simulation import run
from reelgrid.plan.simulation.experiment import (
    FOREVER_US,
    US,
    Experiment,
    JobStream,
    NodeKind,
    ZonePool,
)


def reference(experiment):
    """Return the result of the reference engine."""
    return run.simulate(experiment, engine="reference")


def fast(experiment):
    """Return the result of the fast engine."""
    return run.simulate(experiment, engine="fast")


def kind(num_streams=1, **changes):
    values = {
        "name": "h100",
        "load_us": 0,
        "memory_gib": 80.0,
        "is_trusted": True,
        "time_factor": (1.0,) * num_streams,
    }
    return NodeKind(**values | changes)


def pool(count, **changes):
    values = {
        "name": "h100 in one",
        "kind": 0,
        "count": count,
        "num_gpus": 1,
        "usd_per_h": 2.0,
        "is_start_up_billed": True,
        "lifetime_shape": 1.0,
        "lifetime_scale_us": float(FOREVER_US),
        "correlation": 0.0,
        "shared_loss_share": 1.0,
        "notice_us": 0,
        "absence_mean_us": 0,
        "startup_median_us": 0,
        "startup_sigma": 0.0,
        "checkpoint_every_us": 0,
    }
    return ZonePool(**values | changes)


def stream(jobs_per_h, mean_work_s, **changes):
    values = {
        "platform": "one",
        "model": "m",
        "jobs_per_h": (jobs_per_h,),
        "mean_work_us": round(mean_work_s * US),
    }
    return JobStream(**values | changes)


def queueing(num_servers, load, *, work="exponential", hours=200.0, seed=0, **changes):
    """Return a fleet without loading or losses at which jobs of mean 60 s arrive."""
    values = {
        "kinds": (kind(),),
        "pools": (pool(num_servers),),
        "streams": (stream(load * num_servers * 60.0, 60.0, work=work),),
        "horizon_us": int(hours * 3600 * US),
        "warm_up_us": int(hours * 360 * US),
        "seed": seed,
        "has_preemption": False,
        "estimates": "mean",
    }
    return Experiment(**values | changes)


def random_experiment(seed, **changes):
    """Return a small fleet with every feature; times in coarse units, for many ties."""
    draw = random.Random(seed)
    models = ["wan", "ltx", "hunyuan"][: draw.randint(1, 3)]
    owners = draw.choice([None, 1, 3])
    streams = tuple(
        JobStream(
            platform=f"p{number}",
            model=draw.choice(models),
            jobs_per_h=tuple(draw.choice([0.0, 5.0, 20.0, 60.0]) for _ in range(3)),
            mean_work_us=draw.choice([10, 60, 300, 1200]) * US,
            work=draw.choice(["constant", "exponential", "log-normal"]),
            work_sigma=draw.choice([0.3, 1.2]),
            clip_s=5.0,
            memory_gib=draw.choice([8.0, 24.0]),
            needs_trust=draw.random() < 0.2,
            priority=draw.choice(list(Priority)),
            num_owners=owners,
            deadline_us=draw.choice([None, None, 600 * US]),
        )
        for number in range(draw.randint(1, 4))
    )
    kinds = (
        kind(len(streams), load_us=draw.choice([0, 30, 200]) * US),
        kind(
            len(streams),
            name="4090",
            memory_gib=draw.choice([16.0, 24.0]),
            is_trusted=draw.random() < 0.5,
            load_us=draw.choice([0, 60]) * US,
            time_factor=tuple(draw.choice([0.7, 1.0, 2.0, 3.3]) for _ in streams),
        ),
    )
    pools = tuple(_random_pool(draw, number) for number in range(draw.randint(1, 3)))
    pools = (pool(draw.randint(1, 3), checkpoint_every_us=draw.choice([0, 20]) * US), *pools)
    values = {
        "kinds": kinds,
        "pools": pools,
        "streams": streams,
        "horizon_us": draw.choice([2, 5]) * 3600 * US + draw.choice([0, 1]),
        "seed": seed,
        "checkpoint_us": draw.choice([0, 1, 7]) * US,
        "resume_us": draw.choice([0, 5]) * US,
        "lease_us": draw.choice([0, 20]) * US,
        "has_preemption": draw.random() < 0.8,
        "has_checkpoints": draw.random() < 0.8,
        "estimates": draw.choice(["exact", "mean"]),
        "is_fleet_ready": draw.random() < 0.7,
        "chart_every_us": 600 * US,
    }
    return Experiment(**values | changes)


def _random_pool(draw, number):
    return pool(
        draw.randint(1, 6),
        name=f"pool {number}",
        kind=draw.randint(0, 1),
        lifetime_shape=draw.choice([0.6, 1.0, 1.0, 2.0]),
        lifetime_scale_us=draw.choice([float(FOREVER_US), 600e6, 3600e6]),
        correlation=draw.choice([0.0, 0.5, 0.92, 1.0]),
        shared_loss_share=draw.choice([0.5, 1.0]),
        notice_us=draw.choice([0, 0, 5, 120]) * US,
        absence_mean_us=draw.choice([0, 300]) * US,
        startup_median_us=draw.choice([0, 60, 600]) * US,
        startup_sigma=draw.choice([0.0, 0.95]),
        checkpoint_every_us=draw.choice([0, 30, 147]) * US,
    )
