"""Reading a request's body, JSON or a form, into the checked fields of its route.

A form contains texts only: `a[b]` is the entry b of the group a; `a[]` or a repeated name makes a list.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Depends, Request
from starlette.datastructures import FormData, UploadFile

from reelgrid.api.errors import ApiError
from reelgrid.api.fields import F, Fields, Upload, parse
from reelgrid.errors import RequestError

MAX_FIELDS = 200
MAX_FILES = 20
MAX_DEPTH = 20
_CHUNK_BYTES = 1 << 20

_NAME = re.compile(r"([^\[\]]+)(?:\[([^\[\]]*)\])?")
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


Values = dict[str, Any]


def read_body(kind: type[F]) -> Any:
    """Return the dependency of a route that reads a body; its files stay open until the answer.

    Args:
        kind: The fields of the route.
    """

    async def read(request: Request) -> AsyncIterator[F]:
        async with _read_values(request) as values:
            yield parse(kind, values)

    return Depends(read)


def idempotency(key: str | None, route: str, fields: Fields) -> dict[str, Any]:
    """Return what tells a repeated request from another one with the same key, for a new job.

    Raises:
        RequestError: The key is empty or longer than 200 characters.
    """
    if key is None:
        return {}
    if not 1 <= len(key) <= 200:
        raise RequestError("an idempotency key has 1 to 200 characters", param="idempotency_key")
    given = {name: getattr(fields, name) for name in fields.model_fields_set}
    digest = hashlib.sha256(route.encode())
    digest.update(json.dumps(_plain(given), sort_keys=True).encode())
    return {"idempotency_key": key, "body_digest": digest.hexdigest()}


@asynccontextmanager
async def _read_values(request: Request) -> AsyncIterator[Values]:
    """Yield the body's values: whatever JSON holds; of a form texts, files, groups and lists.

    Yields:
        The values by name.

    Raises:
        ApiError: The body is broken, or of a media type other than these three.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in _FORMS:
        limit = request.app.state.service.limits.max_body_bytes
        async with request.form(
            max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=limit
        ) as form:
            yield _form_values(form)
        return
    if kind not in {"application/json", ""} and not kind.endswith("+json"):
        raise ApiError(
            415,
            f"a body of {kind[:80]!r} cannot be read: send application/json or multipart/form-data",
            code="unsupported_media_type",
        )
    yield _json_values(await request.body())


def _json_values(body: bytes) -> Values:
    if not body:
        return {}
    try:
        values = json.loads(body, parse_constant=_refuse_constant)
        _check_plain(values)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0] if isinstance(error, ValueError) else "too deep"
        raise ApiError(400, f"the body is not JSON: {reason[:200]}", code="invalid_json") from None
    if not isinstance(values, dict):
        raise ApiError(400, "the body is not a JSON object", code="invalid_json")
    return values


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _check_plain(value: object, depth: int = 0) -> None:
    """Refuse texts that a database cannot store, and nesting that no request needs."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for name, child in value.items():
            _check_text(name)
            _check_plain(child, depth + 1)
    elif isinstance(value, list):
        for child in value:
            _check_plain(child, depth + 1)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("a text contains a NUL character")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("a text contains half of a surrogate pair")


def _form_values(form: FormData) -> Values:
    values: Values = {}
    for name, item in form.multi_items():
        value = _upload(item) if isinstance(item, UploadFile) else _text(name, item)
        match = _NAME.fullmatch(name)
        if match is None:
            raise ApiError(400, f"{name[:80]!r} is not the name of a field", code="invalid_field")
        _put(values, match[1], match[2], value)
    return values


def _text(name: str, text: str) -> str:
    try:
        _check_text(text)
    except ValueError as error:
        raise ApiError(400, f"{name[:80]}: {error}", code="invalid_field") from None
    return text


def _upload(item: UploadFile) -> Upload:
    return Upload(item.file, item.filename or "", item.size or 0)


def _put(values: Values, name: str, key: str | None, value: object) -> None:
    """Add one item of a form: `name`, `name[]` or `name[key]`."""
    if key:
        group = values.setdefault(name, {})
        if isinstance(group, Upload) and not group.size_bytes:
            group = values[name] = {}  # openai sends an id so, where its type wants a file
        if not isinstance(group, dict) or key in group:
            raise ApiError(400, f"{name} is given twice", code="invalid_field", param=name)
        group[key] = value
    elif key == "" or name in values:
        before = values.get(name, [])
        if isinstance(before, dict) and isinstance(value, Upload) and not value.size_bytes:
            return
        values[name] = [*(before if isinstance(before, list) else [before]), value]
    else:
        values[name] = value


def _plain(value: object) -> object:
    """Return a value as JSON holds it, a file by its digest."""
    if isinstance(value, Upload):
        return {"sha256": _file_digest(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return value


def _file_digest(upload: Upload) -> str:
    digest = hashlib.sha256()
    upload.file.seek(0)
    while piece := upload.file.read(_CHUNK_BYTES):
        digest.update(piece)
    upload.file.seek(0)
    return digest.hexdigest()
