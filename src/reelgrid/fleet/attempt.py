"""One claim: a job in a worker's hands, from loading its model to the row of the finished job.

Whatever ends it, the job is finished, failed, given back with a saved state, or, when it is no
longer this worker's, dropped. Not here: which job is taken, and when (`worker`).
"""

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from reelgrid.errors import (
    MemoryShortError,
    ModelError,
    NoRoomError,
    ReelgridError,
    StaleClaim,
)
from reelgrid.fleet.delivery import Delivery
from reelgrid.fleet.iteration import Iteration, Stopped
from reelgrid.fleet.lease import Lease, Leaving
from reelgrid.fleet.opening import Opening
from reelgrid.fleet.place import Workplace
from reelgrid.fleet.previews import Previews, previews_of
from reelgrid.fleet.room import passes
from reelgrid.fleet.saving import Saving, states_folder
from reelgrid.fleet.stopwatch import Stopwatch
from reelgrid.jobs.job import Code, Job, Kind, Phase
from reelgrid.jobs.request import JobRequest, file_variant
from reelgrid.jobs.work import Claim, Progress
from reelgrid.models.loading import LoadedModel
from reelgrid.studio.origin import provenance_of

INTERNAL_ERROR = "internal_error"
ROOM_EVERY_S = 1.0
"""A worker that finds no room for its files tries again this often."""

_log = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[], Job]


