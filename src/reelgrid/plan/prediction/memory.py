"""Device memory of a generation by formula, and which kind of offloading it needs.

    weights      2 bytes a parameter
    activations  tokens * 2 bytes * (8 width + 2 feed-forward width): the residual stream and its
                 32-bit norm, queries, keys, values, the attention's output, the feed-forward's two
                 sides; attention itself keeps nothing (arXiv:2205.14135)
    decoder      pixels of a chunk of frames * 2 KiB: four maps of 256 numbers of 16 bits

CUDA's context and fragments are in the share of the card that `USABLE` leaves out. The measured need
of a model is in the catalogue (`memory_gib`).
"""

from dataclasses import dataclass

from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.prediction.observations import Offload
from reelgrid.plan.prediction.workload import Workload
from reelgrid.units import GIB

USABLE = 0.95
"""Share of a card's memory that weights and activations can have: a rule of thumb."""

_BYTES = 2
_STREAM_WIDTHS = 8
_FEED_FORWARD_SIDES = 2
_DECODER_BYTES_PER_PIXEL = 2_048

HOW: dict[Offload, str] = {
    "": "",
    "once": "parts are loaded one after the other (model offload)",
    "steps": "weights are read from the host at every step (layer offload)",
}
"""The kinds of offloading in words."""

_SHARDED = "weights are sharded over the GPUs (FSDP)"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Device memory of a generation in GiB, on each GPU.

    Attributes:
        weights_gib: Weights that are on the device at the same time.
        activations_gib: Activations of the denoising network.
        decoder_gib: Memory for decoding the latents.
        total_gib: The largest sum that is needed at once.
        usable_gib: Memory of the GPU that can be used.
        offload: How it is made to fit, in words; empty if everything stays on the device.
        fits: Whether it fits at all.
    """

    weights_gib: float
    activations_gib: float
    decoder_gib: float
    total_gib: float
    usable_gib: float
    offload: str
    fits: bool = True


def memory_need(workload: Workload, gpu: Gpu, num_gpus: int = 1) -> tuple[MemoryNeed, Offload]:
    """Return the memory that a generation needs on each of its GPUs, and how it is made to fit.

    Tried in order: everything on the device; on several GPUs the weights sharded over them; parts
    loaded one after the other; weights read from the host at every step. If nothing fits, the last
    is returned with `fits` false.

    Args:
        workload: What is generated.
        gpu: The kind of GPU.
        num_gpus: GPUs that work on it together, each on its share of the tokens.
    """
    model, usable = workload.model, gpu.memory_gb * USABLE
    activations, decoder = activations_gib(workload) / num_gpus, decoder_gib(workload)
    network = _gib(model.params_b)
    text = _gib(model.text_encoder_params_b)
    codec = _gib(model.vae_params_b)
    everything = model.weight_bytes / GIB
    layer = 2 * network / model.layers
    sharded = everything / num_gpus
    ways: list[tuple[float, float, Offload, str]] = [
        (everything, everything + max(activations, decoder), "", HOW[""]),
        (sharded, sharded + max(activations, decoder), "", _SHARDED),
        (network, max(text, network + activations, codec + decoder), "once", HOW["once"]),
        (layer, max(layer + activations, codec + decoder), "steps", HOW["steps"]),
    ]
    possible = [way for way in ways if num_gpus > 1 or way[3] != _SHARDED]
    weights, total, how, words = next((way for way in possible if way[1] <= usable), ways[-1])
    need = MemoryNeed(
        weights_gib=weights,
        activations_gib=activations,
        decoder_gib=decoder,
        total_gib=total,
        usable_gib=usable,
        offload=words,
        fits=total <= usable,
    )
    return need, how


def _gib(params_b: float) -> float:
    """Return the memory of weights in GiB, from billions of parameters."""
    return params_b * _BYTES * 1e9 / GIB


def activations_gib(workload: Workload) -> float:
    """Return the memory of the denoising network's activations for the whole batch, in GiB."""
    model = workload.model
    tokens = model.video_tokens(workload.size, workload.num_frames) + model.text_tokens
    numbers = _STREAM_WIDTHS * model.width + _FEED_FORWARD_SIDES * model.ffn_width
    return tokens * numbers * _BYTES * workload.num_images / GIB


def decoder_gib(workload: Workload) -> float:
    """Return the memory of decoding one clip, a chunk of frames at a time, in GiB."""
    chunk = workload.model.vae_time // workload.model.latents_per_chunk
    frames = min(workload.num_frames, chunk)
    pixels = workload.size.width * workload.size.height * frames
    return pixels * _DECODER_BYTES_PER_PIXEL / GIB
