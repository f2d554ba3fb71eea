"""The HTTP status of each error, and the error object of OpenAI with which every refusal is answered.

{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
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

from reelgrid.catalog import ModelCard
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
from reelgrid.spec import REQUEST_FIELDS

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


class UnsupportedError(ApiError):
    """Something that the model cannot do, and why."""

    def __init__(self, card: ModelCard, what: str, reason: str, param: str) -> None:
        message = f"{card.name} cannot {what}: {reason}"
        super().__init__(400, message, code="unsupported_capability", param=param)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a class of errors is answered; `message` replaces one that names paths of the server."""

    status: int
    code: str
    retry_after_s: float | None = None
    message: str | None = None


# The first class that fits counts.
_RULES: tuple[tuple[type[ReelgridError], _Rule], ...] = (
    (NotFoundError, _Rule(404, "not_found")),
    (ConflictError, _Rule(409, "conflict")),
    (RequestError, _Rule(400, "invalid_request")),
    (LimitError, _Rule(429, "limit", retry_after_s=30)),
    (
        StorageFullError,
        _Rule(503, "storage_full", 60, "the server's storage is full: it takes no new work"),
    ),
    (BusyError, _Rule(503, "busy", 2, "the server is busy: try again")),
    (
        JobQueueError,
        _Rule(503, "queue_unavailable", 10, "the database of jobs cannot be reached now"),
    ),
    (PlanError, _Rule(400, "no_plan")),
    (ModelError, _Rule(503, "model_unavailable", retry_after_s=60)),
    (ReelgridError, _Rule(500, "internal_error")),
)


_API_NAMES: Mapping[str | None, str] = {each.name: each.api_name for each in REQUEST_FIELDS}


def api_error_of(error: ReelgridError) -> ApiError:
    """Return the response to an error; `param` is the field's name in the API."""
    if isinstance(error, ApiError):
        return error
    rule = next(rule for kind, rule in _RULES if isinstance(error, kind))
    param = getattr(error, "param", None)
    return ApiError(
        rule.status,
        rule.message or str(error),
        code=getattr(error, "limit", rule.code),
        param=_API_NAMES.get(param, param),
        retry_after_s=rule.retry_after_s,
    )


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return OpenAI's error object."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: ApiError) -> JSONResponse:
    """Return the response that an error asks for."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 409:
        headers["x-should-retry"] = "false"  # the client would repeat it, in vain
    body = error_body(error.status, str(error), error.code, error.param)
    return JSONResponse(body, error.status, headers)


def register(app: FastAPI) -> None:
    """Make the application answer every error in this form."""
    app.add_exception_handler(ReelgridError, _answer_ours)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


async def _answer_ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ReelgridError)
    answer = api_error_of(error)
    if answer.status >= 500:
        _log.warning("answered with %d: %s", answer.status, error)
    request.scope["reelgrid.code"] = answer.code
    return error_response(answer)


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses: no such route, no such method, a broken body."""
    assert isinstance(error, HTTPException)
    messages = {
        404: f"there is no {request.method} {request.url.path} here; see /openapi.json",
        405: f"{request.method} is not possible on {request.url.path}",
    }
    message = messages.get(error.status_code, str(error.detail))
    return error_response(ApiError(error.status_code, message, headers=error.headers))


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer a parameter of the path, the query or the headers that does not fit."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    return error_response(ApiError(400, f"{name}: {first['msg']}", param=name))
