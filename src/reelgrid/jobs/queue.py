"""The desk: the one place that knows what is to be done, by whom, and what has become of it.

A role, implemented by `sql_queue.SqlJobQueue` over SQLite and PostgreSQL; made by `sql_queue.open_job_queue`. Every
method is one transaction: it has happened or it has not. Safe to call from several threads and
processes at once. Times are Unix seconds on the database's clock.

Every method may raise `JobQueueError` (the database cannot be reached or written: full disk, no
permission) and `BusyError` (it was locked for longer than the patience); nothing has happened then.
"""

from collections.abc import Mapping, Sequence
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
    """What the owners of jobs ask for. `owner=None` is the operator, who sees everything."""

    def submit(self, job: NewJob, *, limits: KeyLimits | None = None) -> Job:
        """Admit a job and return it: when this returns, it is not lost any more.

        The fair turn, the rank and, where it pays, the mark on the running job that is to yield are
        set in the same transaction. With an idempotency key that the owner has used before, the job
        of that time is returned and nothing else happens.

        Args:
            job: What is to be done.
            limits: The key's; `max_jobs` and `max_gpu_s_per_day` are enforced here, without a race.

        Returns:
            The job.

        Raises:
            ConflictError: The idempotency key was used with another body; `param` names it.
            LimitError: The owner has too many unfinished jobs, or no GPU-seconds left today.
        """
        ...

    def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """Return a job; raises `NotFoundError` if there is none, or it is another owner's."""
        ...

    def list(
        self,
        *,
        owner: str | None = None,
        after: str | None = None,
        limit: int = 20,
        order: Literal["asc", "desc"] = "desc",
        kind: str | None = None,
    ) -> JobPage:
        """Return jobs by time of admission, from behind the job `after`.

        Raises `NotFoundError` if there is no job `after` among them. `limit` is 1 to 1,000.
        """
        ...

    def cancel(self, job_id: str, *, owner: str | None = None) -> Job:
        """End a job: one that no worker has at once, a running one at its next step.

        A running job is returned with the detail `cancelling`; whatever its worker does from then
        on, it ends as failed with the code `cancelled`. A job that has ended stays as it is:
        `ConflictError`, except for one that was cancelled before, which is returned.
        """
        ...

    def pause(self, job_id: str, *, owner: str | None = None) -> Job:
        """Hold a job back: one that no worker has at once, a running one when it has saved its state.

        A paused job is returned as it is; raises `ConflictError` if it has ended or is cancelled.
        """
        ...

    def resume(self, job_id: str, *, owner: str | None = None) -> Job:
        """Let a paused job go on, with the rank it was admitted with.

        A pause that its worker has not obeyed yet is taken back. A job that is not paused is
        returned as it is; raises `ConflictError` if it has ended.
        """
        ...

    def delete(self, job_id: str, *, owner: str | None = None) -> Job:
        """Remove a job and return it as it was, so that the caller can remove its blobs.

        A running job is cancelled, is not seen any more, and goes when its worker lets go.
        """
        ...

    def queue_position(self, job_id: str, *, owner: str | None = None) -> QueuePosition | None:
        """Return a waiting job's place in the queue; none if it is not waiting. Up to 1 s old."""
        ...

    def position_for(self, *, rank: float, memory_gib: float, model: str) -> QueuePosition:
        """Return the place that a job with this rank would have, before it is admitted."""
        ...

    def rank_now(self, job: NewJob) -> float:
        """Return the rank that the job would be admitted with now."""
        ...


