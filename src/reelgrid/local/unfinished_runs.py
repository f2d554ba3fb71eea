"""Generations that were stopped or killed: the saved state, and beside it where it was going.

A state `NAME.safetensors` is the engine's. `NAME.json` beside it names the output and how the
model was loaded; the process at work on it holds a lock on that file, so that a killed one is told
from a running one.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from reelgrid.store import is_locked, lock_file


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedRun:
    """A generation that can be gone on with.

    Attributes:
        checkpoint: File of its saved state.
        model: Name, hub id or folder that the model is loaded by.
        output: Where its file is to be.
    """

    checkpoint: Path
    model: str
    prompt: str
    output: Path
    device: str
    dtype: str

    @property
    def sidecar(self) -> Path:
        """The file beside the state."""
        return self.checkpoint.with_suffix(".json")

    @property
    def saved_at(self) -> datetime:
        """When the state was last saved."""
        return datetime.fromtimestamp(self.checkpoint.stat().st_mtime, UTC)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold it while working on it.

        Yields:
            Nothing.

        Raises:
            BusyError: Another process is at work on it.
        """
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(self.sidecar):
            try:
                self._write_note()
                yield
            finally:
                if not self.checkpoint.exists():
                    self.sidecar.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove what is saved of it; where nothing could be saved, there is nothing to remove."""
        for file in (self.checkpoint, self.sidecar):
            if file.exists():
                file.unlink(missing_ok=True)

    def _write_note(self) -> None:
        """Write it in place: under a new file, the lock would be on one that nobody sees."""
        fields = {name: str(value) for name, value in asdict(self).items() if name != "checkpoint"}
        self.sidecar.write_text(json.dumps(fields), encoding="utf-8")


def new_checkpoint_path(folder: Path, prompt: str) -> Path:
    """Return a name in `folder` that no other generation has."""
    words = "-".join(re.findall(r"[a-z0-9]+", prompt.lower())[:5]) or "clip"
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    return folder / f"{words[:40]}-{stamp}-{os.getpid()}.safetensors"


def read_unfinished_run(state: Path) -> UnfinishedRun | None:
    """Return what stands beside a state, or none where there is nothing that can be read."""
    try:
        fields = json.loads(state.with_suffix(".json").read_text(encoding="utf-8"))
        output = Path(fields.pop("output"))
        return UnfinishedRun(checkpoint=state, output=output, **fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def list_unfinished_runs(folder: Path) -> tuple[UnfinishedRun, ...]:
    """Return the generations in `folder` that nobody is at work on, the last saved first."""
    found = [
        entry
        for state in folder.glob("*.safetensors")
        if not is_locked(state.with_suffix(".json")) and (entry := read_unfinished_run(state))
    ]
    return tuple(sorted(found, key=lambda entry: entry.saved_at, reverse=True))
