"""What is asked for: a request before and after the model's defaults are filled in.

Not here: what a model can do (`catalog`), and how frames are made (`engine`).
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self

from reelgrid.errors import RequestError

MAX_PROMPT_CHARS = 5_000
MAX_STEPS = 1_000
MAX_SIDE_PX = 8_192
MAX_GUIDANCE = 100.0
MAX_FPS = 240.0
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Width and height in pixels, written `832x480`."""

    width: int
    height: int

    def __post_init__(self) -> None:
        for side in (self.width, self.height):
            if not 1 <= side <= MAX_SIDE_PX:
                raise RequestError(
                    f"size {self} is out of range: each side is 1 to {MAX_SIDE_PX} pixels",
                    param="size",
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the size that `WIDTHxHEIGHT` names.

        Raises:
            RequestError: The text has another form, or a side is out of range.
        """
        match = re.fullmatch(r"(-?\d{1,9})x(-?\d{1,9})", text.strip().lower())
        if match is None:
            raise RequestError(
                f"size {text!r} is not WIDTHxHEIGHT in pixels, such as 832x480", param="size"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Request:
    """One clip or image that somebody wants; `None` means the model's own default.

    Attributes:
        prompt: What is to be seen, 1 to 5,000 characters.
        negative_prompt: What is not to be seen.
        size: Width and height in pixels.
        num_frames: Frames of the clip; 1 is a still image.
        fps: Frames a second of the finished clip; it does not change what is generated.
        num_steps: Denoising steps, 1 to 1,000.
        guidance_scale: Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598); 1 is off.
        seed: Of the initial noise, 0 to 2**63 - 1; drawn on the CPU, so the same on every device.
        first_frame: An image file that the clip begins with.
    """

    prompt: str
    negative_prompt: str | None = None
    size: Size | None = None
    num_frames: int | None = None
    fps: float | None = None
    num_steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    first_frame: Path | None = None

    def __post_init__(self) -> None:
        _check_text("prompt", self.prompt)
        if not self.prompt.strip():
            raise RequestError("the prompt is empty: say what is to be seen", param="prompt")
        if self.negative_prompt is not None:
            _check_text("negative_prompt", self.negative_prompt)
        _check_range("num_frames", self.num_frames, 1, 100_000)
        _check_range("fps", self.fps, 0.1, MAX_FPS)
        _check_range("num_steps", self.num_steps, 1, MAX_STEPS)
        _check_range("guidance_scale", self.guidance_scale, 0.0, MAX_GUIDANCE)
        _check_range("seed", self.seed, 0, MAX_SEED)

    @property
    def is_image(self) -> bool:
        """Whether one still frame is asked for."""
        return self.num_frames == 1

    @property
    def clip_s(self) -> float:
        """Seconds of video that a complete request makes.

        Raises:
            ValueError: The defaults have not been filled in.
        """
        if self.num_frames is None or self.fps is None:
            raise ValueError("the request is not complete: num_frames or fps is missing")
        return self.num_frames / self.fps

    def with_(self, **changes: object) -> "Request":
        """Return the same request with some values changed, validated again."""
        return replace(self, **changes)  # type: ignore[arg-type]  # fields are checked when made

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain JSON values."""
        fields = asdict(self)
        fields["size"] = None if self.size is None else str(self.size)
        reference = self.first_frame
        fields["first_frame"] = None if reference is None else str(reference)
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Request":
        """Return the request that `to_json` was given, validated again.

        Raises:
            TypeError: A field is unknown, or the prompt is missing.
            RequestError: A value is out of range.
        """
        size, reference = fields.get("size"), fields.get("first_frame")
        return cls(
            **{
                **fields,
                "size": None if size is None else Size.parse(size),
                "first_frame": None if reference is None else Path(reference),
            }
        )


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise RequestError(f"the {name.replace('_', ' ')} is no text: {text!r}", param=name)
    if len(text) > MAX_PROMPT_CHARS:
        raise RequestError(
            f"the {name.replace('_', ' ')} has {len(text):,} characters, "
            f"{MAX_PROMPT_CHARS:,} are allowed: shorten it",
            param=name,
        )
    if "\x00" in text:
        raise RequestError(f"the {name.replace('_', ' ')} holds a NUL character", param=name)


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Refuse what is out of range, or no whole number where the range is one of whole numbers."""
    if value is None:
        return
    kind: type = Integral if isinstance(low, int) else Real
    if not isinstance(value, kind):
        words = "whole number" if kind is Integral else "number"
        raise RequestError(f"{name.replace('_', ' ')} {value!r} is no {words}", param=name)
    if not math.isfinite(value) or not low <= value <= high:
        raise RequestError(
            f"{name.replace('_', ' ')} {value} is out of range: {low:,} to {high:,}", param=name
        )