@runtime_checkable
class WorkerQueue(Protocol):
    """What workers ask for. A claim that is no longer theirs raises `StaleClaim`: drop the job.

    Nothing that a worker of an earlier epoch writes has any effect, however late it arrives.
    """

    def claim(self, worker: WorkerInfo, *, lease_s: float = LEASE_S) -> Claim | None:
        """Give the worker the job that the policy chooses for it, or none.

        Jobs whose lease has run out go back to waiting first. To be called again after a second or
        less when there was none: a worker that asks counts as idle for a short time only.
        """
        ...

    def heartbeat(self, claim: Claim, progress: JobProgress) -> Command:
        """Extend the lease, report progress, and learn what to do.

        From a thread every `HEARTBEAT_EVERY_S`, and at every change of stage: the desk counts a worker's
        deaths by how far the job had got.
        """
        ...

    def poll_command(self, claim: Claim) -> Command:
        """Learn what to do, without writing anything: cheap enough for the edge of every step."""
        ...

    def save_checkpoint(self, claim: Claim, blob: str, step: int) -> tuple[str, ...]:
        """Note a saved state whose blob is complete in the store; a beat as well.

        Returns:
            Names of blobs that no row refers to any more: the caller may remove them.
        """
        ...

    def finish(
        self, claim: Claim, files: Mapping[str, str], *, timing: Timing | None = None
    ) -> Job:
        """Complete the job with the blobs of its files, which are complete in the store.

        Look at the phase of what comes back: a job that was cancelled meanwhile is `FAILED`, and
        its files are the caller's to remove, as the blobs of its saved states are in any case.
        Safe to try again when the answer was lost: the same finish of the same claim is the same.
        """
        ...

    def fail(self, claim: Claim, code: str, message: str, *, needs_gib: float | None = None) -> Job:
        """End the job with a reason for its owner: one line, without paths or traces.

        With the code `out_of_memory` it goes back to waiting, with a larger need of memory, if a
        live worker has more (at least `needs_gib`): look at the phase of what comes back.
        """
        ...

    def release(self, claim: Claim, reason: str) -> Job:
        """Let go of the job: it waits again, is paused or is cancelled, as was wanted of it.

        Args:
            claim: The claim, which is void afterwards.
            reason: For people: "yielded", "stopped", "paused" ...

        Returns:
            The job; a cancelled one is `FAILED`, and its blobs are the caller's to remove.
        """
        ...

    def worker_died(self, worker: str) -> int:
        """End the leases of a worker whose process is known to be dead; returns how many."""
        ...

    def expire_leases(self) -> int:
        """Take back the jobs whose lease has run out; returns how many.

        Every claim does so too; this is for a server that has no worker at the moment.
        """
        ...


@runtime_checkable
class OperatorQueue(Protocol):
    """What the operator, the metrics and the sweeps ask for."""

    def check_readable(self) -> None:
        """Return if the database can be read and written now."""
        ...

    def now(self) -> float:
        """Return the database's time, in Unix seconds."""
        ...

    def workers(self) -> Sequence[KnownWorker]:
        """Return the workers that were heard of within the last day, the live ones marked."""
        ...

    def job_counts(self) -> Sequence[JobCount]:
        """Return how many jobs there are by phase and model."""
        ...

    def oldest_wait_s(self) -> float:
        """Return for how long the job that has waited longest has been waiting; 0 if none waits."""
        ...

    def counters(self) -> Sequence[Counter]:
        """Return all counts and histograms."""
        ...

    def observe(self, name: str, label: str = "", value: float | None = None) -> None:
        """Add one to a count, or one observation to the histogram of that name."""
        ...

    def profiles(self, *, model: str | None = None) -> Sequence[TimingProfile]:
        """Return the measured times."""
        ...

    def usage(self, *, owner: str | None = None, since: date | None = None) -> Sequence[OwnerUsage]:
        """Return GPU-seconds by owner and day (UTC), newest first."""
        ...

    def num_unfinished(self, owner: str) -> int:
        """Return how many jobs of the owner have not ended."""
        ...

    def expired(self, *, limit: int = 100) -> Sequence[Job]:
        """Return jobs that have ended, have files and are past `expires_at`, longest first."""
        ...

    def oldest_with_files(self, *, limit: int = 100) -> Sequence[Job]:
        """Return jobs that have ended and have files, oldest first: what a full disk gives up."""
        ...

    def drop_files(self, job_id: str) -> Job:
        """Forget the files and states of a job that has ended; returns it as it was before.

        The row goes first, then the blobs: what is interrupted between leaves blobs without a row,
        which the sweep of `blob_names` finds.
        """
        ...

    def purge(self, *, older_than_s: float, limit: int = 1_000) -> int:
        """Remove jobs that ended this long ago and have no files; returns how many."""
        ...

    def blob_names(self) -> frozenset[str]:
        """Return the names of all blobs that a row refers to: files, states, previews, inputs.

        A blob that is younger than the longest upload takes may be missing here: its row is
        written after it.
        """
        ...

    def claim_outbox(self, *, limit: int = 20, lease_s: float = 60.0) -> Sequence[OutboxEntry]:
        """Return notices that are due, held back from other senders for `lease_s`."""
        ...

    def settle_outbox(self, notice: OutboxEntry, *, retry_in_s: float | None) -> None:
        """Strike off a notice (delivered, or given up), or have it come again after `retry_in_s`."""
        ...


@runtime_checkable
class JobQueue(ClientQueue, WorkerQueue, OperatorQueue, Protocol):
    """All of it."""
