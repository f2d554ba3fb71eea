"""Derive the card of a model that is not in the catalogue, from its pipeline's own defaults."""

from typing import Any

from diffusers.modular_pipelines.modular_pipeline import ModularPipeline

from reelgrid.catalog import ModelCard, ModelDefaults, find
from reelgrid.spec import Size

MIN_SIZE_MULTIPLE = 16  # packed latents of image families need two latents per side
FALLBACK_SIDE_PX = 512
FALLBACK_NUM_FRAMES = 25
FALLBACK_FPS = 16.0
FALLBACK_NUM_STEPS = 50
FALLBACK_GUIDANCE = 5.0

_EMBEDDED_CODE = "reelgrid.models.embedded"


def derive_card(name: str, pipeline: ModularPipeline, params_b: float) -> ModelCard:
    """Return the card that the pipeline's own defaults and scale factors imply."""
    embedded = find("embedded")
    if embedded is not None and _is_embedded(pipeline):
        return embedded
    inputs = pipeline.default_call_parameters
    is_video = "num_frames" in inputs
    defaults = ModelDefaults(
        size=_default_size(pipeline, inputs),
        num_frames=_default_frames(pipeline, inputs) if is_video else 1,
        fps=float(inputs.get("frame_rate") or FALLBACK_FPS) if is_video else 1.0,
        num_steps=int(inputs.get("num_inference_steps") or FALLBACK_NUM_STEPS),
        guidance_scale=_default_guidance(pipeline, inputs),
    )
    weights_gib = params_b * 1e9 * 2 / 2**30
    return ModelCard(
        name=name,
        repository=None,
        kind="video" if is_video else "image",
        licence="see its repository",
        params_b=params_b,
        download_gib=weights_gib,
        memory_gib=weights_gib * 1.25,
        default=defaults,
        frames_multiple=_scale(pipeline, "temporal", 4),
        size_multiple=_size_multiple(pipeline),
        can_first_frame=is_video and "image" in inputs,
        source="derived from the repository's own defaults",
    )


def _is_embedded(pipeline: ModularPipeline) -> bool:
    network = getattr(pipeline, "transformer", None)
    return type(network).__module__.startswith(_EMBEDDED_CODE)


def _default_size(pipeline: ModularPipeline, inputs: dict[str, Any]) -> Size:
    multiple = _size_multiple(pipeline)
    sides = [
        int(inputs.get(side) or getattr(pipeline, f"default_{side}", 0) or FALLBACK_SIDE_PX)
        for side in ("width", "height")
    ]
    return Size(*(max(multiple, side // multiple * multiple) for side in sides))


def _default_frames(pipeline: ModularPipeline, inputs: dict[str, Any]) -> int:
    given = inputs.get("num_frames") or getattr(pipeline, "default_num_frames", None)
    multiple = _scale(pipeline, "temporal", 4)
    return (int(given or FALLBACK_NUM_FRAMES) - 1) // multiple * multiple + 1


def _default_guidance(pipeline: ModularPipeline, inputs: dict[str, Any]) -> float:
    guider = getattr(pipeline, "guider", None)
    own = getattr(guider, "guidance_scale", inputs.get("guidance_scale"))
    return FALLBACK_GUIDANCE if own is None else float(own)


def _size_multiple(pipeline: ModularPipeline) -> int:
    network = getattr(pipeline, "transformer", None)
    patch = getattr(getattr(network, "config", None), "patch_size", 1)
    side = patch[-1] if isinstance(patch, list | tuple) else patch
    return max(MIN_SIZE_MULTIPLE, _scale(pipeline, "spatial", 8) * int(side or 1))


def _scale(pipeline: ModularPipeline, kind: str, otherwise: int) -> int:
    """Return the pixels or frames per latent, under whichever name the pipeline has for it."""
    names = (f"vae_scale_factor_{kind}", f"vae_{kind}_compression_ratio", "vae_scale_factor")
    for name in names if kind == "spatial" else names[:2]:
        if hasattr(pipeline, name):
            return int(getattr(pipeline, name))
    return otherwise
