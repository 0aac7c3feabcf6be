"""Heads: a head is a projection, a domain map and a loss, all steps ahead at once.

Shapes: features ``[B, K, D]``, raw parameters ``[B, K, H, P]``, targets and masks ``[B, K, H]``. Parameter 0
is the location, to which a linear skip may add. Every step ahead is projected from the state that has seen
the newest observation (a direct multi-horizon head with a loss at every step: the forking sequences of
MQ-RNN, arXiv 1711.11053).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipelines.errors import UsageError, did_you_mean


class Head(nn.Module):
    """Base of all heads. ``quantiles`` names the levels ``forecast`` returns, in rising order."""

    quantiles: tuple[float, ...]

    def __init__(self, features: int, horizon: int, parameters: int) -> None:
        super().__init__()
        self.horizon, self.parameters_per_step = horizon, parameters
        self.linear = nn.Linear(features, horizon * parameters)

    def project(self, features: Tensor) -> Tensor:
        """``[B, K, D] -> [B, K, H, P]``"""
        params: Tensor = self.linear(features).unflatten(-1, (self.horizon, self.parameters_per_step))
        return params

    @abstractmethod
    def loss(self, params: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Mean loss over targets where ``mask``; zero (with a gradient) if there are none."""

    @abstractmethod
    def forecast(self, params: Tensor) -> Tensor:
        """``[B, K, H, P] -> [B, K, H, Q]``, one value per level in ``quantiles``; the middle is the point."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` where ``mask``; what lies elsewhere cannot matter, not even NaN."""
    kept = torch.where(mask, values, values.new_zeros(()))
    return kept.sum() / mask.sum().clamp(min=1)


class PointHead(Head):
    """One number per step ahead, by ``huber``, ``mse`` or ``mae``."""

    quantiles = (0.5,)

    def __init__(self, features: int, horizon: int, loss: str = "huber") -> None:
        super().__init__(features, horizon, 1)
        errors = {"huber": F.smooth_l1_loss, "mse": F.mse_loss, "mae": F.l1_loss}
        if loss not in errors:
            raise UsageError(
                f"loss {loss!r} is not one of {', '.join(errors)}.{did_you_mean(loss, list(errors))}",
                hint="Use --set model.loss=huber.",
            )
        self._error = errors[loss]

    def loss(self, params: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(self._error(params[..., 0], y, reduction="none"), mask)

    def forecast(self, params: Tensor) -> Tensor:
        return params


class QuantileHead(Head):
    """Quantiles that cannot cross: the median, and sums of positive steps away from it.

    Loss: pinball (Koenker and Bassett 1978), mean over levels.
    """

    levels: Tensor

    def __init__(self, features: int, horizon: int, quantiles: tuple[float, ...]) -> None:
        super().__init__(features, horizon, len(quantiles))
        self.quantiles = quantiles
        self.middle = quantiles.index(0.5)
        self.register_buffer("levels", torch.tensor(quantiles), persistent=False)

    def forecast(self, params: Tensor) -> Tensor:
        location, steps = params[..., :1], F.softplus(params[..., 1:])
        below = -steps[..., : self.middle].flip(-1).cumsum(-1).flip(-1)
        above = steps[..., self.middle :].cumsum(-1)
        return torch.cat([location + below, location, location + above], dim=-1)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        error = y[..., None] - self.forecast(params)
        # max(q e, (q - 1) e) = (q - 1/2) e + |e| / 2, which needs fewer passes over memory
        pinball = (error * (self.levels - 0.5) + error.abs() * 0.5).mean(-1)
        return masked_mean(pinball, mask)


def build_head(kind: str, features: int, horizon: int, **options: Any) -> Head:
    """The head called ``kind``: ``point`` (option ``loss``) or ``quantile`` (option ``quantiles``)."""
    if kind == "point":
        return PointHead(features, horizon, options.get("loss", "huber"))
    if kind == "quantile":
        return QuantileHead(features, horizon, options["quantiles"])
    raise UsageError(
        f"head {kind!r} is not one of point, quantile.{did_you_mean(kind, ['point', 'quantile'])}",
        hint="Use --set model.head=quantile.",
    )
