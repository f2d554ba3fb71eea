"""A model by its name: found, measured against the machine, loaded."""

from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline

from reelgrid.catalog import ModelCard
from reelgrid.models.fingerprint import fingerprint_of


@dataclass
class LoadedModel:
    """A pipeline with its networks on a device.

    Attributes:
        name: What it was loaded by.
        pipeline: diffusers' pipeline; shared by all generations and never changed.
        card: What it can be asked for.
        device: Where it computes.
        dtype: The networks' precision.
        offload: How the networks that do not fit the GPU are moved; none when all fit.
        load_s: Seconds that loading took.
        notices: What the user should be told.
    """

    name: str
    pipeline: ModularPipeline
    card: ModelCard
    device: torch.device
    dtype: torch.dtype
    offload: str | None = None
    load_s: float = 0.0
    notices: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of configuration and weights, see `fingerprint_of`."""
        return fingerprint_of(self.pipeline)
