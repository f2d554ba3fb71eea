import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgrid.cli.output import plain_text, print_table
from reelgrid.report.table import UNKNOWN, Column, Table, number, show


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (7, "7"),
        (1234567, "1,234,567"),
        (np.int64(4200), "4,200"),
        (12345.6, "12,346"),
        (123.4, "123"),
        (12.34, "12.3"),
        (99.94, "99.9"),
        (99.96, "100"),
        (9.96, "9.96"),
        (999.6, "1,000"),
        (1.0, "1.00"),
        (0.012345, "0.0123"),
        (-0.5, "-0.5"),
        (1e-9, "1.00e-09"),
        (3e20, "3.00e+20"),
        (math.nan, UNKNOWN),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text


@given(st.floats(-1e300, 1e300), st.integers(2, 9))
def test_a_written_number_is_true_to_its_digits(value, digits):
    read = float(number(value, digits).replace(",", ""))
    assert read == pytest.approx(value, rel=0.51 * 10 ** (1 - digits), abs=1e-300)


def test_cells_are_shown():
    assert [show(cell) for cell in (None, True, "x", (1.0, 2500.0))] == [
        UNKNOWN, "yes", "x", "1.00 to 2,500",
    ]  # fmt: skip


def test_rows_have_a_cell_for_every_column():
    with pytest.raises(ValueError, match="2 cells under 1 columns"):
        Table(title="t", columns=["a"], rows=[["x", "y"]])


TABLE = Table(
    title="Prices",
    columns=["GPU", Column(title="price", unit="$/h")],
    rows=[["[red]H100[/red]", 2.69], ["T4", None]],
    note="September 2026",
)


def test_piped_tables_are_plain_and_aligned():
    assert plain_text(TABLE).splitlines() == [
        "Prices",
        "GPU              price [$/h]",
        "[red]H100[/red]         2.69",
        f"T4                         {UNKNOWN}",
        "September 2026",
    ]


def test_a_terminal_gets_lines_and_the_same_cells(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    print_table(TABLE, terminal)
    for text in ("Prices", "price [$/h]", "[red]H100[/red]", "2.69", "September 2026", "─"):
        assert text in terminal.getvalue()
