"""A request: what to generate, before and after a model's defaults are filled in.

Every field of a request is declared once, in `Request`. The bodies, answers and OpenAPI document of
the API, the options of `reelgrid generate`, the provenance of files and the JSON of jobs are built
from that declaration; `docs/request.md` shows how to add a field.
"""

import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Self, TypedDict, get_args, get_type_hints

from reelgrid.errors import RequestError

MAX_PROMPT_CHARS = 5_000
MAX_STEPS = 1_000
MAX_FRAMES = 100_000
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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Let user files write a size as text, `832x480`."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(cls._from_text)

    @classmethod
    def _from_text(cls, value: object) -> Self:
        from reelgrid.user_files.checking import FieldError

        if not isinstance(value, str):
            raise FieldError(f'expected WIDTHxHEIGHT as text, such as "832x480", got {value!r:.60}')
        try:
            return cls.parse(value)
        except RequestError as error:
            raise FieldError(f"expected WIDTHxHEIGHT: {error}") from None

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestField:
    """The declaration of one field of a request.

    Attributes:
        name: In Python, in files and in the JSON of jobs.
        type: `str`, `int`, `float`, `Size` or `Path`.
        default: What it is when it is left out; `None` where the model decides, or nothing does.
        is_required: Whether it cannot be left out.
        help: One sentence for the command's help, OpenAPI and the documentation.
        low: Smallest number allowed.
        high: Largest number allowed.
        max_chars: Length of the longest text allowed.
        api_name: What the API calls it: the name that OpenAI, SGLang and vLLM-Omni use.
    """

    name: str
    type: type
    default: Any
    is_required: bool
    help: str
    low: float | None = None
    high: float | None = None
    max_chars: int | None = None
    api_name: str

    @property
    def option(self) -> str:
        """The option of `reelgrid generate`: `num_steps` is `--steps`."""
        return "--" + self.name.removeprefix("num_").replace("_", "-")

    def to_json(self, value: object) -> object:
        """Return a value of the field as JSON holds it: a size or a path as text."""
        return str(value) if isinstance(value, Size | Path) else value

    def from_json(self, value: Any) -> Any:
        """Return the value that `to_json` was given.

        Raises:
            RequestError: A text is not a size.
        """
        if not isinstance(value, str) or self.type not in (Size, Path):
            return value
        return Size.parse(value) if self.type is Size else Path(value)

    def check(self, value: object) -> None:
        """Check the value that a request has in this field.

        Raises:
            RequestError: It is of another type, too long or out of range.
        """
        if value is None and not self.is_required:
            return
        if self.type is str:
            self._check_text(value)
        elif self.low is not None and self.high is not None:
            self._check_number(value, self.low, self.high)
        elif not isinstance(value, self.type):
            raise RequestError(
                f"the {self.name.replace('_', ' ')} {value!r} is not a {self.type.__name__}",
                param=self.name,
            )

    def _check_text(self, text: object) -> None:
        words = self.name.replace("_", " ")
        if not isinstance(text, str):
            raise RequestError(f"the {words} is not text: {text!r}", param=self.name)
        if self.max_chars is not None and len(text) > self.max_chars:
            raise RequestError(
                f"the {words} has {len(text):,} characters, {self.max_chars:,} are allowed: "
                "shorten it",
                param=self.name,
            )
        if "\x00" in text:
            raise RequestError(f"the {words} contains a NUL character", param=self.name)
        if self.is_required and not text.strip():
            raise RequestError(f"the {words} is empty", param=self.name)

    def _check_number(self, value: Any, low: float, high: float) -> None:
        words = self.option.removeprefix("--").replace("-", " ")
        is_number = isinstance(value, Integral if self.type is int else Real)
        if not is_number:
            kind = "whole number" if self.type is int else "number"
            raise RequestError(f"{words} {value!r} is not a {kind}", param=self.name)
        if not low <= value <= high:
            raise RequestError(
                f"{words} {value} is out of range: {low:,} to {high:,}", param=self.name
            )


