"""The Sora compute report of March 2024, recomputed: every printed figure, with its formula.

The constants are in `sora.toml`, each with its source. Where the report continues with a
rounded value, this does too, and says so. A figure is reproduced if it prints as in the report.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from importlib import resources
from typing import Any

from reelgrid.plan.demand.pools import gpus_needed
from reelgrid.plan.demand.training import training_gpu_hours
from reelgrid.units import HOURS_PER_DAY, SECONDS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One step of the report.

    Attributes:
        key: Its name in `sora.toml`.
        step: What it is.
        formula: What is computed, in the report's numbers.
        values: What comes out; two where the report gives a span.
        unit: Of the values.
        shown: The values as the report would print them.
        printed: What the report printed; empty for a step between printed ones.
    """

    key: str
    step: str
    formula: str
    values: tuple[float, ...]
    unit: str
    shown: str
    printed: str

    @property
    def is_reproduced(self) -> bool | None:
        """Whether it prints as the report has it; `None` if the report did not print it."""
        return self.shown == self.printed if self.printed else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """How the report prints a figure."""

    printed: str = ""
    scale: float = 1.0
    decimals: int = 0
    prefix: str = ""
    unit: str = ""
    suffix: str = ""
    joint: str = "-"

    def show(self, values: tuple[float, ...]) -> str:
        """Return the values as they are printed: `unit` after each, `suffix` after the last."""
        numbers = (
            f"{round_half_up(value / self.scale, self.decimals):,.{max(0, self.decimals)}f}"
            for value in values
        )
        return self.prefix + self.joint.join(n + self.unit for n in numbers) + self.suffix


def round_half_up(value: float, decimals: int = 0) -> float:
    """Return a value rounded as people do, halves away from zero; -2 rounds to hundreds."""
    step = Decimal(1).scaleb(-decimals)
    return float((Decimal(repr(value)) / step).to_integral_value(ROUND_HALF_UP) * step)


@functools.cache
def read_facts() -> Mapping[str, Any]:
    """Return what `sora.toml` holds."""
    text = (
        resources.files("reelgrid.plan.sora_report")
        .joinpath("sora.toml")
        .read_text(encoding="utf-8")
    )
    return tomllib.loads(text)


@functools.cache
def constants() -> Mapping[str, float]:
    """Return the report's constants by name."""
    return {name: float(each["value"]) for name, each in read_facts()["constants"].items()}


def figures() -> tuple[Figure, ...]:
    """Return the report's chain, in its order."""
    steps = (*_training(), *_inference(), *_demand())
    return tuple(_figure(*step) for step in steps)


def values() -> dict[str, tuple[float, ...]]:
    """Return the values of the report's chain by key."""
    return {figure.key: figure.values for figure in figures()}


Step = tuple[str, str, str, str, tuple[float, ...]]
"""Key, description, formula, unit, values."""


def _figure(key: str, step: str, formula: str, unit: str, found: tuple[float, ...]) -> Figure:
    style = _Style(**read_facts()["printed"][key])
    return Figure(
        key=key,
        step=step,
        formula=formula,
        values=found,
        unit=unit,
        shown=style.show(found) if style.printed else "",
        printed=style.printed,
    )


def h100_month_flop() -> float:
    """Return the FLOPs that an H100 could do in a month."""
    c = constants()
    a_day = c["h100_flop_per_s"] * c["utilisation_training"] * SECONDS_PER_DAY
    return a_day * c["days_a_month"]


def training_flop() -> tuple[float, float]:
    """Return the FLOPs of training Sora, low and high."""
    c = constants()
    params = round_half_up(c["sora_params"] / c["dit_params"])
    low, high = (
        c["dit_training_flop"] * params * c[factor] * _tokens_factor()
        for factor in ("data_factor_low", "data_factor_high")
    )
    return low, high


def _latent_frames() -> float:
    c = constants()
    return c["minute_s"] * c["fps"] / c["frames_per_latent"]


def _tokens_factor() -> float:
    return _latent_frames() * constants()["video_share_of_data"]


def _training() -> tuple[Step, ...]:
    c, month_flop, (low, high) = constants(), h100_month_flop(), training_flop()
    months = c["dit_training_flop"] / month_flop
    h100s = tuple(
        training_gpu_hours(
            flop, tflops=c["h100_flop_per_s"] / 1e12, utilisation=c["utilisation_training"]
        )
        / (c["days_a_month"] * HOURS_PER_DAY)
        for flop in (low, high)
    )
    return (
        ("h100_month_flop", "What an H100 does in a month", "989.4e12 x 100 % x 30 x 86,400",
         "FLOP", (month_flop,)),
        ("base_h100_months", "Training of DiT-XL", "1e21 / 2.5645e21", "H100-months", (months,)),
        ("base_h100_days", "The same in days", "0.390 x 30", "H100-days",
         (months * c["days_a_month"],)),
        ("params_factor", "Sora's parameters over DiT-XL's", "20e9 / 675e6", "times",
         (c["sora_params"] / c["dit_params"],)),
        ("latent_frames_factor", "Latent frames of a minute", "60 x 24 / 8", "times",
         (_latent_frames(),)),
        ("data_factors", "More data than DiT-XL", "assumed", "times",
         (c["data_factor_low"], c["data_factor_high"])),
        ("tokens_factor", "More tokens a sample, half of them video", "180 x 1/2", "times",
         (_tokens_factor(),)),
        ("training_flop", "Training of Sora", "1e21 x 30 x {4, 10} x 90", "FLOP", (low, high)),
        ("training_h100s", "H100s that train it in a month", "{1.08e25, 2.70e25} / 2.5645e21",
         "H100", h100s),
    )  # fmt: skip


