"""The page on compatibility agrees with the server."""

import re
from pathlib import Path

import pytest

from reelgrid.api.errors import ApiError
from reelgrid.api.fields import REASONS, VideoFields, parse
from reelgrid.api.schemas import Video

PAGE = (Path(__file__).parent.parent / "docs" / "compatibility.md").read_text(encoding="utf-8")


def fields_of(table_start: str) -> set[str]:
    """The names in the first column of the table that begins with these words."""
    rows = PAGE[PAGE.index(table_start) :].split("\n\n")[0].splitlines()[2:]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_page_names_every_supported_field_of_a_video():
    assert fields_of("| field | openai | SGLang") == set(VideoFields.model_fields)


def test_the_page_names_every_field_that_is_refused_with_a_reason():
    assert fields_of("| field | of | why") == set(REASONS)


@pytest.mark.parametrize("name", REASONS)
def test_a_refused_field_is_refused(name):
    with pytest.raises(ApiError, match=f"{name} is not supported: {REASONS[name][:20]}"):
        parse(VideoFields, {"prompt": "a", name: 1})


def test_the_page_names_every_field_that_comes_back():
    assert fields_of("| field | openai | Reelgrid") == set(Video.model_fields) - {
        "extended_from_video_id",
        "priority",
        "deadline",
    }
