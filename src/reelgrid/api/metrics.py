"""Prometheus metrics: the queue's counters and gauges, and this process's HTTP responses.

The queue keeps its counters in the database, so they survive restarts and are the same for every
process; only responses and refusals are counted in this one.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence

import prometheus_client
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from starlette.types import Scope

from reelgrid.jobs.accounting import Counter
from reelgrid.jobs.queue import OperatorQueue
from reelgrid.measurement import minutes_per_gpu_hour

_METHODS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})
# Name of a counter of the queue: help text and label.
_COUNTERS = {
    "submitted": ("Jobs admitted", "model"),
    "completed": ("Jobs completed", "model"),
    "failed": ("Jobs failed or cancelled, by the code of their error", "code"),
    "checkpoints": ("Checkpoints saved", "model"),
    "resumes": ("Generations resumed from a checkpoint", "model"),
    "workers_lost": ("Workers lost while they ran a job, by stage", "stage"),
    "released": ("Jobs that a worker released, by reason", "reason"),
    "wait_s": ("Time from admission or release to a claim", "model"),
    "step_s": ("Mean denoising step of a job", "model"),
    "turnaround_s": ("Time from admission to completion", "model"),
    "gpu_s": ("Worker time of completed jobs", "model"),
    "video_gpu_s": ("Worker time of completed videos", "model"),
    "clip_s": ("Length of completed videos", "model"),
}


class ServerMetrics:
    """Counts HTTP responses; collects all metrics when Prometheus asks."""

    def __init__(self, job_queue: OperatorQueue) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._responses = prometheus_client.Counter(
            "reelgrid_http_responses",
            "HTTP responses by route, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._refusals = prometheus_client.Counter(
            "reelgrid_api_errors", "Refusals by code", ["code"], registry=self.registry
        )
        self._seconds = Histogram(
            "reelgrid_http_seconds",
            "Seconds until a response began",
            ["route"],
            registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )
        self._job_queue = _QueueMetrics(job_queue)
        self.registry.register(self._job_queue)

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a response."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._responses.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if status >= 400 and (code := scope.get("reelgrid.code")):
            self._refusals.labels(code).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format.

        Raises:
            JobQueueError: The queue cannot be read.
        """
        return generate_latest(self.registry)


class _QueueMetrics:
    """The metrics of the job queue, read when Prometheus asks."""

    def __init__(self, job_queue: OperatorQueue) -> None:
        self._job_queue = job_queue

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the metrics are known only when they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield one metric family after the other."""
        yield from self._queue()
        yield from self._workers()
        counters = self._job_queue.counters()
        for name, group in itertools.groupby(counters, key=lambda counter: counter.name):
            yield _family(name, list(group))
        yield _minutes_per_gpu_hour(counters)

    def _queue(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("reelgrid_jobs", "Jobs by phase", labels=["phase", "model"])
        work = GaugeMetricFamily(
            "reelgrid_work_left_seconds", "Estimated work left", labels=["phase", "model"]
        )
        for count in self._job_queue.job_counts():
            jobs.add_metric([count.phase, count.model], count.num)
            work.add_metric([count.phase, count.model], count.remaining_s)
        yield jobs
        yield work
        yield GaugeMetricFamily(
            "reelgrid_oldest_wait_seconds",
            "Wait of the job that has waited longest",
            value=self._job_queue.oldest_wait_s(),
        )

    def _workers(self) -> Iterator[Metric]:
        live = [worker for worker in self._job_queue.workers() if worker.is_live]
        family = GaugeMetricFamily(
            "reelgrid_workers", "Live workers by machine", labels=["machine", "state"]
        )
        states = [(each.info.machine, "idle" if each.is_idle else "busy") for each in live]
        for machine, state in sorted(set(states)):
            family.add_metric([machine, state], states.count((machine, state)))
        yield family


def _family(name: str, counters: Sequence[Counter]) -> Metric:
    description, label = _COUNTERS.get(name, (f"Counted by workers: {name}", "label"))
    if all(math.isinf(counter.bound) for counter in counters) and not name.endswith("_s"):
        total = CounterMetricFamily(f"reelgrid_{name}", description, labels=[label])
        for counter in counters:
            total.add_metric([counter.label], counter.num)
        return total
    family = HistogramMetricFamily(
        f"reelgrid_{name.removesuffix('_s')}_seconds", description, labels=[label]
    )
    for value, group in itertools.groupby(counters, key=lambda counter: counter.label):
        buckets, sum_s = _cumulative(list(group))
        family.add_metric([value], buckets, sum_s)
    return family


def _cumulative(counters: Sequence[Counter]) -> tuple[list[tuple[str, float]], float]:
    """Return cumulative buckets, the last one without a bound, and the sum of the values."""
    ordered = sorted(counters, key=lambda counter: counter.bound)
    sums = itertools.accumulate(counter.num for counter in ordered)
    buckets = [
        ("+Inf" if math.isinf(counter.bound) else f"{counter.bound:g}", float(num))
        for counter, num in zip(ordered, sums, strict=True)
    ]
    if not math.isinf(ordered[-1].bound):
        buckets.append(("+Inf", buckets[-1][1]))
    return buckets, sum(counter.total for counter in ordered)


def _minutes_per_gpu_hour(counters: Iterable[Counter]) -> Metric:
    """Return the minutes of video per GPU-hour, over all completed videos, by model."""
    family = GaugeMetricFamily(
        "reelgrid_video_minutes_per_gpu_hour",
        "Minutes of video generated per GPU-hour, over all completed videos",
        labels=["model"],
    )
    sums: dict[tuple[str, str], float] = {}
    for counter in counters:
        key = (counter.name, counter.label)
        sums[key] = sums.get(key, 0.0) + counter.total
    for (name, model), clip_s in sums.items():
        gpu_s = sums.get(("video_gpu_s", model), 0.0)
        if name == "clip_s" and clip_s > 0 and gpu_s > 0:
            family.add_metric([model], minutes_per_gpu_hour(clip_s, gpu_s))
    return family
