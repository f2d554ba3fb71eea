"""What OpenAPI says of a route beside its answer: bodies in both forms, refusals, headers, streams."""

from typing import Any

from pydantic import BaseModel

from reelgrid.api import schemas
from reelgrid.api.fields import Fields

_ERRORS = {
    400: "The request cannot be carried out as it stands.",
    401: "The key is missing, unknown or revoked.",
    403: "The key may not, or without keys: not from this machine.",
    404: "There is no such thing, or it is another key's.",
    408: "The body did not come to its end.",
    409: "Its state does not allow it.",
    413: "The body is too large.",
    415: "The body is of a kind that is not read.",
    416: "The range is not within the file.",
    422: "The generation failed.",
    429: "Something is used up for now; `code` names what.",
    503: "The server cannot do it now; see retry-after.",
}
_RETRY_AFTER = {"retry-after": {"description": "Seconds.", "schema": {"type": "string"}}}
_POLL_AFTER = {
    "openai-poll-after-ms": {
        "description": "Milliseconds until a look is worth while.",
        "schema": {"type": "string"},
    }
}
_EVENT = {
    "type": "object",
    "description": "One server-sent event.",
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string"},
        "data": {"type": "string", "description": "A JSON object; [DONE] at the end of images."},
    },
    "required": ["data"],
    "additionalProperties": False,
}
_BYTES = {"type": "string", "format": "binary"}
_SCHEMAS = {"text/event-stream": _EVENT, "text/plain": {"type": "string"}}
PLACEHOLDER = "x-reelgrid-body"


def route(
    answer: type[BaseModel],
    *,
    body: type[Fields] | None = None,
    forms: bool = False,
    made: bool = False,
    missing: bool = False,
    conflict: bool = False,
    more: tuple[int, ...] = (),
    retry: bool = False,
    streams: bool = False,
) -> dict[str, Any]:
    """Return what FastAPI is told of a route that answers JSON.

    Args:
        answer: On success.
        body: What it reads.
        forms: Whether it reads forms as well as JSON.
        made: Whether it may make a job.
        missing: Whether what it names may not be there.
        conflict: Whether a state may forbid it.
        more: Further statuses.
        retry: Whether it takes an idempotency key, and so may find a conflict.
        streams: Whether it may answer with server-sent events instead.
    """
    statuses = [400, 401, 403, 503, *more]
    statuses += [404] if missing or body is not None else []
    statuses += [408, 413, 415] if body is not None else []
    statuses += [429] if made else []
    statuses += [409] if conflict or retry else []
    success: dict[str, Any] = {"model": answer}
    if answer is schemas.Video:
        success["headers"] = _POLL_AFTER
    if streams:
        success["content"] = {"text/event-stream": {"schema": _EVENT}}
    described: dict[str, Any] = {
        "response_model": answer,
        "responses": {200: success, **errors(*statuses)},
    }
    if body is not None:
        described["openapi_extra"] = {PLACEHOLDER: {"fields": body.__name__, "forms": forms}}
    return described


def stream(words: str, *kinds: str, more: tuple[int, ...] = (), **body: Any) -> dict[str, Any]:
    """Return what FastAPI is told of a route that answers bytes of one of these media types."""
    content = {kind: {"schema": _SCHEMAS.get(kind, _BYTES)} for kind in kinds}
    described: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: {"description": words, "content": content},
            **errors(400, 401, 403, 503, *more),
        },
    }
    if 206 in more:
        described["responses"][206] = {"description": "A part of it.", "content": content}
    return described


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's words for refusals."""
    return {
        status: {
            "model": schemas.ErrorAnswer,
            "description": _ERRORS[status],
            **({"headers": _RETRY_AFTER} if status in {429, 503} else {}),
        }
        for status in statuses
        if status in _ERRORS
    }
