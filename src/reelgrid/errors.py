"""Every error Reelgrid raises on purpose, as one tree, and the exit code of each kind.

    ReelgridError
    |- RequestError       the caller asked for something that cannot be      exit 2
    |  `- StateError      a saved generation that cannot be taken up          exit 2
    |- BusyError          nobody's doing: come back later                     exit 1
    |  `- FullError       the disk, or what may be used of it, is full        exit 1
    |- GenerationError    the work began and failed                           exit 1
    |- ModelError         the model will not load                             exit 1
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


class StateError(RequestError):
    """A saved generation is truncated, foreign, tampered with or of another model."""


class BusyError(ReelgridError):
    """There is no room for this now; the same request may succeed later."""


class FullError(BusyError):
    """There is no room left to store this; nothing half written was left behind."""


class GenerationError(ReelgridError):
    """A generation began and could not be finished."""


class ModelError(ReelgridError):
    """A model cannot be found, does not fit, or its files are broken."""


class PlanError(ReelgridError):
    """No plan satisfies the constraints; the message names the one that binds."""
