"""`reelgrid plan predict`: one generation on one or more kinds of GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelgrid.cli import options
from reelgrid.cli.output import say
from reelgrid.cli.plan.sources import HardwareFiles, Html, ModelFiles, read_facts
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.measurement import BenchRecord
    from reelgrid.plan.facts.hardware import Gpu
    from reelgrid.plan.facts.known import Facts
    from reelgrid.plan.prediction.observations import Observation
    from reelgrid.plan.prediction.predict import Prediction
    from reelgrid.plan.prediction.report import GpuPredictions
    from reelgrid.plan.prediction.workload import Workload


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    model: Annotated[
        str, typer.Option(help="Name of reelgrid plan models, of the catalogue, or a hub id.")
    ],
    gpu: Annotated[
        list[str], typer.Option(help="A GPU such as h100 or 4090; again for more; all for all.")
    ],
    size: options.Size = None,
    frames: options.Frames = None,
    steps: options.Steps = None,
    forwards: Annotated[
        int | None, typer.Option(help="Passes a step; 2 with guidance, 1 without.")
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Of the finished clip.")] = None,
    batch: Annotated[int, typer.Option(help="Clips or images made at once.")] = 1,
    num_gpus: Annotated[int, typer.Option("--gpus", help="GPUs that share one generation.")] = 1,
    kernel: Annotated[
        str | None, typer.Option(help="Attention: sdpa, fa2, fa3, cudnn, sage.")
    ] = None,
    software: Annotated[
        str | None, typer.Option(help="Serving software, such as diffusers, xdit, sglang.")
    ] = None,
    hardware_files: HardwareFiles = None,
    model_files: ModelFiles = None,
    measurements: Annotated[
        Path | None, typer.Option(help="Records of reelgrid bench; by default the user's own.")
    ] = None,
    latencies_file: Annotated[
        list[Path] | None,
        typer.Option(help="CSV of published latencies that override or add to the package's."),
    ] = None,
    as_json: options.Json = False,
    html: Html = None,
) -> None:
    """Predict seconds, memory, energy and cost of a generation, and say what that rests on."""
    from reelgrid.plan.facts.architectures import find_architecture
    from reelgrid.plan.prediction.workload import check_supported, workload_of
    from reelgrid.spec import Size

    facts = read_facts(hardware_files, model_files)
    workload = workload_of(
        find_architecture(model, facts.architectures),
        size=Size.parse(size) if size else None,
        num_frames=frames,
        num_steps=steps,
        forwards_per_step=forwards,
        fps=fps,
        num_images=batch,
    )
    check_supported(workload)
    records = _records(measurements) if measurements else facts.measurements
    asked = {
        "num_gpus": num_gpus,
        "kernel": kernel,
        "software": software,
        "measurements": records,
        "published": _published(latencies_file, facts),
    }
    answers = _answers(workload, _gpus(gpu, facts.hardware), asked)
    if html is not None:
        _write(html, workload, num_gpus, answers)
    _print(workload, num_gpus, answers, as_json=as_json)


def _published(files: list[Path] | None, facts: "Facts") -> "tuple[Observation, ...]":
    """Return published latencies: the package's, then the data folder's, then those of files."""
    from reelgrid.cli.options import read_settings
    from reelgrid.plan.facts import user_files
    from reelgrid.plan.prediction.observations import read_latencies

    extra = (*user_files(read_settings().data, "latencies.csv"), *(files or ()))
    return read_latencies(extra, facts.hardware, facts.architectures)


def _answers(
    workload: "Workload", gpus: "Sequence[Gpu]", asked: "Mapping[str, Any]"
) -> "GpuPredictions":
    """Return a prediction for each GPU; a single one that cannot hold it is refused."""
    from reelgrid.plan.prediction.predict import predict as foresee

    answers = [(gpu, foresee(workload, gpu, **asked)) for gpu in gpus]
    if len(answers) == 1:
        _refuse_misfit(workload, *answers[0])
    return answers


def _write(path: Path, workload: "Workload", num_gpus: int, answers: "GpuPredictions") -> None:
    import reelgrid
    from reelgrid.plan.prediction.report import write_prediction_page

    origin = f"reelgrid {reelgrid.__version__}: plan predict --model {workload.model.name}"
    write_prediction_page(path, workload, num_gpus, answers, origin)
    say(f"wrote {path}")


def _print(
    workload: "Workload", num_gpus: int, answers: "GpuPredictions", *, as_json: bool
) -> None:
    from reelgrid.cli.output import print_json, print_table
    from reelgrid.plan.prediction.report import comparison_table, prediction_table

    if as_json:
        for gpu, answer in answers:
            print_json(_to_json(workload, gpu, num_gpus, answer))
    elif len(answers) == 1:
        print_table(prediction_table(workload, answers[0][0], num_gpus, answers[0][1]))
    else:
        print_table(comparison_table(workload, num_gpus, answers))


def _records(path: Path) -> "tuple[BenchRecord, ...]":
    """Return the records of a file.

    Raises:
        RequestError: It cannot be read, or holds none.
    """
    from reelgrid.measurement import read_records

    records = read_records(path)
    if not records:
        raise RequestError(f"{path} holds no records of reelgrid bench")
    return records


def _gpus(names: list[str], hardware: "Mapping[str, Gpu]") -> "list[Gpu]":
    from reelgrid.plan.facts.hardware import find_gpu

    if names == ["all"]:
        return list(hardware.values())
    return [find_gpu(name, hardware) for name in names]


def _refuse_misfit(workload: "Workload", gpu: "Gpu", answer: "Prediction") -> None:
    """Refuse what fits in no way.

    Raises:
        RequestError: It does not fit.
    """
    memory = answer.memory
    if not memory.fits:
        raise RequestError(
            f"{workload.model.name} at {workload.size} x {workload.num_frames} does not fit on "
            f"{gpu.name}: {memory.total_gib:.1f} GiB needed even with weights on the host, "
            f"{memory.usable_gib:.1f} usable; take a larger GPU or fewer pixels or frames",
            param="gpu",
        )


def _to_json(
    workload: "Workload", gpu: "Gpu", num_gpus: int, answer: "Prediction"
) -> dict[str, Any]:
    return {
        "model": workload.model.name,
        "size": str(workload.size),
        "num_frames": workload.num_frames,
        "num_steps": workload.num_steps,
        "forwards_per_step": workload.forwards_per_step,
        "num_images": workload.num_images,
        "gpu": gpu.name,
        "num_gpus": num_gpus,
        "flops": workload.flops,
        **asdict(answer),
    }
