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
plan.command("hardware")(hardware.hardware)
plan.command("models")(models.models)
plan.command("predict")(predict.predict)
plan.command("calibrate")(calibrate.calibrate)
plan.command("demand")(demand.demand)
plan.command("sora-report")(sora_report.sora_report)
plan.command("offers")(offers.offers)
