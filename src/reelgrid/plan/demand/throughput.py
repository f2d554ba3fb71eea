"""How many minutes of each kind of clip an hour of each kind of GPU makes: given, measured, predicted.

`[[speeds]]` of the file come before the user's measurements, those before published ones, those
before formulas (`prediction`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from reelgrid.errors import RequestError
from reelgrid.plan.facts.architectures import Architecture, find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.prediction.calibration import read_calibration
from reelgrid.plan.prediction.predict import Prediction, predict
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.plan.scenario.values import ClipKind, Hardware, Platform, Scenario, Speed
from reelgrid.plan.uncertainty import (
    Draws,
    Exact,
    Input,
    LogNormal,
    Quantity,
    Triangular,
    Values,
    likely,
)
from reelgrid.user_files.checking import find_at
from reelgrid.user_files.reading import Location

ThroughputKey: TypeAlias = tuple[int, int, int]
"""Platform, clip and hardware, by their positions in the scenario."""

_STANDARD = LogNormal(median=1.0, sigma=1.0)
_NODES = np.array([0.0005, 0.02, 0.15, 0.5, 0.85, 0.98, 0.9995])
"""Quantiles at which a prediction is made, where its inputs are uncertain."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Minutes of video per GPU-hour, predicted at some seconds of a clip and some steps.

    Attributes:
        clip_s: Seconds, ascending.
        steps: Steps, ascending.
        rates: Minutes per GPU-hour, seconds by steps.
    """

    clip_s: Draws
    steps: Draws
    rates: Draws

    def at(self, clip_s: Draws, steps: Draws) -> Draws:
        """Return the rates of draws: linear between the nodes in logarithms, the ends held."""
        if self.rates.size == 1:
            return np.full(np.broadcast(clip_s, steps).shape, self.rates[0, 0])
        at, nodes = np.log(clip_s), np.log(self.clip_s)
        rows = [np.interp(at, nodes, np.log(self.rates[:, j])) for j in range(len(self.steps))]
        if len(rows) == 1:
            return np.exp(rows[0])
        return np.exp(_between(np.log(steps), np.log(self.steps), np.stack(rows)))


def _between(at: Draws, nodes: Draws, rows: Draws) -> Draws:
    """Return each draw's value between the rows of the nodes around it, the ends held."""
    right = np.clip(np.searchsorted(nodes, at), 1, len(nodes) - 1)
    share = np.clip((at - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0, 1)
    each = np.arange(len(at))
    return np.asarray((1 - share) * rows[right - 1, each] + share * rows[right, each])


@dataclass(frozen=True, slots=True)
class GivenSpeed:
    """What `[[speeds]]` says: minutes per GPU-hour, or seconds of a clip on all its GPUs."""

    input: Input
    is_seconds: bool


@dataclass(frozen=True, slots=True)
class PredictedSpeed:
    """A prediction as a function of the steps and of its own error.

    Attributes:
        steps: Denoising steps.
        error: Standard log-normal. One for each kind of GPU: a prediction that is too fast for one
            model is too fast for all.
        sigma: Standard deviation of the logarithm of the speed.
        grid: The predicted speeds.
    """

    steps: Input
    error: Input
    sigma: float
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """One kind of clip on one kind of GPU.

    Attributes:
        model: As the scenario or the table of models names it.
        gpu: The kind.
        gpus_per_clip: GPUs that work on one clip together.
        clip_s: Seconds of video of a clip.
        speed: Given or predicted.
        power_w: Of a GPU at work.
        basis: What the speed is based on.
        notes: What a reader has to know, such as that the model does not fit.
    """

    model: str
    gpu: Gpu
    gpus_per_clip: int
    clip_s: Input
    speed: GivenSpeed | PredictedSpeed
    power_w: float
    basis: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What has to be known for the speed."""
        if isinstance(self.speed, GivenSpeed):
            return (self.clip_s, self.speed.input)
        return (self.clip_s, self.speed.steps, self.speed.error)

    def minutes_per_gpu_hour(self, values: Values) -> Draws:
        """Return minutes of video that an hour of one GPU at work makes."""
        clip_s, speed = values[self.clip_s], self.speed
        if isinstance(speed, PredictedSpeed):
            rate = speed.grid.at(clip_s, values[speed.steps])
            return rate / values[speed.error] ** speed.sigma
        if speed.is_seconds:
            return clip_s / 60 * 3600 / (values[speed.input] * self.gpus_per_clip)
        return values[speed.input]

    def seconds_per_clip(self, values: Values) -> Draws:
        """Return seconds from prompt to frames, on `gpus_per_clip` GPUs together."""
        rate = self.minutes_per_gpu_hour(values) * self.gpus_per_clip
        return values[self.clip_s] / 60 * 3600 / rate

    @property
    def likely_rate(self) -> float:
        """Minutes of video per GPU-hour with all inputs at their likely values."""
        return float(self.minutes_per_gpu_hour(likely(self.inputs))[0])


def throughputs(scenario: Scenario, facts: Facts) -> dict[ThroughputKey, Throughput]:
    """Return what each kind of clip takes on each kind of GPU.

    Raises:
        RequestError: A model or GPU is not known, or the GPU cannot make such a clip.
    """
    location = scenario.location
    gpus = [
        find_at(location / "hardware" / k / "gpu", find_gpu, part.gpu, facts.hardware)
        for k, part in enumerate(scenario.hardware)
    ]
    _check_speeds(scenario, facts, gpus)
    return {
        (i, j, k): _throughput(_Case(scenario, facts, (i, j, k), gpus[k]))
        for i, platform in enumerate(scenario.platforms)
        for j in range(len(platform.clips))
        for k in range(len(gpus))
    }


def _check_speeds(scenario: Scenario, facts: Facts, gpus: Sequence[Gpu]) -> None:
    """Refuse speeds of a model or GPU that the scenario does not use: most likely a slip."""
    models = {clip.model.lower() for platform in scenario.platforms for clip in platform.clips}
    for index, speed in enumerate(scenario.speeds):
        location = scenario.location / "speeds" / index
        gpu = find_at(location / "gpu", find_gpu, speed.gpu, facts.hardware)
        if gpu not in gpus:
            raise (location / "gpu").error(f"expected a GPU of [[hardware]], got {speed.gpu!r}")
        if speed.model.lower() not in models:
            raise (location / "model").error(
                f"expected a model of [[platforms.clips]], got {speed.model!r}"
            )


@dataclass(frozen=True, slots=True)
class _Case:
    """One kind of clip on one kind of GPU, before its speed is known."""

    scenario: Scenario
    facts: Facts
    key: ThroughputKey
    gpu: Gpu

    @property
    def platform(self) -> Platform:
        return self.scenario.platforms[self.key[0]]

    @property
    def clip(self) -> ClipKind:
        return self.platform.clips[self.key[1]]

    @property
    def hardware(self) -> Hardware:
        return self.scenario.hardware[self.key[2]]

    @property
    def location(self) -> Location:
        return self.scenario.location / "platforms" / self.key[0] / "clips" / self.key[1]

    def input(self, key: str, quantity: Quantity) -> Input:
        """Return an input of the clip, named as in the file."""
        number = "" if len(self.platform.clips) == 1 else f"[{self.key[1]}]"
        return Input(f"{self.platform.name}.clips{number}.{key}", quantity)

    def find_speed(self) -> Speed | None:
        """Return the speed that the scenario gives, or `None`."""
        for speed in self.scenario.speeds:
            if speed.model.lower() == self.clip.model.lower() and (
                find_gpu(speed.gpu, self.facts.hardware) == self.gpu
            ):
                return speed
        return None

    def clip_s(self, model: Architecture) -> Quantity:
        """Return seconds of a clip: the scenario's, or the model's own."""
        return self.clip.clip_s or Exact(model.frames / (self.clip.fps or model.fps))

    def predict(self, model: Architecture, clip_s: float, num_steps: float) -> Prediction:
        """Return what a clip of that length and so many steps takes.

        Raises:
            RequestError: The model cannot make it, or the GPU cannot run it.
        """
        fps = self.clip.fps or model.fps
        workload = workload_of(
            model,
            size=self.clip.size,
            num_frames=max(2, round(clip_s * fps)),
            num_steps=max(1, round(num_steps)),
            forwards_per_step=self.clip.forwards_per_step,
            fps=fps,
        )
        return predict(
            workload,
            self.gpu,
            num_gpus=self.hardware.gpus_per_clip,
            kernel=self.hardware.kernel,
            measurements=self.facts.measurements,
            calibration=read_calibration(self.facts.calibration_file),
        )


def _throughput(case: _Case) -> Throughput:
    given = case.find_speed()
    if given is not None:
        return _given(case, given)
    location = case.location
    model = find_at(
        location / "model", find_architecture, case.clip.model, case.facts.architectures
    )
    if model.kind != "video":
        raise (location / "model").error(
            f"expected a model of video, got one of images: {model.name}"
        )
    try:
        return _predicted(case, model)
    except RequestError as error:
        raise location.error(f"on {case.gpu.name}: {error}") from None


def _given(case: _Case, given: Speed) -> Throughput:
    """Return the throughput that the file gives."""
    quantity = given.minutes_per_gpu_hour or given.seconds_per_clip
    assert quantity is not None  # checked when made
    return Throughput(
        model=case.clip.model,
        gpu=case.gpu,
        gpus_per_clip=case.hardware.gpus_per_clip,
        clip_s=case.input("clip_s", _length_given(case)),
        speed=GivenSpeed(
            Input(f"speeds.{case.clip.model} on {case.gpu.name}", quantity),
            is_seconds=given.minutes_per_gpu_hour is None,
        ),
        power_w=case.gpu.tdp_w,
        basis=("given" + (f": {given.source}" if given.source else ""),),
    )


def _length_given(case: _Case) -> Quantity:
    if case.clip.clip_s is not None:
        return case.clip.clip_s
    try:
        return case.clip_s(find_architecture(case.clip.model, case.facts.architectures))
    except RequestError:
        raise case.location.error(
            f"expected the key 'clip_s': {case.clip.model!r} is not in the table of models"
        ) from None


def _predicted(case: _Case, model: Architecture) -> Throughput:
    clip_s, steps = case.clip_s(model), case.clip.steps or Exact(float(model.steps))
    grid = _grid(case, model, clip_s, steps)
    central = case.predict(model, clip_s.likely, steps.likely)
    num_gpus, offload = case.hardware.gpus_per_clip, central.memory.offload
    return Throughput(
        model=model.name,
        gpu=case.gpu,
        gpus_per_clip=num_gpus,
        clip_s=case.input("clip_s", clip_s),
        speed=PredictedSpeed(
            steps=case.input("steps", steps),
            error=Input(f"hardware.{case.hardware.gpu}.speed", _STANDARD),
            sigma=central.sigma,
            grid=grid,
        ),
        power_w=central.wh.likely * 3600 / (central.seconds.likely * num_gpus),
        basis=central.basis,
        notes=(f"{model.name} on {case.gpu.name}: {offload}",) if offload else (),
    )


def _grid(case: _Case, model: Architecture, clip_s: Quantity, steps: Quantity) -> Grid:
    """Return the predicted rates over the span of seconds and steps."""
    lengths, counts = _nodes_of(clip_s), np.unique(np.round(_nodes_of(steps)))
    rates = [[_rate(case.predict(model, length, n)) for n in counts] for length in lengths]
    return Grid(lengths, counts, np.array(rates))


def _nodes_of(quantity: Quantity) -> Draws:
    """Return the values at which to predict: one, or the ends and five between."""
    if quantity.is_exact:
        return np.array([quantity.likely])
    return np.unique(quantity.at(_NODES))


def _rate(prediction: Prediction) -> float:
    assert prediction.minutes_per_gpu_hour is not None  # only of images, which were refused
    return prediction.minutes_per_gpu_hour.likely


def price_usd_per_h(hardware: Hardware, gpu: Gpu) -> Quantity | None:
    """Return the price of a GPU: the scenario's, or the span of the public ones, or `None`."""
    return hardware.usd_per_h or public_price_usd_per_h(gpu)


def public_price_usd_per_h(gpu: Gpu) -> Quantity | None:
    """Return the span of public prices, their geometric mean the likely one, or `None`."""
    if gpu.usd_per_h_low is None or gpu.usd_per_h_high is None:
        return None
    middle = math.sqrt(gpu.usd_per_h_low * gpu.usd_per_h_high)
    return Triangular(gpu.usd_per_h_low, middle, gpu.usd_per_h_high)
