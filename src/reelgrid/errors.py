"""Every error Reelgrid raises on purpose, as one tree, and the exit code of each kind.

    ReelgridError
    |- RequestError       the caller asked for something that cannot be      exit 2
    |  |- StateError      a saved generation that cannot be taken up          exit 2
    |  |- NotFoundError   there is no such job or key, or it is another's     exit 2
    |  `- ConflictError   the job is in a state that does not allow it        exit 2
    |- BusyError          nobody's doing: come back later                     exit 1
    |  |- LimitError      a key has used up what it may have for now          exit 1
    |  `- FullError       the disk, or what may be used of it, is full        exit 1
    |- DeskError          the database of jobs cannot be read or written      exit 1
    |- StaleClaim         a worker's job is no longer its own                 exit 1
    |- GenerationError    the work began and failed                           exit 1
    |  `- MemoryShortError  the device has too little memory for it           exit 1
    |- ModelError         the model will not load                             exit 1
    |  `- NoRoomError     it needs more memory than is free                   exit 1
    `- PlanError          no plan satisfies the constraints                   exit 1

A message is one line that says what is wrong and what would be right.
"""


class ReelgridError(Exception):
    """Whatever Reelgrid refuses or fails at; the message is one line for people."""

    exit_code = 1


class RequestError(ReelgridError):
    """The request cannot be carried out as it stands; `param` names what to change."""

    exit_code = 2

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class CheckpointError(RequestError):
    """A saved generation is truncated, foreign, tampered with or of another model."""


class NotFoundError(RequestError):
    """There is no such job or key for this caller; another owner's counts as not there."""


class ConflictError(RequestError):
    """What is asked for and the state that the job is in exclude each other."""


class BusyError(ReelgridError):
    """There is no room for this now; the same request may succeed later."""


class LimitError(BusyError):
    """A key has used up what it may have for now; `limit` names which of its limits."""

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class StorageFullError(BusyError):
    """There is no room left to store this; nothing half written was left behind."""


class JobQueueError(ReelgridError):
    """The database of jobs cannot be reached, read or written, or is of a newer version."""


class StaleClaim(ReelgridError):  # noqa: N818  # what has become of a claim, not a mistake
    """A worker's claim has been overtaken: the job was given to another, ended or removed."""


class GenerationError(ReelgridError):
    """A generation began and could not be finished."""


class DeviceMemoryError(GenerationError):
    """A generation needs more memory than the device has free; a larger one could finish it."""


class ModelError(ReelgridError):
    """A model cannot be found, does not fit, or its files are broken."""


class ModelMemoryError(ModelError):
    """A model needs more memory than is free; with others unloaded it may fit."""


class PlanError(ReelgridError):
    """No plan satisfies the constraints; the message names the one that binds."""
