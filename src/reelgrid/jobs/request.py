"""The JSON that a job's row holds as its `request`: the API writes it, the worker reads it.

Files are named by their blobs, never by paths.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from reelgrid.spec import CompleteRequest

MAX_IMAGES = 10
MAX_PARTIAL_IMAGES = 3

ImageFormat = Literal["png", "webp", "jpeg"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a worker generates.

    Attributes:
        request: Completed by the model's card; its `first_frame` is `None`.
        first_frame: Blob of the image with which the clip begins.
        extends: Blob of the video that the clip continues: its last frame is the first frame of the
            clip, and the finished file begins with it.
        extends_s: Seconds of that video.
        num_images: Of an image job; image i, counted from 0, has the seed `request.seed + i`.
        image_format: Of an image job's files.
        image_quality: 0 to 100, for webp and jpeg.
        num_partial_images: Partial images before each image is finished, stored as `partial_blob` names them.
    """

    request: CompleteRequest
    first_frame: str | None = None
    extends: str | None = None
    extends_s: float = 0.0
    num_images: int = 1
    image_format: ImageFormat = "png"
    image_quality: int = 90
    num_partial_images: int = 0

    def __post_init__(self) -> None:
        if self.request.first_frame is not None:
            raise ValueError("a job's first frame is named by its blob, not by a path")
        if self.first_frame is not None and self.extends is not None:
            raise ValueError("a clip begins with a given image or continues a video, not both")
        if not 1 <= self.num_images <= (MAX_IMAGES if self.request.is_image else 1):
            raise ValueError(f"{self.num_images} images cannot be made by one job")
        if not 0 <= self.image_quality <= 100:
            raise ValueError(f"the quality {self.image_quality} is not 0 to 100")
        if not 0 <= self.num_partial_images <= MAX_PARTIAL_IMAGES:
            raise ValueError(f"{self.num_partial_images} partial images are too many")

    @property
    def num_steps(self) -> int:
        """Denoising steps in all."""
        return self.request.num_steps * self.num_images

    @property
    def generated_s(self) -> float:
        """Seconds of video that are generated; an extension's first frame exists already."""
        return (self.request.num_frames - (self.extends is not None)) / self.request.fps

    @property
    def workload(self) -> str:
        """The key by which step times are comparable, such as `832x480x81`; see `messages.Timing`."""
        guided = "" if self.request.guidance_scale > 1 else " unguided"
        return f"{self.request.size}x{self.request.num_frames}{guided}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The blobs that it reads."""
        return tuple(blob for blob in (self.first_frame, self.extends) if blob is not None)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**asdict(self), "request": self.request.to_json()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "JobRequest":
        """Return what `to_json` was given, validated again.

        Raises:
            TypeError: A field is unknown or missing.
            ValueError: The values exclude each other.
            RequestError: A value is out of range.
        """
        return cls(**{**fields, "request": CompleteRequest.from_json(fields["request"])})


def file_variant(number: int) -> str:
    """Return the name under which `Job.files` holds image `number`, from 0."""
    return f"image_{number}"


def partial_blob(job_id: str, image: int, number: int) -> str:
    """Return the blob of partial image `number`, from 0, of image `image`, from 0."""
    return f"previews/{job_id}/partial-{image}-{number}.webp"
