"""A scenario file becomes a `Scenario`, or one line that says what is wrong with it.

Not here: the rules, which stand with the values (`values`) and types (`reading`).
"""

from dataclasses import replace
from pathlib import Path

from reelgrid.plan.scenario.reading import read_table, read_toml
from reelgrid.plan.scenario.values import Part, Scenario


def read_scenario(path: Path) -> Scenario:
    """Return the scenario that a TOML file holds.

    The table `[simulation]` is handed on unread, as a `Part`.

    Raises:
        RequestError: It holds something else; the message has line, key and what was expected.
    """
    tables, root = read_toml(path)
    if not tables:
        raise root.error("expected [[platforms]] and [[hardware]], got an empty file")
    simulation = tables.pop("simulation", None)
    scenario = read_table(Scenario, tables, root)
    part = None if simulation is None else Part(simulation, root / "simulation")
    return replace(scenario, simulation=part, location=root)
