"""Retention: the decisions by hypothesis; maintenance on both databases and real blobs."""

import math
import os
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgrid.errors import StorageFullError
from reelgrid.jobs.job import Phase
from reelgrid.jobs.retention import (
    Maintenance,
    MaintenanceReport,
    RetentionPolicy,
    StorageSpace,
    choose_evictions,
    orphans,
    retain_s,
    shortage_bytes,
    why_no_space,
)
from reelgrid.settings import Settings
from reelgrid.store.blobs import Blob, Blobs
from tests.jobs.builders import new_job, new_worker

BYTES = st.integers(0, 10**12)
SPACES = st.builds(StorageSpace, BYTES, st.none() | BYTES)
POLICIES = st.builds(
    RetentionPolicy,
    quota_bytes=st.one_of(st.just(math.inf), st.integers(1, 10**12).map(float)),
    min_free_bytes=BYTES.map(float),
)


@given(POLICIES, SPACES)
def test_there_is_space_exactly_if_quota_and_disk_allow_it(policy, space):
    fits = space.used_bytes <= policy.quota_bytes and (
        space.free_bytes is None or space.free_bytes >= policy.min_free_bytes
    )
    assert (why_no_space(policy, space) is None) is fits
    assert (shortage_bytes(policy, space) == 0) is fits


@given(POLICIES, SPACES)
def test_when_the_shortage_is_freed_there_is_space(policy, space):
    freed = math.ceil(shortage_bytes(policy, space))
    used = space.used_bytes - freed
    free = None if space.free_bytes is None else space.free_bytes + freed
    assert why_no_space(policy, StorageSpace(used, free)) is None


def test_the_reason_names_the_figures():
    policy = RetentionPolicy(quota_bytes=2e9, min_free_bytes=1e9)
    assert "take 3.0 GB of the 2.0 GB" in str(why_no_space(policy, StorageSpace(3 * 10**9, 10**12)))
    assert "has 0.5 GB free, 1.0 GB are kept" in str(
        why_no_space(policy, StorageSpace(0, 5 * 10**8))
    )


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)), st.integers(0, 20))
def test_only_old_blobs_of_no_row_and_no_live_job_are_orphans(referred, live, before_s):
    def job_id(number):
        return f"video_{number:024x}"

    stored = [Blob(f"files/{job_id(number)}/a", 1, float(number)) for number in range(21)]
    names = {f"files/{job_id(number)}/a" for number in referred}
    found = orphans(
        stored, names, lambda asked: int(asked[6:], 16) in live, before_s=float(before_s)
    )
    expected = {number for number in range(21) if number < before_s} - referred - live
    assert {int(blob.modified_s) for blob in found} == expected


@given(st.lists(st.integers(0, 100), max_size=20), st.integers(0, 1_000))
def test_the_fewest_of_the_oldest_are_evicted(in_order, needed):
    jobs: list[Any] = [SimpleNamespace(files={"video": str(i)}) for i in range(len(in_order))]
    sizes = {str(i): size for i, size in enumerate(in_order)}
    chosen = choose_evictions(jobs, sizes, needed)
    assert chosen == jobs[: len(chosen)]
    freed = sum(in_order[: len(chosen)])
    assert freed >= needed or len(chosen) == len(jobs)
    if chosen:
        assert sum(in_order[: len(chosen) - 1]) < needed


def test_settings_make_a_policy():
    settings = Settings(quota_gb=2, min_free_gb=0.5, evict_when_full=True)
    policy = RetentionPolicy.of(settings)
    assert (policy.quota_bytes, policy.min_free_bytes) == (2e9, 5e8)
    assert policy.evict_when_full
    assert RetentionPolicy.of(Settings()).quota_bytes == math.inf
    assert retain_s(math.inf) is None
    assert retain_s(60.0) == 60.0


def test_a_policy_that_makes_no_sense_is_refused():
    wrong: list[dict[str, Any]] = [{"quota_bytes": 0}, {"orphan_age_s": -1}, {"min_free_bytes": -1}]
    for values in wrong:
        with pytest.raises(ValueError, match="zero"):
            RetentionPolicy(**values)


POLICY = RetentionPolicy(min_free_bytes=0, retain_jobs_s=1_000.0)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def maintenance(job_queue, blobs):
    return Maintenance(job_queue, blobs, POLICY)


