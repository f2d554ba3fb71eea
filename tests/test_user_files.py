"""One reader for every file that a user writes: the same rules for TOML, JSON and CSV."""

import json
from dataclasses import dataclass, field
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from reelgrid.errors import RequestError
from reelgrid.spec import Size
from reelgrid.user_files.checking import FieldError, parse, parse_cells, replace_checked
from reelgrid.user_files.reading import MAX_BYTES, Location, read_csv, read_json, read_toml


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    spokes: Annotated[int, Field(ge=1, le=99)]
    colour: Literal["red", "blue"] = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    name: str
    load_kg: Annotated[float, Field(gt=0)]
    wheels: tuple[Wheel, ...] = ()
    prices: dict[str, Annotated[float, Field(ge=0)]] = field(default_factory=dict)
    size: Size | None = None
    is_sold: bool = False
    origin: str = field(default="", metadata={"is_key": False})

    def __post_init__(self) -> None:
        if self.is_sold and self.load_kg > 100:
            raise FieldError("expected at most 100 for a sold one", param="load_kg")


TABLE = {
    "name": "green",
    "load_kg": 50,
    "wheels": [{"spokes": 3}, {"spokes": 9, "colour": "blue"}],
    "prices": {"usd": 2.5},
    "size": "832x480",
}
CART = Cart(
    name="green",
    load_kg=50.0,
    wheels=(Wheel(spokes=3), Wheel(spokes=9, colour="blue")),
    prices={"usd": 2.5},
    size=Size(832, 480),
)
TOML = """\
name = "green"
load_kg = 50
size = "832x480"
prices.usd = 2.5
[[wheels]]
spokes = 3
[[wheels]]
spokes = 9
colour = "blue"
"""
READERS = {"toml": read_toml, "json": read_json}


def write(folder, content, suffix):
    path = folder / f"cart.{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(("suffix", "text"), [("toml", TOML), ("json", json.dumps(TABLE))])
def test_toml_and_json_give_the_same_value_with_and_without_a_byte_order_mark(
    tmp_path, suffix, text, mark
):
    path = write(tmp_path, mark + text.replace("\n", "\r\n").encode(), suffix)
    assert parse(Cart, *READERS[suffix](path)) == CART


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_cells_of_csv_become_numbers_truths_and_sizes(tmp_path, mark):
    text = "name,load_kg,is_sold,size\r\n\r\ngreen,50,yes,832x480\r\n blue , 1e2 ,,\r\n"
    path = write(tmp_path, mark + text.encode(), "csv")
    columns = ["size", "is_sold", "name", "load_kg", "wheels"]
    first, second = (parse_cells(Cart, *row) for row in read_csv(path, columns))
    assert first == Cart(name="green", load_kg=50.0, is_sold=True, size=Size(832, 480))
    assert second == Cart(name="blue", load_kg=100.0)


