"""The JSON of a job, as the API answers it and as `reelgrid jobs` prints it.

The fields of the openai package's `Video` come first, then those of other servers, then Reelgrid's.
"""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reelgrid.api.estimates import Estimator
from reelgrid.errors import ReelgridError
from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import Job, Phase, Status
from reelgrid.jobs.queue import ClientQueue
from reelgrid.spec import REQUEST_FIELDS

FIRST_POLL_MS = 250
LAST_POLL_MS = 10_000
FINAL_STATUSES = frozenset({Status.COMPLETED, Status.FAILED})
_POLLS_PER_WAIT = 20


def current_job_json(job: Job, job_queue: ClientQueue, estimator: Estimator) -> dict[str, Any]:
    """Return the JSON of a job with its present position in the queue and its remaining time.

    Both are left out where the database cannot be read: a job that was admitted is always shown.
    """
    position = None
    with contextlib.suppress(ReelgridError):
        position = job_queue.position_of(job)
    return job_json(job, position, _spread(job, estimator))


def job_json(
    job: Job, position: QueuePosition | None = None, spread: float = 1.0
) -> dict[str, Any]:
    """Return the JSON of a job.

    Args:
        job: Of a video or of images.
        position: Of a waiting job.
        spread: Factor from the likely remaining time to the bounds of an 80 % interval.
    """
    request = _request_of(job)
    return {
        "id": job.id,
        "object": str(job.kind),
        "created_at": int(job.created_at),
        "status": str(job.status),
        "progress": job.progress,
        "model": job.model,
        "seconds": seconds_text(job),
        "completed_at": _unix_s(job.completed_at),
        "expires_at": _unix_s(job.expires_at),
        "error": _error(job),
        **{
            each.api_name: request.get(each.name)
            for each in REQUEST_FIELDS
            if each.type is not Path
        },
        "remixed_from_video_id": job.remixed_from,
        "extended_from_video_id": job.extended_from,
        "priority": job.priority.name.lower(),
        "deadline": job.deadline_at,
        "detail": None if job.detail is None else str(job.detail),
        "stage": job.stage,
        "step": job.step,
        "num_steps": job.num_steps,
        "queue_position": None if position is None else position.num_ahead + 1,
        "eta_seconds": _eta_json(job, position, spread),
        "gpu_seconds": round(job.gpu_s, 3),
    }


def interval_json(likely: float, spread: float, num_digits: int = 3) -> dict[str, float]:
    """Return the bounds and the likely value of a log-normal 80 % interval."""
    values = {"low": likely / spread, "likely": likely, "high": likely * spread}
    return {name: round(value, num_digits) for name, value in values.items()}


def poll_after_ms(job: Mapping[str, Any]) -> int:
    """Return how long a client should wait between two polls of a job, from its JSON.

    A client reads this once, with its first answer: a twentieth of the remaining time, within bounds.
    """
    if job["eta_seconds"] is None:
        return FIRST_POLL_MS if job["status"] in FINAL_STATUSES else 1_000
    due_ms = job["eta_seconds"]["likely"] * 1_000 / _POLLS_PER_WAIT
    return math.ceil(min(max(float(due_ms), FIRST_POLL_MS), LAST_POLL_MS))


def seconds_text(job: Job) -> str:
    """Return the length of a job's video in seconds; of an extension, with what it extends."""
    before: Any = job.request.get("extends_s", 0.0)
    return f"{round(job.clip_s + before, 3):g}"


def _request_of(job: Job) -> Mapping[str, Any]:
    request = job.request.get("request")
    return request if isinstance(request, Mapping) else {}


def _spread(job: Job, estimator: Estimator) -> float:
    if job.phase.is_final:
        return 1.0
    with contextlib.suppress(ReelgridError, ValueError, TypeError, KeyError):
        return estimator.spread(job)
    return 1.0


def _eta_json(job: Job, position: QueuePosition | None, spread: float) -> dict[str, float] | None:
    """Return the interval of the seconds until a job is finished; `None` if that is unknown."""
    if job.phase.is_final or job.phase is Phase.PAUSED:
        return None
    if job.phase is not Phase.WAITING:
        return interval_json(job.remaining_s, spread)
    if position is None or position.wait_s is None:
        return None
    return interval_json(position.wait_s + job.remaining_s, spread)


def _error(job: Job) -> dict[str, str] | None:
    if job.status is not Status.FAILED:
        return None
    return {"code": job.error_code or "", "message": job.error_message or ""}


def _unix_s(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
