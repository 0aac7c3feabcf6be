"""The fast paths of heads and skip give what the plain formulas give, gradients included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from forecast.nn import network
from forecast.nn.head import masked_mean
from forecast.nn.heads import PointHead, QuantileHead
from forecast.nn.network import LinearSkip

SHAPES = [
    (5, 7, 3, (0.05, 0.25, 0.5, 0.75, 0.95)),
    (2, 1, 4, (0.5, 0.9)),
    (2, 4, 1, (0.1, 0.5)),
    (3, 2, 2, (0.5,)),
]


def plain_quantiles(params: Tensor, middle: int) -> Tensor:
    location, steps = params[..., :1], F.softplus(params[..., 1:])
    below = -steps[..., :middle].flip(-1).cumsum(-1).flip(-1)
    return torch.cat([location + below, location, location + steps[..., middle:].cumsum(-1)], dim=-1)


@pytest.mark.parametrize(("lanes", "steps", "horizon", "quantiles"), SHAPES)
def test_quantile_loss_and_gradients_equal_the_plain_formula(
    lanes: int, steps: int, horizon: int, quantiles: tuple[float, ...]
) -> None:
    generator = torch.Generator().manual_seed(1)
    head = QuantileHead(4, horizon, quantiles)
    params = 3 * torch.randn(lanes, steps, horizon, len(quantiles), generator=generator)
    params.requires_grad_()
    y = torch.randn(lanes, steps, horizon, generator=generator).requires_grad_()
    mask = torch.rand(lanes, steps, horizon, generator=generator) > 0.3
    error = y[..., None] - plain_quantiles(params, head.middle)
    levels = torch.tensor(quantiles)
    plain = masked_mean(torch.maximum(levels * error, (levels - 1) * error).mean(-1), mask)
    expected = torch.autograd.grad(3 * plain, (params, y))
    fast = head.loss(params, y, mask)
    got = torch.autograd.grad(3 * fast, (params, y))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(head.forecast(params), plain_quantiles(params, head.middle))


def test_targets_that_are_masked_cannot_reach_the_quantile_loss() -> None:
    head = QuantileHead(4, 3, (0.1, 0.5, 0.9))
    params = torch.randn(2, 5, 3, 3, requires_grad=True)
    y, mask = torch.randn(2, 5, 3), torch.ones(2, 5, 3, dtype=torch.bool)
    mask[0, :2] = False
    clean = head.loss(params, y, mask)
    y[0, :2] = float("nan")
    dirty = head.loss(params, y, mask)
    assert clean.item() == dirty.item()
    dirty.backward()
    assert params.grad is not None
    assert (params.grad[0, :2] == 0).all()
    assert params.grad[1].abs().min() > 0
    nothing = head.loss(params, y, torch.zeros_like(mask))
    assert nothing.item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("loss", ["huber", "mse", "mae"])
def test_point_loss_and_gradients_equal_the_plain_formula(loss: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    params = (3 * torch.randn(4, 6, 5, 1, generator=generator)).to(dtype).requires_grad_()
    y = torch.randn(4, 6, 5, generator=generator).requires_grad_()
    mask = torch.rand(4, 6, 5, generator=generator) > 0.3
    formula = {"huber": F.smooth_l1_loss, "mse": F.mse_loss, "mae": F.l1_loss}[loss]
    plain = masked_mean(formula(params[..., 0].float(), y, reduction="none"), mask)
    expected = torch.autograd.grad(3 * plain, (params, y))
    fast = PointHead(4, 5, loss).loss(params, y, mask)
    got = torch.autograd.grad(3 * fast, (params, y))
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("steps", [1, 5, 8, 16, 21])
def test_sliding_skip_equals_the_one_over_windows(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    size, horizon, lanes = 19, 6, 3
    level = 20 + torch.randn(lanes, size - 1 + steps, generator=generator).cumsum(1)
    anchor = level[:, size - 1 :].clone()
    scale = torch.rand(lanes, steps, generator=generator) + 0.5
    skip = LinearSkip(size, horizon)
    with torch.no_grad():
        skip.weight.normal_(generator=generator)
        skip.bias.normal_(generator=generator)
    pull = torch.randn(lanes, steps, horizon, generator=generator)
    results = []
    for many in (1 << 40, 0):
        monkeypatch.setattr(network, "_MANY", many)
        assert skip._worth_sliding(level) == (many == 0)
        out = skip(level, anchor, scale)
        results.append((out, *torch.autograd.grad((out * pull).sum(), tuple(skip.parameters()))))
    for fast, plain in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-5 * float(plain.detach().abs().max()))


def test_skip_keeps_a_gradient_to_its_values_where_one_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_MANY", 0)
    skip = LinearSkip(4, 2)
    with torch.no_grad():
        skip.weight.fill_(1.0)
    level = torch.randn(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(skip(level, torch.zeros(1, 1), torch.ones(1, 1)).sum(), level)
    assert (gradient == 2.0).all()
