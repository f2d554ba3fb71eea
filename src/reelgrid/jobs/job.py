"""The job: its values, its state machine (`Phase`, `TRANSITIONS`) and what a client sees of it.

A job is a frozen value, a copy of one row of the table `job`. Only its `phase` is stored; the status and
the detail that a client sees are derived from it.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reelgrid.errors import ConflictError
from reelgrid.jobs.policy import Priority, remaining_s

LOCAL_OWNER = "local"
"""The owner of every job while no API key exists."""


class JobKind(StrEnum):
    """What a job produces; the first part of its id."""

    VIDEO = "video"
    IMAGE = "image"


class Status(StrEnum):
    """The status in the API. Clients stop polling at any other word than these four."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Phase(StrEnum):
    """The stored state of a job: waiting for a worker, held by one, paused by its owner, or ended."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in (Phase.COMPLETED, Phase.FAILED)


class Transition(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"  # a worker takes it
    HEARTBEAT = "heartbeat"  # its worker is alive; saving a checkpoint counts as one
    FINISH = "finish"  # its worker has stored the files
    FAIL = "fail"  # its worker cannot, or too many workers were lost
    RELEASE = "release"  # its worker stops, or is lost
    SUSPEND = "suspend"  # its worker stops because a pause was requested
    REQUEST = "request"  # the owner requests that its worker stops: cancel or pause
    PAUSE = "pause"  # the owner pauses it while no worker has it
    RESUME = "resume"
    CANCEL = "cancel"  # the owner ends it while no worker has it


TRANSITIONS: Mapping[tuple[Phase, Transition], Phase] = {
    (Phase.WAITING, Transition.CLAIM): Phase.RUNNING,
    (Phase.WAITING, Transition.PAUSE): Phase.PAUSED,
    (Phase.WAITING, Transition.CANCEL): Phase.FAILED,
    (Phase.RUNNING, Transition.HEARTBEAT): Phase.RUNNING,
    (Phase.RUNNING, Transition.REQUEST): Phase.RUNNING,
    (Phase.RUNNING, Transition.FINISH): Phase.COMPLETED,
    (Phase.RUNNING, Transition.FAIL): Phase.FAILED,
    (Phase.RUNNING, Transition.RELEASE): Phase.WAITING,
    (Phase.RUNNING, Transition.SUSPEND): Phase.PAUSED,
    (Phase.PAUSED, Transition.RESUME): Phase.WAITING,
    (Phase.PAUSED, Transition.CANCEL): Phase.FAILED,
}
"""Every legal transition; the SQL statements take their `WHERE phase` from here."""


def next_phase(phase: Phase, transition: Transition) -> Phase:
    """Return the phase that a transition leads to.

    Raises:
        ConflictError: The transition is not legal in this phase.
    """
    try:
        return TRANSITIONS[phase, transition]
    except KeyError:
        raise ConflictError(f"a job that is {phase} cannot {transition}") from None


class Requested(StrEnum):
    """What a running job's worker has to do at its next step instead of continuing."""

    CANCEL = "cancel"
    PAUSE = "pause"
    YIELD = "yield"


class FailureCode(StrEnum):
    """Why a job failed; `error.code` in the API. A worker may report other codes."""

    CANCELLED = "cancelled"
    WORKER_CRASH = "worker_crash"
    OUT_OF_MEMORY = "out_of_memory"
    GENERATION_FAILED = "generation_failed"
    MODEL_UNAVAILABLE = "model_unavailable"


