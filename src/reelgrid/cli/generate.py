"""`reelgrid generate`: prompts to files."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid import catalog
from reelgrid.catalog import ModelCard
from reelgrid.cli import naming, options
from reelgrid.cli.local_run import load_and_report, read_settings, run_with_progress
from reelgrid.cli.output import say
from reelgrid.errors import RequestError
from reelgrid.spec import Request, Size

if TYPE_CHECKING:
    from reelgrid.models.loading import LoadedModel
    from reelgrid.settings import Settings

MAX_COUNT = 10_000


@dataclass(frozen=True, slots=True)
class OutputRequest:
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
    guidance_scale: options.Guidance = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What is not to be seen.")] = None,
    seed: options.Seed = 0,
    count: Annotated[
        int, typer.Option(help="How many, with seeds from --seed on; made ones are skipped.")
    ] = 1,
    image: Annotated[bool, typer.Option("--image", help="One frame, as PNG.")] = False,
    first_frame: Annotated[
        Path | None, typer.Option("--first-frame", help="Image file that the clip begins with.")
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
    if image:
        _check_still(frames, output)
    is_image = image or (frames is None and output is not None and output.suffix.lower() == ".png")
    if not 1 <= count <= MAX_COUNT:
        raise RequestError(f"count {count} is out of range: 1 to {MAX_COUNT:,}", param="count")
    prompts = _prompts(prompt, prompts_file)
    settings = read_settings()
    card, loaded = catalog.find(model), None
    if card is None and seconds is not None:
        loaded = load_and_report(model, device, dtype)  # it alone knows its rate and its rule
        card = loaded.card
    length = _num_frames(card, seconds, fps, 1 if is_image else frames)

    def request(text: str, number: int) -> Request:
        return Request(
            prompt=text,
            negative_prompt=negative_prompt,
            size=Size.parse(size) if size else None,
            num_frames=length,
            fps=fps,
            num_steps=steps,
            guidance_scale=guidance_scale,
            seed=seed + number,
            first_frame=first_frame,
        )

    namer = naming.Namer(
        output=output,
        suffix=".png" if is_image else ".mp4",
        count=count,
        is_many=prompts_file is not None,
    )
    wishes = [
        OutputRequest(request(text, number), namer.path(text, number))
        for text in prompts
        for number in range(count)
    ]
    _refuse_early(card, wishes)
    if prompts_file is not None or count > 1:
        wishes = _still_to_make(model, card, wishes)
    if wishes:
        loaded = loaded or load_and_report(model, device, dtype)
        _make_all(wishes, model, loaded, settings, as_json=as_json)


def _check_still(frames: int | None, output: Path | None) -> None:
    """Refuse what contradicts a single image."""
    if frames not in (None, 1):
        raise RequestError(
            f"--image is one frame, --frames {frames} is not: leave one of them out", param="frames"
        )
    if output is not None and output.suffix.lower() in {".mp4", ".webm"}:
        raise RequestError(
            f"{output}: --image makes a picture: give a .png, .webp or .gif, or leave out --image",
            param="output",
        )


def _num_frames(
    card: ModelCard | None, seconds: float | None, fps: float | None, frames: int | None
) -> int | None:
    """Return the frame count that was asked for, as such or as a length."""
    if seconds is None:
        return frames
    if frames is not None:
        raise RequestError(
            "--seconds and --frames (or --image) exclude each other", param="seconds"
        )
    assert card is not None
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


def _refuse_early(card: ModelCard | None, wishes: list[OutputRequest]) -> None:
    """Refuse what is known to be impossible before anything is made."""
    from reelgrid.media import check_output

    for wish in wishes:
        request = card.complete(wish.request) if card else wish.request
        check_output(wish.output, request.num_frames or 1)


def _still_to_make(
    model: str, card: ModelCard | None, wishes: list[OutputRequest]
) -> list[OutputRequest]:
    from reelgrid.local.request_provenance import is_already_made

    rest = [
        wish
        for wish in wishes
        if not is_already_made(
            wish.output, model, card.complete(wish.request) if card else wish.request
        )
    ]
    if len(rest) < len(wishes):
        say(f"{len(wishes) - len(rest)} of {len(wishes)} are made already")
    return rest


def _make_all(
    wishes: list[OutputRequest],
    model: str,
    loaded: "LoadedModel",
    settings: "Settings",
    *,
    as_json: bool,
) -> None:
    """Make them in turn; when the work is stopped, say how many were not begun.

    Raises:
        Exit: It was stopped.
    """
    for number, wish in enumerate(wishes, start=1):
        try:
            _make(wish, model, loaded, settings, as_json=as_json)
        except typer.Exit:
            if number < len(wishes):
                left = len(wishes) - number
                say(f"{left} more not begun: the same command makes what is missing")
            raise


def _make(
    wish: OutputRequest, model: str, loaded: "LoadedModel", settings: "Settings", *, as_json: bool
) -> None:
    from reelgrid.local import RunSpec, generate_file

    loaded.card.complete(wish.request)  # a refusal comes before any advice
    for notice in loaded.prompt_notices(wish.request.prompt):
        say(notice)
    order = RunSpec(
        model=model,
        request=wish.request,
        output=wish.output,
        device=str(loaded.device),
        dtype=str(loaded.dtype).removeprefix("torch."),
    )
    run_with_progress(settings, lambda watch: generate_file(order, loaded, watch), as_json=as_json)
