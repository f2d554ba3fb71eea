"""What every kind of clip of a scenario takes on every kind of its GPUs: measured, given, predicted.

`[[speeds]]` of the file come before the user's measurements, those before published ones, those
before formulas (`predict`). Not here: how many clips there are (`model`).

A prediction as a function of two inputs in doubt, from a few predictions on a grid.

Not here: the prediction (`predict`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from reelgrid.errors import RequestError
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import Architecture, find_architecture, read_architectures
from reelgrid.plan.facts.hardware import Gpu, find_gpu, read_hardware
from reelgrid.plan.prediction.predict import Prediction, predict
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.plan.scenario import Clip, Hardware, Platform, Scenario, Speed
from reelgrid.plan.uncertainty import Draws, Exact, LogNormal, Quantity, Triangular, Values, likely
from reelgrid.user_files import Location, find_at

_NODES = np.array([0.0005, 0.02, 0.15, 0.5, 0.85, 0.98, 0.9995])


def nodes_of(quantity: Quantity) -> Draws:
    """Return the places at which to predict: one, or the ends and five between."""
    if quantity.is_exact:
        return np.array([quantity.likely])
    return np.unique(quantity.at(_NODES))


@dataclass(frozen=True, slots=True)
class Grid:
    """Minutes of video per GPU-hour over seconds of a clip and steps, between nodes in logarithms."""

    clip_s: Draws
    steps: Draws
    rates: Draws

    def at(self, clip_s: Draws, steps: Draws) -> Draws:
        """Return the rates of draws."""
        if self.rates.size == 1:
            return np.full(np.broadcast(clip_s, steps).shape, self.rates[0, 0])
        rows = [_interpolate(clip_s, self.clip_s, self.rates[:, j]) for j in range(len(self.steps))]
        if len(rows) == 1:
            return np.exp(rows[0])
        return np.exp(_between(np.log(steps), np.log(self.steps), np.stack(rows)))


def _interpolate(at: Draws, nodes: Draws, rates: Draws) -> Draws:
    return np.asarray(np.interp(np.log(at), np.log(nodes), np.log(rates)))


def _between(at: Draws, nodes: Draws, rows: Draws) -> Draws:
    """Return each draw's value between the rows of the nodes around it, the ends held."""
    right = np.clip(np.searchsorted(nodes, at), 1, len(nodes) - 1)
    share = np.clip((at - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0, 1)
    each = np.arange(len(at))
    return np.asarray((1 - share) * rows[right - 1, each] + share * rows[right, each])


ThroughputKey: TypeAlias = tuple[int, int, int]
"""Platform, clip and hardware, by their places in the scenario."""

_STANDARD = LogNormal(median=1.0, sigma=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known before a scenario is read.

    Attributes:
        hardware: From `read_hardware`.
        architectures: From `read_architectures`.
        measurements: The user's own.
    """

    hardware: Mapping[str, Gpu]
    architectures: Mapping[str, Architecture]
    measurements: Sequence[BenchRecord] = ()


def shipped_facts() -> Facts:
    """Return the package's own facts, no measurements."""
    return Facts(hardware=read_hardware(), architectures=read_architectures())


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """One kind of clip on one kind of GPU.

    Attributes:
        clip_s: Seconds of video of a clip.
        steps: Denoising steps.
        clip_input: Under which name these two are inputs.
        speed_input: Name of the input that is the doubt of the speed, or the given speed itself.
            One of each kind of GPU: where a prediction is too fast, it is for all models.
        given: What `[[speeds]]` says, if it does.
        sigma: Standard deviation of the logarithm of a predicted speed.
        power_w: Of a GPU at work.
        grid: The predicted speeds.
        basis: What the speed rests on.
        notes: What a reader has to know, such as that the model does not fit.
    """

    model: str
    gpu: Gpu
    gpus_per_clip: int
    clip_s: Quantity
    steps: Quantity
    clip_input: str
    speed_input: str
    given: Speed | None
    sigma: float
    power_w: float
    grid: Grid | None
    basis: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, Quantity]:
        """What is needed to know the speed, by name."""
        known = {f"{self.clip_input}.clip_s": self.clip_s}
        if self.given is not None:
            return known | {self.speed_input: _given(self.given)}
        known[f"{self.clip_input}.steps"] = self.steps
        return known | {self.speed_input: _STANDARD if self.sigma > 0 else Exact(1.0)}

    def clip_seconds(self, values: Values) -> Draws:
        """Return seconds of video of a clip."""
        return values[f"{self.clip_input}.clip_s"]

    def minutes_per_gpu_hour(self, values: Values) -> Draws:
        """Return minutes of video that an hour of one GPU at work makes."""
        clip_s, speed = self.clip_seconds(values), values[self.speed_input]
        if self.given is not None:
            if self.given.minutes_per_gpu_hour is not None:
                return speed
            return clip_s / 60 * 3600 / (speed * self.gpus_per_clip)
        assert self.grid is not None
        rate = self.grid.at(clip_s, values[f"{self.clip_input}.steps"])
        return rate / speed**self.sigma

    def seconds_per_clip(self, values: Values) -> Draws:
        """Return seconds from prompt to frames, on `gpus_per_clip` GPUs together."""
        rate = self.minutes_per_gpu_hour(values) * self.gpus_per_clip
        return self.clip_seconds(values) / 60 * 3600 / rate


def likely_rate(service: Throughput) -> float:
    """Return minutes of video per GPU-hour with all inputs likely."""
    return float(service.minutes_per_gpu_hour(likely(service.inputs))[0])


def throughputs(scenario: Scenario, facts: Facts) -> dict[ThroughputKey, Throughput]:
    """Return what each kind of clip takes on each kind of GPU.

    Raises:
        RequestError: A model or GPU is not known, or the GPU cannot make such a clip.
    """
    place = scenario.location
    gpus = [
        find_at(place / "hardware" / k / "gpu", find_gpu, part.gpu, facts.hardware)
        for k, part in enumerate(scenario.hardware)
    ]
    _check_speeds(scenario, facts, gpus)
    return {
        (i, j, k): _service(_Case(scenario, facts, (i, j, k), gpus[k]))
        for i, platform in enumerate(scenario.platforms)
        for j in range(len(platform.clips))
        for k in range(len(gpus))
    }


def _check_speeds(scenario: Scenario, facts: Facts, gpus: Sequence[Gpu]) -> None:
    """Refuse speeds of a model or GPU that the scenario does not use: most likely a slip."""
    models = {clip.model.lower() for platform in scenario.platforms for clip in platform.clips}
    for index, speed in enumerate(scenario.speeds):
        place = scenario.location / "speeds" / index
        gpu = find_at(place / "gpu", find_gpu, speed.gpu, facts.hardware)
        if gpu not in gpus:
            raise (place / "gpu").error(f"expected a GPU of [[hardware]], got {speed.gpu!r}")
        if speed.model.lower() not in models:
            raise (place / "model").error(
                f"expected a model of [[platforms.clips]], got {speed.model!r}"
            )


@dataclass(frozen=True, slots=True)
class _Case:
    """One kind of clip on one kind of GPU, before it is known what it takes."""

    scenario: Scenario
    facts: Facts
    key: ThroughputKey
    gpu: Gpu

    @property
    def platform(self) -> Platform:
        return self.scenario.platforms[self.key[0]]

    @property
    def clip(self) -> Clip:
        return self.platform.clips[self.key[1]]

    @property
    def hardware(self) -> Hardware:
        return self.scenario.hardware[self.key[2]]

    @property
    def location(self) -> Location:
        return self.scenario.location / "platforms" / self.key[0] / "clips" / self.key[1]

    @property
    def clip_input(self) -> str:
        number = "" if len(self.platform.clips) == 1 else f"[{self.key[1]}]"
        return f"{self.platform.name}.clips{number}"

    def find_speed(self) -> Speed | None:
        """Return the speed that the scenario gives, or none."""
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
        )


