"""Models as facts: the shape of the denoising network and of what stands around it.

A model that is not in the package's table is described in a TOML file of the same form. Not here:
the sums made of these numbers (`workload`, `memory`), and what a model can be asked for (`catalog`).
"""

import difflib
import functools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.plan import facts
from reelgrid.spec import Size

_BYTES = 2
_KINDS = ("video", "image")
_ATTENTIONS = ("joint", "cross", "linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One model.

    Attributes:
        name: Its name in the table, such as `wan2.1-t2v-14b`.
        kind: `video` or `image`.
        size: Width and height when nothing is asked for.
        frames: Frames when nothing is asked for.
        fps: Frames a second of the finished clip.
        steps: Denoising steps when nothing is asked for.
        forwards_per_step: Passes through the network a step; 2 with classifier-free guidance.
        params_b: Parameters of the denoising network in billions; of several experts, of one.
        layers: Transformer blocks.
        width: Numbers a token.
        heads: Attention heads.
        attention: `joint` over video and text, `cross` from video to text beside attention within
            the video, or `linear` within the video and `cross` to the text.
        ffn_width: Inner width of the feed-forward part.
        text_tokens: Tokens of text that every video token looks at.
        vae_space: Pixels a latent, along a side.
        source: Where this is from.
        date: When it was written down.
        experts: Networks of `params_b` that take turns, one active a step.
        head_dim: Numbers a head.
        ffn_matrices: Matrices of the feed-forward part; 3 where it is gated.
        linear_params_per_token: Weights that each token is multiplied with, where the
            blocks are not of the usual shape.
        vae_time: Frames a chunk of latents, 1 for images.
        latents_per_chunk: Latent frames that a chunk becomes.
        first_frame_apart: Whether the first frame is a latent frame by itself.
        patch_time: Latent frames a token.
        patch_space: Latents a token, along a side.
        latent_channels: Numbers a latent.
        vae_params_b: Parameters of the codec in billions.
        decoder_mflop_per_pixel: FLOPs of decoding a pixel of a frame, in millions.
        text_encoder_params_b: Parameters of all text encoders in billions.
        aliases: Other names.
    """

    name: str
    kind: Literal["video", "image"]
    size: Size
    frames: int
    fps: float
    steps: int
    forwards_per_step: int
    params_b: float
    layers: int
    width: int
    heads: int
    attention: Literal["joint", "cross", "linear"]
    ffn_width: int
    text_tokens: int
    vae_space: int
    source: str
    date: str
    experts: int = 1
    head_dim: int = 128
    ffn_matrices: int = 2
    linear_params_per_token: int | None = None
    vae_time: int = 1
    latents_per_chunk: int = 1
    first_frame_apart: bool = True
    patch_time: int = 1
    patch_space: int = 1
    latent_channels: int = 16
    vae_params_b: float = 0.0
    decoder_mflop_per_pixel: float = 10.0
    text_encoder_params_b: float = 0.0
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_choice(self, "kind", _KINDS)
        _check_choice(self, "attention", _ATTENTIONS)
        for field in fields(self):
            _check_number(self.name, field, getattr(self, field.name))

    @property
    def pixel_multiple(self) -> int:
        """Width and height are multiples of this, in pixels."""
        return self.vae_space * self.patch_space

    @property
    def weights_per_token(self) -> int:
        """Weights of linear layers that each token is multiplied with, all blocks together."""
        if self.linear_params_per_token is not None:
            return self.linear_params_per_token
        projections = 4 if self.attention == "joint" else 6
        d = self.width
        return self.layers * (projections * d * d + self.ffn_matrices * d * self.ffn_width)

    @property
    def weight_bytes(self) -> float:
        """Bytes of all weights in 16 bits: every expert, the text encoders and the codec."""
        all_b = self.params_b * self.experts + self.text_encoder_params_b + self.vae_params_b
        return all_b * 1e9 * _BYTES

    def latent_frames(self, num_frames: int) -> int:
        """Return the latent frames of a clip."""
        apart = 1 if self.first_frame_apart else 0
        return apart + math.ceil((num_frames - apart) / self.vae_time) * self.latents_per_chunk

    def video_tokens(self, size: Size, num_frames: int) -> int:
        """Return the tokens of a clip without those of its text."""
        across = math.ceil(size.width / self.pixel_multiple)
        down = math.ceil(size.height / self.pixel_multiple)
        return across * down * math.ceil(self.latent_frames(num_frames) / self.patch_time)


def read_architectures(extra: Sequence[Path] = ()) -> Mapping[str, Architecture]:
    """Return all models by name: those of the package, overridden by the user's files.

    A table of a known name changes the keys that it has and keeps the others; any other is new.

    Args:
        extra: TOML files of the form of `plan/facts/models.toml`; later ones override earlier ones.

    Raises:
        RequestError: A file cannot be read, has an unknown key, or a value that cannot be.
    """
    if not extra:
        return _shipped()
    tables = _tables(facts.read_text("models.toml"), "models.toml")
    for path in extra:
        for name, table in _tables(facts.read_user_text(path), str(path)).items():
            known = tables.get(name, {"date": "undated"})
            tables[name] = known | {"source": str(path)} | table
    return MappingProxyType({name: _architecture(name, table) for name, table in tables.items()})


def find_architecture(
    name: str, architectures: Mapping[str, Architecture] | None = None
) -> Architecture:
    """Return the model of a name, an alias, a name of the catalogue, or a hub id.

    Args:
        name: Upper or lower case.
        architectures: From `read_architectures`; the package's own where none are given.

    Raises:
        RequestError: There is none; the message names the most similar.
    """
    known = read_architectures() if architectures is None else architectures
    keys = {key: each for each in known.values() for key in (each.name.lower(), *each.aliases)}
    card = catalog.find(name)
    for key in (name.lower(), card.name if card else ""):
        if key in keys:
            return keys[key]
    similar = ", ".join(difflib.get_close_matches(name.lower(), keys, cutoff=0.5)) or "none"
    raise RequestError(
        f"no architecture is known of {name!r}; similar: {similar}; describe it in a TOML file "
        "(--models-file), see docs/predict.md",
        param="model",
    )


@functools.cache
def _shipped() -> Mapping[str, Architecture]:
    tables = _tables(facts.read_text("models.toml"), "models.toml")
    return MappingProxyType({name: _architecture(name, table) for name, table in tables.items()})


def _tables(text: str, where: str) -> dict[str, dict[str, Any]]:
    """Return the tables of a TOML text by name, lower case.

    Raises:
        RequestError: It is no TOML, or a value stands outside a table.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"{where}: {error}") from None
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise RequestError(f"{where}: {name} stands alone, expected a table [model-name]")
    return {name.lower(): table for name, table in tables.items()}


