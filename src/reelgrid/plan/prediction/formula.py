"""Formula for the seconds of a generation, from its FLOPs and the GPU's peak; many cases at once.

    compute = [ F_linear / (P e_L) + F_attention / (P e_A) + passes / fused * bytes / bandwidth ]
              * software / GPUs * (1 + sync log2 GPUs)
    wait    = exchange / (link share * link) + layers * latency if GPUs > 1
    launch  = layers * launch / fused
    denoise = forwards * hypot(compute + wait, launch) * streaming if streamed
    seconds = hypot(denoise, forwards * weights / (3 host rate) if streamed)
              + decoder FLOPs / rate + fixed + weights / (host rate [* 3]) if offloaded once
    e_L = logistic(linear + z),  e_A = logistic(attention + kernel + head + z) [* low_bit]
    z   = power * ln(W per TFLOP/s, against 0.9) + matmul * 2 ln(best measured share, against 0.8) + GPU

P is the dense 16-bit peak. The logistic keeps both efficiencies below 1, so no prediction is faster
than the peak allows. The processor launches operations ahead of the GPU and reads weights ahead of
it, so the longest of computing, launching and reading counts (`hypot`); fused software launches and
moves less. Effects of GPUs and software that have no coefficient are 0. `fit` finds the values of
the coefficients, `calibration` holds them.

What is known of software by its name: whether it fuses, and whether it pins memory.

Not here: by how much that helps (`formula`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.prediction.observations import KernelClass, Stack
from reelgrid.plan.prediction.workload import Workload, forward_flops

Array = npt.NDArray[np.float64]

SourceEffect = Literal["source", "image_source"]

ParallelEffect = Literal["parallel", "image_parallel"]

UNTUNED = frozenset({"volta", "turing", "cdna2", "rdna3", "rdna4"})
"""Generations that FlashAttention-2 was not written for."""

FUSED = frozenset({"compiled", "cosmos", "fastvideo", "lightx2v", "ltx", "sglang", "vllm-omni"})
"""Software that fuses or compiles the operations between the matrix products."""

ENGINES = frozenset({"fastvideo", "lightx2v", "sglang", "vllm-omni"})
"""Serving engines, which keep offloaded weights in pinned memory."""

EAGER = frozenset({"diffusers", "open-sora", "step-video", "wan", "xdit"})
"""Software that launches every operation separately; of other software it is unknown."""

_FUSED_SHARE: dict[KernelClass | None, float] = {
    "portable": 0.1,
    "native": 0.7,
    "low-bit": 0.7,
    None: 0.4,
}
"""Share of fused software by kernel among the sources of `plan/facts/latencies.csv`: 1 of 10 with a
portable kernel, 4 of 6 with a native one."""

PORTABLE_SHARE: dict[KernelClass | None, float] = {
    "portable": 1.0,
    "native": 0.0,
    "low-bit": 0.0,
    None: 0.5,
}
"""Share of portable kernels by class; an observation without a kernel counts as half of each."""

_BYTES = 2.0
_REFERENCE_W_PER_TFLOPS = 0.9
_REFERENCE_MATMUL = 0.8
_REFERENCE_BYTES_PER_S = 3.35e12  # of an H100, for which the decoder's rate is quoted
_PINNED_OVER_PAGEABLE = 3.0  # about 18 against 6 GB/s over PCIe 4.0; engines and streaming pin
_STEP = 1e-5

STRUCTURE: dict[str, tuple[float, float]] = {
    "linear": (0.6, 0.5),
    "attention": (0.8, 0.5),
    "portable_on_hopper": (-1.2, 0.5),
    "portable_on_cut_hopper": (-0.4, 0.4),
    "portable_on_blackwell": (-2.0, 0.5),
    "untuned": (-0.8, 0.4),
    "amd": (-0.5, 0.4),
    "low_bit": (0.5, 0.3),
    "head": (-0.3, 0.3),
    "power": (0.4, 0.4),
    "matmul": (0.5, 0.2),
    "log_passes": (math.log(60), 0.6),
    "fused": (0.5, 0.4),
    "log_decoder_flops_per_s": (math.log(25e12), 0.5),
    "log_fixed_s": (math.log(1.5), 0.7),
    "log_fixed_image_s": (math.log(0.15), 0.7),
    "log_launch_s": (math.log(4e-4), 0.7),
    "log_latency_s": (math.log(4e-4), 0.7),
    "log_sync": (math.log(0.05), 0.7),
    "log_link_share": (math.log(0.5), 0.7),
    "log_host_bytes_per_s": (math.log(6e9), 0.5),
    "streaming": (math.log(1.1), 0.1),
}
"""Coefficients shared by all stacks, with mean and standard deviation of their priors; docs/predict.md
has the reasons."""


@dataclass(frozen=True, slots=True)
class Case:
    """A generation on a stack, the input of the formula.

    Attributes:
        is_whole: Whether text encoder and decoder are included.
        group: Name of a group of observations that share an effect, while fitting.
        setup: Name of the observations that share an efficiency of several GPUs or of streaming.
        source: Name of who measured, while fitting.
    """

    workload: Workload
    stack: Stack
    is_whole: bool = True
    group: str | None = None
    setup: str | None = None
    source: str | None = None

    @property
    def source_effect(self) -> SourceEffect:
        """Kind of the effect of a source: images differ more between sources than video."""
        return "image_source" if self.workload.model.kind == "image" else "source"

    @property
    def parallel_effect(self) -> ParallelEffect:
        """Kind of the effect of several GPUs: with an image they mostly wait for each other."""
        return "image_parallel" if self.workload.model.kind == "image" else "parallel"


@dataclass(frozen=True, slots=True)
class Design:
    """Cases as columns of numbers; shape (m,) each.

    Attributes:
        columns: By name: FLOPs, bytes and seconds of one forward of the batch, flags as 0 or 1.
        effects: For each kind of effect the index of its coefficient for each case, -1 for none.
        names: Names of the coefficients, in the order of the vector `x`.
    """

    columns: Mapping[str, Array]
    effects: Mapping[str, npt.NDArray[np.int64]]
    names: tuple[str, ...]

    @classmethod
    def of(cls, cases: Sequence[Case], names: Sequence[str]) -> "Design":
        """Return the design of cases for a vector of coefficients by `names`."""
        rows = [_numbers(case) for case in cases]
        index_of = {name: index for index, name in enumerate(names)}
        effect_names = {
            "gpu": [f"gpu:{case.stack.gpu.fitted_as}" for case in cases],
            "software": [f"software:{case.stack.software}" for case in cases],
            "group": [f"group:{case.group}" for case in cases],
            "source": [f"{case.source_effect}:{case.source}" for case in cases],
            "parallel": [f"{case.parallel_effect}:{case.setup}" for case in cases],
            "streamed": [f"streamed:{case.setup}" for case in cases],
        }
        return cls(
            columns={key: np.array([row[key] for row in rows]) for key in rows[0]},
            effects={
                kind: np.array([index_of.get(name, -1) for name in effect_names[kind]])
                for kind in effect_names
            },
            names=tuple(names),
        )

    def gpu_slope(self, x: Array) -> float:
        """Return the derivative of the first case's log seconds by the effect of an unseen GPU."""
        shifted = self._seconds(x, offset=_STEP)
        return float((shifted[0] - self._seconds(x)[0]) / _STEP)

    def gain(self, x: Array, flag: str) -> float:
        """Return the logarithm of how much longer the first case takes without `is_fused` or `is_pinned`."""
        column = self.columns[flag]
        without, with_it = (
            replace(self, columns={**self.columns, flag: np.full_like(column, value)})
            for value in (0.0, 1.0)
        )
        return float(without._seconds(x)[0] - with_it._seconds(x)[0])

    def log_seconds(self, x: Array) -> Array:
        """Return the logarithm of the seconds of each case, shape (m,)."""
        return self._seconds(x) + self._effect(x, "group") + self._effect(x, "source")

    def _effect(self, x: Array, kind: str) -> Array:
        indices = self.effects[kind]
        return np.where(indices >= 0, x[indices], 0.0)

    def _seconds(self, x: Array, offset: float = 0.0) -> Array:
        c = self.columns
        k = dict(zip(self.names, x, strict=True))
        denoise = self._denoise_s(x, k, offset)
        host = np.exp(k["log_host_bytes_per_s"])
        reading = c["forwards"] * c["streamed_bytes"] / (_PINNED_OVER_PAGEABLE * host)
        rate = np.exp(k["log_decoder_flops_per_s"]) * np.sqrt(
            c["bandwidth"] / _REFERENCE_BYTES_PER_S
        )
        fixed = np.where(
            c["is_image"] > 0, np.exp(k["log_fixed_image_s"]), np.exp(k["log_fixed_s"])
        )
        loading = c["offloaded_bytes"] / (host * _PINNED_OVER_PAGEABLE ** c["is_pinned"])
        around = c["is_whole"] * (c["decoder"] / rate + fixed + loading)
        return np.asarray(np.log(np.hypot(denoise, reading) + around))

    def _denoise_s(self, x: Array, k: Mapping[str, float], offset: float) -> Array:
        c = self.columns
        forward = self._forward_s(x, k, offset) * np.exp(self._effect(x, "software"))
        together = forward / c["gpus"] * (1 + np.exp(k["log_sync"]) * np.log2(c["gpus"]))
        exchange = c["exchange"] / (c["link"] * np.exp(k["log_link_share"]))
        waiting = c["layers"] * np.exp(k["log_latency_s"]) * (c["gpus"] > 1)
        launching = c["layers"] * np.exp(k["log_launch_s"] - k["fused"] * c["is_fused"])
        steps = np.hypot(together + exchange + waiting, launching)
        parallel = self._effect(x, "parallel") * np.log2(c["gpus"])
        streamed = (k["streaming"] + self._effect(x, "streamed")) * c["is_streamed"]
        return np.asarray(c["forwards"] * steps * np.exp(parallel + streamed))

    def _forward_s(self, x: Array, k: Mapping[str, float], offset: float) -> Array:
        c = self.columns
        z = k["power"] * c["power"] + k["matmul"] * c["matmul"] + k["amd"] * c["is_amd"] + offset
        z = z + self._effect(x, "gpu")
        kernel = (
            k["portable_on_hopper"] * c["portable_on_hopper"]
            + k["portable_on_cut_hopper"] * c["portable_on_cut_hopper"]
            + k["portable_on_blackwell"] * c["portable_on_blackwell"]
            + k["untuned"] * c["untuned"]
            + k["head"] * c["head"]
        )
        linear = _logistic(k["linear"] + z)
        attention = _logistic(k["attention"] + kernel + z) * np.exp(k["low_bit"] * c["is_low_bit"])
        passes = np.exp(k["log_passes"] - k["fused"] * c["is_fused"])
        work = c["linear"] / linear + c["attention"] / attention
        return np.asarray(work / c["peak"] + passes * c["bytes"] / c["bandwidth"])