def finished(job_queue, blobs, *, size=100, **values):
    job = job_queue.submit(new_job(**values))
    claim = job_queue.claim(new_worker())
    assert claim.id == job.id
    name = f"files/{job.id}/video.mp4"
    blobs.put(name, bytes(size))
    return job_queue.finish(claim, {"video": name})


class OneRound(threading.Event):
    """Stops a loop at its first wait."""

    def wait(self, timeout=None):
        self.set()
        return True


def test_a_server_without_workers_takes_back_the_job_of_a_lost_one(
    job_queue, clock, blobs, maintenance
):
    job = job_queue.submit(new_job())
    assert job_queue.claim(new_worker("elsewhere")) is not None
    clock.move(19)
    maintenance.run(OneRound())
    assert job_queue.get(job.id).phase is Phase.RUNNING
    clock.move(2)
    maintenance.run(OneRound())
    assert (job_queue.get(job.id).phase, job_queue.get(job.id).reason) == (
        Phase.WAITING,
        "worker lost",
    )


def test_leases_are_looked_at_more_often_than_files(job_queue, clock, blobs, maintenance):
    class SecondRound(threading.Event):
        def wait(self, timeout=None):
            rounds.append(timeout)
            clock.move(21)
            if len(rounds) == 2:
                self.set()
            return self.is_set()

    rounds: list[float] = []
    job = job_queue.submit(new_job())
    job_queue.claim(new_worker("elsewhere"))
    maintenance.run(SecondRound(), every_s=1e6)
    assert job_queue.get(job.id).phase is Phase.WAITING
    assert rounds == [5.0, 5.0]


def make_old(blobs, name):
    os.utime(blobs._path(name), (0, 0))


def test_files_go_when_they_have_expired_and_not_before(job_queue, clock, blobs, maintenance):
    kept = finished(job_queue, blobs)
    going = finished(job_queue, blobs, retain_s=100.0)
    clock.move(99)
    assert maintenance.run_once() == MaintenanceReport()
    clock.move(2)
    assert maintenance.run_once() == MaintenanceReport(num_expired=1, freed_bytes=100)
    assert [blob.name for blob in blobs.list()] == [kept.files["video"]]
    assert job_queue.get(going.id).phase is Phase.COMPLETED
    assert job_queue.get(going.id).files == {}
    assert maintenance.run_once() == MaintenanceReport()


def test_more_than_a_batch_expire_in_one_round(job_queue, clock, blobs, maintenance):
    for _ in range(3):
        finished(job_queue, blobs, retain_s=1.0)
    clock.move(10)
    from reelgrid.jobs import retention

    batch, retention._BATCH = retention._BATCH, 2  # type: ignore[misc]
    try:
        assert maintenance.run_once().num_expired == 3
    finally:
        retention._BATCH = batch  # type: ignore[misc]


def test_a_blob_that_another_job_reads_stays(job_queue, clock, blobs, maintenance):
    source = finished(job_queue, blobs, retain_s=1.0)
    extension = job_queue.submit(new_job(inputs=(source.files["video"],)))
    clock.move(10)
    assert maintenance.run_once().num_expired == 1
    assert blobs.exists(source.files["video"])
    job_queue.cancel(extension.id)
    make_old(blobs, source.files["video"])
    maintenance.run_once()
    job_queue.drop_files(extension.id)
    assert maintenance.run_once().num_orphans == 1
    assert not blobs.exists(source.files["video"])


def test_old_orphans_go_and_young_ones_stay(job_queue, blobs, maintenance):
    kept = finished(job_queue, blobs)
    make_old(blobs, kept.files["video"])
    for name in ("files/old/a.mp4", "files/young/a.mp4"):
        blobs.put(name, bytes(50))
    make_old(blobs, "files/old/a.mp4")
    assert maintenance.run_once() == MaintenanceReport(num_orphans=1, freed_bytes=50)
    assert {blob.name for blob in blobs.list()} == {kept.files["video"], "files/young/a.mp4"}


def test_what_a_job_at_work_has_stored_is_no_orphan_however_old(job_queue, blobs, maintenance):
    """Images of a batch, and the files of a job whose worker is about to report them."""
    job = job_queue.submit(new_job())
    claim = job_queue.claim(new_worker())
    names = [f"files/{job.id}/00001/image.png", f"checkpoints/{job.id}/00001/5.safetensors"]
    for name in names:
        blobs.put(name, bytes(10))
        make_old(blobs, name)
    assert maintenance.run_once() == MaintenanceReport()
    job_queue.finish(claim, {"image": names[0]})
    assert maintenance.run_once() == MaintenanceReport(num_orphans=1, freed_bytes=10)
    assert blobs.exists(names[0])