def _service(case: _Case) -> Throughput:
    given = case.find_speed()
    if given is not None:
        return _given_service(case, given)
    place = case.location
    model = find_at(place / "model", find_architecture, case.clip.model, case.facts.architectures)
    if model.kind != "video":
        raise (place / "model").error(f"expected a model of video, got one of images: {model.name}")
    clip_s, steps = case.clip_s(model), case.clip.steps or Exact(float(model.steps))
    try:
        grid = _grid(case, model, clip_s, steps)
        central = case.predict(model, clip_s.likely, steps.likely)
    except RequestError as error:
        raise place.error(f"on {case.gpu.name}: {error}") from None
    return Throughput(
        model=model.name,
        gpu=case.gpu,
        gpus_per_clip=case.hardware.gpus_per_clip,
        clip_s=clip_s,
        steps=steps,
        clip_input=case.clip_input,
        speed_input=f"hardware.{case.hardware.gpu}.speed",
        given=None,
        sigma=central.sigma,
        power_w=central.wh.likely * 3600 / (central.seconds.likely * case.hardware.gpus_per_clip),
        grid=grid,
        basis=central.basis,
        notes=_notes(model, case.gpu, central),
    )


def _given_service(case: _Case, given: Speed) -> Throughput:
    """Return a service whose speed the file gives."""
    return Throughput(
        model=case.clip.model,
        gpu=case.gpu,
        gpus_per_clip=case.hardware.gpus_per_clip,
        clip_s=_length_given(case),
        steps=Exact(1.0),
        clip_input=case.clip_input,
        speed_input=f"speeds.{case.clip.model} on {case.gpu.name}",
        given=given,
        sigma=0.0,
        power_w=case.gpu.tdp_w,
        grid=None,
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


def _grid(case: _Case, model: Architecture, clip_s: Quantity, steps: Quantity) -> Grid:
    """Return the predicted rates over the span of seconds and steps."""
    lengths, counts = nodes_of(clip_s), np.unique(np.round(nodes_of(steps)))
    rates = [[_rate(case.predict(model, length, n)) for n in counts] for length in lengths]
    return Grid(lengths, counts, np.array(rates))


def _rate(prediction: Prediction) -> float:
    assert prediction.minutes_per_gpu_hour is not None  # only of images, which were refused
    return prediction.minutes_per_gpu_hour.likely


def _notes(model: Architecture, gpu: Gpu, prediction: Prediction) -> tuple[str, ...]:
    memory = prediction.memory
    if not memory.offload:
        return ()
    return (f"{model.name} on {gpu.name}: {memory.offload}",)


def _given(speed: Speed) -> Quantity:
    quantity = speed.minutes_per_gpu_hour or speed.seconds_per_clip
    assert quantity is not None  # checked when made
    return quantity


def price_usd_per_h(hardware: Hardware, gpu: Gpu) -> Quantity | None:
    """Return the price of a GPU: the scenario's, or the span of the public ones; or none."""
    if hardware.usd_per_h is not None:
        return hardware.usd_per_h
    return public_price_usd_per_h(gpu)


def public_price_usd_per_h(gpu: Gpu) -> Quantity | None:
    """Return the span of public prices, their geometric mean the likely one; or none."""
    if gpu.usd_per_h_low is None or gpu.usd_per_h_high is None:
        return None
    middle = math.sqrt(gpu.usd_per_h_low * gpu.usd_per_h_high)
    return Triangular(gpu.usd_per_h_low, middle, gpu.usd_per_h_high)
