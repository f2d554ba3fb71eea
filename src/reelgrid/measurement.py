"""What was measured, on which machine and when: one JSON object a line, for planning to read.

Not here: the measuring itself, which is the engine's and `reelgrid bench`'s.
"""

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


def minutes_per_gpu_hour(clip_s: float, busy_s: float, num_gpus: int = 1) -> float:
    """Return minutes of video made in an hour of one GPU that works without pause.

    Args:
        clip_s: Seconds of video made.
        busy_s: Seconds it took from prompt to frames, the loading of the model left out.
        num_gpus: GPUs that worked together.
    """
    return (clip_s / 60) / (busy_s * num_gpus / 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """One generation, measured by stages; times in seconds of wall clock.

    Attributes:
        measured_at: UTC, ISO 8601.
        machine: The device and processor by name, such as `NVIDIA H200` or `2 x AMD EPYC 7B13`.
        software: Package versions that shape the speed.
        run: Which of `num_runs` this is, from 1; later ones find everything warm.
        load_s: To load the model, the same for all runs of one process.
        encode_s: To encode the prompt.
        denoise_s: All steps together.
        step_s: Each step.
        decode_s: Latents to frames.
        peak_memory_gib: Largest use of the device's memory, of the process on a CPU.
    """

    measured_at: str
    machine: str
    device: str
    dtype: str
    software: dict[str, str]
    model: str
    width: int
    height: int
    num_frames: int
    fps: float
    num_steps: int
    guidance_scale: float
    run: int
    num_runs: int
    load_s: float
    encode_s: float
    denoise_s: float
    step_s: tuple[float, ...]
    decode_s: float
    peak_memory_gib: float

    @property
    def minutes_per_gpu_hour(self) -> float:
        """Minutes of video an hour of this device makes."""
        busy_s = self.encode_s + self.denoise_s + self.decode_s
        return minutes_per_gpu_hour(self.num_frames / self.fps, busy_s)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "BenchRecord":
        """Read one line; an unknown or missing key is a TypeError."""
        values = json.loads(line)
        values["step_s"] = tuple(values["step_s"])
        return cls(**values)


def append_records(path: Path, records: Iterable[BenchRecord]) -> None:
    """Append records to a file of JSON lines, made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(record.to_json() + "\n" for record in records)


def read_records(path: Path) -> tuple[BenchRecord, ...]:
    """Return all records of a file of JSON lines, oldest first."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(BenchRecord.from_json(line) for line in lines if line.strip())


def processor_name() -> str:
    """Return this machine's processor, such as `2 x AMD EPYC 7B13`."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor() or platform.machine()}"
