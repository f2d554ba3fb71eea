"""Removes what has expired and what nobody needs, and knows whether there is room for more.

What `retention` decides is done here, the row first and then the blobs, so that a crash between the
two leaves a blob without a row, which the next sweep finds, and never a row without its blobs.
Several servers may sweep the same store.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from reelgrid.errors import BusyError, ConflictError, DeskError, FullError, NotFoundError
from reelgrid.jobs.desk import Books, Owners
from reelgrid.jobs.job import Job
from reelgrid.jobs.retention import (
    RetentionPolicy,
    Room,
    orphans,
    shortage_bytes,
    to_give_way,
    why_no_room,
)
from reelgrid.store import Blob, Blobs

_log = logging.getLogger(__name__)

_AT_ONCE: Final = 100


@runtime_checkable
class SweptDesk(Owners, Books, Protocol):
    """The parts of the desk that a sweep asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep removed.

    Attributes:
        num_expired: Jobs whose files had expired.
        num_given_way: Jobs whose files made room for others.
        num_orphans: Blobs that no row named.
        num_forgotten: Rows of jobs without files.
        freed_bytes: What the blobs took.
    """

    num_expired: int = 0
    num_given_way: int = 0
    num_orphans: int = 0
    num_forgotten: int = 0
    freed_bytes: int = 0


class Sweeper:
    """Keeps one desk and its blobs within a policy.

    Args:
        desk: Whose jobs.
        blobs: Where their files are.
        policy: What the operator wants.
        clock: Unix seconds, as the store stamps its blobs.
    """

    def __init__(
        self,
        desk: SweptDesk,
        blobs: Blobs,
        policy: RetentionPolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._desk = desk
        self._blobs = blobs
        self._policy = policy
        self._clock = clock
        self._used_bytes = 0
        self._has_counted = False

    def run(self, stop: threading.Event, *, every_s: float = 60.0) -> None:
        """Sweep until `stop` is set; to be a thread of its own."""
        while not stop.is_set():
            try:
                swept = self.sweep()
            except (BusyError, DeskError, OSError) as error:
                _log.warning("the sweep has to wait: %s", error)
            else:
                if swept != Swept():
                    _log.info("swept: %s", swept)
            stop.wait(every_s)

    def sweep(self) -> Swept:
        """Remove what has expired, what nobody needs, and, if it may, what is in the way."""
        num_expired, freed = self._expire()
        stored = self._blobs.list()
        self._used_bytes = sum(blob.size_bytes for blob in stored)
        self._has_counted = True
        num_orphans, freed_orphans = self._remove_orphans(stored)
        num_given_way, freed_for_room = self._make_room(stored)
        self._blobs.tidy(self._policy.orphan_age_s)
        return Swept(
            num_expired=num_expired,
            num_given_way=num_given_way,
            num_orphans=num_orphans,
            num_forgotten=self._desk.purge(older_than_s=self._policy.retain_jobs_s),
            freed_bytes=freed + freed_orphans + freed_for_room,
        )

    def room(self) -> Room:
        """Return what is taken, as the last sweep counted it, and what is free now."""
        if not self._has_counted:
            self._used_bytes = self._blobs.total_bytes()
            self._has_counted = True
        return Room(self._used_bytes, self._blobs.free_bytes())

    def check_room(self) -> None:
        """Refuse new work while there is no room for it.

        Raises:
            FullError: There is none; the message says why.
        """
        reason = why_no_room(self._policy, self.room())
        if reason is not None:
            raise FullError(reason)

    def _expire(self) -> tuple[int, int]:
        """Return how many jobs' files had expired, and the bytes that they took."""
        num, freed = 0, 0
        is_more = True
        while is_more:
            expired = self._desk.expired(limit=_AT_ONCE)
            freed += self._drop(expired)
            num += len(expired)
            is_more = len(expired) == _AT_ONCE
        return num, freed

    def _make_room(self, stored: Iterable[Blob]) -> tuple[int, int]:
        """Return how many jobs' files gave way, and the bytes that they took."""
        needed = shortage_bytes(self._policy, self.room())
        if not self._policy.evicts_when_full or needed == 0:
            return 0, 0
        sizes = {blob.name: blob.size_bytes for blob in stored}
        chosen = to_give_way(self._desk.oldest_with_files(limit=_AT_ONCE), sizes, needed)
        return len(chosen), self._drop(chosen)

    def _drop(self, jobs: Iterable[Job]) -> int:
        """Forget jobs' files and remove the blobs that no other job needs; returns their bytes."""
        names: set[str] = set()
        for job in jobs:
            try:
                before = self._desk.drop_files(job.id)
            except (NotFoundError, ConflictError):  # its owner was quicker
                continue
            names |= {*before.files.values(), *before.inputs}
            names |= {state.blob for state in before.states}
        needed = self._desk.blob_names() if names else frozenset()
        return sum(self._remove(name) for name in names - needed)

    def _remove_orphans(self, stored: Iterable[Blob]) -> tuple[int, int]:
        """Return how many blobs no row named, and the bytes that they took."""
        before_s = self._clock() - self._policy.orphan_age_s
        found = orphans(stored, self._desk.blob_names(), self._is_live, before_s=before_s)
        unchanged = [blob for blob in found if self._blobs.find(blob.name) == blob]
        return len(unchanged), sum(self._remove(blob.name) for blob in unchanged)

    def _is_live(self, job_id: str) -> bool:
        try:
            return not self._desk.get(job_id).phase.is_final
        except NotFoundError:
            return False

    def _remove(self, name: str) -> int:
        """Remove a blob; returns the bytes that it took."""
        try:
            size = self._blobs.size(name)
        except FileNotFoundError:
            return 0
        self._blobs.delete(name)
        self._used_bytes -= size
        return size
