"""Messages between a worker and the job queue: who it is, its claim, its progress, its orders."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from reelgrid.jobs.job import CheckpointRef, Job
from reelgrid.jobs.policy import WorkerCapacity

STAGES = ("load", "encode", "denoise", "decode", "write")
"""The stages of a job in order; reaching a later stage is progress."""


class Command(StrEnum):
    """What a worker has to do next: continue, or save a checkpoint, release the job and claim again."""

    CONTINUE = "continue"
    PAUSE = "pause"
    CANCEL = "cancel"  # without saving: the job ends
    YIELD = "yield"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo(WorkerCapacity):
    """A worker, as it introduces itself when it claims a job: its capacity and its name.

    Attributes:
        id: Unique among workers; new for every process.
        machine: Name of the device, such as "NVIDIA H200": measured times are kept for each.
    """

    id: str
    machine: str

    def __post_init__(self) -> None:
        if not self.id or not self.machine:
            raise ValueError("a worker needs an id and a machine")
        if not 0 <= self.memory_gib < math.inf or not 0 <= self.load_s < math.inf:
            raise ValueError(
                f"worker {self.id}: memory and loading time have to be finite, zero or more"
            )


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's claim on a job, valid as long as heartbeats come; `epoch` tells it from earlier claims.

    Attributes:
        job: As it was when it was claimed; `job.checkpoints` are to be restored, newest first.
        worker: Id of the worker.
        lease_s: A heartbeat extends the lease to this many seconds from its arrival.
    """

    job: Job
    worker: str
    lease_s: float

    @property
    def id(self) -> str:
        """The job's id."""
        return self.job.id

    @property
    def epoch(self) -> int:
        """The job's epoch at the claim."""
        return self.job.epoch

    @property
    def checkpoint(self) -> CheckpointRef | None:
        """The newest checkpoint, to continue from."""
        return self.job.checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Progress of a job, as its worker reports it.

    Attributes:
        stage: One of `STAGES`, or another word of the worker.
        step: Denoising steps that are done.
        preview: Blob of a frame at the current step; `None` keeps the previous one.
    """

    stage: str
    step: int = 0
    preview: str | None = None

    def __post_init__(self) -> None:
        if self.step < 0 or not self.stage:
            raise ValueError(
                f"progress needs a stage and a step of zero or more: stage {self.stage!r}, step {self.step}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Measured times of a finished job, for the machine's profile. Of the last claim, in seconds.

    Attributes:
        workload: Step times are comparable within it: size, frames and what else matters, such as
            "832x480x81"; the estimator looks profiles up by the same text.
        step_s: Mean of its denoising steps; `None` if there was none since the last restore.
        load_s: `None` if the model was warm.
    """

    workload: str
    step_s: float | None = None
    load_s: float | None = None
    encode_s: float | None = None
    decode_s: float | None = None
    write_s: float | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The measured times by part: step, load, encode, decode, write."""
        names = ("step", "load", "encode", "decode", "write")
        times = {name: getattr(self, f"{name}_s") for name in names}
        return {name: time_s for name, time_s in times.items() if time_s is not None and time_s > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWorker:
    """A worker in the queue's table of workers.

    Attributes:
        seen_at: When it last claimed or released a job; Unix seconds.
        job: Id of the job that it has.
        is_live: Whether it has a job under a lease, or has asked for one lately.
    """

    info: WorkerInfo
    seen_at: float
    job: str | None = None
    is_live: bool = field(default=True)

    @property
    def is_idle(self) -> bool:
        """Whether it would take a job now."""
        return self.is_live and self.job is None
