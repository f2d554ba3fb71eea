"""What is removed and when, and whether there is room for more: decisions, and nothing else.

Files go when their job's policy says so and never before, unless the operator allows that the oldest
give way to new ones. Without room no new job is taken, those that were taken go on, and nothing is
lost. Not here: doing it (`sweeper`).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from reelgrid.jobs.job import Job
from reelgrid.settings import Settings
from reelgrid.store import Blob

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
        evicts_when_full: Whether the oldest finished files give way when there is no room.
    """

    quota_bytes: float = math.inf
    min_free_bytes: float = 1e9
    orphan_age_s: float = 3_600.0
    retain_jobs_s: float = 90 * 86_400.0
    evicts_when_full: bool = False

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
            evicts_when_full=settings.evicts_when_full,
        )


@dataclass(frozen=True, slots=True)
class Room:
    """What is taken, and what is free on the disk; none where the store has no end."""

    used_bytes: int
    free_bytes: int | None


def retain_s(setting_s: float) -> float | None:
    """Return a job's retention by a setting, where infinity is never."""
    return None if math.isinf(setting_s) else setting_s


def shortage_bytes(policy: RetentionPolicy, room: Room) -> float:
    """Return how much has to go before there is room; zero if there is."""
    over_quota = room.used_bytes - policy.quota_bytes
    too_full = 0.0 if room.free_bytes is None else policy.min_free_bytes - room.free_bytes
    return max(0.0, over_quota, too_full)


def why_no_room(policy: RetentionPolicy, room: Room) -> str | None:
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


def to_give_way(
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
