"""The embedded model as a folder in diffusers' layout.

Both indexes are written: `model_index.json` for diffusers' ordinary pipelines and
`modular_model_index.json` for modular ones, which also names our blocks.
"""

import json
from pathlib import Path

import diffusers
import torch
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from torch import Tensor
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from reelgrid.models.embedded.codec import GroupCodec
from reelgrid.models.embedded.transformer import PlacedWanTransformer3DModel

BLOCKS = "reelgrid.models.embedded.blocks.EmbeddedBlocks"
_PARTS = {
    "text_encoder": ("transformers", "UMT5EncoderModel"),
    "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
    "transformer": ("reelgrid.models.embedded", "PlacedWanTransformer3DModel"),
    "vae": ("reelgrid.models.embedded", "GroupCodec"),
    "scheduler": ("diffusers", "UniPCMultistepScheduler"),
}


def write_folder(
    folder: Path,
    *,
    transformer: PlacedWanTransformer3DModel,
    text_encoder: UMT5EncoderModel,
    tokenizer: PreTrainedTokenizerFast,
    codec: GroupCodec,
    mean: Tensor,
    std: Tensor,
    shift: float,
) -> None:
    """Write all parts in float16 with their configurations.

    Args:
        folder: Where to; created if it is missing.
        transformer: The velocity network.
        text_encoder: Reads the prompt.
        tokenizer: Cuts the prompt.
        codec: Between latents and pixels.
        mean: Of the latents' channels, shape (z,).
        std: Deviation of the latents' channels, shape (z,).
        shift: Of the scheduler's noise levels.
    """
    codec.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    transformer.to(torch.float16).save_pretrained(folder / "transformer")
    codec.to(torch.float16).save_pretrained(folder / "vae")
    text_encoder.to(torch.float16).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    build_scheduler(shift).save_pretrained(folder / "scheduler")
    version = {"_diffusers_version": diffusers.__version__}
    plain = {name: list(kind) for name, kind in _PARTS.items()}
    _write_index(folder / "model_index.json", {"_class_name": "WanPipeline", **version, **plain})
    modular = {
        name: [*kind, {"pretrained_model_name_or_path": "", "subfolder": name, "type_hint": kind}]
        for name, kind in _PARTS.items()
    }
    head = {"_class_name": "WanModularPipeline", "_blocks_class_name": BLOCKS}
    _write_index(folder / "modular_model_index.json", {**head, **version, **modular})


def build_scheduler(shift: float) -> UniPCMultistepScheduler:
    """Build the solver that Wan has too: UniPC (Zhao et al. 2023, arXiv:2302.04867) on flow."""
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )


def _write_index(path: Path, index: dict[str, object]) -> None:
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
