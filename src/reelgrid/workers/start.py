"""The generation that a claim begins with: taken up where it was saved, or new.

Not here: how a state is read (`resuming`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelgrid.engine.generation import Generation
from reelgrid.errors import RequestError
from reelgrid.jobs.messages import Claim
from reelgrid.jobs.request import JobRequest
from reelgrid.media import Provenance, last_frame, media_type_of, write_image
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import CompleteRequest
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.resuming import take_up


class Opening:
    """Opens the generations of one claim, one for each image of an image job.

    Args:
        context: What the worker has.
        claim: The job.
        order: Its request.
        model: The loaded model.
    """

    def __init__(
        self, context: WorkerContext, claim: Claim, order: JobRequest, model: LoadedModel
    ) -> None:
        self._context = context
        self._claim = claim
        self._order = order
        self._model = model
        self._saved: Generation | None = None
        self._saved_step = 0

    def take_up(self, number: int) -> None:
        """Look for a saved state of image `number`, 0 for a clip; others are of no use any more."""
        taken = take_up(self._claim, self._model, self._context.blobs, self._context.job_queue)
        if taken is None:
            return
        generation, state = taken
        if generation.request.seed == self.request(number).seed:
            self._saved, self._saved_step = generation, state.step - number * self._order_steps
        else:
            generation.close()

    def request(self, number: int) -> CompleteRequest:
        """Return the request of image `number`, 0 for a clip, but for its first frame."""
        return self._order.request.with_(seed=self._order.request.seed + number)

    @contextmanager
    def open(self, number: int) -> Iterator[tuple[Generation, int]]:
        """Yield the generation of image `number`, 0 for a clip, and the steps that it has behind it.

        Yields:
            Both; the generation is closed at the end of the block.

        Raises:
            RequestError: The first frame is gone, or the model cannot make this.
        """
        generation, step = self._saved, self._saved_step
        self._saved = None
        if generation is None:
            with self._first_frame() as path:
                request = self.request(number).with_(first_frame=path)
                generation, step = Generation(self._model, request), 0
        with generation:
            yield generation, step

    @property
    def _order_steps(self) -> int:
        return self._order.request.num_steps

    @contextmanager
    def _first_frame(self) -> Iterator[Path | None]:
        blob = self._order.first_frame or self._order.extends
        if blob is None:
            yield None
            return
        try:
            with self._context.blobs.as_file(blob) as path:
                yield self._as_picture(path)
        except FileNotFoundError:
            raise RequestError("the file that the clip begins with is gone") from None

    def _as_picture(self, path: Path) -> Path:
        """Return the picture, or the last frame of the video, as an image file."""
        kind = media_type_of(path)
        if kind is None or not kind.is_video:
            return path
        picture = self._context.scratch / "first-frame.png"
        origin = Provenance(prompt="", seed=0, model="", software="", prompts_in_metadata=False)
        write_image(last_frame(path), picture, provenance=origin)
        return picture
