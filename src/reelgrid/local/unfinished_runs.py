"""Unfinished runs: the checkpoint of each, and a JSON file beside it that names the output.

The process that works on a run holds a lock on the JSON file, so that other processes can see
whether the run's process still runs or was killed.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from reelgrid.store.lock import is_locked, lock_file

_SIDECAR_FIELDS = ("model", "prompt", "output", "device", "dtype")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRun:
    """A run that can be resumed.

    Attributes:
        checkpoint: File of its checkpoint.
        model: Name, hub id or folder of the model.
        output: The file that the run will write.
        saved_at: When the checkpoint was last saved.
    """

    checkpoint: Path
    model: str
    prompt: str
    output: Path
    device: str
    dtype: str
    saved_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    @property
    def sidecar(self) -> Path:
        """The JSON file beside the checkpoint."""
        return self.checkpoint.with_suffix(".json")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run for this process while the block runs.

        Raises:
            BusyError: Another process works on it.
        """
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(self.sidecar):
            try:
                self._write_sidecar()
                yield
            finally:
                if not self.checkpoint.exists():
                    self.sidecar.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove its files, if it has any."""
        for file in (self.checkpoint, self.sidecar):
            if file.exists():  # the folder itself may be impossible, where nothing could be saved
                file.unlink(missing_ok=True)

    def _write_sidecar(self) -> None:
        """Write it in place: the lock is on this very file, not on its name."""
        fields = {name: str(getattr(self, name)) for name in _SIDECAR_FIELDS}
        self.sidecar.write_text(json.dumps(fields), encoding="utf-8")


def new_checkpoint_path(folder: Path, prompt: str) -> Path:
    """Return a path in `folder` that no other run has."""
    words = "-".join(re.findall(r"[a-z0-9]+", prompt.lower())[:5]) or "clip"
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    return folder / f"{words[:40]}-{stamp}-{os.getpid()}.safetensors"


def read_unfinished_run(checkpoint: Path) -> UnfinishedRun | None:
    """Return the run of a checkpoint, or `None` where a file is gone or cannot be read."""
    try:
        saved_at = datetime.fromtimestamp(checkpoint.stat().st_mtime, UTC)
        fields = json.loads(checkpoint.with_suffix(".json").read_text(encoding="utf-8"))
        output = Path(fields.pop("output"))
        return UnfinishedRun(checkpoint=checkpoint, output=output, saved_at=saved_at, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def list_unfinished_runs(folder: Path) -> tuple[UnfinishedRun, ...]:
    """Return the runs in `folder` that no process works on, the last saved first."""
    found = [
        run
        for checkpoint in folder.glob("*.safetensors")
        if not is_locked(checkpoint.with_suffix(".json"))
        and (run := read_unfinished_run(checkpoint))
    ]
    return tuple(sorted(found, key=lambda run: run.saved_at, reverse=True))
