"""A loss curve as a picture that any browser opens, without a plotting library."""

import math
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 800, 400, 48  # pixels
SMOOTH = 5  # points of the running mean


def write_curve(path: Path, minutes: Sequence[float], losses: Sequence[float]) -> None:
    """Draw losses over minutes, on a logarithmic scale, as SVG; nothing for fewer than two."""
    if len(losses) < 2:
        return
    means = [_mean(losses[max(0, i - SMOOTH + 1) : i + 1]) for i in range(len(losses))]
    low, high = math.log(min(means)), math.log(max(means))
    span = max(high - low, 1e-9)
    points = " ".join(
        f"{MARGIN + (WIDTH - 2 * MARGIN) * minute / minutes[-1]:.1f},"
        f"{HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log(mean) - low) / span:.1f}"
        for minute, mean in zip(minutes, means, strict=True)
    )
    labels = (
        _label(MARGIN, HEIGHT - 16, "0"),
        _label(WIDTH - MARGIN, HEIGHT - 16, f"{minutes[-1]:.0f} min"),
        _label(8, HEIGHT - MARGIN, f"{math.exp(low):.3g}"),
        _label(8, MARGIN, f"{math.exp(high):.3g}"),
        _label(WIDTH / 2, 24, "loss, running mean, logarithmic"),
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(labels)}'
        f'<polyline points="{points}" fill="none" stroke="black" stroke-width="1.5"/></svg>\n',
        encoding="utf-8",
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-family="sans-serif" font-size="13">{text}</text>'
