import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgrid.jobs import policy
from reelgrid.jobs.policy import Priority, RunningJob, WaitingJob, WorkerCapacity

seconds = st.floats(0, 1e5)
lengths = st.floats(1, 1e4)
models = st.sampled_from(["wan", "ltx", "hunyuan"])
memories = st.sampled_from([8.0, 16.0, 24.0, 80.0])
priorities = st.sampled_from(list(Priority))
jobs = st.builds(
    WaitingJob,
    id=st.uuids().map(str),
    rank=seconds,
    estimate_s=lengths,
    memory_gib=memories,
    model=models,
    needs_trust=st.booleans(),
)
workers = st.builds(
    WorkerCapacity,
    memory_gib=memories,
    warm_models=st.frozensets(models, max_size=2),
    load_s=st.floats(0, 600),
    models=st.none() | st.frozensets(models),
    is_trusted=st.booleans(),
)

small_jobs = st.builds(
    WaitingJob,
    id=st.uuids().map(str),
    rank=st.floats(0, 1_000),
    estimate_s=st.floats(1, 100),
    memory_gib=st.just(8.0),
    model=models,
)
"""Jobs that fit every worker that may run their model."""


@st.composite
def running_jobs(draw):
    """Running jobs on workers that can run any model; each may or may not yield."""
    model = draw(models)
    worker = draw(workers)
    return RunningJob(
        id=draw(st.uuids().map(str)),
        rank=draw(st.floats(0, 2_000)),
        remaining_s=draw(st.floats(0, 3_000)),
        model=model,
        worker=replace(worker, warm_models=worker.warm_models | {model}, models=None),
        save_s=draw(st.floats(0, 60)),
    )


# rank


@settings(deadline=None)
@given(seconds, lengths, priorities, st.none() | seconds)
def test_a_rank_is_never_earlier_than_the_admission(submitted_s, estimate_s, priority, due_after_s):
    deadline_s = None if due_after_s is None else submitted_s + due_after_s
    rank = policy.rank(
        submitted_s=submitted_s,
        fair_start_s=submitted_s,
        estimate_s=estimate_s,
        priority=priority,
        deadline_s=deadline_s,
    )
    assert rank >= submitted_s


@settings(deadline=None)
@given(seconds, lengths, lengths, priorities)
def test_of_two_jobs_sent_together_the_shorter_goes_first(submitted_s, one_s, other_s, priority):
    def rank(estimate_s):
        return policy.rank(
            submitted_s=submitted_s,
            fair_start_s=submitted_s,
            estimate_s=estimate_s,
            priority=priority,
        )

    assert (rank(one_s) <= rank(other_s)) == (one_s <= other_s) or math.isclose(one_s, other_s)


@settings(deadline=None)
@given(lengths, lengths)
def test_a_short_job_passes_a_long_one_within_a_multiple_of_the_difference_only(short_s, more_s):
    long_s = short_s + more_s
    long_rank = policy.rank(submitted_s=0, fair_start_s=0, estimate_s=long_s)
    head_start_s = policy.LENGTH_WEIGHT * more_s

    def rank_of_short(at_s):
        return policy.rank(submitted_s=at_s, fair_start_s=at_s, estimate_s=short_s)

    assert rank_of_short(head_start_s * 0.99) < long_rank
    assert rank_of_short(head_start_s * 1.01) > long_rank


@settings(deadline=None)
@given(seconds, lengths)
def test_a_higher_class_goes_first_until_the_delay_of_the_lower_is_over(submitted_s, estimate_s):
    for low, high in ((Priority.LOW, Priority.NORMAL), (Priority.NORMAL, Priority.HIGH)):
        waited_s = low.delay_s - high.delay_s

        def rank(at_s, priority):
            return policy.rank(
                submitted_s=at_s, fair_start_s=at_s, estimate_s=estimate_s, priority=priority
            )

        lower = rank(submitted_s, low)
        assert (
            rank(submitted_s + waited_s - 1, high) < lower < rank(submitted_s + waited_s + 1, high)
        )


@settings(deadline=None)
@given(seconds, lengths, seconds, priorities)
def test_a_deadline_only_ever_brings_a_job_forward(submitted_s, estimate_s, due_after_s, priority):
    values = {
        "submitted_s": submitted_s,
        "fair_start_s": submitted_s,
        "estimate_s": estimate_s,
        "priority": priority,
    }
    with_deadline = policy.rank(**values, deadline_s=submitted_s + due_after_s)
    assert with_deadline <= policy.rank(**values)


def test_a_deadline_moves_a_low_priority_job_to_twice_its_length_before_it():
    rank = policy.rank(
        submitted_s=0, fair_start_s=0, estimate_s=100, priority=Priority.LOW, deadline_s=1000
    )
    assert rank == 1000 - policy.DEADLINE_LEAD * 100


