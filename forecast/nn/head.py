"""Head: what every head is (a projection, a domain map and a loss), and what their losses share.

Shapes: features ``[B, K, D]``, raw parameters ``[B, K, H, P]``, targets and masks ``[B, K, H]``. Every step ahead is
projected from the state that has seen the newest observation (a direct multi-horizon head with a loss at every
step: the forking sequences of MQ-RNN, arXiv 1711.11053).
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """Base of all heads. ``quantiles`` names the levels ``forecast`` returns first, in rising order.

    ``chances`` names what it returns behind them: probabilities, ``("up",)`` for a head that tells the direction.
    ``located``: parameter 0 is the location, to which a linear skip may add. ``reads_now``: its loss compares targets
    with the last value at the origin.
    """

    quantiles: tuple[float, ...]
    chances: tuple[str, ...] = ()
    located = True
    reads_now = False

    def __init__(self, features: int, horizon: int, parameters: int) -> None:
        super().__init__()
        self.horizon, self.parameters_per_step = horizon, parameters
        self.linear = nn.Linear(features, horizon * parameters)

    @property
    def width(self) -> int:
        """Values ``forecast`` returns per step ahead."""
        return len(self.quantiles) + len(self.chances)

    def project(self, features: Tensor) -> Tensor:
        """``[B, K, D] -> [B, K, H, P]``"""
        params: Tensor = self.linear(features).unflatten(-1, (self.horizon, self.parameters_per_step))
        return params

    @abstractmethod
    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
        """Mean loss over targets where ``mask``; zero (with a gradient) if there are none.

        Args:
            now: ``[B, K, H]`` the last value in the units of ``y``, for heads that ask for it (``reads_now``).
        """

    @abstractmethod
    def forecast(self, params: Tensor) -> Tensor:
        """``[B, K, H, P] -> [B, K, H, width]``: a value per level in ``quantiles`` (the middle is the point), then
        the probabilities named in ``chances``."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``; what lies elsewhere cannot matter, not even NaN."""
    kept = torch.where(mask, values, values.new_zeros(()))
    return kept.sum() / mask.sum().clamp(min=1)


def kept(y: Tensor, mask: Tensor) -> Tensor:
    """Targets with zeros where they do not count, so that a NaN there spoils no gradient."""
    return torch.where(mask, y, y.new_zeros(()))
