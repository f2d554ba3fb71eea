"""Every error that Reelgrid raises on purpose, as one tree, and the exit code of each kind.

    ReelgridError
    |- RequestError            the request cannot be carried out as it is         exit 2
    |  |- CheckpointError      a checkpoint cannot be restored                    exit 2
    |  |- NotFoundError        no such job or key, or it belongs to another       exit 2
    |  `- ConflictError        the state of the job does not allow it             exit 2
    |- BusyError               try the same again later                           exit 1
    |  |- LimitError           an API key has reached one of its limits           exit 1
    |  `- StorageFullError     the disk, or the quota, is full                    exit 1
    |- JobQueueError           the database of jobs cannot be read or written     exit 1
    |- StaleClaim              a worker's claim on a job is no longer valid       exit 1
    |- GenerationError         the generation started and failed                  exit 1
    |  `- DeviceMemoryError    the device has too little memory for it            exit 1
    |- ModelError              the model cannot be loaded                         exit 1
    |  `- ModelMemoryError     it needs more memory than is free                  exit 1
    `- PlanError               no plan satisfies the constraints                  exit 1

A message is one line that says what is wrong and what would be right.
"""


class ReelgridError(Exception):
    """Base of all errors that Reelgrid raises on purpose; the message is one line for people."""

    exit_code = 1


class RequestError(ReelgridError):
    """The request cannot be carried out as it is; `param` names what to change."""

    exit_code = 2

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class CheckpointError(RequestError):
    """A checkpoint is truncated, of another format or model, or was tampered with."""


class NotFoundError(RequestError):
    """There is no such job or key for this caller; another owner's job counts as missing."""


class ConflictError(RequestError):
    """The state of the job does not allow what was requested."""


class BusyError(ReelgridError):
    """It cannot be done now; the same request may succeed later."""


class LimitError(BusyError):
    """An API key has reached one of its limits; `limit` names which."""

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class StorageFullError(BusyError):
    """There is no space left to store this; nothing half written was left behind."""


class JobQueueError(ReelgridError):
    """The database of jobs cannot be reached, read or written, or is of a newer version."""


class StaleClaim(ReelgridError):  # noqa: N818  # nobody's mistake: another worker claimed the job
    """A worker's claim is no longer valid: the job was given to another, ended or removed."""


class GenerationError(ReelgridError):
    """A generation started and could not be finished."""


class DeviceMemoryError(GenerationError):
    """A generation needs more memory than the device has free; a larger device could finish it."""


class ModelError(ReelgridError):
    """A model cannot be found, does not fit, or its files are broken."""


class ModelMemoryError(ModelError):
    """A model needs more memory than is free; it may fit once others are unloaded."""


class PlanError(ReelgridError):
    """No plan satisfies the constraints; the message names the binding one."""
