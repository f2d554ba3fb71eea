"""Where a claimed job goes on from: its newest saved state that can be taken up, or its beginning.

A state that is truncated, of another model or of other software is passed over, said and counted.
Not here: how a state is checked (`engine.state`).
"""

import logging
from collections.abc import Iterator

from reelgrid.engine.generation import Generation
from reelgrid.errors import BusyError, CheckpointError, JobQueueError
from reelgrid.jobs.job import CheckpointRef
from reelgrid.jobs.messages import Claim
from reelgrid.jobs.queue import OperatorQueue
from reelgrid.models.loading import LoadedModel
from reelgrid.store.blobs import Blobs

RESUMES = "resumes"
"""Name of the desk's count of generations that went on from a saved state."""

REFUSED_CHECKPOINTS = "checkpoints_refused"
"""Name of the desk's count of saved states that could not be taken up."""

_log = logging.getLogger(__name__)


def take_up(
    claim: Claim, model: LoadedModel, blobs: Blobs, books: OperatorQueue
) -> tuple[Generation, CheckpointRef] | None:
    """Return the generation of the newest good state, and that state; none if there is none."""
    for state, generation in _states(claim, model, blobs, books):
        _log.info("%s goes on from step %d", claim.id, state.step, extra={"job": claim.id})
        _count(claim, RESUMES, books)
        return generation, state
    return None


def _states(
    claim: Claim, model: LoadedModel, blobs: Blobs, books: OperatorQueue
) -> Iterator[tuple[CheckpointRef, Generation]]:
    for state in claim.job.checkpoints:
        try:
            with blobs.as_file(state.blob) as path:
                yield state, Generation.restore(path, model)
        except (CheckpointError, OSError) as error:
            _pass_over(claim, state, error, books)


def _pass_over(claim: Claim, state: CheckpointRef, error: Exception, books: OperatorQueue) -> None:
    reason = " ".join(str(error).split())[:200]
    _log.warning(
        "%s: the state of step %d cannot be taken up: %s",
        claim.id,
        state.step,
        reason,
        extra={"job": claim.id},
    )
    _count(claim, REFUSED_CHECKPOINTS, books)


def _count(claim: Claim, name: str, books: OperatorQueue) -> None:
    try:
        books.observe(name, claim.job.model)
    except (JobQueueError, BusyError):
        _log.warning("%s was not counted", name, extra={"job": claim.id})
