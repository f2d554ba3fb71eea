"""What a worker process is told when it is started, and the command that tells it so.

Addresses may hold passwords: they travel in the environment, where other users cannot see them,
never on the command line.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reelgrid.errors import RequestError
from reelgrid.workers import standby
from reelgrid.workers.habits import WorkerIntervals
from reelgrid.workers.pipes import Ends

DATABASE = "REELGRID_DATABASE"
BLOBS = "REELGRID_BLOBS"
DATA = "REELGRID_DATA"

_PROGRAM = (sys.executable, "-m", "reelgrid.workers")
NUM_WORDS = len(_PROGRAM)
"""A worker's command line has so many words before its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """One worker process.

    Attributes:
        database: Address of the desk's database.
        blobs: URL of the blobs.
        scratch: Folder for files on their way, this worker's own: it is emptied at the start.
        models: The models that it may load, the first of them at the start; none is any.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: The models' precision, or `auto`.
        data: The data folder, where the self-signed certificate lies; none is the user's own.
        is_signed: Whether finished files are signed.
        trace: File that steps and saves are noted in.
        grace_s: Told to leave, it leaves within this time, whatever it is doing.
        log_level: Least severe level that is logged.
    """

    database: str
    blobs: str
    scratch: Path
    models: tuple[str, ...] = ("embedded",)
    device: str = "auto"
    dtype: str = "auto"
    data: Path | None = None
    is_signed: bool = True
    trace: Path | None = None
    grace_s: float = 8.0
    log_level: str = "WARNING"
    intervals: WorkerIntervals = field(default_factory=WorkerIntervals)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the process needs beside its command line."""
        data = {} if self.data is None else {DATA: str(self.data)}
        return {DATABASE: self.database, BLOBS: self.blobs, **data}

    def command(self, number: int) -> Callable[[str, Ends | None], list[str]]:
        """Return what gives the command line of worker `number` from its name and its pipe ends.

        Without a supervisor there are no pipes.
        """

        def build(name: str, ends: Ends | None) -> list[str]:
            options = {**self._options(number), "name": name}
            if ends is not None:
                options |= {"lifeline": ends.lifeline, "signs": ends.signs}
            flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
            return [*_PROGRAM, *flags]

        return build

    @staticmethod
    def standby(ends: Ends) -> list[str]:
        """Return the command line of a process that waits to be told which worker it is."""
        return [*_PROGRAM, *standby.flags(ends)]

    def _options(self, number: int) -> dict[str, object]:
        intervals = self.intervals
        options = {
            "scratch": self.scratch / str(number),
            "models": ",".join(self.models),
            "device": self.device,
            "dtype": self.dtype,
            "is_signed": int(self.is_signed),
            "journal": self.trace,
            "grace_s": self.grace_s,
            "log_level": self.log_level,
            "lease_s": intervals.lease_s,
            "heartbeat_every_s": intervals.heartbeat_every_s,
            "checkpoint_every_s": intervals.checkpoint_every_s,
            "between_failures_s": intervals.between_failures_s,
            "preview_every_s": intervals.preview_every_s or 0,
            "prompts_in_metadata": int(intervals.prompts_in_metadata),
        }
        return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a worker process finds when it begins: its settings, its name, its pipe ends."""

    settings: WorkerSettings
    name: str
    ends: Ends | None


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Started:
    """Return what the command line and the environment say.

    Raises:
        RequestError: They do not say where the database and the blobs are.
    """
    parser = _parser()
    said = vars(parser.parse_args(arguments))
    for key, variable in (("database", DATABASE), ("blobs", BLOBS)):
        said[key] = said[key] or environment.get(variable)
        if not said[key]:
            raise RequestError(f"give --{key} or set {variable}", param=key)
    lifeline, signs, name = said.pop("lifeline"), said.pop("signs"), said.pop("name")
    intervals = {key: said.pop(key) for key in WorkerIntervals.__dataclass_fields__}
    intervals["preview_every_s"] = intervals["preview_every_s"] or None
    intervals["prompts_in_metadata"] = bool(intervals["prompts_in_metadata"])
    said["is_signed"] = bool(said["is_signed"])
    said["models"] = tuple(filter(None, said["models"].split(",")))
    ends = None if lifeline is None or signs is None else Ends(lifeline, signs)
    try:
        settings = WorkerSettings(**said, intervals=WorkerIntervals(**intervals))
    except ValueError as error:
        raise RequestError(str(error)) from None
    return Started(settings=settings, name=name, ends=ends)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reelgrid.workers", description="A worker.")
    defaults: dict[str, Any] = {
        "models": "embedded",
        "device": "auto",
        "dtype": "auto",
        "log_level": "WARNING",
        "name": f"{os.uname().nodename[:40]}-{os.getpid()}",
    }
    for flag in ("database", "blobs"):
        parser.add_argument(f"--{flag}")
    for flag, value in defaults.items():
        parser.add_argument(f"--{flag.replace('_', '-')}", default=value)
    for flag in ("scratch", "journal"):
        parser.add_argument(f"--{flag}", type=Path, required=flag == "scratch")
    parser.add_argument("--is-signed", type=int, default=1)
    for flag in ("lifeline", "signs"):
        parser.add_argument(f"--{flag}", type=int)
    parser.add_argument("--grace-s", type=float, default=8.0)
    for flag, number in _habit_defaults().items():
        parser.add_argument(f"--{flag.replace('_', '-')}", type=float, default=number)
    return parser


def _habit_defaults() -> dict[str, float]:
    intervals = WorkerIntervals()
    return {
        name: float(getattr(intervals, name) or 0) for name in WorkerIntervals.__dataclass_fields__
    }
