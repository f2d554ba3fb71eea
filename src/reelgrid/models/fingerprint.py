"""A fingerprint of a pipeline: its settings, and a sample of every weight."""

import hashlib
import json
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from torch import nn

NUM_SAMPLES = 1024


def fingerprint_of(pipeline: ModularPipeline) -> str:
    """Return a SHA-256 over the pipeline's blocks, settings and weights.

    Of each weight, its name, shape, type and up to 1,024 evenly spaced values count: training
    changes them all, so another model never passes; one value edited by hand may.
    """
    digest = hashlib.sha256(type(pipeline._blocks).__name__.encode())
    for name, component in sorted(pipeline.components.items()):
        digest.update(f"{name} {type(component).__name__}".encode())
        if isinstance(component, ConfigMixin):
            digest.update(_settings(dict(component.config)))
        if isinstance(component, nn.Module):
            _add_weights(digest, component)
    return digest.hexdigest()


def _settings(config: dict[str, Any]) -> bytes:
    # Keys with an underscore say where from and by which version, some of them in a random order.
    kept = {key: value for key, value in config.items() if not key.startswith("_")}
    return json.dumps(kept, sort_keys=True, default=str).encode()


def _add_weights(digest: Any, module: nn.Module) -> None:  # hashlib names no type
    samples = []
    for name, weight in sorted(module.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        flat = weight.detach().reshape(-1)
        samples.append(
            flat[:: max(1, flat.numel() // NUM_SAMPLES)][:NUM_SAMPLES]
            .contiguous()
            .view(torch.uint8)
        )
    if samples:
        digest.update(torch.cat(samples).cpu().numpy())
