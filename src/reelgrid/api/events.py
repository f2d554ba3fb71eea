"""Changes of jobs, told to any number of listeners: one reader asks the desk for all of them.

Every listener gets the newest state of its job and never a backlog; a slow one skips states. Not
here: what is sent to clients (`control`, `images`).
"""

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable

from fastapi.concurrency import run_in_threadpool

from reelgrid.errors import NotFoundError, ReelgridError
from reelgrid.jobs.job import Job

LOOK_EVERY_S = 0.1
_SHARE = 5

_log = logging.getLogger(__name__)

Get = Callable[[str], Job]


class Listener:
    """One who waits for changes of one job."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.job: Job | None = None
        self.is_gone = False

    def tell(self, job: Job | None) -> None:
        """Take the newest state; none is a job that is gone."""
        if job is None:
            self.is_gone = True
        elif job != self.job:
            self.job = job
        else:
            return
        self._changed.set()

    async def wait(self, at_most_s: float) -> bool:
        """Return whether there is news, within that time."""
        try:
            await asyncio.wait_for(self._changed.wait(), at_most_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class JobBroadcaster:
    """Reads the jobs that somebody listens to, a few times a second.

    Args:
        get: Reads a job; raises NotFoundError when it is gone.
    """

    def __init__(self, get: Get) -> None:
        self._get = get
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._reader: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def num_listeners(self) -> int:
        """How many listen now."""
        return sum(len(listeners) for listeners in self._listeners.values())

    @property
    def is_closed(self) -> bool:
        """Whether the server stops: listeners are to go."""
        return self._is_closed

    def close(self) -> None:
        """Wake all listeners for the last time."""
        self._is_closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell(None)

    @contextlib.asynccontextmanager
    async def listen(self, job: Job) -> AsyncIterator[Listener]:
        """Yield a listener that already knows the job as it is given.

        Yields:
            The listener; it hears of changes until the block ends.
        """
        listener = Listener()
        listener.tell(job)
        self._listeners[job.id].add(listener)
        if self._is_closed:
            listener.tell(None)
        elif self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        try:
            yield listener
        finally:
            self._listeners[job.id].discard(listener)
            if not self._listeners[job.id]:
                del self._listeners[job.id]

    async def _read(self) -> None:
        """Read until nobody listens."""
        while self._listeners and not self._is_closed:
            began_s = time.perf_counter()
            ids = list(self._listeners)
            for job_id, job in (await run_in_threadpool(self._read_all, ids)).items():
                for listener in tuple(self._listeners.get(job_id, ())):
                    listener.tell(job)
            took_s = time.perf_counter() - began_s
            await asyncio.sleep(max(LOOK_EVERY_S, _SHARE * took_s))

    def _read_all(self, ids: list[str]) -> dict[str, Job | None]:
        """Return the jobs that can be read now; the others are asked for again."""
        found: dict[str, Job | None] = {}
        for job_id in ids:
            try:
                found[job_id] = self._get(job_id)
            except NotFoundError:
                found[job_id] = None
            except ReelgridError as error:
                _log.warning("jobs cannot be watched now: %s", error)
                break
        return found
