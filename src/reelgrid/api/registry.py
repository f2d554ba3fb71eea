"""The models that this server offers, and what a request becomes with one of them."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from reelgrid.api.errors import ApiError
from reelgrid.catalog import ModelCard
from reelgrid.errors import RequestError
from reelgrid.spec import CompleteRequest, Request, Size


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The models, the default first."""

    cards: tuple[ModelCard, ...]

    def __post_init__(self) -> None:
        assert self.cards

    def find(self, name: str | None, *, kind: str | None = None) -> ModelCard:
        """Return the model of a name, or the first that makes this kind where none is named.

        Raises:
            ApiError: There is no such model here.
        """
        if name is None:
            fitting = (card for card in self.cards if kind in {None, *kinds(card)})
            card = next(fitting, None)
            if card is None:
                raise ApiError(400, f"no model here makes a {kind}", code="unsupported_capability")
            return card
        wanted = name.lower()
        for card in self.cards:
            if wanted in {card.name.lower(), (card.repository or "").lower()}:
                return card
        raise ApiError(
            404,
            f"there is no model {name[:80]!r} here; {_alternatives(name, self.cards)}",
            code="model_not_found",
            param="model",
        )


def kinds(card: ModelCard) -> tuple[str, ...]:
    """Return what a model makes: video, image or both."""
    if card.kind == "image":
        return ("image",)
    makes_stills = card.allowed_frames is None or 1 in card.allowed_frames
    return ("video", "image") if makes_stills and not (card.min_frames or 1) > 1 else ("video",)


class UnsupportedError(ApiError):
    """Something that the model cannot do, and why."""

    def __init__(self, card: ModelCard, what: str, reason: str, param: str) -> None:
        message = f"{card.name} cannot {what}: {reason}"
        super().__init__(400, message, code="unsupported_capability", param=param)


def choose_size(size: str | None, width: int | None, height: int | None) -> Size | None:
    """Return the size that is asked for in either of two ways, or none.

    Raises:
        RequestError: Both ways, or half of the second, or no size at all.
    """
    if (width is None) != (height is None):
        raise RequestError("width and height come together", param="width")
    if width is None or height is None:
        return None if size is None else Size.parse(size)
    given = Size(width, height)
    if size is not None and Size.parse(size) != given:
        raise RequestError(f"size {size} and width and height {given} differ", param="size")
    return given


def choose_frames(
    card: ModelCard, seconds: str | float | None, num_frames: int | None, fps: float | None
) -> int | None:
    """Return how many frames are asked for in either of two ways, or none.

    Raises:
        RequestError: Both ways, or a length that the model cannot make.
    """
    if seconds is None:
        return num_frames
    if num_frames is not None:
        raise RequestError("seconds and num_frames exclude each other", param="num_frames")
    return card.frames_for(float(seconds), fps)


def complete(card: ModelCard, request: Request, *, has_first_frame: bool) -> CompleteRequest:
    """Return the request with the model's defaults, or refuse what the model cannot do.

    Raises:
        RequestError: The message names the nearest that it can do.
        UnsupportedError: A first frame is missing, or is of no use.
    """
    if has_first_frame and not card.can_first_frame:
        raise UnsupportedError(
            card, "begin with a picture", "it takes no first frame", "input_reference"
        )
    if has_first_frame and request.is_image:
        raise UnsupportedError(
            card, "change a picture", "it only begins clips with it", "input_reference"
        )
    if card.needs_first_frame and not has_first_frame:
        raise UnsupportedError(
            card, "begin from nothing", "give input_reference", "input_reference"
        )
    return card.complete(request, has_first_frame=has_first_frame)


def _alternatives(name: str, cards: Sequence[ModelCard]) -> str:
    names = [card.name for card in cards]
    near = difflib.get_close_matches(name.lower(), names, 3)
    return f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names)}"
