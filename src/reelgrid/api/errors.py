"""One table from errors to HTTP statuses, and every refusal as OpenAI's error object.

    {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}

Not here: the errors of the house (`reelgrid.errors`).
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from reelgrid.errors import (
    BusyError,
    ConflictError,
    JobQueueError,
    LimitError,
    ModelError,
    NotFoundError,
    PlanError,
    ReelgridError,
    RequestError,
    StorageFullError,
)

_log = logging.getLogger(__name__)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


class ApiError(ReelgridError):
    """An answer other than success, with everything the client gets to know.

    Attributes:
        status: Of HTTP.
        code: One word for programs.
        param: The field to change.
        retry_after_s: When the same request may succeed.
        headers: More of them.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or _CODES.get(status)
        self.param = param
        self.retry_after_s = retry_after_s
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a class of errors is answered; `message` stands in for one that names our paths."""

    status: int
    code: str
    retry_after_s: float | None = None
    message: str | None = None


# The first class that fits counts.
_TABLE: tuple[tuple[type[ReelgridError], _Rule], ...] = (
    (NotFoundError, _Rule(404, "not_found")),
    (ConflictError, _Rule(409, "conflict")),
    (RequestError, _Rule(400, "invalid_request")),
    (LimitError, _Rule(429, "limit", retry_after_s=30)),
    (
        StorageFullError,
        _Rule(503, "storage_full", 60, "there is no room left for results: no new work is taken"),
    ),
    (BusyError, _Rule(503, "busy", 2, "the server is busy: try again")),
    (JobQueueError, _Rule(503, "queue_unavailable", 10, "the table of jobs cannot be reached now")),
    (PlanError, _Rule(400, "no_plan")),
    (ModelError, _Rule(503, "model_unavailable", retry_after_s=60)),
    (ReelgridError, _Rule(500, "internal_error")),
)


def api_error_of(error: ReelgridError) -> ApiError:
    """Return how an error of the house is answered."""
    if isinstance(error, ApiError):
        return error
    rule = next(rule for kind, rule in _TABLE if isinstance(error, kind))
    return ApiError(
        rule.status,
        rule.message or str(error),
        code=getattr(error, "limit", rule.code),
        param=getattr(error, "param", None),
        retry_after_s=rule.retry_after_s,
    )


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return OpenAI's error object."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def respond(refusal: ApiError) -> JSONResponse:
    """Return a refusal as a response."""
    headers = dict(refusal.headers)
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after_s)))
    if refusal.status == 409:
        headers["x-should-retry"] = "false"  # the client would repeat it, and nothing will change
    body = error_body(refusal.status, str(refusal), refusal.code, refusal.param)
    return JSONResponse(body, refusal.status, headers)


def register(app: FastAPI) -> None:
    """Make the application answer every error in this form."""
    app.add_exception_handler(ReelgridError, _answer_ours)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


async def _answer_ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ReelgridError)
    refusal = api_error_of(error)
    if refusal.status >= 500:
        _log.warning("answered with %d: %s", refusal.status, error)
    request.scope["reelgrid.code"] = refusal.code
    return respond(refusal)


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses: no such route, no such method, a broken body."""
    assert isinstance(error, HTTPException)
    messages = {
        404: f"there is no {request.method} {request.url.path} here; see /openapi.json",
        405: f"{request.method} is not possible on {request.url.path}",
    }
    message = messages.get(error.status_code, str(error.detail))
    refusal = ApiError(error.status_code, message, headers=error.headers)
    return respond(refusal)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer a parameter of the path, the query or the headers that does not fit."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return respond(ApiError(400, f"{name}: {first['msg']}", param=name))
