"""Images that a user gives, and what one of our files says of itself."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from reelgrid.errors import RequestError
from reelgrid.media.media_type import MediaType, media_type_of


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return an image file as RGB [H, W, 3], turned as its camera says, transparency on black.

    Raises:
        RequestError: There is no such file, or it is no image that Pillow reads whole.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise RequestError(f"no image file at {path}", param="first_frame") from None
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise RequestError(
            f"{path} is not an image that can be read: {error}", param="first_frame"
        ) from None


def read_provenance(path: Path) -> dict[str, Any]:
    """Return what one of our files says of itself: prompt, seed, model, software, mark and more.

    Raises:
        RequestError: The file says nothing of the kind.
    """
    try:
        text = _provenance_text(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error}", param="path") from None
    try:
        said = json.loads(text or "")
    except (json.JSONDecodeError, UnicodeDecodeError):
        said = None
    if not isinstance(said, dict):
        raise RequestError(f"{path} does not say how it was made", param="path")
    return said


def _provenance_text(path: Path) -> str | bytes | None:
    if path.is_dir():
        return _provenance_text(min(path.glob("*.png"), default=path / "frame_0001.png"))
    match media_type_of(path):
        case MediaType.MP4 | MediaType.WEBM:
            return _container_text(path)
        case MediaType.PNG:
            return _image_info(path).get("reelgrid")
        case MediaType.GIF:
            return _image_info(path).get("comment")
        case MediaType.WEBP | MediaType.JPEG:
            with Image.open(path) as image:
                return image.getexif().get(ExifTags.Base.ImageDescription)
        case None:
            return None


def _container_text(path: Path) -> str | None:
    import av

    with av.open(str(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    return tags.get("description")


def _image_info(path: Path) -> dict[Any, Any]:
    with Image.open(path) as image:
        return dict(image.info)
