"""Settings: what a user sets once for the machine, by environment variables that begin with REELGRID_."""

import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

DATABASE_FILE = "jobs.sqlite"
"""Name of the job queue's database file in a data folder."""

_EARLIER_DATABASE_FILE = "desk.sqlite"

RENAMED_VARIABLES = {
    "REELGRID_DESK": "REELGRID_DATABASE",
    "REELGRID_SAVE_EVERY_S": "REELGRID_CHECKPOINT_EVERY_S",
    "REELGRID_EVICTS_WHEN_FULL": "REELGRID_EVICT_WHEN_FULL",
    "REELGRID_SHOWS_PROMPTS": "REELGRID_PROMPTS_IN_METADATA",
    "REELGRID_WEBHOOKS_TO_PRIVATE": "REELGRID_ALLOW_PRIVATE_WEBHOOKS",
}
"""Earlier names of variables, with the names of today."""


def _default_data() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/reelgrid"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "reelgrid"


class Settings(BaseSettings):
    """The user's settings; an empty variable counts as unset.

    Attributes:
        data: Folder for checkpoints, measurements and, by default, the database and blobs (REELGRID_DATA).
        log_level: Lowest level that is logged (REELGRID_LOG_LEVEL).
        checkpoint_every_s: Seconds between checkpoints of a generation (REELGRID_CHECKPOINT_EVERY_S).
        database: URL of the job queue's database, postgresql://...; `None` means a file in `data`.
        blobs: URL of served files and checkpoints, such as s3://bucket/prefix; `None` means a folder in
            `data`.
        quota_gb: Limit for all blobs together; `None` means the whole disk.
        evict_when_full: Whether the oldest finished files are removed when space is short.
        min_free_gb: With less free on the disk no new job is admitted.
        retain_videos_s: Videos are removed this long after they are finished; `inf` means never.
        retain_images_s: The same for images.
        retain_jobs_s: Jobs without files are removed this long after their end.
        certificate: PEM file of the operator's certificate chain, for signing files.
        certificate_key: PEM file of its private key.
        timestamp_url: RFC 3161 time stamp authority for signatures; `None` means no network access.
        trust: PEM file of certificates that `reelgrid verify` trusts.
        prompts_in_metadata: Whether served files contain the prompt, not only its hash.
        allow_private_webhooks: Whether webhooks may go to addresses that are not public.
    """

    model_config = SettingsConfigDict(env_prefix="REELGRID_", env_ignore_empty=True, frozen=True)

    data: Path = Field(default_factory=_default_data)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    checkpoint_every_s: float = Field(default=5.0, ge=0.0)
    database: str | None = None
    blobs: str | None = None
    quota_gb: float | None = Field(default=None, gt=0.0)
    min_free_gb: float = Field(default=1.0, ge=0.0)
    evict_when_full: bool = False
    retain_videos_s: float = Field(default=7 * 86_400.0, gt=0.0)
    retain_images_s: float = Field(default=86_400.0, gt=0.0)
    retain_jobs_s: float = Field(default=90 * 86_400.0, gt=0.0)
    certificate: Path | None = None
    certificate_key: Path | None = None
    timestamp_url: str | None = None
    trust: Path | None = None
    prompts_in_metadata: bool = False
    allow_private_webhooks: bool = False

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints of unfinished generations."""
        return self.data / "checkpoints"

    @property
    def database_url(self) -> str:
        """URL of the job queue's database; a file of an earlier version keeps its name.

        An empty database beside it would have no row for any blob, and maintenance removes such blobs.
        """
        file, earlier = self.data / DATABASE_FILE, self.data / _EARLIER_DATABASE_FILE
        is_earlier = earlier.exists() and not file.exists()
        return self.database or f"sqlite:///{earlier if is_earlier else file}"

    @property
    def blobs_url(self) -> str:
        """URL or folder of served files and checkpoints."""
        return self.blobs or str(self.data / "blobs")

    @property
    def measurements(self) -> Path:
        """The file that `reelgrid bench` appends to."""
        return self.data / "bench.jsonl"
