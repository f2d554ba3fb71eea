"""Models as facts: the shape of the denoising network, the codec and the text encoders.

A model that is not in the package's table is described in a TOML file of the same form
(`docs/predict.md` lists the keys).
"""

import difflib
import functools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.plan.facts import Count, Positive, read_text
from reelgrid.spec import Size
from reelgrid.user_files.checking import parse
from reelgrid.user_files.reading import Location, parse_toml, read_toml

_BYTES = 2

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Shape of one model.

    Attributes:
        name: Its name in the table, such as `wan2.1-t2v-14b`.
        kind: `video` or `image`.
        size: Default width and height.
        frames: Default number of frames.
        fps: Frames a second of the finished clip.
        steps: Default number of denoising steps.
        forwards_per_step: Passes through the network per step; 2 with classifier-free guidance.
        params_b: Parameters of the denoising network in billions; of one expert where there are several.
        layers: Transformer blocks.
        width: Numbers per token.
        heads: Attention heads.
        attention: `joint` over video and text, `cross` from video to text beside attention within
            the video, or `linear` within the video and `cross` to the text.
        ffn_width: Inner width of the feed-forward part.
        text_tokens: Tokens of text that every video token attends to.
        vae_space: Pixels per latent, along a side.
        source: Where the figures are from.
        date: When they were written down.
        experts: Networks of `params_b`; one is active in each step.
        head_dim: Numbers per head.
        ffn_matrices: Matrices of the feed-forward part; 3 where it is gated.
        linear_params_per_token: Weights that each token is multiplied with, where the
            blocks are not of the usual shape.
        vae_time: Frames per chunk of latents, 1 for images.
        latents_per_chunk: Latent frames that a chunk becomes.
        first_frame_apart: Whether the first frame is a latent frame by itself.
        patch_time: Latent frames per token.
        patch_space: Latents per token, along a side.
        latent_channels: Numbers per latent.
        vae_params_b: Parameters of the codec in billions.
        decoder_mflop_per_pixel: FLOPs of decoding a pixel of a frame, in millions.
        text_encoder_params_b: Parameters of all text encoders in billions.
        aliases: Other names.
    """

    name: str
    kind: Literal["video", "image"]
    size: Size
    frames: Count
    fps: Positive
    steps: Count
    forwards_per_step: Count
    params_b: Positive
    layers: Count
    width: Count
    heads: Count
    attention: Literal["joint", "cross", "linear"]
    ffn_width: Count
    text_tokens: Annotated[int, Field(ge=0)]
    vae_space: Count
    source: str
    date: str
    experts: Count = 1
    head_dim: Count = 128
    ffn_matrices: Count = 2
    linear_params_per_token: Count | None = None
    vae_time: Count = 1
    latents_per_chunk: Count = 1
    first_frame_apart: bool = True
    patch_time: Count = 1
    patch_space: Count = 1
    latent_channels: Count = 16
    vae_params_b: NotNegative = 0.0
    decoder_mflop_per_pixel: Positive = 10.0
    text_encoder_params_b: NotNegative = 0.0
    aliases: tuple[str, ...] = ()

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
        RequestError: A file cannot be read, has an unknown key, or a wrong value.
    """
    if not extra:
        return _shipped()
    tables = _tables(*parse_toml(read_text("models.toml"), "models.toml"))
    for path in extra:
        for name, (table, location) in _tables(*read_toml(path)).items():
            known, _ = tables.get(name, ({"date": "undated"}, location))
            tables[name] = known | {"source": str(path)} | table, location
    return _architectures(tables)


def find_architecture(
    name: str, architectures: Mapping[str, Architecture] | None = None
) -> Architecture:
    """Return the model of a name of the catalogue, of an alias, or of a hub id.

    Args:
        name: Case and punctuation do not matter: `flux.1-dev`, `FLUX-1 dev`.
        architectures: From `read_architectures`; by default the package's own.

    Raises:
        RequestError: There is none; the message names the most similar.
    """
    known = read_architectures() if architectures is None else architectures
    names = {each: model for model in known.values() for each in (model.name, *model.aliases)}
    keys = {_key(each): model for each, model in names.items()}
    card = catalog.find(name)
    for each in (name, card.name if card else ""):
        if _key(each) in keys:
            return keys[_key(each)]
    similar = ", ".join(difflib.get_close_matches(name.lower(), names, cutoff=0.5)) or "none"
    raise RequestError(
        f"no architecture is known of {name!r}; similar: {similar}; describe it in a TOML file "
        "(--models-file), see docs/predict.md",
        param="model",
    )


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@functools.cache
def _shipped() -> Mapping[str, Architecture]:
    return _architectures(_tables(*parse_toml(read_text("models.toml"), "models.toml")))


_Table = tuple[dict[str, Any], Location]


def _tables(tables: Mapping[str, Any], root: Location) -> dict[str, _Table]:
    """Return the tables of a file with their locations, by name in lower case.

    Raises:
        RequestError: A value stands outside a table, or a table has a key `name`.
    """
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise (root / name).error("expected a table [model-name] around it")
        if "name" in table:
            raise (root / name / "name").error("unknown key 'name': the heading is the name")
    return {name.lower(): (table, root / name) for name, table in tables.items()}


def _architectures(tables: Mapping[str, _Table]) -> Mapping[str, Architecture]:
    read = {
        name: parse(Architecture, table | {"name": name}, location)
        for name, (table, location) in tables.items()
    }
    return MappingProxyType(read)