def changed(**changes):
    return json.dumps(TABLE | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed(lod_kg=1), ":1: lod_kg: unknown key 'lod_kg': did you mean 'load_kg'?"),
        (changed(zebra=1), "unknown key 'zebra': expected one of is_sold, load_kg, name, prices"),
        (changed(origin="x"), "unknown key 'origin'"),
        (changed(wheels=[{"spoke": 3}]), "wheels[0].spoke: unknown key 'spoke'"),
        (
            changed(wheels=[{}]),
            "wheels[0]: expected the key 'spokes' (a whole number from 1 to 99)",
        ),
        (changed(wheels=[{"spokes": 100}]), "wheels[0].spokes: expected a whole number from 1"),
        (changed(wheels=[{"spokes": 2.5}]), "expected a whole number from 1 to 99, got 2.5"),
        (changed(wheels=[{"spokes": True}]), "expected a whole number from 1 to 99, got true"),
        (changed(wheels=[{"spokes": 3, "colour": "rad"}]), "expected one of red, blue, got 'rad'"),
        (changed(wheels={}), "wheels: expected an array, each a table, got a table"),
        (changed(wheels=[3]), "wheels[0]: expected a table, got 3"),
        (changed(load_kg="9"), "load_kg: expected a number above 0, got '9'"),
        (changed(load_kg=0), "load_kg: expected a number above 0, got 0"),
        (changed(prices={"us d": -1}), "prices.'us d': expected a number of at least 0, got -1"),
        (changed(name=3), "name: expected text, got 3"),
        (changed(name="a\u0007"), "name: expected text without control characters"),
        (changed(is_sold="yes"), "is_sold: expected true or false, got 'yes'"),
        (changed(is_sold=True, load_kg=101), "load_kg: expected at most 100 for a sold one"),
        (changed(size="832"), "size: expected WIDTHxHEIGHT"),
        (changed(load_kg=float("nan")), "load_kg: expected a finite number, got nan"),
        (changed(load_kg=2**64), "load_kg: expected a whole number below 2**63"),
        ('{"name": "a", "name": "b"}', "the key 'name' comes twice in one object"),
        ("[3]", ":1: expected a table, got an array"),
        ('{"name": }', ":1: expected valid JSON"),
    ],
)
def test_a_mistake_is_one_line_with_the_key_and_what_is_expected(tmp_path, text, message):
    path = write(tmp_path, text, "json")
    with pytest.raises(RequestError) as caught:
        parse(Cart, *read_json(path))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:1: ")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_toml_has_the_line_of_the_key(tmp_path):
    path = write(tmp_path, TOML.replace("spokes = 9", "spokes = 0"), "toml")
    with pytest.raises(RequestError) as caught:
        parse(Cart, *read_toml(path))
    assert str(caught.value).startswith(f"{path}:8: wheels[1].spokes: ")


def test_a_date_without_quotes_is_refused(tmp_path):
    path = write(tmp_path, "name = 2026-11-29\n", "toml")
    with pytest.raises(RequestError, match='got a date: write "2026-11-29"'):
        read_toml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,load_kg\na,1,2\n", ":2: expected 2 cells, as the first line has, got 3"),
        ("name,name\n", ":1: the column 'name' comes twice"),
        ("name,lod_kg\n", ":1: unknown column 'lod_kg': did you mean 'load_kg'?"),
        ('name\n"a', "expected valid CSV"),
        ("name,load_kg\na,one\n", ":2: load_kg: expected a number above 0, got 'one'"),
        ("name,load_kg\na,\n", ":2: expected the key 'load_kg' (a number above 0)"),
        ("name,load_kg\na\u0007,1\n", "control characters"),
    ],
)
def test_a_mistake_in_csv_has_the_line_of_the_row(tmp_path, text, message):
    path = write(tmp_path, text, "csv")
    with pytest.raises(RequestError) as caught:
        [parse_cells(Cart, *row) for row in read_csv(path, ["name", "load_kg"])]
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(("suffix", "reader"), READERS.items())
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#" * (MAX_BYTES + 1), "at most 1,000,000 bytes"),
        (b"x = '\xff'", "expected text in UTF-8"),
    ],
)
def test_what_is_no_readable_text_is_refused(tmp_path, suffix, reader, content, message):
    with pytest.raises(RequestError, match=message):
        reader(write(tmp_path, content, suffix))
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        reader(tmp_path / "none")


def test_a_field_is_replaced_only_by_what_a_file_may_hold():
    assert replace_checked(CART, load_kg=7.5).load_kg == 7.5
    with pytest.raises(FieldError, match="expected a number above 0, got -1") as caught:
        replace_checked(CART, load_kg=-1)
    assert caught.value.param == "load_kg"
    with pytest.raises(FieldError, match="expected at most 100"):
        replace_checked(CART, is_sold=True, load_kg=101)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["name", "load_kg", "wheels", "prices", "size", "is_sold", "spokes"])


@given(st.dictionaries(KEYS | st.text(max_size=5), VALUES, max_size=5))
def test_any_table_becomes_a_value_or_one_line(table):
    try:
        found = parse(Cart, table, Location("any", {}))
    except RequestError as error:
        assert str(error).startswith("any:1: ")  # noqa: PT017  # either outcome is right
    else:
        assert isinstance(found, Cart)
