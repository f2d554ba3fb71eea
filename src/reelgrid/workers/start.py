"""The generation that a claim starts with: restored from the newest usable checkpoint, or new.

A checkpoint that is truncated, of another model or of other software is passed over for the one before
it, logged and counted.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelgrid.engine.generation import Generation
from reelgrid.errors import BusyError, CheckpointError, JobQueueError, RequestError
from reelgrid.jobs.messages import Claim
from reelgrid.jobs.request import JobRequest
from reelgrid.media import Provenance, last_frame, media_type_of, write_image
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import CompleteRequest
from reelgrid.workers.context import WorkerContext

RESUMES = "resumes"
"""Name of the job queue's counter of generations that were restored from a checkpoint."""

REFUSED_CHECKPOINTS = "checkpoints_refused"
"""Name of the job queue's counter of checkpoints that could not be used."""

_log = logging.getLogger(__name__)


def image_request(job_request: JobRequest, number: int) -> CompleteRequest:
    """Return the request of image `number`, 0 for a clip, without its first frame."""
    return job_request.request.with_(seed=job_request.request.seed + number)


def restore(
    context: WorkerContext, claim: Claim, job_request: JobRequest, model: LoadedModel, number: int
) -> tuple[Generation, int] | None:
    """Return the generation of image `number`, 0 for a clip, from its newest usable checkpoint.

    Returns:
        The generation and the steps that it has done, or `None` where there is no checkpoint of this
        image: one of an image that is stored already is of no use to the next.
    """
    for checkpoint in claim.job.checkpoints:
        try:
            with context.blobs.as_file(checkpoint.blob) as path:
                generation = Generation.restore(path, model)
        except (CheckpointError, OSError) as error:
            reason = f"at step {checkpoint.step}: {' '.join(str(error).split())[:200]}"
            _log.warning("%s: unusable checkpoint %s", claim.id, reason, extra={"job": claim.id})
            _count(context, claim, REFUSED_CHECKPOINTS)
            continue
        _log.info("%s resumes at step %d", claim.id, checkpoint.step, extra={"job": claim.id})
        _count(context, claim, RESUMES)
        if generation.request.seed == image_request(job_request, number).seed:
            return generation, checkpoint.step - number * job_request.request.num_steps
        generation.close()
        return None
    return None


def new_generation(
    context: WorkerContext, job_request: JobRequest, model: LoadedModel, number: int
) -> Generation:
    """Return a new generation of image `number`, 0 for a clip.

    Raises:
        RequestError: The first frame is gone, or the model cannot make this.
    """
    with _first_frame(context, job_request) as path:
        return Generation(model, image_request(job_request, number).with_(first_frame=path))


@contextmanager
def _first_frame(context: WorkerContext, job_request: JobRequest) -> Iterator[Path | None]:
    blob = job_request.first_frame or job_request.extends
    if blob is None:
        yield None
        return
    try:
        with context.blobs.as_file(blob) as path:
            yield _as_image(path, context.scratch)
    except FileNotFoundError:
        raise RequestError("the file that the clip begins with is gone") from None


def _as_image(path: Path, scratch: Path) -> Path:
    """Return the image, or the last frame of the video, as an image file."""
    media_type = media_type_of(path)
    if media_type is None or not media_type.is_video:
        return path
    image = scratch / "first-frame.png"
    origin = Provenance(prompt="", seed=0, model="", software="", prompts_in_metadata=False)
    write_image(last_frame(path), image, provenance=origin)
    return image


def _count(context: WorkerContext, claim: Claim, name: str) -> None:
    try:
        context.job_queue.observe(name, claim.job.model)
    except (JobQueueError, BusyError):
        _log.warning("%s was not counted", name, extra={"job": claim.id})
