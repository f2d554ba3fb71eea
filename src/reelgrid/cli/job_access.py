"""Access to jobs for the commands: in a database, or over HTTP at a server.

Both return a job as the JSON object of the videos API (`reelgrid.api.responses`).
"""

import functools
import json
import os
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reelgrid.cli.options import read_settings
from reelgrid.errors import (
    BusyError,
    ConflictError,
    NotFoundError,
    ReelgridError,
    RequestError,
)

if TYPE_CHECKING:
    from urllib.error import HTTPError

    from reelgrid.api.estimates import Estimator
    from reelgrid.jobs.job import Job
    from reelgrid.jobs.sql.sql_queue import SqlJobQueue

JobJson = dict[str, Any]

KEY_VARIABLE = "REELGRID_API_KEY"
_TIMEOUT_S = 30.0
_MAX_RESPONSE_BYTES = 64 * 2**20
_HTTP_PAGE = 100
_DATABASE_PAGE = 1_000
_ERRORS: dict[int, type[ReelgridError]] = {
    404: NotFoundError,
    409: ConflictError,
    429: BusyError,
    503: BusyError,
}


@contextmanager
def open_queue(database: str | None, *, must_exist: bool = False) -> "Iterator[SqlJobQueue]":
    """Open the job queue while a command runs.

    Args:
        database: URL or file; `None` is the database of the settings.
        must_exist: Whether to refuse to create a new one.

    Yields:
        The queue.

    Raises:
        ReelgridError: A package that it needs is not installed.
    """
    try:
        from reelgrid.jobs.sql.sql_queue import open_job_queue
    except ImportError as error:
        raise ReelgridError(
            f'the job queue needs the package {error.name}: pip install "reelgrid[serve]"'
        ) from None
    job_queue = open_job_queue(database or read_settings().database_url, must_exist=must_exist)
    try:
        yield job_queue
    finally:
        job_queue.close()


class DatabaseJobs:
    """Jobs of all owners in a database that this process can open."""

    def __init__(self, job_queue: "SqlJobQueue") -> None:
        self._job_queue = job_queue

    def list(self, limit: int, status: str | None = None) -> list[JobJson]:
        """Return the newest jobs of one status, or of all."""
        found: list[Job] = []
        last_id: str | None = None
        while len(found) < limit:
            page = self._job_queue.list(
                after=last_id, limit=limit if status is None else _DATABASE_PAGE
            )
            found += [job for job in page.jobs if status in {None, str(job.status)}]
            if not page.has_more:
                break
            last_id = page.jobs[-1].id
        return [self._json(job) for job in found[:limit]]

    def get(self, job_id: str) -> JobJson:
        """Return one job."""
        return self._json(self._job_queue.get(job_id))

    def act(self, action: str, job_id: str) -> JobJson:
        """Cancel, pause or resume a job."""
        return self._json(getattr(self._job_queue, action)(job_id))

    def operator_fields(self, job_id: str) -> JobJson:
        """Return what only an operator sees of a job."""
        job = self._job_queue.get(job_id)
        return {
            "owner": job.owner,
            "worker": job.worker,
            "claims": job.epoch,
            "workers_lost": job.losses,
            "reason": job.reason,
            "checkpoint_step": None if job.checkpoint is None else job.checkpoint.step,
            "files": dict(job.files),
        }

    def _json(self, job: "Job") -> JobJson:
        from reelgrid.api.responses import current_job_json

        return current_job_json(job, self._job_queue, self._estimator)

    @functools.cached_property
    def _estimator(self) -> "Estimator":
        from reelgrid.api.estimates import Estimator

        return Estimator(self._job_queue)


class HttpJobs:
    """Jobs of a server, over HTTP: those of the API key in REELGRID_API_KEY.

    Args:
        url: The server's address, with or without the `/v1` at its end.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise RequestError(f"{url!r} is not an address such as http://host:8000", param="url")
        self._root = url.rstrip("/").removesuffix("/v1")
        self._key = os.environ.get(KEY_VARIABLE, "")

    def list(self, limit: int, status: str | None = None) -> list[JobJson]:
        """See `DatabaseJobs`."""
        found: list[JobJson] = []
        query: dict[str, Any] = {}
        while len(found) < limit:
            query["limit"] = min(_HTTP_PAGE, limit - len(found)) if status is None else _HTTP_PAGE
            page = self._ask("GET", f"/v1/videos?{urllib.parse.urlencode(query)}")
            found += [each for each in page["data"] if status in {None, each["status"]}]
            if not page["has_more"]:
                break
            query["after"] = page["last_id"]
        return found[:limit]

    def get(self, job_id: str) -> JobJson:
        """See `DatabaseJobs`."""
        return self._ask("GET", _path_of(job_id))

    def act(self, action: str, job_id: str) -> JobJson:
        """See `DatabaseJobs`."""
        return self._ask("POST", f"{_path_of(job_id)}/{action}")

    def operator_fields(self, job_id: str) -> JobJson:
        """Return nothing: a server does not show them."""
        del job_id
        return {}

    def _ask(self, method: str, path: str) -> JobJson:
        headers = {"Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        import urllib.error  # late: of all commands only those over HTTP need it
        import urllib.request

        request = urllib.request.Request(  # noqa: S310  # http and https only, see above
            self._root + path, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310
                return _read(response.read(_MAX_RESPONSE_BYTES))
        except urllib.error.HTTPError as error:
            raise _explain(error) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            raise ReelgridError(f"{self._root} does not respond: {reason}") from None


@contextmanager
def job_access(database: str | None, url: str | None) -> Iterator[DatabaseJobs | HttpJobs]:
    """Yield the jobs of the server at `url`, or of the database if there is no `url`."""
    if url is not None:
        yield HttpJobs(url)
        return
    with open_queue(database, must_exist=True) as job_queue:
        yield DatabaseJobs(job_queue)


def _path_of(job_id: str) -> str:
    if job_id.startswith("image_"):
        raise RequestError(
            f"{job_id} is an image job: servers show video jobs only, use --database on the server",
            param="id",
        )
    return f"/v1/videos/{urllib.parse.quote(job_id, safe='')}"


def _read(body: bytes) -> JobJson:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ReelgridError("the response is not a JSON object: is this a Reelgrid server?")
    return value


def _explain(error: "HTTPError") -> ReelgridError:
    """Return the server's error as the exception that the same error raises locally."""
    error_type = _ERRORS.get(error.code, RequestError if error.code < 500 else ReelgridError)
    with error:
        try:
            message = str(json.loads(error.read(_MAX_RESPONSE_BYTES))["error"]["message"])
        except (ValueError, KeyError, TypeError):
            message = f"the server responded {error.code} {error.reason}"
    hint = f" (the API key is taken from {KEY_VARIABLE})" if error.code == 401 else ""
    return error_type(message + hint)
