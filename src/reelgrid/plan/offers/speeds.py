"""How fast each kind of offer makes each workload, and which cannot make it at all, and why.

Not here: prices and counts (`solve`), and the prediction itself (`predict`).
"""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TypeAlias

from reelgrid.errors import RequestError
from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.offers.offer import Offer
from reelgrid.plan.offers.order import LeaseDemand, PeakWorkload
from reelgrid.plan.prediction.predict import Prediction, predict
from reelgrid.plan.prediction.workload import Workload, workload_of

HOUR_S = 3600.0

OfferKind: TypeAlias = tuple[str, int, bool, float | None]
"""GPU, GPUs a lease, trust, measured rate: offers that are alike in these make clips alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSpeed:
    """One way to make a workload on one kind of offer.

    Attributes:
        gpus_per_clip: GPUs that work on one clip.
        minutes_per_gpu_hour: Minutes of video an hour of a leased GPU makes while it works; GPUs
            of a lease that are too few for another clip stand idle.
        seconds: From prompt to frames.
        need_gib: Device memory of each GPU; none where the user measured the rate.
        usable_gib: What the GPU has for it.
        fits: Whether that is enough, with parts of the model kept off the device if need be.
        basis: What the figures rest on, in words.
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
    return (offer.gpu, offer.gpus_per_lease, offer.is_trusted, offer.minutes_per_gpu_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSpeeds:
    """All ways to make every workload on every kind of offer."""

    table: Mapping[tuple[OfferKind, str], tuple[OfferSpeed, ...]]

    def best(self, kind: OfferKind, job: PeakWorkload) -> OfferSpeed | None:
        """Return the way that makes most and keeps the promise, or none."""
        able = [
            speed
            for speed in self.table[kind, job.name]
            if speed.fits and (job.within_s is None or speed.seconds <= job.within_s)
        ]
        return max(able, key=lambda speed: speed.minutes_per_gpu_hour, default=None)


def named(offers: Sequence[Offer], facts: Facts) -> tuple[Offer, ...]:
    """Return the offers with the names that the hardware table gives their GPUs.

    Raises:
        RequestError: A GPU is unknown; the message names the most similar.
    """
    return tuple(replace(offer, gpu=find_gpu(offer.gpu, facts.hardware).name) for offer in offers)


def offer_speeds(order: LeaseDemand, offers: Iterable[Offer], facts: Facts) -> OfferSpeeds:
    """Return how fast the offers make the order's workloads.

    Args:
        order: What is wanted.
        offers: From `named`.
        facts: Hardware, architectures and measurements.

    Raises:
        RequestError: A model is unknown or cannot make the workload, a measured rate is of an
            unknown GPU, or one rate is given for offers that have several workloads to make.
    """
    kinds = dict.fromkeys(map(offer_kind, offers))
    if len(order.workloads) > 1 and any(rate is not None for *_, rate in kinds):
        raise RequestError(
            "the offers' minutes_per_gpu_hour cannot say for which of "
            f"{len(order.workloads)} workloads: give them in the demand, [workloads."
            "minutes_per_gpu_hour]",
            param="minutes_per_gpu_hour",
        )
    table = {}
    for job in order.workloads:
        measured = {
            find_gpu(name, facts.hardware).name: rate
            for name, rate in job.minutes_per_gpu_hour.items()
        }
        workload = workload_for(job, facts)
        ask = functools.cache(functools.partial(_ask, workload, facts))
        for kind in kinds:
            given = kind[3] or measured.get(kind[0])
            gpu = facts.hardware[kind[0]]
            table[kind, job.name] = (
                (_measured(workload, gpu, given),)
                if given
                else tuple(_predicted(order, job, workload, gpu, kind[1], ask))
            )
    return OfferSpeeds(table=table)


def workload_for(job: PeakWorkload, facts: Facts) -> Workload:
    """Return the workload of a job, the model's defaults filled in.

    Raises:
        RequestError: The model is unknown or cannot make it.
    """
    workload = workload_of(
        find_architecture(job.model, facts.architectures),
        size=job.size,
        num_frames=job.num_frames,
        num_steps=job.num_steps,
        forwards_per_step=job.forwards_per_step,
        fps=job.fps,
    )
    if workload.clip_s == 0:
        raise RequestError(f"{job.name}: {job.model} makes images, not minutes of video")
    return workload


def _ask(workload: Workload, facts: Facts, gpu: Gpu, num_gpus: int) -> Prediction:
    return predict(workload, gpu, num_gpus=num_gpus, measurements=facts.measurements)


def _measured(workload: Workload, gpu: Gpu, minutes_per_gpu_hour: float) -> OfferSpeed:
    return OfferSpeed(
        gpus_per_clip=1,
        minutes_per_gpu_hour=minutes_per_gpu_hour,
        seconds=workload.clip_s / 60 / minutes_per_gpu_hour * HOUR_S,
        need_gib=None,
        usable_gib=gpu.memory_gb,
        fits=True,
        basis="the user's measurement",
    )


def _predicted(
    order: LeaseDemand,
    job: PeakWorkload,
    workload: Workload,
    gpu: Gpu,
    in_lease: int,
    ask: Callable[[Gpu, int], Prediction],
) -> Iterable[OfferSpeed]:
    """Yield a way for each number of GPUs that may share a clip."""
    for num_gpus in sorted(set(job.gpus_per_clip)):
        if num_gpus > in_lease:
            continue
        found = ask(gpu, num_gpus)
        error = math.exp(found.sigma * NormalDist().inv_cdf(order.sureness))
        seconds = found.seconds.likely * error
        clips_at_once = in_lease // num_gpus
        yield OfferSpeed(
            gpus_per_clip=num_gpus,
            minutes_per_gpu_hour=workload.clip_s * 60 / seconds * clips_at_once / in_lease,
            seconds=seconds,
            need_gib=found.memory.total_gib,
            usable_gib=found.memory.usable_gib,
            fits=found.memory.fits,
            basis="; ".join(found.basis),
        )
