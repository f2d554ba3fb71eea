"""The fields of each route's body, as pydantic models; `spec.Request` declares the common ones.

Numbers may be texts, as forms send them. Nothing is ignored: a field that other servers know and this
one does not support is refused by name with the reason, and a misspelt one with the nearest name.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from reelgrid.api.errors import ApiError
from reelgrid.spec import MAX_PROMPT_CHARS, MAX_SIDE_PX, REQUEST_FIELDS, RequestField

_NO_PATHS = "this server reads and writes no paths that a request names"
_FIXED = "this server has no such switch"
REASONS = {
    "flow_shift": "the model's own solver decides the shift",
    "guidance_scale_2": "one guidance_scale serves the whole generation",
    "true_cfg_scale": "use guidance_scale",
    "max_sequence_length": "it belongs to the model, see GET /v1/models",
    "generator_device": "noise is always drawn on the CPU, so that a seed means the same everywhere",
    "n": "one request makes one video: send more requests",
    "num_outputs_per_prompt": "one request makes one video: send more requests",
    "output_path": _NO_PATHS,
    "perf_dump_path": _NO_PATHS,
    "video_path": _NO_PATHS,
    "lora": _NO_PATHS,
    "reference_url": "use input_reference",
    "image_reference": "use input_reference",
    "video_url": "use POST /v1/videos/extensions with the id of a video made here",
    "video_reference": "use POST /v1/videos/extensions with the id of a video made here",
    "source_video": "use POST /v1/videos/extensions with the id of a video made here",
    "audio_reference": "no model here takes or makes sound",
    "generate_sound": "no model here takes or makes sound",
    "sound_duration": "no model here takes or makes sound",
    "aspect_ratio": "use size, or width and height",
    "short_edge": "use size, or width and height",
    "video_params": "give its entries as fields of their own",
    "extra_params": "give its entries as fields of their own",
    "extra_body": "give its entries as fields of their own",
    "diffusers_kwargs": "only the fields in /openapi.json can be set",
    "boundary_ratio": _FIXED,
    "enable_teacache": _FIXED,
    "enable_frame_interpolation": _FIXED,
    "enable_upscaling": _FIXED,
    "output_quality": _FIXED,
    "output_compression": _FIXED,
    "x264_preset": _FIXED,
    "user": "the key identifies the caller",
    "safety_identifier": "the key identifies the caller",
}
"""Fields of other servers, and why this one refuses them."""

_NUMBER_TEXT = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"


def _refuse_boolean(value: object) -> object:
    """Pydantic takes `true` for 1: that is a mistake here."""
    if isinstance(value, bool):
        raise ValueError("a whole number is needed, not true or false")
    return value


_NotBoolean = BeforeValidator(_refuse_boolean)
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
Seconds = Annotated[str, Field(pattern=_NUMBER_TEXT)] | Annotated[float, _NotBoolean]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE_PX), _NotBoolean]
PriorityName = Literal["low", "normal", "high"]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file of a form; it lies in memory up to a megabyte, beyond that on disk.

    Attributes:
        file: Open, at its beginning, until the request is answered.
        filename: The client's name for it; never used as a path.
    """

    file: BinaryIO
    filename: str
    size_bytes: int


class Fields(BaseModel):
    """What every body has in common."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)

    def request_values(self) -> dict[str, Any]:
        """Return the values of the fields that `spec.Request` declares, by their names there."""
        known = type(self).model_fields
        return {
            each.name: getattr(self, each.api_name)
            for each in REQUEST_FIELDS
            if each.api_name in known
        }


F = TypeVar("F", bound=Fields)


def _with_request_fields(*left_out: str) -> Callable[[type[F]], type[F]]:
    """Add the fields that `spec.Request` declares, except some, before a body's own fields."""
    declared: dict[str, Any] = {
        each.api_name: _annotation(each) for each in REQUEST_FIELDS if each.name not in left_out
    }
    base = cast(Any, create_model("RequestFields", __base__=Fields, **declared))

    def add(body: type[F]) -> type[F]:
        bases: tuple[type[F], ...] = (body, base)
        return create_model(
            body.__name__, __base__=bases, __doc__=body.__doc__, __module__=body.__module__
        )

    return add


def _annotation(declared: RequestField) -> tuple[Any, Any]:
    """Return the type and the default with which pydantic checks a field of a request."""
    bounds: dict[str, Any] = {
        "ge": declared.low,
        "le": declared.high,
        "min_length": 1 if declared.is_required else None,
        "max_length": declared.max_chars,
        "allow_inf_nan": False if declared.type is float else None,
    }
    checks: list[Any] = [
        Field(**{name: value for name, value in bounds.items() if value is not None})
    ]
    kind: Any = Any if declared.type is Path else str
    if declared.type in (int, float):
        kind = declared.type
        checks.append(_NotBoolean)
    checked = Annotated[kind, *checks]
    if declared.is_required:
        return checked, Field(description=declared.help)
    return checked | None, Field(None, description=declared.help)


class Reference(Fields):
    """An image that is not sent as a file."""

    image_url: str | None = Field(
        None, description="The image itself, as a data: URL of PNG, JPEG or WebP."
    )
    file_id: str | None = Field(
        None, description="The id of an image made here, or of a video: its last frame."
    )


class VideoReference(Fields):
    """A video made here."""

    id: str = Field(description="The id of a completed video of yours.")


