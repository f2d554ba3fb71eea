"""`reelgrid generate`: prompts to files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid import catalog
from reelgrid.cli import naming, options
from reelgrid.cli.console import say
from reelgrid.cli.work import load_aloud, read_settings, watched
from reelgrid.errors import RequestError
from reelgrid.spec import Request, Size

if TYPE_CHECKING:
    from reelgrid.models.loading import LoadedModel
    from reelgrid.settings import Settings

MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class Wish:
    """One file that is wanted: a request and where its file goes."""

    request: Request
    output: Path


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(generate)


def generate(
    prompt: Annotated[str | None, typer.Argument(help="What is to be seen.")] = None,
    model: Annotated[
        str, typer.Option(help="Catalogue name, hub id, or local folder.")
    ] = "embedded",
    size: options.Size = None,
    seconds: Annotated[float | None, typer.Option(help="Length of the clip.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second.")] = None,
    frames: options.Frames = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    negative: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None,
    seed: options.Seed = 0,
    count: Annotated[int, typer.Option(help="How many, with seeds from --seed on.")] = 1,
    image: Annotated[bool, typer.Option("--image", help="One frame, as PNG.")] = False,
    input_reference: Annotated[
        Path | None, typer.Option(help="An image file that the clip begins with.")
    ] = None,
    output: options.Output = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(help="One prompt a line; made ones are skipped on a second run."),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Make a video, or an image, of a prompt."""
    is_image = image or (frames is None and output is not None and output.suffix == ".png")
    length = _num_frames(model, seconds, fps, 1 if is_image else frames)

    def request(text: str, number: int) -> Request:
        return Request(
            prompt=text,
            negative_prompt=negative,
            size=Size.parse(size) if size else None,
            num_frames=length,
            fps=fps,
            num_steps=steps,
            guidance_scale=guidance,
            seed=seed + number,
            input_reference=input_reference,
        )

    if not 1 <= count <= MAX_COUNT:
        raise RequestError(f"count {count} is out of range: 1 to {MAX_COUNT:,}", param="count")
    prompts = _prompts(prompt, prompts_file)
    namer = naming.Namer(
        output=output,
        suffix=".png" if is_image else ".mp4",
        count=count,
        is_many=prompts_file is not None,
    )
    wishes = [
        Wish(request(text, number), namer.path(text, number))
        for text in prompts
        for number in range(count)
    ]
    settings = read_settings()
    _refuse_early(model, wishes)
    if prompts_file is not None:
        wishes = _still_to_make(model, wishes)
    if wishes:
        loaded = load_aloud(model, device, dtype)
        for wish in wishes:
            _make(wish, model, loaded, settings, as_json=as_json)


def _num_frames(
    model: str, seconds: float | None, fps: float | None, frames: int | None
) -> int | None:
    """Return the frame count that was asked for, as such or as a length."""
    if seconds is None:
        return frames
    if frames is not None:
        raise RequestError(
            "--seconds and --frames (or --image) exclude each other", param="seconds"
        )
    card = catalog.find(model)
    if card is None:
        raise RequestError(
            f"the length rules of {model} are not in the catalogue: give --frames instead of --seconds",
            param="seconds",
        )
    return card.frames_for(seconds, fps)


def _prompts(prompt: str | None, prompts_file: Path | None) -> list[str]:
    if prompts_file is None:
        if prompt is None:
            raise RequestError("the prompt is missing: say what is to be seen", param="prompt")
        return [prompt]
    if prompt is not None:
        raise RequestError("give a prompt or --prompts-file, not both", param="prompt")
    try:
        lines = prompts_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"{prompts_file} cannot be read: {error}", param="prompts_file"
        ) from None
    found = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise RequestError(f"{prompts_file} holds no prompts", param="prompts_file")
    return found


def _refuse_early(model: str, wishes: list[Wish]) -> None:
    """Refuse what the catalogue knows to be impossible before anything is loaded."""
    from reelgrid.media import check_output

    card = catalog.find(model)
    for wish in wishes:
        request = card.complete(wish.request) if card else wish.request
        check_output(wish.output, request.num_frames or 1)


def _still_to_make(model: str, wishes: list[Wish]) -> list[Wish]:
    from reelgrid.studio.origin import is_made

    card = catalog.find(model)
    rest = [
        wish
        for wish in wishes
        if not is_made(wish.output, model, card.complete(wish.request) if card else wish.request)
    ]
    if len(rest) < len(wishes):
        say(f"{len(wishes) - len(rest)} of {len(wishes)} are made already")
    return rest


def _make(
    wish: Wish, model: str, loaded: "LoadedModel", settings: "Settings", *, as_json: bool
) -> None:
    from reelgrid.studio import Order, make

    notices = getattr(loaded, "prompt_notices", None)
    for notice in notices(wish.request.prompt) if notices else ():
        say(notice)
    order = Order(
        model=model,
        request=wish.request,
        output=wish.output,
        device=str(loaded.device),
        dtype=str(loaded.dtype).removeprefix("torch."),
    )
    watched(settings, lambda watch: make(order, loaded, watch), as_json=as_json)
