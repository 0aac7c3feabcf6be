"""Classes: a softmax over ranges of the residual (the series made discrete), its loss, and draws with a temperature.

Class edges are quantiles of the training residuals, one set per step ahead, so that every class is about as frequent;
the outermost edges are the smallest and the largest training residual, named here because nothing beyond them can be
forecast. A value that many residuals share gets a class of its own without width. The same loss and the same draws
serve text (:mod:`forecast.generate`): a class is then a character. Source: WaveNet (arXiv 1609.03499, section 2.2);
temperature: Graves 2013 (arXiv 1308.0850).
"""

from __future__ import annotations

from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor

from forecast.nn.head import Head, kept, masked_mean
from pipelines.errors import UsageError


class CategoricalHead(Head):
    """``classes`` logits per step ahead; quantiles by interpolating the distribution function inside a class."""

    located = False  # no parameter is a value, so a linear skip has nothing to add to
    edges: Tensor  # [H, classes + 1], ascending
    levels: Tensor

    def __init__(self, features: int, horizon: int, quantiles: tuple[float, ...], classes: int = 40) -> None:
        super().__init__(features, horizon, classes)
        self.quantiles = quantiles
        self.register_buffer("levels", torch.tensor(quantiles, device="cpu"), persistent=False)
        self.register_buffer("edges", torch.linspace(-3, 3, classes + 1).repeat(horizon, 1))

    @torch.no_grad()
    def see(self, residuals: Tensor) -> None:
        """Set the edges from training ``residuals [N, H]``, NaN where there is none; a step without any keeps its."""
        shares = torch.linspace(0, 1, self.parameters_per_step + 1, dtype=torch.float64)
        for edges, column in zip(self.edges, residuals.to(torch.float64).unbind(-1), strict=True):
            known = column[~column.isnan()].sort().values
            if len(known):
                at = shares * (len(known) - 1)  # torch.quantile is limited to 16 million values
                low, high = known[at.floor().long()], known[at.ceil().long()]
                edges.copy_(torch.lerp(low, high, at - at.floor()))

    def labels(self, y: Tensor) -> Tensor:
        """``[..., H] -> [..., H]`` the class of every value; beyond the outermost edges the outermost class."""
        inner = self.edges[:, 1:-1].contiguous()
        columns = y.detach().movedim(-1, 0).reshape(self.horizon, -1).to(inner.dtype).contiguous()
        below, above = (torch.searchsorted(inner, columns, right=right) for right in (False, True))
        # in the middle of the edges it equals: a value that is two edges at once has the class between them
        return ((below + above) // 2).view(self.horizon, *y.shape[:-1]).movedim(0, -1)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
        logits = params.to(self.edges.dtype).flatten(0, -2)
        each = F.cross_entropy(logits, self.labels(kept(y, mask)).reshape(-1), reduction="none")
        return masked_mean(each.view(mask.shape), mask)

    def forecast(self, params: Tensor) -> Tensor:
        chance = torch.softmax(params, dim=-1)
        until = chance.cumsum(-1)
        until = until / until[..., -1:]
        levels = self.levels.to(until).expand(*until.shape[:-1], -1).contiguous()
        at = torch.searchsorted(until.contiguous(), levels).clamp(max=until.shape[-1] - 1)
        inside = chance.gather(-1, at).clamp(min=torch.finfo(chance.dtype).tiny)
        share = ((levels - until.gather(-1, at)) / inside + 1).clamp(0, 1)
        return self._between(at, share)

    def sample(self, params: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """``[..., H, P] -> [..., H]`` one residual each: a class drawn at ``temperature``, then a place inside it."""
        at = draw(params, temperature, generator)[..., None]
        share = torch.rand(at.shape, generator=generator, dtype=params.dtype, device=params.device)
        return self._between(at, share)[..., 0]

    def _between(self, at: Tensor, share: Tensor) -> Tensor:
        """The value ``share`` of the way through the classes ``at [..., H, Q]``."""
        edges = self.edges.to(share).expand(*at.shape[:-1], -1)
        low, high = edges.gather(-1, at), edges.gather(-1, at + 1)
        return torch.lerp(low, high, share)


def draw(logits: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
    """``[..., P] -> [...]`` classes drawn from ``softmax(logits / temperature)``.

    A temperature of 1 draws what was learned; towards 0 the likeliest class wins, above 1 all become alike.

    Raises:
        UsageError: the temperature is not above zero.
    """
    check_temperature(temperature)
    scaled = logits.double()
    scaled = (scaled - scaled.amax(-1, keepdim=True)) / temperature
    chance = torch.softmax(scaled, dim=-1).reshape(-1, logits.shape[-1])
    return torch.multinomial(chance, 1, generator=generator).view(logits.shape[:-1])


def check_temperature(temperature: float) -> None:
    """Raises: UsageError: the temperature is not above zero."""
    if not isinstance(temperature, Real) or not 0 < temperature < float("inf"):
        raise UsageError(
            f"the temperature is {temperature!r}, it must be above 0 and finite.",
            hint="0.01 is as good as the likeliest class, 1 draws what was learned.",
        )
