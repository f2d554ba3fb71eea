"""The model catalogue: sizes, defaults, rules, licence and memory need of each model, without loading it.

The entries are in `catalog.toml`, each with its source. `models.card` makes the card of a model that
is not in the catalogue from its repository.
"""

import difflib
import functools
import itertools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any, Literal

from reelgrid.errors import RequestError
from reelgrid.spec import MAX_SIDE_PX, CompleteRequest, Request, Size

GIB = 2**30
_BF16_BYTES = 2
_MAX_CLIP_S = 3600
_WORKING_SHARE = 1.25  # weights and activations over weights: a rule of thumb, not a measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """The values of a request's fields that a model uses when the request leaves them out."""

    size: Size
    num_frames: int
    fps: float
    num_steps: int
    guidance_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model: what it is, what it needs, and which requests it can carry out.

    Attributes:
        name: Its name in the catalogue, such as `wan2.1-t2v-1.3b`.
        repository: Its hub id; `None` for the embedded model and for local folders.
        params_b: Parameters of all components together, in billions.
        download_gib: What a first use downloads.
        memory_gib: GPU memory in bf16, all components on the GPU, at the default size.
        default: What it uses where a request leaves a field out.
        frames_multiple: `num_frames` is a multiple of this, plus one.
        allowed_frames: The only frame counts it can make, where they are few.
        size_multiple: Width and height are multiples of this, in pixels.
        allowed_sizes: The only sizes it can make, where they are few.
        can_first_frame: Whether it can begin a clip with a given image.
        needs_first_frame: Whether it needs one.
        max_sequence_length: Prompt tokens it reads; `None` leaves it to the pipeline.
        source: Where the values come from, with the date.
        unverified: The fields that the source does not settle.
    """

    name: str
    repository: str | None
    kind: Literal["video", "image"]
    licence: str
    params_b: float
    download_gib: float
    memory_gib: float
    default: ModelDefaults
    frames_multiple: int = 4
    min_frames: int | None = None
    max_frames: int | None = None
    allowed_frames: tuple[int, ...] | None = None
    size_multiple: int = 16
    allowed_sizes: tuple[Size, ...] | None = None
    min_fps: float = 1.0
    max_fps: float = 120.0
    can_first_frame: bool = False
    needs_first_frame: bool = False
    max_sequence_length: int | None = None
    source: str = ""
    unverified: tuple[str, ...] = ()

    def complete(self, request: Request, *, has_first_frame: bool | None = None) -> CompleteRequest:
        """Return the request with this model's defaults filled in.

        Args:
            request: What to generate.
            has_first_frame: Whether the clip will begin with an image, where that image is not (yet)
                the file `request.first_frame`.

        Raises:
            RequestError: The model cannot do it; the message names the nearest that it can.
        """
        values = {each.name: getattr(request, each.name) for each in fields(request)}
        for each in fields(self.default):
            if values[each.name] is None:
                values[each.name] = getattr(self.default, each.name)
        complete = CompleteRequest(**values)
        self._check_size(complete.size)
        self._check_frames(complete.num_frames)
        self._check_fps(complete.fps)
        is_given = request.first_frame is not None if has_first_frame is None else has_first_frame
        self._check_first_frame(is_given=is_given)
        return complete

    def frames_for(self, clip_s: float, fps: float | None = None) -> int:
        """Return the possible frame count nearest to `clip_s` seconds.

        Raises:
            RequestError: It is not near: more than one `frames_multiple` away.
        """
        if not 0 < clip_s < _MAX_CLIP_S:
            raise RequestError(
                f"{clip_s:g} seconds is out of range: more than 0, less than {_MAX_CLIP_S}",
                param="seconds",
            )
        rate = fps or self.default.fps
        wanted = clip_s * rate
        nearest = self._nearest_frames(max(1, round(wanted)))[0]
        if abs(nearest - wanted) > self.frames_multiple:
            raise RequestError(
                f"{self.name} cannot make {clip_s:g} s at {rate:g} fps; nearest: "
                f"{nearest / rate:.3g} s ({nearest} frames)",
                param="seconds",
            )
        return nearest

    def _check_size(self, size: Size) -> None:
        if self.allowed_sizes is not None:
            if size in self.allowed_sizes:
                return
            rule = f"it makes {_listed(self.allowed_sizes)} only"
            nearest: Iterable[Size] = sorted(self.allowed_sizes, key=lambda s: _apart(s, size))[:3]
        else:
            if size.width % self.size_multiple == 0 == size.height % self.size_multiple:
                return
            rule = f"width and height are multiples of {self.size_multiple}"
            nearest = _nearest_sizes(size, self.size_multiple)
        raise RequestError(
            f"{self.name} cannot make {size}: {rule}; nearest: {_listed(nearest)}", param="size"
        )

    def _check_frames(self, num_frames: int) -> None:
        nearest = self._nearest_frames(num_frames)
        if num_frames not in nearest:
            raise RequestError(
                f"{self.name} cannot make {num_frames} frames: {self.frames_rule}; "
                f"nearest: {_listed(nearest)}",
                param="num_frames",
            )

    @property
    def output_kinds(self) -> tuple[Literal["video", "image"], ...]:
        """What the model makes: videos, images or both."""
        if self.kind == "image":
            return ("image",)
        makes_stills = self.allowed_frames is None or 1 in self.allowed_frames
        return ("video", "image") if makes_stills and (self.min_frames or 1) == 1 else ("video",)

    @property
    def frames_rule(self) -> str:
        """Which frame counts are possible, in words."""
        if self.kind == "image":
            return "it makes single images"
        if self.allowed_frames is not None:
            return f"it makes {_listed(self.allowed_frames)} only"
        limit = f", at most {self.max_frames}" if self.max_frames else ""
        return f"a multiple of {self.frames_multiple} plus 1{limit}"

    def _nearest_frames(self, wanted: int) -> list[int]:
        """Return the one or two possible frame counts nearest to `wanted`, nearest first."""
        if self.kind == "image":
            return [1]
        if self.allowed_frames is not None:
            return sorted(self.allowed_frames, key=lambda n: abs(n - wanted))[:2]
        step, low, high = self.frames_multiple, self.min_frames or 1, self.max_frames
        below = (wanted - 1) // step * step + 1
        possible = {
            max(low, n) if high is None else min(max(low, n), high) for n in (below, below + step)
        }
        return sorted(possible, key=lambda n: abs(n - wanted))

    def _check_fps(self, fps: float) -> None:
        if self.kind == "video" and not self.min_fps <= fps <= self.max_fps:
            nearest = min(max(fps, self.min_fps), self.max_fps)
            raise RequestError(
                f"{self.name} cannot make {fps:g} fps: {self.min_fps:g} to {self.max_fps:g}; "
                f"nearest: {nearest:g}",
                param="fps",
            )

    def _check_first_frame(self, *, is_given: bool) -> None:
        if self.needs_first_frame and not is_given:
            raise RequestError(
                f"{self.name} continues an image: give it a first frame", param="first_frame"
            )
        if is_given and not self.can_first_frame:
            others = _listed(card.name for card in all_models() if card.can_first_frame)
            raise RequestError(
                f"{self.name} takes no first frame; these do: {others}",
                param="first_frame",
            )


def find(name: str) -> ModelCard | None:
    """Return the card of a catalogue name or hub id in any case, or `None`."""
    wanted = name.lower()
    for card in all_models():
        if wanted == card.name or (card.repository and wanted == card.repository.lower()):
            return card
    return None


def similar_names(name: str) -> list[str]:
    """Return the catalogue's names most like `name`, the likeliest first; possibly empty."""
    names = [card.name for card in all_models()]
    begun = [each for each in names if name and each.startswith(name.lower())]
    return (begun or difflib.get_close_matches(name.lower(), names))[:3]


