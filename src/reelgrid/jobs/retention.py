"""What is removed and when, and whether there is room for more: decisions, and nothing else.

Files go when their job's policy says so and never before, unless the operator allows that the oldest
give way to new ones. Without room no new job is taken, those that were taken go on, and nothing is
lost. Not here: doing it (`retention`).

Removes what has expired and what nobody needs, and knows whether there is room for more.

What `retention` decides is done here, the row first and then the blobs, so that a crash between the
two leaves a blob without a row, which the next sweep finds, and never a row without its blobs.
Several servers may sweep the same store.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from reelgrid.errors import BusyError, ConflictError, JobQueueError, NotFoundError, StorageFullError
from reelgrid.jobs.job import Job
from reelgrid.jobs.queue import ClientQueue, OperatorQueue
from reelgrid.settings import Settings
from reelgrid.store import Blob, Blobs

_GB = 1e9
_JOB_ID = re.compile(r"(?:video|image)_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What the operator wants.

    Attributes:
        quota_bytes: What all blobs together may take; infinity is as much as there is.
        min_free_bytes: With less than this free on the disk there is no room.
        orphan_age_s: A blob without a row is removed when it is older than any upload takes.
        retain_jobs_s: Jobs without files are forgotten this long after their end.
        evict_when_full: Whether the oldest finished files give way when there is no room.
    """

    quota_bytes: float = math.inf
    min_free_bytes: float = 1e9
    orphan_age_s: float = 3_600.0
    retain_jobs_s: float = 90 * 86_400.0
    evict_when_full: bool = False

    def __post_init__(self) -> None:
        if min(self.quota_bytes, self.orphan_age_s, self.retain_jobs_s) <= 0:
            raise ValueError(f"a quota and ages are above zero: {self}")
        if self.min_free_bytes < 0:
            raise ValueError(f"what has to stay free is not below zero: {self}")

    @classmethod
    def of(cls, settings: Settings) -> "RetentionPolicy":
        """Return the policy that the settings ask for."""
        return cls(
            quota_bytes=math.inf if settings.quota_gb is None else settings.quota_gb * _GB,
            min_free_bytes=settings.min_free_gb * _GB,
            retain_jobs_s=settings.retain_jobs_s,
            evict_when_full=settings.evict_when_full,
        )


@dataclass(frozen=True, slots=True)
class StorageSpace:
    """What is taken, and what is free on the disk; none where the store has no end."""

    used_bytes: int
    free_bytes: int | None


def retain_s(setting_s: float) -> float | None:
    """Return a job's retention by a setting, where infinity is never."""
    return None if math.isinf(setting_s) else setting_s


def shortage_bytes(policy: RetentionPolicy, room: StorageSpace) -> float:
    """Return how much has to go before there is room; zero if there is."""
    over_quota = room.used_bytes - policy.quota_bytes
    too_full = 0.0 if room.free_bytes is None else policy.min_free_bytes - room.free_bytes
    return max(0.0, over_quota, too_full)


def why_no_space(policy: RetentionPolicy, room: StorageSpace) -> str | None:
    """Return why no new job is taken, in words for its sender; none if there is room."""
    if shortage_bytes(policy, room) == 0.0:
        return None
    if room.used_bytes > policy.quota_bytes:
        return (
            f"the stored files take {room.used_bytes / _GB:.1f} GB of the {policy.quota_bytes / _GB:.1f} "
            "GB that they may: no new work is taken until some expire or are deleted"
        )
    assert room.free_bytes is not None
    return (
        f"the disk has {room.free_bytes / _GB:.1f} GB free, {policy.min_free_bytes / _GB:.1f} GB are "
        "kept for the work that was taken: no new work is taken until there is more"
    )


def orphans(
    stored: Iterable[Blob],
    referred: AbstractSet[str],
    is_live: Callable[[str], bool],
    *,
    before_s: float,
) -> Sequence[Blob]:
    """Return the blobs that nothing needs: old, of no row, and not of a job that is still at work.

    A worker's blobs are there before its row says so, for as long as the job takes: the third
    condition is what keeps them.

    Args:
        stored: What is in the store, looked up before `referred`.
        referred: The names that rows hold.
        is_live: Whether a job with this id has not ended.
        before_s: Younger blobs stay, on the store's clock.
    """
    return [
        blob
        for blob in stored
        if blob.modified_s < before_s
        and blob.name not in referred
        and not any(is_live(job_id) for job_id in _JOB_ID.findall(blob.name))
    ]


def choose_evictions(
    oldest_first: Iterable[Job], sizes: Mapping[str, int], needed_bytes: float
) -> Sequence[Job]:
    """Return the fewest of the oldest finished jobs whose files free what is needed.

    Args:
        oldest_first: Jobs that have ended and have files.
        sizes: Bytes by name of blob.
        needed_bytes: From `shortage_bytes`.
    """
    chosen: list[Job] = []
    freed = 0
    for job in oldest_first:
        if freed >= needed_bytes:
            break
        chosen.append(job)
        freed += sum(sizes.get(name, 0) for name in job.files.values())
    return chosen


