"""Load a model by its name onto a device, and fingerprint its weights."""

import hashlib
import importlib
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline, ModularPipelineBlocks
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging as transformers_logging

from reelgrid.catalog import ModelCard
from reelgrid.errors import ModelError
from reelgrid.models.card import derive_card
from reelgrid.models.placement import (
    GROUP_OFFLOAD,
    choose_device,
    choose_dtype,
    free_memory,
    gib,
    plan_offload,
)
from reelgrid.models.source import (
    EMBEDDED,
    MODULAR_INDEX,
    find_folder,
    num_parameters,
    weight_files,
)

SMALL_PARAMETERS = 100_000_000
NUM_SAMPLES = 1_024
"""Values of each weight that count for the fingerprint."""

_OWN_BLOCKS = "reelgrid.models."

_LOAD_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    ImportError,
    SafetensorError,
)


@dataclass
class LoadedModel:
    """A pipeline with its networks on a device.

    Attributes:
        name: Name that loads it again, from any working directory.
        pipeline: diffusers' pipeline; shared by all generations and never changed.
        card: What it can generate.
        device: Where it computes.
        dtype: The networks' precision.
        offload: How networks that do not fit the GPU are moved; `None` when all fit.
        load_s: Seconds that loading took.
        notices: Messages for the user.
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

    def prompt_notices(self, prompt: str) -> tuple[str, ...]:
        """Messages for the user about a prompt: words that the embedded model does not know."""
        if self.card.name != EMBEDDED:
            return ()
        from reelgrid.models.embedded.words import notices

        return notices(prompt)


def load_model(name: str, *, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Return a model that is ready to generate.

    Args:
        name: Catalogue name, hub id or local folder.
        device: `cuda`, `cuda:1`, `mps`, `cpu`, or `auto` for the fastest available.
        dtype: `bfloat16`, `float16`, `float32`, or `auto` for the fastest on the device.

    Raises:
        RequestError: There is no such device or precision.
        ModelError: There is no such model, it does not fit, or its files are damaged.
    """
    start = time.perf_counter()
    free = free_memory(choose_device(device))
    item_bytes = choose_dtype(dtype, free.device, is_small=False).itemsize
    folder, card = find_folder(name, lambda size: plan_offload(name, size * item_bytes, free))
    num_params = num_parameters(weight_files(folder))
    precision = choose_dtype(dtype, free.device, is_small=num_params < SMALL_PARAMETERS)
    num_bytes = num_params * precision.itemsize
    offload = plan_offload(name, num_bytes, free)
    pipeline = _load_pipeline(folder, precision)
    _move_to(pipeline, free.device, offload)
    if free.device.type == "cpu" and precision.itemsize == 2:
        _put_channels_last(getattr(pipeline, "vae", None))
    return LoadedModel(
        name=str(folder) if Path(name).expanduser().is_dir() and card is None else name,
        pipeline=pipeline,
        card=card or derive_card(name, pipeline, num_params / 1e9),
        device=free.device,
        dtype=precision,
        offload=offload,
        load_s=time.perf_counter() - start,
        notices=(_offload_notice(name, num_bytes),) if offload == GROUP_OFFLOAD else (),
    )


def _offload_notice(name: str, num_bytes: int) -> str:
    return (
        f"{name} has {gib(num_bytes)} of weights and does not fit the GPU: its layers are moved "
        "to the GPU one by one (offloading), which is slower"
    )


def fingerprint_of(pipeline: ModularPipeline) -> str:
    """Return a SHA-256 over the pipeline's blocks, settings and weights.

    Of each weight, the name, shape, type and up to `NUM_SAMPLES` evenly spaced values count:
    training changes them all, so another model is always noticed; one value edited by hand may not.
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
    # Keys with an underscore hold the origin and versions, some of them in a random order.
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


def _load_pipeline(folder: Path, dtype: torch.dtype) -> ModularPipeline:
    """Return the pipeline of a local folder with all its components.

    Raises:
        ModelError: A file is missing or damaged.
    """
    with _quiet_libraries():
        try:
            blocks = _own_blocks(folder)
            if blocks is not None:
                pipeline = blocks.init_pipeline(str(folder))
            else:
                pipeline = ModularPipeline.from_pretrained(str(folder), local_files_only=True)
        except _LOAD_ERRORS as error:
            raise ModelError(f"diffusers cannot read the pipeline in {folder}: {error}") from None
        components = _load_components(pipeline, folder, dtype)
        pipeline.register_components(**components)
    for component in components.values():
        if isinstance(component, nn.Module):
            component.eval().requires_grad_(False)
    return pipeline


def _load_components(
    pipeline: ModularPipeline, folder: Path, dtype: torch.dtype
) -> dict[str, object]:
    """Return the components of a pipeline, each loaded by a call of its own.

    diffusers' `load_components` turns a failure into a logged traceback and a missing component.

    Raises:
        ModelError: A file is missing or damaged.
    """
    components = {}
    for name in pipeline.pretrained_component_names:
        spec = pipeline.get_component_spec(name)
        if spec.pretrained_model_name_or_path is None or spec.type_hint is None:
            continue
        subfolder = folder / (spec.subfolder or "")
        if not subfolder.is_dir():
            continue
        has_weights = any(file.suffix in {".safetensors", ".bin"} for file in subfolder.iterdir())
        if issubclass(spec.type_hint, nn.Module) and not has_weights:
            raise ModelError(f"the {name} in {folder} has no weights: download it again")
        try:
            components[name] = spec.load(dtype=dtype, local_files_only=True)
        except _LOAD_ERRORS as error:
            raise ModelError(
                f"the {name} in {folder} cannot be loaded: {_first_line(error)}"
            ) from None
    return components


def _own_blocks(folder: Path) -> ModularPipelineBlocks | None:
    """Return the blocks of this package that the folder's index names, or `None`.

    diffusers finds blocks only in itself and in code of the repository.
    """
    index = folder / MODULAR_INDEX
    if not index.is_file():
        return None
    name = str(json.loads(index.read_text(encoding="utf-8")).get("_blocks_class_name"))
    if not name.startswith(_OWN_BLOCKS):
        return None
    module, _, kind = name.rpartition(".")
    return getattr(importlib.import_module(module), kind)()


def _move_to(pipeline: ModularPipeline, device: torch.device, offload: str | None) -> None:
    for component in pipeline.components.values():
        if not isinstance(component, nn.Module):
            continue
        if offload == GROUP_OFFLOAD:
            from diffusers.hooks import apply_group_offloading

            apply_group_offloading(
                component,
                onload_device=device,
                offload_type="leaf_level",
                use_stream=True,
                low_cpu_mem_usage=True,
            )
        else:
            component.to(device)


def _put_channels_last(vae: nn.Module | None) -> None:
    """Use the memory layout that makes the codec's convolutions fastest in half precision on a CPU.

    Measured on an AMD EPYC: 1.7 times as fast for the embedded codec, 1.4 times for Wan's; in
    float32 it is slower.
    """
    for weight in () if vae is None else vae.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.to(memory_format=torch.channels_last)
        elif weight.dim() == 5:
            weight.data = weight.data.to(memory_format=torch.channels_last_3d)


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Hide progress bars, advice and tracebacks of the libraries from the user."""
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
