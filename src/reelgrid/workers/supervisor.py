"""Starts worker processes, starts them again when they die, and stops them.

A dead worker's lease is ended at once, so that its job need not wait for it to run out; that is
done only when the system has said that the process is gone. Not here: what a worker does, and
leases of workers that live elsewhere.
"""

import functools
import logging
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reelgrid.workers.child import Build, Child
from reelgrid.workers.pipes import SIGN_EVERY_S, WAKE, Ends
from reelgrid.workers.standby import Standby

FROZEN_AFTER_S = 20.0
GRACE_S = 15.0
MAX_PAUSE_S = 30.0
CRASH_LOOP = 3
"""So many deaths in a row before a worker could take work are said to be a crash loop."""

_FIRST_PAUSE_S = 0.5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Slot:
    """A place for a worker, whichever process holds it now.

    Attributes:
        is_ready: Whether its process can take work.
        num_starts: Processes started so far.
        num_early_deaths: Deaths in a row before the process could take work.
        failure: Why the last of them died, in one line.
    """

    number: int
    name: str = ""
    child: Child | None = None
    is_ready: bool = False
    num_starts: int = 0
    num_early_deaths: int = 0
    failure: str | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The process that holds the place now."""
        return None if self.child is None else self.child.process

    @property
    def is_crash_looping(self) -> bool:
        """Whether its processes die before they can take work."""
        return self.num_early_deaths >= CRASH_LOOP


class Supervisor:
    """Keeps workers running until it is stopped, or its process dies.

    Args:
        commands: For each worker, what gives its command line from its name and its pipe ends.
        end_leases: Ends the leases of the worker of that name; called when its process is gone.
        environment: Variables for the workers, beside this process's own.
        spare: Gives the command line of a spare process; none keeps no spare.
        frozen_after_s: A worker that shows no sign of life for this long is killed.
        grace_s: A worker that is to stop is killed after this long.
    """

    def __init__(
        self,
        commands: Sequence[Callable[[str, Ends], list[str]]],
        end_leases: Callable[[str], object],
        *,
        environment: dict[str, str] | None = None,
        spare: Build | None = None,
        frozen_after_s: float = FROZEN_AFTER_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._commands = commands
        self._end_leases = end_leases
        self._environment = environment or {}
        self._spare = Standby(spare, self._environment)
        self._frozen_after_s = frozen_after_s
        self._grace_s = grace_s
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()
        self.slots = tuple(Slot(number) for number in range(len(commands)))

    def start(self) -> None:
        """Start all workers and return; a thread for each keeps it running."""
        for slot in self.slots:
            slot.thread = threading.Thread(
                target=self._keep, args=(slot,), name=f"keeper-{slot.number}", daemon=True
            )
            slot.thread.start()

    def wake(self) -> None:
        """Tell the workers that there may be work; cheap, and never waits."""
        with self._lock:
            for slot in self.slots:
                if slot.child is not None:
                    slot.child.tell(WAKE)

    def stop(self) -> None:
        """Ask all workers to save and leave, kill those that do not, and return when all are gone."""
        self._is_stopping.set()
        for slot in self.slots:
            self._signal(slot, signal.SIGTERM)
        self._spare.stop()
        give_up_at = time.monotonic() + self._grace_s
        for slot in self.slots:
            if slot.thread is not None:
                slot.thread.join(max(0.0, give_up_at - time.monotonic()))
        for slot in self.slots:
            if slot.thread is not None and slot.thread.is_alive():
                _log.warning("worker %s does not leave and is killed", slot.name)
                self._signal(slot, signal.SIGKILL)
                slot.thread.join()

    @property
    def is_ready(self) -> bool:
        """Whether any worker can take work."""
        return any(slot.is_ready for slot in self.slots)

    @property
    def failures(self) -> tuple[str, ...]:
        """What keeps workers from starting, one line for each that dies again and again."""
        return tuple(
            f"worker {slot.number} died {slot.num_early_deaths} times before it could take work: "
            f"{slot.failure or 'it gave no reason'}"
            for slot in self.slots
            if slot.is_crash_looping
        )

    def _keep(self, slot: Slot) -> None:
        """Run one process after another until told to stop."""
        while not self._is_stopping.is_set():
            try:
                child = self._start(slot)
            except OSError as error:
                slot.num_early_deaths += 1
                slot.failure = str(error)
                _log.error("worker %d cannot be started: %s", slot.number, error)
            else:
                self._watch(slot, child)
                self._bury(slot, child)
            self._is_stopping.wait(self._pause_s(slot))

    def _start(self, slot: Slot) -> Child:
        name = f"{socket.gethostname()[:40]}-{slot.number}-{secrets.token_hex(4)}"
        build = functools.partial(self._commands[slot.number], name)
        child = self._spare.hire(build) or Child(build, self._environment)
        with self._lock:
            slot.name, slot.child = name, child
            slot.num_starts += 1
        if self._is_stopping.is_set():  # asked to stop while it started
            self._signal(slot, signal.SIGTERM)
        return child

    def _watch(self, slot: Slot, child: Child) -> None:
        """Return when the process closes its signs; one that is silent for too long is killed.

        Silence is counted in waits, not read from a clock: if this process was stopped itself, it
        has not waited.
        """
        num_quiet = 0
        while (heard := child.signs.wait(SIGN_EVERY_S)) != "end":
            num_quiet = num_quiet + 1 if heard == "quiet" else 0
            if child.signs.is_ready and not slot.is_ready:
                slot.is_ready = True
                self._spare.prepare()
            if num_quiet * SIGN_EVERY_S > self._frozen_after_s:
                _log.warning("worker %s shows no sign of life and is killed", slot.name)
                self._signal(slot, signal.SIGKILL)

    def _bury(self, slot: Slot, child: Child) -> None:
        """Wait until the process is gone, note how it died, and end its leases."""
        code = self._reap(slot, child)
        slot.is_ready = False
        slot.num_early_deaths = 0 if child.signs.is_ready else slot.num_early_deaths + 1
        slot.failure = child.signs.failure or f"it ended with {_ending(code)}"
        with self._lock:
            slot.child = None
            child.close()
        self._report(slot, code)
        try:
            self._end_leases(slot.name)
        except Exception:  # noqa: BLE001  # the lease runs out by itself; the worker must start
            _log.warning("the leases of %s run out by themselves", slot.name, exc_info=True)

    def _reap(self, slot: Slot, child: Child) -> int:
        """Return the exit code; a process that closed its signs and lives on is killed."""
        try:
            return child.process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._signal(slot, signal.SIGKILL)
            return child.process.wait()

    def _report(self, slot: Slot, code: int) -> None:
        if self._is_stopping.is_set():
            return
        if slot.is_crash_looping:
            _log.error(
                "worker %d has died %d times before it could take work: %s; trying again in %.0f s",
                slot.number,
                slot.num_early_deaths,
                slot.failure,
                self._pause_s(slot),
            )
        else:
            _log.warning("worker %s ended with %s and is started again", slot.name, _ending(code))

    def _pause_s(self, slot: Slot) -> float:
        """Return how long to wait before the next start: not at all after one that could work."""
        if slot.num_early_deaths == 0:
            return 0.0
        return min(MAX_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (slot.num_early_deaths - 1))

    def _signal(self, slot: Slot, number: signal.Signals) -> None:
        with self._lock:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(number)


def _ending(code: int) -> str:
    """Return an exit code in words."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
