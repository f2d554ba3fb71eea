"""The desk as the commands reach it: on the local database, or a server's over HTTP.

Both give a job as the same plain dictionary, in the words of the videos API.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from reelgrid.cli.work import read_settings
from reelgrid.errors import ReelgridError

if TYPE_CHECKING:
    from reelgrid.jobs.job import Job
    from reelgrid.jobs.sql import SqlDesk

_PAGE = 1_000
View = dict[str, Any]
Address = Annotated[
    str | None,
    typer.Option("--database", help="postgresql://... or a file; else REELGRID_DESK, else ours."),
]
Url = Annotated[
    str | None,
    typer.Option(help="A server's address, such as http://host:8000; the key is REELGRID_API_KEY."),
]


class Jobs(Protocol):
    """What the commands want of a desk."""

    def list(self, limit: int, status: str | None = None) -> list[View]:
        """Return the newest jobs, of one status or of all."""
        ...

    def get(self, job_id: str) -> View:
        """Return one."""
        ...

    def act(self, action: str, job_id: str) -> View:
        """Cancel, pause or resume a job."""
        ...


@contextmanager
def at_desk(address: str | None, *, must_exist: bool = False) -> "Iterator[SqlDesk]":
    """Open the desk on a database for the time of a command.

    Args:
        address: URL or file; none is the one of the settings.
        must_exist: Whether to refuse to make a new one.

    Yields:
        The desk.

    Raises:
        ReelgridError: The packages that it needs are not there.
    """
    try:
        from reelgrid.jobs.sql import open_desk
    except ImportError as error:
        raise ReelgridError(
            f'the desk needs the package {error.name}: pip install "reelgrid[serve]"'
        ) from None
    desk = open_desk(address or read_settings().desk_url, must_exist=must_exist)
    try:
        yield desk
    finally:
        desk.close()


@contextmanager
def jobs_at(address: str | None, url: str | None) -> Iterator[Jobs]:
    """Reach the jobs of a server if there is a `url`, else those of the database.

    Yields:
        The jobs.
    """
    if url is not None:
        from reelgrid.cli.remote import RemoteJobs

        yield RemoteJobs(url)
        return
    with at_desk(address, must_exist=True) as desk:
        yield LocalJobs(desk)


class LocalJobs:
    """The jobs of a database on which this process may work itself, of all owners."""

    def __init__(self, desk: "SqlDesk") -> None:
        self._desk = desk

    def list(self, limit: int, status: str | None = None) -> list[View]:
        """See `Jobs`."""
        found: list[View] = []
        last_id: str | None = None
        while len(found) < limit:
            page = self._desk.list(after=last_id, limit=limit if status is None else _PAGE)
            found += [_view(job) for job in page.jobs if status in {None, str(job.status)}]
            if not page.has_more:
                break
            last_id = page.jobs[-1].id
        return found[:limit]

    def get(self, job_id: str) -> View:
        """See `Jobs`."""
        place = self._desk.place(job_id)
        view = _view(self._desk.get(job_id))
        return view | {"queue_position": None if place is None else place.num_ahead + 1}

    def act(self, action: str, job_id: str) -> View:
        """See `Jobs`."""
        acts = {
            "cancel": self._desk.cancel,
            "pause": self._desk.pause,
            "resume": self._desk.resume,
        }
        return _view(acts[action](job_id))


def when(seconds: float | None) -> str:
    """Return a time as people read it, in their own time zone."""
    if seconds is None:
        return ""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def counted(num: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def _view(job: "Job") -> View:
    inner = job.request.get("request", job.request)
    asked = inner if isinstance(inner, Mapping) else {}
    return {
        "id": job.id,
        "object": str(job.kind),
        "created_at": int(job.created_at),
        "completed_at": None if job.completed_at is None else int(job.completed_at),
        "status": str(job.status),
        "detail": None if job.detail is None else str(job.detail),
        "progress": job.progress,
        "stage": job.stage,
        "step": job.step,
        "num_steps": job.num_steps,
        "model": job.model,
        "prompt": asked.get("prompt"),
        "priority": job.priority.name.lower(),
        "error": None
        if job.error_code is None
        else {"code": job.error_code, "message": job.error_message},
        "queue_position": None,
        "gpu_seconds": round(job.gpu_s, 3),
        "owner": job.owner,
        "worker": job.worker,
        "claims": job.epoch,
        "workers_lost": job.losses,
        "reason": job.reason,
        "saved_step": None if job.state is None else job.state.step,
        "files": dict(job.files),
    }
