"""The compiled engine's memory: flat arrays of records, linked by numbers; -1 is nobody.

Laid out so that a run of a million nodes stays in a few gigabytes. The rules are in `compiled`,
the structures in `calendar`, `queues` and `tree`.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelgrid.plan.simulation import draws
from reelgrid.plan.simulation.experiment import US, Experiment
from reelgrid.plan.simulation.result import EventType, Gauge, TimeUse

ABSENT, STARTING, IDLE, BUSY, PREEMPTED = range(5)
NOBODY = -1

NODE = np.dtype(
    [
        ("since_us", "i8"), ("begin_us", "i8"), ("load_us", "i8"), ("resume_us", "i8"),
        ("work_us", "i8"), ("total_us", "i8"), ("every_us", "i8"), ("finish_us", "i8"),
        ("yield_us", "i8"), ("pool", "i4"), ("kind", "i4"), ("warm", "i4"), ("job", "i4"),
        ("lease", "i4"), ("epoch", "i4"), ("older", "i4"), ("newer", "i4"), ("phase", "i1"),
        ("is_draining", "i1"), ("is_warned", "i1"), ("is_listed", "i1"),
    ],
    align=True,
)  # fmt: skip
JOB = np.dtype(
    [
        ("arrived_us", "i8"), ("work_us", "i8"), ("kept_us", "i8"), ("reached_us", "i8"),
        ("number", "i8"), ("rank", "f8"), ("estimate_s", "f8"), ("fair_start_s", "f8"),
        ("stream", "i4"), ("owner", "i4"), ("older", "i4"), ("newer", "i4"), ("child", "i4"),
        ("sibling", "i4"), ("is_waiting", "i1"), ("is_away", "i1"),
    ],
    align=True,
)  # fmt: skip
TREE = np.dtype(
    [
        ("finish_us", "i8"), ("rank", "f8"), ("job", "i8"),
        ("left", "i4"), ("right", "i4"), ("best", "i4"), ("weight", "i4"),
    ],
    align=True,
)  # fmt: skip
ENTRY = np.dtype([("time_us", "i8"), ("order", "i8"), ("epoch", "i8")], align=True)
KIND = np.dtype([("load_us", "i8"), ("load_s", "f8")], align=True)
POOL = np.dtype([("notice_us", "i8"), ("every_us", "i8")], align=True)
STREAM = np.dtype(
    [
        ("mean_s", "f8"), ("delay_s", "f8"), ("due_after_s", "f8"),
        ("queue", "i4"), ("model", "i4"),
    ],
    align=True,
)  # fmt: skip


class Counters(IntEnum):
    """Places in `SimulationState.now`: what changes and is a single number."""

    ENTRIES = 0
    FREE_JOB = 1
    SHARED_LOSS = 2
    CHART = 3
    LEASES = 4
    FIRST = 5
    SOURCES = 6


class Parameters(IntEnum):
    """Places in `SimulationState.rules`: what does not change and is a single number."""

    HORIZON = 0
    SAVE = 1
    RESUME = 2
    LEASE = 3
    CHART = 4
    PREEMPTS = 5
    KEEPS = 6
    EXACT = 7


class SimulationState(NamedTuple):
    """Everything the compiled functions read and write."""

    now: NDArray[np.int64]
    rules: NDArray[np.int64]
    kinds: Any
    pools: Any
    streams: Any
    time_factor: NDArray[np.float64]  # kind, stream
    fits: NDArray[np.bool_]  # kind, queue
    queue_model: NDArray[np.int32]
    heads: NDArray[np.int32]  # queue -> the job that is first
    idle: NDArray[np.int32]  # kind, model + 1 -> the node that was last to be idle
    roots: NDArray[np.int32]  # kind, model -> the tree of running jobs
    tails: NDArray[np.int32]  # owner -> the last unfinished job
    nodes: Any
    tree: Any
    path: NDArray[np.int32]
    strike_us: NDArray[np.int64]
    struck: NDArray[np.int32]
    watched: NDArray[np.int64]
    chart: NDArray[np.int64]
    time_use_us: NDArray[np.int64]
    kept_work_us: NDArray[np.int64]
    events: NDArray[np.int64]
    digest: NDArray[np.uint64]
    jobs: Any
    calendar: Any
    wait_us: NDArray[np.int64]
    turnaround_us: NDArray[np.int64]
    startup_us: NDArray[np.int64]  # lease, node
    lifetime_us: NDArray[np.int64]
    absence_us: NDArray[np.int64]


def new_world(experiment: Experiment) -> SimulationState:
    """Return the memory of a run at time 0: all nodes about to start up, no jobs."""
    num_kinds, num_streams = len(experiment.kinds), len(experiment.streams)
    num_queues, num_models = len(experiment.queues), len(experiment.models)
    num_points = -(-experiment.horizon_us // experiment.chart_every_us)
    strike_us, struck = draws.shared_losses(experiment)
    first = draws.stays(experiment, 0)
    return SimulationState(
        now=np.array([0, NOBODY, 0, 0, 0, 0, 0], np.int64),
        rules=_rules(experiment),
        kinds=np.array([(kind.load_us, kind.load_us / US) for kind in experiment.kinds], KIND),
        pools=np.array(
            [(pool.notice_us, pool.checkpoint_every_us) for pool in experiment.pools], POOL
        ),
        streams=_streams(experiment),
        time_factor=np.array([kind.time_factor for kind in experiment.kinds]).reshape(
            num_kinds, -1
        ),
        fits=_fits(experiment),
        queue_model=np.array([experiment.models.index(q[0]) for q in experiment.queues], np.int32),
        heads=_nobody(num_queues),
        idle=_nobody(num_kinds, num_models + 1),
        roots=_nobody(num_kinds, num_models),
        tails=_nobody(max(1, experiment.num_owners)),
        nodes=_nodes(experiment),
        tree=np.zeros(experiment.num_nodes, TREE),
        path=np.zeros(4096, np.int32),
        strike_us=strike_us,
        struck=struck,
        watched=np.zeros(len(Gauge), np.int64),
        chart=np.zeros((num_points, len(Gauge)), np.int64),
        time_use_us=np.zeros((len(experiment.pools), len(TimeUse)), np.int64),
        kept_work_us=np.zeros(num_streams, np.int64),
        events=np.zeros(len(EventType), np.int64),
        digest=np.zeros(1, np.uint64),
        jobs=np.zeros(0, JOB),
        calendar=np.zeros(experiment.num_nodes + 64, ENTRY),
        wait_us=np.zeros(0, np.int64),
        turnaround_us=np.zeros(0, np.int64),
        startup_us=first.startup_us[None],
        lifetime_us=first.lifetime_us[None],
        absence_us=first.absence_us[None],
    )


def _nobody(*shape: int) -> NDArray[np.int32]:
    return np.full(shape, NOBODY, np.int32)


def _rules(experiment: Experiment) -> NDArray[np.int64]:
    rules = np.zeros(len(Parameters), np.int64)
    rules[Parameters.HORIZON] = experiment.horizon_us
    rules[Parameters.SAVE] = experiment.checkpoint_us
    rules[Parameters.RESUME] = experiment.resume_us
    rules[Parameters.LEASE] = experiment.lease_us
    rules[Parameters.CHART] = experiment.chart_every_us
    rules[Parameters.PREEMPTS] = experiment.has_preemption and experiment.has_checkpoints
    rules[Parameters.KEEPS] = experiment.has_checkpoints
    rules[Parameters.EXACT] = experiment.estimates == "exact"
    return rules


def _streams(experiment: Experiment) -> NDArray[np.void]:
    rows = [
        (
            stream.mean_work_us / US,
            stream.priority.delay_s,
            stream.due_after_s,
            experiment.queues.index(stream.queue),
            experiment.models.index(stream.model),
        )
        for stream in experiment.streams
    ]
    return np.array(rows, STREAM)


def _fits(experiment: Experiment) -> NDArray[np.bool_]:
    """Return what the policy lets a kind (row) take from a queue (column)."""
    fits = np.zeros((len(experiment.kinds), len(experiment.queues)), np.bool_)
    for number, stream in enumerate(experiment.streams):
        column = experiment.queues.index(stream.queue)
        fits[:, column] = [row[number] for row in experiment.fits]
    return fits


def _nodes(experiment: Experiment) -> NDArray[np.void]:
    nodes = np.zeros(experiment.num_nodes, NODE)
    counts = [pool.count for pool in experiment.pools]
    nodes["pool"] = np.repeat(np.arange(len(counts)), counts)
    nodes["kind"] = np.repeat([pool.kind for pool in experiment.pools], counts)
    nodes["phase"] = STARTING
    nodes["job"] = nodes["older"] = nodes["newer"] = NOBODY
    return nodes