class Attempt:
    """A claim that is worked on.

    Args:
        place: What the worker has.
        claim: The job.
        asked_at: When it was asked for, by the place's clock.
    """

    def __init__(self, place: Workplace, claim: Claim, asked_at: float) -> None:
        self._place = place
        self._claim = claim
        self._order = JobRequest.from_json(claim.job.request)
        self._is_begun = claim.epoch > 1  # something of it may be stored
        self._watch = Stopwatch(self._order.workload)
        self._lease = Lease(
            place.desk,
            claim,
            beat_every_s=place.habits.beat_every_s,
            is_leaving=place.is_leaving,
            pulse=place.pulse,
            asked_at=asked_at,
            clock=place.clock,
            sleep=place.sleep,
        )

    def run(self) -> None:
        """Work on the job until it is at its end, or somebody else's."""
        self._note("claimed", step=self._claim.state.step if self._claim.state else 0)
        try:
            with self._lease:
                job = self._lease.insist(self._work())
        except StaleClaim:
            self._note("dropped")
            _log.info("%s is somebody else's now", self._claim.id, extra={"job": self._claim.id})
        except Leaving:
            self._note("dropped")
            _log.warning(
                "%s is left to its lease: the desk cannot be reached",
                self._claim.id,
                extra={"job": self._claim.id},
            )
        else:
            self._note(job.phase.value, code=job.error_code)
            self._tidy(job)
        finally:
            self._place.pulse.rest()

    def _work(self) -> Write:
        """Return what the desk is to be told of how it went; nothing of the job is held any more."""
        desk, claim = self._place.desk, self._claim
        try:
            files = self._make_with_room()
        except (StaleClaim, Leaving):
            raise
        except Stopped as stopped:
            reason = str(stopped)
            return lambda: desk.give_back(claim, reason)
        except (MemoryShortError, NoRoomError) as error:
            return self._failure(Code.OUT_OF_MEMORY, error)
        except ModelError as error:
            return self._failure(Code.MODEL_UNAVAILABLE, error)
        except ReelgridError as error:
            return self._failure(Code.GENERATION_FAILED, error)
        except Exception as error:  # noqa: BLE001  # the job is marked, the next one comes
            _log.exception("%s failed unexpectedly", claim.id, extra={"job": claim.id})
            return self._failure(INTERNAL_ERROR, type(error).__name__)
        return lambda: desk.finish(claim, files, timing=self._watch.timing)

    def _failure(self, code: str, error: ReelgridError | str) -> Write:
        message = " ".join(str(error).split())
        _log.warning("%s failed: %s", self._claim.id, message, extra={"job": self._claim.id})
        return lambda: self._place.desk.fail(self._claim, code, message)

    def _make_with_room(self) -> dict[str, str]:
        """Return the blobs of the finished files; short of memory, other models make room first."""
        while True:
            try:
                return self._make()
            except MemoryShortError:
                if not self._place.shelf.unload_idle(keep=self._claim.job.model):
                    raise
            self._lease.insist(self._look_again)

    def _look_again(self) -> None:
        """Read what has been saved since the claim: the states of then may be gone."""
        job = self._place.desk.get(self._claim.id)
        if (job.epoch, job.phase) != (self._claim.epoch, Phase.RUNNING):
            raise StaleClaim(f"{job.id} is no longer this worker's")
        self._claim = replace(self._claim, job=job)
        self._is_begun = True

    def _make(self) -> dict[str, str]:
        place, claim = self._place, self._claim
        place.pulse.enter("load")  # of the saved state too
        model = self._load()
        delivery = Delivery(place.blobs, claim, self._order, scratch=place.scratch, sign=place.sign)
        with self._saving() as saving, self._previews() as previews:
            iteration = Iteration(
                place=place,
                lease=self._lease,
                order=self._order,
                saving=saving,
                previews=previews,
                watch=self._watch,
            )
            return self._make_all(iteration, model, delivery)

    def _make_all(
        self, iteration: Iteration, model: LoadedModel, delivery: Delivery
    ) -> dict[str, str]:
        """Return the blobs of a clip's files, or of all images, the stored ones among them."""
        is_continued = self._is_begun and self._order.num_images > 1
        files = delivery.images_so_far() if is_continued else {}
        files = {name: blob for name, blob in files.items() if name in self._series(files)}
        opening = Opening(self._place, self._claim, self._order, model)
        opening.take_up(len(files))
        for number in range(len(files), self._order.num_images):
            files |= self._make_one(iteration, opening, delivery, number)
        return files

    def _make_one(
        self, iteration: Iteration, opening: Opening, delivery: Delivery, number: int
    ) -> dict[str, str]:
        provenance = replace(
            provenance_of(self._claim.job.model, opening.request(number)),
            shows_prompts=self._place.habits.shows_prompts,
        )
        with ExitStack() as held:
            generation, step = self._patiently(
                iteration, lambda: held.enter_context(opening.open(number))
            )
            frames = iteration.frames(generation, number, step, provenance)
        self._place.pulse.enter("write")
        if number == self._order.num_images - 1:
            self._lease.enter(Progress(stage="write", step=self._order.num_steps))
        with self._watch.measure("write"):
            if self._claim.job.kind is Kind.VIDEO:
                return self._patiently(iteration, lambda: delivery.video(frames, provenance))
            return self._patiently(iteration, lambda: delivery.image(frames[0], number, provenance))

    def _load(self) -> LoadedModel:
        name, shelf = self._claim.job.model, self._place.shelf
        if name in shelf.names:
            return shelf.take(name)
        with self._watch.measure("load"):
            self._lease.enter(self._lease.progress)
            return shelf.take(name)

    def _patiently(self, iteration: Iteration, store: Callable[[], T]) -> T:
        """Return what `store` returns; while a store refuses, the frames are kept and it waits.

        Raises:
            Stopped: The job is to be given back meanwhile.
            OSError: It failed for another reason.
            ReelgridError: It failed for another reason.
        """
        while True:
            try:
                return store()
            except (OSError, ReelgridError) as error:
                if not passes(error, self._place.scratch, self._place.blobs):
                    raise
                _log.warning("%s waits for room: %s", self._claim.id, error)
            self._place.pulse.wait()
            iteration.obey_without_saving()
            self._place.sleep(ROOM_EVERY_S)

    def _saving(self) -> Saving:
        habits = self._place.habits
        return Saving(
            self._place.desk,
            self._place.blobs,
            self._lease,
            scratch=self._place.scratch,
            journal=self._place.journal,
            every_s=habits.save_every_s,
            between_failures_s=habits.between_failures_s,
            losses=self._claim.job.losses,
            clock=self._place.clock,
        )

    def _previews(self) -> Previews:
        return Previews(
            self._place.blobs,
            self._place.scratch,
            may_write=lambda: self._lease.is_good,
            every_s=self._place.habits.preview_every_s or math.inf,
            clock=self._place.clock,
        )

    def _series(self, stored: dict[str, str]) -> list[str]:
        """Return the names of the stored images from the first on, up to the first that is missing."""
        names = [file_variant(number) for number in range(self._order.num_images)]
        num_stored = next((i for i, name in enumerate(names) if name not in stored), len(names))
        return names[:num_stored]

    def _tidy(self, job: Job) -> None:
        """Remove the saved states, and what was made in vain, of a job that is at its end."""
        if not job.phase.is_final:
            return
        prefixes = [states_folder(job.id), previews_of(job.id)]
        if job.phase is Phase.FAILED:
            prefixes.append(f"files/{job.id}/")
        try:
            for prefix in prefixes:
                for blob in self._place.blobs.list(prefix):
                    if job.phase is Phase.FAILED or "/partial-" not in blob.name:
                        self._place.blobs.delete(blob.name)
        except OSError as error:  # a sweep finds what no row refers to
            _log.info("blobs of %s are left to the sweep: %s", job.id, error)

    def _note(self, event: str, **fields: object) -> None:
        claim = self._claim
        self._place.journal.note(event, job=claim.id, epoch=claim.epoch, **fields)
