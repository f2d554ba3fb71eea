"""Results of a job: finished frames are encoded, marked, signed and stored as blobs.

The job queue's row names the blobs only when all of them are stored. An error that may pass (a full
disk, a store that cannot be reached) is distinguished from a permanent one.
"""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import GenerationError, StorageFullError
from reelgrid.jobs.messages import Claim
from reelgrid.jobs.request import JobRequest, file_variant
from reelgrid.media import (
    Provenance,
    concatenate,
    sprite_sheet,
    thumbnail,
    write_clip,
    write_image,
)
from reelgrid.store.blobs import DISK_FULL, Blobs, is_transient

Frames = NDArray[np.uint8]

MIN_FREE_BYTES = 4 << 20
"""With less free than this, an error without a reason is taken for a full disk."""


class Sign(Protocol):
    """Signs a finished file in place."""

    def __call__(self, path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
        """Put the provenance and the files that it was made from into `path`, over a signature."""


def leave_unsigned(path: Path, provenance: Provenance, *, sources: Sequence[Path]) -> None:
    """Sign nothing."""


class StoreUnavailableError(OSError):
    """A store did not take a blob for a reason that may pass."""


def may_retry(error: Exception, scratch: Path, blobs: Blobs) -> bool:
    """Return whether an error of writing files may pass: the disk is full, the store unreachable.

    Libraries that write through others do not always say why they failed: then the disks are asked.

    Args:
        error: What was raised.
        scratch: Where files were written first.
        blobs: Where they were to be stored.
    """
    if isinstance(error, StorageFullError | StoreUnavailableError):
        return True
    cause = error.__cause__ or error
    if isinstance(cause, OSError) and cause.errno in DISK_FULL:
        return True
    if isinstance(cause, OSError) and not is_transient(cause):
        return False
    free = [shutil.disk_usage(scratch).free, blobs.free_bytes()]
    return any(each is not None and each < MIN_FREE_BYTES for each in free)


class ResultStore:
    """Stores what one claim has made.

    Args:
        blobs: Where files are stored, under names with the claim's epoch.
        claim: The job.
        job_request: Its request.
        scratch: Folder for files before they are blobs.
        sign: Signs a file in place.
    """

    def __init__(
        self, blobs: Blobs, claim: Claim, job_request: JobRequest, *, scratch: Path, sign: Sign
    ) -> None:
        self._blobs = blobs
        self._claim = claim
        self._job_request = job_request
        self._scratch = scratch
        self._sign = sign

    def store_video(self, frames: Frames, provenance: Provenance) -> dict[str, str]:
        """Return the blobs of a clip, its thumbnail and its sprite sheet, by variant.

        Args:
            frames: RGB [T, H, W, 3]; of an extension, beginning with the source's last frame.
            provenance: Written into every file.

        Raises:
            StorageFullError: There is no space; nothing half written was left.
            StoreUnavailableError: The store refuses for now.
            GenerationError: A file could not be written, or the store refuses for good.
        """
        with scratch_folder(self._scratch) as folder:
            clip = self._write_clip(folder, frames, provenance)
            shown = frames if self._job_request.extends is None else clip
            pictures = {"thumbnail": thumbnail(shown), "spritesheet": sprite_sheet(shown)}
            files = {"video": clip}
            for variant, picture in pictures.items():
                files[variant] = folder / f"{variant}.webp"
                write_image(picture, files[variant], provenance=provenance)
            return self._store(files, provenance)

    def store_image(self, picture: Frames, number: int, provenance: Provenance) -> dict[str, str]:
        """Return the blob of image `number`, from 0, by variant.

        Raises:
            StorageFullError: There is no space; nothing half written was left.
            StoreUnavailableError: The store refuses for now.
            GenerationError: The file could not be written, or the store refuses for good.
        """
        variant = file_variant(number)
        with scratch_folder(self._scratch) as folder:
            file = folder / f"{variant}.{self._job_request.image_format}"
            quality = self._job_request.image_quality
            write_image(picture, file, provenance=provenance, quality=quality)
            return self._store({variant: file}, provenance)

    def stored_images(self) -> dict[str, str]:
        """Return the blobs of images that earlier claims of this job have stored, by variant.

        Only those from the first on, up to the first that is missing.
        """
        found = {
            Path(blob.name).stem: blob.name for blob in self._blobs.list(f"files/{self._claim.id}/")
        }
        stored: dict[str, str] = {}
        for number in range(self._job_request.num_images):
            variant = file_variant(number)
            if variant not in found:
                break
            stored[variant] = found[variant]
        return stored

    def _write_clip(self, folder: Path, frames: Frames, provenance: Provenance) -> Path:
        fps = self._job_request.request.fps
        clip = folder / "video.mp4"
        if self._job_request.extends is None:
            write_clip(frames, clip, fps=fps, provenance=provenance)
            return clip
        new = folder / "new.mp4"
        write_clip(frames[1:], new, fps=fps, provenance=provenance)
        with self._blobs.as_file(self._job_request.extends) as source:
            concatenate(source, new, clip, provenance=provenance)
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
        except Exception as error:  # a remote store has errors of its own
            if isinstance(error, OSError) and not is_transient(error):
                raise GenerationError(f"the store refuses {blob}: {_one_line(error)}") from error
            raise StoreUnavailableError(f"{blob} is not stored: {_one_line(error)}") from error

    @contextmanager
    def _sources(self) -> Iterator[list[Path]]:
        with ExitStack() as held:
            inputs = self._job_request.inputs
            yield [held.enter_context(self._blobs.as_file(blob)) for blob in inputs]


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent` that is removed at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="work-", dir=parent) as name:
        yield Path(name)


def empty_scratch(folder: Path) -> None:
    """Make the folder, without anything that a killed worker left in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
