"""The desk as the commands reach it: on the local database, or a server's over HTTP.

Both give a job as the same plain dictionary, in the words of the videos API.

A server's jobs over HTTP, with the standard library: a command needs no client to be installed.
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from reelgrid.cli.local_run import read_settings
from reelgrid.errors import (
    BusyError,
    ConflictError,
    NotFoundError,
    ReelgridError,
    RequestError,
)

KEY_VARIABLE = "REELGRID_API_KEY"
_TIMEOUT_S = 30.0
_MAX_ANSWER_BYTES = 64 * 2**20
_PAGE = 100
_KINDS: dict[int, type[ReelgridError]] = {
    404: NotFoundError,
    409: ConflictError,
    429: BusyError,
    503: BusyError,
}

View = dict[str, Any]


class HttpJobs:
    """The jobs of the owner whose key is in REELGRID_API_KEY, at a server.

    Args:
        url: The server's address, with or without the `/v1` at its end.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise RequestError(f"{url!r} is no address such as http://host:8000", param="url")
        self._root = url.rstrip("/").removesuffix("/v1")
        self._key = os.environ.get(KEY_VARIABLE, "")

    def list(self, limit: int, status: str | None = None) -> list[View]:
        """Return the newest jobs, of one status or of all."""
        found: list[View] = []
        query: dict[str, Any] = {}
        while len(found) < limit:
            query["limit"] = min(_PAGE, limit - len(found)) if status is None else _PAGE
            page = self._ask("GET", f"/v1/videos?{urllib.parse.urlencode(query)}")
            found += [each for each in page["data"] if status in {None, each["status"]}]
            if not page["has_more"]:
                break
            query["after"] = page["last_id"]
        return found[:limit]

    def get(self, job_id: str) -> View:
        """Return one job."""
        return self._ask("GET", _place_of(job_id))

    def act(self, action: str, job_id: str) -> View:
        """Cancel, pause or resume a job."""
        return self._ask("POST", f"{_place_of(job_id)}/{action}")

    def _ask(self, method: str, path: str) -> View:
        headers = {"Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(  # noqa: S310  # http and https only, see above
            self._root + path, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return _read(answer.read(_MAX_ANSWER_BYTES))
        except urllib.error.HTTPError as error:
            raise _explain(error) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            raise ReelgridError(f"{self._root} does not answer: {reason}") from None


def _place_of(job_id: str) -> str:
    if job_id.startswith("image_"):
        raise RequestError(
            f"{job_id} is an image's: a server answers about videos only, look on its database",
            param="id",
        )
    return f"/v1/videos/{urllib.parse.quote(job_id, safe='')}"


def _read(body: bytes) -> View:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ReelgridError("the answer is no JSON object: is this a Reelgrid server?")
    return value


def _explain(error: urllib.error.HTTPError) -> ReelgridError:
    """Return what the server said, as the error that the same refusal is here."""
    kind = _KINDS.get(error.code, RequestError if error.code < 500 else ReelgridError)
    with error:
        try:
            message = str(json.loads(error.read(_MAX_ANSWER_BYTES))["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"the server answered {error.code} {error.reason}"
    hint = f" (the key is taken from {KEY_VARIABLE})" if error.code == 401 else ""
    return kind(message + hint)


if TYPE_CHECKING:
    from reelgrid.jobs.job import Job
    from reelgrid.jobs.sql.sql_queue import SqlJobQueue

_DATABASE_PAGE = 1_000
Address = Annotated[
    str | None,
    typer.Option(
        "--database", help="postgresql://... or a file; else REELGRID_DATABASE, else ours."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(help="A server's address, such as http://host:8000; the key is REELGRID_API_KEY."),
]


class JobAccess(Protocol):
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
def open_queue(address: str | None, *, must_exist: bool = False) -> "Iterator[SqlJobQueue]":
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
        from reelgrid.jobs.sql.sql_queue import open_job_queue
    except ImportError as error:
        raise ReelgridError(
            f'the desk needs the package {error.name}: pip install "reelgrid[serve]"'
        ) from None
    job_queue = open_job_queue(address or read_settings().database_url, must_exist=must_exist)
    try:
        yield job_queue
    finally:
        job_queue.close()


@contextmanager
def job_access(address: str | None, url: str | None) -> Iterator[JobAccess]:
    """Reach the jobs of a server if there is a `url`, else those of the database.

    Yields:
        The jobs.
    """
    if url is not None:
        yield HttpJobs(url)
        return
    with open_queue(address, must_exist=True) as job_queue:
        yield DatabaseJobs(job_queue)


class DatabaseJobs:
    """The jobs of a database on which this process may work itself, of all owners."""

    def __init__(self, job_queue: "SqlJobQueue") -> None:
        self._job_queue = job_queue

    def list(self, limit: int, status: str | None = None) -> list[View]:
        """See `JobAccess`."""
        found: list[View] = []
        last_id: str | None = None
        while len(found) < limit:
            page = self._job_queue.list(
                after=last_id, limit=limit if status is None else _DATABASE_PAGE
            )
            found += [_view(job) for job in page.jobs if status in {None, str(job.status)}]
            if not page.has_more:
                break
            last_id = page.jobs[-1].id
        return found[:limit]

    def get(self, job_id: str) -> View:
        """See `JobAccess`."""
        place = self._job_queue.queue_position(job_id)
        view = _view(self._job_queue.get(job_id))
        return view | {"queue_position": None if place is None else place.num_ahead + 1}

    def act(self, action: str, job_id: str) -> View:
        """See `JobAccess`."""
        acts = {
            "cancel": self._job_queue.cancel,
            "pause": self._job_queue.pause,
            "resume": self._job_queue.resume,
        }
        return _view(acts[action](job_id))


def local_time(seconds: float | None) -> str:
    """Return a time as people read it, in their own time zone."""
    if seconds is None:
        return ""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def count_of(num: int, noun: str) -> str:
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
        "saved_step": None if job.checkpoint is None else job.checkpoint.step,
        "files": dict(job.files),
    }
