"""What a model says at its origins: points, central intervals and chances, in natural units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Forecasts:
    """Forecasts at ``M`` origins, natural units, float64.

    ``point [M, H]``; ``bounds {level: (lo [M, H], hi [M, H])}``; ``rows [M]`` positions of the origins in the
    panel's frame; ``up [M, H]`` the probability of a value above the last one at the origin, from models that tell.
    """

    rows: Index
    point: Array
    bounds: dict[int, tuple[Array, Array]]
    up: Array | None = None

    def columns(self, name: str) -> dict[str, Array]:
        """The columns of a result frame for a model called ``name``, ``[M, H]`` each."""
        out = {name: self.point}
        for level, (low, high) in self.bounds.items():
            out[f"{name}-lo-{level}"], out[f"{name}-hi-{level}"] = low, high
        return out if self.up is None else {**out, f"{name}-up": self.up}


def central(values: Array, quantiles: list[float], level: int) -> tuple[Array, Array]:
    """Bounds ``[M, H]`` of the central interval ``level`` among the head's quantiles; the point where it has none."""
    tail = (1 - level / 100) / 2
    found = [i for i, q in enumerate(quantiles) if abs(q - tail) < 1e-6]
    if not found:
        middle = quantiles.index(0.5)
        return values[..., middle], values[..., middle]
    return values[..., found[0]], values[..., len(quantiles) - 1 - found[0]]
