"""One self-contained HTML page: the answer first, then its uncertainty, then the arithmetic.

The page opens without a network: styles, script and the chart library are inside it. It is a Jinja
template that escapes every text, so scenario names and error messages may hold anything.
"""

import functools
import gzip
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from reelgrid.errors import RequestError
from reelgrid.report.table import Table
from reelgrid.store.atomic import atomic_write


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A Plotly figure.

    Attributes:
        title: What is to be seen, as a sentence: "Eight H100 do the work of sixty 4090".
        description: The same for those who cannot see it: axes, series and what stands out.
        figure: `{"data": [...], "layout": {...}}` as Plotly has it. Colours come from `colour`,
            so that they suit light and dark; leave fonts, backgrounds, margins and sizes alone.
        table: The same numbers, which the page shows on demand.
        note: Where the numbers come from.
        height_px: Height on the screen.
    """

    title: str
    description: str
    figure: Mapping[str, Any]
    table: Table | None = None
    note: str = ""
    height_px: int = 360


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A formula in plain text, one line a step, and what its letters mean."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """One number of the answer: `KeyFigure(label="GPUs at peak", value="412", uncertainty="380 to 455")`."""

    label: str
    value: str
    uncertainty: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page; texts in `parts` are paragraphs."""

    title: str
    parts: Sequence["str | Table | Chart | Formula"] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An answer in all its forms: text and tables for a terminal, a page, and JSON.

    Attributes:
        title: What it is about.
        answer: One to three sentences, first on the page.
        sections: Of the page, in the order of reading: uncertainty before arithmetic.
        key_figures: The numbers of the answer, three to five.
        text: What stands above the tables on a terminal.
        tables: For a terminal; tables without rows are left out.
        data: The same with all digits, as JSON has it.
    """

    title: str
    answer: str
    sections: Sequence[Section]
    key_figures: Sequence[KeyFigure] = ()
    text: str = ""
    tables: Sequence[Table] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


def colour(index: int, alpha: float = 1.0) -> str:
    """Return a colour that the page turns into one for light, dark or paper.

    Args:
        index: 1 to 8 for series, always in this order; 0 is the grey of context and grid.
        alpha: 0 to 1; 0.2 is right for a band.

    Raises:
        ValueError: There is no such colour.
    """
    if not 0 <= index <= 8:
        raise ValueError(f"colour {index} is out of range: 0 to 8")
    return f"${index}/{alpha:g}"


def write_page(path: Path, report: Report, origin: str = "") -> None:
    """Write the page of a report whole.

    Args:
        path: The file, overwritten.
        report: What to show.
        origin: What it was made from: version, command, files, date, seed.

    Raises:
        RequestError: The folder is not there, or Jinja2 or Plotly is not installed.
    """
    check_page_path(path)
    text = render_page(report, origin)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_page_path(path: Path) -> None:
    """Refuse a path that no page can be written to, before anything is computed.

    Raises:
        RequestError: Its folder is not there, or it is a folder itself.
    """
    if not path.parent.is_dir():
        raise RequestError(f"there is no folder {path.parent}: make it first", param="html")
    if path.is_dir():
        raise RequestError(f"{path} is a folder: give a file to write", param="html")


def render_page(report: Report, origin: str = "") -> str:
    """Return the page's HTML; the arguments are those of `write_page`."""
    has_charts = any(isinstance(part, Chart) for each in report.sections for part in each.parts)
    rendered: str = _template().render(
        report=report,
        style=_resource("page.css"),
        origin=origin,
        library=_library() if has_charts else "",
        script=_resource("page.js"),
    )
    return rendered


@functools.cache
def _template() -> Any:
    try:
        import jinja2
    except ImportError:
        raise RequestError(
            'a page needs Jinja2: pip install "reelgrid[plan]"', param="html"
        ) from None
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["without_markup"] = _without_markup
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.from_string(_resource("page.html.jinja"))


_PLAIN_EMPHASIS = re.compile(r"&lt;(br|extra|/extra|b|/b|i|/i|sub|/sub|sup|/sup)&gt;")


def _without_markup(value: Any) -> Any:
    """Return a figure whose texts hold no markup but line breaks and plain emphasis.

    Plotly reads texts as a small HTML; numbers that JSON does not know become gaps.
    """
    if isinstance(value, str):
        return _PLAIN_EMPHASIS.sub(r"<\1>", value.replace("<", "&lt;").replace(">", "&gt;"))
    if isinstance(value, Mapping):
        return {str(key): _without_markup(each) for key, each in value.items()}
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, Sequence):
        return [_without_markup(each) for each in value]
    if hasattr(value, "tolist"):
        return _without_markup(value.tolist())
    return float(value) if math.isfinite(value) else None


def _resource(name: str) -> str:
    return resources.files("reelgrid.report").joinpath(name).read_text(encoding="utf-8")


@functools.cache
def _library() -> str:
    """Return Plotly's script, compressed: 2.0 MB of text in place of 4.8 MB; browsers unpack it."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise RequestError(
            'a page with charts needs Plotly: pip install "reelgrid[plan]"', param="html"
        ) from None
    return b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)).decode()
