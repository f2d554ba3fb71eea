"""The worker's side of a job: who asks, what it holds, what it reports and what it is answered.

Values only. Not here: how a worker works (`fleet`).
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from reelgrid.jobs import policy
from reelgrid.jobs.job import CheckpointRef, Job

STAGES = ("load", "encode", "denoise", "decode", "write")
"""The stages that the desk knows the order of; a job that reaches a later one has got further."""


class Command(StrEnum):
    """What a worker does next: go on, or save its state, give the job back and ask again."""

    CONTINUE = "go"
    PAUSE = "pause"
    CANCEL = "cancel"  # here without saving: the job is at its end
    YIELD = "yield"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker that asks for work.

    Attributes:
        id: Unique among workers, new for every process.
        machine: What its measured times belong to: the device's name, such as "NVIDIA H200".
        memory_gib: Device memory that a job may use.
        models: The models it can load; none is any.
        warm_models: Models in its memory.
        load_s: Seconds that it takes to load a model.
        is_trusted: Whether private jobs may run on it.
    """

    id: str
    machine: str
    memory_gib: float
    models: frozenset[str] | None = None
    warm_models: frozenset[str] = frozenset()
    load_s: float = 0.0
    is_trusted: bool = True

    def __post_init__(self) -> None:
        if not self.id or not self.machine:
            raise ValueError("a worker has an id and a machine")
        if not 0 <= self.memory_gib < math.inf or not 0 <= self.load_s < math.inf:
            raise ValueError(f"worker {self.id}: memory and loading time are finite, from zero")

    @property
    def for_policy(self) -> policy.WorkerCapacity:
        """The worker as the policy looks at it."""
        return policy.WorkerCapacity(
            memory_gib=self.memory_gib,
            warm_models=self.warm_models,
            load_s=self.load_s,
            models=self.models,
            is_trusted=self.is_trusted,
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in a worker's hands, for as long as it beats; `epoch` tells it from earlier claims.

    Attributes:
        job: As it stood when it was claimed; `job.checkpoints` are what to take up, newest first.
        worker: Id of the worker.
        lease_s: A beat extends the lease to this many seconds from its arrival.
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
        """The newest saved state, to go on from."""
        return self.job.checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a worker has got with its job.

    Attributes:
        stage: One of `STAGES`, or a worker's own word.
        step: Denoising steps that are done.
        preview: Blob of a frame at the current step; none leaves the one before.
    """

    stage: str
    step: int = 0
    preview: str | None = None

    def __post_init__(self) -> None:
        if self.step < 0 or not self.stage:
            raise ValueError(f"no progress: stage {self.stage!r}, step {self.step}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What a finished job took, for the machine's profile. Times of the last claim, in seconds.

    Attributes:
        workload: What step times are comparable for: size, frames and what else counts, such as
            "832x480x81"; the API asks for profiles by the same words.
        step_s: The mean of its denoising steps; none if none was made since the last resume.
        load_s: None if the model was warm.
    """

    workload: str
    step_s: float | None = None
    load_s: float | None = None
    encode_s: float | None = None
    decode_s: float | None = None
    write_s: float | None = None

    @property
    def parts(self) -> dict[str, float]:
        """The times that were measured, by part: step, load, encode, decode, write."""
        names = ("step", "load", "encode", "decode", "write")
        times = {name: getattr(self, f"{name}_s") for name in names}
        return {name: time_s for name, time_s in times.items() if time_s is not None and time_s > 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWorker:
    """A worker that the desk has heard of.

    Attributes:
        seen_at: When it last asked for work or beat; Unix seconds.
        job: Id of the job it holds.
        is_live: Whether it has been heard of lately.
    """

    info: WorkerInfo
    seen_at: float
    job: str | None = None
    is_live: bool = field(default=True)

    @property
    def is_idle(self) -> bool:
        """Whether it would take a job now."""
        return self.is_live and self.job is None
