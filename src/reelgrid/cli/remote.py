"""A server's jobs over HTTP, with the standard library: a command needs no client to be installed."""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

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


class RemoteJobs:
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
