"""`reelgrid bench`: measure the stages of a model on this machine."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid import catalog
from reelgrid.cli import options
from reelgrid.cli.local_run import load_and_report
from reelgrid.cli.options import read_settings
from reelgrid.cli.output import rate, say
from reelgrid.errors import RequestError
from reelgrid.spec import Request, Size

if TYPE_CHECKING:
    from reelgrid.measurement import BenchRecord

MAX_RUNS = 1_000
_PROMPT = "a red ball rolls to the right"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("bench")(bench)


def bench(
    model: Annotated[
        str, typer.Argument(help="Catalogue name, hub id, or local folder.")
    ] = "embedded",
    size: Annotated[
        list[str] | None, typer.Option(help="WIDTHxHEIGHT; give it again for more sizes.")
    ] = None,
    frames: options.Frames = None,
    steps: options.Steps = None,
    runs: Annotated[int, typer.Option(help="Generations at each size; the first is cold.")] = 3,
    prompt: Annotated[str, typer.Option(help="What to generate.")] = _PROMPT,
    first_frame: Annotated[
        Path | None, typer.Option("--first-frame", help="Image file that the clip begins with.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to append to; by default the user's own.")
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Measure loading, text, steps, decoding and memory; append dated records as JSON lines."""
    if not 1 <= runs <= MAX_RUNS:
        raise RequestError(f"runs {runs} is out of range: 1 to {MAX_RUNS:,}", param="runs")
    requests = [
        Request(
            prompt=prompt,
            size=Size.parse(text) if text else None,
            num_frames=frames,
            num_steps=steps,
            first_frame=first_frame,
        )
        for text in (size or [""])
    ]
    card = catalog.find(model)
    for request in requests if card else ():
        card.complete(request)  # type: ignore[union-attr]  # the loop is empty without a card
    settings = read_settings()
    if output is not None:
        _check_target(output)
    target = output or settings.measurements

    from reelgrid.local.benchmark import measure
    from reelgrid.measurement import append_records

    loaded = load_and_report(model, device, dtype)
    for request in requests:
        for record in measure(loaded, request, runs):
            append_records(target, [record])
            _print(record, as_json=as_json)
    say(f"appended to {target}")


def _check_target(path: Path) -> None:
    """Refuse a file that records cannot be appended to, before anything is measured."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder: give a file to append to", param="output")
    if not path.parent.is_dir():
        raise RequestError(f"there is no folder {path.parent}: make it first", param="output")


def _print(record: "BenchRecord", *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(record.to_json() + "\n")
        return
    step_s = record.denoise_s / record.num_steps
    sys.stdout.write(
        f"{record.width}x{record.height}x{record.num_frames} run {record.run}/{record.num_runs}: "
        f"load {record.load_s:.2f} s, text {record.encode_s:.3f} s, step {step_s:.4g} s "
        f"x {record.num_steps}, decode {record.decode_s:.3f} s, "
        f"peak {record.peak_memory_gib:.2f} GiB, "
        f"{rate(record.minutes_per_gpu_hour)} minutes of video per GPU-hour\n"
    )
