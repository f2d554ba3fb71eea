"""What several commands share: options, groups of options as dataclasses, and the settings."""

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from reelgrid import spec

if TYPE_CHECKING:
    from reelgrid.settings import Settings

Options = TypeVar("Options")
_HELP = {each.name: each.help for each in spec.REQUEST_FIELDS}

Database = Annotated[
    str | None,
    typer.Option(
        help="Database of jobs and keys: postgresql://... or an SQLite file. By default the one "
        "in REELGRID_DATABASE, otherwise the file in the data folder."
    ),
]
Device = Annotated[str, typer.Option(help="Device to compute on: auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="Number format: auto, float32, bfloat16 or float16.")]
FirstFrame = Annotated[Path | None, typer.Option(help=_HELP["first_frame"])]
Frames = Annotated[int | None, typer.Option(help=_HELP["num_frames"])]
GuidanceScale = Annotated[float | None, typer.Option(help=_HELP["guidance_scale"])]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, one object per line.")]
MaxFrames = Annotated[int | None, typer.Option(min=1, help="Most frames of one clip.")]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Most pixels of one frame, width times height.")
]
MaxSteps = Annotated[int | None, typer.Option(min=1, help="Most denoising steps of one request.")]
Model = Annotated[
    str, typer.Option(help="Name in the catalogue, Hugging Face id, or local folder.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write: .mp4, .webm, .gif, .webp or .png, or a folder for numbered frames. "
        "By default the file is named after the prompt.",
    ),
]
Size = Annotated[str | None, typer.Option(help=_HELP["size"])]
Steps = Annotated[int | None, typer.Option(help=_HELP["num_steps"])]
Url = Annotated[
    str | None,
    typer.Option(
        help="Address of a server, for example http://host:8000. The API key is taken from "
        "REELGRID_API_KEY."
    ),
]


def group(name: str, help_text: str) -> typer.Typer:
    """Return a group of commands without any yet; alone it prints its help."""
    return typer.Typer(
        name=name,
        help=help_text,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def from_fields(
    options: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Return a decorator that makes the fields of a dataclass the parameters of a command.

    Args:
        options: Dataclass whose fields are annotated as typer expects it of parameters; the
            decorated function gets one instance of it.
    """

    def decorate(command: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(command, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def parse(**values: Any) -> None:
            command(options(**values))

        parse.__signature__ = inspect.signature(options)  # type: ignore[attr-defined]  # for typer
        return parse

    return decorate


def with_request(
    options: type[Options],
) -> Callable[[Callable[[Options, dict[str, Any]], None]], Callable[..., None]]:
    """Return a decorator as `from_fields`, for a command that takes the fields of a request too.

    Args:
        options: As for `from_fields`; the decorated function gets an instance of it and the values of
            the request's fields, by their names in `spec.Request`: the prompt may be `None`, and a
            size is text.
    """
    own = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(options).parameters.values()
    ]

    def decorate(command: Callable[[Options, dict[str, Any]], None]) -> Callable[..., None]:
        @functools.wraps(command, assigned=("__module__", "__name__", "__qualname__", "__doc__"))
        def parse(**values: Any) -> None:
            fields = {each.name: values.pop(each.name) for each in spec.REQUEST_FIELDS}
            command(options(**values), fields)

        parameters = [*map(_parameter, spec.REQUEST_FIELDS), *own]
        parse.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # for typer
        return parse

    return decorate


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


def read_settings() -> "Settings":
    """Return the user's settings, with logging configured accordingly.

    Raises:
        RequestError: An environment variable has an invalid value or an earlier name.
    """
    from pydantic import ValidationError

    from reelgrid import logs
    from reelgrid.errors import RequestError
    from reelgrid.settings import RENAMED_VARIABLES, Settings

    for earlier, name in RENAMED_VARIABLES.items():
        if os.environ.get(earlier):
            raise RequestError(f"{earlier} is called {name} now: rename the variable")
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise RequestError(f"REELGRID_{name}: {first['msg']}") from None
    logs.configure(settings.log_level)
    return settings
