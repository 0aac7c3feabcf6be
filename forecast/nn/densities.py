"""Heads that state a density of the residual, Gaussian or Student-t, and learn by its negative log likelihood.

Domain maps: location as it is, scale ``softplus + FLOOR`` (in training units of the residual: a thousandth of what
is usual, so that a series that stands still cannot make the likelihood infinite), degrees of freedom between 2 and
``MOST``. Source: DeepAR (arXiv 1704.04110); densities as in :mod:`torch.distributions`, which the tests compare with.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from forecast.nn.head import Head, kept, masked_mean

FLOOR = 1e-3
MOST = 200.0
"""Degrees of freedom at most: beyond it a Student-t cannot be told from a Gaussian, nor float32 tell its normaliser."""
START = 6.0
"""Degrees of freedom training begins from, about."""
_SHIFT = math.log(math.expm1(START - 2))


class GaussianHead(Head):
    """Location and scale; quantiles by the inverse of the normal distribution function."""

    normal: Tensor  # [Q] standard normal quantiles

    def __init__(self, features: int, horizon: int, quantiles: tuple[float, ...]) -> None:
        super().__init__(features, horizon, 2)
        self.quantiles = quantiles
        levels = torch.special.ndtri(torch.tensor(quantiles, dtype=torch.float64))
        self.register_buffer("normal", levels.to(torch.float32), persistent=False)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
        location, raw = params.to(y.dtype).unbind(-1)
        scale = F.softplus(raw) + FLOOR
        error = (kept(y, mask) - location) / scale
        return masked_mean(0.5 * error.square() + scale.log() + 0.5 * math.log(2 * math.pi), mask)

    def forecast(self, params: Tensor) -> Tensor:
        location, raw = params.unbind(-1)
        return location[..., None] + (F.softplus(raw) + FLOOR)[..., None] * self.normal


class StudentHead(Head):
    """Location, scale and degrees of freedom above 2 (so that there is a variance), one of each per step ahead."""

    def __init__(self, features: int, horizon: int, quantiles: tuple[float, ...]) -> None:
        super().__init__(features, horizon, 3)
        self.quantiles = quantiles

    @staticmethod
    def domain(params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``[..., 3] -> (location, scale, degrees of freedom)``, ``[...]`` each."""
        location, raw, heavy = params.unbind(-1)
        return location, F.softplus(raw) + FLOOR, 2 + F.softplus(heavy + _SHIFT).clamp(max=MOST - 2)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
        location, scale, df = self.domain(params.to(y.dtype))
        error = (kept(y, mask) - location) / scale
        half = 0.5 * (df + 1)
        constant = torch.lgamma(0.5 * df) - torch.lgamma(half) + 0.5 * torch.log(math.pi * df) + scale.log()
        return masked_mean(constant + half * torch.log1p(error.square() / df), mask)

    def forecast(self, params: Tensor) -> Tensor:
        """Quantiles by scipy's inverse of the distribution function, on the CPU; mirrored, so that they are even."""
        location, scale, df = self.domain(params)
        lower = np.array([q for q in self.quantiles if q < 0.5])
        below = torch.from_numpy(t_quantile(df.detach().cpu().numpy()[..., None], lower)).to(params)
        middle = location[..., None]
        return torch.cat([middle + scale[..., None] * below, middle, middle - scale[..., None] * below.flip(-1)], -1)


def t_quantile(df: NDArray[Any], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of Student's t with ``df`` degrees of freedom (broadcast), float64."""
    from scipy.special import stdtrit

    found: NDArray[np.float64] = stdtrit(df.astype(np.float64), q)
    return found
