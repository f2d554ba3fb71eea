"""`reelgrid resume`: go on with a generation that was stopped or killed."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.local_run import load_and_report, run_with_progress
from reelgrid.cli.options import read_settings
from reelgrid.cli.output import say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.local import UnfinishedRun


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resume")(resume)


def resume(
    state: Annotated[
        Path | None,
        typer.Argument(help="A saved state; without it, the only one that there is."),
    ] = None,
    output: options.Output = None,
    list_only: Annotated[
        bool, typer.Option("--list", help="Only say what can be resumed.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Go on with a generation that was stopped or killed, from its last saved step."""
    settings = read_settings()
    if state is None:
        from reelgrid.local import list_unfinished_runs

        found = list_unfinished_runs(settings.checkpoints)
        if not found and not list_only:
            raise RequestError(
                "nothing is unfinished: give the file of a saved state", param="state"
            )
        if list_only or len(found) != 1:
            _print_list(found, as_json=as_json)
            return
        state = found[0].checkpoint
        say(f"going on with {state}")
    chosen = state

    from reelgrid.local import resume as go_on

    run_with_progress(
        settings,
        lambda watch: go_on(
            chosen,
            output,
            lambda order: load_and_report(order.model, order.device, order.dtype),
            watch,
        ),
        as_json=as_json,
    )


def _print_list(found: "tuple[UnfinishedRun, ...]", *, as_json: bool) -> None:
    """Print what there is to choose from, each with its command."""
    if not found:
        say("nothing is unfinished")
    for entry in found:
        if as_json:
            fields = {
                "state": str(entry.checkpoint),
                "prompt": entry.prompt,
                "model": entry.model,
                "output": str(entry.output),
                "saved_at": entry.saved_at.isoformat(timespec="seconds"),
            }
            sys.stdout.write(json.dumps(fields) + "\n")
        else:
            sys.stdout.write(
                f"{entry.saved_at:%Y-%m-%d %H:%M} UTC  {entry.prompt[:50]!r} on {entry.model}\n"
                f"  reelgrid resume {shlex.quote(str(entry.checkpoint))}\n"
            )
