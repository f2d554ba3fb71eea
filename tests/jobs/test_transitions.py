"""Transitions: the queue against a model; no job is lost, doubled or starved in any order of events.

The model sees every call of the queue and keeps only what follows from the legal transitions: the phase
of every job, and its valid claim.
"""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from reelgrid.errors import ConflictError, NotFoundError, StaleClaim
from reelgrid.jobs.job import TRANSITIONS, Phase, Requested, Transition
from reelgrid.jobs.messages import Claim, Command, JobProgress
from reelgrid.jobs.sql.sql_queue import SqlJobQueue
from tests.jobs.builders import Clock, empty, new_job, new_worker

LEASE_S = 20.0
NO_CLAIM: Any = multiple()


@dataclass
class Known:
    """The expected state of a job."""

    phase: Phase = Phase.WAITING
    epoch: int = 0
    worker: str | None = None
    requested: Requested | None = None
    lease_until: float = 0.0
    num_finished: int = 0
    is_deleted: bool = False
    saved: str | None = None


class QueueMachine(RuleBasedStateMachine):
    job_queue: SqlJobQueue
    clock: Clock
    claims: Bundle[Claim] = Bundle("claims")
    jobs: Bundle[str] = Bundle("jobs")

    @initialize()
    def begin(self) -> None:
        empty(self.job_queue, max_losses=1_000)  # the limit of losses has tests of its own
        self.known: dict[str, Known] = {}
        self.num_blobs = 0
        self.now_s = self.clock.now_s

    @rule(
        target=jobs,
        owner=st.sampled_from(("ann", "bob")),
        estimate_s=st.sampled_from((1.0, 10.0, 400.0)),
        memory_gib=st.sampled_from((1.0, 16.0)),
    )
    def submit(self, owner: str, estimate_s: float, memory_gib: float) -> str:
        job = self.job_queue.submit(
            new_job(owner=owner, estimate_s=estimate_s, memory_gib=memory_gib, num_steps=100)
        )
        assert job.id not in self.known
        self.known[job.id] = Known()
        return job.id

    @rule(
        target=claims,
        name=st.sampled_from(("w1", "w2", "w3")),
        memory_gib=st.sampled_from((8.0, 24.0)),
    )
    def claim(self, name: str, memory_gib: float) -> Any:
        taken = self.job_queue.claim(new_worker(name, memory_gib=memory_gib), lease_s=LEASE_S)
        self._lose_silent_workers()
        free = {job_id for job_id, each in self.known.items() if each.phase is Phase.WAITING}
        if taken is None:
            for job_id in free:
                assert self.job_queue.get(job_id).memory_gib > memory_gib, (
                    "a job that fits was left"
                )
            return NO_CLAIM
        assert taken.id in free, "a job was given away that was not free"
        each = self.known[taken.id]
        each.phase, each.epoch, each.requested = Phase.RUNNING, each.epoch + 1, None
        each.worker, each.lease_until = name, self.now_s + LEASE_S
        assert taken.epoch == each.epoch
        assert (taken.checkpoint and taken.checkpoint.blob) == each.saved, "a checkpoint was lost"
        return taken

    @rule(claim=claims, step=st.integers(0, 100))
    def heartbeat(self, claim: Claim, step: int) -> None:
        each = self._living(claim)
        if each is None:
            with pytest.raises(StaleClaim):
                self.job_queue.heartbeat(claim, JobProgress(stage="denoise", step=step))
            return
        answer = self.job_queue.heartbeat(claim, JobProgress(stage="denoise", step=step))
        each.lease_until = self.now_s + LEASE_S
        self._check_answer(each, answer)

    @rule(claim=claims)
    def poll_command(self, claim: Claim) -> None:
        each = self._living(claim)
        if each is None:
            with pytest.raises(StaleClaim):
                self.job_queue.poll_command(claim)
        else:
            self._check_answer(each, self.job_queue.poll_command(claim))

    @rule(claim=claims, step=st.integers(0, 100))
    def save_checkpoint(self, claim: Claim, step: int) -> None:
        each = self._living(claim)
        self.num_blobs += 1
        blob = f"s{self.num_blobs}"
        if each is None:
            with pytest.raises(StaleClaim):
                self.job_queue.save_checkpoint(claim, blob, step)
            return
        self.job_queue.save_checkpoint(claim, blob, step)
        each.saved, each.lease_until = blob, self.now_s + LEASE_S

    @rule(claim=claims)
    def finish(self, claim: Claim) -> None:
        each = self._living(claim)
        if each is None:
            with pytest.raises(StaleClaim):
                self.job_queue.finish(claim, {"video": f"{claim.epoch} again"})
            return
        job = self.job_queue.finish(claim, {"video": f"{claim.epoch}"})
        is_cancelled = each.requested is Requested.CANCEL
        assert job.phase is (Phase.FAILED if is_cancelled else Phase.COMPLETED)
        each.num_finished += not is_cancelled
        self._end(claim.id, job.phase)

    @rule(claim=consumes(claims))
    def fail(self, claim: Claim) -> None:
        each = self._living(claim)
        if each is None:
            with pytest.raises(StaleClaim):
                self.job_queue.fail(claim, "generation_failed", "a fault")
            return
        self.job_queue.fail(claim, "generation_failed", "a fault")
        self._end(claim.id, Phase.FAILED)

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        each = self._living(claim)
        if each is None:
            with pytest.raises(StaleClaim):
                self.job_queue.release(claim, "stopped")
            return
        job = self.job_queue.release(claim, "stopped")
        if each.requested is Requested.CANCEL:
            self._end(claim.id, Phase.FAILED)
        else:
            each.phase = Phase.PAUSED if each.requested is Requested.PAUSE else Phase.WAITING
            each.requested = None
        assert job.phase is (self.known.get(claim.id) or Known(Phase.FAILED)).phase

    @rule(name=st.sampled_from(("w1", "w2", "w3")))
    def worker_died(self, name: str) -> None:
        held = {job_id for job_id, each in self.known.items() if each.worker == name}
        self.job_queue.worker_died(name)
        self._lose_silent_workers(held)

    @rule(seconds=st.sampled_from((0.5, 3.0, 19.0, 21.0, 10_000.0, -3.0, -10_000.0)))
    def let_time_pass_or_jump(self, seconds: float) -> None:
        self.clock.move(seconds)
        self.now_s += seconds

    @rule()
    def expire_leases(self) -> None:
        self.job_queue.expire_leases()
        self._lose_silent_workers()

    @rule(job_id=jobs, act=st.sampled_from(("cancel", "pause", "resume", "delete")))
    def ask(self, job_id: str, act: str) -> None:
        each = self.known.get(job_id)
        if each is None or each.is_deleted:
            with pytest.raises(NotFoundError):
                getattr(self.job_queue, act)(job_id)
        elif self._is_legal(each, act):
            getattr(self.job_queue, act)(job_id)
            self._follow(job_id, each, act)
        else:
            with pytest.raises(ConflictError):
                getattr(self.job_queue, act)(job_id)

    def _is_legal(self, each: Known, act: str) -> bool:
        if act == "delete" or (act == "cancel" and self._was_cancelled(each)):
            return True
        if each.requested is Requested.CANCEL:
            return False
        is_idle = act in {"pause", "resume"} and not each.phase.is_final
        return (
            is_idle
            or (each.phase, Transition(act)) in TRANSITIONS
            or (each.phase, Transition.REQUEST) in TRANSITIONS
        )

    def _was_cancelled(self, each: Known) -> bool:
        return each.requested is Requested.CANCEL

    def _follow(self, job_id: str, each: Known, act: str) -> None:
        is_running = each.phase is Phase.RUNNING
        if act == "pause" and is_running:
            each.requested = Requested.PAUSE
        elif act == "pause":
            each.phase = Phase.PAUSED
        elif act == "resume" and is_running:
            each.requested = None
        elif act == "resume":
            each.phase = Phase.WAITING
        elif is_running:
            each.requested, each.is_deleted = Requested.CANCEL, each.is_deleted or act == "delete"
        elif act == "cancel":
            each.phase, each.requested, each.saved = Phase.FAILED, Requested.CANCEL, None
        else:
            del self.known[job_id]

    def _living(self, claim: Claim) -> Known | None:
        each = self.known.get(claim.id)
        is_living = each is not None and each.phase is Phase.RUNNING and each.epoch == claim.epoch
        return each if is_living else None

    def _end(self, job_id: str, phase: Phase) -> None:
        each = self.known[job_id]
        each.phase, each.saved = phase, None
        if each.is_deleted:
            del self.known[job_id]

    def _lose_silent_workers(self, also: set[str] | None = None) -> None:
        """Take back the running jobs that the queue takes back: those with an expired lease."""
        for job_id, each in list(self.known.items()):
            is_silent = each.lease_until < self.now_s or job_id in (also or set())
            if each.phase is not Phase.RUNNING or not is_silent:
                continue
            if each.requested is Requested.CANCEL:
                self._end(job_id, Phase.FAILED)
                continue
            each.phase = Phase.PAUSED if each.requested is Requested.PAUSE else Phase.WAITING
            each.requested = None

    def _check_answer(self, each: Known, answer: Command) -> None:
        if each.requested is None:
            assert answer in {Command.CONTINUE, Command.YIELD}
        else:
            assert answer.value == each.requested.value

    @invariant()
    def the_queue_holds_exactly_the_jobs_it_should(self) -> None:
        found = {job.id: job for job in self.job_queue.list(limit=1_000).jobs}
        shown = {job_id for job_id, each in self.known.items() if not each.is_deleted}
        assert found.keys() == shown, "a job was lost, or came back"
        for job_id, job in found.items():
            each = self.known[job_id]
            assert (job.phase, job.epoch) == (each.phase, each.epoch)
            assert (job.checkpoint and job.checkpoint.blob) == each.saved
            assert each.num_finished <= 1

    def teardown(self) -> None:
        """Every admitted job ends when workers come back."""
        if not hasattr(self, "known"):
            return
        self.clock.move(100_000.0)
        self.now_s += 100_000.0
        self.job_queue.expire_leases()
        self._lose_silent_workers()
        for job_id, each in self.known.items():
            if each.phase is Phase.PAUSED:
                self.job_queue.resume(job_id)
                each.phase = Phase.WAITING
        left = {job_id for job_id, each in self.known.items() if each.phase is Phase.WAITING}
        while left:
            taken = self.job_queue.claim(new_worker("last", memory_gib=24.0))
            assert taken is not None, f"{len(left)} jobs starve"
            left.remove(taken.id)
            self.job_queue.finish(taken, {"video": "v"})
        assert not [job for job in self.job_queue.list(limit=1_000).jobs if not job.phase.is_final]


def test_no_job_is_lost_doubled_or_starved(job_queue: SqlJobQueue, clock: Clock) -> None:
    class Bound(QueueMachine):
        pass

    Bound.job_queue, Bound.clock = job_queue, clock
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=40 if job_queue.database.is_sqlite else 12,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Stage.explicit, Stage.reuse, Stage.generate),  # shrinking takes minutes
        ),
    )