def step_flop() -> float:
    """Return the FLOPs of one denoising step over a minute of video."""
    c = constants()
    params = round_half_up(c["sora_params"] / c["dit_params"])
    return c["dit_flop_per_step"] * params * _latent_frames()


def minute_flop() -> float:
    """Return the FLOPs of a minute of video, from the step rounded to three digits as printed."""
    rounded = round_half_up(step_flop() / 1e15, 2) * 1e15
    return round_half_up(rounded * constants()["steps"] / 1e15) * 1e15


def minutes_per_h100_hour(utilisation: float = 1.0) -> float:
    """Return minutes of video that an H100 makes in an hour."""
    return constants()["h100_flop_per_s"] * utilisation * 3600 / minute_flop()


def _inference() -> tuple[Step, ...]:
    c, (low, high) = constants(), training_flop()
    return (
        ("dit_image_flop", "An image of DiT-XL", "524e9 x 250 steps", "FLOP",
         (c["dit_flop_per_step"] * c["steps"],)),
        ("step_flop", "A step over a minute of Sora's video", "524e9 x 30 x 180", "FLOP",
         (step_flop(),)),
        ("minute_flop", "A minute of video", "2.83e15 (rounded) x 250 steps", "FLOP",
         (minute_flop(),)),
        ("minutes_per_h100_hour", "Speed", "989.4e12 x 3,600 / 708e15",
         "minutes of video per H100-hour", (minutes_per_h100_hour(),)),
        ("break_even_minutes", "Serving has cost as much compute as training",
         "{1.08e25, 2.70e25} / 708e15", "minutes of video",
         (low / minute_flop(), high / minute_flop())),
    )  # fmt: skip


def rounded_speed() -> float:
    """Return the rounded minutes of video per H100-hour with which the report continues: 5."""
    return round_half_up(minutes_per_h100_hour())


def lower_bound_h100s(minutes_per_day: float) -> float:
    """Return H100s at work without pause, one clip made for one kept, demand even."""
    return gpus_needed(
        minutes_per_day,
        candidates=1.0,
        peak_to_mean=1.0,
        minutes_per_gpu_hour=rounded_speed(),
        utilisation=1.0,
    )


def peak_gpus(
    minutes_per_day: float,
    *,
    candidates: float | None = None,
    minutes_per_gpu_hour: float | None = None,
    utilisation: float | None = None,
) -> float:
    """Return GPUs at peak, nothing rounded on the way; what is not given is as in the report."""
    c = constants()
    return gpus_needed(
        minutes_per_day,
        candidates=candidates or c["candidates"],
        peak_to_mean=c["peak_to_mean"],
        minutes_per_gpu_hour=minutes_per_gpu_hour or rounded_speed(),
        utilisation=utilisation or c["utilisation"],
    )


def tiktok_minutes_per_day() -> float:
    """Return minutes of video that TikTok's users publish a day, by the report."""
    c = constants()
    return c["tiktok_videos_per_day"] * c["tiktok_video_s"] / 60


def _demand() -> tuple[Step, ...]:
    c = constants()
    tiktok, youtube = tiktok_minutes_per_day(), c["youtube_minutes_per_day"]
    total = c["total_minutes_per_day"]
    lower = lower_bound_h100s(total)
    as_printed = round_half_up(lower, -4)
    factor = c["candidates"] * c["peak_to_mean"] / c["utilisation"]
    return (
        ("minutes_per_h100_day", "A day of an H100", "5 (rounded) x 24", "minutes of video",
         (rounded_speed() * HOURS_PER_DAY,)),
        ("tiktok_minutes_per_day", "TikTok", "34M videos x 30 s / 60", "minutes a day", (tiktok,)),
        ("tiktok_share", "of these made by AI", "assumed", "", (c["tiktok_share"],)),
        ("tiktok_generated", "TikTok's made by AI", "17M x 50 %", "minutes a day",
         (tiktok * c["tiktok_share"],)),
        ("youtube_minutes_per_day", "YouTube", "given", "minutes a day", (youtube,)),
        ("youtube_share", "of these made by AI", "assumed", "", (c["youtube_share"],)),
        ("youtube_generated", "YouTube's made by AI", "43M x 15 %", "minutes a day",
         (youtube * c["youtube_share"],)),
        ("total_minutes_per_day", "Total", "as printed; 8.5M + 6.45M is 14.95M: see below",
         "minutes a day", (total,)),
        ("h100s_lower_bound", "H100s, lower bound", "10.7M x 1 x 1 / (24 x 5 x 100 %)", "H100",
         (lower,)),
        ("h100s_at_peak", "H100s at peak",
         "90k (rounded) x 2 candidates x 2 peak over mean / 50 % utilisation", "H100",
         (as_printed * factor,)),
    )  # fmt: skip
