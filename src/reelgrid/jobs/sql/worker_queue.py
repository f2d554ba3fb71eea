"""`WorkerQueue` in SQL: claim, heartbeat, checkpoints, and every way to give up a claim."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import Connection, RowMapping, Update, delete

from reelgrid.errors import StaleClaim
from reelgrid.jobs.job import FailureCode, Job, Phase, Requested
from reelgrid.jobs.messages import STAGES, Claim, Command, JobProgress, Timing, WorkerInfo
from reelgrid.jobs.queue import LEASE_S
from reelgrid.jobs.sql import metering, preemption, recovery, schema, statements
from reelgrid.jobs.sql.claim import claim_statement, parameters_of, shape_of
from reelgrid.jobs.sql.database import Database

KEPT_CHECKPOINTS = 2
_MAX_MESSAGE_CHARS = 500
_STAGES_WITHOUT_CHECKPOINT = STAGES[: STAGES.index("denoise")]
_STAGE_UNIT = 1_000_000
_COMMANDS = {
    None: Command.CONTINUE,
    Requested.CANCEL: Command.CANCEL,
    Requested.PAUSE: Command.PAUSE,
    Requested.YIELD: Command.YIELD,
}


class SqlWorkerQueue:
    """Implements `queue.WorkerQueue`.

    Args:
        database: Where the tables are.
        max_losses: A job that loses so many workers at one stage and step fails.
    """

    def __init__(self, database: Database, *, max_losses: int = recovery.MAX_LOSSES) -> None:
        self._database = database
        self._max_losses = max_losses
        self._idle_workers: set[str] = set()

    def claim(self, worker: WorkerInfo, *, lease_s: float = LEASE_S) -> Claim | None:
        """See `queue.WorkerQueue`."""
        if worker.id in self._idle_workers and self._is_unchanged(worker):
            return None
        claimed = self._claim(worker, lease_s)
        if claimed is None:
            self._idle_workers.add(worker.id)
        else:
            self._idle_workers.discard(worker.id)
        return claimed

    def _claim(self, worker: WorkerInfo, lease_s: float) -> Claim | None:
        statement = self._database.prepared(claim_statement, shape_of(worker))
        parameters = parameters_of(worker) | {"claimed_by": worker.id, "lease_s": lease_s}
        with self._database.write() as connection:
            recovery.expire_leases(self._database, connection, self._max_losses)
            row = connection.execute(statement, parameters).mappings().first()
            if row is not None:
                preemption.unmark(connection, row["id"])
            self._register(connection, worker, None if row is None else row["id"])
            if row is None:
                return None
            waited_s = max(row["updated_at"] - row["waiting_since"], 0.0)
            metering.observe(self._database, connection, [("wait_s", row["model"], waited_s)])
            return Claim(schema.to_job(row), worker.id, lease_s)

    def _is_unchanged(self, worker: WorkerInfo) -> bool:
        """Return whether there is nothing to claim and nothing to write, without writing."""
        statement = self._database.prepared(statements.idle_check, shape_of(worker))
        parameters = parameters_of(worker) | {"worker_id": worker.id}
        with self._database.read() as connection:
            next_id, has_expired, is_fresh = connection.execute(statement, parameters).one()
        return is_fresh and next_id is None and not has_expired

    def _register(self, connection: Connection, worker: WorkerInfo, job_id: str | None) -> None:
        values: dict[str, Any] = {
            "id": worker.id,
            "machine": worker.machine,
            "memory_gib": worker.memory_gib,
            "models": None if worker.models is None else sorted(worker.models),
            "warm_models": sorted(worker.warm_models),
            "load_s": worker.load_s,
            "is_trusted": worker.is_trusted,
            "job": job_id,
        }
        connection.execute(self._database.prepared(statements.register), values)

    def heartbeat(self, claim: Claim, progress: JobProgress) -> Command:
        """See `queue.WorkerQueue`."""
        with self._database.write() as connection:
            row = self._advance(connection, claim, progress)
            is_behind = row["first_rank"] is not None and row["first_rank"] < row["rank"]
            is_free = is_behind and row["requested"] is None
            if is_free and preemption.consider_running(self._database, connection, row):
                return Command.YIELD
            return _COMMANDS[row["requested"]]

    def poll_command(self, claim: Claim) -> Command:
        """See `queue.WorkerQueue`."""
        with self._database.read() as connection:
            row = connection.execute(statements.REQUESTED, _held_by(claim)).first()
        if row is None:
            _refuse(claim)
        return _COMMANDS[row.requested]

    def save_checkpoint(self, claim: Claim, blob: str, step: int) -> tuple[str, ...]:
        """See `queue.WorkerQueue`."""
        with self._database.write() as connection:
            before = connection.execute(statements.HELD, _held_by(claim)).first()
            if before is None:
                _refuse(claim)
            others = (each for each in before.checkpoints if each[0] != blob)
            checkpoints = [[blob, step], *others]
            is_early = before.stage in _STAGES_WITHOUT_CHECKPOINT
            progress = JobProgress(stage="denoise" if is_early else before.stage, step=step)
            self._advance(connection, claim, progress, checkpoints[:KEPT_CHECKPOINTS])
            metering.observe(self._database, connection, [("checkpoints", claim.job.model, None)])
        return tuple(name for name, _ in checkpoints[KEPT_CHECKPOINTS:])

    def finish(
        self, claim: Claim, files: Mapping[str, str], *, timing: Timing | None = None
    ) -> Job:
        """See `queue.WorkerQueue`."""
        if not files:
            raise ValueError("a finished job needs files")
        statement = self._database.prepared(statements.finish)
        with self._database.write() as connection:
            job = self._end_claim(connection, claim, statement, files=dict(files))
            if job is None:
                return self._find_finished(connection, claim, files)
            if timing is not None and job.phase is Phase.COMPLETED:
                self._learn(connection, claim, timing)
            return job

    def _find_finished(self, connection: Connection, claim: Claim, files: Mapping[str, str]) -> Job:
        """Return the job if exactly this finish has happened before and its answer was lost."""
        row = connection.execute(statements.FINISHED, _held_by(claim)).mappings().first()
        if row is None or row["files"] != dict(files):
            _refuse(claim)
        return schema.to_job(row)

    def _learn(self, connection: Connection, claim: Claim, timing: Timing) -> None:
        parameters = {"worker_id": claim.worker}
        machine = connection.execute(statements.MACHINE, parameters).scalar()
        if machine is not None:
            metering.update_profiles(self._database, connection, machine, claim.job.model, timing)
        if timing.step_s is not None:
            seen = [("step_s", claim.job.model, timing.step_s)]
            metering.observe(self._database, connection, seen)

    def fail(self, claim: Claim, code: str, message: str, *, needs_gib: float | None = None) -> Job:
        """See `queue.WorkerQueue`."""
        line = " ".join(message.replace("\x00", "").split())[:_MAX_MESSAGE_CHARS]
        with self._database.write() as connection:
            larger_gib = None
            if code == FailureCode.OUT_OF_MEMORY:
                larger_gib = self._find_larger_worker(connection, claim, needs_gib)
            if larger_gib is not None:
                return self._requeue_for_memory(connection, claim, larger_gib, line)
            statement = self._database.prepared(statements.fail)
            job = self._end_claim(connection, claim, statement, code=str(code), message=line)
            return job or _refuse(claim)

    def _find_larger_worker(
        self, connection: Connection, claim: Claim, needs_gib: float | None
    ) -> float | None:
        row = connection.execute(statements.HELD_WHOLE, _held_by(claim)).mappings().first()
        if row is None:
            _refuse(claim)
        if row["requested"] is not None:
            return None
        return recovery.find_larger_worker(self._database, connection, row, needs_gib=needs_gib)

    def _requeue_for_memory(
        self, connection: Connection, claim: Claim, memory_gib: float, line: str
    ) -> Job:
        reason = f"out of memory, waits for {memory_gib:.1f} GiB: {line}"
        statement = self._database.prepared(statements.requeue_for_memory)
        job = self._end_claim(connection, claim, statement, needs_gib=memory_gib, why=reason)
        return job or _refuse(claim)

    def release(self, claim: Claim, reason: str) -> Job:
        """See `queue.WorkerQueue`."""
        statement = self._database.prepared(statements.release)
        with self._database.write() as connection:
            job = self._end_claim(connection, claim, statement, why=reason) or _refuse(claim)
            if job.phase is not Phase.FAILED:
                metering.observe(self._database, connection, [("released", reason, None)])
            return job

    def worker_died(self, worker: str) -> int:
        """See `queue.WorkerQueue`."""
        with self._database.write() as connection:
            connection.execute(delete(schema.worker).where(schema.worker.c.id == worker))
            return recovery.expire_leases(
                self._database, connection, self._max_losses, dead_worker=worker
            )

    def expire_leases(self) -> int:
        """See `queue.WorkerQueue`."""
        with self._database.read() as connection:
            if not connection.execute(self._database.prepared(statements.any_expired)).scalar():
                return 0
        with self._database.write() as connection:
            return recovery.expire_leases(self._database, connection, self._max_losses)

    def _advance(
        self,
        connection: Connection,
        claim: Claim,
        progress: JobProgress,
        checkpoints: Sequence[Sequence[object]] | None = None,
    ) -> RowMapping:
        """Extend the lease and record the progress, or refuse the claim."""
        statement = self._database.prepared(statements.advance, checkpoints is not None)
        values: dict[str, Any] = {
            "lease_s": claim.lease_s,
            "at_stage": progress.stage,
            "at_step": progress.step,
            "mark": _progress_mark(progress),
            "shown": progress.preview,
        }
        if checkpoints is not None:
            values["saved"] = checkpoints
        row = connection.execute(statement, _held_by(claim) | values).mappings().first()
        if row is None:
            _refuse(claim)
        metering.record_charge(self._database, connection, row)
        return row

    def _end_claim(
        self, connection: Connection, claim: Claim, statement: Update, **values: Any
    ) -> Job | None:
        """Take the job from its worker by a statement; `None` if the claim is no longer valid."""
        row = connection.execute(statement, _held_by(claim) | values).mappings().first()
        if row is None:
            return None
        connection.execute(self._database.prepared(statements.idle), {"worker_id": claim.worker})
        metering.record_charge(self._database, connection, row)
        if not Phase(row["phase"]).is_final:
            return schema.to_job(row)
        return recovery.finalise(self._database, connection, row)


def _held_by(claim: Claim) -> dict[str, Any]:
    return {"job_id": claim.id, "at_epoch": claim.epoch}


def _progress_mark(progress: JobProgress) -> int:
    """Return how far a job has got as one number: the stage first, then the step within it."""
    stage = STAGES.index(progress.stage) + 1 if progress.stage in STAGES else 0
    return stage * _STAGE_UNIT + min(progress.step, _STAGE_UNIT - 1)


def _refuse(claim: Claim) -> NoReturn:
    raise StaleClaim(
        f"{claim.id} is no longer with worker {claim.worker}: its claim {claim.epoch} is over"
    )
