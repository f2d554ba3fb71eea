"""Names for files that the user did not name one by one."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

_MAX_WORDS_BYTES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Namer:
    """Where each file goes.

    Attributes:
        output: What the user gave: a file, or a folder for many.
        suffix: Of names that are made up here.
        count: Files of each prompt.
        is_many: Whether there are many prompts, so that `output` is the folder for them.
    """

    output: Path | None
    suffix: str
    count: int
    is_many: bool

    def path(self, prompt: str, number: int) -> Path:
        """Return the path of the `number`-th file of a prompt, counted from 0."""
        if self.is_many:
            path = (self.output or Path()) / f"{_words(prompt)}-{_digest(prompt)}{self.suffix}"
        else:
            path = self.output or Path(f"{_words(prompt)}{self.suffix}")
        if self.count == 1:
            return path
        digits = len(str(self.count))
        return path.with_name(f"{path.stem}-{number + 1:0{digits}}{path.suffix}")


def _words(prompt: str) -> str:
    words = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")
    return words.encode()[:_MAX_WORDS_BYTES].decode(errors="ignore").rstrip("-") or "clip"


def _digest(prompt: str) -> str:
    """Return a few characters that tell prompts apart, whatever their order in the file."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:6]
