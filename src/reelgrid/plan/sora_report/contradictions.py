"""Where the Sora compute report contradicts itself or the world, in figures."""

from dataclasses import dataclass

from reelgrid.plan.sora_report import calculation

OPERATIONS_PER_MULTIPLY_ACCUMULATE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureLine:
    """One figure of a contradiction."""

    what: str
    formula: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """A point in which the report contradicts itself or the world.

    Attributes:
        title: The point, in a sentence.
        why: What is wrong and what follows.
        lines: The figures.
        source: Where those that are not the report's are from.
    """

    title: str
    why: str
    lines: tuple[FigureLine, ...]
    source: str = ""


def contradictions() -> tuple[Contradiction, ...]:
    """Return all six points, those within the report first."""
    return (
        _total(),
        _multiply_accumulates(),
        _left_out(),
        _measured(),
        _tiktok_measured(),
        _candidates(),
    )


def _line(what: str, formula: str, value: float, unit: str = "H100") -> FigureLine:
    return FigureLine(what=what, formula=formula, value=value, unit=unit)


def stated_total_minutes_per_day() -> float:
    """Return the total that the report's own rates give."""
    c = calculation.constants()
    return (
        calculation.tiktok_minutes_per_day() * c["tiktok_share"]
        + c["youtube_minutes_per_day"] * c["youtube_share"]
    )


def _total() -> Contradiction:
    c, total = calculation.constants(), stated_total_minutes_per_day()
    of_tiktok = calculation.tiktok_minutes_per_day() * c["tiktok_share"]
    needed = (c["total_minutes_per_day"] - of_tiktok) / c["youtube_minutes_per_day"]
    return Contradiction(
        title="The stated rates give 14.95M minutes a day, not 10.7M",
        why="10.7M a day needs 5 % of YouTube made by AI, where 15 % is stated; with the stated "
        "rates all numbers of GPUs are 40 % larger.",
        lines=(
            _line("minutes a day, as stated", "17M x 50 % + 43M x 15 %", total, "minutes a day"),
            _line("lower bound", "14.95M / (24 x 5)", calculation.lower_bound_h100s(total)),
            _line("at peak", "14.95M x 2 x 2 / (24 x 5 x 50 %)", calculation.peak_gpus(total)),
            _line("share of YouTube that 10.7M implies", "(10.7M - 8.5M) / 43M", needed, ""),
        ),
    )  # fmt: skip


def _multiply_accumulates() -> Contradiction:
    each = OPERATIONS_PER_MULTIPLY_ACCUMULATE
    trained = calculation.values()["training_h100s"]
    speed = calculation.minutes_per_h100_hour() / each
    return Contradiction(
        title="Multiply-accumulates are counted as one operation, the GPU's peak as two",
        why="The Gflops of DiT are multiply-accumulates (arXiv:2212.09748). Counted alike, "
        "Sora is half as fast and training takes twice the GPUs; the break-even, a ratio of the "
        "two, stays.",
        lines=(
            _line("speed", "989.4e12 x 3,600 / (2 x 708e15)", speed, "minutes per H100-hour"),
            _line("training for a month, low", "2 x 4,211", each * trained[0]),
            _line("training for a month, high", "2 x 10,528", each * trained[1]),
            _line("at peak", "10.7M x 2 x 2 / (24 x 2.5 x 50 %)",
                  each * calculation.peak_gpus(calculation.constants()["total_minutes_per_day"])),
        ),
    )  # fmt: skip


def attention_factor() -> float:
    """Return by how much attention among all tokens of a minute multiplies a step.

    Attention takes 2 L**2 d N multiply-accumulates a forward (L tokens, d width, N layers); the
    rest grows with L alone. The network is DiT-XL's, d and N both larger by the cube root of 30.
    """
    c = calculation.constants()
    params = calculation.round_half_up(c["sora_params"] / c["dit_params"])
    frames = calculation.values()["latent_frames_factor"][0]
    shape = c["dit_width"] * c["dit_layers"]
    small = 2 * c["dit_tokens"] ** 2 * shape
    large = 2 * (c["dit_tokens"] * frames) ** 2 * shape * params ** (2 / 3)
    rest = (c["dit_flop_per_step"] - small) * params * frames
    return float((rest + large) / calculation.step_flop())


