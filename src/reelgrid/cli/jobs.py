"""`reelgrid jobs`: list, show, cancel, pause, resume and follow the jobs of a server."""

import json
import time
from typing import Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.job_access import DatabaseJobs, HttpJobs, JobJson, job_access
from reelgrid.cli.output import count_of, local_time, print_json, print_table, print_text, say
from reelgrid.errors import ReelgridError, RequestError
from reelgrid.report.table import Table

POLL_EVERY_S = 0.5
RETRY_FOR_S = 60.0
"""`follow` waits this long for a server that is restarted."""
_FINAL = ("completed", "failed")
_PROMPT_CHARS = 40

jobs = options.group("jobs", "List, show, cancel, pause, resume and follow jobs.")
Ids = Annotated[list[str], typer.Argument(help="Job ids as `jobs list` shows them.")]


@jobs.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="List at most this many jobs.")] = 20,
    status: Annotated[
        str | None,
        typer.Option(
            help="List only jobs of this status: queued, in_progress, completed or failed."
        ),
    ] = None,
    database: options.Database = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """List jobs, newest first; a server (--url) lists only yours."""
    if status not in {None, "queued", "in_progress", *_FINAL}:
        raise RequestError(
            f"status {status!r} is not one of queued, in_progress, completed, failed",
            param="status",
        )
    with job_access(database, url) as access:
        found = access.list(limit, status)
    (_print_all if as_json else _print_list)(found)


@jobs.command("show")
def show(
    ids: Ids,
    database: options.Database = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Show all fields of jobs."""
    with job_access(database, url) as access:
        found = [access.get(job_id) for job_id in ids]
        if not as_json:
            found = [job | access.operator_fields(job["id"]) for job in found]
    if as_json:
        _print_all(found)
    else:
        print_text("\n\n".join(_fields(job) for job in found))


@jobs.command("cancel")
def cancel(ids: Ids, database: options.Database = None, url: options.Url = None) -> None:
    """Cancel jobs; a running one ends after its current step."""
    _act("cancel", ids, database, url)


@jobs.command("pause")
def pause(ids: Ids, database: options.Database = None, url: options.Url = None) -> None:
    """Pause jobs; a running one saves a checkpoint first."""
    _act("pause", ids, database, url)


@jobs.command("resume")
def resume(ids: Ids, database: options.Database = None, url: options.Url = None) -> None:
    """Resume paused jobs from their checkpoints."""
    _act("resume", ids, database, url)


@jobs.command("follow")
def follow(
    ids: Ids,
    database: options.Database = None,
    url: options.Url = None,
    as_json: options.Json = False,
) -> None:
    """Print a line for each change of jobs until all have ended. Exit code 1 if one failed."""
    with job_access(database, url) as access:
        ended = _follow(access, list(dict.fromkeys(ids)), as_json=as_json)
    if any(job["status"] == "failed" for job in ended):
        raise typer.Exit(1)


def _act(action: str, ids: list[str], database: str | None, url: str | None) -> None:
    errors: list[ReelgridError] = []
    with job_access(database, url) as access:
        for job_id in dict.fromkeys(ids):
            try:
                say(f"{job_id}: {_status(access.act(action, job_id))}")
            except ReelgridError as error:
                errors.append(error)
    for each in errors[:-1]:
        say(f"reelgrid: {each}")
    if errors:
        raise errors[-1]


def _follow(access: DatabaseJobs | HttpJobs, ids: list[str], *, as_json: bool) -> list[JobJson]:
    """Return the ended jobs, after printing each change."""
    printed: dict[str, str] = {}
    while True:
        found = [_poll(access, job_id, is_known=job_id in printed) for job_id in ids]
        for job in found:
            line = json.dumps(job) if as_json else _line(job)
            if printed.get(job["id"]) != line:
                printed[job["id"]] = line
                print_text(line)
        if all(job["status"] in _FINAL for job in found):
            return found
        time.sleep(POLL_EVERY_S)


def _poll(access: DatabaseJobs | HttpJobs, job_id: str, *, is_known: bool) -> JobJson:
    """Return a job; while the server is away, ask again for one that was seen before."""
    give_up_s = time.monotonic() + RETRY_FOR_S
    has_warned = False
    while True:
        try:
            return access.get(job_id)
        except RequestError:
            raise
        except ReelgridError as error:
            if not is_known or time.monotonic() > give_up_s:
                raise
            if not has_warned:
                say(f"{error}: retrying for {RETRY_FOR_S:.0f} s")
            has_warned = True
            time.sleep(POLL_EVERY_S)


def _line(job: JobJson) -> str:
    """Return the state of a job as one line."""
    words = [job["id"], _status(job)]
    if job["status"] == "failed":
        words.append(f"{job['error']['code']}: {job['error']['message']}")
    elif job["status"] == "in_progress":
        words.append(f"{job['stage'] or 'started'} {job['step']}/{job['num_steps']}")
        words.append(f"{job['progress']} %")
    elif job["queue_position"]:
        words.append(f"number {job['queue_position']} in the queue")
    return "  ".join(words)


def _status(job: JobJson) -> str:
    return str(job["status"]) + (f", {job['detail']}" if job["detail"] else "")


def _print_all(found: list[JobJson]) -> None:
    for job in found:
        print_json(job)


def _print_list(found: list[JobJson]) -> None:
    columns = ("id", "status", "progress", "model", "created", "prompt")
    rows = [
        (
            job["id"],
            _status(job),
            f"{job['progress']} %",
            job["model"],
            local_time(job["created_at"]),
            _shorten(job["prompt"] or ""),
        )
        for job in found
    ]
    print_table(Table(title=count_of(len(rows), "job"), columns=columns, rows=rows))


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _PROMPT_CHARS else line[: _PROMPT_CHARS - 3] + "..."


def _fields(job: JobJson) -> str:
    """Return the fields of a job that have a value, one per line."""
    return "\n".join(
        f"{name:16} {_text(local_time(value) if name.endswith('_at') else value)}"
        for name, value in job.items()
        if value not in (None, {}, [])
    )


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {each}" for name, each in value.items())
    return " ".join(str(value).split())