def _architecture(name: str, table: Mapping[str, Any]) -> Architecture:
    """Return the architecture that a table describes.

    Raises:
        RequestError: A key is unknown or missing, or a value cannot be.
    """
    known = {field.name: field for field in fields(Architecture) if field.name != "name"}
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else f", expected {', '.join(known)}"
            raise RequestError(f"model {name}: unknown key {key!r}{meant}")
    for key, field in known.items():
        if key not in table and field.default is MISSING:
            raise RequestError(f"model {name}: the key {key!r} is missing")
    values: dict[str, Any] = dict(table)
    values["size"] = Size.parse(str(table["size"]))
    values["aliases"] = tuple(str(alias).lower() for alias in table.get("aliases", ()))
    return Architecture(name=name, **values)


def _check_choice(architecture: Architecture, key: str, choices: tuple[str, ...]) -> None:
    value = getattr(architecture, key)
    if value not in choices:
        raise RequestError(
            f"model {architecture.name}: {key} is {value!r}, expected {' or '.join(choices)}"
        )


_MAY_BE_ZERO = frozenset({"text_tokens", "vae_params_b", "text_encoder_params_b"})


def _check_number(name: str, field: Field[Any], value: Any) -> None:
    """Refuse what is no number above 0 where one is expected.

    Raises:
        RequestError: It is not.
    """
    is_whole = field.type in {int, int | None}
    if value is None or not (is_whole or field.type is float):
        return
    may_be_zero = field.name in _MAY_BE_ZERO
    is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
    if not is_number or not (0 if may_be_zero else 1e-9) <= value < 1e12:
        words = "whole number" if is_whole else "number"
        floor = "of at least 0" if may_be_zero else "above 0"
        raise RequestError(f"model {name}: {field.name} is {value!r}, expected a {words} {floor}")
