"""A small scenario as text that tests change; its answer can be computed by hand."""

from pathlib import Path

from reelgrid.plan.scenario.values import Scenario, read_scenario

PLAIN = """\
name = "plain"

[[platforms]]
name = "one"
minutes_per_day = 1200
share_made_by_ai = 0.5
clips_per_kept = 2
peak_to_mean = 3

    [[platforms.clips]]
    model = "given"
    clip_s = 6

[[hardware]]
gpu = "H100 SXM"
usd_per_h = 2
utilisation = 0.5
power_w = 700

[[speeds]]
model = "given"
gpu = "h100"
minutes_per_gpu_hour = 5
"""


def scenario_of(folder: Path, text: str = PLAIN) -> Scenario:
    """Return the scenario that a text holds."""
    path = folder / "scenario.toml"
    path.write_text(text, encoding="utf-8")
    return read_scenario(path)


def changed(old: str, new: str, text: str = PLAIN) -> str:
    """Return the text with one passage replaced; the passage must exist."""
    assert text.count(old) == 1, old
    return text.replace(old, new)
