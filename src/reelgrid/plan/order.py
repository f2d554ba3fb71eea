"""What GPUs are wanted for: workloads at peak, promises, trust, limits; one TOML or JSON file.

Not here: what is on offer (`offers`), and how a demand of platforms becomes a peak (`demand`).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from reelgrid.errors import RequestError
from reelgrid.plan.architectures import find_architecture
from reelgrid.plan.hardware import find_gpu
from reelgrid.plan.offers import read_json, read_text
from reelgrid.plan.scenario.bounds import Bounds, check_bounds
from reelgrid.plan.scenario.reading import Place, found_at, read_table, read_toml
from reelgrid.plan.service import Facts
from reelgrid.spec import Size

Share = Annotated[float, Bounds(at_least=0, at_most=1)]
PositiveShare = Annotated[float, Bounds(above=0, at_most=1)]
Seconds = Annotated[float, Bounds(at_least=0, at_most=1e7)]
Count = Annotated[int, Bounds(at_least=0, at_most=10_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`[[workloads]]`: clips of one kind, so many minutes an hour at peak.

    Attributes:
        name: Its own.
        model: Name of a model that `reelgrid plan models` knows.
        minutes_per_h: Minutes of video to be made in the busiest hour.
        mean_to_peak: Mean demand over that of the busiest hour.
        size: Width and height; the model's own where none is given.
        num_frames: Frames of a clip; the model's own where none are given.
        fps: Frames a second; the model's own where none are given.
        num_steps: Denoising steps; the model's own where none are given.
        forwards_per_step: Passes through the network a step; 2 with guidance.
        within_s: A clip is made within this time once begun; none is no promise.
        trusted_share: Of the minutes, made on trusted GPUs.
        gpus_per_clip: How many GPUs of one lease may work on one clip.
        minutes_per_gpu_hour: What the user has measured, by kind of GPU, in place of predictions.
    """

    name: str
    model: str
    minutes_per_h: Annotated[float, Bounds(above=0, at_most=1e9)]
    mean_to_peak: PositiveShare = 1.0
    size: Size | None = None
    num_frames: Annotated[int, Bounds(at_least=2, at_most=100_000)] | None = None
    fps: Annotated[float, Bounds(above=0, at_most=240)] | None = None
    num_steps: Annotated[int, Bounds(at_least=1, at_most=1000)] | None = None
    forwards_per_step: Annotated[int, Bounds(at_least=1, at_most=10)] | None = None
    within_s: Annotated[float, Bounds(above=0, at_most=1e7)] | None = None
    trusted_share: Share = 0.0
    gpus_per_clip: tuple[Annotated[int, Bounds(at_least=1, at_most=1024)], ...] = (1,)
    minutes_per_gpu_hour: dict[str, Annotated[float, Bounds(above=0)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_bounds(self)
        if not self.gpus_per_clip:
            raise RequestError("expected at least one number", param="gpus_per_clip")
        for rate in self.minutes_per_gpu_hour.values():
            if not 0 < rate < float("inf"):
                raise RequestError(
                    f"expected a number above 0, got {rate:g}", param="minutes_per_gpu_hour"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """`[lease]`: how the GPUs are held and used.

    Attributes:
        hours: How long they are wanted; what begins a lease is spread over it.
        load_s: To load the model on a machine that is ready.
        save_every_s: Work between two saves is lost with a GPU that goes without notice.
        save_s: A notice at least this long suffices to save.
        utilisation: Busy share of the GPUs at peak: the rest keeps queues short.
    """

    hours: Annotated[float, Bounds(above=0, at_most=1e6)] = 168.0
    load_s: Seconds = 60.0
    save_every_s: Annotated[float, Bounds(above=0, at_most=1e7)] = 60.0
    save_s: Seconds = 10.0
    utilisation: PositiveShare = 0.85

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]`: how the risk is spread.

    Attributes:
        gpus_per_provider: At most so many of any one provider.
        gpus_per_zone: At most so many in any one zone of a provider.
        providers: Caps of single providers, by name.
        zones: Caps of single zones, by `provider/zone`.
        survive_share: Of the peak, still made when all GPUs of one kind in one zone are lost.
        spare_share: More than the peak, kept ready.
    """

    gpus_per_provider: Count | None = None
    gpus_per_zone: Count | None = None
    providers: dict[str, int] = field(default_factory=dict)
    zones: dict[str, int] = field(default_factory=dict)
    survive_share: Share = 0.0
    spare_share: Annotated[float, Bounds(at_least=0, at_most=10)] = 0.0

    def __post_init__(self) -> None:
        check_bounds(self)
        for name in ("providers", "zones"):
            if any(cap < 0 for cap in getattr(self, name).values()):
                raise RequestError("expected a number of at least 0", param=name)

    def provider_cap(self, provider: str) -> int | None:
        """Return how many GPUs may be of a provider; none is any number."""
        return self.providers.get(provider, self.gpus_per_provider)

    def zone_cap(self, place: str) -> int | None:
        """Return how many GPUs may be in a zone, named `provider/zone`; none is any number."""
        return self.zones.get(place, self.gpus_per_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The file: what is wanted, and under which conditions.

    Attributes:
        title: What it is, for headings.
        sureness: Predicted times are those that hold with this probability; 0.5 is the median.
    """

    title: str
    workloads: tuple[Job, ...]
    lease: Lease = field(default_factory=Lease)
    limits: Limits = field(default_factory=Limits)
    sureness: Annotated[float, Bounds(at_least=0.01, at_most=0.99)] = 0.5

    def __post_init__(self) -> None:
        check_bounds(self)
        names = [job.name for job in self.workloads]
        if not names:
            raise RequestError("expected at least one", param="workloads")
        if len(set(names)) < len(names):
            raise RequestError("expected a name of its own for each", param="workloads")


def read_order(path: Path, facts: Facts | None = None) -> Order:
    """Return what a `.toml` or `.json` file asks for.

    Args:
        path: The file.
        facts: What is known; where given, other models and GPUs are refused at their line.

    Raises:
        RequestError: It cannot be read; the message has the file, the line, the key and what was
            expected.
    """
    if path.suffix.lower() == ".json":
        root = Place(str(path), {})
        order = read_table(Order, read_json(read_text(path), str(path)), root)
    else:
        tables, root = read_toml(path)
        order = read_table(Order, tables, root)
    if facts is not None:
        _check_names(order, root / "workloads", facts)
    return order


def _check_names(order: Order, place: Place, facts: Facts) -> None:
    """Refuse a model or GPU that is not known."""
    for index, job in enumerate(order.workloads):
        found_at(place / index / "model", find_architecture, job.model, facts.architectures)
        for gpu in job.minutes_per_gpu_hour:
            rate = place / index / "minutes_per_gpu_hour" / gpu
            found_at(rate, find_gpu, gpu, facts.hardware)