# a queue with a worker: no starvation, fairness


class Served:
    """One worker and arriving jobs; it records when each job was claimed."""

    def __init__(self, load_s=0.0, warm_models=()):
        self.worker = WorkerCapacity(
            memory_gib=80, load_s=load_s, warm_models=frozenset(warm_models), is_trusted=True
        )
        self.taken = []

    def serve(self, sent):
        """Serve (submitted_s, owner, estimate_s, priority, model), in order of time."""
        waiting: dict[str, tuple[WaitingJob, int, float]] = {}
        now_s = 0.0
        unfinished: dict[int, dict[str, tuple[float, float]]] = {}
        sent = sorted(sent)
        index = 0
        while index < len(sent) or waiting:
            if not waiting:
                now_s = max(now_s, sent[index][0])
            while index < len(sent) and sent[index][0] <= now_s:
                self._admit(waiting, unfinished, index, sent[index])
                index += 1
            taken = policy.choose(self.worker, (job for job, *_ in waiting.values()))
            assert taken is not None
            job, owner, submitted_s = waiting.pop(taken.id)
            self.taken.append((now_s, job, owner, submitted_s, list(waiting.values())))
            now_s += job.estimate_s
            del unfinished[owner][job.id]
        return self

    def _admit(self, waiting, unfinished, index, request):
        submitted_s, owner, estimate_s, priority, model = request
        mine = unfinished.setdefault(owner, {})
        last = list(mine.values())[-1] if mine else (None, 0.0)
        fair_start_s = policy.fair_start_s(submitted_s, *last)
        rank = policy.rank(
            submitted_s=submitted_s,
            fair_start_s=fair_start_s,
            estimate_s=estimate_s,
            priority=priority,
        )
        job = WaitingJob(
            id=f"{index:06d}", rank=rank, estimate_s=estimate_s, memory_gib=8, model=model
        )
        mine[job.id] = (fair_start_s, estimate_s)
        waiting[job.id] = (job, owner, submitted_s)


