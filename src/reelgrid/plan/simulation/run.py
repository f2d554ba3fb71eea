"""Entry point of the simulator: choose an engine, run an experiment, compare with and without checkpoints.

There are two engines with equal results: `reference`, plain Python, and `fast`, compiled by numba.
Independent runs share the cores: the fast engine releases the interpreter's lock.
"""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Literal

from reelgrid.errors import RequestError
from reelgrid.plan.simulation.experiment import US, Experiment
from reelgrid.plan.simulation.result import RunResult
from reelgrid.plan.simulation.statistics import RunStatistics, summarize

Engine = Literal["auto", "reference", "fast"]

OnTime = Callable[[int], None]
"""Called now and then with the simulated time reached, in microseconds."""

OnShare = Callable[[float], None]
"""Called with the share of all simulated time that is done, 0 to 1."""

SMALL_EVENTS = 60_000
"""Below it the reference engine finishes before numba has been loaded."""

_WAKE_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same jobs, nodes and losses with checkpoints and without.

    Attributes:
        experiment: The first run, with checkpoints.
        engine: The engine that ran, `reference` or `fast`.
        with_checkpoints: Statistics of the service as it is.
        without_checkpoints: Statistics of a service that keeps no state: a lost job starts again
            and no job is preempted; `None` if these runs were not requested.
        num_events: Events taken off the event heaps of all runs.
    """

    experiment: Experiment
    engine: str
    with_checkpoints: RunStatistics
    without_checkpoints: RunStatistics | None
    num_events: int


def simulate(
    experiment: Experiment, *, engine: Engine = "auto", on_time: OnTime | None = None
) -> RunResult:
    """Run an experiment once; the same experiment gives the same bytes on both engines.

    Args:
        experiment: The fleet, its jobs and the seed.
        engine: `auto` chooses by the size of the experiment.
        on_time: Called with progress.

    Returns:
        The result.

    Raises:
        RequestError: The fast engine is requested and numba is not installed.
    """
    return _load(_chosen(engine, experiment))(experiment, on_time=on_time)


def compare(
    experiment: Experiment,
    *,
    num_runs: int = 1,
    engine: Engine = "auto",
    also_without_checkpoints: bool = True,
    promise_s: float | None = None,
    on_share: OnShare | None = None,
) -> Comparison:
    """Run an experiment with independent seeds, with checkpoints and without.

    Args:
        experiment: The first run; the n-th after it has its seed plus n times 2^32.
        num_runs: Independent runs of each variant.
        engine: `auto` chooses by the size of the experiment.
        also_without_checkpoints: Whether to run the variant without checkpoints.
        promise_s: A wait in seconds; the share of jobs that wait no longer is one of the figures.
        on_share: Called with progress, from any thread.

    Returns:
        The statistics of both variants.

    Raises:
        RequestError: The fast engine is requested and numba is not installed.
    """
    chosen = _chosen(engine, experiment)
    runs = [replace(experiment, seed=experiment.seed + (n << 32)) for n in range(num_runs)]
    if also_without_checkpoints:
        runs += [each.without_checkpoints() for each in runs]
    results = _run_all(runs, chosen, on_share)
    for result in results:
        assert not list(result.conservation_errors()), list(result.conservation_errors())
    without = summarize(results[num_runs:], promise_s) if also_without_checkpoints else None
    return Comparison(
        experiment=experiment,
        engine=chosen,
        with_checkpoints=summarize(results[:num_runs], promise_s),
        without_checkpoints=without,
        num_events=sum(result.num_heap_events for result in results),
    )


def choose_engine(experiment: Experiment) -> Literal["reference", "fast"]:
    """Return the engine that finishes first; the reference engine where numba is missing."""
    is_small = expected_events(experiment) < SMALL_EVENTS and experiment.num_nodes <= 1_000
    return "reference" if is_small or find_spec("numba") is None else "fast"


def expected_events(experiment: Experiment) -> float:
    """Return the approximate number of events of a run: two per job, three per lease of a node."""
    hours = experiment.horizon_us / (3600 * US)
    jobs = sum(sum(s.jobs_per_h) / len(s.jobs_per_h) for s in experiment.streams) * hours
    leases = sum(
        pool.count
        * (1 + experiment.horizon_us / (pool.lifetime_scale_us + pool.startup_median_us + 1))
        for pool in experiment.pools
    )
    return 2 * jobs + 3 * leases


def _chosen(engine: Engine, experiment: Experiment) -> Literal["reference", "fast"]:
    return choose_engine(experiment) if engine == "auto" else engine


def _load(engine: str) -> Callable[..., RunResult]:
    """Return the `run` function of an engine; numba is imported only for the fast one."""
    if engine == "reference":
        from reelgrid.plan.simulation.reference.engine import run

        return run
    if find_spec("numba") is None:
        raise RequestError(
            'the fast engine needs numba: pip install "reelgrid[plan]", or --engine reference',
            param="engine",
        )
    from reelgrid.plan.simulation.fast.engine import run as run_fast

    return run_fast


def _run_all(
    experiments: Sequence[Experiment], engine: str, on_share: OnShare | None
) -> list[RunResult]:
    run = _load(engine)
    reached_us, is_stopped = [0] * len(experiments), threading.Event()
    total_us = sum(experiment.horizon_us for experiment in experiments)

    def run_one(index: int) -> RunResult:
        def on_time(time_us: int) -> None:
            if is_stopped.is_set():
                raise InterruptedError
            reached_us[index] = time_us
            if on_share is not None:
                on_share(sum(reached_us) / total_us)

        return run(experiments[index], on_time=on_time)

    if engine == "reference" or len(experiments) == 1:
        return [run_one(index) for index in range(len(experiments))]
    return _run_on_threads(run_one, len(experiments), is_stopped)


def _run_on_threads(
    run_one: Callable[[int], RunResult], num_runs: int, is_stopped: threading.Event
) -> list[RunResult]:
    """Return the results of all runs; an error or Ctrl-C stops every run.

    Python handles a signal in the main thread, between two of its instructions. One that arrives
    just before the thread blocks is handled when it wakes, so no wait here is long.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        try:
            futures = [pool.submit(run_one, index) for index in range(num_runs)]
            pending = set(futures)
            while pending:
                done, pending = wait(pending, _WAKE_EVERY_S, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
            return [future.result() for future in futures]
        except BaseException:  # leaving the pool waits for its threads, so they have to stop
            is_stopped.set()
            raise
