"""Benchmark records: what `reelgrid bench` measured, when and on which machine, as JSON lines."""

import errno
import json
import logging
import math
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from reelgrid.errors import RequestError

_log = logging.getLogger(__name__)

_MAX_WARNINGS = 3
"""Lines of one file that are reported one by one."""


def minutes_per_gpu_hour(clip_s: float, busy_s: float, num_gpus: int = 1) -> float:
    """Return minutes of video that one GPU makes in an hour of work without a pause.

    Args:
        clip_s: Seconds of video made.
        busy_s: Seconds from prompt to frames, without loading the model.
        num_gpus: GPUs that worked together.
    """
    return (clip_s / 60) / (busy_s * num_gpus / 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRecord:
    """One measured generation, stage by stage; times in seconds of wall clock.

    Attributes:
        measured_at: UTC, ISO 8601.
        machine: The device and processor by name, such as `NVIDIA H200` or `2 x AMD EPYC 7B13`.
        software: Versions of the packages that the speed depends on.
        run: Which of `num_runs` this is, from 1; later ones run with warm caches.
        load_s: Time to load the model, the same for all runs of one process.
        encode_s: Time to encode the prompt.
        denoise_s: Time of all steps together.
        step_s: Time of each step.
        decode_s: Time from latents to frames.
        peak_memory_gib: Peak memory of the device; of the process on a CPU.
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
    def is_cold(self) -> bool:
        """Whether it is the first of several runs, which fills caches and does not count."""
        return self.run == 1 and self.num_runs > 1

    @property
    def busy_s(self) -> float:
        """Seconds from prompt to frames, the model loaded."""
        return self.encode_s + self.denoise_s + self.decode_s

    @property
    def minutes_per_gpu_hour(self) -> float:
        """Minutes of video that this device makes in an hour."""
        return minutes_per_gpu_hour(self.num_frames / self.fps, self.busy_s)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "BenchRecord":
        """Return the record of one line.

        Raises:
            ValueError: The line is not JSON, or a number is out of range.
            TypeError: It is not an object, a key is unknown or missing, or a value has another type.
        """
        values = json.loads(line)
        if not isinstance(values, dict) or not isinstance(values.get("step_s"), list):
            raise TypeError("it is not a record")
        values["step_s"] = tuple(values["step_s"])
        record = cls(**values)
        for field in fields(cls):
            if field.type in (int, float):
                _check_number(field.name, getattr(record, field.name))
        for step_s in record.step_s:
            _check_number("step_s", step_s)
        return record


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} {value!r} is not a number")
    least = 0 if name.endswith(("_s", "_gib", "_scale")) and name != "denoise_s" else 1e-9
    if not math.isfinite(value) or value < least:
        raise ValueError(f"{name} {value} is out of range")


def append_records(path: Path, records: Iterable[BenchRecord]) -> None:
    """Append records to a file of JSON lines, made if missing, in one write of whole lines.

    A line that a crash or a full disk cut short stays alone: the next record begins a new line.

    Raises:
        OSError: The disk is full or refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(record.to_json() + "\n" for record in records).encode()
    with path.open("a+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            content = content if file.read(1) == b"\n" else b"\n" + content
        if file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_records(path: Path) -> tuple[BenchRecord, ...]:
    """Return the records of a file of JSON lines, oldest first.

    A line that is not a record of this version, such as one cut short, is skipped with a warning.

    Raises:
        RequestError: The file cannot be read.
    """
    try:
        content = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}", param="path") from None
    return tuple(_records_in(path, content))


def _records_in(path: Path, content: str) -> Iterator[BenchRecord]:
    num_skipped = 0
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield BenchRecord.from_json(line)
        except (ValueError, TypeError, RecursionError) as error:
            num_skipped += 1
            if num_skipped <= _MAX_WARNINGS:
                _log.warning("%s, line %d is skipped: %s", path, number, error)
    if num_skipped > _MAX_WARNINGS:
        _log.warning("%s: %d lines are skipped in all", path, num_skipped)


def processor_name() -> str:
    """Return the name of this machine's processor, such as `2 x AMD EPYC 7B13`."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [
        line.partition(":")[2].strip()
        for line in (cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else [])
        if line.startswith("model name")
    ]
    return f"{os.cpu_count()} x {names[0] if names else platform.processor() or platform.machine()}"
