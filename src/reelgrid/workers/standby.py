"""A process that has imported everything and waits to be told which worker it is.

Importing takes most of the time from a worker's start to its first step. A spare holds no model, no
job and no device, so that nothing is lost with it. Not here: when a worker needs to be replaced.
"""

import json
import logging
import os
import threading
from collections.abc import Mapping

from reelgrid.workers.child import Build, Child
from reelgrid.workers.pipes import Ends

FLAG = "--spare"

_log = logging.getLogger(__name__)


class Standby:
    """At most one such process, from the supervisor's side.

    Args:
        build: Gives its command line; none keeps no spare.
        environment: Variables for it, beside this process's own.
    """

    def __init__(self, build: Build | None, environment: Mapping[str, str]) -> None:
        self._build = build
        self._environment = environment
        self._child: Child | None = None
        self._lock = threading.Lock()
        self._is_over = False

    def prepare(self) -> None:
        """Start one, if there is none and one is wanted; a failure is said, not raised."""
        with self._lock:
            if self._build is None or self._is_over or self._child is not None:
                return
            try:
                self._child = Child(self._build, self._environment)
            except OSError as error:
                _log.warning("no spare worker can be started: %s", error)

    def hire(self, build: Build) -> Child | None:
        """Return the spare, told to be what this command would have started; none if there is none."""
        with self._lock:
            child, self._child = self._child, None
        if child is None:
            return None
        order = json.dumps(build(child.ends)).encode() + b"\n"
        if child.process.poll() is None and child.tell(order):
            return child
        child.end()
        return None

    def stop(self) -> None:
        """End it, and start none any more."""
        with self._lock:
            self._is_over = True
            child, self._child = self._child, None
        if child is not None:
            child.end()


def flags(ends: Ends) -> list[str]:
    """Return the arguments of a spare process."""
    return [FLAG, str(ends.lifeline), str(ends.signs)]


def read_ends(arguments: list[str]) -> Ends | None:
    """Return a spare process's pipe ends; none if these are not the arguments of one."""
    if arguments[:1] != [FLAG]:
        return None
    _, lifeline, signs = arguments
    return Ends(int(lifeline), int(signs))


def wait_for_order(lifeline: int) -> list[str] | None:
    """Return the command that this process is to be, when it is told; none when it is not needed."""
    os.set_inheritable(lifeline, False)
    line = bytearray()
    while not line.endswith(b"\n"):  # byte by byte: what follows is for the worker
        said = os.read(lifeline, 1)
        if not said:
            return None
        line += said
    command: list[str] = json.loads(line)
    return command
