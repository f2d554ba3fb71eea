"""`reelgrid models`: the catalogue."""

import json
import shutil
import sys
from dataclasses import asdict

import typer

from reelgrid import catalog
from reelgrid.catalog import ModelCard
from reelgrid.cli import options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models)


def models(as_json: options.Json = False) -> None:
    """List the models known by name; any other diffusers repository or folder runs too."""
    cards = catalog.all_models()
    if as_json:
        for card in cards:
            sys.stdout.write(json.dumps(_to_json(card)) + "\n")
        return
    rows = [_HEADER, *(_row(card) for card in cards)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADER))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(cells)[: _width()].rstrip() + "\n")
    sys.stdout.write(_NOTE)


def _width() -> int | None:
    """Return the columns of a terminal; elsewhere lines may be as long as they are."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


_NOTE = """
Memory: bf16, everything on the GPU, at the default size, estimated from the number of parameters.
A star marks what was not checked against the model's own card. Sizes and frames are multiples (n).
Everything, with sources: reelgrid models --json
"""


_HEADER = (
    "name", "makes", "memory", "default", "steps", "guidance", "sizes", "frames", "first frame",
    "licence", "repository",
)  # fmt: skip


def _row(card: ModelCard) -> tuple[str, ...]:
    default = card.default

    def marked(field: str, text: str) -> str:
        return text + "*" if field in card.unverified else text

    length = f", {default.num_frames} at {default.fps:g} fps" if card.kind == "video" else ""
    return (
        card.name,
        card.kind,
        marked("params_b", f"~{card.memory_gib:.3g} GiB"),
        marked("default", f"{default.size}{length}"),
        str(default.num_steps),
        f"{default.guidance_scale:g}",
        "this one" if card.allowed_sizes else f"{card.size_multiple}n",
        _frames_rule(card),
        _first_frame(card),
        marked("licence", card.licence),
        card.repository or "in the package",
    )


def _frames_rule(card: ModelCard) -> str:
    if card.kind == "image":
        return "1"
    if card.allowed_frames:
        return ", ".join(str(number) for number in card.allowed_frames)
    return f"{card.frames_multiple}n+1"


def _first_frame(card: ModelCard) -> str:
    if card.needs_first_frame:
        return "needed"
    return "yes" if card.can_first_frame else "no"


def _to_json(card: ModelCard) -> dict[str, object]:
    fields = asdict(card)
    fields["default"]["size"] = str(card.default.size)
    fields["allowed_sizes"] = card.allowed_sizes and [str(size) for size in card.allowed_sizes]
    return fields
