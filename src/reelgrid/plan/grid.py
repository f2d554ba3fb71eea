"""A prediction as a function of two inputs in doubt, from a few predictions on a grid.

Not here: the prediction (`predict`).
"""

from dataclasses import dataclass

import numpy as np

from reelgrid.plan.quantity import Draws, Quantity

_NODES = np.array([0.0005, 0.02, 0.15, 0.5, 0.85, 0.98, 0.9995])


def nodes_of(quantity: Quantity) -> Draws:
    """Return the places at which to predict: one, or the ends and five between."""
    if quantity.is_exact:
        return np.array([quantity.likely])
    return np.unique(quantity.at(_NODES))


@dataclass(frozen=True, slots=True)
class Grid:
    """Minutes of video per GPU-hour over seconds of a clip and steps, between nodes in logarithms."""

    clip_s: Draws
    steps: Draws
    rates: Draws

    def at(self, clip_s: Draws, steps: Draws) -> Draws:
        """Return the rates of draws."""
        if self.rates.size == 1:
            return np.full(np.broadcast(clip_s, steps).shape, self.rates[0, 0])
        rows = [_interpolate(clip_s, self.clip_s, self.rates[:, j]) for j in range(len(self.steps))]
        if len(rows) == 1:
            return np.exp(rows[0])
        return np.exp(_between(np.log(steps), np.log(self.steps), np.stack(rows)))


def _interpolate(at: Draws, nodes: Draws, rates: Draws) -> Draws:
    return np.asarray(np.interp(np.log(at), np.log(nodes), np.log(rates)))


def _between(at: Draws, nodes: Draws, rows: Draws) -> Draws:
    """Return each draw's value between the rows of the nodes around it, the ends held."""
    right = np.clip(np.searchsorted(nodes, at), 1, len(nodes) - 1)
    share = np.clip((at - nodes[right - 1]) / (nodes[right] - nodes[right - 1]), 0, 1)
    each = np.arange(len(at))
    return np.asarray((1 - share) * rows[right - 1, each] + share * rows[right, each])
