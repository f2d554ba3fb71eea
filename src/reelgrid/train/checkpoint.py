"""Checkpoints of a training run: weights, optimisers and time budget in one file."""

from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError  # only its name: weights_only is on

import torch
from torch import nn

from reelgrid.errors import ModelError


def write_checkpoint(
    path: Path,
    model: nn.Module,
    optimisers: Sequence[torch.optim.Optimizer],
    step: int,
    spent_s: float,
    **more: object,
) -> None:
    """Write a checkpoint atomically; `more` is stored with it."""
    state = {
        "weights": model.state_dict(),
        "optimisers": [optimiser.state_dict() for optimiser in optimisers],
        "step": step,
        "spent_s": spent_s,
        **more,
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def read_checkpoint(
    path: Path, model: nn.Module, optimisers: Sequence[torch.optim.Optimizer]
) -> tuple[int, float]:
    """Restore weights and optimisers of a run from its checkpoint.

    Returns:
        Number of steps and seconds spent.

    Raises:
        ModelError: The file is damaged or belongs to another model.
    """
    try:
        state = torch.load(path, weights_only=True)
        model.load_state_dict(state["weights"])
        for optimiser, saved in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    except (RuntimeError, KeyError, ValueError, EOFError, OSError, UnpicklingError) as error:
        reason = str(error).splitlines()[0][:160]
        raise ModelError(f"{path} is not a checkpoint of this training run: {reason}") from None
    return int(state["step"]), float(state["spent_s"])
