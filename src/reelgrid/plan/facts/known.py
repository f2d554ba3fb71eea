"""What a plan starts from: the tables of GPUs and models, and the user's own measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import Architecture, read_architectures
from reelgrid.plan.facts.hardware import Gpu, read_hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known before a scenario is read.

    Attributes:
        hardware: From `read_hardware`.
        architectures: From `read_architectures`.
        measurements: The user's own.
        calibration_file: The user's own refit of the formula; `None` means the package's.
    """

    hardware: Mapping[str, Gpu]
    architectures: Mapping[str, Architecture]
    measurements: Sequence[BenchRecord] = ()
    calibration_file: Path | None = None


def shipped_facts() -> Facts:
    """Return the package's own facts, without measurements."""
    return Facts(hardware=read_hardware(), architectures=read_architectures())
