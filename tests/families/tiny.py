"""Tiny randomly initialised pipelines of real families: every class is diffusers' own."""

from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from reelgrid.catalog import ModelCard, ModelDefaults
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Size

WIDTH = 32
WORDS = (
    "[PAD]",
    "[UNK]",
    "</s>",
    *["a", "red", "blue", "ball", "box", "rolls", "to", "the", "right", "left"],
)

BUILDERS: dict[str, Callable[[], ModularPipeline]] = {}


def family(build: Callable[[], ModularPipeline]) -> Callable[[], ModularPipeline]:
    BUILDERS[build.__name__] = build
    return build


def tiny_model(name: str, *, num_steps: int = 4, **card: Any) -> LoadedModel:
    """The tiny pipeline of a family with seeded weights, as `load_model` would return it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipeline = BUILDERS[name]()
    size, num_frames = SHAPES.get(name, (Size(32, 32), 9))
    defaults = ModelDefaults(
        size=size, num_frames=num_frames, fps=8.0, num_steps=num_steps, guidance_scale=3.0
    )
    rules = {
        "kind": "image" if num_frames == 1 else "video",
        "licence": "none",
        "params_b": 0.0,
        "download_gib": 0.0,
        "memory_gib": 0.0,
        "frames_multiple": 4,
        "size_multiple": 16,
        "can_first_frame": "image_to_video" in name,
        "max_sequence_length": 12,
    }
    model_card = ModelCard(name=name, repository=None, default=defaults, **{**rules, **card})
    return LoadedModel(name, pipeline, model_card, torch.device("cpu"), torch.float32)


def tokenizer(**settings: Any) -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        eos_token="</s>",
        **settings,
    )


def pipeline_of(blocks: Any, **components: Any) -> ModularPipeline:
    pipeline = blocks.init_pipeline()
    pipeline.update_components(**components)
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    return pipeline


def umt5() -> Any:
    return transformers.UMT5EncoderModel(
        transformers.UMT5Config(
            vocab_size=len(WORDS), d_model=WIDTH, d_kv=8, d_ff=64, num_layers=1, num_heads=4
        )
    )


def t5(**changes: Any) -> Any:
    config = {
        "vocab_size": len(WORDS),
        "d_model": WIDTH,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 4,
    }
    return transformers.T5EncoderModel(transformers.T5Config(**{**config, **changes}))


def clip_text() -> Any:
    return transformers.CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=12,
        projection_dim=WIDTH,
        eos_token_id=2,
        pad_token_id=0,
    )


def image_vae() -> Any:
    return diffusers.AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        sample_size=32,
        shift_factor=0.1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def wan_vae() -> Any:
    return diffusers.AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1)


def wan_transformer(**changes: Any) -> Any:
    config = {
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": WIDTH,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
    }
    return diffusers.WanTransformer3DModel(**{**config, **changes})


def wan_parts(**changes: Any) -> dict[str, Any]:
    parts = {
        "text_encoder": umt5(),
        "tokenizer": tokenizer(),
        "transformer": wan_transformer(),
        "vae": wan_vae(),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }
    return {**parts, **changes}


@family
def wan_euler() -> ModularPipeline:
    return pipeline_of(diffusers.WanBlocks(), **wan_parts())


@family
def wan_unipc() -> ModularPipeline:
    solver = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return pipeline_of(diffusers.WanBlocks(), **wan_parts(scheduler=solver))


@family
def wan22_two_experts() -> ModularPipeline:
    solver = diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    parts = wan_parts(transformer_2=wan_transformer(), scheduler=solver)
    return pipeline_of(diffusers.Wan22Blocks(), **parts)


@family
def wan_image_to_video() -> ModularPipeline:
    vision = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=16,
        patch_size=8,
    )
    parts = wan_parts(
        transformer=wan_transformer(in_channels=36, image_dim=WIDTH, added_kv_proj_dim=24),
        image_encoder=transformers.CLIPVisionModel(vision),
        image_processor=transformers.CLIPImageProcessorPil(
            size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
        ),
    )
    return pipeline_of(diffusers.WanImage2VideoAutoBlocks(), **parts)


@family
def ltx() -> ModularPipeline:
    return pipeline_of(
        diffusers.LTXAutoBlocks(),
        text_encoder=t5(),
        tokenizer=tokenizer(),
        transformer=diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=16,
            cross_attention_dim=WIDTH,
            num_layers=2,
            caption_channels=WIDTH,
        ),
        vae=diffusers.AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


class ShortTexts(diffusers.HunyuanVideo15ModularPipeline):
    """The family's 1,985 text and vision tokens would be all that the tests wait for."""

    tokenizer_max_length = 16
    tokenizer_2_max_length = 8
    vision_num_semantic_tokens = 9
    prompt_template_encode_start_idx = 2


