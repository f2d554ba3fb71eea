"""The OpenAPI document: FastAPI's own, with the bodies that the routes read themselves.

`route` and `stream` return what the document says of a route beside its path and parameters.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from reelgrid.api import fields as bodies
from reelgrid.api import schemas
from reelgrid.api.fields import Fields

_ERRORS = {
    400: "The request cannot be carried out as it stands.",
    401: "The key is missing, unknown or revoked.",
    403: "The key does not allow it; without keys, the request is not from this machine.",
    404: "It does not exist, or belongs to another key.",
    408: "The body did not end in time.",
    409: "Its state does not allow it.",
    413: "The body is too large.",
    415: "The media type of the body is not supported.",
    416: "The range is not within the file.",
    422: "The generation failed.",
    429: "A limit is reached for now; `code` names it.",
    503: "The server cannot do it now; see retry-after.",
}
_RETRY_AFTER = {"retry-after": {"description": "Seconds.", "schema": {"type": "string"}}}
_POLL_AFTER = {
    "openai-poll-after-ms": {
        "description": "Milliseconds to wait before the next poll.",
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
_BODY = "x-reelgrid-body"
"""Marks a route's body until the document is made."""

_REF = "#/components/schemas/{model}"
_FILES = {"input_reference", "video", "image", "mask", "markup"}
_REFERENCE = {
    "input_reference": {
        "anyOf": [{"$ref": _REF.format(model="Reference")}, {"type": "null"}],
        "description": "The image with which the clip begins.",
    },
    "video": {
        "anyOf": [{"$ref": _REF.format(model="VideoReference")}, {"type": "null"}],
        "description": "A video made here.",
    },
}
_FLAT = {
    "input_reference": {
        "input_reference[image_url]": {"type": "string"},
        "input_reference[file_id]": {"type": "string"},
    },
    "video": {"video[id]": {"type": "string"}},
}


def route(
    response: type[BaseModel],
    *,
    body: type[Fields] | None = None,
    admits: bool = False,
    missing: bool = False,
    conflict: bool = False,
    more: tuple[int, ...] = (),
    retry: bool = False,
    streams: bool = False,
) -> dict[str, Any]:
    """Return the arguments of a FastAPI route that answers JSON.

    Args:
        response: On success.
        body: The fields of its body, sent as JSON or as a form.
        admits: Whether it checks and may admit a job, which may be refused.
        missing: Whether the job that it names may not exist.
        conflict: Whether the job's state may forbid it.
        more: Further statuses.
        retry: Whether it takes an idempotency key, and so may find a conflict.
        streams: Whether it may answer with server-sent events instead.
    """
    statuses = [400, 401, 403, 503, *more]
    statuses += [404] if missing or body is not None else []
    statuses += [408, 413, 415] if body is not None else []
    statuses += [429] if admits else []
    statuses += [409] if conflict or retry else []
    success: dict[str, Any] = {"model": response}
    if response is schemas.Video:
        success["headers"] = _POLL_AFTER
    if streams:
        success["content"] = {"text/event-stream": {"schema": _EVENT}}
    described: dict[str, Any] = {
        "response_model": response,
        "responses": {200: success, **_errors(*statuses)},
    }
    if body is not None:
        described["openapi_extra"] = {_BODY: body.__name__}
    return described


def stream(description: str, *kinds: str, more: tuple[int, ...] = ()) -> dict[str, Any]:
    """Return the arguments of a FastAPI route that answers bytes of one of these media types."""
    content = {kind: {"schema": _SCHEMAS.get(kind, _BYTES)} for kind in kinds}
    described: dict[str, Any] = {
        "response_model": None,
        "responses": {
            200: {"description": description, "content": content},
            **_errors(400, 401, 403, 503, *more),
        },
    }
    if 206 in more:
        described["responses"][206] = {"description": "A part of it.", "content": content}
    return described


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's description of refusals."""
    return {
        status: {
            "model": schemas.ErrorResponse,
            "description": _ERRORS[status],
            **({"headers": _RETRY_AFTER} if status in {429, 503} else {}),
        }
        for status in statuses
        if status in _ERRORS
    }


def install(app: FastAPI, version: str) -> None:
    """Make the application serve the document."""
    made: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not made:
            made.update(_document(app, version))
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way


def _document(app: FastAPI, version: str) -> dict[str, Any]:
    document = get_openapi(
        title="Reelgrid",
        version=version,
        summary="Videos and images whose jobs outlive every crash.",
        description="Compatible with the openai package's videos and images. Every response has the "
        "header x-request-id; every refusal is an error object.",
        routes=app.routes,
    )
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    for path in document["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):  # FastAPI's own
                del operation["responses"]["422"]
            body = operation.pop(_BODY, None)
            if body is not None:
                operation["requestBody"] = _body(components, body)
            operation["security"] = [{"key": []}, {}]
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `reelgrid keys create`; none is needed while there is none.",
        }
    }
    return document


def _body(components: dict[str, Any], fields: str) -> dict[str, Any]:
    schema = _schema_of(fields)
    components.update(schema.pop("$defs", {}))
    for name in set(schema["properties"]) & set(_REFERENCE):
        schema["properties"][name] = _REFERENCE[name]
        reference = "Reference" if name == "input_reference" else "VideoReference"
        components.setdefault(reference, _schema_of(reference))
    components[fields] = schema
    components[f"{fields}Form"] = _form(schema)
    content = {
        "application/json": {"schema": {"$ref": _REF.format(model=fields)}},
        "multipart/form-data": {"schema": {"$ref": _REF.format(model=f"{fields}Form")}},
    }
    return {"required": True, "content": content}


def _schema_of(name: str) -> dict[str, Any]:
    kind: type[Fields] = getattr(bodies, name)
    return kind.model_json_schema(ref_template=_REF)


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the same fields in a form: no nulls, groups flat, files as files."""
    properties: dict[str, Any] = {}
    for name, each in schema["properties"].items():
        if name in _FILES:
            properties[name] = _BYTES
            properties.update(_FLAT.get(name, {}))
        else:
            properties[name] = _without_null(each)
    required = [name for name in schema.get("required", []) if name not in _FILES]
    files = [name for name in schema.get("required", []) if name in _FILES]
    return {
        "type": "object",
        "title": f"{schema['title']}Form",
        "properties": properties,
        "required": required + files,
        "additionalProperties": schema.get("additionalProperties", False),
    }


def _without_null(each: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in each.items() if key not in {"anyOf", "default"}}
    options = [option for option in each.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) == 1:
        return {**options[0], **kept}
    return {**kept, **({"anyOf": options} if options else {})}
