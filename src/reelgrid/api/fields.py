"""The fields that each route knows, checked by pydantic; a field that no route knows is refused.

Numbers may be texts, as forms send them. A field that other servers know and this one cannot honour
is refused by name with the reason, and a misspelt one with the nearest: nothing is ignored.
Not here: what the model can do with the values (`catalog`), and how much is allowed (`admission`).
"""

import difflib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from reelgrid.api.bodies import Upload, Values
from reelgrid.api.errors import ApiError
from reelgrid.spec import MAX_FPS, MAX_GUIDANCE, MAX_PROMPT_CHARS, MAX_SEED, MAX_SIDE_PX, MAX_STEPS

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
    "user": "who asks is known by the key",
    "safety_identifier": "who asks is known by the key",
}
"""Fields of other servers, and why this one refuses them."""

_INTEGER_TEXT = r"^[0-9]{1,19}$"
_NUMBER_TEXT = r"^[0-9]{1,9}(\.[0-9]{1,9})?$"


def _integer_from_text(value: object) -> object:
    """Keep whole numbers whole: no float, no boolean, no blank becomes one."""
    if isinstance(value, bool):
        raise ValueError("a whole number is needed, not true or false")
    return value


Integer = Annotated[int, BeforeValidator(_integer_from_text)]
Number = Annotated[float, BeforeValidator(_integer_from_text)]
Prompt = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT_CHARS)]
Steps = Annotated[Integer, Field(ge=1, le=MAX_STEPS)]
Side = Annotated[Integer, Field(ge=1, le=MAX_SIDE_PX)]
Seed = Annotated[Integer, Field(ge=0, le=MAX_SEED)]
Guidance = Annotated[Number, Field(ge=0, le=MAX_GUIDANCE, allow_inf_nan=False)]
Fps = Annotated[Number, Field(ge=0.1, le=MAX_FPS, allow_inf_nan=False)]


class Fields(BaseModel):
    """What every body has in common."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, frozen=True)


class Reference(Fields):
    """A picture that is not sent as a file."""

    image_url: str | None = Field(
        None, description="The picture itself, as a data: URL of PNG, JPEG or WebP."
    )
    file_id: str | None = Field(
        None, description="The id of an image, or of a video whose last frame is meant, made here."
    )


class VideoReference(Fields):
    """A video made here."""

    id: str = Field(description="The id of a completed video of yours.")


class VideoFields(Fields):
    """The body of `POST /v1/videos`."""

    prompt: Prompt = Field(description="What is to be seen.")
    model: str | None = Field(None, max_length=200, description="One of GET /v1/models.")
    seconds: Annotated[str, Field(pattern=_NUMBER_TEXT)] | Number | None = Field(
        None, description="Length of the clip; the nearest that the model can make is taken."
    )
    size: str | None = Field(None, max_length=20, description="WIDTHxHEIGHT in pixels.")
    input_reference: Any | None = Field(None, description="The picture that the clip begins with.")
    seed: Seed | None = Field(None, description="The same seed gives the same clip.")
    num_inference_steps: Steps | None = Field(None, description="Denoising steps.")
    guidance_scale: Guidance | None = Field(None, description="1 is off.")
    negative_prompt: str | None = Field(
        None, max_length=MAX_PROMPT_CHARS, description="What is not to be seen."
    )
    fps: Fps | None = Field(None, description="Frames a second.")
    num_frames: Annotated[Integer, Field(ge=1, le=100_000)] | None = Field(
        None, description="Instead of seconds."
    )
    width: Side | None = Field(None, description="With height, instead of size.")
    height: Side | None = Field(None, description="With width, instead of size.")
    priority: Literal["low", "normal", "high"] | None = Field(
        None, description="Class of patience; normal when nothing is said."
    )
    deadline: Annotated[Number, Field(gt=0, le=2**40)] | None = Field(
        None, description="When it has to be finished, in seconds since 1970."
    )
    webhook: str | None = Field(
        None, max_length=2_000, description="An http or https address told of the end."
    )


class EstimateFields(VideoFields):
    """The body of `POST /v1/estimates`: that of a video, or of an image with `num_frames` 1."""


class RemixFields(Fields):
    """The body of `POST /v1/videos/{id}/remix`."""

    prompt: Prompt = Field(description="What is to be seen instead.")


class ExtensionFields(Fields):
    """The body of `POST /v1/videos/extensions`."""

    prompt: Prompt = Field(description="What is to be seen from there on.")
    seconds: Annotated[str, Field(pattern=_NUMBER_TEXT)] | Number = Field(
        description="Length of the new part."
    )
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


class ImageFields(Fields):
    """The body of `POST /v1/images/generations`."""

    prompt: Prompt = Field(description="What is to be seen.")
    model: str | None = Field(None, max_length=200, description="One of GET /v1/models.")
    n: Annotated[Integer, Field(ge=1, le=10)] | None = Field(None, description="How many.")
    size: str | None = Field(None, max_length=20, description="WIDTHxHEIGHT in pixels, or auto.")
    quality: str | None = Field(None, max_length=20, description="auto, standard or medium.")
    background: str | None = Field(None, max_length=20, description="auto or opaque.")
    output_format: Literal["png", "webp", "jpeg", "gif", "svg"] | None = None
    output_compression: Annotated[Integer, Field(ge=0, le=100)] | None = Field(
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
    partial_images: Annotated[Integer, Field(ge=0, le=3)] | None = Field(
        None, description="With stream: pictures on the way."
    )
    frame_count: Annotated[Integer, Field(ge=2, le=16)] | None = Field(
        None, description="Refused: ask for a video."
    )
    frame_duration_ms: Annotated[Integer, Field(ge=1, le=60_000)] | None = Field(
        None, description="Refused: ask for a video."
    )
    complexity: str | None = Field(None, max_length=20, description="Refused: for svg only.")
    svg: Any | None = Field(None, description="Refused: no model here draws svg.")
    seed: Seed | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    negative_prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARS)
    width: Side | None = None
    height: Side | None = None
    priority: Literal["low", "normal", "high"] | None = None


class ImageEditFields(Fields):
    """The body of `POST /v1/images/edits`."""

    model_config = ConfigDict(extra="allow")

    prompt: Prompt = Field(description="What to change.")
    image: Any = Field(description="One file or more.")
    model: str | None = Field(None, max_length=200, description="One of GET /v1/models.")


F = TypeVar("F", bound=Fields)


def check(kind: type[F], values: Values) -> F:
    """Return the body's values as the route's fields.

    Raises:
        ApiError: A field is unknown, missing or of another kind.
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


def _refuse_unknown(kind: type[Fields], values: Values) -> None:
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
