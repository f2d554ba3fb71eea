"""Refit of the formula with the user's own measurements, and its errors before and after.

The user's records of `reelgrid bench` join the observations that the package's calibration is fitted
to, as one source. The errors are cross-validated: "before" is a fit without any of them, "after" a
fit without those of the same model on the same GPU.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reelgrid.errors import RequestError
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import Architecture, find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.prediction.calibration import OWN_SOURCE, Calibration
from reelgrid.plan.prediction.cross_validation import (
    Errors,
    Guess,
    Progress,
    errors,
    fit_with_intervals,
    leave_out,
    leave_out_each,
    source_of,
)
from reelgrid.plan.prediction.fit import training_set
from reelgrid.plan.prediction.memory import memory_need
from reelgrid.plan.prediction.observations import Observation, Stack
from reelgrid.plan.prediction.predict import workload_of_record
from reelgrid.plan.prediction.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """A refit and its cross-validated errors.

    Attributes:
        calibration: The fit of published and own observations.
        own: The user's observations.
        before: Guesses of `own` by a fit without any of them.
        after: Guesses of `own`, each by a fit without its model on its GPU; empty if there is only
            one model on one GPU.
        published: Guesses of the published latencies, each by a fit without its source.
    """

    calibration: Calibration
    own: tuple[Observation, ...]
    before: tuple[Guess, ...]
    after: tuple[Guess, ...]
    published: tuple[Guess, ...]

    @property
    def errors_by_case(self) -> dict[str, Errors]:
        """Errors of the non-empty groups of guesses, by what they are."""
        factor = self.calibration.widening
        groups = {
            "your measurements, before": self.before,
            "your measurements, after": self.after,
            "published latencies, sources left out": self.published,
        }
        return {name: errors(guesses, factor) for name, guesses in groups.items() if guesses}


def recalibrate(
    own: Sequence[Observation],
    *,
    date: str,
    published: Sequence[Observation] | None = None,
    progress: Progress = lambda done, total: None,
) -> Recalibration:
    """Return the refit with the user's own observations.

    Args:
        own: From `own_observations`; at least one.
        date: Date of the fit.
        published: What else is fitted to; by default what the package's calibration is fitted to.
        progress: Called with the number of fits done and their total.
    """
    others = training_set() if published is None else tuple(published)
    observations = (*others, *own)
    as_observed, unspecified = leave_out_each(observations, source_of, progress)
    folds = {_model_and_gpu(each) for each in own}
    after = leave_out(observations, _model_and_gpu, folds=folds) if len(folds) > 1 else []
    return Recalibration(
        calibration=fit_with_intervals(observations, as_observed, unspecified, date=date),
        own=tuple(own),
        before=tuple(each for each in as_observed if source_of(each.observation) == OWN_SOURCE),
        after=tuple(after),
        published=tuple(
            each
            for each in as_observed
            if each.is_published and source_of(each.observation) != OWN_SOURCE
        ),
    )


def _model_and_gpu(observation: Observation) -> str:
    """Return the fold of an own observation; every other one is in a fold of its own source."""
    if source_of(observation) != OWN_SOURCE:
        return source_of(observation)
    return f"{observation.workload.model.name} on {observation.stack.gpu.name}"


def own_observations(
    records: Sequence[BenchRecord],
    hardware: Mapping[str, Gpu],
    architectures: Mapping[str, Architecture],
) -> tuple[Observation, ...]:
    """Return the records as observations: one a model, GPU and workload, the median of its runs.

    Cold runs, and records of unknown models or of machines without a known GPU, are left out.

    Args:
        records: Records of `reelgrid bench`.
        hardware: From `read_hardware`.
        architectures: From `read_architectures`.

    Raises:
        RequestError: No record is left.
    """
    runs: dict[tuple[Workload, str], list[BenchRecord]] = {}
    for record in records:
        case = None if record.is_cold else _case_of_record(record, hardware, architectures)
        if case is not None:
            runs.setdefault(case, []).append(record)
    if not runs:
        raise RequestError(
            "expected records of reelgrid bench of a known model on a known GPU, got none among "
            f"{len(records)} records; see reelgrid plan models and reelgrid plan hardware"
        )
    found = (
        _observation(workload, hardware[gpu], alike) for (workload, gpu), alike in runs.items()
    )
    return tuple(sorted(found, key=lambda each: each.name))


def _case_of_record(
    record: BenchRecord,
    hardware: Mapping[str, Gpu],
    architectures: Mapping[str, Architecture],
) -> tuple[Workload, str] | None:
    """Return the workload and the name of the GPU of a record; `None` if one is unknown."""
    try:
        model = find_architecture(record.model, architectures)
        gpu = find_gpu(record.machine.split(",")[0], hardware)
    except RequestError:
        return None
    workload = workload_of_record(record, model)
    return None if workload is None else (workload, gpu.name)


def _observation(workload: Workload, gpu: Gpu, records: Sequence[BenchRecord]) -> Observation:
    _, offload = memory_need(workload, gpu)
    shape = f"{workload.size}x{workload.num_frames} {workload.num_steps} steps"
    return Observation(
        name=f"own {workload.model.name} {gpu.name} {shape}",
        workload=workload,
        # Reelgrid runs the pipelines of diffusers with PyTorch's attention
        stack=Stack(gpu=gpu, kernel="portable", software="diffusers", offload=offload),
        seconds=statistics.median(record.busy_s for record in records),
        is_whole=True,
        source=OWN_SOURCE,
        note=f"{len(records)} runs",
        date=records[-1].measured_at[:10],
    )
