"""Inputs and outputs of a diffusers pipeline: a request as the inputs of its blocks, and its frames.

A name that a family's blocks do not know is left out only where the model card has already settled
the question (a single image has no `num_frames`); a request that cannot be met is refused.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from PIL import Image, ImageOps

from reelgrid.engine.stepped_pipeline import input_names
from reelgrid.errors import GenerationError, RequestError
from reelgrid.media import read_image
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import CompleteRequest, Size

GUIDANCE_OFF = 1.0


def pipeline_inputs(model: LoadedModel, request: CompleteRequest) -> dict[str, Any]:
    """Return the pipeline's inputs for a complete request.

    Raises:
        RequestError: The pipeline has no input for the first frame, or it is not an image.
    """
    known = input_names(model.pipeline)
    inputs: dict[str, Any] = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "height": request.size.height,
        "width": request.size.width,
        "num_frames": request.num_frames,
        "num_inference_steps": request.num_steps,
        "guidance_scale": request.guidance_scale,
        "frame_rate": request.fps,
        "max_sequence_length": model.card.max_sequence_length,
        # A CPU generator, so that a seed means the same noise on every device.
        "generator": torch.Generator("cpu").manual_seed(request.seed),
        "output_type": "np",
    }
    if request.first_frame is not None:
        if "image" not in known:
            raise RequestError(
                f"{model.card.name} makes clips from text only: leave out the first frame, or "
                "choose a model that takes one",
                param="first_frame",
            )
        inputs["image"] = first_frame_image(request.first_frame, request.size)
    return {name: value for name, value in inputs.items() if name in known and value is not None}


def set_guidance(components: ModularPipeline, model: LoadedModel, request: CompleteRequest) -> None:
    """Set the guidance scale of these components to the request's.

    The model's default is set on the first guider only, because the guiders of experts are tuned
    separately (Wan 2.2: 4.0 for the first steps, 3.0 for the last). Any other value was requested
    and is set on all. A value below 1 turns guidance off, as in diffusers' ordinary pipelines; a
    guider set to 0 would ignore the prompt.
    """
    guiders = [guider for guider in guiders_of(components) if hasattr(guider, "guidance_scale")]
    is_default = request.guidance_scale == model.card.default.guidance_scale
    for guider in guiders[:1] if is_default else guiders:
        guider.guidance_scale = max(request.guidance_scale, GUIDANCE_OFF)


def begin_at_first_step(components: ModularPipeline, timesteps: torch.Tensor | None) -> None:
    """Make the solver start at its first step.

    Otherwise it searches for the first timestep among all of them, which are rounded to integers,
    and of two equal ones takes the second: one step too far (diffusers 0.42.1, UniPC with shift 3,
    from about 330 steps on; the last step then fails).
    """
    scheduler: Any = getattr(components, "scheduler", None)
    if timesteps is None or getattr(scheduler, "begin_index", 0) is not None:
        return
    if torch.equal(timesteps, scheduler.timesteps):
        scheduler.set_begin_index(0)


def guiders_of(components: ModularPipeline) -> Iterator[BaseGuidance]:
    """Yield the guiders among the components, in the pipeline's order."""
    for component in components.components.values():
        if isinstance(component, BaseGuidance):
            yield component


def first_frame_image(path: Path, size: Size) -> Image.Image:
    """Return an image file as a clip's first frame, cropped about its centre and scaled.

    Raises:
        RequestError: There is no such file, or it is not an image that can be read.
    """
    return ImageOps.fit(Image.fromarray(read_image(path)), (size.width, size.height))


_FRAME_OUTPUTS = ("videos", "video", "images", "image_output")


def frames_of(values: Mapping[str, Any]) -> np.ndarray:
    """Return the finished frames of a pipeline's outputs, uint8 [T, H, W, 3]; an image has T = 1.

    Raises:
        GenerationError: There are none, or they hold NaN or infinity.
    """
    found = next((values[name] for name in _FRAME_OUTPUTS if values.get(name) is not None), None)
    if found is None:
        raise GenerationError("the model's last block returned no frames")
    frames = np.asarray(found)
    if frames.ndim == 5:
        frames = frames[0]
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise GenerationError(f"the model returned frames of shape {frames.shape}")
    if not np.isfinite(frames).all():
        raise GenerationError(
            "the frames are not numbers: try a lower guidance scale or a wider precision"
        )
    return np.rint(frames.clip(0, 1) * 255).astype(np.uint8)
