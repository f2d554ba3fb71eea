"""Time of work on a worker, with checkpoints, losses and repeated work; shared by both engines.

Functions of plain numbers: the reference engine calls them, the fast one compiles them. Work and
time are whole microseconds; *work* is time on the first kind of worker that fits, *time* is that of
the worker at hand.
"""


def execution_us(work_us: int, time_factor: float) -> int:
    """Return the time a worker needs for some work; at least 1 if there is work."""
    if work_us <= 0:
        return 0
    return max(1, int(work_us * time_factor + 0.5))


def work_done(work_us: int, total_us: int, elapsed_us: int) -> int:
    """Return the work done after `elapsed_us` of the `total_us` that `work_us` takes."""
    if elapsed_us >= total_us:
        return work_us
    if work_us == total_us:
        return elapsed_us
    return min(work_us, int(work_us * (elapsed_us / total_us)))


def with_checkpoints_us(total_us: int, checkpoint_every_us: int, checkpoint_us: int) -> int:
    """Return the time of an execution with a checkpoint after every interval of work but the last."""
    if checkpoint_every_us <= 0 or total_us <= 0:
        return total_us
    return total_us + (total_us - 1) // checkpoint_every_us * checkpoint_us


def computed_us(elapsed_us: int, checkpoint_every_us: int, checkpoint_us: int) -> int:
    """Return the computing part of the elapsed time; the rest went into checkpoints."""
    if checkpoint_every_us <= 0:
        return elapsed_us
    cycles, rest_us = divmod(elapsed_us, checkpoint_every_us + checkpoint_us)
    return cycles * checkpoint_every_us + min(rest_us, checkpoint_every_us)


def checkpointed_us(elapsed_us: int, checkpoint_every_us: int, checkpoint_us: int) -> int:
    """Return the computing time covered by the last completed checkpoint."""
    if checkpoint_every_us <= 0:
        return 0
    return elapsed_us // (checkpoint_every_us + checkpoint_us) * checkpoint_every_us


def redone_us(kept_us: int, total_us: int, work_us: int, done_before_us: int) -> int:
    """Return the part of the kept time that repeated work lost earlier.

    Args:
        kept_us: Time whose work is kept.
        total_us: Time that all remaining work takes at the start of the execution.
        work_us: The remaining work.
        done_before_us: Part of it that was done once already and lost.
    """
    if done_before_us <= 0:
        return 0
    if done_before_us >= work_us:
        return kept_us
    return min(kept_us, execution_us(done_before_us, total_us / work_us))


def remaining_estimate_s(estimate_s: float, left_us: int, work_us: int) -> float:
    """Return the job queue's estimate of the remaining time of a job."""
    return estimate_s * (left_us / work_us)
