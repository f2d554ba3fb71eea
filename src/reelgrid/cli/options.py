"""Options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from reelgrid import spec

Model = Annotated[str, typer.Option(help="Catalogue name, hub id, or local folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, to stdout.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help=".mp4, .webm, .gif, .webp, .png, or a folder of frames; by default named by the prompt.",
    ),
]
Size = Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels, such as 832x480.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.")]
Frames = Annotated[int | None, typer.Option(help="Number of frames.")]


def with_request(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the fields of a request too, as `spec.Request` declares them.

    Args:
        command: It gets them as keyword arguments, by their names in `Request`; the prompt may be
            `None`, and a size is text.
    """
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    parameters = [*map(_parameter, spec.REQUEST_FIELDS), *own]

    @functools.wraps(command)
    def with_fields(**given: Any) -> None:
        command(**given)

    signature = inspect.Signature(parameters)
    with_fields.__signature__ = signature  # type: ignore[attr-defined]  # what Typer reads
    with_fields.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_fields


def _parameter(declared: spec.RequestField) -> inspect.Parameter:
    kind: Any = str if declared.type is spec.Size else declared.type
    if declared.is_required:
        info: Any = typer.Argument(help=declared.help)
    else:
        info = typer.Option(declared.option, help=declared.help)
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=declared.default,
        annotation=Annotated[kind | None if declared.default is None else kind, info],
    )
