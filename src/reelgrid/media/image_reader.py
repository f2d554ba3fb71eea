"""The one reader of images that users give: any format to RGB pixels, the same on every path.

The command line, Python and the server's uploads all end here.
"""

import struct
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from reelgrid.errors import RequestError

# Exceptions of Pillow for damaged files, besides its own classes.
_PILLOW_ERRORS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)
# EXIF 2.32, tag Orientation: what turns a picture upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: Path, *, param: str = "first_frame") -> NDArray[np.uint8]:
    """Return an image file as `rgb_pixels`, [H, W, 3]; of an animation, the first picture.

    Args:
        path: Any format that Pillow reads.
        param: The request's parameter that a refusal names.

    Raises:
        RequestError: There is no such file, or it is not an image that can be read whole.
    """
    try:
        with Image.open(path) as image:
            return rgb_pixels(image)
    except FileNotFoundError:
        raise RequestError(f"no image file at {path}", param=param) from None
    except _PILLOW_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RequestError(
            f"{path} is not an image that can be read: {reason}", param=param
        ) from None


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image as RGB [H, W, 3]: upright, in sRGB, transparency on black, 8 of 16 bits.

    EXIF data and colour profiles that cannot be read are ignored.
    """
    image.load()
    return np.asarray(_on_black(_in_srgb(_upright(image))))


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except _PILLOW_ERRORS:
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _in_srgb(image: Image.Image) -> Image.Image:
    """Return the image with its colour profile applied."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in {"RGB", "RGBA", "CMYK", "L"}:
        return image
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image
    return converted or image


def _on_black(image: Image.Image) -> Image.Image:
    """Return the image as 8-bit RGB over a black ground."""
    if image.mode.startswith("I") or image.mode == "F":  # grey of 16 bits or more, of which 8 stay
        levels = np.asarray(image).astype(np.float32)
        top = 65_535.0 if image.mode.startswith("I;16") or levels.max() > 255.0 else 255.0
        image = Image.fromarray((levels * (255.0 / top)).clip(0, 255).astype(np.uint8))
    if not image.has_transparency_data:
        return image.convert("RGB")
    opaque = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", opaque.size, "black"), opaque).convert("RGB")
