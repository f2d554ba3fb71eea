"""Runs an experiment: as often as asked, with saved state and without, on the engine that suits.

Runs are independent of each other and release the interpreter's lock on the compiled engine, so
that they share the processor's cores. Not here: an engine (`plain`, `machine`).
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

from reelgrid.errors import RequestError
from reelgrid.plan.simulation.experiment import US, Experiment
from reelgrid.plan.simulation.result import RunResult
from reelgrid.plan.simulation.statistics import RunStatistics, summarize

Engine = Literal["auto", "reference", "fast"]
OnShare = Callable[[float], None]
"""Is told which share of all simulated time is done, 0 to 1."""

SMALL_EVENTS = 60_000
"""Below it the plain engine is done before the compiled one is loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same jobs, nodes and losses with saved state and without.

    Attributes:
        experiment: The first run, with saved state.
        engine: Which one ran.
        with_checkpoints: As the service does it.
        without_checkpoints: As a service does it that keeps no state: a lost job begins anew, and
            nothing gives way; none if it was not asked for.
        num_events: Events off the calendars of all runs.
    """

    experiment: Experiment
    engine: str
    with_checkpoints: RunStatistics
    without_checkpoints: RunStatistics | None
    num_events: int


def compare(
    experiment: Experiment,
    *,
    num_runs: int = 1,
    engine: Engine = "auto",
    is_compared: bool = True,
    promise_s: float | None = None,
    on_share: OnShare | None = None,
) -> Comparison:
    """Run an experiment with independent seeds, with saved state and without.

    Args:
        experiment: The first run; the n-th after it has its seed plus n times 2^32.
        num_runs: Independent runs of each variant.
        engine: `auto` takes the plain one for small experiments.
        is_compared: Whether to run the variant without state too.
        promise_s: A wait; the share of jobs that wait no longer is one of the figures.
        on_share: Told of progress, from any thread.

    Returns:
        What both variants say.

    Raises:
        RequestError: The compiled engine is asked for and numba is not installed.
    """
    chosen = engine if engine != "auto" else choose_engine(experiment)
    first = [replace(experiment, seed=experiment.seed + (n << 32)) for n in range(num_runs)]
    wanted = first + [each.without_checkpoints() for each in first] if is_compared else first
    outcomes = _run_all(wanted, chosen, on_share)
    for outcome in outcomes:
        assert not list(outcome.conservation_errors()), list(outcome.conservation_errors())
    return Comparison(
        experiment=experiment,
        engine=chosen,
        with_checkpoints=summarize(outcomes[:num_runs], promise_s),
        without_checkpoints=summarize(outcomes[num_runs:], promise_s) if is_compared else None,
        num_events=sum(outcome.num_heap_events for outcome in outcomes),
    )


def choose_engine(experiment: Experiment) -> Literal["reference", "fast"]:
    """Return the engine that is done first; the plain one where there is no numba."""
    is_small = expected_events(experiment) < SMALL_EVENTS and experiment.num_nodes <= 1_000
    return "reference" if is_small or find_spec("numba") is None else "fast"


def expected_events(experiment: Experiment) -> float:
    """Return about how many events a run has: two a job, and those of nodes."""
    hours = experiment.horizon_us / (3600 * US)
    jobs = sum(sum(s.jobs_per_h) / len(s.jobs_per_h) for s in experiment.streams) * hours
    stays = sum(
        pool.count
        * (1 + experiment.horizon_us / (pool.lifetime_scale_us + pool.startup_median_us + 1))
        for pool in experiment.pools
    )
    return 2 * jobs + 3 * stays


def _run_all(
    experiments: Sequence[Experiment], engine: str, on_share: OnShare | None
) -> list[RunResult]:
    run = _engine(engine)
    reached, is_stopped = [0] * len(experiments), threading.Event()
    total_us = sum(experiment.horizon_us for experiment in experiments)

    def run_one(index: int) -> RunResult:
        def told(time_us: int) -> None:
            if is_stopped.is_set():
                raise InterruptedError
            reached[index] = time_us
            if on_share is not None:
                on_share(sum(reached) / total_us)

        return run(experiments[index], on_time=told)

    if engine == "reference" or len(experiments) == 1:
        return [run_one(index) for index in range(len(experiments))]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            return list(pool.map(run_one, range(len(experiments))))
        except BaseException:  # leaving the pool waits for its threads: Ctrl-C has to reach them
            is_stopped.set()
            raise


def _engine(engine: str) -> Callable[..., RunResult]:
    if engine == "reference":
        from reelgrid.plan.simulation import plain

        return plain.run
    if find_spec("numba") is None:
        raise RequestError(
            'the compiled engine needs numba: pip install "reelgrid[plan]", or --engine plain',
            param="engine",
        )
    from reelgrid.plan.simulation import machine

    return machine.run