class StatusDetail(StrEnum):
    """What a job does within its status, for people."""

    PAUSED = "paused"
    RESUMING = "resuming"  # it was started before and waits for a worker
    PAUSING = "pausing"  # requested, until its worker has saved a checkpoint
    CANCELLING = "cancelling"
    YIELDING = "yielding"


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A checkpoint in the blob store: the blob's name, and the steps that are done."""

    blob: str
    step: int

    def __post_init__(self) -> None:
        if not self.blob or self.step < 0:
            raise ValueError(f"no checkpoint: blob {self.blob!r}, step {self.step}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """Limits of an API key; `None` means no limit. The API checks the first three, the queue the others.

    Attributes:
        max_pixels: Width times height of one frame.
        max_frames: Frames of one clip.
        max_steps: Denoising steps of one request.
        max_jobs: Unfinished jobs at a time, including paused ones.
        max_gpu_s_per_day: GPU-seconds used since midnight UTC, including the estimates of unfinished jobs.
    """

    max_pixels: int | None = None
    max_frames: int | None = None
    max_steps: int | None = None
    max_jobs: int | None = None
    max_gpu_s_per_day: float | None = None

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}: a limit has to be above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be submitted.

    Attributes:
        owner: Id of the API key; `LOCAL_OWNER` without keys.
        model: Name by which workers know the model.
        request: The completed request, as JSON; the queue stores it and never looks inside.
        estimate_s: Seconds of work on a worker, without loading the model.
        memory_gib: Device memory it needs.
        num_steps: Denoising steps.
        clip_s: Seconds of video it makes; 0 for an image.
        deadline_s: It has to be finished this many seconds after its admission.
        needs_trust: Whether only trusted workers may run it.
        retain_s: Its files are removed this many seconds after its end; `None` means never.
        inputs: Names of the blobs it reads (uploads), so that retention keeps them.
        idempotency_key: The same key of the same owner returns the same job again.
        body_digest: Digest of what the client sent, to tell a repeated request from a different one with
            the same idempotency key. It must not contain values that the server draws or estimates.
        remixed_from: Id of the job that it remixes.
        extended_from: Id of the job it extends.
        webhook: URL that is notified when it ends.
    """

    kind: JobKind
    owner: str
    model: str
    request: Mapping[str, object]
    estimate_s: float
    memory_gib: float
    num_steps: int
    clip_s: float = 0.0
    priority: Priority = Priority.NORMAL
    deadline_s: float | None = None
    needs_trust: bool = False
    retain_s: float | None = None
    inputs: tuple[str, ...] = ()
    idempotency_key: str | None = None
    body_digest: str | None = None
    remixed_from: str | None = None
    extended_from: str | None = None
    webhook: str | None = None

    def __post_init__(self) -> None:
        _check_amounts(
            estimate_s=self.estimate_s,
            memory_gib=self.memory_gib,
            num_steps=self.num_steps,
            clip_s=self.clip_s,
            deadline_s=self.deadline_s or 0.0,
            retain_s=self.retain_s or 0.0,
        )
        if not self.owner or not self.model:
            raise ValueError("a job needs an owner and a model")
        if (self.idempotency_key is None) != (self.body_digest is None):
            raise ValueError(
                "an idempotency key needs the digest of the body, and the other way round"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it was when it was read. Times are Unix seconds on the database's clock.

    Attributes:
        stage: As last reported by its worker: "load", "encode", "denoise", "decode", "write" ...
        step: Denoising steps that are done, as last reported.
        started_at: When a worker first took it.
        ended_at: When it was completed or failed.
        expires_at: From this time on its files may be removed.
        fair_start_s: From `policy.fair_start_s`.
        rank: From `policy.rank`; fixed at admission.
        epoch: How often it was claimed; every write of a worker states it.
        losses: How often its worker was lost since it last made new progress.
        worker: Id of the worker that has it.
        lease_until: Without a heartbeat until then it goes to another worker.
        requested: What its worker has to do at the next step.
        reason: Why it last went back to waiting: "yielded", "stopped", "worker lost" ...
        checkpoints: Newest first, at most two.
        preview: Blob of the latest preview frame.
        files: Blob names of its results, by variant: video, thumbnail, spritesheet, image ...
        gpu_s: GPU-seconds it has used so far, as charged to its owner.
        is_deleted: Its owner deleted it while a worker had it; it is removed when the worker stops.
    """

    id: str
    kind: JobKind
    owner: str
    model: str
    request: Mapping[str, object]
    phase: Phase
    stage: str | None = None
    step: int = 0
    num_steps: int
    created_at: float
    updated_at: float
    started_at: float | None = None
    ended_at: float | None = None
    expires_at: float | None = None
    priority: Priority
    deadline_at: float | None = None
    estimate_s: float
    memory_gib: float
    clip_s: float
    needs_trust: bool = False
    retain_s: float | None = None
    fair_start_s: float
    rank: float
    epoch: int = 0
    losses: int = 0
    worker: str | None = None
    lease_until: float | None = None
    requested: Requested | None = None
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    checkpoints: tuple[CheckpointRef, ...] = ()
    preview: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    remixed_from: str | None = None
    extended_from: str | None = None
    idempotency_key: str | None = None
    webhook: str | None = None
    gpu_s: float = 0.0
    is_deleted: bool = False

    def __post_init__(self) -> None:
        is_held = self.phase is Phase.RUNNING
        if is_held != (self.worker is not None) or is_held != (self.lease_until is not None):
            raise ValueError(
                f"{self.id}: only a running job has a worker and a lease, and it has both"
            )
        if self.phase.is_final != (self.ended_at is not None):
            raise ValueError(f"{self.id}: only a job that has ended has the time of its end")
        if (self.phase is Phase.FAILED) != (self.error_code is not None):
            raise ValueError(f"{self.id}: only a failed job has an error, and it always has one")

    @property
    def status(self) -> Status:
        """The status in the API: a job that was started stays `in_progress` until it ends."""
        if self.phase is Phase.COMPLETED:
            return Status.COMPLETED
        if self.phase is Phase.FAILED:
            return Status.FAILED
        return Status.QUEUED if self.started_at is None else Status.IN_PROGRESS

    @property
    def detail(self) -> StatusDetail | None:
        """What it does within its status; `None` if the status says it all."""
        if self.phase is Phase.PAUSED:
            return StatusDetail.PAUSED
        if self.phase is Phase.WAITING:
            return None if self.started_at is None else StatusDetail.RESUMING
        return None if self.requested is None else _DETAILS[self.requested]

    @property
    def completed_at(self) -> float | None:
        """When it was completed; `None` if it failed."""
        return self.ended_at if self.phase is Phase.COMPLETED else None

    @property
    def checkpoint(self) -> CheckpointRef | None:
        """Its newest checkpoint."""
        return self.checkpoints[0] if self.checkpoints else None

    @property
    def remaining_s(self) -> float:
        """Seconds of work left, from the estimate and the steps that are done; 0 when it has ended."""
        if self.phase.is_final:
            return 0.0
        return remaining_s(self.estimate_s, self.step, self.num_steps)

    @property
    def progress(self) -> int:
        """Percent of the work by steps, 100 only when completed."""
        if self.phase is Phase.COMPLETED:
            return 100
        return min(99, 100 * self.step // max(self.num_steps, 1))


_DETAILS = {
    Requested.CANCEL: StatusDetail.CANCELLING,
    Requested.PAUSE: StatusDetail.PAUSING,
    Requested.YIELD: StatusDetail.YIELDING,
}


@dataclass(frozen=True, slots=True)
class JobPage:
    """One page of a list of jobs; `has_more` says whether there are jobs after the last."""

    jobs: tuple[Job, ...]
    has_more: bool


def new_id(kind: JobKind) -> str:
    """Return a new id: the kind and 24 random hexadecimal digits."""
    return f"{kind}_{secrets.token_hex(12)}"


def _check_amounts(**amounts: float) -> None:
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}: it has to be a finite number, zero or more")
