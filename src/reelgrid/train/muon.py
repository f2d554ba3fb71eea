"""Muon optimiser (Jordan et al. 2024, kellerjordan.github.io/posts/muon) with convolutions.

`torch.optim.Muon` takes matrices only; this one also flattens convolution kernels. `optimisers`
gives vectors and embeddings to AdamW.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum with orthogonalised updates and one learning rate scale for all weights."""

    def __init__(self, weights: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # closures are not used
        """Update the weights from their gradients."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                moment = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                moment.lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(moment, group["momentum"]).flatten(1)
                rows, columns = ahead.shape
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                weight.add_(orthogonal(ahead).view_as(weight), alpha=-scale)


def orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest orthogonal matrix: five Newton-Schulz steps, singular values 0.7 to 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16()
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if is_tall else x).to(matrix.dtype)


def optimisers(
    model: nn.Module, *, muon_lr: float, adam_lr: float, plain: tuple[str, ...] = ()
) -> list[torch.optim.Optimizer]:
    """Return the optimisers of a model: Muon for matrices and kernels, AdamW for all other weights.

    Args:
        model: The model.
        muon_lr: Learning rate of Muon, before scaling by shape.
        adam_lr: Learning rate of AdamW.
        plain: Parts of names of matrices that AdamW trains (embeddings, tables).
    """
    matrices, others = [], []
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            continue
        is_matrix = weight.ndim >= 2 and min(weight.shape[0], weight[0].numel()) > 1
        if is_matrix and not any(part in name for part in plain):
            matrices.append(weight)
        else:
            others.append(weight)
    return [
        Muon(matrices, lr=muon_lr),
        torch.optim.AdamW(others, lr=adam_lr, betas=(0.9, 0.97), weight_decay=0.0),
    ]
