"""Cores on windows: their values by the plain definition, and every value of the window reaches every feature.

The bidirectional read-out of a window (the forward half at its last step, the backward half at its first) has the
gradients of the numpy oracle.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from forecast.nn.cnn import ConvolutionalCore, dilations
from forecast.nn.cores import build_core
from forecast.nn.mlp import FeedForwardCore
from pipelines.errors import UsageError
from tests.forecast.nn.oracle import Oracle

B, D, H = 3, 4, 10


@pytest.mark.parametrize("kind", ["rnn", "rnn-relu", "lstm", "gru"])
def test_the_read_out_of_a_bidirectional_window_equals_the_numpy_oracle(kind: str) -> None:
    torch.manual_seed(0)
    core = build_core(kind, D, H, 2, bidirectional=True).double()
    x = torch.randn(B, 9, D, dtype=torch.float64, requires_grad=True)
    features, _ = core(x, core.initial(B))
    newest = core.newest(features)
    weight = torch.randn_like(newest)
    (newest * weight).sum().backward()

    params = {name.removeprefix("rnn."): value.detach().numpy() for name, value in core.named_parameters()}
    oracle = Oracle(kind, params, 2, True)
    zeros = tuple(part.numpy() for part in core.initial(B))
    want, after = oracle.forward(x.detach().numpy(), zeros)
    np.testing.assert_allclose(newest.detach()[:, 0, :H].numpy(), want[:, -1, :H], atol=1e-12)
    np.testing.assert_allclose(newest.detach()[:, 0, H:].numpy(), want[:, 0, H:], atol=1e-12)
    d_out = np.zeros_like(want)
    d_out[:, -1, :H], d_out[:, 0, H:] = weight[:, 0, :H].numpy(), weight[:, 0, H:].numpy()
    d_x, _ = oracle.backward(d_out, tuple(np.zeros_like(part) for part in after))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), d_x, atol=1e-12)
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(parameter.grad.numpy(), oracle.grads[name.removeprefix("rnn.")], atol=1e-10)


@pytest.mark.parametrize("lookback", [1, 2, 9, 16, 61])
@pytest.mark.parametrize(("kernel", "layers"), [(2, 1), (3, 1), (3, 2)])
def test_the_convolutions_are_dilated_and_causal(lookback: int, kernel: int, layers: int) -> None:
    """The halved series of the last round give what dilated convolutions of the whole window give at its last step."""
    torch.manual_seed(0)
    core = build_core("cnn", D, H, layers, lookback=lookback, kernel=kernel).double().eval()
    assert isinstance(core, ConvolutionalCore)
    steps = dilations(lookback, kernel) * layers
    assert len(core.blocks) == len(steps)
    x = torch.randn(B, lookback, D, dtype=torch.float64)
    y = x.transpose(1, 2)
    for block, step in zip(core.blocks, steps, strict=True):
        inner = y
        for part in (block.first, block.second):
            padded = F.pad(inner, ((kernel - 1) * step, 0))
            inner = F.relu(F.conv1d(padded, part.weight, part.bias, dilation=step))
        y = F.relu(inner + block.across(y))
    got, _ = core(x, core.initial(B))
    assert got.shape == (B, 1, H)
    torch.testing.assert_close(got[:, 0], y[..., -1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("lookback", "kernel", "want"), [(1, 3, [1]), (5, 3, [1]), (6, 3, [1, 2]), (60, 3, [1, 2, 4, 8]), (7, 2, [1, 2])]
)
def test_as_many_dilations_as_the_window_needs(lookback: int, kernel: int, want: list[int]) -> None:
    assert dilations(lookback, kernel) == want


def test_a_feed_forward_net_is_matrices_and_relu() -> None:
    torch.manual_seed(0)
    core = build_core("mlp", D, H, 2, dropout=0.5, lookback=5).double().eval()
    assert isinstance(core, FeedForwardCore)
    x = torch.randn(B, 5, D, dtype=torch.float64)
    y = x.reshape(B, -1).numpy()
    for layer in core.layers:
        if isinstance(layer, torch.nn.Linear):
            y = np.maximum(y @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
    got, _ = core(x, core.initial(B))
    np.testing.assert_allclose(got[:, 0].detach().numpy(), y, atol=1e-12)
    core.train()
    assert not torch.equal(core(x, core.initial(B))[0], core(x, core.initial(B))[0])  # dropout between the layers


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
@pytest.mark.parametrize("lookback", [6, 33])
def test_every_value_of_the_window_reaches_the_feature(kind: str, lookback: int) -> None:
    torch.manual_seed(0)
    core = build_core(kind, D, 40, lookback=lookback).eval()
    assert not core.streams
    x = torch.randn(1, lookback, D, requires_grad=True)
    features, state = core(x, core.initial(1))
    assert [tuple(part.shape) for part in state] == [(1, 0)]
    (gradient,) = torch.autograd.grad(features.sum(), x)
    assert bool((gradient != 0).all())


def test_refusals() -> None:
    with pytest.raises(UsageError, match="mlp reads windows and got lookback=None"):
        build_core("mlp", D, H)
    with pytest.raises(UsageError, match="bidirectional is True, but cnn has none"):
        build_core("cnn", D, H, lookback=5, bidirectional=True)
    with pytest.raises(UsageError, match=r"no option 'kernal'\. Did you mean 'kernel'\?"):
        build_core("cnn", D, H, lookback=5, kernal=2)
