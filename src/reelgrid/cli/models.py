"""`reelgrid models`: list the models of the catalogue."""

from collections.abc import Iterable
from dataclasses import asdict

from reelgrid import catalog
from reelgrid.catalog import ModelCard
from reelgrid.cli import options
from reelgrid.cli.output import print_json, print_table
from reelgrid.report.table import Table


def models(as_json: options.Json = False) -> None:
    """List the models of the catalogue.

    Other diffusers repositories and folders also run.
    """
    cards = catalog.all_models()
    if as_json:
        for card in cards:
            print_json(_to_json(card))
    else:
        print_table(_table(cards))


def _table(cards: Iterable[ModelCard]) -> Table:
    columns = (
        "name", "makes", "memory", "default", "steps", "guidance", "sizes", "frames",
        "first frame", "licence", "repository",
    )  # fmt: skip
    note = (
        "Memory: bf16, everything on the GPU, at the default size, estimated from the number of "
        "parameters. A star marks values that were not checked against the model's own card. "
        "n stands for any integer. All fields and their sources: reelgrid models --json"
    )
    return Table(title="Models", columns=columns, rows=[_row(card) for card in cards], note=note)


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
        "default only" if card.allowed_sizes else f"{card.size_multiple}n",
        _frames_rule(card),
        _first_frame(card),
        marked("licence", card.licence),
        card.repository or "part of the package",
    )


def _frames_rule(card: ModelCard) -> str:
    if card.kind == "image":
        return "1"
    if card.allowed_frames:
        return ", ".join(str(number) for number in card.allowed_frames)
    return f"{card.frames_multiple}n+1"


def _first_frame(card: ModelCard) -> str:
    if card.needs_first_frame:
        return "required"
    return "yes" if card.can_first_frame else "no"


def _to_json(card: ModelCard) -> dict[str, object]:
    fields = asdict(card)
    fields["default"]["size"] = str(card.default.size)
    fields["allowed_sizes"] = card.allowed_sizes and [str(size) for size in card.allowed_sizes]
    return fields
