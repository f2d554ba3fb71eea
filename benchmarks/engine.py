"""The engine's speed compared with diffusers' own pipeline, and the cost of a checkpoint.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/engine.py [--runs 15] [--threads 2] [--write]

The `reelgrid` command sets the same variable. Both sides have the same weights, steps and
precision and alternate in one process; the median counts. `--write` writes the result to
`benchmarks/results/` under today's date.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from diffusers.utils import logging

import reelgrid
from reelgrid.engine.generation import Generation
from reelgrid.engine.pipeline_io import frames_of, pipeline_inputs, set_guidance
from reelgrid.engine.stepped_pipeline import own_components
from reelgrid.measurement import processor_name
from reelgrid.models.loading import LoadedModel, load_model
from reelgrid.spec import Request, Size

RESULTS = Path(__file__).parent / "results"
CHECKPOINT_EVERY_S = 5.0


def run_diffusers(model: LoadedModel, vae: torch.nn.Module, request: Request) -> None:
    """One call of diffusers' pipeline, with its codec as it was loaded."""
    complete = model.card.complete(request)
    pipeline = own_components(model.pipeline)
    pipeline.vae = vae
    set_guidance(pipeline, model, complete)
    frames_of(pipeline(**pipeline_inputs(model, complete)).values)


def run_ours(model: LoadedModel, request: Request, *, exact: bool = False) -> Generation:
    generation = Generation(model, request, exact=exact)
    for _ in generation:
        pass
    return generation


def timed_s(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compare(model: LoadedModel, request: Request, num_runs: int) -> dict[str, object]:
    vae = copy.deepcopy(model.pipeline.vae)
    for weight in vae.parameters():
        weight.data = weight.data.contiguous()
    sides: dict[str, Callable[[], object]] = {
        "diffusers": lambda: run_diffusers(model, vae, request),
        "ours": lambda: run_ours(model, request),
        "ours_exact": lambda: run_ours(model, request, exact=True),
    }
    for action in sides.values():
        action()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(num_runs):
        for name, action in sides.items():
            times[name].append(timed_s(action))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "median_s": medians,
        "fastest_s": {name: min(values) for name, values in times.items()},
        "ours_over_diffusers": medians["ours"] / medians["diffusers"],
        "exact_over_diffusers": medians["ours_exact"] / medians["diffusers"],
    }


def measure_checkpoints(
    model: LoadedModel, request: Request, num_saves: int = 20
) -> dict[str, object]:
    """The seconds of one checkpoint, and its share of a generation that saves one every 5 s."""
    generation = Generation(model, request)
    next(generation)
    next(generation)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        generation.save_checkpoint(path)
        took = [timed_s(lambda: generation.save_checkpoint(path)) for _ in range(num_saves)]
        num_bytes = path.stat().st_size
    save_s = statistics.median(took)
    preview_s = statistics.median(timed_s(generation.preview) for _ in range(5))
    return {
        "checkpoint_mb": num_bytes / 1e6,
        "save_s": save_s,
        "slowest_save_s": max(took),
        "share_at_every_5_s": save_s / CHECKPOINT_EVERY_S,
        "preview_s": preview_s,
        "step_s": generation.timings.step_s[-1],
    }


def machine(model: LoadedModel) -> dict[str, object]:
    return {
        "processor": processor_name(),
        "device": str(model.device),
        "gpu": torch.cuda.get_device_name() if model.device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "reelgrid": reelgrid.__version__,
        "precision": str(model.dtype),
        "offload": model.offload,
    }


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--size", type=Size.parse)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = parse()
    logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load_model(options.model, dtype=options.dtype)
    quiet_loops(model)
    request = Request(
        "a red ball rolls to the right",
        size=options.size,
        num_frames=options.frames,
        num_steps=options.steps,
    )
    complete = model.card.complete(request)
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model.card.name,
        "request": f"{complete.size} x {complete.num_frames}, {complete.num_steps} steps",
        "machine": machine(model),
        "runs": options.runs,
        "whole": compare(model, request, options.runs),
        "checkpoints": measure_checkpoints(model, request),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.write:
        day = datetime.now(UTC).date().isoformat()
        path = (
            RESULTS / f"{day}_engine_{model.card.name.rpartition('/')[2]}_{result_name(model)}.json"
        )
        path.write_text(text + "\n", encoding="utf-8")
        print(path)


def result_name(model: LoadedModel) -> str:
    return f"{model.device.type}_{str(model.dtype).removeprefix('torch.')}"


def quiet_loops(model: LoadedModel) -> None:
    """Hide the progress bars of diffusers."""
    waiting = [model.pipeline._blocks]
    while waiting:
        block = waiting.pop()
        waiting.extend(block.sub_blocks.values())
        if hasattr(block, "set_progress_bar_config"):
            block.set_progress_bar_config(disable=True)


if __name__ == "__main__":
    main()