@_with_request_fields()
class VideoFields(Fields):
    """The body of `POST /v1/videos`."""

    model: str | None = Field(None, max_length=200, description="One of GET /v1/models.")
    seconds: Seconds | None = Field(
        None, description="Length of the clip; the nearest that the model can make is taken."
    )
    width: Side | None = Field(None, description="With height, instead of size.")
    height: Side | None = Field(None, description="With width, instead of size.")
    priority: PriorityName | None = Field(None, description="Class of priority; normal by default.")
    deadline: Annotated[float, Field(gt=0, le=2**40), _NotBoolean] | None = Field(
        None, description="When it has to be finished, in seconds since 1970."
    )
    webhook: str | None = Field(
        None, max_length=2_000, description="An http or https URL that is notified of the end."
    )


class EstimateFields(VideoFields):
    """The body of `POST /v1/estimates`: that of a video, or of an image with `num_frames` 1."""


class RemixFields(Fields):
    """The body of `POST /v1/videos/{id}/remix`."""

    prompt: Prompt = Field(description="What the video shows instead.")


class ExtensionFields(Fields):
    """The body of `POST /v1/videos/extensions`."""

    prompt: Prompt = Field(description="What the new part shows.")
    seconds: Seconds = Field(description="Length of the new part.")
    video: Any | None = Field(None, description="A video made here, as {id}.")
    video_id: str | None = Field(None, max_length=100, description="The same, flat.")


class EditFields(Fields):
    """The body of `POST /v1/videos/edits`."""

    prompt: Prompt = Field(description="What to change.")
    video: Any | None = Field(None, description="A file, or a video made here, as {id}.")
    video_id: str | None = Field(None, max_length=100, description="The same, flat.")


class CharacterFields(Fields):
    """The body of `POST /v1/videos/characters`."""

    name: str = Field(min_length=1, max_length=200)
    video: Any = Field(description="A file.")


@_with_request_fields("num_frames", "fps", "first_frame")
class ImageFields(Fields):
    """The body of `POST /v1/images/generations`."""

    model: str | None = Field(None, max_length=200, description="One of GET /v1/models.")
    n: Annotated[int, Field(ge=1, le=10), _NotBoolean] | None = Field(None, description="How many.")
    size: str | None = Field(None, max_length=20, description="WIDTHxHEIGHT in pixels, or auto.")
    quality: str | None = Field(None, max_length=20, description="auto, standard or medium.")
    background: str | None = Field(None, max_length=20, description="auto or opaque.")
    output_format: Literal["png", "webp", "jpeg", "gif", "svg"] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100), _NotBoolean] | None = Field(
        None, description="Quality of webp and jpeg."
    )
    response_format: Literal["url", "b64_json"] | None = None
    moderation: Literal["low", "auto"] | None = Field(
        None, description="low only: this server has no filter."
    )
    style: str | None = Field(None, max_length=20, description="Refused: no model here has styles.")
    user: str | None = Field(None, max_length=200, description="Comes back as safety_identifier.")
    safety_identifier: str | None = Field(None, max_length=200, description="Comes back.")
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    partial_images: Annotated[int, Field(ge=0, le=3), _NotBoolean] | None = Field(
        None, description="With stream: previews of each image before it is finished."
    )
    frame_count: Annotated[int, Field(ge=2, le=16), _NotBoolean] | None = Field(
        None, description="Refused: ask for a video."
    )
    frame_duration_ms: Annotated[int, Field(ge=1, le=60_000), _NotBoolean] | None = Field(
        None, description="Refused: ask for a video."
    )
    complexity: str | None = Field(None, max_length=20, description="Refused: for svg only.")
    svg: Any | None = Field(None, description="Refused: no model here draws svg.")
    width: Side | None = Field(None, description="With height, instead of size.")
    height: Side | None = Field(None, description="With width, instead of size.")
    priority: PriorityName | None = Field(None, description="Class of priority; high by default.")


class ImageEditFields(Fields):
    """The body of `POST /v1/images/edits`."""

    model_config = ConfigDict(extra="allow")

    prompt: Prompt = Field(description="What to change.")
    image: Any = Field(description="One file or more.")
    model: str | None = Field(None, max_length=200, description="One of GET /v1/models.")


def parse(kind: type[F], values: dict[str, Any]) -> F:
    """Return the checked fields of a body.

    Raises:
        ApiError: A field is unknown, missing or of another type.
    """
    _refuse_unknown(kind, values)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "body"
        given = values.get(name)
        seen = "" if given is None or isinstance(given, Upload) else f", not {str(given)[:80]!r}"
        words = first["msg"].removeprefix("Value error, ")
        raise ApiError(
            400, f"{name}: {words}{seen}", code=f"invalid_{name}"[:60], param=name
        ) from None


def _refuse_unknown(kind: type[Fields], values: dict[str, Any]) -> None:
    if kind.model_config.get("extra") == "allow":
        return
    known = kind.model_fields
    for name in values:
        if name in known:
            continue
        if name in REASONS:
            message = f"{name} is not supported: {REASONS[name]}"
        else:
            nearest = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f": did you mean {nearest[0]}?" if nearest else f"; known: {', '.join(known)}"
            message = f"there is no field {name[:80]!r}{hint}"
        raise ApiError(400, message, code="unknown_field", param=name[:80])
