"""`reelgrid generate`: prompts to files."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelgrid import catalog
from reelgrid.catalog import ModelCard
from reelgrid.cli import options
from reelgrid.cli.local_run import load_and_report, run_with_progress
from reelgrid.cli.options import read_settings
from reelgrid.cli.output import say
from reelgrid.errors import RequestError
from reelgrid.spec import CompleteRequest, Request

if TYPE_CHECKING:
    from reelgrid.models.loading import LoadedModel
    from reelgrid.settings import Settings

MAX_COUNT = 10_000
_MAX_NAME_BYTES = 60


@dataclass(frozen=True, slots=True)
class OutputRequest:
    """One file to make: a request and the path of its file."""

    request: Request
    output: Path


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """The options of `reelgrid generate` beside the fields of a request."""

    model: options.Model = "embedded"
    seconds: Annotated[float | None, typer.Option(help="Length of the clip.")] = None
    count: Annotated[
        int, typer.Option(help="How many, with seeds from --seed on; existing files are skipped.")
    ] = 1
    image: Annotated[bool, typer.Option("--image", help="One frame, as PNG.")] = False
    output: options.Output = None
    prompts_file: Annotated[
        Path | None,
        typer.Option(help="One prompt a line; a second run skips the files that exist."),
    ] = None
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    as_json: options.Json = False


@options.with_request(GenerateOptions)
def generate(chosen: GenerateOptions, fields: dict[str, Any]) -> None:
    """Make a video, or an image, from a prompt."""
    is_image = _is_image(fields["num_frames"], chosen.output, is_asked=chosen.image)
    prompts = _prompts(fields["prompt"], chosen.prompts_file)
    settings = read_settings()
    card, loaded = catalog.find(chosen.model), None
    if card is None and chosen.seconds is not None:  # only the model knows its fps and its rule
        loaded = load_and_report(chosen.model, chosen.device, chosen.dtype)
        card = loaded.card
    num_frames = 1 if is_image else fields["num_frames"]
    fields["num_frames"] = _num_frames(card, chosen.seconds, fields["fps"], num_frames)
    is_many = chosen.prompts_file is not None
    names = OutputNames(chosen.output, ".png" if is_image else ".mp4", chosen.count, is_many)
    files = _checked(card, _files(fields, prompts, names))
    if is_many or len(files) > 1:
        files = _missing(files, chosen.model)
    if files:
        loaded = loaded or load_and_report(chosen.model, chosen.device, chosen.dtype)
        _make_all(files, chosen.model, loaded, settings, as_json=chosen.as_json)


@dataclass(frozen=True, slots=True)
class OutputNames:
    """The paths of the files that one command makes.

    Attributes:
        output: What the user gave: a file, or the folder for many prompts.
        suffix: Of names that are made up here.
        count: Files of each prompt.
        is_many: Whether there may be many prompts.
    """

    output: Path | None
    suffix: str
    count: int
    is_many: bool

    def path(self, prompt: str, number: int) -> Path:
        """Return the path of the `number`-th file of a prompt, counted from 0."""
        words = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-").encode()
        stem = words[:_MAX_NAME_BYTES].decode(errors="ignore").rstrip("-") or "clip"
        if self.is_many:
            digest = hashlib.sha256(prompt.encode()).hexdigest()[:6]  # tells prompts apart
            path = (self.output or Path()) / f"{stem}-{digest}{self.suffix}"
        else:
            path = self.output or Path(f"{stem}{self.suffix}")
        if self.count == 1:
            return path
        digits = len(str(self.count))
        return path.with_name(f"{path.stem}-{number + 1:0{digits}}{path.suffix}")


def _files(
    fields: Mapping[str, Any], prompts: Sequence[str], names: OutputNames
) -> list[OutputRequest]:
    """Return the files to make: `names.count` of each prompt, with seeds that count up."""
    if not 1 <= names.count <= MAX_COUNT:
        raise RequestError(
            f"count {names.count} is out of range: 1 to {MAX_COUNT:,}", param="count"
        )
    asked = Request.from_json({**fields, "prompt": prompts[0]})
    return [
        OutputRequest(
            asked.with_(prompt=prompt, seed=asked.seed + number), names.path(prompt, number)
        )
        for prompt in prompts
        for number in range(names.count)
    ]


def _is_image(num_frames: int | None, output: Path | None, *, is_asked: bool) -> bool:
    """Return whether to make one still image: by `--image`, or by the name of the output.

    Raises:
        RequestError: Another option contradicts `--image`.
    """
    suffix = "" if output is None else output.suffix.lower()
    if not is_asked:
        return num_frames is None and suffix == ".png"
    if num_frames not in (None, 1):
        raise RequestError(
            f"--image is one frame, --frames {num_frames} is not: leave one of them out",
            param="num_frames",
        )
    if suffix in {".mp4", ".webm"}:
        raise RequestError(
            f"{output}: --image makes a picture: give a .png, .webp or .gif, or leave out --image",
            param="output",
        )
    return True


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
            raise RequestError("the prompt is missing: say what the video shows", param="prompt")
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
        raise RequestError(f"{prompts_file} contains no prompts", param="prompts_file")
    return found


def _checked(card: ModelCard | None, files: Sequence[OutputRequest]) -> list[OutputRequest]:
    """Return the files with complete requests, where the catalogue has the model.

    Raises:
        RequestError: A file is known to be impossible, before anything is generated.
    """
    from reelgrid.media import check_output

    checked = []
    for file in files:
        request = card.complete(file.request) if card else file.request
        check_output(file.output, request.num_frames or 1)
        if request.first_frame is not None and not request.first_frame.is_file():
            raise RequestError(f"no image file at {request.first_frame}", param="first_frame")
        checked.append(OutputRequest(request, file.output))
    return checked


def _missing(files: Sequence[OutputRequest], model: str) -> list[OutputRequest]:
    """Return the files that do not exist yet, or were made by another request."""
    from reelgrid.media import is_already_made

    missing = [file for file in files if not is_already_made(file.output, model, file.request)]
    if len(missing) < len(files):
        say(f"{len(files) - len(missing)} of {len(files)} are made already")
    return missing


def _make_all(
    files: Sequence[OutputRequest],
    model: str,
    loaded: "LoadedModel",
    settings: "Settings",
    *,
    as_json: bool,
) -> None:
    """Make the files in turn; when the work is stopped, print how many were not begun.

    Raises:
        Exit: The user stopped the work.
    """
    for number, file in enumerate(files, start=1):
        try:
            _make(file, model, loaded, settings, as_json=as_json)
        except typer.Exit:
            if number < len(files):
                say(f"{len(files) - number} more not begun: the same command makes what is missing")
            raise


def _make(
    file: OutputRequest, model: str, loaded: "LoadedModel", settings: "Settings", *, as_json: bool
) -> None:
    from reelgrid.local import RunSpec, generate_file

    request = file.request
    if not isinstance(request, CompleteRequest):  # a model outside the catalogue
        request = loaded.card.complete(request)
    for notice in loaded.prompt_notices(request.prompt):
        say(notice)
    spec = RunSpec(
        model=model,
        request=request,
        output=file.output,
        device=str(loaded.device),
        dtype=str(loaded.dtype).removeprefix("torch."),
    )
    run_with_progress(settings, lambda hooks: generate_file(spec, loaded, hooks), as_json=as_json)
