"""Settings of one worker process: the JSON message that its supervisor sends, or a file by hand.

Addresses may hold passwords: they travel in the message, where other users cannot see them, never on
the command line or in the environment.
"""

import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reelgrid.errors import RequestError
from reelgrid.jobs.queue import HEARTBEAT_EVERY_S, LEASE_S

_STRICT = ConfigDict(frozen=True, extra="forbid")


class WorkerIntervals(BaseModel):
    """How often a worker sends heartbeats, saves checkpoints and makes previews.

    Attributes:
        lease_s: Without a heartbeat for this long its job is given to another worker.
        heartbeat_every_s: Seconds between heartbeats.
        checkpoint_every_s: Seconds between checkpoints; longer where checkpoints are expensive.
        between_failures_s: Mean time between failures of a worker, for Daly's rule.
        preview_every_s: Least seconds between previews; `None` makes none.
    """

    model_config = _STRICT

    lease_s: float = LEASE_S
    heartbeat_every_s: float = Field(default=HEARTBEAT_EVERY_S, gt=0)
    checkpoint_every_s: float = Field(default=5.0, ge=0)
    between_failures_s: float = Field(default=4 * 3600.0, gt=0)
    preview_every_s: float | None = 1.0

    @model_validator(mode="after")
    def _check_lease(self) -> "WorkerIntervals":
        if self.heartbeat_every_s >= self.lease_s:
            raise ValueError(
                f"a heartbeat every {self.heartbeat_every_s:g} s cannot keep a lease of "
                f"{self.lease_s:g} s: send it more often"
            )
        return self


class WorkerSettings(BaseModel):
    """What one worker process needs to know.

    Attributes:
        name: Id of the worker; every process has a new one.
        database: Address of the job queue's database.
        blobs: URL of the blobs.
        scratch: Folder for temporary files, this worker's own: it is emptied at the start.
        models: The models that it may load, the first of them at the start; empty means any.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        dtype: The models' precision, or `auto`.
        data: The data folder, where the self-signed certificate is; `None` means the user's own.
        is_signed: Whether finished files are signed.
        prompts_in_metadata: Whether files hold the prompt, not only its hash.
        trace: File that events are appended to, as JSON lines; `None` means no trace.
        grace_s: When it is stopped, the process ends within this time, whatever it is doing.
        log_level: Least severe level that is logged.
    """

    model_config = _STRICT

    name: str = Field(default_factory=lambda: f"{socket.gethostname()[:40]}-{os.getpid()}")
    database: str = Field(repr=False)
    blobs: str = Field(repr=False)
    scratch: Path
    models: tuple[str, ...] = ("embedded",)
    device: str = "auto"
    dtype: str = "auto"
    data: Path | None = None
    is_signed: bool = True
    prompts_in_metadata: bool = False
    trace: Path | None = None
    grace_s: float = 8.0
    log_level: str = "WARNING"
    intervals: WorkerIntervals = Field(default_factory=WorkerIntervals)

    def message(self) -> bytes:
        """Return the settings as one line of JSON, for a worker's pipe."""
        return self.model_dump_json().encode() + b"\n"

    @classmethod
    def read(cls, message: bytes) -> "WorkerSettings":
        """Return the settings that a message holds.

        Raises:
            RequestError: It is no JSON object, or a setting is missing, unknown or out of range.
        """
        try:
            return cls.model_validate_json(message)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            param = ".".join(map(str, first["loc"])) or None
            where = f" in {param!r}" if param else ""
            raise RequestError(
                f"a worker's settings are wrong{where}: {first['msg']}", param=param
            ) from None
