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
from reelgrid.jobs import choosing, ending, ledger, losing, preemption, rows, schema, writing
from reelgrid.jobs.database import Database
from reelgrid.jobs.desk import LEASE_S
from reelgrid.jobs.job import Code, Job, Phase, Wanted
from reelgrid.jobs.work import STAGES, Answer, Claim, Progress, Timing, WorkerInfo

KEPT_STATES = 2
_MAX_MESSAGE = 500
_JOB = schema.job.c
_BEFORE_STATES = STAGES[: STAGES.index("denoise")]  # there is no state to save yet
_STAGE_UNIT = 1_000_000
_ANSWERS = {
    None: Answer.GO,
    Wanted.CANCEL: Answer.CANCEL,
    Wanted.PAUSE: Answer.PAUSE,
    Wanted.YIELD: Answer.YIELD,
}


class SqlWorkers:
    """Implements `desk.Workers`.

    Args:
        database: Where the tables are.
        max_losses: A job that loses so many workers at one spot is given up.
    """

    def __init__(self, database: Database, *, max_losses: int = losing.MAX_LOSSES) -> None:
        self._database = database
        self._max_losses = max_losses
        self._without_work: set[str] = set()

    def claim(self, worker: WorkerInfo, *, lease_s: float = LEASE_S) -> Claim | None:
        """See `desk.Workers`."""
        if worker.id in self._without_work and self._is_quiet(worker):
            return None
        claimed = self._claim(worker, lease_s)
        (self._without_work.add if claimed is None else self._without_work.discard)(worker.id)
        return claimed

    def _claim(self, worker: WorkerInfo, lease_s: float) -> Claim | None:
        statement = self._database.prepared(choosing.claim, choosing.shape(worker))
        asked = choosing.asked_by(worker) | {"claimed_by": worker.id, "lease_s": lease_s}
        with self._database.write() as connection:
            losing.take_back(self._database, connection, self._max_losses)
            row = connection.execute(statement, asked).mappings().first()
            if row is not None:
                preemption.unmark(connection, row["id"])
            self._enter(connection, worker, None if row is None else row["id"])
            if row is None:
                return None
            waited_s = max(row["updated_at"] - row["waiting_since"], 0.0)
            ledger.observe(self._database, connection, [("wait_s", row["model"], waited_s)])
            return Claim(rows.to_job(row), worker.id, lease_s)

    def _is_quiet(self, worker: WorkerInfo) -> bool:
        """Return whether there is nothing to claim and nothing to note, without writing."""
        statement = self._database.prepared(writing.quiet, choosing.shape(worker))
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
        connection.execute(self._database.prepared(writing.entry), values)

    def beat(self, claim: Claim, progress: Progress) -> Answer:
        """See `desk.Workers`."""
        with self._database.write() as connection:
            row = self._advance(connection, claim, progress)
            is_behind = row["first_rank"] is not None and row["first_rank"] < row["rank"]
            is_free = is_behind and row["wanted"] is None
            if is_free and preemption.consider_running(self._database, connection, row):
                return Answer.YIELD
            return _ANSWERS[row["wanted"]]

    def signal(self, claim: Claim) -> Answer:
        """See `desk.Workers`."""
        with self._database.read() as connection:
            row = connection.execute(writing.WANTED, _held_by(claim)).first()
        if row is None:
            _refuse(claim)
        return _ANSWERS[row.wanted]

    def save(self, claim: Claim, blob: str, step: int) -> tuple[str, ...]:
        """See `desk.Workers`."""
        with self._database.write() as connection:
            before = connection.execute(writing.HELD, _held_by(claim)).first() or _refuse(claim)
            states = [[blob, step], *(each for each in before.states if each[0] != blob)]
            is_early = before.stage in _BEFORE_STATES
            progress = Progress(stage="denoise" if is_early else before.stage, step=step)
            self._advance(connection, claim, progress, states=states[:KEPT_STATES])
            ledger.observe(self._database, connection, [("saves", claim.job.model, None)])
        return tuple(name for name, _ in states[KEPT_STATES:])

    def finish(
        self, claim: Claim, files: Mapping[str, str], *, timing: Timing | None = None
    ) -> Job:
        """See `desk.Workers`."""
        if not files:
            raise ValueError("a finished job has files")
        statement = self._database.prepared(writing.finish)
        with self._database.write() as connection:
            job = self._let_go(connection, claim, statement, files=dict(files))
            if job is None:
                return self._find_finished(connection, claim, files)
            if timing is not None and job.phase is Phase.COMPLETED:
                self._learn(connection, claim, timing)
            return job

    def _find_finished(self, connection: Connection, claim: Claim, files: Mapping[str, str]) -> Job:
        """Return the job if this very finish has happened, and only its answer was lost."""
        row = connection.execute(writing.FINISHED, _held_by(claim)).mappings().first()
        return (
            rows.to_job(row) if row is not None and row["files"] == dict(files) else _refuse(claim)
        )

    def _learn(self, connection: Connection, claim: Claim, timing: Timing) -> None:
        machine = connection.execute(writing.MACHINE, {"worker_id": claim.worker}).scalar()
        if machine is not None:
            ledger.learn(self._database, connection, machine, claim.job.model, timing)
        if timing.step_s is not None:
            seen = [("step_s", claim.job.model, timing.step_s)]
            ledger.observe(self._database, connection, seen)

    def fail(self, claim: Claim, code: str, message: str, *, needs_gib: float | None = None) -> Job:
        """See `desk.Workers`."""
        words = " ".join(message.replace("\x00", "").split())[:_MAX_MESSAGE]
        with self._database.write() as connection:
            if code == Code.OUT_OF_MEMORY:
                before = connection.execute(writing.HELD_WHOLE, _held_by(claim)).mappings().first()
                if before is None:
                    _refuse(claim)
                roomier_gib = losing.find_roomier(
                    self._database, connection, before, needs_gib=needs_gib
                )
                if roomier_gib is not None and before["wanted"] is None:
                    return self._send_on(connection, claim, roomier_gib, words)
            statement = self._database.prepared(writing.fail)
            job = self._let_go(connection, claim, statement, code=str(code), message=words)
            return job or _refuse(claim)

    def _send_on(self, connection: Connection, claim: Claim, memory_gib: float, words: str) -> Job:
        reason = f"out of memory, waits for {memory_gib:.1f} GiB: {words}"
        statement = self._database.prepared(writing.send_on)
        job = self._let_go(connection, claim, statement, needs_gib=memory_gib, why=reason)
        return job or _refuse(claim)

    def give_back(self, claim: Claim, reason: str) -> Job:
        """See `desk.Workers`."""
        statement = self._database.prepared(writing.give_back)
        with self._database.write() as connection:
            job = self._let_go(connection, claim, statement, why=reason) or _refuse(claim)
            if job.phase is not Phase.FAILED:
                ledger.observe(self._database, connection, [("given_back", reason, None)])
            return job

    def bury(self, worker: str) -> int:
        """See `desk.Workers`."""
        with self._database.write() as connection:
            connection.execute(delete(schema.worker).where(schema.worker.c.id == worker))
            return losing.take_back(
                self._database, connection, self._max_losses, dead_worker=worker
            )

    def tend(self) -> int:
        """See `desk.Workers`."""
        with self._database.read() as connection:
            if not connection.execute(self._database.prepared(writing.any_lost)).scalar():
                return 0
        with self._database.write() as connection:
            return losing.take_back(self._database, connection, self._max_losses)

    def _advance(
        self,
        connection: Connection,
        claim: Claim,
        progress: Progress,
        states: Sequence[Sequence[object]] | None = None,
    ) -> RowMapping:
        """Extend the lease and note the progress, or refuse the claim."""
        statement = self._database.prepared(writing.advance, states is not None)
        values: dict[str, Any] = {
            "lease_s": claim.lease_s,
            "at_stage": progress.stage,
            "at_step": progress.step,
            "position": _position(progress),
            "shown": progress.preview,
        }
        if states is not None:
            values["saved"] = states
        row = connection.execute(statement, _held_by(claim) | values).mappings().first()
        if row is None:
            _refuse(claim)
        ledger.use(self._database, connection, row)
        return row

    def _let_go(
        self, connection: Connection, claim: Claim, statement: Update, **values: Any
    ) -> Job | None:
        """Take the job out of the worker's hands; none if it has it no more."""
        row = connection.execute(statement, _held_by(claim) | values).mappings().first()
        if row is None:
            return None
        connection.execute(self._database.prepared(writing.idle), {"worker_id": claim.worker})
        ledger.use(self._database, connection, row)
        if not Phase(row["phase"]).is_final:
            return rows.to_job(row)
        return ending.conclude(self._database, connection, row)


def _held_by(claim: Claim) -> dict[str, Any]:
    return {"job_id": claim.id, "at_epoch": claim.epoch}


def _position(progress: Progress) -> int:
    """Return how far a job has got as one number: first the stage, within it the step."""
    stage = STAGES.index(progress.stage) + 1 if progress.stage in STAGES else 0
    return stage * _STAGE_UNIT + min(progress.step, _STAGE_UNIT - 1)


def _refuse(claim: Claim) -> NoReturn:
    raise StaleClaim(
        f"{claim.id} is no longer with worker {claim.worker}: its claim {claim.epoch} is over"
    )