def _declared(help: str, **more: object) -> Mapping[str, object]:
    """Return the metadata of a field; `more` are attributes of `RequestField`."""
    return {"help": help, **more}


@dataclass(frozen=True, slots=True)
class Request:
    """One clip or image to generate; `None` means the model's own default."""

    prompt: str = field(
        metadata=_declared("What the video or image shows.", max_chars=MAX_PROMPT_CHARS)
    )
    negative_prompt: str | None = field(
        default=None,
        metadata=_declared("What the video or image must not show.", max_chars=MAX_PROMPT_CHARS),
    )
    size: Size | None = field(
        default=None, metadata=_declared("Width and height in pixels, such as 832x480.")
    )
    num_frames: int | None = field(
        default=None,
        metadata=_declared("Number of frames; 1 is a still image.", low=1, high=MAX_FRAMES),
    )
    fps: float | None = field(
        default=None,
        metadata=_declared(
            "Frames per second of the file; the frames stay the same.", low=0.1, high=MAX_FPS
        ),
    )
    num_steps: int | None = field(
        default=None,
        metadata=_declared(
            "Number of denoising steps.", low=1, high=MAX_STEPS, api_name="num_inference_steps"
        ),
    )
    # Ho & Salimans 2022, arXiv:2207.12598.
    guidance_scale: float | None = field(
        default=None,
        metadata=_declared(
            "Strength of classifier-free guidance; 1 is off.", low=0.0, high=MAX_GUIDANCE
        ),
    )
    # The noise is drawn on the CPU, so that a seed means the same on every device.
    seed: int = field(
        default=0,
        metadata=_declared("The same seed gives the same file.", low=0, high=MAX_SEED),
    )
    first_frame: Path | None = field(
        default=None,
        metadata=_declared(
            "Image that becomes the first frame of the clip.", api_name="input_reference"
        ),
    )

    def __post_init__(self) -> None:
        for each in REQUEST_FIELDS:
            each.check(getattr(self, each.name))

    @property
    def is_image(self) -> bool:
        """Whether this asks for one still frame."""
        return self.num_frames == 1

    def with_(self, **changes: object) -> Self:
        """Return the same request with some values changed, validated again."""
        return replace(self, **changes)  # type: ignore[arg-type]  # fields are checked when made

    def to_json(self) -> dict[str, Any]:
        """Return the request as plain JSON values."""
        return {each.name: each.to_json(getattr(self, each.name)) for each in REQUEST_FIELDS}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the request that `to_json` was given, validated again.

        Raises:
            TypeError: A field is unknown, or the prompt is missing.
            RequestError: A value is out of range.
        """
        declared = {each.name: each for each in REQUEST_FIELDS}
        return cls(
            **{
                name: declared[name].from_json(value) if name in declared else value
                for name, value in values.items()
            }
        )


@dataclass(frozen=True, slots=True)
class CompleteRequest(Request):
    """A request in which a model's defaults are filled in; `ModelCard.complete` makes it."""

    size: Size = field(kw_only=True)
    num_frames: int = field(kw_only=True)
    fps: float = field(kw_only=True)
    num_steps: int = field(kw_only=True)
    guidance_scale: float = field(kw_only=True)

    @property
    def clip_s(self) -> float:
        """Seconds of video."""
        return self.num_frames / self.fps


class RequestOptions(TypedDict, total=False):
    """The fields of a request beside its prompt, as keyword arguments for type checkers."""

    negative_prompt: str | None
    size: Size | str | None
    num_frames: int | None
    fps: float | None
    num_steps: int | None
    guidance_scale: float | None
    seed: int
    first_frame: Path | str | None


def _declaration(each: "Field[Any]", annotation: Any) -> RequestField:
    kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
    about = {"api_name": each.name, **each.metadata}
    return RequestField(
        name=each.name,
        type=kinds[0] if kinds else annotation,
        default=None if each.default is MISSING else each.default,
        is_required=each.default is MISSING,
        **about,
    )


REQUEST_FIELDS = tuple(
    _declaration(each, get_type_hints(Request)[each.name]) for each in fields(Request)
)
"""The declarations of `Request`, in its order."""
