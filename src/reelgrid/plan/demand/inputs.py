"""The inputs of a demand, each a typed field: what a scenario gives, by platform, GPU and site.

Code asks for the values of an input by its field, `values[inputs.pue]`; the name of an input is
only for people and for its stream of random numbers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from reelgrid.plan.demand.throughput import price_usd_per_h
from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.scenario.values import Hardware, Platform, Scenario
from reelgrid.plan.uncertainty import Input, Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformInputs:
    """What is uncertain about one platform; `clip_shares` is empty where all clips are alike."""

    minutes_per_day: Input
    share_made_by_ai: Input
    clips_per_kept: Input
    peak_to_mean: Input | None
    clip_shares: tuple[Input, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareInputs:
    """What is uncertain about GPUs of one kind; `share` is `None` where there is only one kind."""

    utilisation: Input
    availability: Input
    idle_w: Input
    power_w: Input | None
    share: Input | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandInputs:
    """What serving the demand of a scenario depends on, beside the speeds of the GPUs.

    Attributes:
        platforms: In the order of the scenario.
        hardware: In the order of the scenario.
        usd_per_h: Price of a GPU, by hardware.
        pue: Energy of the site over that of the GPUs.
        usd_per_kwh: Price of energy; `None` where the GPU's price includes it.
        kg_co2_per_kwh: Emissions; `None` where not given.
        growth_per_month: By platform; of the months to come only.
    """

    platforms: tuple[PlatformInputs, ...]
    hardware: tuple[HardwareInputs, ...]
    usd_per_h: tuple[Input, ...]
    pue: Input
    usd_per_kwh: Input | None
    kg_co2_per_kwh: Input | None
    growth_per_month: tuple[Input, ...]

    @property
    def serving(self) -> list[Input]:
        """All but growth."""
        parts = (*self.platforms, *self.hardware)
        energy = (self.pue, self.usd_per_kwh, self.kg_co2_per_kwh)
        own = [each for part in parts for each in inputs_in(part)]
        return [*own, *self.usd_per_h, *(each for each in energy if each)]


def inputs_in(part: object) -> Iterator[Input]:
    """Yield the inputs that are fields of a dataclass, in the order of its fields."""
    for field in fields(part):  # type: ignore[arg-type]  # a dataclass of this package
        value = getattr(part, field.name)
        if isinstance(value, Input):
            yield value
        elif isinstance(value, tuple):
            yield from value


def optional_input(name: str, quantity: Quantity | None) -> Input | None:
    """Return an input, or `None` where the scenario does not give it."""
    return None if quantity is None else Input(name, quantity)


def demand_inputs(scenario: Scenario, gpus: Sequence[Gpu]) -> DemandInputs:
    """Return the inputs of a scenario.

    Args:
        scenario: What is asked.
        gpus: The GPUs of its hardware, in its order.

    Raises:
        RequestError: A GPU has no price, neither in the scenario nor in public.
    """
    energy = scenario.energy
    return DemandInputs(
        platforms=tuple(map(_of_platform, scenario.platforms)),
        hardware=tuple(_of_hardware(scenario, part) for part in scenario.hardware),
        usd_per_h=tuple(_price(scenario, index, gpu) for index, gpu in enumerate(gpus)),
        pue=Input("energy.pue", energy.pue),
        usd_per_kwh=optional_input("energy.usd_per_kwh", energy.usd_per_kwh),
        kg_co2_per_kwh=optional_input("energy.kg_co2_per_kwh", energy.kg_co2_per_kwh),
        growth_per_month=tuple(_growth(scenario, each) for each in scenario.platforms),
    )


def _of_platform(platform: Platform) -> PlatformInputs:
    name, clips = platform.name, platform.clips
    shares = [Input(f"{name}.clips[{i}].share", clip.share) for i, clip in enumerate(clips)]
    return PlatformInputs(
        minutes_per_day=Input(f"{name}.minutes_per_day", platform.minutes_per_day),
        share_made_by_ai=Input(f"{name}.share_made_by_ai", platform.share_made_by_ai),
        clips_per_kept=Input(f"{name}.clips_per_kept", platform.clips_per_kept),
        peak_to_mean=optional_input(f"{name}.peak_to_mean", platform.peak_to_mean),
        clip_shares=tuple(shares) if len(clips) > 1 else (),
    )


def _of_hardware(scenario: Scenario, part: Hardware) -> HardwareInputs:
    name = _hardware_name(scenario, part)
    return HardwareInputs(
        utilisation=Input(f"{name}.utilisation", part.utilisation),
        availability=Input(f"{name}.availability", part.availability),
        idle_w=Input(f"{name}.idle_w", part.idle_w),
        power_w=optional_input(f"{name}.power_w", part.power_w),
        share=Input(f"{name}.share", part.share) if len(scenario.hardware) > 1 else None,
    )


def _hardware_name(scenario: Scenario, part: Hardware) -> str:
    """Return the name of GPUs of one kind: with their kernel where there are two."""
    is_alone = sum(each.gpu == part.gpu for each in scenario.hardware) == 1
    return (
        f"hardware.{part.gpu}" if is_alone else f"hardware.{part.gpu} {part.kernel or ''}".strip()
    )


def _price(scenario: Scenario, index: int, gpu: Gpu) -> Input:
    part = scenario.hardware[index]
    price = price_usd_per_h(part, gpu)
    if price is None:
        raise (scenario.location / "hardware" / index).error(
            f"expected the key 'usd_per_h': no public price of {gpu.name} is known"
        )
    return Input(f"{_hardware_name(scenario, part)}.usd_per_h", price)


def _growth(scenario: Scenario, platform: Platform) -> Input:
    is_own = platform.growth_per_month is not None
    name = f"{platform.name}.growth_per_month" if is_own else "growth.per_month"
    return Input(name, scenario.growth_of(platform))
