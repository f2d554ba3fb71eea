"""`reelgrid jobs`: what is waiting, running and done, and to stop or follow it."""

import json
import sys
import time
from typing import Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.job_access import Address, JobAccess, Url, View, count_of, job_access, local_time
from reelgrid.cli.output import say
from reelgrid.errors import ReelgridError, RequestError

POLL_EVERY_S = 0.5
RETRY_FOR_S = 60.0
"""A server that is being started again is waited for so long by who follows a job."""
_FINAL = ("completed", "failed")
_PROMPT_CHARS = 40

jobs = typer.Typer(
    name="jobs",
    help="Jobs of the server: list, show, cancel, pause, resume, follow.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Ids = Annotated[list[str], typer.Argument(help="Ids, as the list shows them.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(jobs)


@jobs.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="The newest so many.")] = 20,
    status: Annotated[
        str | None, typer.Option(help="Only queued, in_progress, completed or failed.")
    ] = None,
    database: Address = None,
    url: Url = None,
    as_json: options.Json = False,
) -> None:
    """List jobs, the newest first: of all owners on the database, your own over HTTP."""
    if status not in {None, "queued", "in_progress", *_FINAL}:
        raise RequestError(
            f"status {status!r} is none of queued, in_progress, completed, failed", param="status"
        )
    with job_access(database, url) as at:
        found = at.list(limit, status)
    if as_json:
        _print_json(found)
        return
    from reelgrid.cli.output import print_table
    from reelgrid.report.table import Table

    columns = ("id", "status", "progress", "model", "admitted", "prompt")
    rows = [
        (
            view["id"],
            _status(view),
            f"{view['progress']} %",
            view["model"],
            local_time(view["created_at"]),
            _shorten(view["prompt"] or ""),
        )
        for view in found
    ]
    print_table(Table(title=count_of(len(rows), "job"), columns=columns, rows=rows))


@jobs.command("show")
def show(
    ids: Ids, database: Address = None, url: Url = None, as_json: options.Json = False
) -> None:
    """Show everything that is known of jobs."""
    with job_access(database, url) as at:
        found = [at.get(job_id) for job_id in ids]
    if as_json:
        _print_json(found)
        return
    for number, view in enumerate(found):
        sys.stdout.write("\n" if number else "")
        for name, value in view.items():
            if value not in (None, {}, []):
                shown = local_time(value) if name.endswith("_at") else value
                sys.stdout.write(f"{name:16} {_in_words(shown)}\n")


@jobs.command("cancel")
def cancel(ids: Ids, database: Address = None, url: Url = None) -> None:
    """End jobs: waiting ones at once, running ones at their next step."""
    _act("cancel", ids, database, url)


@jobs.command("pause")
def pause(ids: Ids, database: Address = None, url: Url = None) -> None:
    """Hold jobs back; running ones save their state first."""
    _act("pause", ids, database, url)


@jobs.command("resume")
def resume(ids: Ids, database: Address = None, url: Url = None) -> None:
    """Let paused jobs go on from where they were."""
    _act("resume", ids, database, url)


@jobs.command("follow")
def follow(
    ids: Ids, database: Address = None, url: Url = None, as_json: options.Json = False
) -> None:
    """Follow jobs until they end: a line at every change. Exit code 1 if one fails."""
    with job_access(database, url) as at:
        ended = _follow(at, list(dict.fromkeys(ids)), as_json=as_json)
    if any(view["status"] == "failed" for view in ended):
        raise typer.Exit(1)


def _act(action: str, ids: list[str], database: str | None, url: str | None) -> None:
    refusals: list[ReelgridError] = []
    with job_access(database, url) as at:
        for job_id in dict.fromkeys(ids):
            try:
                say(f"{job_id}: {_status(at.act(action, job_id))}")
            except ReelgridError as error:
                refusals.append(error)
    for refusal in refusals[:-1]:
        say(f"reelgrid: {refusal}")
    if refusals:
        raise refusals[-1]


def _follow(at: JobAccess, ids: list[str], *, as_json: bool) -> list[View]:
    """Return the jobs at their ends, having shown how they got there."""
    said: dict[str, str] = {}
    while True:
        views = [_look(at, job_id, is_known=job_id in said) for job_id in ids]
        for view in views:
            line = json.dumps(view) if as_json else _line(view)
            if said.get(view["id"]) != line:
                said[view["id"]] = line
                sys.stdout.write(f"{line}\n")
                sys.stdout.flush()
        if all(view["status"] in _FINAL for view in views):
            return views
        time.sleep(POLL_EVERY_S)


def _look(at: JobAccess, job_id: str, *, is_known: bool) -> View:
    """Return a job; one that was seen before is asked for again while the server is away."""
    give_up_s = time.monotonic() + RETRY_FOR_S
    is_told = False
    while True:
        try:
            return at.get(job_id)
        except RequestError:
            raise
        except ReelgridError as error:
            if not is_known or time.monotonic() > give_up_s:
                raise
            if not is_told:
                say(f"{error}: asking again for {RETRY_FOR_S:.0f} s")
            is_told = True
            time.sleep(POLL_EVERY_S)


def _line(view: View) -> str:
    """Return where a job stands, on one line."""
    words = [view["id"], _status(view)]
    if view["status"] == "failed":
        words.append(f"{view['error']['code']}: {view['error']['message']}")
    elif view["status"] == "in_progress":
        words.append(f"{view['stage'] or 'begun'} {view['step']}/{view['num_steps']}")
        words.append(f"{view['progress']} %")
    elif view["queue_position"]:
        words.append(f"number {view['queue_position']} in the queue")
    return "  ".join(words)


def _status(view: View) -> str:
    return str(view["status"]) + (f", {view['detail']}" if view["detail"] else "")


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _PROMPT_CHARS else line[: _PROMPT_CHARS - 3] + "..."


def _in_words(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return " ".join(str(value).split())


def _print_json(views: list[View]) -> None:
    for view in views:
        sys.stdout.write(json.dumps(view) + "\n")
