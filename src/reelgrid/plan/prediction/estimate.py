"""What the service asks before it admits a request: seconds on one of its devices, or nothing.

Not here: the queue in front of the device (`jobs`), and what a whole demand takes (`model`).
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reelgrid.catalog import ModelCard
from reelgrid.errors import RequestError
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.hardware import Gpu, find_gpu, read_hardware
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import workload_of_request
from reelgrid.plan.uncertainty import Z_80, Interval
from reelgrid.spec import CompleteRequest, Request

_CARRIED_SIGMA = 0.25  # a measurement scaled by pixels and steps, no architecture known
_LEAST_SIGMA = 0.05


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds of a generation, the model loaded.

    Attributes:
        seconds: With an 80 % interval.
        sigma: Standard deviation of their logarithm.
        basis: What it rests on, in words.
    """

    seconds: Interval
    sigma: float
    basis: str


def estimate(
    card: ModelCard,
    request: Request,
    device: str,
    measurements: Sequence[BenchRecord] = (),
    hardware: Mapping[str, Gpu] | None = None,
) -> Estimate | None:
    """Return what a request takes on a device, or none where nothing is known.

    Args:
        card: The model.
        request: What is wanted; the card's defaults are filled in.
        device: A GPU or machine by the name that records of it have, such as `NVIDIA H200`.
        measurements: Of any models and machines; the device's own of the same model count.
        hardware: Of `read_hardware`; the package's where none is given.

    Raises:
        RequestError: The card refuses the request.
    """
    whole = card.complete(request)
    gpu = _gpu(device, read_hardware() if hardware is None else hardware)
    if gpu is not None and (foreseen := _foreseen(card, whole, gpu, measurements)) is not None:
        return foreseen
    return _scaled(card, whole, device, measurements)


def _foreseen(
    card: ModelCard, whole: CompleteRequest, gpu: Gpu, measurements: Sequence[BenchRecord]
) -> Estimate | None:
    try:
        workload = workload_of_request(card, whole)
    except RequestError:  # no architecture is known: only a measurement can tell
        return None
    answer = predict(workload, gpu, measurements=measurements)
    return Estimate(answer.seconds, answer.sigma, answer.basis[0])


def _scaled(
    card: ModelCard, whole: CompleteRequest, device: str, measurements: Sequence[BenchRecord]
) -> Estimate | None:
    """Return a measurement of the same model and machine, scaled by pixels and steps."""
    pixels = whole.size.width * whole.size.height * whole.num_frames
    own = [
        record
        for record in measurements
        if record.model == card.name
        and device in {record.machine, record.machine.split(",")[0]}
        and not (record.run == 1 and record.num_runs > 1)
    ]
    if not own:
        return None
    logs = [math.log(_scaled_s(record, pixels, whole.num_steps)) for record in own]
    same = all(record.width * record.height * record.num_frames == pixels for record in own)
    spread = statistics.pstdev(logs)
    sigma = max(_LEAST_SIGMA, math.hypot(spread, 0.0 if same else _CARRIED_SIGMA))
    likely, factor = math.exp(statistics.median(logs)), math.exp(Z_80 * sigma)
    words = f"measured on {device}, {len(own)} runs" + ("" if same else ", scaled by pixels")
    return Estimate(Interval(likely / factor, likely, likely * factor), sigma, words)


def _scaled_s(record: BenchRecord, pixels: int, num_steps: int) -> float:
    share = pixels / (record.width * record.height * record.num_frames)
    step_s = record.denoise_s / record.num_steps
    return record.encode_s + share * (step_s * num_steps + record.decode_s)


def _gpu(device: str, hardware: Mapping[str, Gpu]) -> Gpu | None:
    try:
        return find_gpu(device.split(",")[0], hardware)
    except RequestError:
        return None
