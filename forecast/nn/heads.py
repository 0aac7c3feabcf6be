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
from torch.autograd.function import FunctionCtx, once_differentiable

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


def _kept(y: Tensor, mask: Tensor) -> Tensor:
    """Targets with zeros where they do not count, so that a NaN there spoils no gradient."""
    return torch.where(mask, y, y.new_zeros(()))


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
        return masked_mean(self._error(params[..., 0], _kept(y, mask), reduction="none"), mask)

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
        location, *raw = params.unbind(-1)
        steps = [F.softplus(part) for part in raw]
        rows = [location]
        for step in reversed(steps[: self.middle]):
            rows.insert(0, rows[0] - step)
        for step in steps[self.middle :]:
            rows.append(rows[-1] + step)
        return torch.stack(rows, dim=-1)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        loss: Tensor = _Pinball.apply(params, y, mask, self.levels, self.middle)  # type: ignore[no-untyped-call]
        return loss


class _Pinball(torch.autograd.Function):
    """Mean pinball loss of :class:`QuantileHead` and its gradient, both in one pass over memory.

    One row per level, so that everything runs along memory: with the levels innermost, as the parameters lie,
    the same arithmetic takes six times as long. A step widens every level on its side from itself outwards, so its
    gradient is the sum of theirs. There is no second derivative.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, params: Tensor, y: Tensor, mask: Tensor, levels: Tensor, middle: int) -> Tensor:
        count = params.shape[-1]
        flat = torch.empty(count, y.numel(), dtype=torch.promote_types(params.dtype, y.dtype), device=params.device)
        for row, part in zip(flat, params.unbind(-1), strict=True):
            row.view(y.shape).copy_(part)
        allowed = mask.reshape(-1)
        kept = allowed.to(flat.dtype)
        error = torch.where(allowed, y.reshape(-1), y.new_zeros(())) - flat[0]
        raw = flat[1:]
        slope = torch.sigmoid(raw)  # of softplus, which is max(x, 0) - log(sigmoid(|x|))
        steps = torch.maximum(slope, 1 - slope).log_().neg_().add_(raw.clamp(min=0))
        errors = torch.empty_like(flat)
        errors[middle] = error
        for i in range(middle - 1, -1, -1):
            torch.add(errors[i + 1], steps[i], out=errors[i])
        for i in range(middle + 1, count):
            torch.sub(errors[i - 1], steps[i - 1], out=errors[i])
        errors.mul_(kept)
        tilt = levels.to(flat.dtype) - 0.5  # max(q e, (q - 1) e) = (q - 1/2) e + |e| / 2
        share = 1 / (kept.sum().clamp(min=1) * count)
        loss = (errors.sum(1) @ tilt + 0.5 * errors.abs().sum()) * share
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            pull = errors.sign_().mul_(0.5).add_(tilt[:, None]).mul_(kept).mul_(share)  # d loss / d error
            out = torch.empty_like(params)
            parts = out.unbind(-1)
            up = pull.sum(0).view(y.shape)
            parts[0].copy_(up.neg())
            below = above = torch.zeros_like(kept)
            for i in range(middle):
                below = below + pull[i]
                parts[i + 1].copy_(torch.mul(below, slope[i]).view(y.shape))
            for i in range(count - 1, middle, -1):
                above = above - pull[i]
                parts[i].copy_(torch.mul(above, slope[i - 1]).view(y.shape))
            ctx.save_for_backward(out, up)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        params, y = ctx.saved_tensors
        return params * grad, y * grad if ctx.needs_input_grad[1] else None, None, None, None


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
