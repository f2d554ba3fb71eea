"""The workers' side of the desk in SQL: claim, beat, save, and let go of a job one way or another."""

from collections.abc import Mapping
from typing import Any, NoReturn

from sqlalchemy import Connection, RowMapping, case, delete, exists, func, select, update

from reelgrid.errors import StaleClaim
from reelgrid.jobs import choosing, ending, ledger, losing, preemption, rows, schema
from reelgrid.jobs.database import Database
from reelgrid.jobs.desk import LEASE_S
from reelgrid.jobs.job import MOVES, Code, Job, Move, Phase, Wanted
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
_IS_CANCELLED = func.coalesce(_JOB.wanted, "") == Wanted.CANCEL


class SqlWorkers:
    """Implements `desk.Workers`.

    Args:
        database: Where the tables are.
        max_losses: A job that loses so many workers at one spot is given up.
    """

    def __init__(self, database: Database, *, max_losses: int = losing.MAX_LOSSES) -> None:
        self._database = database
        self._max_losses = max_losses

    def claim(self, worker: WorkerInfo, *, lease_s: float = LEASE_S) -> Claim | None:
        """See `desk.Workers`."""
        if self._is_quiet(worker):
            return None
        with self._database.write() as connection:
            losing.take_back(self._database, connection, self._max_losses)
            statement = choosing.claim(worker, lease_s, self._database.now)
            row = connection.execute(statement).mappings().first()
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
        now = self._database.now
        entry = schema.worker.c
        asked = select(
            choosing.choice(worker),
            exists().where(schema.in_phase(Phase.RUNNING), _JOB.lease_until < now),
            exists().where(
                entry.id == worker.id,
                entry.job.is_(None),
                entry.seen_at > now - preemption.IDLE_S / 3,
            ),
        )
        with self._database.read() as connection:
            next_id, has_lost, is_fresh = connection.execute(asked).one()
        return is_fresh and next_id is None and not has_lost

    def _enter(self, connection: Connection, worker: WorkerInfo, job_id: str | None) -> None:
        values: dict[str, Any] = {
            "machine": worker.machine,
            "memory_gib": worker.memory_gib,
            "models": None if worker.models is None else sorted(worker.models),
            "warm_models": sorted(worker.warm_models),
            "load_s": worker.load_s,
            "is_trusted": worker.is_trusted,
            "seen_at": self._database.now,
            "job": job_id,
        }
        new = self._database.insert(schema.worker).values(id=worker.id, **values)
        connection.execute(new.on_conflict_do_update(index_elements=["id"], set_=values))

    def beat(self, claim: Claim, progress: Progress) -> Answer:
        """See `desk.Workers`."""
        with self._database.write() as connection:
            row = self._advance(connection, claim, progress)
            return self._answer(connection, row)

    def signal(self, claim: Claim) -> Answer:
        """See `desk.Workers`."""
        held = schema.is_held_by(claim.id, claim.epoch)
        with self._database.read() as connection:
            row = connection.execute(select(_JOB.wanted).where(held)).first()
        if row is None:
            _refuse(claim)
        return _ANSWERS[row.wanted]

    def save(self, claim: Claim, blob: str, step: int) -> tuple[str, ...]:
        """See `desk.Workers`."""
        with self._database.write() as connection:
            before = self._hold(connection, claim)
            states = [[blob, step], *(each for each in before["states"] if each[0] != blob)]
            is_early = before["stage"] in _BEFORE_STATES
            progress = Progress(stage="denoise" if is_early else before["stage"], step=step)
            row = self._advance(connection, claim, progress, states=states[:KEPT_STATES])
            ledger.observe(self._database, connection, [("saves", row["model"], None)])
        return tuple(name for name, _ in states[KEPT_STATES:])

    def finish(
        self, claim: Claim, files: Mapping[str, str], *, timing: Timing | None = None
    ) -> Job:
        """See `desk.Workers`."""
        if not files:
            raise ValueError("a finished job has files")
        now = self._database.now
        values = {
            "phase": case((_IS_CANCELLED, str(Phase.FAILED)), else_=_lead(Move.FINISH)),
            "step": case((_IS_CANCELLED, _JOB.step), else_=_JOB.num_steps),
            "files": case((_IS_CANCELLED, "{}"), else_=schema.to_text(dict(files))),
            "has_files": case((_IS_CANCELLED, False), else_=True),
            **{
                name: case((_IS_CANCELLED, word), else_=None)
                for name, word in ending.CANCELLED.items()
            },
        }
        with self._database.write() as connection:
            done = self._find_finished(connection, claim, files)
            if done is not None:
                return done
            job = self._let_go(connection, claim, ended_at=now, **values)
            if timing is not None and job.phase is Phase.COMPLETED:
                self._learn(connection, claim, timing)
            return job

    def _find_finished(
        self, connection: Connection, claim: Claim, files: Mapping[str, str]
    ) -> Job | None:
        """Return the job if this very finish has happened, and only its answer was lost."""
        finished = select(schema.job).where(
            _JOB.id == claim.id, _JOB.epoch == claim.epoch, schema.in_phase(Phase.COMPLETED)
        )
        row = connection.execute(finished).mappings().first()
        return rows.to_job(row) if row is not None and row["files"] == dict(files) else None

    def _learn(self, connection: Connection, claim: Claim, timing: Timing) -> None:
        entry = schema.worker.c
        machine = connection.execute(select(entry.machine).where(entry.id == claim.worker)).scalar()
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
                before = self._hold(connection, claim)
                roomier_gib = losing.find_roomier(
                    self._database, connection, before, needs_gib=needs_gib
                )
                if roomier_gib is not None and before["wanted"] is None:
                    return self._send_on(connection, claim, roomier_gib, words)
            error = {"error_code": str(code), "error_message": words}
            return self._let_go(
                connection,
                claim,
                ended_at=self._database.now,
                phase=_lead(Move.FAIL),
                **{
                    name: case((_IS_CANCELLED, ending.CANCELLED[name]), else_=word)
                    for name, word in error.items()
                },
            )

    def _send_on(self, connection: Connection, claim: Claim, memory_gib: float, words: str) -> Job:
        return self._let_go(
            connection,
            claim,
            phase=_lead(Move.GIVE_BACK),
            memory_gib=memory_gib,
            reason=f"out of memory, waits for {memory_gib:.1f} GiB: {words}",
        )

    def give_back(self, claim: Claim, reason: str) -> Job:
        """See `desk.Workers`."""
        is_paused = func.coalesce(_JOB.wanted, "") == Wanted.PAUSE
        phase = case(
            (_IS_CANCELLED, str(Phase.FAILED)),
            (is_paused, _lead(Move.SHELVE)),
            else_=_lead(Move.GIVE_BACK),
        )
        now = self._database.now
        ended = {
            name: case((_IS_CANCELLED, word), else_=None)
            for name, word in {"ended_at": now, **ending.CANCELLED}.items()
        }
        with self._database.write() as connection:
            job = self._let_go(connection, claim, phase=phase, reason=reason, **ended)
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
        lost = exists().where(schema.in_phase(Phase.RUNNING), _JOB.lease_until < self._database.now)
        with self._database.read() as connection:
            if not connection.execute(select(lost)).scalar():
                return 0
        with self._database.write() as connection:
            return losing.take_back(self._database, connection, self._max_losses)

    def _hold(self, connection: Connection, claim: Claim) -> RowMapping:
        held = select(schema.job).where(schema.is_held_by(claim.id, claim.epoch)).with_for_update()
        return connection.execute(held).mappings().first() or _refuse(claim)

    def _advance(
        self, connection: Connection, claim: Claim, progress: Progress, **values: Any
    ) -> RowMapping:
        """Extend the lease and note the progress, or refuse the claim."""
        now = self._database.now
        position = _position(progress)
        is_further = position > _JOB.furthest
        if progress.preview is not None:
            values["preview"] = progress.preview
        statement = (
            update(schema.job)
            .where(schema.is_held_by(claim.id, claim.epoch))
            .values(
                lease_until=now + claim.lease_s,
                updated_at=now,
                stage=progress.stage,
                step=progress.step,
                furthest=case((is_further, position), else_=_JOB.furthest),
                losses=case((is_further, 0), else_=_JOB.losses),
                spots=case((is_further, "{}"), else_=_JOB.spots),
                **ledger.charge(now),
                **values,
            )
            .returning(schema.job)
        )
        row = connection.execute(statement).mappings().first() or _refuse(claim)
        ledger.use(self._database, connection, row)
        return row

    def _answer(self, connection: Connection, row: RowMapping) -> Answer:
        if row["wanted"] is None and preemption.consider_running(self._database, connection, row):
            return Answer.YIELD
        return _ANSWERS[row["wanted"]]

    def _let_go(self, connection: Connection, claim: Claim, **values: Any) -> Job:
        """Take the job out of the worker's hands, or refuse the claim."""
        now = self._database.now
        statement = (
            update(schema.job)
            .where(schema.is_held_by(claim.id, claim.epoch))
            .values(
                ledger.charge(now)
                | ending.LET_GO
                | {"updated_at": now, "waiting_since": now}
                | values
            )
            .returning(schema.job)
        )
        row = connection.execute(statement).mappings().first() or _refuse(claim)
        idle = {"job": None, "seen_at": now}
        connection.execute(
            update(schema.worker).where(schema.worker.c.id == claim.worker).values(idle)
        )
        ledger.use(self._database, connection, row)
        if not Phase(row["phase"]).is_final:
            return rows.to_job(row)
        return ending.conclude(self._database, connection, row)


def _lead(move: Move) -> str:
    return str(MOVES[Phase.RUNNING, move])


def _position(progress: Progress) -> int:
    """Return how far a job has got as one number: first the stage, within it the step."""
    stage = STAGES.index(progress.stage) + 1 if progress.stage in STAGES else 0
    return stage * _STAGE_UNIT + min(progress.step, _STAGE_UNIT - 1)


def _refuse(claim: Claim) -> NoReturn:
    raise StaleClaim(
        f"{claim.id} is no longer with worker {claim.worker}: its claim {claim.epoch} is over"
    )
