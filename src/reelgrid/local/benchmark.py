"""Measure generations stage by stage, for `reelgrid bench`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from reelgrid.engine.generation import Generation
from reelgrid.measurement import BenchRecord, processor_name
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request

_PACKAGES = ("reelgrid", "torch", "diffusers", "transformers")


def measure(model: LoadedModel, request: Request, num_runs: int) -> Iterator[BenchRecord]:
    """Yield a record of each of `num_runs` generations when it is measured; the first has cold caches."""
    for run in range(1, num_runs + 1):
        with Generation(model, request) as generation:
            for _ in generation:
                pass
            yield _record(generation, run, num_runs)


def _record(generation: Generation, run: int, num_runs: int) -> BenchRecord:
    request, model, timings = generation.request, generation.model, generation.timings
    return BenchRecord(
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=_machine(model),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        software={name: version(name) for name in _PACKAGES},
        model=model.card.name,
        width=request.size.width,
        height=request.size.height,
        num_frames=request.num_frames,
        fps=request.fps,
        num_steps=request.num_steps,
        guidance_scale=request.guidance_scale,
        run=run,
        num_runs=num_runs,
        load_s=model.load_s,
        encode_s=timings.encode_s,
        denoise_s=timings.denoise_s,
        step_s=tuple(timings.step_s),
        decode_s=timings.decode_s,
        peak_memory_gib=generation.peak_memory_gib,
    )


def _machine(model: LoadedModel) -> str:
    """Return the name of the device and processor."""
    import torch

    if model.device.type == "cuda":
        return f"{torch.cuda.get_device_name(model.device)}, {processor_name()}"
    return f"{processor_name()}, {torch.get_num_threads()} threads"
