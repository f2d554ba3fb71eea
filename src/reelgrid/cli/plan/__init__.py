"""`reelgrid plan`: predictions and GPU planning, without PyTorch and without a network."""

from reelgrid.cli import options
from reelgrid.cli.plan import calibrate, demand, hardware, models, offers, predict, sora_report

plan = options.group("plan", "Predict time and cost, and how many GPUs a demand needs.")
plan.command("hardware")(hardware.hardware)
plan.command("models")(models.models)
plan.command("predict")(predict.predict)
plan.command("calibrate")(calibrate.calibrate)
plan.command("demand")(demand.demand)
plan.command("sora-report")(sora_report.sora_report)
plan.command("offers")(offers.offers)
