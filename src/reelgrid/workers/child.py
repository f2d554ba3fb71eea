"""A process with the supervisor's ends of both its pipes. Not here: when one is started, and why."""

import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress

from reelgrid.workers.pipes import Ends, SignsRead

Build = Callable[[Ends], list[str]]
"""Gives the command line of a process from its ends of the pipes."""


class Child:
    """A started process.

    Args:
        build: Gives its command line.
        environment: Variables for it, beside this process's own.

    Attributes:
        ends: Its ends of the pipes, as numbers that it knows them by.
        signs: What it has said of itself.

    Raises:
        OSError: It cannot be started: no memory or no process is left for it.
    """

    def __init__(self, build: Build, environment: Mapping[str, str]) -> None:
        below, lifeline = os.pipe()
        signs, above = os.pipe()
        os.set_blocking(lifeline, False)
        self.ends = Ends(below, above)
        try:
            self.process = subprocess.Popen(  # noqa: S603  # the command is ours
                build(self.ends),
                pass_fds=(below, above),
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for the supervisor to pass on
            )
        except OSError:
            os.close(lifeline)
            os.close(signs)
            raise
        finally:
            os.close(below)
            os.close(above)
        self._lifeline = lifeline
        self.signs = SignsRead(signs)

    def tell(self, said: bytes) -> bool:
        """Write down the lifeline without waiting; whether it was all taken."""
        with suppress(BlockingIOError, BrokenPipeError):
            return os.write(self._lifeline, said) == len(said)
        return False

    def close(self) -> None:
        """Close both pipes: a process that still lives is told so to leave."""
        self.signs.close()
        os.close(self._lifeline)

    def end(self) -> None:
        """Kill it, wait until it is gone, and close its pipes."""
        self.process.kill()
        self.process.wait()
        self.close()