def gradient(x: Array, design: Design) -> tuple[Array, Array]:
    """Return the logarithms of seconds and their derivatives by every coefficient, (m,), (m, n)."""
    at = design.log_seconds(x)
    slopes = np.zeros((at.size, x.size))
    for i, name in enumerate(design.names):
        if ":" not in name:
            nudged = x.copy()
            nudged[i] += _STEP
            slopes[:, i] = (design.log_seconds(nudged) - at) / _STEP
    for indices in design.effects.values():
        rows = np.flatnonzero(indices >= 0)
        nudged = x.copy()
        nudged[np.unique(indices[rows])] += _STEP
        slopes[rows, indices[rows]] = ((design.log_seconds(nudged) - at) / _STEP)[rows]
    return at, slopes


def _logistic(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def _numbers(case: Case) -> dict[str, float]:
    """Return the inputs of the formula for one case; FLOPs and bytes are of one forward."""
    work, gpu = case.workload, case.stack.gpu
    model = work.model
    forward = forward_flops(model, work.size, work.num_frames)
    tokens = model.video_tokens(work.size, work.num_frames)
    activations = _BYTES * tokens * model.width * model.layers * work.num_images
    pixels = work.size.width * work.size.height * work.num_frames * work.num_images
    n = case.stack.num_gpus
    return {
        "linear": forward.linear * work.num_images,
        "attention": forward.attention * work.num_images,
        "bytes": activations,
        "exchange": activations * 4 * (n - 1) / n**2,  # queries, keys, values, output: Ulysses
        "decoder": model.decoder_mflop_per_pixel * 1e6 * pixels,
        "layers": float(model.layers),
        "forwards": float(work.num_forwards),
        "gpus": float(n),
        "is_whole": float(case.is_whole),
        "is_image": float(model.kind == "image"),
        "head": math.log2(128 / model.head_dim),
        "streamed_bytes": _BYTES * 1e9 * model.params_b * float(case.stack.offload == "steps"),
        "offloaded_bytes": model.weight_bytes * float(case.stack.offload == "once"),
        **gpu_inputs(gpu),
        **stack_inputs(case.stack),
    }


def gpu_inputs(gpu: Gpu) -> dict[str, float]:
    """Return the inputs of the formula that depend on the GPU alone."""
    measured = (gpu.best_measured_matmul_tflops or 0.0) / gpu.dense_tflops or _REFERENCE_MATMUL
    w_per_tflops = gpu.tdp_w / gpu.dense_tflops
    power = math.log(w_per_tflops / _REFERENCE_W_PER_TFLOPS)
    return {
        "peak": gpu.dense_tflops * 1e12,
        "bandwidth": gpu.bandwidth_gb_per_s * 1e9,
        "link": gpu.link_gb_per_s * 1e9,
        "power": min(max(power, -1.2), 1.2),
        "matmul": 2 * math.log(measured / _REFERENCE_MATMUL),
        "is_amd": float(gpu.vendor == "amd"),
        "untuned": float(gpu.generation in UNTUNED),
    }


def stack_inputs(stack: Stack) -> dict[str, float]:
    """Return the inputs of the formula that depend on kernel, software and offloading."""
    is_portable = PORTABLE_SHARE[stack.kernel]
    generation = stack.gpu.generation
    return {
        "portable_on_hopper": is_portable * (generation == "hopper"),
        "portable_on_cut_hopper": is_portable * (generation == "hopper-cut"),
        "portable_on_blackwell": is_portable * (generation == "blackwell"),
        "is_low_bit": float(stack.kernel == "low-bit"),
        "is_fused": fused_share(stack),
        "is_pinned": pinned_share(stack),
        "is_streamed": float(stack.offload == "steps"),
    }


def fused_share(stack: Stack) -> float:
    """Return the probability that a stack fuses or compiles."""
    if stack.software in FUSED:
        return 1.0
    if stack.software in EAGER:
        return 0.0
    return _FUSED_SHARE[stack.kernel]


def pinned_share(stack: Stack) -> float:
    """Return the probability that offloaded weights are in pinned memory."""
    if stack.software in ENGINES:
        return 1.0
    if stack.software in FUSED | EAGER:
        return 0.0
    return _FUSED_SHARE[stack.kernel]


def is_unknown_software(software: str | None) -> bool:
    """Return whether software is given that no published latency names."""
    return software is not None and software not in FUSED | EAGER
