"""The job: what was asked for, where it stands, and the moves that are legal.

A job is a frozen value, a copy of one row of the desk's table. Its `phase` is the only thing that is
stored of where it stands; the status and the detail that a client sees follow from it. Not here: the
worker's side (`messages`), the order of jobs (`policy`), and the table (`job_queue`).
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from reelgrid.errors import ConflictError
from reelgrid.jobs.policy import Priority

LOCAL_OWNER = "local"
"""The owner of every job as long as no key has been made."""


class JobKind(StrEnum):
    """What a job makes; the first part of its id."""

    VIDEO = "video"
    IMAGE = "image"


class Status(StrEnum):
    """The four states of the wire; a client stops polling at any other word."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Phase(StrEnum):
    """Where a job stands: waiting for a worker, held by one, held back, or at its end."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        """Whether no move leads out of it."""
        return self in (Phase.COMPLETED, Phase.FAILED)


class Transition(StrEnum):
    """What can happen to a job."""

    CLAIM = "claim"  # a worker takes it
    HEARTBEAT = "beat"  # its worker is alive; saving is one too
    FINISH = "finish"  # its worker has made the files
    FAIL = "fail"  # its worker cannot make them, or the desk gives it up
    RELEASE = "give back"  # its worker leaves it, or is lost
    SUSPEND = "shelve"  # its worker leaves it because it is to be paused
    REQUEST = "ask"  # the owner asks its worker to stop: cancel or pause
    PAUSE = "pause"  # the owner holds it back, no worker has it
    RESUME = "resume"
    CANCEL = "cancel"  # the owner ends it, no worker has it


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
"""Every legal move; the desk's statements take their `WHERE phase` from here."""


def after(phase: Phase, move: Transition) -> Phase:
    """Return where a move leads.

    Raises:
        ConflictError: The move is not legal in this phase.
    """
    try:
        return TRANSITIONS[phase, move]
    except KeyError:
        raise ConflictError(f"a job that is {phase} cannot {move}") from None


def sources(move: Transition) -> frozenset[Phase]:
    """Return the phases in which a move is legal."""
    return frozenset(phase for phase, legal in TRANSITIONS if legal is move)


class Requested(StrEnum):
    """What a running job's worker is to do at its next step instead of going on."""

    CANCEL = "cancel"
    PAUSE = "pause"
    YIELD = "yield"


class FailureCode(StrEnum):
    """Why a job failed; the wire's `error.code`. A worker may report others of its own."""

    CANCELLED = "cancelled"
    WORKER_CRASH = "worker_crash"
    OUT_OF_MEMORY = "out_of_memory"
    GENERATION_FAILED = "generation_failed"
    MODEL_UNAVAILABLE = "model_unavailable"


