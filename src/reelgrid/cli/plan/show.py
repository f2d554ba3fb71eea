"""Show an answer of `plan`: an HTML page on request, then text and tables, or JSON."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reelgrid.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from reelgrid.report.page import Report


def show_report(report: "Report", command: str, *, as_json: bool, html: Path | None) -> None:
    """Write the page, if asked for, then print the answer to stdout.

    Args:
        report: The answer.
        command: What it was asked with, without `reelgrid`; stands below the page.
        as_json: Print one JSON object on one line.
        html: Where to write the page.

    Raises:
        RequestError: The page cannot be written.
    """
    import reelgrid

    write_html(html, report, f"reelgrid {reelgrid.__version__}: {command}")
    print_report(report, as_json=as_json)


def write_html(html: Path | None, report: "Report", origin: str) -> None:
    """Write the page of a report, if asked for, and say so.

    Raises:
        RequestError: The page cannot be written.
    """
    if html is not None:
        from reelgrid.report.page import write_page

        write_page(html, report, origin)
        say(f"wrote {html}")


def print_report(report: "Report", *, as_json: bool) -> None:
    """Print an answer to stdout: its text and tables, or one JSON object on one line."""
    if as_json:
        print_json(report.data)
        return
    sys.stdout.write(f"{report.text}\n\n")
    for table in report.tables:
        if table.rows:
            print_table(table)
            sys.stdout.write("\n")


def check_html(path: Path | None) -> None:
    """Refuse a page that could not be written, before anything is computed.

    Raises:
        RequestError: Its folder does not exist, or it is a folder.
    """
    if path is not None:
        from reelgrid.report.page import check_page_path

        check_page_path(path)
