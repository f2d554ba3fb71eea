"""How work becomes time on a worker, and how the time of one stay on a worker is divided.

Functions of plain numbers: the plain engine calls them, the compiled one compiles them. Work and
time are whole microseconds; *work* is time on the first kind that fits, *time* is a worker's.
"""


def worker_us(work_us: int, time_factor: float) -> int:
    """Return the time a worker needs for some work; at least 1 if there is any."""
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


def with_saves_us(total_us: int, every_us: int, checkpoint_us: int) -> int:
    """Return the time of a stay with a save after every `every_us` of work; none at the end."""
    if every_us <= 0 or total_us <= 0:
        return total_us
    return total_us + (total_us - 1) // every_us * checkpoint_us


def computed_us(elapsed_us: int, every_us: int, checkpoint_us: int) -> int:
    """Return how much of the elapsed time went into work; the rest went into saves."""
    if every_us <= 0:
        return elapsed_us
    cycles, rest_us = divmod(elapsed_us, every_us + checkpoint_us)
    return cycles * every_us + min(rest_us, every_us)


def saved_us(elapsed_us: int, every_us: int, checkpoint_us: int) -> int:
    """Return how much of the computed time a completed save has made safe."""
    if every_us <= 0:
        return 0
    return elapsed_us // (every_us + checkpoint_us) * every_us


def again_us(kept_us: int, total_us: int, work_us: int, done_before_us: int) -> int:
    """Return how much of the kept time repeated work that had been done before and was lost.

    Args:
        kept_us: Time whose work is kept.
        total_us: Time that all work left at the beginning of the stay would take.
        work_us: That work.
        done_before_us: Work beyond the beginning of the stay that had been done once already.
    """
    if done_before_us <= 0:
        return 0
    if done_before_us >= work_us:
        return kept_us
    return min(kept_us, worker_us(done_before_us, total_us / work_us))


def estimate_left_s(estimate_s: float, left_us: int, work_us: int) -> float:
    """Return what the desk believes is left of a job."""
    return estimate_s * (left_us / work_us)