def _left_out() -> Contradiction:
    factor, speed = attention_factor(), calculation.minutes_per_h100_hour()
    unit = "minutes per H100-hour"
    return Contradiction(
        title="Guidance, quadratic attention, codec, text encoder, resolution and any utilisation "
        "below 100 % are not in the five minutes",
        why="Each alone lowers the speed; the utilisation comes in later as a factor of 2 that "
        "stands for it and for nothing else. Attention is counted over a whole minute at once, at "
        "512x512: models that make a minute in pieces pay less.",
        lines=(
            _line("with guidance, two forwards a step", "5.03 / 2", speed / 2, unit),
            _line("at 50 % utilisation", "5.03 x 50 %", speed / 2, unit),
            _line("attention among all 184,320 tokens", "(rest + 2 L^2 d N) / step", factor,
                  "times the step"),
            _line("speed with that attention", f"5.03 / {factor:.1f}", speed / factor, unit),
        ),
        source="shape of DiT-XL: arXiv:2212.09748, tables 1 and 4",
    )  # fmt: skip


def _measured() -> Contradiction:
    rows = calculation.read_facts()["measured"]
    lines = tuple(
        _line(
            f"{row['model']} on {row['gpu']}",
            row["source"],
            float(row["minutes_per_gpu_hour"]),
            "minutes per GPU-hour",
        )
        for row in rows
    )
    return Contradiction(
        title="Measured since: 0.19 to 150 minutes of video per GPU-hour, by the model",
        why="The larger open models are 8 to 26 times slower than the five minutes, small and "
        "distilled ones up to 30 times faster: the model decides, not the GPU.",
        lines=lines,
        source="see each line; more in docs/predict.md",
    )


def measured_tiktok_minutes_per_day() -> float:
    """Return minutes of video that TikTok's users published a day in April 2024."""
    world = calculation.read_facts()["world"]
    return float(world["tiktok_videos_per_day"]["value"] * world["tiktok_video_s"]["value"] / 60)


def _tiktok_measured() -> Contradiction:
    c, minutes = calculation.constants(), measured_tiktok_minutes_per_day()
    of_youtube = c["youtube_minutes_per_day"] * c["youtube_share"]
    total = minutes * c["tiktok_share"] + of_youtube
    return Contradiction(
        title="TikTok was 2.4 times as large a month after the report",
        why="Measured in April 2024: 117M videos a day of 20.5 s. By the report's own method and "
        "stated rates that takes 1.76M H100s at peak.",
        lines=(
            _line("TikTok", "117M x 20.5 s / 60", minutes, "minutes a day"),
            _line("both, made by AI", "40.0M x 50 % + 6.45M", total, "minutes a day"),
            _line("at peak", "26.4M x 2 x 2 / (24 x 5 x 50 %)", calculation.peak_gpus(total)),
        ),
        source=calculation.read_facts()["world"]["tiktok_videos_per_day"]["source"],
    )


def _candidates() -> Contradiction:
    c, world = calculation.constants(), calculation.read_facts()["world"]
    total, clip_s = c["total_minutes_per_day"], world["clip_s"]["value"]
    lines = [_peak_with("the report", total, c["candidates"])]
    for row in world["candidates"]:
        count = row["clips_made"] * clip_s / row["kept_s"]
        formula = f"{row['clips_made']:,.0f} x {clip_s} s / {row['kept_s']} s"
        lines += [
            _line(f"clips for one kept in {row['what']}", formula, count, "clips"),
            _peak_with(row["what"], total, count),
        ]
    return Contradiction(
        title="Two clips made for one kept is a guess, and the answer is proportional to it",
        why="A 53-second scene took 2,137 clips, an advertisement 70,000: professionals throw far "
        "more away than casual users. Nothing else in the sum spans so many powers of ten.",
        lines=tuple(lines),
        source="; ".join(f"{row['what']}: {row['source']}" for row in world["candidates"])
        + "; clips of 5 s",
    )


def _peak_with(what: str, minutes_per_day: float, count: float) -> FigureLine:
    return _line(
        f"at peak as {what}",
        f"10.7M x {count:,.0f} x 2 / (24 x 5 x 50 %)",
        calculation.peak_gpus(minutes_per_day, candidates=count),
    )


def unrounded_peak() -> FigureLine:
    """Return the report's GPUs at peak with nothing rounded on the way."""
    c = calculation.constants()
    speed = calculation.minutes_per_h100_hour()
    value = calculation.peak_gpus(c["total_minutes_per_day"], minutes_per_gpu_hour=speed)
    return _line("at peak, nothing rounded", "10.7M x 2 x 2 / (24 x 5.03 x 50 %)", value)
