"""One self-contained HTML page that a manager can read: answer first, then doubt, then arithmetic.

The page opens with no network: styles, script and the chart library are inside it. Every text is
escaped, so scenario names and error messages may hold anything. Not here: what the figures are.
"""

import functools
import gzip
import html
import json
import math
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from reelgrid.errors import RequestError
from reelgrid.report.table import Cell, Column, Table, number, show
from reelgrid.store.atomic import atomic_write

__all__ = [
    "Cell", "Chart", "Column", "Formula", "KeyFigure", "Section", "Table", "check_page_path", "colour", "number",
    "render_page", "show", "write_page",
]  # fmt: skip


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


def write_page(
    path: Path,
    *,
    title: str,
    answer: str,
    sections: Sequence[Section],
    key_figures: Sequence[KeyFigure] = (),
    origin: str = "",
) -> None:
    """Write the page whole.

    Args:
        path: The file, overwritten.
        title: What the page is about.
        answer: One to three sentences, first on the page.
        sections: In the order of reading: doubt before arithmetic.
        key_figures: The numbers of the answer, three to five.
        origin: What it was made from: command, files, date, seed.

    Raises:
        RequestError: The folder is not there, or Plotly is not installed.
    """
    check_page_path(path)
    text = render_page(
        title=title, answer=answer, sections=sections, key_figures=key_figures, origin=origin
    )
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


def render_page(
    *,
    title: str,
    answer: str,
    sections: Sequence[Section],
    key_figures: Sequence[KeyFigure] = (),
    origin: str = "",
) -> str:
    """Return the page's HTML; the arguments are those of `write_page`."""
    charts = [part for section in sections for part in section.parts if isinstance(part, Chart)]
    body = "\n".join(_section(section) for section in sections)
    return _PAGE.format(
        title=_plain(title),
        style=_resource("page.css"),
        answer=_plain(answer),
        key_figures=_key_figures(key_figures),
        body=body,
        origin=f"<footer><p>{_plain(origin)}</p></footer>" if origin else "",
        scripts=_scripts() if charts else "",
    )


_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)

_PAGE = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content=\""""
    + _POLICY
    + """\">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<header>
<h1>{title}</h1>
<p class="answer">{answer}</p>
{key_figures}
</header>
{body}
{origin}
</main>
{scripts}
</body>
</html>
"""
)


def _plain(text: str) -> str:
    return html.escape(text, quote=True)


def _key_figures(figures: Sequence[KeyFigure]) -> str:
    if not figures:
        return ""
    return f'<dl class="key">{"".join(map(_key_figure, figures))}</dl>'


def _key_figure(figure: KeyFigure) -> str:
    doubt = f'<dd class="doubt">{_plain(figure.uncertainty)}</dd>' if figure.uncertainty else ""
    return f"<div><dt>{_plain(figure.label)}</dt><dd>{_plain(figure.value)}</dd>{doubt}</div>"


def _section(section: Section) -> str:
    parts = "\n".join(_part(part) for part in section.parts)
    return f"<section>\n<h2>{_plain(section.title)}</h2>\n{parts}\n</section>"


def _part(part: "str | Table | Chart | Formula") -> str:
    if isinstance(part, str):
        return f"<p>{_plain(part)}</p>"
    if isinstance(part, Table):
        return _table(part)
    return _chart(part) if isinstance(part, Chart) else _formula(part)


def _formula(formula: Formula) -> str:
    return (
        f'<figure class="formula"><pre>{_plain(formula.text)}</pre>{_note(formula.note)}</figure>'
    )


def _note(text: str) -> str:
    return f'<p class="note">{_plain(text)}</p>' if text else ""


def _table(table: Table) -> str:
    marks = [' class="n"' if table.is_number(i) else "" for i in range(len(table.columns))]
    heads = "".join(
        f'<th scope="col"{mark}>{_plain(heading)}</th>'
        for heading, mark in zip(table.headings, marks, strict=True)
    )
    rows = "\n".join(_row(row, marks) for row in table.text_rows())
    total = ' class="total"' if table.is_total_last else ""
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{_plain(table.title)}">'
        f"<table{total}><caption>{_plain(table.title)}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>\n{rows}\n</tbody></table></div>"
        f"{_note(table.note)}"
    )


def _row(cells: Sequence[str], marks: Sequence[str]) -> str:
    first, *rest = (_plain(cell) for cell in cells)
    others = "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(rest, marks[1:], strict=True))
    return f'<tr><th scope="row"{marks[0]}>{first}</th>{others}</tr>'


def _chart(chart: Chart) -> str:
    figure = json.dumps(_harmless(chart.figure), allow_nan=False, separators=(",", ":"))
    numbers = (
        f"<details><summary>The numbers</summary>{_table(chart.table)}</details>"
        if chart.table
        else ""
    )
    return (
        f'<figure class="chart"><figcaption>{_plain(chart.title)}</figcaption>'
        f'<div class="plot" role="img" aria-label="{_plain(chart.description)}" '
        f'style="height:{chart.height_px}px"></div>'
        f'<script type="application/json">{_inert(figure)}</script>'
        f"<noscript><p>{_plain(chart.description)}</p></noscript>"
        f"{_note(chart.note)}{numbers}</figure>"
    )


def _inert(json_text: str) -> str:
    """Return JSON that cannot end the script element that holds it."""
    return (
        json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


_MARKUP = re.compile(r"&lt;(br|extra|/extra|b|/b|i|/i|sub|/sub|sup|/sup)&gt;")


def _harmless(value: Any) -> Any:
    """Return a figure whose texts hold no markup but line breaks and plain emphasis.

    Plotly reads texts as a small HTML; numbers that JSON does not know become gaps.
    """
    if isinstance(value, str):
        return _MARKUP.sub(r"<\1>", value.replace("<", "&lt;").replace(">", "&gt;"))
    if isinstance(value, Mapping):
        return {str(key): _harmless(each) for key, each in value.items()}
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, Sequence):
        return [_harmless(each) for each in value]
    if hasattr(value, "tolist"):
        return _harmless(value.tolist())
    return float(value) if math.isfinite(value) else None


def _resource(name: str) -> str:
    return resources.files("reelgrid.report").joinpath(name).read_text(encoding="utf-8")


def _scripts() -> str:
    return (
        f'<script type="text/plain" id="plotly">{_library()}</script>\n'
        f"<script>\n{_resource('page.js')}</script>"
    )


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
