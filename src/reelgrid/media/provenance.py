"""Provenance in files: how they were made; written, read and compared."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from PIL import ExifTags, Image

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.media.media_type import MediaType, media_type_of
from reelgrid.spec import Request
from reelgrid.version import __version__

AI_GENERATED: Final = "AI-generated"
# https://cv.iptc.org/newscodes/digitalsourcetype/ (read 2026-11): made by a trained model.
DIGITAL_SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
)


def prompt_sha256(prompt: str) -> str:
    """Return the SHA-256 of a prompt's UTF-8 bytes, in hexadecimal."""
    return hashlib.sha256(prompt.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a file was made: from which prompt, by which model and software.

    Attributes:
        software: Name and version, such as `reelgrid 0.1.0`.
        extra: Further JSON values, such as the number of steps.
        prompts_in_metadata: Whether the file holds the prompts, or only the hash of the prompt.
    """

    prompt: str
    seed: int
    model: str
    software: str
    negative_prompt: str | None = None
    extra: dict[str, object] = field(default_factory=dict)
    prompts_in_metadata: bool = True

    @property
    def title(self) -> str:
        """The title that players show."""
        return self.prompt if self.prompts_in_metadata else AI_GENERATED

    def to_json(self) -> str:
        """Return all of it as one line of ASCII JSON, with the mark that the file is AI-generated."""
        found = asdict(self)
        if not found.pop("prompts_in_metadata"):
            del found["prompt"], found["negative_prompt"]
        found["prompt_sha256"] = prompt_sha256(self.prompt)
        marks = {"mark": AI_GENERATED, "digital_source_type": DIGITAL_SOURCE_TYPE}
        return json.dumps({**found, **marks}, sort_keys=True)

    def to_xmp(self) -> bytes:
        """Return an XMP packet with the mark as IPTC defines it, for images."""
        return (
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
            '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
            '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
            ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">'
            f"<Iptc4xmpExt:DigitalSourceType>{DIGITAL_SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
            f"<xmp:CreatorTool>{escape(self.software)}</xmp:CreatorTool>"
            "</rdf:Description></rdf:RDF></x:xmpmeta>"
        ).encode()


def read_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance in a file of ours: prompt, seed, model, software, mark and more.

    Raises:
        RequestError: The file cannot be read, or does not say how it was made.
    """
    try:
        text = _provenance_text(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error}", param="path") from None
    try:
        found = json.loads(text or "")
    except (json.JSONDecodeError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        raise RequestError(f"{path} does not say how it was made", param="path")
    return found


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


def model_label(name: str) -> str:
    """Return the name of a model in a file's provenance: its hub id, or its folder's name."""
    card = catalog.find(name)
    if card is not None:
        return card.repository or card.name
    return Path(name).name if Path(name).is_dir() else name


def provenance_of(model_name: str, request: Request) -> Provenance:
    """Return the provenance of the file that a model makes from a request."""
    return Provenance(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        model=model_label(model_name),
        software=f"reelgrid {__version__}",
        extra=_settings(request),
    )


def is_already_made(path: Path, model_name: str, request: Request) -> bool:
    """Whether `path` is a file made from this request; fields that are `None` match any value."""
    if not path.exists():
        return False
    try:
        found = read_provenance(path)
    except RequestError:
        return False
    expected = provenance_of(model_name, request)
    names = ("prompt", "negative_prompt", "seed", "model")
    return (
        all(found.get(name) == getattr(expected, name) for name in names)
        and expected.extra.items() <= dict(found.get("extra", {})).items()
    )


def _settings(request: Request) -> dict[str, object]:
    """Return the fields that `Provenance` has no field for; of a file, only the name."""
    own = {each.name for each in fields(Provenance)}
    settings = {name: value for name, value in request.to_json().items() if name not in own}
    if request.first_frame is not None:
        settings["first_frame"] = request.first_frame.name
    return {name: value for name, value in settings.items() if value is not None}
