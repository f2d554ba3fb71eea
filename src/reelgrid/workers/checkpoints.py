"""Checkpoints of a job: how often they are saved, and how they are stored.

The blob is complete before the job queue's row names it. The queue keeps the newest two and says
which blobs nobody needs any more.
"""

import math
from pathlib import Path

from reelgrid.engine.checkpoint import Checkpoint, write_checkpoint
from reelgrid.engine.checkpointer import Checkpointer
from reelgrid.errors import GenerationError, StaleClaim
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.lease import Lease

CHEAP_SHARE = 0.01
"""A snapshot that stops the steps for less than this share of the requested interval is cheap enough."""

MOST_SHARE = 0.1
"""Snapshots of a job that loses its workers stop the steps for no more than this share of the time."""
MAX_HALVINGS = 4


def job_checkpointer(context: WorkerContext, lease: Lease) -> Checkpointer:
    """Return the checkpointer of a claimed job; it stores nothing once the lease is stale."""
    intervals, claim = context.intervals, lease.claim

    def interval_s(cost_s: float) -> float:
        return checkpoint_interval_s(
            intervals.checkpoint_every_s,
            cost_s,
            intervals.between_failures_s,
            losses=claim.job.losses,
        )

    def store(checkpoint: Checkpoint, step: int) -> None:
        try:
            _store(context, lease, checkpoint, step)
        except Exception as error:  # a remote store has errors of its own
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise GenerationError(
                f"{claim.id}: the checkpoint at step {step} is not stored: {reason}"
            ) from error

    return Checkpointer(store, interval_s, log_fields={"job": claim.id}, clock=context.clock)


def _store(context: WorkerContext, lease: Lease, checkpoint: Checkpoint, step: int) -> None:
    """Store the blob, then the row, then delete the blobs that no row names any more."""
    claim, began_at = lease.claim, context.clock()
    blob = f"{checkpoints_prefix(claim.id)}{claim.epoch:05}-{step:06}.safetensors"
    try:
        _upload(context, checkpoint, blob)
        if not lease.is_good:
            context.blobs.delete(blob)
            return
        unneeded = context.job_queue.save_checkpoint(claim, blob, step)
    except StaleClaim:
        lease.mark_stale()
        context.blobs.delete(blob)
        return
    took_s = round(context.clock() - began_at, 4)
    context.trace.record("saved", job=claim.id, epoch=claim.epoch, step=step, took_s=took_s)
    for name in unneeded:
        context.blobs.delete(name)


def _upload(context: WorkerContext, checkpoint: Checkpoint, blob: str) -> None:
    file = context.scratch / Path(blob).name
    try:
        write_checkpoint(file, checkpoint)
        context.blobs.put(blob, file)
    finally:
        file.unlink(missing_ok=True)


def checkpoints_prefix(job_id: str) -> str:
    """Return the prefix of the names of a job's checkpoint blobs."""
    return f"checkpoints/{job_id}/"


def checkpoint_interval_s(
    requested_s: float, cost_s: float, between_failures_s: float, *, losses: int = 0
) -> float:
    """Return the seconds of work from one checkpoint to the next.

    Where snapshots are expensive, Daly's interval if that is longer than the requested one. Half as
    long for every worker that the job has lost lately, because its failures come faster than the mean
    says. Even then snapshots take no more than a tenth of the time.

    Args:
        requested_s: The interval that was asked for; 0 is after every step, whatever it costs.
        cost_s: Seconds that a snapshot stops the work, as measured.
        between_failures_s: Mean time between two failures of a worker.
        losses: Workers that the job has lost without progress.
    """
    if requested_s == 0:
        return 0.0
    calm_s = requested_s
    if cost_s > CHEAP_SHARE * requested_s:
        calm_s = max(requested_s, daly_interval_s(cost_s, between_failures_s))
    least_s = min(calm_s, cost_s / MOST_SHARE)
    return max(math.ldexp(calm_s, -min(losses, MAX_HALVINGS)), least_s)


def daly_interval_s(cost_s: float, between_failures_s: float) -> float:
    """Return the work between checkpoints that loses the least time to checkpoints and failures together.

    Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
    Generation Computer Systems 22 (2006), eq. 37.
    """
    if cost_s >= 2 * between_failures_s:
        return between_failures_s
    ratio = cost_s / (2 * between_failures_s)
    return (
        math.sqrt(2 * cost_s * between_failures_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost_s
    )