def test_a_blob_that_is_replaced_during_a_round_stays(job_queue, blobs, monkeypatch):
    blobs.put("files/old/a.mp4", b"old")
    make_old(blobs, "files/old/a.mp4")
    real = Blobs.list

    def then_replaced(self):
        listed = real(self)
        blobs.put("files/old/a.mp4", b"new")
        return listed

    monkeypatch.setattr(Blobs, "list", then_replaced)
    assert Maintenance(job_queue, blobs, POLICY).run_once().num_orphans == 0
    assert blobs.read("files/old/a.mp4") == b"new"


def test_a_crash_between_row_and_blobs_leaves_what_the_next_round_finds(
    job_queue, clock, blobs, maintenance, monkeypatch
):
    job = finished(job_queue, blobs, retain_s=1.0)
    clock.move(10)
    with monkeypatch.context() as patch:
        patch.setattr(Blobs, "delete", lambda self, name: (_ for _ in ()).throw(OSError("dead")))
        with pytest.raises(OSError, match="dead"):
            maintenance.run_once()
    assert job_queue.get(job.id).files == {}
    make_old(blobs, job.files["video"])
    assert maintenance.run_once() == MaintenanceReport(num_orphans=1, freed_bytes=100)


def test_jobs_without_files_are_forgotten_in_time(job_queue, clock, blobs, maintenance):
    job = job_queue.submit(new_job())
    job_queue.cancel(job.id)
    kept = finished(job_queue, blobs)
    clock.move(1_001)
    assert maintenance.run_once().num_purged == 1
    assert [each.id for each in job_queue.list().jobs] == [kept.id]


def test_without_space_new_work_is_refused_with_the_reason_and_nothing_is_removed(job_queue, blobs):
    maintenance = Maintenance(job_queue, blobs, replace(POLICY, quota_bytes=150.0))
    finished(job_queue, blobs)
    maintenance.run_once()
    maintenance.check_space()
    finished(job_queue, blobs)
    maintenance.run_once()
    with pytest.raises(StorageFullError, match="no new work is taken"):
        maintenance.check_space()
    assert len(blobs.list()) == 2
    job_queue.delete(job_queue.list().jobs[0].id)
    for blob in blobs.list():
        make_old(blobs, blob.name)
    assert maintenance.run_once().num_orphans == 1
    maintenance.check_space()


def test_a_nearly_full_disk_refuses_at_once_and_accepts_again_when_it_has_space(job_queue, blobs):
    maintenance = Maintenance(job_queue, blobs, replace(POLICY, min_free_bytes=1e9))
    free = [10**10]
    maintenance._blobs.free_bytes = lambda: free[0]  # type: ignore[method-assign]
    maintenance.check_space()
    free[0] = 10**8
    with pytest.raises(StorageFullError, match=r"the disk has 0\.1 GB free"):
        maintenance.check_space()
    free[0] = 10**10
    maintenance.check_space()


def test_the_oldest_are_evicted_only_if_the_operator_allows_it(job_queue, clock, blobs):
    jobs = []
    for _ in range(3):
        jobs.append(finished(job_queue, blobs))
        clock.move(10)
    policy = replace(POLICY, quota_bytes=250.0, evict_when_full=True)
    assert (
        Maintenance(job_queue, blobs, replace(policy, evict_when_full=False)).run_once()
        == MaintenanceReport()
    )
    assert Maintenance(job_queue, blobs, policy).run_once() == MaintenanceReport(
        num_evicted=1, freed_bytes=100
    )
    assert job_queue.get(jobs[0].id).files == {}
    assert job_queue.get(jobs[1].id).files


def test_the_thread_outlives_a_queue_that_cannot_be_reached(blobs, job_queue, monkeypatch, caplog):
    from reelgrid.errors import JobQueueError

    stop = threading.Event()
    calls = []

    def fail(self, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            stop.set()
        raise JobQueueError("the database cannot be reached")

    monkeypatch.setattr(type(job_queue), "expired", fail)
    Maintenance(job_queue, blobs, POLICY).run(stop, every_s=0.001)
    assert len(calls) == 3
    assert "cannot be reached" in caplog.text
