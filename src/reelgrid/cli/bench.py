"""`reelgrid bench`: measure the stages of a model on this machine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid import catalog
from reelgrid.cli import options
from reelgrid.cli.local_run import load_and_report
from reelgrid.cli.output import print_text, rate, say
from reelgrid.errors import RequestError
from reelgrid.spec import Request, Size

if TYPE_CHECKING:
    from reelgrid.measurement import BenchRecord

MAX_RUNS = 1_000
_PROMPT = "a red ball rolls to the right"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """Options of `reelgrid bench`."""

    model: Annotated[
        str, typer.Argument(help="Name in the catalogue, Hugging Face id, or local folder.")
    ] = "embedded"
    size: Annotated[
        list[str] | None,
        typer.Option(
            help="Width and height in pixels, for example 832x480. Give the option again for "
            "more sizes."
        ),
    ] = None
    frames: options.Frames = None
    steps: options.Steps = None
    runs: Annotated[
        int, typer.Option(help="Number of generations at each size; the first is a cold start.")
    ] = 3
    prompt: Annotated[str, typer.Option(help="What the clip shows.")] = _PROMPT
    first_frame: options.FirstFrame = None
    output: Annotated[
        Path | None,
        typer.Option(help="File to append records to. By default bench.jsonl in the data folder."),
    ] = None
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    as_json: options.Json = False

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MAX_RUNS:
            raise RequestError(f"runs {self.runs} is out of range: 1 to {MAX_RUNS:,}", param="runs")

    def requests(self) -> Iterator[Request]:
        """Yield a request for each size.

        Raises:
            RequestError: The model cannot carry one out.
        """
        card = catalog.find(self.model)
        for text in self.size or [""]:
            request = Request(
                prompt=self.prompt,
                size=Size.parse(text) if text else None,
                num_frames=self.frames,
                num_steps=self.steps,
                first_frame=self.first_frame,
            )
            if card is not None:
                card.complete(request)
            yield request


@options.from_fields(BenchOptions)
def bench(chosen: BenchOptions) -> None:
    """Measure the speed and memory of a model on this machine.

    Loading, text encoding, steps and decoding are timed separately. Each run appends a dated record to a file of JSON lines, from which `reelgrid plan` predicts.
    """
    requests = list(chosen.requests())
    settings = options.read_settings()
    target = _checked(chosen.output) if chosen.output else settings.measurements

    from reelgrid.local.benchmark import measure
    from reelgrid.measurement import append_records

    model = load_and_report(chosen.model, chosen.device, chosen.dtype)
    for request in requests:
        for record in measure(model, request, chosen.runs):
            append_records(target, [record])
            print_text(record.to_json() if chosen.as_json else _text(record))
    say(f"appended to {target}")


def _checked(path: Path) -> Path:
    """Return a file after checking that records can be appended to it.

    Raises:
        RequestError: It is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise RequestError(f"{path} is a folder: give a file to append to", param="output")
    if not path.parent.is_dir():
        raise RequestError(f"there is no folder {path.parent}: make it first", param="output")
    return path


def _text(record: "BenchRecord") -> str:
    step_s = record.denoise_s / record.num_steps
    return (
        f"{record.width}x{record.height}x{record.num_frames} run {record.run}/{record.num_runs}: "
        f"load {record.load_s:.2f} s, text {record.encode_s:.3f} s, step {step_s:.4g} s "
        f"x {record.num_steps}, decode {record.decode_s:.3f} s, "
        f"peak {record.peak_memory_gib:.2f} GiB, "
        f"{rate(record.minutes_per_gpu_hour)} minutes of video per GPU-hour"
    )
