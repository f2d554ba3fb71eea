"""`reelgrid plan hardware`: the known GPUs, with sources and dates."""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, print_table
from reelgrid.cli.plan.sources import HardwareFiles, read_facts
from reelgrid.report.table import Column, Table

if TYPE_CHECKING:
    from reelgrid.plan.facts.hardware import Gpu
    from reelgrid.plan.facts.rental import Churn, Price


T = TypeVar("T")


def hardware(
    prices: Annotated[
        bool, typer.Option("--prices", help="List prices by provider instead.")
    ] = False,
    churn: Annotated[
        bool, typer.Option("--churn", help="List loss and start-up rates of rented GPUs instead.")
    ] = False,
    hardware_files: HardwareFiles = None,
    as_json: options.Json = False,
) -> None:
    """List the GPUs with rates, memory, power and prices.

    Rates are dense, without sparsity. `--json` adds the sources.
    """
    from reelgrid.plan.facts import user_files
    from reelgrid.plan.facts.rental import read_churn, read_prices

    data = options.read_settings().data
    if prices:
        _show(read_prices(user_files(data, "prices.csv", None)), _price_table, as_json)
    elif churn:
        _show(read_churn(user_files(data, "churn.csv", None)).values(), _churn_table, as_json)
    else:
        _show(read_facts(hardware_files, None).hardware.values(), _table, as_json)


def _show(rows: Iterable[T], table: Callable[[Iterable[T]], Table], as_json: bool) -> None:
    if not as_json:
        print_table(table(rows))
    for row in rows if as_json else ():
        print_json(asdict(row))  # type: ignore[call-overload]  # every row is a dataclass


def _price_table(prices: "Iterable[Price]") -> Table:
    columns = ("GPU", "provider", "terms", Column(title="price", unit="$/h"), "source", "date")
    rows = [
        (each.gpu, each.provider, each.terms, each.usd_per_h, each.source, each.date)
        for each in prices
    ]
    return Table(title="Prices of one GPU", columns=columns, rows=rows)


def _churn_table(churn: "Iterable[Churn]") -> Table:
    columns = (
        "supply", Column(title="losses", unit="1/h"), "Weibull shape",
        Column(title="Weibull scale", unit="h"), Column(title="notice", unit="s"),
        Column(title="start-up median", unit="s"), "start-up sigma", "note", "source", "date",
    )  # fmt: skip
    rows = [
        (
            each.name, each.hazard_per_h, each.weibull_shape, each.weibull_scale_h, each.notice_s,
            each.startup_median_s, each.startup_sigma, each.note, each.source, each.date,
        )
        for each in churn
    ]  # fmt: skip
    return Table(title="Losses and start-up of rented GPUs", columns=columns, rows=rows)


def _table(gpus: "Iterable[Gpu]") -> Table:
    columns = (
        "GPU", "class", "generation",
        Column(title="bf16", unit="TFLOP/s", digits=4), Column(title="fp8", unit="TFLOP/s", digits=4),
        Column(title="best matmul", unit="TFLOP/s", digits=4), Column(title="memory", unit="GB"),
        Column(title="bandwidth", unit="GB/s", digits=4), Column(title="link", unit="GB/s"),
        Column(title="power", unit="W"), Column(title="price", unit="$/h"), "date",
    )  # fmt: skip
    rows = [
        (
            gpu.name, gpu.kind, gpu.generation, gpu.bf16_dense_tflops, gpu.fp8_dense_tflops,
            gpu.best_measured_matmul_tflops, gpu.memory_gb, gpu.bandwidth_gb_per_s,
            gpu.link_gb_per_s, gpu.tdp_w, _price(gpu), gpu.date,
        )
        for gpu in gpus
    ]  # fmt: skip
    note = (
        "Matrix rates without sparsity, 32-bit accumulation. --json adds fp16 rates and sources. "
        "Prices are public ones of a rented GPU-hour; override them with your own (--hardware-file)."
    )
    return Table(title="GPUs", columns=columns, rows=rows, note=note)


def _price(gpu: "Gpu") -> tuple[float, float] | None:
    if gpu.usd_per_h_low is None or gpu.usd_per_h_high is None:
        return None
    return gpu.usd_per_h_low, gpu.usd_per_h_high
