"""What generate and resume have in common: settings, loading aloud, watching, printing.

Ctrl-C and a polite kill: finish the step, save, leave; the second one leaves without saving.
"""

import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

from reelgrid.cli.output import progress_shown, report_lines, say


class StopRequest:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self.is_made = False

    def __call__(self) -> bool:
        """Whether it is time to stop; to be asked between steps."""
        return self.is_made

    def make(self, number: int, frame: FrameType | None) -> None:
        """Note the wish; as a signal handler."""
        if self.is_made:
            raise KeyboardInterrupt
        self.is_made = True
        say("stopping after this step; once more stops at once, without saving")


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Yield a wish that SIGINT and SIGTERM make, while the block runs.

    Yields:
        The wish.
    """
    wish = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, wish.make) for number in signals]
    try:
        yield wish
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


if TYPE_CHECKING:
    from reelgrid.local import RunReport
    from reelgrid.local.run import RunHooks
    from reelgrid.models.loading import LoadedModel
    from reelgrid.settings import Settings

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


def load_and_report(name: str, device: str, dtype: str) -> "LoadedModel":
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


def run_with_progress(
    settings: "Settings", work: "Callable[[RunHooks], RunReport]", *, as_json: bool
) -> None:
    """Do `local_run` with progress shown and its report printed; when stopped, say how to go on.

    Raises:
        Exit: It was stopped.
    """
    from reelgrid.local import RunInterrupted
    from reelgrid.local.run import RunHooks

    try:
        with stop_on_signal() as wish, progress_shown() as listener:
            report = work(
                RunHooks(
                    states=settings.checkpoints,
                    on_progress=listener,
                    should_stop=wish,
                    checkpoint_every_s=settings.checkpoint_every_s,
                )
            )
    except RunInterrupted as stopped:
        say(f"saved; go on with: reelgrid resume {shlex.quote(str(stopped.unfinished.checkpoint))}")
        raise typer.Exit(_STOPPED) from None
    print_report(report, as_json=as_json)


def print_report(report: "RunReport", *, as_json: bool) -> None:
    """Print the account of a finished file to stdout."""
    text = json.dumps(report.to_json()) if as_json else report_lines(report)
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
