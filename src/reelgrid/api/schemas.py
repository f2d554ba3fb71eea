"""The responses as OpenAPI describes them.

Responses are built as plain values, for speed; the tests check them against these models.
"""

import dataclasses
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, create_model

from reelgrid.catalog import ModelDefaults
from reelgrid.spec import REQUEST_FIELDS, RequestField


class ResponseModel(BaseModel):
    """What every response has in common."""

    model_config = ConfigDict(extra="forbid")


class ErrorDetail(ResponseModel):
    """Why a request was refused."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(ResponseModel):
    """OpenAI's error object."""

    error: ErrorDetail


class JobError(ResponseModel):
    """Why a job failed; `cancelled` is one of the codes."""

    code: str
    message: str


class IntervalResponse(ResponseModel):
    """An 80 % interval."""

    low: float
    likely: float
    high: float


class ProgressFields(ResponseModel):
    """The fields of a job that change while it is generated."""

    detail: Literal["paused", "resuming", "pausing", "cancelling", "yielding"] | None
    stage: str | None
    step: int
    num_steps: int
    queue_position: int | None = Field(description="Of a waiting job; 1 is the next.")
    eta_seconds: IntervalResponse | None = Field(description="Until it is finished.")
    gpu_seconds: float


R = TypeVar("R", bound=ResponseModel)
_DEFAULTS = {each.name for each in dataclasses.fields(ModelDefaults)}


def _with_request_fields(response: type[R]) -> type[R]:
    """Add the fields that `spec.Request` declares, as the model completed them."""
    declared: dict[str, Any] = {
        each.api_name: (_annotation(each), Field(description=each.help))
        for each in REQUEST_FIELDS
        if each.type is not Path
    }
    return create_model(
        response.__name__,
        __base__=response,
        __doc__=response.__doc__,
        __module__=response.__module__,
        **declared,
    )


def _annotation(declared: RequestField) -> Any:
    kind: Any = declared.type if declared.type in (int, float) else str
    is_certain = declared.is_required or declared.default is not None or declared.name in _DEFAULTS
    return kind if is_certain else kind | None


@_with_request_fields
class Video(ProgressFields):
    """A video job: the fields of the openai package, then those of other servers and of this one."""

    id: str
    object: Literal["video"]
    created_at: int
    status: Literal["queued", "in_progress", "completed", "failed"]
    progress: int = Field(ge=0, le=100)
    model: str
    seconds: str
    completed_at: int | None
    expires_at: int | None
    error: JobError | None
    remixed_from_video_id: str | None
    extended_from_video_id: str | None
    priority: Literal["low", "normal", "high"]
    deadline: float | None


class VideoList(ResponseModel):
    """A page of videos."""

    object: Literal["list"]
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedVideo(ResponseModel):
    """The response to a deletion."""

    id: str
    object: Literal["video.deleted"]
    deleted: Literal[True]


class ImageData(ResponseModel):
    """One image."""

    b64_json: str | None = None
    url: str | None = None


class TokenDetails(ResponseModel):
    """Nothing here is counted in tokens."""

    image_tokens: int
    text_tokens: int


class Usage(ResponseModel):
    """Nothing here is counted in tokens: all are 0."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: TokenDetails


class ImagesResponse(ResponseModel):
    """Finished images."""

    id: str = Field(description="The id of the images, for `input_reference[file_id]`.")
    created: int
    data: list[ImageData]
    size: str
    quality: Literal["auto"]
    background: Literal["opaque"]
    output_format: Literal["png", "webp", "jpeg"]
    usage: Usage
    model: str
    seed: int
    gpu_seconds: float
    safety_identifier: str | None


class Sizes(ResponseModel):
    """The sizes that a model makes."""

    allowed: list[str] | None = Field(description="All of them, where they are few.")
    multiple: int = Field(description="Width and height are multiples of this.")
    default: str


class Capabilities(ResponseModel):
    """What a model can do on this server."""

    kinds: list[Literal["video", "image"]]
    sizes: Sizes
    frames: str
    default_frames: int
    max_frames: int
    min_fps: float
    max_fps: float
    default_fps: float
    default_steps: int
    default_guidance_scale: float
    first_frame: bool
    needs_first_frame: bool
    remix: bool
    extension: bool
    edit: bool
    characters: bool
    image_edit: bool
    image_formats: list[str]
    memory_gib: float


class Model(ResponseModel):
    """A model of this server."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    licence: str
    capabilities: Capabilities


class ModelList(ResponseModel):
    """The models of this server."""

    object: Literal["list"]
    data: list[Model]


class EstimateResponse(ResponseModel):
    """What a request would take; nothing is run or reserved."""

    object: Literal["estimate"]
    model: str
    size: str
    num_frames: int
    num_inference_steps: int
    seconds: IntervalResponse = Field(description="Of work on a worker, the model loaded.")
    load_seconds: float = Field(description="Before that, where no worker has the model.")
    wait_seconds: float | None = Field(description="In the queue; null without a live worker.")
    queue_position: int
    memory_gib: float
    gpu_seconds: IntervalResponse
    cost_usd: IntervalResponse | None = Field(description="Null where no price is set.")
    basis: str


class Health(ResponseModel):
    """The process answers."""

    status: Literal["ok"]
    version: str


class ReadinessResponse(ResponseModel):
    """Whether it can take work, and if not why."""

    status: Literal["ok", "unavailable"]
    database: str
    blobs: str
    workers: str