class StatusDetail(StrEnum):
    """What a job does within its status, for people."""

    PAUSED = "paused"
    RESUMING = "resuming"  # it was begun and waits for a worker to go on
    PAUSING = "pausing"  # asked for, until its worker has saved
    CANCELLING = "cancelling"
    YIELDING = "yielding"


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """A state of a generation that can be taken up: the blob's name, and the steps that are done."""

    blob: str
    step: int

    def __post_init__(self) -> None:
        if not self.blob or self.step < 0:
            raise ValueError(f"no saved state: blob {self.blob!r}, step {self.step}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What a key may have; none is no limit. The first three are the API's to check.

    Attributes:
        max_pixels: Width times height of one frame.
        max_frames: Frames of one clip.
        max_steps: Denoising steps of one request.
        max_jobs: Unfinished jobs at a time, paused ones too.
        max_gpu_s_per_day: GPU-seconds used since midnight UTC, with the estimates of unfinished jobs.
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
                raise ValueError(f"{name} is {value}: a limit is above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job that is to be admitted.

    Attributes:
        owner: Id of the key it is asked for with; `LOCAL_OWNER` without keys.
        model: Name by which workers know the model.
        request: The completed request, as JSON; the desk stores it and never looks inside.
        estimate_s: Seconds of work on a worker, without loading the model.
        memory_gib: Device memory it needs.
        num_steps: Denoising steps.
        clip_s: Seconds of video it makes; 0 for an image.
        deadline_s: It has to be finished this many seconds after it is admitted.
        needs_trust: Whether it may run on trusted workers only.
        retain_s: Its files may go this many seconds after it has ended; never, if none.
        inputs: Names of the blobs it reads (uploads), so that no sweep removes them.
        idempotency_key: The same key of the same owner gives the same job again.
        body_digest: Of what the client sent, to tell a repeated request from another one with the
            same idempotency key. Values that the server draws or estimates must not go into it.
        remixed_from: Id of the job it is a remix of.
        extended_from: Id of the job it extends.
        webhook: Address that is told when it ends.
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
            raise ValueError("an idempotency key and the digest of the body come together")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stood when it was read. Times are Unix seconds on the database's clock.

    Attributes:
        stage: Last reported by its worker: "load", "encode", "denoise", "decode", "write" ...
        step: Denoising steps that are done, as last reported.
        started_at: When a worker first took it.
        ended_at: When it was completed or failed.
        expires_at: From then on its files may be removed.
        fair_start_s: From `policy.fair_start_s`.
        rank: From `policy.rank`; fixed when it was admitted.
        epoch: How often it was claimed; every write of a worker carries it.
        losses: How often its worker was lost since it last got further than ever before.
        worker: Id of the worker that has it.
        lease_until: Without a beat until then it is given to another worker.
        requested: What its worker is to do at the next step.
        reason: Why it last went back to waiting: "yielded", "stopped", "worker lost" ...
        checkpoints: Saved states, newest first, at most two.
        preview: Blob of the latest preview frame.
        files: Blob names of what it made, by variant: video, thumbnail, spritesheet, image ...
        gpu_s: GPU-seconds it has used so far, as charged to its owner.
        is_deleted: Its owner deleted it while a worker had it; it goes when the worker lets go.
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
            raise ValueError(f"{self.id}: a running job, and no other, has a worker and a lease")
        if self.phase.is_final != (self.ended_at is not None):
            raise ValueError(f"{self.id}: a job at its end, and no other, has a time of its end")
        if (self.phase is Phase.FAILED) != (self.error_code is not None):
            raise ValueError(f"{self.id}: a failed job, and no other, has an error")

    @property
    def status(self) -> Status:
        """The word of the wire: a job that was begun stays `in_progress` until it ends."""
        if self.phase is Phase.COMPLETED:
            return Status.COMPLETED
        if self.phase is Phase.FAILED:
            return Status.FAILED
        return Status.QUEUED if self.started_at is None else Status.IN_PROGRESS

    @property
    def detail(self) -> StatusDetail | None:
        """What it does within its status; none is the plain thing."""
        if self.phase is Phase.PAUSED:
            return StatusDetail.PAUSED
        if self.phase is Phase.WAITING:
            return None if self.started_at is None else StatusDetail.RESUMING
        return None if self.requested is None else _DETAILS[self.requested]

    @property
    def completed_at(self) -> float | None:
        """When it was completed; none for one that failed."""
        return self.ended_at if self.phase is Phase.COMPLETED else None

    @property
    def checkpoint(self) -> CheckpointRef | None:
        """Its newest saved state."""
        return self.checkpoints[0] if self.checkpoints else None

    @property
    def remaining_s(self) -> float:
        """Seconds of work that are left, by the estimate and the steps that are done."""
        if self.phase.is_final:
            return 0.0
        return self.estimate_s * (1 - min(self.step, self.num_steps) / max(self.num_steps, 1))

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
    """Some jobs of a list, in its order; `has_more` says whether it goes on behind the last."""

    jobs: tuple[Job, ...]
    has_more: bool


def new_id(kind: JobKind) -> str:
    """Return a fresh id: the kind and 24 hexadecimal digits that nobody can guess."""
    return f"{kind}_{secrets.token_hex(12)}"


def _check_amounts(**amounts: float) -> None:
    for name, value in amounts.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} is {value}: it is a finite number from zero")
