"""What is known of software by its name: whether it fuses, and whether it pins memory.

Not here: by how much that helps (`calibration_formula`).
"""

from reelgrid.plan.latencies import KernelClass, Stack

FUSED = frozenset({"compiled", "cosmos", "fastvideo", "lightx2v", "ltx", "sglang", "vllm-omni"})
"""Software that fuses or compiles what stands between the matrix products."""

ENGINES = frozenset({"fastvideo", "lightx2v", "sglang", "vllm-omni"})
"""Serving engines: they keep the weights that take turns in pinned memory."""

EAGER = frozenset({"diffusers", "open-sora", "step-video", "wan", "xdit"})
"""Software that launches every operation by itself; of any other it is not known."""

_FUSED_SHARE: dict[KernelClass | None, float] = {
    "portable": 0.1,
    "native": 0.7,
    "low-bit": 0.7,
    None: 0.4,
}
"""How often a kernel came with fused software, of the sources of `plan/facts/latencies.csv`: 1 of 10
with a portable one, 4 of 6 with a native one."""

PORTABLE_SHARE: dict[KernelClass | None, float] = {
    "portable": 1.0,
    "native": 0.0,
    "low-bit": 0.0,
    None: 0.5,
}
"""What an observation whose kernel is not known counts as, while fitting."""


def fused_share(stack: Stack) -> float:
    """Return how likely it is that a stack fuses or compiles, by what is known of it."""
    if stack.software in FUSED:
        return 1.0
    if stack.software in EAGER:
        return 0.0
    return _FUSED_SHARE[stack.kernel]


def pinned_share(stack: Stack) -> float:
    """Return how likely it is that what takes turns is fetched from pinned memory."""
    if stack.software in ENGINES:
        return 1.0
    if stack.software in FUSED | EAGER:
        return 0.0
    return _FUSED_SHARE[stack.kernel]


def is_unheard_of(software: str | None) -> bool:
    """Return whether software was named of which nothing is known."""
    return software is not None and software not in FUSED | EAGER
