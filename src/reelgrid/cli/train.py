"""`reelgrid train` and `reelgrid evaluate`: train the embedded model, measure prompt adherence."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, say
from reelgrid.errors import RequestError

MAX_MINUTES = 100_000
MAX_PROMPTS = 100_000
_SAY_EVERY = 50


def train(
    what: Annotated[Literal["embedded"], typer.Argument(help="Model to train.")],
    minutes: Annotated[
        float, typer.Option(help="Time budget, over all runs on the same folder.")
    ] = 120.0,
    folder: Annotated[
        Path, typer.Option(help="Folder of the run; a second call resumes it.")
    ] = Path("runs/embedded"),
    clips: Annotated[int, typer.Option(help="Number of training clips.")] = 40_000,
    device: Annotated[str, typer.Option(help="Device to compute on: cpu or cuda.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 0,
) -> None:
    """Train the embedded model from scratch.

    The codec is trained first, then the transformer with its text encoder.
    """
    del what
    _check(0 < minutes <= MAX_MINUTES, "minutes", minutes, f"above 0, up to {MAX_MINUTES:,}")
    _check(clips >= 1, "clips", clips, "at least 1")

    from reelgrid.models.placement import choose_device
    from reelgrid.train.embedded import train_embedded

    where = str(choose_device(device))
    for line in train_embedded(folder, minutes=minutes, device=where, num_clips=clips, seed=seed):
        say(line)


def evaluate(
    model: Annotated[
        str, typer.Argument(help="Name in the catalogue, Hugging Face id, or local folder.")
    ] = "embedded",
    task: Annotated[
        Literal["video", "image", "first-frame"], typer.Option(help="What to generate.")
    ] = "video",
    prompts: Annotated[int, typer.Option(help="Number of prompts, all of unseen kinds.")] = 500,
    steps: options.Steps = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale; 1 is off.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of prompts and noise.")] = 0,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    as_json: options.Json = False,
) -> None:
    """Print how often a model shows what its prompts say.

    Colour, shape, motion and scene are measured.
    """
    _check(1 <= prompts <= MAX_PROMPTS, "prompts", prompts, f"1 to {MAX_PROMPTS:,}")

    from reelgrid.cli.local_run import load_and_report
    from reelgrid.train import evaluation

    scores = evaluation.evaluate(
        load_and_report(model, device, dtype),
        task=task,
        num_prompts=prompts,
        seed=seed,
        num_steps=steps,
        guidance_scale=guidance,
        on_clip=lambda done: None if done % _SAY_EVERY else say(f"{done} of {prompts}"),
    )
    for score in scores:
        if as_json:
            print_json(asdict(score))
            continue
        sys.stdout.write(f"{score.name:8} {score.share:.3f}  [{score.low:.3f}, {score.high:.3f}]\n")


def _check(is_valid: bool, name: str, value: float, expected: str) -> None:
    if not is_valid:
        raise RequestError(f"{name} {value} is out of range: {expected}", param=name)
