"""`reelgrid plan models`: the known architectures, and FLOPs and memory of a default clip."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from reelgrid.cli import options
from reelgrid.cli.output import print_json, print_table
from reelgrid.cli.plan.sources import ModelFiles, read_facts
from reelgrid.report.table import Cell, Column, Table

if TYPE_CHECKING:
    from reelgrid.plan.facts.architectures import Architecture


def models(model_files: ModelFiles = None, as_json: options.Json = False) -> None:
    """List the models with shape, FLOPs and memory.

    FLOPs and memory are those of the default clip. `--json` adds the sources.
    """
    known_models = read_facts(None, model_files).architectures.values()
    if as_json:
        for model in known_models:
            print_json(_to_json(model))
        return
    print_table(_table(known_models))


def _table(models: "Iterable[Architecture]") -> Table:
    columns = (
        "model", "makes", Column(title="network", unit="B"), "layers", "width", "attention",
        "default", "steps", "forwards per step", "tokens", Column(title="FLOPs", unit="PFLOP"),
        Column(title="all weights", unit="GiB"), Column(title="activations", unit="GiB"), "date",
    )  # fmt: skip
    note = (
        "FLOPs of the denoising network over all steps of the default clip, a multiply-add counted "
        "as two; memory in 16 bits. To describe a model of your own: docs/predict.md."
    )
    return Table(title="Models", columns=columns, rows=[_row(each) for each in models], note=note)


def _row(model: "Architecture") -> tuple[Cell, ...]:
    from reelgrid.plan.prediction.memory import activations_gib
    from reelgrid.plan.prediction.workload import workload_of
    from reelgrid.units import GIB

    workload = workload_of(model)
    clip = f" x {model.frames}" if model.kind == "video" else ""
    return (
        model.name, model.kind, model.params_b, model.layers, model.width, model.attention,
        f"{model.size}{clip}", model.steps, model.forwards_per_step,
        model.video_tokens(model.size, model.frames), workload.flops / 1e15,
        model.weight_bytes / GIB, activations_gib(workload), model.date,
    )  # fmt: skip


def _to_json(model: "Architecture") -> dict[str, Any]:
    from reelgrid.plan.prediction.workload import workload_of

    values = asdict(model)
    counts = {f"num_{name}": values.pop(name) for name in ("frames", "steps")}
    return {
        **values,
        **counts,
        "size": str(model.size),
        "weights_per_token": model.weights_per_token,
        "flops": workload_of(model).flops,
    }
