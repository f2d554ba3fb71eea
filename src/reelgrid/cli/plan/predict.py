"""`reelgrid plan predict`: one generation on one or more kinds of GPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, print_table
from reelgrid.cli.plan import sources
from reelgrid.cli.plan.show import write_html

if TYPE_CHECKING:
    from reelgrid.plan.facts.known import Facts
    from reelgrid.plan.prediction.report import GpuPredictions
    from reelgrid.plan.prediction.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """Options of the command."""

    model: Annotated[
        str, typer.Option(help="Name of reelgrid plan models, of the catalogue, or a hub id.")
    ]
    gpu: Annotated[
        list[str],
        typer.Option(
            help="A GPU such as h100 or 4090. Repeat it for several; all means every one."
        ),
    ]
    size: options.Size = None
    frames: options.Frames = None
    steps: options.Steps = None
    forwards: Annotated[
        int | None, typer.Option(help="Passes per step: 2 with guidance, 1 without.")
    ] = None
    fps: Annotated[float | None, typer.Option(help="Frames per second of the clip.")] = None
    batch: Annotated[int, typer.Option(help="Clips or images generated together.")] = 1
    num_gpus: Annotated[int, typer.Option("--gpus", help="GPUs that share one generation.")] = 1
    kernel: Annotated[
        str | None, typer.Option(help="Attention kernel: sdpa, fa2, fa3, cudnn, sage.")
    ] = None
    software: Annotated[
        str | None, typer.Option(help="Serving software, such as diffusers, xdit, sglang.")
    ] = None
    hardware_files: sources.HardwareFiles = None
    model_files: sources.ModelFiles = None
    measurements: sources.Measurements = None
    latencies_file: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of published latencies that override or add to the package's."),
    ] = None
    as_json: options.Json = False
    html: sources.Html = None


@options.from_fields(PredictOptions)
def predict(given: PredictOptions) -> None:
    """Predict time, memory, energy and cost of a generation.

    The answer names its sources.
    """
    import reelgrid
    from reelgrid.plan.prediction.predict import check_fits
    from reelgrid.plan.prediction.report import prediction_page

    facts = sources.read_facts(given.hardware_files, given.model_files, given.measurements)
    workload = _workload(given, facts)
    answers = _predictions(given, facts, workload)
    if len(answers) == 1:
        check_fits(workload, *answers[0])
    origin = f"reelgrid {reelgrid.__version__}: plan predict --model {workload.model.name}"
    write_html(given.html, prediction_page(workload, given.num_gpus, answers), origin)
    _print(workload, given.num_gpus, answers, as_json=given.as_json)


def _workload(given: PredictOptions, facts: "Facts") -> "Workload":
    from reelgrid.plan.facts.architectures import find_architecture
    from reelgrid.plan.prediction.workload import check_supported, workload_of
    from reelgrid.spec import Size

    workload = workload_of(
        find_architecture(given.model, facts.architectures),
        size=Size.parse(given.size) if given.size else None,
        num_frames=given.frames,
        num_steps=given.steps,
        forwards_per_step=given.forwards,
        fps=given.fps,
        num_images=given.batch,
    )
    check_supported(workload)
    return workload


def _predictions(given: PredictOptions, facts: "Facts", workload: "Workload") -> "GpuPredictions":
    from reelgrid.plan.facts import user_files
    from reelgrid.plan.facts.hardware import find_gpu
    from reelgrid.plan.prediction import predict as prediction
    from reelgrid.plan.prediction.calibration import read_calibration
    from reelgrid.plan.prediction.observations import read_latencies

    data = options.read_settings().data
    latencies = user_files(data, "latencies.csv", given.latencies_file)
    published = read_latencies(latencies, facts.hardware, facts.architectures)
    names = list(facts.hardware) if given.gpu == ["all"] else given.gpu
    gpus = [find_gpu(name, facts.hardware) for name in names]
    return [
        (
            gpu,
            prediction.predict(
                workload,
                gpu,
                num_gpus=given.num_gpus,
                kernel=given.kernel,
                software=given.software,
                measurements=facts.measurements,
                published=published,
                calibration=read_calibration(facts.calibration_file),
            ),
        )
        for gpu in gpus
    ]


def _print(
    workload: "Workload", num_gpus: int, answers: "GpuPredictions", *, as_json: bool
) -> None:
    from reelgrid.plan.prediction import report

    if as_json:
        for gpu, answer in answers:
            print_json(report.as_json(workload, gpu, num_gpus, answer))
    elif len(answers) == 1:
        print_table(report.prediction_table(workload, answers[0][0], num_gpus, answers[0][1]))
    else:
        print_table(report.comparison_table(workload, num_gpus, answers))