@family
def hunyuan_video_15() -> ModularPipeline:
    words = tokenizer()
    words.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    pipeline = pipeline_of(
        diffusers.HunyuanVideo15AutoBlocks(),
        text_encoder=transformers.Qwen2_5_VLTextModel(
            transformers.models.qwen2_5_vl.configuration_qwen2_5_vl.Qwen2_5_VLTextConfig(
                vocab_size=len(WORDS),
                hidden_size=WIDTH,
                intermediate_size=32,
                num_hidden_layers=3,
                num_attention_heads=2,
                num_key_value_heads=2,
                rope_parameters={
                    "rope_type": "default",
                    "rope_theta": 1e4,
                    "mrope_section": [2, 3, 3],
                },
            )
        ),
        tokenizer=words,
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
        transformer=diffusers.HunyuanVideo15Transformer3DModel(
            in_channels=17,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=2,
            num_refiner_layers=1,
            text_embed_dim=WIDTH,
            text_embed_2_dim=WIDTH,
            image_embed_dim=WIDTH,
            rope_axes_dim=(4, 6, 6),
            target_size=32,
            task_type="t2v",
        ),
        vae=diffusers.AutoencoderKLHunyuanVideo15(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8, 8),
            layers_per_block=1,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )
    pipeline.__class__ = ShortTexts
    return pipeline


@family
def flux() -> ModularPipeline:
    return pipeline_of(
        diffusers.FluxAutoBlocks(),
        text_encoder=transformers.CLIPTextModel(clip_text()),
        tokenizer=tokenizer(model_max_length=12),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
        vae=image_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


@family
def z_image() -> ModularPipeline:
    words = tokenizer()
    words.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}"
    return pipeline_of(
        diffusers.ZImageAutoBlocks(),
        text_encoder=transformers.Qwen3Model(
            transformers.Qwen3Config(
                vocab_size=len(WORDS),
                hidden_size=WIDTH,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=16,
            )
        ),
        tokenizer=words,
        transformer=diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=WIDTH,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[4, 6, 6],
            axes_lens=[64, 32, 32],
        ),
        vae=image_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


@family
def stable_diffusion_3() -> ModularPipeline:
    return pipeline_of(
        diffusers.StableDiffusion3AutoBlocks(),
        text_encoder=transformers.CLIPTextModelWithProjection(clip_text()),
        tokenizer=tokenizer(model_max_length=12),
        text_encoder_2=transformers.CLIPTextModelWithProjection(clip_text()),
        tokenizer_2=tokenizer(model_max_length=12),
        text_encoder_3=t5(d_model=2 * WIDTH),
        tokenizer_3=tokenizer(),
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=4,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=2 * WIDTH,
        ),
        vae=image_vae(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


@family
def stable_diffusion_xl() -> ModularPipeline:
    return pipeline_of(
        diffusers.StableDiffusionXLAutoBlocks(),
        text_encoder=transformers.CLIPTextModel(clip_text()),
        tokenizer=tokenizer(model_max_length=12),
        text_encoder_2=transformers.CLIPTextModelWithProjection(clip_text()),
        tokenizer_2=tokenizer(model_max_length=12),
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(32, 64),
            layers_per_block=1,
            sample_size=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1),
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            cross_attention_dim=2 * WIDTH,
        ),
        vae=image_vae(),
        # Ancestral: it draws noise at every step, so the random numbers must be restored too.
        scheduler=diffusers.EulerAncestralDiscreteScheduler(),
    )


IMAGE = (Size(32, 32), 1)
SHAPES: dict[str, tuple[Size, int]] = {
    "ltx": (Size(64, 64), 9),
    "flux": IMAGE,
    "z_image": IMAGE,
    "stable_diffusion_3": IMAGE,
    "stable_diffusion_xl": IMAGE,
}