requests = st.lists(
    st.tuples(
        st.floats(0, 5_000),
        st.integers(0, 3),
        st.floats(1, 600),
        priorities,
        models,
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(requests, st.floats(0, 300))
def test_no_job_waits_behind_one_that_was_admitted_after_its_rank(sent, load_s):
    """After its rank plus the time to load a model, no job that is submitted starts before it."""
    for _, _, _, submitted_s, left in Served(load_s, ["wan"]).serve(sent).taken:
        for job, _, _ in left:
            assert submitted_s <= job.rank + load_s


@settings(deadline=None)
@given(requests)
def test_every_job_is_served_once(sent):
    taken = [job.id for _, job, *_ in Served().serve(sent).taken]
    assert sorted(taken) == [f"{index:06d}" for index in range(len(sent))]


@settings(deadline=None)
@given(st.integers(5, 60), st.integers(5, 20), st.floats(1, 100))
def test_an_owner_who_sends_many_jobs_does_not_delay_one_who_sends_few(many, few, length_s):
    sent = [(0.0, 0, length_s, Priority.NORMAL, "wan")] * many
    sent += [(0.0, 1, length_s, Priority.NORMAL, "wan")] * few
    owners = [owner for _, _, owner, *_ in Served().serve(sent).taken]
    both = owners[: 2 * min(many, few)]
    for end in range(len(both) + 1):
        assert abs(both[:end].count(0) - both[:end].count(1)) <= 1


@settings(deadline=None)
@given(st.floats(10, 100), st.floats(1, 10))
def test_owners_share_the_time_evenly_however_long_their_jobs_are(long_s, short_s):
    """Until they meet on the fair-start clock, a short job leads by the weighted difference in length."""
    sent = [(0.0, 0, long_s, Priority.NORMAL, "wan")] * 40
    sent += [(0.0, 1, short_s, Priority.NORMAL, "wan")] * 400
    given_s = [0.0, 0.0]
    lead_s = (policy.LENGTH_WEIGHT + 2) * (long_s + short_s)
    for _, job, owner, _, left in Served().serve(sent).taken:
        given_s[owner] += job.estimate_s
        if {other for _, other, _ in left} == {0, 1}:
            assert abs(given_s[0] - given_s[1]) <= lead_s


def test_an_owner_without_unfinished_jobs_begins_at_his_own_time():
    assert policy.fair_start_s(50.0, None) == 50.0
    assert policy.fair_start_s(50.0, 10.0, 20.0) == 50.0
    assert policy.fair_start_s(50.0, 40.0, 20.0) == 60.0


# choice


@settings(deadline=None)
@given(workers, st.lists(jobs, max_size=30, unique_by=lambda job: job.id))
def test_the_heads_of_alike_jobs_are_enough_to_choose_from(worker, waiting):
    heads: dict[tuple[str, float, bool], WaitingJob] = {}
    for job in sorted(waiting, key=lambda job: (job.rank, job.id)):
        heads.setdefault((job.model, job.memory_gib, job.needs_trust), job)
    assert policy.choose(worker, heads.values()) == policy.choose(worker, waiting)


@settings(deadline=None)
@given(workers, st.lists(jobs, max_size=30))
def test_what_is_chosen_fits_and_nothing_is_chosen_only_if_nothing_fits(worker, waiting):
    chosen = policy.choose(worker, waiting)
    assert (chosen is None) == (not any(policy.fits(worker, job) for job in waiting))
    if chosen is not None:
        assert chosen.memory_gib <= worker.memory_gib
        assert worker.is_trusted or not chosen.needs_trust
        assert worker.models is None or chosen.model in worker.models


@settings(deadline=None)
@given(st.floats(1, 600), st.floats(0, 1_000), st.floats(0, 1_000))
def test_a_warm_model_is_worth_the_time_to_load_it_and_no_more(load_s, warm_rank, cold_rank):
    worker = WorkerCapacity(memory_gib=80, warm_models=frozenset(["wan"]), load_s=load_s)
    warm = WaitingJob(id="warm", rank=warm_rank, model="wan", estimate_s=1, memory_gib=8)
    cold = WaitingJob(id="cold", rank=cold_rank, model="ltx", estimate_s=1, memory_gib=8)
    expected = warm if warm_rank - load_s < cold_rank else cold
    if not math.isclose(warm_rank - load_s, cold_rank, abs_tol=1e-6):
        assert policy.choose(worker, [warm, cold]) is expected


# preemption


@settings(deadline=None)
@given(running_jobs(), small_jobs)
def test_a_job_yields_only_if_that_costs_less_than_half_of_what_it_still_needs(running, waiting):
    if policy.should_yield(running, waiting):
        is_warm = waiting.model in running.worker.warm_models
        loading_s = 0 if is_warm else 2 * running.worker.load_s
        assert 2 * (waiting.estimate_s + running.save_s + loading_s) < running.remaining_s
        assert policy.fits(running.worker, waiting)


@settings(deadline=None)
@given(running_jobs(), small_jobs)
def test_a_worker_whose_job_yielded_takes_the_waiting_one_and_not_the_same_again(running, waiting):
    if policy.should_yield(running, waiting):
        back = WaitingJob(
            id=running.id,
            rank=running.rank,
            estimate_s=running.remaining_s,
            memory_gib=0,
            model=running.model,
        )
        assert policy.choose(running.worker, [back, waiting]) is waiting


@settings(deadline=None)
@given(running_jobs(), small_jobs)
def test_no_two_jobs_yield_to_each_other(running, waiting):
    if policy.should_yield(running, waiting):
        other = RunningJob(
            id=waiting.id,
            rank=waiting.rank,
            remaining_s=1e9,
            model=waiting.model,
            worker=replace(
                running.worker, warm_models=running.worker.warm_models | {waiting.model}
            ),
        )
        back = WaitingJob(
            id=running.id, rank=running.rank, estimate_s=1, memory_gib=0, model=running.model
        )
        assert not policy.should_yield(other, back)


@settings(deadline=None)
@given(st.lists(running_jobs(), max_size=20, unique_by=lambda job: job.id), small_jobs)
def test_the_job_with_the_highest_rank_yields(running, waiting):
    victim = policy.choose_victim(running, waiting)
    willing = [job for job in running if policy.should_yield(job, waiting)]
    assert (victim is None) == (not willing)
    assert victim is None or victim.rank == max(job.rank for job in willing)


@pytest.mark.parametrize(
    ("changes", "should_yield"),
    [
        ({}, True),
        ({"remaining_s": 200.0}, False),  # exactly the cost
        ({"rank": 10.0}, False),  # not behind the waiting one
        ({"save_s": 400.0}, False),
        ({"model": "ltx", "remaining_s": 601.0}, True),  # loading twice, there and back
        ({"model": "ltx", "remaining_s": 600.0}, False),
    ],
)
def test_preemption_by_example(changes, should_yield):
    values = {"id": "a", "rank": 200.0, "remaining_s": 900.0, "model": "wan"} | changes
    warm = frozenset([str(values["model"])])
    worker = WorkerCapacity(memory_gib=24, warm_models=warm, load_s=100.0)
    waiting = WaitingJob(id="b", rank=10.0, estimate_s=100, memory_gib=8, model="wan")
    assert policy.should_yield(RunningJob(**values, worker=worker), waiting) is should_yield