@functools.cache
def all_models() -> tuple[ModelCard, ...]:
    """Return the whole catalogue, the embedded model first."""
    text = resources.files("reelgrid").joinpath("catalog.toml").read_text(encoding="utf-8")
    return tuple(_card(name, entry) for name, entry in tomllib.loads(text).items())


def _card(name: str, entry: dict[str, Any]) -> ModelCard:
    """Make a card of an entry; an unknown or missing key is a TypeError or KeyError here."""
    weights_gib = entry["params_b"] * 1e9 * _BF16_BYTES / GIB
    defaults = entry.pop("default")
    size = Size.parse(defaults.pop("size"))
    if "allowed_sizes" in entry:
        entry["allowed_sizes"] = tuple(Size.parse(text) for text in entry["allowed_sizes"])
    for key in ("allowed_frames", "unverified"):
        if key in entry:
            entry[key] = tuple(entry[key])
    return ModelCard(
        name=name,
        repository=entry.pop("repository", None),
        download_gib=entry.pop("download_gib", weights_gib),
        memory_gib=entry.pop("memory_gib", weights_gib * _WORKING_SHARE),
        default=ModelDefaults(size=size, **defaults),
        **entry,
    )


def _nearest_sizes(size: Size, multiple: int) -> list[Size]:
    """Return up to three sizes whose sides are multiples, nearest first."""
    most = MAX_SIDE_PX // multiple * multiple
    sides = [
        {min(max(multiple, side // multiple * multiple + more), most) for more in (0, multiple)}
        for side in (size.width, size.height)
    ]
    sizes = [Size(width, height) for width, height in itertools.product(*sides)]
    return sorted(sizes, key=lambda other: (_apart(other, size), other))[:3]


def _apart(one: Size, other: Size) -> int:
    return (one.width - other.width) ** 2 + (one.height - other.height) ** 2


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
