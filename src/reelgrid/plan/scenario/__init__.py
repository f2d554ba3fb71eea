"""One file for `plan demand`, `plan offers` and `simulate`: who wants which clips, on which GPUs."""

from reelgrid.plan.scenario.values import (
    ClipKind,
    Energy,
    Growth,
    Hardware,
    Platform,
    Promise,
    Scenario,
    Speed,
    Training,
    UnreadTable,
    read_scenario,
)

__all__ = [
    "ClipKind",
    "Energy",
    "Growth",
    "Hardware",
    "Platform",
    "Promise",
    "Scenario",
    "Speed",
    "Training",
    "UnreadTable",
    "read_scenario",
]
