"""What generate and resume have in common: settings, loading aloud, watching, printing."""

import json
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from reelgrid.cli.console import progress_shown, report_lines, say
from reelgrid.cli.interrupt import stop_wish

if TYPE_CHECKING:
    from reelgrid.models.loading import LoadedModel
    from reelgrid.settings import Settings
    from reelgrid.studio import Report
    from reelgrid.studio.making import Watch

_STOPPED = 130


def read_settings() -> "Settings":
    """Return the user's settings, with logging configured by them.

    Raises:
        RequestError: An environment variable has a value that cannot be.
    """
    from pydantic import ValidationError

    from reelgrid import logs
    from reelgrid.errors import RequestError
    from reelgrid.settings import Settings

    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise RequestError(f"REELGRID_{name}: {first['msg']}") from None
    logs.configure(settings.log_level)
    return settings


def load_aloud(name: str, device: str, dtype: str) -> "LoadedModel":
    """Return a loaded model, having said on what it runs and what it wants said."""
    from reelgrid.models.loading import load_model

    model = load_model(name, device=device, dtype=dtype)
    offload = f", {model.offload}" if model.offload else ""
    precision = str(model.dtype).removeprefix("torch.")
    say(
        f"{model.card.name} on {model.device}, {precision}{offload}, loaded in {model.load_s:.1f} s"
    )
    for notice in model.notices:
        say(notice)
    return model


def watched(settings: "Settings", work: "Callable[[Watch], Report]", *, as_json: bool) -> None:
    """Do `work` with progress shown and its report printed; when stopped, say how to go on.

    Raises:
        Exit: It was stopped.
    """
    from reelgrid.studio import Interrupted
    from reelgrid.studio.making import Watch

    try:
        with stop_wish() as wish, progress_shown() as listener:
            report = work(
                Watch(
                    states=settings.states,
                    on_progress=listener,
                    should_stop=wish,
                    save_every_s=settings.save_every_s,
                )
            )
    except Interrupted as stopped:
        say(f"saved; go on with: reelgrid resume {shlex.quote(str(stopped.unfinished.state))}")
        raise typer.Exit(_STOPPED) from None
    print_report(report, as_json=as_json)


def print_report(report: "Report", *, as_json: bool) -> None:
    """Print the account of a finished file to stdout."""
    text = json.dumps(report.to_json()) if as_json else report_lines(report)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
