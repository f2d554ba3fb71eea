"""How fast each kind of offer makes each workload, and whether it can make it at all."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

from reelgrid.errors import RequestError
from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.offers.demand import LeaseDemand, PeakWorkload
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.prediction.calibration import read_calibration
from reelgrid.plan.prediction.predict import Prediction, predict
from reelgrid.plan.prediction.workload import Workload, workload_of
from reelgrid.units import SECONDS_PER_HOUR


class OfferKind(NamedTuple):
    """What the speed of an offer depends on: offers of one kind make clips alike."""

    gpu: str
    gpus_per_lease: int
    is_trusted: bool
    minutes_per_gpu_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSpeed:
    """One way to make a workload on one kind of offer.

    Attributes:
        gpus_per_clip: GPUs that work on one clip.
        minutes_per_gpu_hour: Minutes of video an hour of a leased GPU makes while it works; GPUs
            of a lease that are too few for another clip stand idle.
        seconds: From prompt to frames.
        need_gib: Device memory of each GPU; `None` where the user measured the rate.
        usable_gib: What the GPU has for it.
        fits: Whether that is enough, with parts of the model kept off the device if need be.
        basis: What the figures are based on, for people.
    """

    gpus_per_clip: int
    minutes_per_gpu_hour: float
    seconds: float
    need_gib: float | None
    usable_gib: float
    fits: bool
    basis: str


def offer_kind(offer: Offer) -> OfferKind:
    """Return what an offer's speed depends on."""
    return OfferKind(offer.gpu, offer.gpus_per_lease, offer.is_trusted, offer.minutes_per_gpu_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSpeeds:
    """All ways to make every workload on every kind of offer."""

    table: Mapping[tuple[OfferKind, str], tuple[OfferSpeed, ...]]

    def best(self, kind: OfferKind, workload: PeakWorkload) -> OfferSpeed | None:
        """Return the fastest way that keeps the promise, or `None`."""
        able = [
            speed
            for speed in self.table[kind, workload.name]
            if speed.fits and (workload.within_s is None or speed.seconds <= workload.within_s)
        ]
        return max(able, key=lambda speed: speed.minutes_per_gpu_hour, default=None)


def with_known_names(offers: Sequence[Offer], facts: Facts) -> tuple[Offer, ...]:
    """Return the offers with the names that the hardware table gives their GPUs.

    Raises:
        RequestError: A GPU is unknown; the message names the most similar.
    """
    return tuple(replace(offer, gpu=find_gpu(offer.gpu, facts.hardware).name) for offer in offers)


def offer_speeds(demand: LeaseDemand, offers: Iterable[Offer], facts: Facts) -> OfferSpeeds:
    """Return how fast the offers make the workloads.

    Args:
        demand: The workloads.
        offers: From `with_known_names`.
        facts: Hardware, architectures and measurements.

    Raises:
        RequestError: A model is unknown or cannot make the workload, a measured rate is of an
            unknown GPU, or one rate is given for offers that have several workloads to make.
    """
    kinds = dict.fromkeys(map(offer_kind, offers))
    if len(demand.workloads) > 1 and any(kind.minutes_per_gpu_hour for kind in kinds):
        raise RequestError(
            "the offers' minutes_per_gpu_hour cannot say for which of "
            f"{len(demand.workloads)} workloads: give them in the demand, [workloads."
            "minutes_per_gpu_hour]",
            param="minutes_per_gpu_hour",
        )
    table = {}
    for workload in demand.workloads:
        measured = {
            find_gpu(name, facts.hardware).name: rate
            for name, rate in workload.minutes_per_gpu_hour.items()
        }
        clip_work = clip_work_of(workload, facts)
        ask = functools.cache(functools.partial(_ask, clip_work, facts))
        for kind in kinds:
            given = kind.minutes_per_gpu_hour or measured.get(kind.gpu)
            gpu = facts.hardware[kind.gpu]
            table[kind, workload.name] = (
                (_measured(clip_work, gpu, given),)
                if given
                else tuple(_predicted(demand, workload, clip_work, gpu, kind.gpus_per_lease, ask))
            )
    return OfferSpeeds(table=table)


def clip_work_of(workload: PeakWorkload, facts: Facts) -> Workload:
    """Return what a clip of a workload computes, with the model's defaults.

    Raises:
        RequestError: The model is unknown or cannot make it.
    """
    clip_work = workload_of(
        find_architecture(workload.model, facts.architectures),
        size=workload.size,
        num_frames=workload.num_frames,
        num_steps=workload.num_steps,
        forwards_per_step=workload.forwards_per_step,
        fps=workload.fps,
    )
    if clip_work.clip_s == 0:
        raise RequestError(f"{workload.name}: {workload.model} makes images, not minutes of video")
    return clip_work


def _ask(clip_work: Workload, facts: Facts, gpu: Gpu, num_gpus: int) -> Prediction:
    return predict(
        clip_work,
        gpu,
        num_gpus=num_gpus,
        measurements=facts.measurements,
        calibration=read_calibration(facts.calibration_file),
    )


def _measured(clip_work: Workload, gpu: Gpu, minutes_per_gpu_hour: float) -> OfferSpeed:
    return OfferSpeed(
        gpus_per_clip=1,
        minutes_per_gpu_hour=minutes_per_gpu_hour,
        seconds=clip_work.clip_s / 60 / minutes_per_gpu_hour * SECONDS_PER_HOUR,
        need_gib=None,
        usable_gib=gpu.memory_gb,
        fits=True,
        basis="the user's measurement",
    )


def _predicted(
    demand: LeaseDemand,
    workload: PeakWorkload,
    clip_work: Workload,
    gpu: Gpu,
    in_lease: int,
    ask: Callable[[Gpu, int], Prediction],
) -> Iterable[OfferSpeed]:
    """Yield a way for each number of GPUs that may share a clip."""
    for num_gpus in sorted(set(workload.gpus_per_clip)):
        if num_gpus > in_lease:
            continue
        found = ask(gpu, num_gpus)
        error = math.exp(found.sigma * NormalDist().inv_cdf(demand.confidence))
        seconds = found.seconds.likely * error
        clips_at_once = in_lease // num_gpus
        yield OfferSpeed(
            gpus_per_clip=num_gpus,
            minutes_per_gpu_hour=clip_work.clip_s * 60 / seconds * clips_at_once / in_lease,
            seconds=seconds,
            need_gib=found.memory.total_gib,
            usable_gib=found.memory.usable_gib,
            fits=found.memory.fits,
            basis="; ".join(found.basis),
        )
