"""Tiny randomly initialised pipelines of real families: every class is diffusers' own."""

from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from reelgrid.catalog import Defaults, ModelCard
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Size

WIDTH = 32
WORDS = ("[PAD]", "[UNK]", "</s>", *"a red blue ball box rolls to the right left".split())

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
    defaults = Defaults(
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


def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", eos_token="</s>"
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


SHAPES: dict[str, tuple[Size, int]] = {}
