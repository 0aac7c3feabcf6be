"""Heads that state a density of the residual, Gaussian or Student-t, and learn by its negative log likelihood.

Domain maps: location as it is, scale ``softplus + FLOOR`` (in training units of the residual: a thousandth of what
is usual, so that a series that stands still cannot make the likelihood infinite), degrees of freedom between 2 and
``MOST``. Source: DeepAR (arXiv 1704.04110); densities as in :mod:`torch.distributions`, which the tests compare with.
"""

from __future__ import annotations

import math

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
        levels = torch.special.ndtri(torch.tensor(quantiles, dtype=torch.float64, device="cpu"))
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
    """Location, scale and degrees of freedom above 2 (so that there is a variance), one of each per step ahead.

    Quantiles of Student's t have no closed form; as functions of one over the degrees of freedom they are smooth, so
    they are read from Chebyshev polynomials through scipy's values: a twentieth of the time, to float32's precision.
    """

    terms: Tensor  # [TERMS, Q below the middle]

    def __init__(self, features: int, horizon: int, quantiles: tuple[float, ...]) -> None:
        super().__init__(features, horizon, 3)
        self.quantiles = quantiles
        terms = [quantile_terms(q) for q in quantiles if q < 0.5]
        table = torch.tensor(np.array(terms).reshape(-1, TERMS).T, dtype=torch.float32, device="cpu")
        self.register_buffer("terms", table, persistent=False)

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
        location, scale, df = self.domain(params)
        middle = location[..., None]
        below = scale[..., None] * self.standard(df)  # mirrored: a Student-t is even
        return torch.cat([middle + below, middle, middle - below.flip(-1)], -1)

    def standard(self, df: Tensor) -> Tensor:
        """``[...] -> [..., Q]`` quantiles below the middle of Student's t with ``df`` degrees of freedom."""
        x = (1 / df - _LOW) * (2 / (0.5 - _LOW)) - 1
        first, *others = self.terms.to(x).view(*self.terms.shape, *[1] * x.dim())  # levels outermost: along memory
        later = last = x.new_zeros(len(first), *x.shape)
        twice = 2 * x
        for term in reversed(others):  # Clenshaw's recurrence
            later, last = torch.addcmul(term - last, twice, later), later
        return torch.addcmul(first - last, x, later).movedim(0, -1)


_LOW = 1 / MOST
TERMS = 16


def quantile_terms(q: float) -> NDArray[np.float64]:
    """``[TERMS]`` Chebyshev coefficients of Student's quantile ``q`` by ``1 / df`` between ``1 / MOST`` and a half."""
    from scipy.special import stdtrit

    series = np.polynomial.Chebyshev.interpolate(lambda u: stdtrit(1 / u, q), TERMS - 1, domain=[_LOW, 0.5])
    return np.asarray(series.coef, np.float64)
