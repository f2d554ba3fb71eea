"""Starts worker processes, restarts them when they die, and stops them.

Every process starts blank, and one message says which worker it is. One more process, the standby,
has not received this message yet: it has imported everything already and replaces the first worker
that dies. A dead worker's leases are ended at once, so that its job need not wait for them to expire, but
only after the system has confirmed that the process is gone.
"""

import logging
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from reelgrid.workers.pipes import ALIVE_EVERY_S, WAKE, WorkerProcess
from reelgrid.workers.settings import WorkerSettings

PROGRAM = (sys.executable, "-m", "reelgrid.workers")
FROZEN_AFTER_S = 20.0
GRACE_S = 15.0
MAX_PAUSE_S = 30.0
CRASH_LOOP = 3
"""Deaths in a row, each before the worker could take work, that are reported as a crash loop."""

_FIRST_PAUSE_S = 0.5

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class WorkerSlot:
    """One worker of the server, whichever process it is now.

    Attributes:
        is_ready: Whether its process can take work.
        num_starts: Processes started so far.
        num_early_deaths: Deaths in a row before the process could take work.
        failure: Why the last of them died, in one line.
    """

    number: int
    name: str = ""
    worker: WorkerProcess | None = None
    is_ready: bool = False
    num_starts: int = 0
    num_early_deaths: int = 0
    failure: str | None = None
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The slot's process now."""
        return None if self.worker is None else self.worker.process

    @property
    def is_crash_looping(self) -> bool:
        """Whether its processes die before they can take work."""
        return self.num_early_deaths >= CRASH_LOOP


