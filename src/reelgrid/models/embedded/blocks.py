"""The embedded model's pipeline: diffusers' own Wan blocks, with or without a first frame.

diffusers' image-to-video blocks need an image encoder or two experts; this model has neither, so it
combines them in another way. The network gets the first frame as in Wan 2.1: a mask and the frame's
latents, in channels after the noise.
"""

from diffusers.modular_pipelines.modular_pipeline import (
    AutoPipelineBlocks,
    SequentialPipelineBlocks,
)
from diffusers.modular_pipelines.modular_pipeline_utils import OutputParam
from diffusers.modular_pipelines.wan.before_denoise import (
    WanAdditionalInputsStep,
    WanPrepareLatentsStep,
    WanSetTimestepsStep,
    WanTextInputStep,
)
from diffusers.modular_pipelines.wan.decoders import WanVaeDecoderStep
from diffusers.modular_pipelines.wan.denoise import (
    WanDenoiseLoopWrapper,
    WanImage2VideoLoopBeforeDenoiser,
    WanLoopAfterDenoiser,
    WanLoopDenoiser,
)
from diffusers.modular_pipelines.wan.encoders import WanTextEncoderStep
from diffusers.modular_pipelines.wan.modular_blocks_wan import WanCoreDenoiseStep
from diffusers.modular_pipelines.wan.modular_blocks_wan_i2v import WanImage2VideoVaeEncoderStep


class FirstFrameDenoiseStep(WanDenoiseLoopWrapper):
    """The denoising loop with the first frame's latents after the noise."""

    block_classes = [
        WanImage2VideoLoopBeforeDenoiser,
        WanLoopDenoiser,
        WanLoopAfterDenoiser,
    ]
    block_names = ["before_denoiser", "denoiser", "after_denoiser"]

    @property
    def description(self) -> str:
        """Description of the block, for diffusers."""
        return "Denoises from noise and a given first frame."


class FirstFrameCoreDenoiseStep(SequentialPipelineBlocks):
    """Everything from embeddings to clean latents, with a first frame."""

    model_name = "wan"
    block_classes = [
        WanTextInputStep,
        WanAdditionalInputsStep(image_latent_inputs=["image_condition_latents"]),
        WanSetTimestepsStep,
        WanPrepareLatentsStep,
        FirstFrameDenoiseStep,
    ]
    block_names = ["input", "additional_inputs", "set_timesteps", "prepare_latents", "denoise"]

    @property
    def description(self) -> str:
        """Description of the block, for diffusers."""
        return "Denoises a clip that begins with a given frame."


class AutoFirstFrameStep(AutoPipelineBlocks):
    """Encodes the first frame if there is one."""

    block_classes = [WanImage2VideoVaeEncoderStep]
    block_names = ["vae_encoder"]
    block_trigger_inputs = ["image"]

    @property
    def description(self) -> str:
        """Description of the block, for diffusers."""
        return "Encodes `image` where it is given; otherwise does nothing."


class AutoDenoiseStep(AutoPipelineBlocks):
    """Denoises with a first frame or without."""

    block_classes = [FirstFrameCoreDenoiseStep, WanCoreDenoiseStep]
    block_names = ["image2video", "text2video"]
    block_trigger_inputs = ["image", None]

    @property
    def description(self) -> str:
        """Description of the block, for diffusers."""
        return "Image to video where `image` is given, else text to video."


class EmbeddedBlocks(SequentialPipelineBlocks):
    """Text to video, text to image (one frame) and image to video with one set of weights."""

    model_name = "wan"
    block_classes = [WanTextEncoderStep, AutoFirstFrameStep, AutoDenoiseStep, WanVaeDecoderStep]
    block_names = ["text_encoder", "vae_encoder", "denoise", "decode"]

    @property
    def description(self) -> str:
        """Description of the pipeline, for diffusers."""
        return "Text or a first frame to video, of the embedded model."

    @property
    def outputs(self) -> list[OutputParam]:
        """Finished clips."""
        return [OutputParam.template("videos")]
