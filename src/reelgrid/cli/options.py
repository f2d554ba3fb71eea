"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, to stdout.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help=".mp4, .webm, .gif, .webp, .png, or a folder of frames; by default named by the prompt.",
    ),
]
Size = Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels, such as 832x480.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps.")]
Frames = Annotated[int | None, typer.Option(help="Number of frames.")]
Guidance = Annotated[float | None, typer.Option(help="Guidance scale; 1 is off.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same file.")]
