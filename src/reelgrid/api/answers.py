"""Jobs as answers, and what an admitted job needs afterwards: an answer, and an end of its blobs."""

import contextlib
from typing import Any

from fastapi.responses import JSONResponse

from reelgrid.api import responses
from reelgrid.api.service import Service
from reelgrid.errors import ReelgridError
from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import Job


def answer(service: Service, job: Job) -> JSONResponse:
    """Return a job as the client sees it, with how long it should wait before it looks again."""
    place = _place(service, job)
    headers = {"openai-poll-after-ms": str(responses.poll_after_ms(job, place))}
    return JSONResponse(responses.video(job, place, _spread(service, job)), headers=headers)


def shown(service: Service, job: Job) -> dict[str, Any]:
    """Return a job as the client sees it."""
    return responses.video(job, _place(service, job), _spread(service, job))


def remove_blobs(service: Service, job: Job) -> None:
    """Remove what no other job needs; what cannot be removed now, the sweep finds."""
    names = {*job.files.values(), *job.inputs, *(state.blob for state in job.checkpoints)}
    names |= {job.preview} if job.preview else set()
    with contextlib.suppress(ReelgridError, OSError):
        for name in names - service.job_queue.blob_names():
            service.blobs.delete(name)


def _place(service: Service, job: Job) -> QueuePosition | None:
    with contextlib.suppress(ReelgridError):
        return service.job_queue.position_of(job)
    return None


def _spread(service: Service, job: Job) -> float:
    if job.phase.is_final:
        return 1.0
    with contextlib.suppress(ReelgridError, ValueError, TypeError):
        return service.estimator.spread(job)
    return 1.0
