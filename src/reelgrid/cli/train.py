"""`reelgrid train` and `reelgrid evaluate`: the embedded model, made and measured."""

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, say
from reelgrid.errors import RequestError

MAX_MINUTES = 100_000
MAX_PROMPTS = 100_000


class Trainable(StrEnum):
    """What there is to train."""

    EMBEDDED = "embedded"


class Task(StrEnum):
    """What is to be made of the prompts."""

    VIDEO = "video"
    IMAGE = "image"
    FIRST_FRAME = "first-frame"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("train")(train)
    app.command("evaluate")(evaluate)


def train(
    what: Annotated[Trainable, typer.Argument(help="Which model.")],
    minutes: Annotated[
        float, typer.Option(help="Time budget, over all runs on the same folder.")
    ] = 120.0,
    folder: Annotated[
        Path, typer.Option(help="Where the run lives; a second call goes on from there.")
    ] = Path("runs/embedded"),
    clips: Annotated[int, typer.Option(help="Clips to draw and learn from.")] = 40_000,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Train the embedded model from nothing: codec, then transformer with text encoder."""
    del what
    if not 0 < minutes <= MAX_MINUTES:
        raise RequestError(f"minutes {minutes} is out of range: up to {MAX_MINUTES:,}")
    if clips < 1:
        raise RequestError(f"clips {clips} is out of range: at least 1")

    from reelgrid.models.placement import choose_device
    from reelgrid.train.embedded import train_embedded

    where = str(choose_device(device))
    for line in train_embedded(folder, minutes=minutes, device=where, num_clips=clips, seed=seed):
        say(line)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="Catalogue name, hub id, or local folder.")
    ] = "embedded",
    task: Annotated[Task, typer.Option(help="What to make.")] = Task.VIDEO,
    prompts: Annotated[int, typer.Option(help="How many unseen combinations.")] = 500,
    steps: options.Steps = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 is off.")] = None,
    seed: Annotated[int, typer.Option(help="Of prompts and noise.")] = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Print how often a model shows the colour, shape, motion and scene that it was asked for."""
    if not 1 <= prompts <= MAX_PROMPTS:
        raise RequestError(f"prompts {prompts} is out of range: 1 to {MAX_PROMPTS:,}")

    from reelgrid.cli.local_run import load_and_report
    from reelgrid.train import evaluation

    def tell(number: int) -> None:
        if number % 50 == 0:
            say(f"{number} of {prompts}")

    scores = evaluation.evaluate(
        load_and_report(model, device, dtype),
        task=task.value,
        num_prompts=prompts,
        seed=seed,
        num_steps=steps,
        guidance_scale=guidance,
        on_clip=tell,
    )
    for score in scores:
        if as_json:
            print_json(asdict(score))
            continue
        sys.stdout.write(f"{score.name:8} {score.share:.3f}  [{score.low:.3f}, {score.high:.3f}]\n")
