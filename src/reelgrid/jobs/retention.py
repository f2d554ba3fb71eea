"""Retention and maintenance: removal of expired files, blobs, rows and leases; space for new work.

Files are removed when their job's retention says so and never before, unless the operator allows evicting
the oldest ones. Without free space no new job is admitted, admitted jobs continue, and nothing is lost.

The row is always written first and the blobs are removed after it: a crash in between leaves a blob
without a row, which the next round finds, and never a row without its blobs. Several servers may
maintain the same store.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from reelgrid.errors import BusyError, ConflictError, JobQueueError, NotFoundError, StorageFullError
from reelgrid.jobs.job import Job
from reelgrid.jobs.queue import JobQueue
from reelgrid.settings import Settings
from reelgrid.store.blobs import Blob, Blobs

_log = logging.getLogger(__name__)

_GB: Final = 1e9
_BATCH: Final = 100
_JOB_ID: Final = re.compile(r"(?:video|image)_[0-9a-f]{24}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """The operator's rules.

    Attributes:
        quota_bytes: Limit for all blobs together; infinity means the whole disk.
        min_free_bytes: With less free on the disk no new job is admitted.
        orphan_age_s: A blob without a row is removed at this age; longer than any upload takes.
        retain_jobs_s: Jobs without files are removed this long after their end.
        evict_when_full: Whether the oldest finished files are removed when space is short.
    """

    quota_bytes: float = math.inf
    min_free_bytes: float = 1e9
    orphan_age_s: float = 3_600.0
    retain_jobs_s: float = 90 * 86_400.0
    evict_when_full: bool = False

    def __post_init__(self) -> None:
        if min(self.quota_bytes, self.orphan_age_s, self.retain_jobs_s) <= 0:
            raise ValueError(f"the quota and the ages have to be above zero: {self}")
        if self.min_free_bytes < 0:
            raise ValueError(f"min_free_bytes has to be zero or more: {self}")

    @classmethod
    def of(cls, settings: Settings) -> "RetentionPolicy":
        """Return the policy of the settings."""
        return cls(
            quota_bytes=math.inf if settings.quota_gb is None else settings.quota_gb * _GB,
            min_free_bytes=settings.min_free_gb * _GB,
            retain_jobs_s=settings.retain_jobs_s,
            evict_when_full=settings.evict_when_full,
        )


@dataclass(frozen=True, slots=True)
class StorageSpace:
    """Bytes used by blobs, and bytes free on the disk; `None` for an object store."""

    used_bytes: int
    free_bytes: int | None


def retain_s(setting_s: float) -> float | None:
    """Return a job's retention for a setting; infinity means to keep for ever."""
    return None if math.isinf(setting_s) else setting_s


def shortage_bytes(policy: RetentionPolicy, space: StorageSpace) -> float:
    """Return how many bytes have to be freed before new jobs are admitted; zero if none."""
    over_quota = space.used_bytes - policy.quota_bytes
    too_full = 0.0 if space.free_bytes is None else policy.min_free_bytes - space.free_bytes
    return max(0.0, over_quota, too_full)


def why_no_space(policy: RetentionPolicy, space: StorageSpace) -> str | None:
    """Return why no new job is admitted, in words for its sender; `None` if there is space."""
    if shortage_bytes(policy, space) == 0.0:
        return None
    if space.used_bytes > policy.quota_bytes:
        return (
            f"the stored files take {space.used_bytes / _GB:.1f} GB of the "
            f"{policy.quota_bytes / _GB:.1f} GB allowed: no new work is taken until some expire or are "
            "deleted"
        )
    assert space.free_bytes is not None
    return (
        f"the disk has {space.free_bytes / _GB:.1f} GB free, {policy.min_free_bytes / _GB:.1f} GB are "
        "kept for admitted jobs: no new work is taken until there is more"
    )


def orphans(
    stored: Iterable[Blob],
    referenced: AbstractSet[str],
    is_live: Callable[[str], bool],
    *,
    before_s: float,
) -> Sequence[Blob]:
    """Return the blobs that nothing needs: old, without a row, and not of an unfinished job.

    A worker stores blobs before its row names them, and a job may take any time: the third condition
    keeps those.

    Args:
        stored: The blobs in the store, listed before `referenced`.
        referenced: The names in rows.
        is_live: Whether the job with this id has not ended.
        before_s: Younger blobs are kept; Unix seconds on the store's clock.
    """
    return [
        blob
        for blob in stored
        if blob.modified_s < before_s
        and blob.name not in referenced
        and not any(is_live(job_id) for job_id in _JOB_ID.findall(blob.name))
    ]


