"""The documentation of demand and the file format agree."""

import dataclasses
import re
from pathlib import Path

import pytest

from reelgrid.plan.demand.model import answer_demand
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.scenario.values import (
    ClipKind,
    Energy,
    Growth,
    Hardware,
    Platform,
    Promise,
    Speed,
    Training,
)
from tests.plan.scenarios import scenario_of

PAGE = (Path(__file__).parents[2] / "docs" / "demand.md").read_text(encoding="utf-8")


def test_the_smallest_scenario_of_the_page_has_an_answer(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert answer_demand(scenario_of(tmp_path, block), shipped_facts(), num_draws=200).inputs


@pytest.mark.parametrize(
    "kind", [ClipKind, Energy, Growth, Hardware, Platform, Promise, Speed, Training]
)
def test_every_key_of_the_file_is_on_the_page(kind):
    table = PAGE[PAGE.index("## The file, key by key") : PAGE.index("## What is computed")]
    for field in dataclasses.fields(kind):
        assert f"`{field.name}`" in table, field.name
