"""One file for `plan demand` and `simulate`: who wants which clips, on which GPUs, how sure.

A table `[simulation]` is kept unread: `scenario.simulation.read(Simulation)` gives it, with the
same messages. Not here: what follows from a scenario (`plan.demand`, `plan.simulation`).
"""

from reelgrid.plan.scenario.file import read_scenario
from reelgrid.plan.scenario.supply import Energy, Hardware, Speed, Training
from reelgrid.plan.scenario.values import Clip, Growth, Part, Platform, Promise, Scenario

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
