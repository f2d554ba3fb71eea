"""The job queue: one durable table of jobs, which API, workers and operator use in three roles.

Protocols, implemented by `sql.sql_queue.SqlJobQueue` over SQLite and PostgreSQL and opened by
`open_job_queue`. Every method is one transaction. Safe to call from several threads and processes at
once. Times are Unix seconds on the database's clock.

Every method may raise `JobQueueError` (the database cannot be reached or written: no permission, full
disk) and `BusyError` (it was locked for longer than the timeout); nothing has changed then.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Literal, Protocol, runtime_checkable

from reelgrid.jobs.accounting import (
    Counter,
    JobCount,
    OutboxEntry,
    OwnerUsage,
    QueuePosition,
    TimingProfile,
)
from reelgrid.jobs.job import Job, JobPage, KeyLimits, NewJob
from reelgrid.jobs.messages import Claim, Command, JobProgress, KnownWorker, Timing, WorkerInfo

LEASE_S = 20.0
HEARTBEAT_EVERY_S = 5.0


@runtime_checkable
class ClientQueue(Protocol):
    """The queue for owners of jobs. `owner=None` is the operator, who sees all jobs."""

    def submit(self, job: NewJob, *, limits: KeyLimits | None = None) -> Job:
        """Admit a job and return it. When this returns, the job is durable.

        The fair start, the rank and, if preemption is worthwhile, the mark on the running job that has
        to yield are written in the same transaction. If the owner has used the idempotency key before,
        the job of that time is returned and nothing else happens.

        Args:
            job: What has to be done.
            limits: The key's; `max_jobs` and `max_gpu_s_per_day` are checked here, free of races.

        Returns:
            The job.

        Raises:
            ConflictError: The idempotency key was used with another body; `param` names it.
            LimitError: The owner has too many unfinished jobs, or no GPU-seconds left today.
        """

    def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """Return a job; raises `NotFoundError` if it does not exist or belongs to another owner."""

    def get_many(self, job_ids: Collection[str]) -> Mapping[str, Job]:
        """Return the jobs with these ids, of any owner, in one query; those that do not exist are left out."""

    def list(
        self,
        *,
        owner: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        kind: str | None = None,
    ) -> JobPage:
        """Return jobs by time of admission, starting after the job `after`.

        Raises `NotFoundError` if `after` is not among them. `limit` is 1 to 1,000.
        """

    def cancel(self, job_id: str, *, owner: str | None = None) -> Job:
        """End a job: at once if no worker has it, otherwise at its next step.

        A running job is returned with the detail `cancelling`; whatever its worker does from then on, it
        ends as failed with the code `cancelled`. A job that was cancelled before is returned unchanged;
        any other job that has ended raises `ConflictError`.
        """

    def pause(self, job_id: str, *, owner: str | None = None) -> Job:
        """Pause a job: at once if no worker has it, otherwise as soon as its checkpoint is saved.

        A paused job is returned unchanged; raises `ConflictError` if it has ended or is being cancelled.
        """

    def resume(self, job_id: str, *, owner: str | None = None) -> Job:
        """Let a paused job wait for a worker again, with the rank it was admitted with.

        A requested pause that its worker has not obeyed yet is withdrawn. A job that is not paused is
        returned unchanged; raises `ConflictError` if it has ended.
        """

    def delete(self, job_id: str, *, owner: str | None = None) -> Job:
        """Remove a job and return it as it was, so that the caller can remove its blobs.

        A running job is cancelled and hidden at once, and removed when its worker stops.
        """

    def position_of(self, job: Job) -> QueuePosition | None:
        """Return a waiting job's position in the queue; `None` if it is not waiting. Up to 1 s old."""

    def position_if_submitted(self, job: NewJob) -> QueuePosition:
        """Return the position that a job would have if it was submitted now, by the database's clock."""


