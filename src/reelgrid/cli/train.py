"""`reelgrid train` and `reelgrid evaluate`: train the embedded model, measure prompt adherence."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.train.evaluation import Score

MAX_MINUTES = 100_000
MAX_PROMPTS = 100_000
_SAY_EVERY = 50


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of `reelgrid train`."""

    what: Annotated[Literal["embedded"], typer.Argument(help="Model to train.")]
    minutes: Annotated[
        float, typer.Option(help="Time budget, over all runs on the same folder.")
    ] = 120.0
    folder: Annotated[Path, typer.Option(help="Folder of the run; a second call resumes it.")] = (
        Path("runs/embedded")
    )
    clips: Annotated[int, typer.Option(help="Number of training clips.")] = 40_000
    device: Annotated[str, typer.Option(help="Device to compute on: cpu or cuda.")] = "cpu"
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0

    def __post_init__(self) -> None:
        is_in_time = 0 < self.minutes <= MAX_MINUTES
        _check(is_in_time, "minutes", self.minutes, f"above 0, up to {MAX_MINUTES:,}")
        _check(self.clips >= 1, "clips", self.clips, "at least 1")


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """Options of `reelgrid evaluate`."""

    model: Annotated[
        str, typer.Argument(help="Name in the catalogue, Hugging Face id, or local folder.")
    ] = "embedded"
    task: Annotated[
        Literal["video", "image", "first-frame"], typer.Option(help="What to generate.")
    ] = "video"
    prompts: Annotated[int, typer.Option(help="Number of prompts, all of unseen kinds.")] = 500
    steps: options.Steps = None
    guidance_scale: options.GuidanceScale = None
    seed: Annotated[int, typer.Option(help="Seed of prompts and noise.")] = 0
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    as_json: options.Json = False

    def __post_init__(self) -> None:
        is_number = 1 <= self.prompts <= MAX_PROMPTS
        _check(is_number, "prompts", self.prompts, f"1 to {MAX_PROMPTS:,}")


@options.from_fields(TrainOptions)
def train(given: TrainOptions) -> None:
    """Train the embedded model from scratch.

    The codec is trained first, then the transformer with its text encoder.
    """
    from reelgrid.models.placement import choose_device
    from reelgrid.train.embedded import train_embedded

    lines = train_embedded(
        given.folder,
        minutes=given.minutes,
        device=str(choose_device(given.device)),
        num_clips=given.clips,
        seed=given.seed,
    )
    for line in lines:
        say(line)


@options.from_fields(EvaluateOptions)
def evaluate(given: EvaluateOptions) -> None:
    """Print how often a model shows what its prompts say.

    Colour, shape, motion and scene are measured.
    """
    from reelgrid.cli.local_run import load_and_report
    from reelgrid.train import evaluation

    scores = evaluation.evaluate(
        load_and_report(given.model, given.device, given.dtype),
        task=given.task,
        num_prompts=given.prompts,
        seed=given.seed,
        num_steps=given.steps,
        guidance_scale=given.guidance_scale,
        on_clip=lambda done: None if done % _SAY_EVERY else say(f"{done} of {given.prompts}"),
    )
    for score in scores:
        _print_score(score, as_json=given.as_json)


def _print_score(score: "Score", *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(score))
        return
    sys.stdout.write(f"{score.name:8} {score.share:.3f}  [{score.low:.3f}, {score.high:.3f}]\n")


def _check(is_valid: bool, name: str, value: float, expected: str) -> None:
    if not is_valid:
        raise RequestError(f"{name} {value} is out of range: {expected}", param=name)
