import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from reelgrid.errors import RequestError
from reelgrid.report.page import (
    Chart,
    Formula,
    KeyFigure,
    Report,
    Section,
    colour,
    render_page,
    write_page,
)
from reelgrid.report.table import Column, Table

EVIL = (
    "<script>document.documentElement.dataset.bad=1</script>"
    '<img src=https://example.org/x onerror="document.documentElement.dataset.bad=1">&amp;\'"'
)


def chart(name="likely", **more):
    return Chart(
        title=f"Chart {name}",
        description=f"Bars {name}",
        figure={
            "data": [
                {"type": "bar", "x": [name, "b"], "y": [1.0, 2.0], "name": name,
                 "marker": {"color": colour(2, 0.5)}, "hovertemplate": "%{y}<extra></extra>"},
                {"type": "scatter", "x": ["b", name], "y": np.array([1.5, np.nan]), "name": "line"},
            ],
            "layout": {"yaxis": {"title": {"text": f"minutes {name}"}}},
        },
        **more,
    )  # fmt: skip


def table(name="likely"):
    return Table(
        title=f"Table {name}", columns=[name, Column(title="cost", unit="$/h")], rows=[[name, 2.5]]
    )


def report(sections, title="t"):
    return Report(title=title, answer="a", sections=sections)


def page(name="likely", **more):
    answer = Report(
        title=name,
        answer=f"Answer {name}",
        sections=[
            Section(title=name, parts=[name, table(name), chart(name, table=table(name), note=name)]),
            Section(title="Arithmetic", parts=[Formula(text=f"a = {name}", note=name)]),
        ],
        key_figures=[KeyFigure(label=name, value=name, uncertainty=name)],
        **more,
    )  # fmt: skip
    return render_page(answer, origin=name)


class Reader(HTMLParser):
    """Collects the contents of a page: elements, attributes, text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_data(self, data):
        self.texts.append(data)


def figures(text):
    return [
        json.loads(each)
        for each in re.findall(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    ]


def test_texts_of_users_are_never_markup():
    plain, evil = Reader(page()), Reader(page(EVIL))
    assert plain.tags == evil.tags
    assert {pair[:2] for pair in plain.attributes} == {pair[:2] for pair in evil.attributes}
    assert any(EVIL in text for text in evil.texts)
    (figure,) = figures(page(EVIL))
    assert figure["data"][0]["hovertemplate"] == "%{y}<extra></extra>"
    assert "<script" not in json.dumps(figure)
    assert "<img" not in json.dumps(figure)


def test_the_page_refers_to_nothing_outside_itself():
    wanted = [
        pair for pair in Reader(page(EVIL)).attributes if pair[1] in {"src", "href", "action"}
    ]
    assert wanted == []
    assert "default-src 'none'" in page()


def test_the_order_is_answer_then_sections_as_given():
    text = page()
    places = [text.index(part) for part in ("Answer likely", "Table likely", "Arithmetic")]
    assert places == sorted(places)


def test_tables_have_headings_with_units_captions_and_scopes():
    reader = Reader(page())
    assert "cost [$/h]" in reader.texts
    assert ("th", "scope", "col") in reader.attributes
    assert ("th", "scope", "row") in reader.attributes
    assert reader.tags.count("caption") == reader.tags.count("table") == 2


def test_numbers_that_json_does_not_know_are_gaps():
    (figure,) = figures(page())
    assert figure["data"][1]["y"] == [1.5, None]


def test_a_page_without_charts_needs_no_library():
    text = render_page(report([Section(title="s", parts=[table()])]))
    assert len(text) < 20_000
    assert len(page()) < 2_200_000


def test_colours_beyond_the_eighth_are_refused():
    assert colour(1) == "$1/1"
    with pytest.raises(ValueError, match="0 to 8"):
        colour(9)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RequestError, match="make it first"):
        write_page(tmp_path / "none" / "page.html", report([]))


def test_the_same_page_has_the_same_bytes():
    assert page() == page()


def _luminance(colour_hex):
    parts = [int(colour_hex[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one, other):
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_texts_and_lines_stand_out_from_the_paper(theme):
    """WCAG 2.2: 4.5 for text (1.4.3), 3 for what a chart draws (1.4.11); of series, the first six."""
    style = re.search(r"<style>(.*?)</style>", page(), re.DOTALL)
    assert style
    block = re.findall(r":root \{(.*?)\}", style[1], re.DOTALL)[theme]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))
    for name in ("ink", "soft", "accent"):
        assert _contrast(colours[name], colours["paper"]) >= 4.5, name
    for index in (0, 1, 2, 3, 4, 6, 7, 8):
        assert _contrast(colours[f"c{index}"], colours["paper"]) >= 3, index


CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom",
)  # fmt: skip


needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium or Chrome is installed to open a page in"
)


def opened(path):
    """The page in the browser, the console, and the network requests of the page.

    The browser's own requests are recognized by the site that they are made for.
    """
    log = path.with_suffix(".net.json")
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--user-data-dir={path.parent / 'user'}", f"--log-net-log={log}",
         path.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = re.findall(
        r'"network_isolation_key":"file:[^\n]*?"url":"(https?://[^"]*)"',
        log.read_text(encoding="utf-8"),
    )
    return done.stdout, console, asked


@needs_browser
def test_a_browser_draws_it_without_network_errors_or_foreign_script(tmp_path):
    path = tmp_path / "page.html"
    sections = [Section(title="s", parts=[chart(EVIL), chart("other")])]
    write_page(path, report(sections, title=EVIL))
    text, console, asked = opened(path)
    root = re.search(r"<html[^>]*>", text)
    assert root
    assert 'data-drawn="2"' in root[0]
    assert "data-bad" not in root[0]
    assert text.count('class="main-svg"') >= 2
    assert text.count('class="point"') >= 4
    assert console == []
    assert asked == []


@needs_browser
def test_the_browser_would_have_seen_a_request_and_an_error(tmp_path):
    path = tmp_path / "page.html"
    path.write_text('<img src="http://127.0.0.1:9/x"><script>nothing()</script>', encoding="utf-8")
    _, console, asked = opened(path)
    assert any("nothing is not defined" in line for line in console)
    assert "http://127.0.0.1:9/x" in asked
