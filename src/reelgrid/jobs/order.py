"""What a job asks of its worker, as the JSON in `Job.request` and back.

The API writes it, the fleet reads it. The request is complete: no default is left to fill in, so that a job means the same on every worker.
Pictures and videos are named by their blobs, never by paths. Not here: the rest of the job.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from reelgrid.spec import Request, Size

Format = Literal["mp4", "png", "webp", "jpeg"]

_ASKED = ("prompt", "negative_prompt", "num_frames", "fps", "num_steps", "guidance_scale", "seed")
_OWN = ("first_frame", "extends", "extends_s", "format", "quality")
_KEYS = frozenset({*_ASKED, *_OWN, "size"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One complete order.

    Attributes:
        request: Complete, without `input_reference`.
        first_frame: Blob of the picture that the clip begins with.
        extends: Blob of the video that the new frames are put behind; the first of them repeats the
            frame that the video ends with and is left out.
        extends_s: Seconds of that video.
        format: What the file is.
        quality: 0 to 100, of webp and jpeg; none is the writer's own.
    """

    request: Request
    first_frame: str | None = None
    extends: str | None = None
    extends_s: float = 0.0
    format: Format = "mp4"
    quality: int | None = None

    def __post_init__(self) -> None:
        given = self.request
        if None in {given.size, given.num_frames, given.fps, given.num_steps}:
            raise ValueError("an order's request is complete")
        if given.input_reference is not None:
            raise ValueError("an order names pictures by their blobs")
        if self.format not in get_args(Format):
            raise ValueError(f"no format {self.format!r}")

    @property
    def clip_s(self) -> float:
        """Seconds of the finished video; 0 for an image."""
        if self.format != "mp4":
            return 0.0
        assert self.request.fps is not None
        repeated_s = 1 / self.request.fps if self.extends else 0.0
        return self.extends_s + self.request.clip_s - repeated_s

    @property
    def workload(self) -> str:
        """What step times are comparable for, as in `Timing.workload`."""
        guided = "" if (self.request.guidance_scale or 0) > 1 else " unguided"
        return f"{self.request.size}x{self.request.num_frames}{guided}"

    def to_json(self) -> dict[str, object]:
        """Return the order as values that JSON can hold."""
        asked = {key: getattr(self.request, key) for key in _ASKED}
        own = {key: getattr(self, key) for key in _OWN}
        return {**asked, "size": str(self.request.size), **own}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the order that `to_json` gave.

        Raises:
            ValueError: A key is unknown or missing.
        """
        if set(values) != _KEYS:
            odd = ", ".join(sorted(_KEYS.symmetric_difference(values)))
            raise ValueError(f"no order: unknown or missing: {odd}")
        asked = {key: values[key] for key in _ASKED}
        request = Request(size=Size.parse(values["size"]), **asked)
        return cls(request=request, **{key: values[key] for key in _OWN})
