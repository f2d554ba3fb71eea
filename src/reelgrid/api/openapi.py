"""The OpenAPI document: FastAPI's own, with the bodies that the routes read by themselves.

Not here: what the routes do.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from reelgrid.api import fields as fields_room
from reelgrid.api.describe import PLACEHOLDER
from reelgrid.api.fields import Fields

_REF = "#/components/schemas/{model}"
_BINARY = {"type": "string", "format": "binary"}
_FILES = {"input_reference", "video", "image", "mask", "markup"}
_REFERENCE = {
    "input_reference": {
        "anyOf": [{"$ref": _REF.format(model="Reference")}, {"type": "null"}],
        "description": "The picture that the clip begins with.",
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
        description="Compatible with the openai package's videos and images. Every answer has the "
        "header x-request-id; every refusal is an error object.",
        routes=app.routes,
    )
    components = document.setdefault("components", {}).setdefault("schemas", {})
    components.pop("HTTPValidationError", None)
    components.pop("ValidationError", None)
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None) if _is_default(operation) else None
            placeholder = operation.pop(PLACEHOLDER, None)
            if placeholder is not None:
                operation["requestBody"] = _body(components, **placeholder)
            operation["security"] = [{"key": []}, {}]
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of `reelgrid keys create`; none is needed while there is none.",
        }
    }
    return document


def _is_default(operation: dict[str, Any]) -> bool:
    """Whether the operation's 422 is the one that FastAPI adds and this server never sends."""
    return "HTTPValidationError" in str(operation["responses"].get("422", ""))


def _body(components: dict[str, Any], *, fields: str, forms: bool) -> dict[str, Any]:
    schema = _schema_of(fields)
    components.update(schema.pop("$defs", {}))
    for name in set(schema["properties"]) & set(_REFERENCE):
        schema["properties"][name] = _REFERENCE[name]
        reference = "Reference" if name == "input_reference" else "VideoReference"
        components.setdefault(reference, _schema_of(reference))
    components[fields] = schema
    content = {"application/json": {"schema": {"$ref": _REF.format(model=fields)}}}
    if forms:
        name = f"{fields}Form"
        components[name] = _form(schema)
        content["multipart/form-data"] = {"schema": {"$ref": _REF.format(model=name)}}
    return {"required": True, "content": content}


def _schema_of(name: str) -> dict[str, Any]:
    kind: type[Fields] = getattr(fields_room, name)
    return kind.model_json_schema(ref_template=_REF)


def _form(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the same fields in a form: no nulls, groups flat, files as files."""
    properties: dict[str, Any] = {}
    for name, each in schema["properties"].items():
        if name in _FILES:
            properties[name] = _BINARY
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
