"""Jobs as the objects that clients of the videos API know, with our own fields beside theirs."""

import math
from collections.abc import Mapping
from typing import Any

from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import Job, Phase, Status

FIRST_POLL_MS = 250
LAST_POLL_MS = 10_000
_POLLS_PER_WAIT = 20


def video(job: Job, place: QueuePosition | None = None, spread: float = 1.0) -> dict[str, Any]:
    """Return a job as a video object.

    Args:
        job: A video's.
        place: Of a waiting job.
        spread: Factor from the likely time to the bounds of an 80 % interval.
    """
    asked: Mapping[str, Any] = job.request["request"]  # type: ignore[assignment]  # as we stored it
    return {
        "id": job.id,
        "object": "video",
        "created_at": int(job.created_at),
        "status": str(job.status),
        "progress": job.progress,
        "model": job.model,
        "seconds": seconds(job),
        "size": asked["size"],
        "completed_at": whole(job.completed_at),
        "expires_at": whole(job.expires_at),
        "error": error(job),
        "prompt": asked["prompt"],
        "remixed_from_video_id": job.remixed_from,
        "extended_from_video_id": job.extended_from,
        "seed": asked["seed"],
        "fps": asked["fps"],
        "num_frames": asked["num_frames"],
        "num_inference_steps": asked["num_steps"],
        "guidance_scale": asked["guidance_scale"],
        "negative_prompt": asked["negative_prompt"],
        "priority": job.priority.name.lower(),
        "deadline": job.deadline_at,
        **progress_fields(job, place, spread),
    }


def seconds(job: Job) -> str:
    """Return the length of a job's video; of an extension, with what it extends."""
    before: Any = job.request.get("extends_s", 0.0)
    return f"{round(job.clip_s + before, 3):g}"


def progress_fields(
    job: Job, place: QueuePosition | None = None, spread: float = 1.0
) -> dict[str, Any]:
    """Return where a job stands: what changes while it is made."""
    return {
        "detail": None if job.detail is None else str(job.detail),
        "stage": job.stage,
        "step": job.step,
        "num_steps": job.num_steps,
        "queue_position": None if place is None else place.num_ahead + 1,
        "eta_seconds": eta_s(job, place, spread),
        "gpu_seconds": round(job.gpu_s, 3),
    }


def eta_s(job: Job, place: QueuePosition | None, spread: float) -> dict[str, float] | None:
    """Return the seconds until it is finished, as an interval; none if nobody can say."""
    if job.phase.is_final or job.phase is Phase.PAUSED:
        return None
    wait_s = 0.0
    if job.phase is Phase.WAITING:
        if place is None or place.wait_s is None:
            return None
        wait_s = place.wait_s
    return interval(wait_s + job.remaining_s, spread)


def interval(likely: float, spread: float, num_digits: int = 3) -> dict[str, float]:
    """Return the bounds and the likely value of a log-normal 80 % interval."""
    values = {"low": likely / spread, "likely": likely, "high": likely * spread}
    return {name: round(value, num_digits) for name, value in values.items()}


def error(job: Job) -> dict[str, str] | None:
    """Return why a job failed."""
    if job.status is not Status.FAILED:
        return None
    return {"code": job.error_code or "", "message": job.error_message or ""}


def whole(seconds: float | None) -> int | None:
    """Return a time as the wire has it."""
    return None if seconds is None else int(seconds)


def poll_after_ms(job: Job, place: QueuePosition | None) -> int:
    """Return how long a client should wait between two polls.

    It reads this once, with its first answer: a twentieth of what is left, within bounds.
    """
    left = eta_s(job, place, 1.0)
    if left is None:
        return FIRST_POLL_MS if job.phase.is_final else 1_000
    wanted_ms = left["likely"] * 1_000 / _POLLS_PER_WAIT
    return math.ceil(min(max(wanted_ms, FIRST_POLL_MS), LAST_POLL_MS))
