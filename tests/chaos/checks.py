"""The four promises, checked after the faults: is anything lost?"""

import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from reelgrid import catalog
from reelgrid.engine.generation import Generation
from reelgrid.jobs.job import Phase
from reelgrid.jobs.sql.sql_queue import open_job_queue
from reelgrid.media import Provenance, write_clip
from reelgrid.media.provenance import provenance_of
from reelgrid.media.video_reader import iterate_frames
from reelgrid.models.loading import LoadedModel, load_model
from reelgrid.spec import Request
from tests.chaos.load import PROMPT, ClipRequest, Load
from tests.chaos.server import CHECKPOINT_EVERY_S, ChaosServer
from tests.chaos.trace_events import Loss
from tests.media.unsigned import without_manifest

MODEL = "embedded"
PATIENCE_S = 0.3
"""How much later than it is due a checkpoint may begin, on a busy machine."""


def check_every_job_is_completed_once(server: ChaosServer, load: Load) -> int:
    """Return how many jobs there were; the database, the client and the counts agree on them."""
    assert load.mistakes == []
    failed = {job: video["error"] for job, video in load.finished.items() if video["error"]}
    assert failed == {}, failed
    assert set(load.finished) == set(load.accepted)
    job_queue = open_job_queue(server.database)
    try:
        jobs = list(job_queue.list(limit=1_000, order="asc").jobs)
        while jobs and (page := job_queue.list(limit=1_000, order="asc", after=jobs[-1].id)).jobs:
            jobs += page.jobs
        completed = sum(
            counter.num for counter in job_queue.counters() if counter.name == "completed"
        )
    finally:
        job_queue.close()
    assert {job.id for job in jobs} == set(load.accepted)
    assert all(job.phase is Phase.COMPLETED for job in jobs)
    assert completed == len(jobs)
    return len(jobs)


def check_every_file_is_that_of_an_uninterrupted_job(load: Load) -> int:
    """Return how many files play and are right, apart from their signatures."""
    for job, clip in load.accepted.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            path.write_bytes(load.content(job))
            frames, unsigned = list(iterate_frames(path)), without_manifest(path)
        card = catalog.find(MODEL)
        assert card is not None
        assert len(frames) == card.default.num_frames
        assert unsigned == uninterrupted(clip), f"{job} differs from an uninterrupted one"
    return len(load.accepted)


def check_little_was_computed_twice(losses: Iterable[Loss]) -> int:
    """Return how many claims were interrupted: none lost more than a checkpoint interval and a step.

    A checkpoint that is being saved when the worker dies is lost too: its time is added.
    """
    checked = [loss for loss in losses if not loss.is_in_span]
    for loss in checked:
        allowed_s = (
            CHECKPOINT_EVERY_S + loss.slowest_step_s + loss.slowest_checkpoint_s + PATIENCE_S
        )
        assert loss.lost_s <= allowed_s, loss
    return len(checked)


@cache
def uninterrupted(clip: ClipRequest) -> bytes:
    """Return the unsigned file of a clip that a worker makes without faults."""
    request = Request(PROMPT, seed=clip.seed, num_steps=clip.num_steps)
    with Generation(_model(), request) as generation, tempfile.TemporaryDirectory() as folder:
        for _ in generation:
            pass
        complete = generation.request
        assert complete.fps is not None
        path = Path(folder) / "video.mp4"
        write_clip(generation.frames, path, fps=complete.fps, provenance=_provenance(complete))
        return path.read_bytes()


def _provenance(request: Request) -> Provenance:
    said = provenance_of(MODEL, request)
    return Provenance(
        prompt=said.prompt,
        seed=said.seed,
        model=said.model,
        software=said.software,
        negative_prompt=said.negative_prompt,
        extra=said.extra,
        prompts_in_metadata=False,
    )


@cache
def _model() -> LoadedModel:
    return load_model(MODEL)