@runtime_checkable
class WorkerQueue(Protocol):
    """The queue for workers. A claim that is no longer valid raises `StaleClaim`: drop the job.

    Nothing that a worker writes with an earlier epoch has any effect, however late it arrives.
    """

    def claim(self, worker: WorkerInfo, *, lease_s: float = LEASE_S) -> Claim | None:
        """Give the worker the job that the policy chooses for it, or `None`.

        Jobs whose lease has expired return to waiting first. If there was none, call again within a
        second: a worker counts as idle only for a short time after its last claim.
        """

    def heartbeat(self, claim: Claim, progress: JobProgress) -> Command:
        """Extend the lease, report progress, and return what to do.

        Call it every `HEARTBEAT_EVERY_S` from a thread, and at every change of stage: lost workers are
        counted by how far the job had got.
        """

    def poll_command(self, claim: Claim) -> Command:
        """Return what to do, without writing: cheap enough to call at every step."""

    def save_checkpoint(self, claim: Claim, blob: str, step: int) -> tuple[str, ...]:
        """Record a checkpoint whose blob is complete in the store; counts as a heartbeat.

        Returns:
            Names of blobs that no row refers to any more: the caller may remove them.
        """

    def finish(
        self, claim: Claim, files: Mapping[str, str], *, timing: Timing | None = None
    ) -> Job:
        """Complete the job with the blobs of its files, which are complete in the store.

        Check the phase of the returned job: a job that was cancelled meanwhile is `FAILED`, and the
        caller removes its files, and the blobs of its checkpoints in any case. Safe to repeat if the
        answer was lost: the same finish of the same claim returns the same job.
        """

    def fail(self, claim: Claim, code: str, message: str, *, needs_gib: float | None = None) -> Job:
        """End the job with a reason for its owner: one line, without paths or traces.

        With the code `out_of_memory`, if a live worker has more memory (at least `needs_gib`), the job
        waits for it instead, with a larger need of memory: check the phase of the returned job.
        """

    def release(self, claim: Claim, reason: str) -> Job:
        """Give up the claim: the job waits again, or is paused or cancelled if that was requested.

        Args:
            claim: The claim, which is void afterwards.
            reason: For people: "yielded", "stopped", "paused" ...

        Returns:
            The job; a cancelled one is `FAILED`, and the caller removes its blobs.
        """

    def worker_died(self, worker: str) -> int:
        """End the leases of a worker whose process is known to be dead; returns how many."""

    def expire_leases(self) -> int:
        """Take back the jobs whose lease has expired; returns how many.

        Every claim does this too; `retention.Maintenance` does it for a server without workers.
        """


@runtime_checkable
class OperatorQueue(Protocol):
    """The queue for the operator: readiness, metrics, retention and webhooks."""

    def now(self) -> float:
        """Return the database's time, in Unix seconds."""

    def workers(self) -> Sequence[KnownWorker]:
        """Return the workers in the table, the live ones marked."""

    def forget_workers(self) -> int:
        """Remove workers that have not been seen for a day; returns how many."""

    def job_counts(self) -> Sequence[JobCount]:
        """Return how many jobs there are by phase and model."""

    def oldest_wait_s(self) -> float:
        """Return for how long the oldest waiting job has been waiting; 0 if none waits."""

    def counters(self) -> Sequence[Counter]:
        """Return all counters and histograms."""

    def observe(self, name: str, label: str = "", value: float | None = None) -> None:
        """Add one to a counter, or one value to the histogram of that name."""

    def profiles(self, *, model: str | None = None) -> Sequence[TimingProfile]:
        """Return the measured times."""

    def usage(self, *, owner: str | None = None, since: date | None = None) -> Sequence[OwnerUsage]:
        """Return GPU-seconds by owner and day (UTC), newest first."""

    def expired(self, *, limit: int = 100) -> Sequence[Job]:
        """Return ended jobs with files that are past `expires_at`, the longest expired first."""

    def oldest_with_files(self, *, limit: int = 100) -> Sequence[Job]:
        """Return ended jobs with files, oldest first: candidates for eviction from a full disk."""

    def drop_files(self, job_id: str) -> Job:
        """Forget the files and checkpoints of an ended job; returns it as it was before.

        The row is written first, then the caller removes the blobs: an interruption in between leaves
        blobs without a row, which retention finds by `blob_names`.
        """

    def purge(self, *, older_than_s: float, limit: int = 1_000) -> int:
        """Remove jobs that ended this long ago and have no files; returns how many."""

    def blob_names(self) -> frozenset[str]:
        """Return the names of all blobs that a row refers to: files, checkpoints, previews, inputs.

        The blob of an upload may be missing here for as long as an upload takes: its row is written
        after it.
        """

    def claim_outbox(self, *, limit: int = 20, lease_s: float = 60.0) -> Sequence[OutboxEntry]:
        """Return webhooks that are due, hidden from other senders for `lease_s`."""

    def settle_outbox(self, entry: OutboxEntry, *, retry_in_s: float | None) -> None:
        """Remove a webhook (delivered, or given up), or make it due again after `retry_in_s`."""


@runtime_checkable
class JobQueue(ClientQueue, WorkerQueue, OperatorQueue, Protocol):
    """All three roles."""
