"""Changes of jobs, broadcast to any number of listeners by one reader of the queue.

A listener gets the newest state of its job and never a backlog; a slow one skips states.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from reelgrid.errors import ReelgridError
from reelgrid.jobs.job import Job

POLL_EVERY_S = 0.1
_SHARE = 5

_log = logging.getLogger(__name__)

GetJobs = Callable[[Collection[str]], Mapping[str, Job]]


class Listener:
    """Waits for changes of one job."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.job: Job | None = None
        self.is_gone = False

    def tell(self, job: Job | None) -> None:
        """Take the newest state; `None` is a job that was deleted."""
        if job is None:
            self.is_gone = True
        elif job != self.job:
            self.job = job
        else:
            return
        self._changed.set()

    async def wait(self, at_most_s: float) -> bool:
        """Return whether the job has changed, within that time."""
        try:
            await asyncio.wait_for(self._changed.wait(), at_most_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True


class JobBroadcaster:
    """Reads the jobs that have listeners, all in one query, a few times a second.

    Args:
        get_many: Reads jobs by id; deleted ones are missing in the result.

    Attributes:
        is_closed: Whether the server stops and listeners have to end.
    """

    def __init__(self, get_many: GetJobs) -> None:
        self._get_many = get_many
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._reader: asyncio.Task[None] | None = None
        self.is_closed = False

    @property
    def num_listeners(self) -> int:
        """Number of present listeners."""
        return sum(len(listeners) for listeners in self._listeners.values())

    def close(self) -> None:
        """Wake all listeners for the last time."""
        self.is_closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.tell(None)

    @contextlib.asynccontextmanager
    async def listen(self, job: Job) -> AsyncIterator[Listener]:
        """Yield a listener that knows the job as it is given and hears of changes until the block ends."""
        listener = Listener()
        listener.tell(job)
        self._listeners[job.id].add(listener)
        if self.is_closed:
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
        """Read until there is no listener."""
        while self._listeners and not self.is_closed:
            began_s = time.perf_counter()
            ids = list(self._listeners)
            found = await run_in_threadpool(self._read_all, ids)
            for job_id, job in found.items():
                for listener in tuple(self._listeners.get(job_id, ())):
                    listener.tell(job)
            took_s = time.perf_counter() - began_s
            await asyncio.sleep(max(POLL_EVERY_S, _SHARE * took_s))

    def _read_all(self, ids: Collection[str]) -> dict[str, Job | None]:
        """Return the jobs, `None` for a deleted one; nothing if they cannot be read now."""
        try:
            found = self._get_many(ids)
        except ReelgridError as error:
            _log.warning("jobs cannot be watched now: %s", error)
            return {}
        return {job_id: found.get(job_id) for job_id in ids}


def event_stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    """Return the response that sends server-sent events as they come."""
    return StreamingResponse(
        events,
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


def event_bytes(name: str, data: object, event_id: str | None = None) -> bytes:
    """Return one server-sent event."""
    id_line = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{id_line}data: {json.dumps(data)}\n\n".encode()
