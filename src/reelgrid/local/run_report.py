"""What a finished generation cost, by stages."""

import statistics
from dataclasses import dataclass
from pathlib import Path

from reelgrid.engine.generation import Generation
from reelgrid.measurement import minutes_per_gpu_hour
from reelgrid.spec import CompleteRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One finished file and what it took; seconds of wall clock.

    Attributes:
        output: Where it is.
        request: What was made, complete.
        denoise_s: All steps together, in all processes that made them.
        step_s: Median of the steps.
        peak_memory_gib: Of the GPU; on a CPU, of the process.
    """

    output: Path
    model: str
    device: str
    dtype: str
    request: CompleteRequest
    load_s: float
    encode_s: float
    denoise_s: float
    step_s: float
    decode_s: float
    write_s: float
    peak_memory_gib: float

    @property
    def busy_s(self) -> float:
        """From prompt to frames, loading and writing left out."""
        return self.encode_s + self.denoise_s + self.decode_s

    @property
    def minutes_per_gpu_hour(self) -> float:
        """Minutes of video an hour of this device makes at this speed; 0 for an image."""
        if self.request.is_image:
            return 0.0
        return minutes_per_gpu_hour(self.request.clip_s, self.busy_s)

    def to_json(self) -> dict[str, object]:
        """Return everything as plain JSON values, units in the names."""
        return {
            "output": str(self.output),
            "model": self.model,
            "device": self.device,
            "dtype": self.dtype,
            **self.request.to_json(),
            "load_s": round(self.load_s, 4),
            "encode_s": round(self.encode_s, 4),
            "denoise_s": round(self.denoise_s, 4),
            "step_s": round(self.step_s, 4),
            "decode_s": round(self.decode_s, 4),
            "write_s": round(self.write_s, 4),
            "peak_memory_gib": round(self.peak_memory_gib, 3),
            "minutes_of_video_per_gpu_hour": round(self.minutes_per_gpu_hour, 2),
        }


def run_report(generation: Generation, output: Path, write_s: float) -> RunReport:
    """Return the account of a finished generation."""
    model, timings = generation.model, generation.timings
    return RunReport(
        output=output,
        model=model.card.name,
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        request=generation.request,
        load_s=model.load_s,
        encode_s=timings.encode_s,
        denoise_s=timings.denoise_s,
        step_s=statistics.median(timings.step_s),
        decode_s=timings.decode_s,
        write_s=write_s,
        peak_memory_gib=generation.peak_memory_gib,
    )
