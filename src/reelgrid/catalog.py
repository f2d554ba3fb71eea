"""What is known of each model without loading it: sizes, defaults, rules, licence, memory need.

The entries are in `catalog.toml`, each with its source. Not here: loading (`models`), and cards of
models that are not in the catalogue, which `models` derives from their own repositories.
"""

import difflib
import functools
import itertools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from reelgrid.errors import RequestError
from reelgrid.spec import MAX_SIDE_PX, Request, Size

GIB = 2**30
_BF16_BYTES = 2
_MAX_CLIP_S = 3600
_WORKING_SHARE = 1.25  # weights and activations over weights: a rule of thumb, not a measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDefaults:
    """What a model makes when nothing is asked for."""

    size: Size
    num_frames: int
    fps: float
    num_steps: int
    guidance_scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One model: what it is, what it needs, and what it can be asked for.

    Attributes:
        name: Its name in the catalogue, such as `wan2.1-t2v-1.3b`.
        repository: Its hub id; none for the embedded model and for local folders.
        params_b: Parameters of all components together, in billions.
        download_gib: What a first use downloads.
        memory_gib: GPU memory in bf16, all components on the GPU, at the default size.
        default: What it makes when nothing is asked for.
        frames_multiple: `num_frames` is a multiple of this, plus one.
        allowed_frames: The only frame counts it can make, where they are few.
        size_multiple: Width and height are multiples of this, in pixels.
        allowed_sizes: The only sizes it can make, where they are few.
        can_first_frame: Whether it can continue a given image.
        needs_first_frame: Whether it can do nothing without one.
        max_sequence_length: Prompt tokens it reads; none leaves it to the pipeline.
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

    def complete(self, request: Request) -> Request:
        """Return the request with this model's defaults filled in.

        Raises:
            RequestError: The model cannot do it; the message names the nearest that it can.
        """
        whole = request.with_(
            size=request.size or self.default.size,
            num_frames=request.num_frames or self.default.num_frames,
            fps=request.fps or self.default.fps,
            num_steps=request.num_steps or self.default.num_steps,
            guidance_scale=_first(request.guidance_scale, self.default.guidance_scale),
        )
        assert whole.size is not None
        assert whole.num_frames is not None
        assert whole.fps is not None
        self._check_size(whole.size)
        self._check_frames(whole.num_frames)
        self._check_fps(whole.fps)
        self._check_first_frame(whole)
        return whole

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

    def _check_first_frame(self, request: Request) -> None:
        given = request.first_frame
        if given is None and self.needs_first_frame:
            raise RequestError(
                f"{self.name} continues an image: give one with --first-frame",
                param="first_frame",
            )
        if given is not None and not self.can_first_frame:
            raise RequestError(
                f"{self.name} takes no first frame; these do: {_listed(_first_frame_names())}",
                param="first_frame",
            )
        if given is not None and not given.is_file():
            raise RequestError(f"no image file at {given}", param="first_frame")


def find(name: str) -> ModelCard | None:
    """Return the card of a catalogue name or hub id, upper or lower case, or none."""
    wanted = name.lower()
    for card in all_models():
        if wanted == card.name or (card.repository and wanted == card.repository.lower()):
            return card
    return None


def similar_names(name: str) -> list[str]:
    """Return the catalogue's names most like `name`, the likeliest first; none when none is."""
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


def _first_frame_names() -> list[str]:
    return [card.name for card in all_models() if card.can_first_frame]


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


def _first(given: float | None, default: float) -> float:
    return default if given is None else given


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)
