"""What meets a demand, as a scenario file has it: GPUs, speeds, training, energy.

Not here: the demand (`values`).
"""

from dataclasses import dataclass
from typing import Annotated

from reelgrid.errors import RequestError
from reelgrid.plan.scenario.rules import (
    AtLeastOne,
    Bounds,
    NotNegative,
    Positive,
    PositiveShare,
    check_bounds,
    check_name,
    check_one_of,
)
from reelgrid.plan.uncertainty import Exact

_ONE = Exact(1.0)
_NOTHING = Exact(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """`[[hardware]]`: GPUs of one kind that take a share of the minutes.

    Attributes:
        gpu: A name that `reelgrid plan hardware` knows.
        utilisation: Share of a leased hour that goes into clips when counting by averages.
        share: Of all minutes that these GPUs make.
        usd_per_h: Price of a GPU; between the table's lowest and highest where none is given.
        availability: Share of leased hours in which a GPU is up; the rest is start-up and loss.
        gpus_per_clip: How many work on one clip together.
        kernel: Attention kernel; the usual one where none is given.
        power_w: Of a GPU at work; predicted where none is given.
        idle_w: Of a GPU without work.
    """

    gpu: str
    utilisation: PositiveShare
    share: PositiveShare = _ONE
    usd_per_h: Positive | None = None
    availability: PositiveShare = _ONE
    gpus_per_clip: Annotated[int, Bounds(at_least=1, at_most=1024)] = 1
    kernel: str | None = None
    power_w: Positive | None = None
    idle_w: NotNegative = _NOTHING

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """`[[speeds]]`: how fast a GPU makes clips of a model, where that is known and not predicted.

    Attributes:
        model: As in `[[platforms.clips]]`.
        gpu: As in `[[hardware]]`.
        seconds_per_clip: Time from prompt to frames, on all `gpus_per_clip` GPUs together.
        minutes_per_gpu_hour: In its place minutes of video an hour of one GPU.
        source: Where that is from.
    """

    model: str
    gpu: str
    seconds_per_clip: Positive | None = None
    minutes_per_gpu_hour: Positive | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_bounds(self)
        check_one_of(self, ("seconds_per_clip", "minutes_per_gpu_hour"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`[[training]]`: a model that is trained first.

    Attributes:
        name: Its own.
        gpu: A name that `reelgrid plan hardware` knows.
        flop: Compute of the run; or
        params, tokens: instead 6 FLOP a parameter and token (Kaplan et al. 2020,
            arXiv:2001.08361, section 2.1); or
        gpu_hours: instead hours of one GPU, measured or published.
        utilisation: FLOPs done over those that the GPU could do, dense bf16; with `gpu_hours` 1.
        days: Time that it may take; or
        num_gpus: instead GPUs that it may use.
        usd_per_h: Price of a GPU; the table's where none is given.
        source: Where that is from.
    """

    name: str
    gpu: str
    flop: Positive | None = None
    params: Positive | None = None
    tokens: Positive | None = None
    gpu_hours: Positive | None = None
    utilisation: PositiveShare | None = None
    days: Positive | None = None
    num_gpus: Positive | None = None
    usd_per_h: Positive | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_bounds(self)
        check_name(self.name)
        check_one_of(self, ("flop", "params", "gpu_hours"))
        check_one_of(self, ("days", "num_gpus"))
        if (self.params is None) != (self.tokens is None):
            raise RequestError("expected params and tokens together, got one", param="tokens")
        if (self.utilisation is None) != (self.gpu_hours is not None):
            wanted = "no utilisation with gpu_hours" if self.utilisation else "utilisation"
            raise RequestError(
                f"expected {wanted}: GPU-hours follow from FLOPs by it", param="utilisation"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """`[energy]`: what stands behind the GPUs.

    Attributes:
        pue: Power usage effectiveness: energy of the site over that of the GPUs.
        usd_per_kwh: To be paid beside the price of the GPU; none where that includes it.
        kg_co2_per_kwh: Emissions of the supply.
    """

    pue: AtLeastOne = _ONE
    usd_per_kwh: NotNegative | None = None
    kg_co2_per_kwh: NotNegative | None = None

    def __post_init__(self) -> None:
        check_bounds(self)
