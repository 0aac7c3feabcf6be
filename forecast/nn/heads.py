"""Point and quantile heads, and every head by its name (shapes: see :mod:`forecast.nn.head`)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from forecast.nn.classes import CategoricalHead
from forecast.nn.densities import GaussianHead, StudentHead
from forecast.nn.head import Head, masked_mean
from pipelines.errors import UsageError, did_you_mean


class _PointLoss(torch.autograd.Function):
    """Mean of an error over the targets where ``mask``; its gradient is computed beside it, in fewer passes.

    ``kind``: ``huber`` (quadratic up to one), ``mse`` or ``mae``. There is no second derivative.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, location: Tensor, y: Tensor, mask: Tensor, kind: str) -> Tensor:
        gap = location - y
        error = torch.where(mask, gap, gap.new_zeros(()))
        if kind == "mse":
            slope = 2 * error
            total = error.square_().sum()
        elif kind == "mae":
            slope = error.sign()
            total = error.abs_().sum()
        else:  # with the error cut off at one as slope, the loss is slope * (error - slope / 2)
            slope = error.clamp(-1.0, 1.0)
            total = error.sub_(slope, alpha=0.5).mul_(slope).sum()
        count = mask.sum().clamp(min=1)
        ctx.save_for_backward(slope, count)
        ctx.dtypes = location.dtype, y.dtype  # type: ignore[attr-defined]
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        slope, count = ctx.saved_tensors
        pull = slope * (grad / count)
        location, y = ctx.dtypes
        return pull.to(location), -pull.to(y) if ctx.needs_input_grad[1] else None, None, None


LOSSES = ("huber", "mse", "mae")


class PointHead(Head):
    """One number per step ahead, by ``huber``, ``mse`` or ``mae``."""

    quantiles = (0.5,)

    def __init__(self, features: int, horizon: int, loss: str = "huber", parameters: int = 1) -> None:
        super().__init__(features, horizon, parameters)
        if loss not in LOSSES:
            raise UsageError(
                f"loss {loss!r} is not one of {', '.join(LOSSES)}.{did_you_mean(loss, list(LOSSES))}",
                hint="Use --set model.loss=huber.",
            )
        self._kind = loss

    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
        error: Tensor = _PointLoss.apply(params[..., 0], y, mask, self._kind)  # type: ignore[no-untyped-call]
        return error

    def forecast(self, params: Tensor) -> Tensor:
        return params


class DirectionHead(PointHead):
    """The probability that a step ahead lies above the last value at the origin, and the location beside it.

    The label is the sign of the unscaled return: standardising, taking logarithms and dividing by the scale of the
    origin are increasing maps, so ``y > now`` holds in the head's units where it holds in natural ones. ``now`` is the
    last value, not the anchor. A return of zero is not up. Assumption, named: the loss is the log loss plus the loss
    of the location, unweighted; both are of the order of one.
    """

    chances = ("up",)
    reads_now = True

    def __init__(self, features: int, horizon: int, loss: str = "huber") -> None:
        super().__init__(features, horizon, loss, parameters=2)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
        if now is None:
            raise ValueError("the direction head compares with the last value: give now")
        location, logit = params.to(y.dtype).unbind(-1)
        said = F.binary_cross_entropy_with_logits(logit, (y > now).to(y.dtype), reduction="none")
        error: Tensor = _PointLoss.apply(location, y, mask, self._kind)  # type: ignore[no-untyped-call]
        return masked_mean(said, mask) + error

    def forecast(self, params: Tensor) -> Tensor:
        location, logit = params.unbind(-1)
        return torch.stack([location, torch.sigmoid(logit)], dim=-1)


class QuantileHead(Head):
    """Quantiles that cannot cross: the median, and sums of positive steps away from it.

    Loss: pinball (Koenker and Bassett 1978), mean over levels.
    """

    levels: Tensor

    def __init__(self, features: int, horizon: int, quantiles: tuple[float, ...]) -> None:
        super().__init__(features, horizon, len(quantiles))
        self.quantiles = quantiles
        self.middle = quantiles.index(0.5)
        self.register_buffer("levels", torch.tensor(quantiles, device="cpu"), persistent=False)

    def forecast(self, params: Tensor) -> Tensor:
        location, *raw = params.unbind(-1)
        steps = [F.softplus(part) for part in raw]
        rows = [location]
        for step in reversed(steps[: self.middle]):
            rows.insert(0, rows[0] - step)
        for step in steps[self.middle :]:
            rows.append(rows[-1] + step)
        return torch.stack(rows, dim=-1)

    def loss(self, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
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


HEADS: dict[str, Callable[..., Head]] = {
    "point": PointHead,
    "quantile": QuantileHead,
    "gaussian": GaussianHead,
    "student-t": StudentHead,
    "direction": DirectionHead,
    "categorical": CategoricalHead,
}
"""Name to class; each takes ``features, horizon`` and the options it names."""


def build_head(kind: str, features: int, horizon: int, **options: Any) -> Head:
    """The head called ``kind``; of ``options`` (``loss``, ``quantiles``, ``classes``) it takes what it names.

    Raises:
        UsageError: there is no such head.
    """
    if kind not in HEADS:
        raise UsageError(
            f"head {kind!r} is not one of {', '.join(HEADS)}.{did_you_mean(kind, list(HEADS))}",
            hint="Use --set model.head=quantile.",
        )
    own = inspect.signature(HEADS[kind]).parameters
    return HEADS[kind](features, horizon, **{name: value for name, value in options.items() if name in own})
