"""What a user sets once for the machine, by environment variables that begin with REELGRID_.

Not here: anything about a single generation, which is a `Request`.
"""

import os
import sys
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _default_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "reelgrid"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/reelgrid"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "reelgrid"


class Settings(BaseSettings):
    """The user's settings; an empty variable counts as unset.

    Attributes:
        data: Folder for saved states and measurements (REELGRID_DATA).
        log_level: Least severe level that is logged (REELGRID_LOG_LEVEL).
        checkpoint_every_s: A running generation saves its state this often (REELGRID_CHECKPOINT_EVERY_S).
        database: URL of the database of jobs, postgresql://...; none is a file in `data`.
        blobs: URL of served files and states, such as s3://bucket/prefix; none is a folder in `data`.
        quota_gb: What all blobs together may take; none is the whole disk.
        evict_when_full: Whether the oldest finished files give way when there is no room.
        min_free_gb: With less free than this on the disk no new job is taken.
        retain_videos_s: Videos go this long after they are finished; `inf` is never.
        retain_images_s: Images, likewise.
        retain_jobs_s: Jobs without files are forgotten this long after their end.
        certificate: PEM file of the operator's certificate and those above it, for signing files.
        certificate_key: PEM file of its private key.
        timestamp_url: RFC 3161 time stamp authority that signing asks; none is no network.
        trust: PEM file of certificates that `reelgrid verify` trusts.
        prompts_in_metadata: Whether served files hold the prompt, not only its hash.
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
        """The folder of the states of unfinished generations."""
        return self.data / "checkpoints"

    @property
    def database_url(self) -> str:
        """Where the database of jobs is."""
        return self.database or f"sqlite:///{self.data / 'jobs.sqlite'}"

    @property
    def blobs_url(self) -> str:
        """Where served files and states are."""
        return self.blobs or str(self.data / "blobs")

    @property
    def measurements(self) -> Path:
        """The file that `reelgrid bench` appends to."""
        return self.data / "bench.jsonl"