def choose_evictions(
    oldest_first: Iterable[Job], sizes: Mapping[str, int], needed_bytes: float
) -> Sequence[Job]:
    """Return the fewest of the oldest finished jobs whose files free the bytes that are needed.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """What one round of maintenance has done.

    Attributes:
        num_leases: Jobs taken back from workers whose lease had expired.
        num_expired: Jobs whose files had expired.
        num_evicted: Jobs whose files were removed to free space.
        num_orphans: Blobs without a row.
        num_purged: Rows of jobs without files.
        freed_bytes: Size of the removed blobs.
    """

    num_leases: int = 0
    num_expired: int = 0
    num_evicted: int = 0
    num_orphans: int = 0
    num_purged: int = 0
    freed_bytes: int = 0


class Maintenance:
    """Keeps a job queue and its blobs within a retention policy.

    Args:
        job_queue: The queue.
        blobs: Where the files of its jobs are.
        policy: The operator's rules.
        clock: Unix seconds, as the store stamps its blobs.
    """

    def __init__(
        self,
        job_queue: JobQueue,
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

    def run(
        self, stop: threading.Event, *, every_s: float = 60.0, leases_every_s: float = 5.0
    ) -> None:
        """Maintain until `stop` is set; the body of a thread.

        Leases are looked at more often than files: a server without workers of its own has to take back
        the jobs of remote workers that are lost.
        """
        next_s = time.monotonic()
        while not stop.is_set():
            is_due = time.monotonic() >= next_s
            next_s = time.monotonic() + every_s if is_due else next_s
            try:
                if not is_due:
                    self._job_queue.expire_leases()
                elif (report := self.run_once()) != MaintenanceReport():
                    _log.info("maintenance: %s", report)
            except (BusyError, JobQueueError, OSError) as error:
                _log.warning("maintenance is delayed: %s", error)
            stop.wait(leases_every_s)

    def run_once(self) -> MaintenanceReport:
        """Take back expired leases; remove expired files, orphans, old rows, and evict if allowed."""
        num_leases = self._job_queue.expire_leases()
        self._job_queue.forget_workers()
        num_expired, freed = self._expire()
        stored = self._blobs.list()
        self._used_bytes = sum(blob.size_bytes for blob in stored)
        self._has_counted = True
        num_orphans, freed_orphans = self._remove_orphans(stored)
        num_evicted, freed_by_eviction = self._evict(stored)
        self._blobs.remove_leftovers(self._policy.orphan_age_s)
        return MaintenanceReport(
            num_leases=num_leases,
            num_expired=num_expired,
            num_evicted=num_evicted,
            num_orphans=num_orphans,
            num_purged=self._job_queue.purge(older_than_s=self._policy.retain_jobs_s),
            freed_bytes=freed + freed_orphans + freed_by_eviction,
        )

    def space(self) -> StorageSpace:
        """Return the bytes used, as counted by the last round, and the bytes free now."""
        if not self._has_counted:
            self._used_bytes = self._blobs.total_bytes()
            self._has_counted = True
        return StorageSpace(self._used_bytes, self._blobs.free_bytes())

    def check_space(self) -> None:
        """Refuse new work while space is short.

        Raises:
            StorageFullError: It is; the message says why.
        """
        reason = why_no_space(self._policy, self.space())
        if reason is not None:
            raise StorageFullError(reason)

    def _expire(self) -> tuple[int, int]:
        """Return how many jobs' files had expired, and their bytes."""
        num, freed = 0, 0
        is_more = True
        while is_more:
            expired = self._job_queue.expired(limit=_BATCH)
            freed += self._drop(expired)
            num += len(expired)
            is_more = len(expired) == _BATCH
        return num, freed

    def _evict(self, stored: Iterable[Blob]) -> tuple[int, int]:
        """Return how many jobs' files were evicted, and their bytes."""
        needed = shortage_bytes(self._policy, self.space())
        if not self._policy.evict_when_full or needed == 0:
            return 0, 0
        sizes = {blob.name: blob.size_bytes for blob in stored}
        oldest = self._job_queue.oldest_with_files(limit=_BATCH)
        chosen = choose_evictions(oldest, sizes, needed)
        return len(chosen), self._drop(chosen)

    def _drop(self, jobs: Iterable[Job]) -> int:
        """Forget jobs' files and remove the blobs that no other job needs; returns their bytes."""
        names: set[str] = set()
        for job in jobs:
            try:
                before = self._job_queue.drop_files(job.id)
            except (NotFoundError, ConflictError):  # changed by its owner meanwhile
                continue
            names |= {*before.files.values(), *before.inputs}
            names |= {checkpoint.blob for checkpoint in before.checkpoints}
        needed = self._job_queue.blob_names() if names else frozenset()
        return sum(self._remove(name) for name in names - needed)

    def _remove_orphans(self, stored: Iterable[Blob]) -> tuple[int, int]:
        """Return how many blobs had no row, and their bytes."""
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
        """Remove a blob; returns its bytes."""
        try:
            size = self._blobs.size(name)
        except FileNotFoundError:
            return 0
        self._blobs.delete(name)
        self._used_bytes -= size
        return size
