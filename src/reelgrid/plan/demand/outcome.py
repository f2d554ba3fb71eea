"""What a scenario takes, as values: in every draw, as intervals, or as one number."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Generic, TypeVar

F = TypeVar("F")
G = TypeVar("G")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals(Generic[F]):
    """What the whole demand takes; F is the draws, their interval, or one number.

    GPUs are counted so that the promise holds; without one, and where it says so, by averages.
    `held` is the fleet of the busiest hour, leased all month; `following` one that follows the
    demand through the day, costed at that of an hour of mean demand.

    Attributes:
        minutes_kept_per_day: Minutes of generated video that are published.
        minutes_made_per_day: Minutes that are generated for it.
        gpus_at_mean: For an hour of mean demand.
        gpus_at_peak: For the busiest hour.
        gpus_held: Those, whole.
        gpus_at_mean_by_averages: At the scenario's utilisation.
        gpus_at_peak_by_averages: At the scenario's utilisation, in the busiest hour.
        usd_per_month_following: Cost of that fleet.
        usd_per_month_held: Cost of that fleet.
        usd_per_minute_following: Per minute that is published.
        usd_per_minute_held: Per minute that is published.
        kw_at_peak: Power of the site in the busiest hour.
        mwh_per_month: Energy of the site.
        wh_per_minute: Energy per minute that is published.
        kg_co2_per_month: Emissions; 0 where the supply's are not given.
    """

    minutes_kept_per_day: F
    minutes_made_per_day: F
    gpus_at_mean: F
    gpus_at_peak: F
    gpus_held: F
    gpus_at_mean_by_averages: F
    gpus_at_peak_by_averages: F
    usd_per_month_following: F
    usd_per_month_held: F
    usd_per_minute_following: F
    usd_per_minute_held: F
    kw_at_peak: F
    mwh_per_month: F
    wh_per_minute: F
    kg_co2_per_month: F


@dataclass(frozen=True, slots=True, kw_only=True)
class KindOutcome(Generic[F]):
    """What it takes of one kind of GPU.

    Attributes:
        minutes_per_gpu_hour: Of a GPU at work, mean over the mix of clips.
        gpus_at_mean: For an hour of mean demand.
        gpus_at_peak: For the busiest hour.
        gpus_held: Those, whole.
        gpus_at_mean_by_averages: At the scenario's utilisation.
        gpus_at_peak_by_averages: At the scenario's utilisation, in the busiest hour.
        busy_share_held: Share of the held fleet's time that goes into clips.
        usd_per_h: Price of a GPU.
        usd_per_month_held: Cost of the held fleet.
        kw_at_peak: Power of the site in the busiest hour.
        mwh_per_month: Energy of the site.
    """

    minutes_per_gpu_hour: F
    gpus_at_mean: F
    gpus_at_peak: F
    gpus_held: F
    gpus_at_mean_by_averages: F
    gpus_at_peak_by_averages: F
    busy_share_held: F
    usd_per_h: F
    usd_per_month_held: F
    kw_at_peak: F
    mwh_per_month: F


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome(Generic[F]):
    """What it takes to train a model, and when serving has cost as much.

    Attributes:
        gpu_hours: Hours of one GPU.
        num_gpus: GPUs at the same time.
        days: From beginning to end.
        usd: Cost.
        mwh: Energy of the site, GPUs at their power limit.
        break_even_minutes_made: Minutes of video that cost as much to make as the training did.
        break_even_days: Days in which the demand needs that many.
    """

    gpu_hours: F
    num_gpus: F
    days: F
    usd: F
    mwh: F
    break_even_minutes_made: F
    break_even_days: F


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthMonth(Generic[F]):
    """A month of growth; the first is that of `Totals`.

    Attributes:
        minutes_kept_per_day: Minutes of generated video that are published.
        gpus_held: GPUs of the busiest hour.
        usd_per_month_held: Their cost.
        usd_per_minute_held: Per minute that is published.
    """

    minutes_kept_per_day: F
    gpus_held: F
    usd_per_month_held: F
    usd_per_minute_held: F


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[F]):
    """All results of a scenario; kinds and trainings by name, months from now on."""

    totals: Totals[F]
    kinds: Mapping[str, KindOutcome[F]]
    training: Mapping[str, TrainingOutcome[F]]
    months: tuple[GrowthMonth[F], ...]


def each_figure(outcome: Outcome[F], change: Callable[[F], G]) -> Outcome[G]:
    """Return an outcome with every figure changed."""

    def changed(kind: type, part: object) -> object:
        return kind(**{f.name: change(getattr(part, f.name)) for f in fields(kind)})

    return Outcome(
        totals=changed(Totals, outcome.totals),  # type: ignore[arg-type]  # the kind that went in
        kinds={name: changed(KindOutcome, part) for name, part in outcome.kinds.items()},  # type: ignore[misc]  # likewise
        training={name: changed(TrainingOutcome, part) for name, part in outcome.training.items()},  # type: ignore[misc]  # likewise
        months=tuple(changed(GrowthMonth, part) for part in outcome.months),  # type: ignore[misc]  # likewise
    )
