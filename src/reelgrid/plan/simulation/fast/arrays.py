"""The state of the fast engine: flat arrays of records, linked by index; -1 is none.

The layout keeps a run of a million nodes within a few gigabytes.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelgrid.plan.simulation import draws
from reelgrid.plan.simulation.experiment import US, Experiment
from reelgrid.plan.simulation.result import EventType, Gauge, TimeUse

ABSENT, STARTING, IDLE, BUSY, PREEMPTED = range(5)
NIL = -1

NODE = np.dtype(
    [
        ("phase_start_us", "i8"), ("start_us", "i8"), ("load_us", "i8"), ("resume_us", "i8"),
        ("work_us", "i8"), ("total_us", "i8"), ("checkpoint_every_us", "i8"), ("finish_us", "i8"),
        ("preempted_us", "i8"), ("pool", "i4"), ("kind", "i4"), ("loaded", "i4"), ("job", "i4"),
        ("lease", "i4"), ("epoch", "i4"), ("prev", "i4"), ("next", "i4"), ("phase", "i1"),
        ("is_draining", "i1"), ("is_warned", "i1"), ("is_listed", "i1"),
    ],
    align=True,
)  # fmt: skip
JOB = np.dtype(
    [
        ("arrived_us", "i8"), ("work_us", "i8"), ("kept_us", "i8"), ("progress_mark_us", "i8"),
        ("number", "i8"), ("rank", "f8"), ("estimate_s", "f8"), ("fair_start_s", "f8"),
        ("stream", "i4"), ("owner", "i4"), ("prev", "i4"), ("next", "i4"), ("child", "i4"),
        ("sibling", "i4"), ("is_waiting", "i1"), ("is_awaiting_requeue", "i1"),
    ],
    align=True,
)  # fmt: skip
TREAP_NODE = np.dtype(
    [
        ("finish_us", "i8"), ("rank", "f8"), ("job", "i8"),
        ("left", "i4"), ("right", "i4"), ("best", "i4"), ("priority", "i4"),
    ],
    align=True,
)  # fmt: skip
EVENT = np.dtype([("time_us", "i8"), ("key", "i8"), ("epoch", "i8")], align=True)
KIND = np.dtype([("load_us", "i8"), ("load_s", "f8")], align=True)
POOL = np.dtype([("notice_us", "i8"), ("checkpoint_every_us", "i8")], align=True)
STREAM = np.dtype(
    [
        ("mean_s", "f8"), ("delay_s", "f8"), ("due_after_s", "f8"),
        ("queue", "i4"), ("model", "i4"),
    ],
    align=True,
)  # fmt: skip


class Counters(IntEnum):
    """Indices into `SimulationState.counters`: single numbers that change during a run."""

    NUM_EVENTS = 0
    FREE_JOB = 1
    SHARED_LOSS = 2
    CHART = 3
    MAX_LEASE = 4
    NUM_ARRIVED = 5
    SOURCES = 6


class Parameters(IntEnum):
    """Indices into `SimulationState.parameters`: single numbers that are fixed for a run."""

    HORIZON = 0
    CHECKPOINT = 1
    RESUME = 2
    LEASE = 3
    CHART = 4
    HAS_PREEMPTION = 5
    HAS_CHECKPOINTS = 6
    EXACT = 7


class SimulationState(NamedTuple):
    """Everything the compiled functions read and write."""

    counters: NDArray[np.int64]
    parameters: NDArray[np.int64]
    kinds: Any
    pools: Any
    streams: Any
    time_factor: NDArray[np.float64]  # kind, stream
    fits: NDArray[np.bool_]  # kind, queue
    queue_model: NDArray[np.int32]
    queue_heads: NDArray[np.int32]  # queue -> its first job
    idle_lists: NDArray[np.int32]  # kind, model + 1 -> the node that became idle last
    treap_roots: NDArray[np.int32]  # kind, model -> root of the treap of running jobs
    owner_tails: NDArray[np.int32]  # owner -> its last unfinished job
    nodes: Any
    treap: Any
    treap_path: NDArray[np.int32]
    shared_loss_us: NDArray[np.int64]
    shared_loss_node: NDArray[np.int32]
    gauges: NDArray[np.int64]
    chart: NDArray[np.int64]
    time_use_us: NDArray[np.int64]
    kept_work_us: NDArray[np.int64]
    events: NDArray[np.int64]
    digest: NDArray[np.uint64]
    jobs: Any
    event_heap: Any
    wait_us: NDArray[np.int64]
    turnaround_us: NDArray[np.int64]
    startup_us: NDArray[np.int64]  # lease, node
    lifetime_us: NDArray[np.int64]
    absence_us: NDArray[np.int64]


def new_state(experiment: Experiment) -> SimulationState:
    """Return the state of a run at time 0: every node starting, no jobs."""
    num_kinds, num_streams = len(experiment.kinds), len(experiment.streams)
    num_queues, num_models = len(experiment.queues), len(experiment.models)
    num_points = -(-experiment.horizon_us // experiment.chart_every_us)
    shared_loss_us, shared_loss_node = draws.shared_losses(experiment)
    first = draws.lease_draws(experiment, 0)
    return SimulationState(
        counters=np.array([0, NIL, 0, 0, 0, 0, 0], np.int64),
        parameters=_parameters(experiment),
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
        queue_heads=_nil(num_queues),
        idle_lists=_nil(num_kinds, num_models + 1),
        treap_roots=_nil(num_kinds, num_models),
        owner_tails=_nil(max(1, experiment.num_owners)),
        nodes=_nodes(experiment),
        treap=np.zeros(experiment.num_nodes, TREAP_NODE),
        treap_path=np.zeros(4096, np.int32),
        shared_loss_us=shared_loss_us,
        shared_loss_node=shared_loss_node,
        gauges=np.zeros(len(Gauge), np.int64),
        chart=np.zeros((num_points, len(Gauge)), np.int64),
        time_use_us=np.zeros((len(experiment.pools), len(TimeUse)), np.int64),
        kept_work_us=np.zeros(num_streams, np.int64),
        events=np.zeros(len(EventType), np.int64),
        digest=np.zeros(1, np.uint64),
        jobs=np.zeros(0, JOB),
        event_heap=np.zeros(experiment.num_nodes + 64, EVENT),
        wait_us=np.zeros(0, np.int64),
        turnaround_us=np.zeros(0, np.int64),
        startup_us=first.startup_us[None],
        lifetime_us=first.lifetime_us[None],
        absence_us=first.absence_us[None],
    )


def _nil(*shape: int) -> NDArray[np.int32]:
    return np.full(shape, NIL, np.int32)


def _parameters(experiment: Experiment) -> NDArray[np.int64]:
    parameters = np.zeros(len(Parameters), np.int64)
    parameters[Parameters.HORIZON] = experiment.horizon_us
    parameters[Parameters.CHECKPOINT] = experiment.checkpoint_us
    parameters[Parameters.RESUME] = experiment.resume_us
    parameters[Parameters.LEASE] = experiment.lease_us
    parameters[Parameters.CHART] = experiment.chart_every_us
    parameters[Parameters.HAS_PREEMPTION] = experiment.has_preemption and experiment.has_checkpoints
    parameters[Parameters.HAS_CHECKPOINTS] = experiment.has_checkpoints
    parameters[Parameters.EXACT] = experiment.estimates == "exact"
    return parameters


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
    """Return whether the policy lets a kind (row) take jobs from a queue (column)."""
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
    nodes["job"] = nodes["prev"] = nodes["next"] = NIL
    return nodes
