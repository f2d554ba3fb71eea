"""Generations in this process for `generate` and `resume`: loading, progress, Ctrl-C, report."""

import json
import shlex
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import typer

from reelgrid.cli.output import duration, print_text, rate, say
from reelgrid.cli.progress import ShowProgress, progress_shown
from reelgrid.startup import imports_without_collection

if TYPE_CHECKING:
    from reelgrid.engine.generation import Progress
    from reelgrid.local import RunReport
    from reelgrid.local.run import RunHooks
    from reelgrid.models.loading import LoadedModel
    from reelgrid.settings import Settings

_STOPPED = 130
_LINE_EVERY_S = 1.0


def load_and_report(name: str, device: str, dtype: str) -> "LoadedModel":
    """Return a loaded model, after printing its device, number format and notices to stderr."""
    with imports_without_collection():
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
    """Call `work` with its progress displayed and print its report.

    Raises:
        Exit: It was stopped; stderr says how to resume it.
    """
    from reelgrid.local import RunInterrupted
    from reelgrid.local.run import RunHooks

    try:
        with stop_on_signal() as is_stopped, progress_shown(lines_every_s=_LINE_EVERY_S) as show:
            report = work(
                RunHooks(
                    checkpoint_folder=settings.checkpoints,
                    on_progress=lambda progress: show_progress(show, progress),
                    should_stop=is_stopped,
                    checkpoint_every_s=settings.checkpoint_every_s,
                )
            )
    except RunInterrupted as stopped:
        checkpoint = shlex.quote(str(stopped.unfinished.checkpoint))
        say(f"saved; resume it with: reelgrid resume {checkpoint}")
        raise typer.Exit(_STOPPED) from None
    print_text(json.dumps(report.to_json()) if as_json else report_text(report))


class StopRequest:
    """Whether a signal has asked the generation to stop."""

    def __init__(self) -> None:
        self._is_made = False

    def __call__(self) -> bool:
        """Whether to stop; asked between steps."""
        return self._is_made

    def handle_signal(self, number: int, frame: FrameType | None) -> None:
        """Request the stop; at the second signal, stop at once."""
        if self._is_made:
            raise KeyboardInterrupt
        self._is_made = True
        say("stopping after this step; press Ctrl-C again to stop now without saving")


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Yield a request to stop that SIGINT and SIGTERM make while the block runs."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request.handle_signal) for number in signals]
    try:
        yield request
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def show_progress(show: ShowProgress, progress: "Progress") -> None:
    """Display the progress of a generation: step, seconds per step and time left."""
    note = f"done after {progress.elapsed_s:.2f} s"
    if progress.stage == "denoise":
        note = f"{progress.step}/{progress.num_steps}"
        if progress.step_s is not None:
            note += f", {progress.step_s:.3g} s per step"
        if progress.eta_s is not None:
            note += f", {duration(progress.eta_s)} left"
    show(progress.stage, progress.step, progress.num_steps, note)


def report_text(report: "RunReport") -> str:
    """Return the report of a finished file: path, request, seconds per stage, memory, rate."""
    request = report.request
    frames = (
        "1 frame"
        if request.is_image
        else f"{request.num_frames} frames at {request.fps:g} fps, {request.clip_s:.2f} s"
    )
    lines = [
        str(report.output),
        f"  {request.size}, {frames}, seed {request.seed}; {report.model} on {report.device}, "
        f"{report.dtype}",
        f"  load {duration(report.load_s)}, encode {report.encode_s:.2f} s, "
        f"denoise {duration(report.denoise_s)} ({request.num_steps} steps, {report.step_s:.3g} s "
        f"each), decode {report.decode_s:.2f} s, write {report.write_s:.2f} s",
        f"  peak memory {report.peak_memory_gib:.2f} GiB",
    ]
    if not request.is_image:
        lines[-1] += f"; {rate(report.minutes_per_gpu_hour)} minutes of video per GPU-hour"
        if report.device == "cpu":
            lines[-1] += " (on this CPU: per machine-hour)"
    return "\n".join(lines)
