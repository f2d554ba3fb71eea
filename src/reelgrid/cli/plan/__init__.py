"""`reelgrid plan`: predictions and GPU planning, without PyTorch and without a network."""

import typer

from reelgrid.cli.plan import calibrate, demand, hardware, models, offers, predict, sora_report

plan = typer.Typer(
    name="plan",
    help="Predict time, memory, energy and cost; compute how many GPUs a demand needs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
hardware.register(plan)
models.register(plan)
predict.register(plan)
calibrate.register(plan)
demand.register(plan)
sora_report.register(plan)
offers.register(plan)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(plan)
