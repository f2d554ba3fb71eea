"""Finished frames to files, marked and signed, and those to blobs.

Not here: the desk's row, which names the blobs only when all of them are stored.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import StorageFullError
from reelgrid.jobs.messages import Claim
from reelgrid.jobs.request import JobRequest, file_variant
from reelgrid.media import (
    Provenance,
    sprite_sheet,
    stitch,
    thumbnail,
    write_clip,
    write_image,
)
from reelgrid.store.blobs import Blobs
from reelgrid.workers.room import NotStored
from reelgrid.workers.scratch import scratch_folder

Frames = NDArray[np.uint8]


class Sign(Protocol):
    """Signs a finished file in place."""

    def __call__(self, path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
        """Put the provenance and the files that it was made from into `path`, over a signature."""
        ...


def leave_unsigned(path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
    """Sign nothing."""


class Delivery:
    """Stores what one claim has made.

    Args:
        blobs: Where files go, under names with the claim's epoch.
        claim: The job.
        order: Its request.
        scratch: Folder for files before they are blobs.
        sign: Signs a file in place.
    """

    def __init__(
        self, blobs: Blobs, claim: Claim, order: JobRequest, *, scratch: Path, sign: Sign
    ) -> None:
        self._blobs = blobs
        self._claim = claim
        self._order = order
        self._scratch = scratch
        self._sign = sign

    def video(self, frames: Frames, provenance: Provenance) -> dict[str, str]:
        """Return the blobs of a clip, its thumbnail and its sprite sheet, by variant.

        Args:
            frames: RGB [T, H, W, 3]; of an extension, beginning with the source's last frame.
            provenance: Goes into every file.

        Raises:
            StorageFullError: There is no room; nothing half written was left.
            NotStored: The store refuses.
            GenerationError: A file could not be written.
        """
        with scratch_folder(self._scratch) as folder:
            clip = self._write_clip(folder, frames, provenance)
            shown = frames if self._order.extends is None else clip
            pictures = {"thumbnail": thumbnail(shown), "spritesheet": sprite_sheet(shown)}
            files = {"video": clip}
            for variant, picture in pictures.items():
                files[variant] = folder / f"{variant}.webp"
                write_image(picture, files[variant], provenance=provenance)
            return self._store(files, provenance)

    def image(self, picture: Frames, number: int, provenance: Provenance) -> dict[str, str]:
        """Return the blob of image `number`, from 0, by variant.

        Raises:
            StorageFullError: There is no room; nothing half written was left.
            NotStored: The store refuses.
            GenerationError: The file could not be written.
        """
        variant = file_variant(number)
        with scratch_folder(self._scratch) as folder:
            file = folder / f"{variant}.{self._order.image_format}"
            quality = self._order.image_quality
            write_image(picture, file, provenance=provenance, quality=quality)
            return self._store({variant: file}, provenance)

    def images_so_far(self) -> dict[str, str]:
        """Return the blobs of images that earlier claims of this job have stored, by variant."""
        found = self._blobs.list(f"files/{self._claim.id}/")
        return {Path(blob.name).stem: blob.name for blob in found}

    def _write_clip(self, folder: Path, frames: Frames, provenance: Provenance) -> Path:
        fps = self._order.request.fps
        clip = folder / "video.mp4"
        if self._order.extends is None:
            write_clip(frames, clip, fps=fps, provenance=provenance)
            return clip
        new = folder / "new.mp4"
        write_clip(frames[1:], new, fps=fps, provenance=provenance)
        with self._blobs.as_file(self._order.extends) as source:
            stitch(source, new, clip, provenance=provenance)
        return clip

    def _store(self, files: dict[str, Path], provenance: Provenance) -> dict[str, str]:
        with self._sources() as sources:
            for file in files.values():
                self._sign(file, provenance, sources=sources)
        stored = {}
        for variant, file in files.items():
            blob = f"files/{self._claim.id}/{self._claim.epoch:05}/{variant}{file.suffix}"
            self._put(blob, file)
            stored[variant] = blob
        return stored

    def _put(self, blob: str, file: Path) -> None:
        try:
            self._blobs.put(blob, file)
        except StorageFullError:
            raise
        except Exception as error:  # a store at a distance has errors of its own
            raise NotStored(f"{blob} could not be stored: {error}") from error

    @contextmanager
    def _sources(self) -> Iterator[list[Path]]:
        with ExitStack() as held:
            inputs = self._order.inputs
            yield [held.enter_context(self._blobs.as_file(blob)) for blob in inputs]