_log = logging.getLogger(__name__)

_AT_ONCE: Final = 100


@runtime_checkable
class MaintainedQueue(ClientQueue, OperatorQueue, Protocol):
    """The parts of the desk that a sweep asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
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


class Maintenance:
    """Keeps one desk and its blobs within a policy.

    Args:
        job_queue: Whose jobs.
        blobs: Where their files are.
        policy: What the operator wants.
        clock: Unix seconds, as the store stamps its blobs.
    """

    def __init__(
        self,
        job_queue: MaintainedQueue,
        blobs: Blobs,
        policy: RetentionPolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._job_queue = job_queue
        self._blobs = blobs
        self._policy = policy
        self._clock = clock
        self._used_bytes = 0
        self._has_counted = False

    def run(self, stop: threading.Event, *, every_s: float = 60.0) -> None:
        """Sweep until `stop` is set; to be a thread of its own."""
        while not stop.is_set():
            try:
                swept = self.run_once()
            except (BusyError, JobQueueError, OSError) as error:
                _log.warning("the sweep has to wait: %s", error)
            else:
                if swept != MaintenanceReport():
                    _log.info("swept: %s", swept)
            stop.wait(every_s)

    def run_once(self) -> MaintenanceReport:
        """Remove what has expired, what nobody needs, and, if it may, what is in the way."""
        num_expired, freed = self._expire()
        stored = self._blobs.list()
        self._used_bytes = sum(blob.size_bytes for blob in stored)
        self._has_counted = True
        num_orphans, freed_orphans = self._remove_orphans(stored)
        num_given_way, freed_for_room = self._make_room(stored)
        self._blobs.remove_leftovers(self._policy.orphan_age_s)
        return MaintenanceReport(
            num_expired=num_expired,
            num_given_way=num_given_way,
            num_orphans=num_orphans,
            num_forgotten=self._job_queue.purge(older_than_s=self._policy.retain_jobs_s),
            freed_bytes=freed + freed_orphans + freed_for_room,
        )

    def space(self) -> StorageSpace:
        """Return what is taken, as the last sweep counted it, and what is free now."""
        if not self._has_counted:
            self._used_bytes = self._blobs.total_bytes()
            self._has_counted = True
        return StorageSpace(self._used_bytes, self._blobs.free_bytes())

    def check_space(self) -> None:
        """Refuse new work while there is no room for it.

        Raises:
            StorageFullError: There is none; the message says why.
        """
        reason = why_no_space(self._policy, self.space())
        if reason is not None:
            raise StorageFullError(reason)

    def _expire(self) -> tuple[int, int]:
        """Return how many jobs' files had expired, and the bytes that they took."""
        num, freed = 0, 0
        is_more = True
        while is_more:
            expired = self._job_queue.expired(limit=_AT_ONCE)
            freed += self._drop(expired)
            num += len(expired)
            is_more = len(expired) == _AT_ONCE
        return num, freed

    def _make_room(self, stored: Iterable[Blob]) -> tuple[int, int]:
        """Return how many jobs' files gave way, and the bytes that they took."""
        needed = shortage_bytes(self._policy, self.space())
        if not self._policy.evict_when_full or needed == 0:
            return 0, 0
        sizes = {blob.name: blob.size_bytes for blob in stored}
        chosen = choose_evictions(self._job_queue.oldest_with_files(limit=_AT_ONCE), sizes, needed)
        return len(chosen), self._drop(chosen)

    def _drop(self, jobs: Iterable[Job]) -> int:
        """Forget jobs' files and remove the blobs that no other job needs; returns their bytes."""
        names: set[str] = set()
        for job in jobs:
            try:
                before = self._job_queue.drop_files(job.id)
            except (NotFoundError, ConflictError):  # its owner was quicker
                continue
            names |= {*before.files.values(), *before.inputs}
            names |= {state.blob for state in before.checkpoints}
        needed = self._job_queue.blob_names() if names else frozenset()
        return sum(self._remove(name) for name in names - needed)

    def _remove_orphans(self, stored: Iterable[Blob]) -> tuple[int, int]:
        """Return how many blobs no row named, and the bytes that they took."""
        before_s = self._clock() - self._policy.orphan_age_s
        found = orphans(stored, self._job_queue.blob_names(), self._is_live, before_s=before_s)
        unchanged = [blob for blob in found if self._blobs.find(blob.name) == blob]
        return len(unchanged), sum(self._remove(blob.name) for blob in unchanged)

    def _is_live(self, job_id: str) -> bool:
        try:
            return not self._job_queue.get(job_id).phase.is_final
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
