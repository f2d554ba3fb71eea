"""Write images through Pillow: PNG, WebP, JPEG, animated GIF and WebP, folders of numbered PNGs."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin

from reelgrid.media.provenance import AI_GENERATED, Provenance


def write_png(picture: NDArray[np.uint8], path: Path, provenance: Provenance) -> None:
    """Write one frame [H, W, 3] as PNG."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("Description", provenance.title)
    chunks.add_text("Software", provenance.software)
    chunks.add_text("Comment", AI_GENERATED)
    chunks.add_text("reelgrid", provenance.to_json())
    chunks.add_itxt("XML:com.adobe.xmp", provenance.to_xmp().decode())
    Image.fromarray(picture).save(path, format="PNG", pnginfo=chunks)


def write_lossy(
    picture: NDArray[np.uint8], path: Path, provenance: Provenance, quality: int
) -> None:
    """Write one frame [H, W, 3] as WebP or JPEG by the path's suffix.

    Args:
        picture: RGB.
        path: `.webp`, `.jpg` or `.jpeg`.
        provenance: Written to EXIF and XMP.
        quality: 0 (smallest file) to 100; for JPEG, values above 95 make no difference.
    """
    options: dict[str, Any] = {"format": "WEBP", "method": 4}
    if path.suffix.lower() != ".webp":
        options = {"format": "JPEG", "subsampling": "4:4:4" if quality >= 90 else "4:2:0"}
    Image.fromarray(picture).save(path, quality=quality, **options, **_exif_and_xmp(provenance))


def write_folder(frames: NDArray[np.uint8], folder: Path, provenance: Provenance) -> None:
    """Write frames [T, H, W, 3] as frame_0001.png and so on."""
    for number, picture in enumerate(frames, start=1):
        write_png(picture, folder / f"frame_{number:04}.png", provenance)


def write_animation(
    frames: NDArray[np.uint8], path: Path, fps: float, provenance: Provenance
) -> None:
    """Write frames [T, H, W, 3] as a looping animation, GIF or WebP by the path's suffix."""
    options: dict[str, Any] = {"quality": 90, "method": 4, **_exif_and_xmp(provenance)}
    pictures, unit_ms = [Image.fromarray(frame) for frame in frames], 1
    if path.suffix.lower() == ".gif":
        options = {"comment": provenance.to_json().encode(), "disposal": 1}
        palette = Image.fromarray(np.concatenate(list(frames))).quantize(256)
        pictures, unit_ms = [picture.quantize(palette=palette) for picture in pictures], 10
    pictures[0].save(
        path,
        format=path.suffix[1:].upper(),
        save_all=True,
        append_images=pictures[1:],
        duration=_durations_ms(len(frames), fps, unit_ms),
        loop=0,
        **options,
    )


def _durations_ms(num_frames: int, fps: float, unit_ms: int) -> list[int]:
    """Return the duration of each frame in whole units, without accumulated rounding."""
    edges = [round(i * 1000 / fps / unit_ms) * unit_ms for i in range(num_frames + 1)]
    return [after - before for before, after in itertools.pairwise(edges)]


def _exif_and_xmp(provenance: Provenance) -> dict[str, Any]:
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = provenance.to_json()
    exif[ExifTags.Base.Software] = provenance.software
    return {"exif": exif.tobytes(), "xmp": provenance.to_xmp()}