class Supervisor:
    """Keeps workers running until it is stopped, or its process dies.

    Args:
        workers: Settings of each worker; a process gets a name of its own besides.
        worker_died: Ends the leases of the worker of that name; called when its process is gone.
        has_standby: Whether a process is kept ready that replaces the next worker that dies.
        program: Command line of a blank worker process.
        frozen_after_s: A worker that sends no sign of life for this long is killed.
        grace_s: A worker that is asked to stop is killed after this long.
    """

    def __init__(
        self,
        workers: Sequence[WorkerSettings],
        worker_died: Callable[[str], object],
        *,
        has_standby: bool = False,
        program: Sequence[str] = PROGRAM,
        frozen_after_s: float = FROZEN_AFTER_S,
        grace_s: float = GRACE_S,
    ) -> None:
        self._workers = workers
        self._worker_died = worker_died
        self._has_standby = has_standby
        self._program = program
        self._frozen_after_s = frozen_after_s
        self._grace_s = grace_s
        self._is_stopping = threading.Event()
        self._lock = threading.Lock()  # of the slots' processes, names and the standby
        self._standby: WorkerProcess | None = None
        self.slots = tuple(WorkerSlot(number) for number in range(len(workers)))

    def start(self) -> None:
        """Start all workers and return; a thread for each keeps it running."""
        for slot in self.slots:
            slot.thread = threading.Thread(
                target=self._run, args=(slot,), name=f"slot-{slot.number}", daemon=True
            )
            slot.thread.start()

    def wake(self) -> None:
        """Tell the workers that there may be work; cheap, and never waits."""
        with self._lock:
            for slot in self.slots:
                if slot.worker is not None:
                    slot.worker.send(WAKE)

    def stop(self) -> None:
        """Ask all workers to save and exit, kill those that do not, and return when all are gone."""
        self._is_stopping.set()
        for slot in self.slots:
            self._signal(slot, signal.SIGTERM)
        if (standby := self._take_standby()) is not None:
            standby.kill()
        give_up_at = time.monotonic() + self._grace_s
        for slot in self.slots:
            if slot.thread is not None:
                slot.thread.join(max(0.0, give_up_at - time.monotonic()))
        for slot in self.slots:
            if slot.thread is not None and slot.thread.is_alive():
                _log.warning("worker %s does not stop and is killed", slot.name)
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

    def _run(self, slot: WorkerSlot) -> None:
        """Run one process after another until asked to stop."""
        while not self._is_stopping.is_set():
            try:
                worker = self._start(slot)
            except OSError as error:
                slot.num_early_deaths += 1
                slot.failure = str(error)
                _log.error("worker %d cannot be started: %s", slot.number, error)
            else:
                self._watch(slot, worker)
                self._handle_death(slot, worker)
            self._is_stopping.wait(self._pause_s(slot))

    def _start(self, slot: WorkerSlot) -> WorkerProcess:
        """Return a process that received this worker's message: the standby if there is one, or a new one."""
        name = f"{socket.gethostname()[:40]}-{slot.number}-{secrets.token_hex(4)}"
        message = self._workers[slot.number].model_copy(update={"name": name}).message()
        worker = self._take_standby()
        if worker is None or not worker.send(message):
            if worker is not None:  # it is dead
                worker.kill()
            worker = WorkerProcess(self._program)
            worker.send(message)
        with self._lock:
            slot.name, slot.worker = name, worker
            slot.num_starts += 1
        if self._is_stopping.is_set():  # asked to stop while it started
            self._signal(slot, signal.SIGTERM)
        return worker

    def _take_standby(self) -> WorkerProcess | None:
        with self._lock:
            standby, self._standby = self._standby, None
        return standby

    def _prepare_standby(self) -> None:
        """Start the standby if there is none; a failure is logged, not raised."""
        with self._lock:
            if not self._has_standby or self._standby is not None or self._is_stopping.is_set():
                return
            try:
                self._standby = WorkerProcess(self._program)
            except OSError as error:
                _log.warning("no standby worker can be started: %s", error)

    def _watch(self, slot: WorkerSlot, worker: WorkerProcess) -> None:
        """Return when the process closes its liveness pipe; one that is silent for too long is killed.

        Silence is counted in waits, not read from a clock: if this process was stopped itself, it
        has not waited. A process that the system cannot kill is killed and logged once.
        """
        num_quiet, is_killed = 0, False
        while (heard := worker.liveness.wait(ALIVE_EVERY_S)) != "end":
            num_quiet = num_quiet + 1 if heard == "quiet" else 0
            if worker.liveness.is_ready and not slot.is_ready:
                slot.is_ready = True
                self._prepare_standby()
            if num_quiet * ALIVE_EVERY_S > self._frozen_after_s and not is_killed:
                _log.warning("worker %s shows no sign of life and is killed", slot.name)
                self._signal(slot, signal.SIGKILL)
                is_killed = True

    def _handle_death(self, slot: WorkerSlot, worker: WorkerProcess) -> None:
        """Wait until the process is gone, note how it died, and end its leases."""
        code = self._reap(slot, worker)
        slot.is_ready = False
        slot.num_early_deaths = 0 if worker.liveness.is_ready else slot.num_early_deaths + 1
        slot.failure = worker.liveness.failure or f"it ended with {_exit_reason(code)}"
        with self._lock:
            slot.worker = None
            worker.close()
        self._report(slot, code)
        try:
            self._worker_died(slot.name)
        except Exception:  # noqa: BLE001  # the lease expires by itself; the worker must start
            _log.warning("the leases of %s expire by themselves", slot.name, exc_info=True)

    def _reap(self, slot: WorkerSlot, worker: WorkerProcess) -> int:
        """Return the exit code; a process that closed its pipe and does not exit is killed."""
        try:
            return worker.process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._signal(slot, signal.SIGKILL)
            return worker.process.wait()

    def _report(self, slot: WorkerSlot, code: int) -> None:
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
            _log.warning("worker %s ended with %s and is restarted", slot.name, _exit_reason(code))

    def _pause_s(self, slot: WorkerSlot) -> float:
        """Return how long to wait before the next start: not at all after one that could work."""
        if slot.num_early_deaths == 0:
            return 0.0
        return min(MAX_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (slot.num_early_deaths - 1))

    def _signal(self, slot: WorkerSlot, number: signal.Signals) -> None:
        with self._lock:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(number)


def _exit_reason(code: int) -> str:
    """Return an exit code in words."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
