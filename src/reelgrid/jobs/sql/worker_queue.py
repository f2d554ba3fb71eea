"""The workers' side of the desk in SQL: claim, beat, save, and let go of a job one way or another."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import (
    Connection,
    RowMapping,
    Update,
    delete,
)

from reelgrid.errors import StaleClaim
from reelgrid.jobs.job import FailureCode, Job, Phase, Requested
from reelgrid.jobs.messages import STAGES, Claim, Command, JobProgress, Timing, WorkerInfo
from reelgrid.jobs.queue import LEASE_S
from reelgrid.jobs.sql import claim as choosing
from reelgrid.jobs.sql import ending, metering, preemption, recovery, rows, schema, statements
from reelgrid.jobs.sql.database import Database

KEPT_CHECKPOINTS = 2
_MAX_MESSAGE = 500
_JOB = schema.job.c
_BEFORE_STATES = STAGES[: STAGES.index("denoise")]  # there is no state to save yet
_STAGE_UNIT = 1_000_000
_ANSWERS = {
    None: Command.CONTINUE,
    Requested.CANCEL: Command.CANCEL,
    Requested.PAUSE: Command.PAUSE,
    Requested.YIELD: Command.YIELD,
}


class SqlWorkerQueue:
    """Implements `job_queue.WorkerQueue`.

    Args:
        database: Where the tables are.
        max_losses: A job that loses so many workers at one spot is given up.
    """

    def __init__(self, database: Database, *, max_losses: int = recovery.MAX_LOSSES) -> None:
        self._database = database
        self._max_losses = max_losses
        self._without_work: set[str] = set()

    def claim(self, worker: WorkerInfo, *, lease_s: float = LEASE_S) -> Claim | None:
        """See `job_queue.WorkerQueue`."""
        if worker.id in self._without_work and self._is_quiet(worker):
            return None
        claimed = self._claim(worker, lease_s)
        (self._without_work.add if claimed is None else self._without_work.discard)(worker.id)
        return claimed

    def _claim(self, worker: WorkerInfo, lease_s: float) -> Claim | None:
        statement = self._database.prepared(choosing.claim, choosing.shape(worker))
        asked = choosing.asked_by(worker) | {"claimed_by": worker.id, "lease_s": lease_s}
        with self._database.write() as connection:
            recovery.take_back(self._database, connection, self._max_losses)
            row = connection.execute(statement, asked).mappings().first()
            if row is not None:
                preemption.unmark(connection, row["id"])
            self._enter(connection, worker, None if row is None else row["id"])
            if row is None:
                return None
            waited_s = max(row["updated_at"] - row["waiting_since"], 0.0)
            metering.observe(self._database, connection, [("wait_s", row["model"], waited_s)])
            return Claim(rows.to_job(row), worker.id, lease_s)

    def _is_quiet(self, worker: WorkerInfo) -> bool:
        """Return whether there is nothing to claim and nothing to note, without writing."""
        statement = self._database.prepared(statements.quiet, choosing.shape(worker))
        asked = choosing.asked_by(worker) | {"worker_id": worker.id}
        with self._database.read() as connection:
            next_id, has_lost, is_fresh = connection.execute(statement, asked).one()
        return is_fresh and next_id is None and not has_lost

    def _enter(self, connection: Connection, worker: WorkerInfo, job_id: str | None) -> None:
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
        connection.execute(self._database.prepared(statements.entry), values)

    def heartbeat(self, claim: Claim, progress: JobProgress) -> Command:
        """See `job_queue.WorkerQueue`."""
        with self._database.write() as connection:
            row = self._advance(connection, claim, progress)
            is_behind = row["first_rank"] is not None and row["first_rank"] < row["rank"]
            is_free = is_behind and row["requested"] is None
            if is_free and preemption.consider_running(self._database, connection, row):
                return Command.YIELD
            return _ANSWERS[row["requested"]]

    def poll_command(self, claim: Claim) -> Command:
        """See `job_queue.WorkerQueue`."""
        with self._database.read() as connection:
            row = connection.execute(statements.WANTED, _held_by(claim)).first()
        if row is None:
            _refuse(claim)
        return _ANSWERS[row.requested]

    def save_checkpoint(self, claim: Claim, blob: str, step: int) -> tuple[str, ...]:
        """See `job_queue.WorkerQueue`."""
        with self._database.write() as connection:
            before = connection.execute(statements.HELD, _held_by(claim)).first() or _refuse(claim)
            checkpoints = [[blob, step], *(each for each in before.checkpoints if each[0] != blob)]
            is_early = before.stage in _BEFORE_STATES
            progress = JobProgress(stage="denoise" if is_early else before.stage, step=step)
            self._advance(connection, claim, progress, checkpoints=checkpoints[:KEPT_CHECKPOINTS])
            metering.observe(self._database, connection, [("checkpoints", claim.job.model, None)])
        return tuple(name for name, _ in checkpoints[KEPT_CHECKPOINTS:])

    def finish(
        self, claim: Claim, files: Mapping[str, str], *, timing: Timing | None = None
    ) -> Job:
        """See `job_queue.WorkerQueue`."""
        if not files:
            raise ValueError("a finished job has files")
        statement = self._database.prepared(statements.finish)
        with self._database.write() as connection:
            job = self._let_go(connection, claim, statement, files=dict(files))
            if job is None:
                return self._find_finished(connection, claim, files)
            if timing is not None and job.phase is Phase.COMPLETED:
                self._learn(connection, claim, timing)
            return job

    def _find_finished(self, connection: Connection, claim: Claim, files: Mapping[str, str]) -> Job:
        """Return the job if this very finish has happened, and only its answer was lost."""
        row = connection.execute(statements.FINISHED, _held_by(claim)).mappings().first()
        return (
            rows.to_job(row) if row is not None and row["files"] == dict(files) else _refuse(claim)
        )

    def _learn(self, connection: Connection, claim: Claim, timing: Timing) -> None:
        machine = connection.execute(statements.MACHINE, {"worker_id": claim.worker}).scalar()
        if machine is not None:
            metering.learn(self._database, connection, machine, claim.job.model, timing)
        if timing.step_s is not None:
            seen = [("step_s", claim.job.model, timing.step_s)]
            metering.observe(self._database, connection, seen)

    def fail(self, claim: Claim, code: str, message: str, *, needs_gib: float | None = None) -> Job:
        """See `job_queue.WorkerQueue`."""
        words = " ".join(message.replace("\x00", "").split())[:_MAX_MESSAGE]
        with self._database.write() as connection:
            if code == FailureCode.OUT_OF_MEMORY:
                before = (
                    connection.execute(statements.HELD_WHOLE, _held_by(claim)).mappings().first()
                )
                if before is None:
                    _refuse(claim)
                roomier_gib = recovery.find_roomier(
                    self._database, connection, before, needs_gib=needs_gib
                )
                if roomier_gib is not None and before["requested"] is None:
                    return self._send_on(connection, claim, roomier_gib, words)
            statement = self._database.prepared(statements.fail)
            job = self._let_go(connection, claim, statement, code=str(code), message=words)
            return job or _refuse(claim)

    def _send_on(self, connection: Connection, claim: Claim, memory_gib: float, words: str) -> Job:
        reason = f"out of memory, waits for {memory_gib:.1f} GiB: {words}"
        statement = self._database.prepared(statements.send_on)
        job = self._let_go(connection, claim, statement, needs_gib=memory_gib, why=reason)
        return job or _refuse(claim)

    def release(self, claim: Claim, reason: str) -> Job:
        """See `job_queue.WorkerQueue`."""
        statement = self._database.prepared(statements.release)
        with self._database.write() as connection:
            job = self._let_go(connection, claim, statement, why=reason) or _refuse(claim)
            if job.phase is not Phase.FAILED:
                metering.observe(self._database, connection, [("released", reason, None)])
            return job

    def worker_died(self, worker: str) -> int:
        """See `job_queue.WorkerQueue`."""
        with self._database.write() as connection:
            connection.execute(delete(schema.worker).where(schema.worker.c.id == worker))
            return recovery.take_back(
                self._database, connection, self._max_losses, dead_worker=worker
            )

    def expire_leases(self) -> int:
        """See `job_queue.WorkerQueue`."""
        with self._database.read() as connection:
            if not connection.execute(self._database.prepared(statements.any_lost)).scalar():
                return 0
        with self._database.write() as connection:
            return recovery.take_back(self._database, connection, self._max_losses)

    def _advance(
        self,
        connection: Connection,
        claim: Claim,
        progress: JobProgress,
        checkpoints: Sequence[Sequence[object]] | None = None,
    ) -> RowMapping:
        """Extend the lease and note the progress, or refuse the claim."""
        statement = self._database.prepared(statements.advance, checkpoints is not None)
        values: dict[str, Any] = {
            "lease_s": claim.lease_s,
            "at_stage": progress.stage,
            "at_step": progress.step,
            "position": _position(progress),
            "shown": progress.preview,
        }
        if checkpoints is not None:
            values["saved"] = checkpoints
        row = connection.execute(statement, _held_by(claim) | values).mappings().first()
        if row is None:
            _refuse(claim)
        metering.use(self._database, connection, row)
        return row

    def _let_go(
        self, connection: Connection, claim: Claim, statement: Update, **values: Any
    ) -> Job | None:
        """Take the job out of the worker's hands; none if it has it no more."""
        row = connection.execute(statement, _held_by(claim) | values).mappings().first()
        if row is None:
            return None
        connection.execute(self._database.prepared(statements.idle), {"worker_id": claim.worker})
        metering.use(self._database, connection, row)
        if not Phase(row["phase"]).is_final:
            return rows.to_job(row)
        return ending.finalise(self._database, connection, row)


def _held_by(claim: Claim) -> dict[str, Any]:
    return {"job_id": claim.id, "at_epoch": claim.epoch}


def _position(progress: JobProgress) -> int:
    """Return how far a job has got as one number: first the stage, within it the step."""
    stage = STAGES.index(progress.stage) + 1 if progress.stage in STAGES else 0
    return stage * _STAGE_UNIT + min(progress.step, _STAGE_UNIT - 1)


def _refuse(claim: Claim) -> NoReturn:
    raise StaleClaim(
        f"{claim.id} is no longer with worker {claim.worker}: its claim {claim.epoch} is over"
    )
