"""`reelgrid resume`: resume a generation that was stopped or killed, from its checkpoint."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.local_run import load_and_report, run_with_progress
from reelgrid.cli.output import print_json, print_text, say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.local import UnfinishedRun
    from reelgrid.settings import Settings


def resume(
    checkpoint: Annotated[
        Path | None,
        typer.Argument(help="Checkpoint file; without it the only one that exists."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write. By default the one of the stopped command."
        ),
    ] = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Only list the unfinished generations.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Resume an unfinished generation from its last checkpoint."""
    settings = options.read_settings()
    if checkpoint is None:
        checkpoint = _only_checkpoint(settings.checkpoints, list_only=list_only, as_json=as_json)
    if checkpoint is not None:
        _resume(settings, checkpoint, output, as_json=as_json)


def _only_checkpoint(folder: Path, *, list_only: bool, as_json: bool) -> Path | None:
    """Return the only checkpoint in a folder; print a list and return `None` otherwise.

    Raises:
        RequestError: There is none, and a list was not requested.
    """
    from reelgrid.local import list_unfinished_runs

    found = list_unfinished_runs(folder)
    if not found and not list_only:
        raise RequestError("nothing is unfinished: give a checkpoint file", param="checkpoint")
    if list_only or len(found) != 1:
        _print_list(found, as_json=as_json)
        return None
    say(f"resuming {found[0].checkpoint}")
    return found[0].checkpoint


def _resume(settings: "Settings", checkpoint: Path, output: Path | None, *, as_json: bool) -> None:
    from reelgrid.local import resume as resume_run

    run_with_progress(
        settings,
        lambda hooks: resume_run(
            checkpoint,
            output,
            lambda spec: load_and_report(spec.model, spec.device, spec.dtype),
            hooks,
        ),
        as_json=as_json,
    )


def _print_list(found: "tuple[UnfinishedRun, ...]", *, as_json: bool) -> None:
    """Print the unfinished generations, each with the command that resumes it."""
    if not found:
        say("nothing is unfinished")
    for run in found:
        if as_json:
            print_json(
                {
                    "checkpoint": str(run.checkpoint),
                    "prompt": run.prompt,
                    "model": run.model,
                    "output": str(run.output),
                    "saved_at": run.saved_at.isoformat(timespec="seconds"),
                }
            )
        else:
            print_text(
                f"{run.saved_at:%Y-%m-%d %H:%M} UTC  {run.prompt[:50]!r} on {run.model}\n"
                f"  reelgrid resume {shlex.quote(str(run.checkpoint))}"
            )
