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
        save_every_s: A running generation saves its state this often (REELGRID_SAVE_EVERY_S).
    """

    model_config = SettingsConfigDict(env_prefix="REELGRID_", env_ignore_empty=True, frozen=True)

    data: Path = Field(default_factory=_default_data)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    save_every_s: float = Field(default=5.0, ge=0.0)

    @property
    def states(self) -> Path:
        """The folder of the states of unfinished generations."""
        return self.data / "states"

    @property
    def measurements(self) -> Path:
        """The file that `reelgrid bench` appends to."""
        return self.data / "bench.jsonl"
