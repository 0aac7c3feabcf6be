"""Gradients while a net learns: a probe behind every backward pass, before anything is clipped.

``fit(..., probe=Probe())`` calls it; a fit without one pays a comparison with ``None`` per update. Norms stay
tensors until they are asked for, so the probe never waits for the device.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from forecast.sections import TrainConfig

Array = NDArray[np.float64]
MOST_POINTS = 200  # of a curve that is written out


@dataclass(frozen=True)
class Training:
    """Gradients of ``U`` updates, before clipping.

    Args:
        norm: ``[U]`` over all weights.
        layers: ``{"layer 1": [U], ..., "head": [U]}``.
        clip, clip_value: the limits; 0 for none.
        clipped: share of the updates in which a limit acted; ``None`` where there is none.
    """

    norm: Array
    layers: dict[str, Array]
    clip: float
    clip_value: float
    clipped: float | None

    def curve(self, values: Array, points: int = MOST_POINTS) -> tuple[Array, Array]:
        """``(update, median norm)`` over at most ``points`` stretches of updates."""
        parts = np.array_split(np.arange(len(values)), min(points, len(values)))
        return np.array([part.mean() + 1 for part in parts]), np.array([np.median(values[part]) for part in parts])

    def to_json(self) -> dict[str, Any]:
        at, norm = self.curve(self.norm)
        return {
            "updates": len(self.norm), "clip": self.clip, "clip_value": self.clip_value, "clipped": self.clipped,
            "median": float(np.median(self.norm)), "largest": float(np.max(self.norm)), "update": at.tolist(),
            "norm": norm.tolist(),
            "layers": {
                name: {"median": float(np.median(values)), "norm": self.curve(values)[1].tolist()}
                for name, values in self.layers.items()
            },
        }  # fmt: skip


class Probe:
    """Remembers the norm of every weight's gradient at every update."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._norms: list[Tensor] = []
        self._largest: list[Tensor] = []

    def __call__(self, network: nn.Module) -> None:
        if not self._names:
            self._names = [name for name, _ in network.named_parameters()]
        weights = list(network.parameters())
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
        self._norms.append(torch.stack(torch._foreach_norm(gradients)))
        self._largest.append(torch.stack(torch._foreach_norm(gradients, float("inf"))).max())

    def training(self, config: TrainConfig) -> Training | None:
        """What was seen, with the limits of ``config``; ``None`` before the first update."""
        if not self._norms:
            return None
        squares = torch.stack(self._norms).double().square().cpu().numpy()
        total = np.sqrt(squares.sum(axis=1))
        groups: dict[str, list[int]] = {}
        for i, name in enumerate(self._names):
            groups.setdefault(part_of(name), []).append(i)
        layers = {name: np.sqrt(squares[:, columns].sum(axis=1)) for name, columns in groups.items()}
        acted = np.zeros(len(total), np.bool_)
        if config.clip_value:
            acted |= torch.stack(self._largest).cpu().numpy() > config.clip_value
        if config.clip:  # the norm that is left once single weights are cut lies below the one seen here
            acted |= total > config.clip
        clipped = float(acted.mean()) if config.clip or config.clip_value else None
        return Training(total, layers, config.clip, config.clip_value, clipped)


def part_of(name: str) -> str:
    """Which part of the net a weight belongs to: a layer of the core, the head, the skip, ..."""
    part, _, rest = name.partition(".")
    layer = re.search(r"_l(\d+)(?:_reverse)?$", rest)
    return f"layer {int(layer[1]) + 1}" if part == "core" and layer else part
