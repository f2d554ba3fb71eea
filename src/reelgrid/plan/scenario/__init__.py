"""One file for `plan demand`, `plan offers` and `simulate`: who wants which clips, on which GPUs."""

from reelgrid.plan.scenario.values import (
    Clip,
    Energy,
    Growth,
    Hardware,
    Part,
    Platform,
    Promise,
    Scenario,
    Speed,
    Training,
    read_scenario,
)

__all__ = [
    "Clip",
    "Energy",
    "Growth",
    "Hardware",
    "Part",
    "Platform",
    "Promise",
    "Scenario",
    "Speed",
    "Training",
    "read_scenario",
]
