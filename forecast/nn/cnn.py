"""Dilated causal convolutions over a window (TCN; Bai, Kolter and Koltun 2018, arXiv 1803.01271).

Only the newest feature of a window is read, and what it depends on thins out: at dilation ``d`` every ``d``-th step
back from the newest. The last round of blocks computes those steps alone, as plain convolutions on a series that is
halved from block to block: exactly the same numbers, for less than half of the work.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from forecast.nn.core import State, WindowCore
from forecast.nn.dropout import Dropout


def dilations(lookback: int, kernel: int) -> list[int]:
    """1, 2, 4, ...: as many as it takes until blocks of two convolutions each see ``lookback`` steps."""
    out = [1]
    while 1 + 2 * (kernel - 1) * sum(out) < lookback:
        out.append(2 * out[-1])
    return out


class Block(nn.Module):
    """Two causal convolutions with ReLU and dropout, and what came in added: ``[B, C, K] -> [B, hidden, K]``.

    The published block normalises the weights; here they are He normal and free: averaged weights and clipped
    gradients steady training, and one vector fewer per convolution is saved.
    """

    def __init__(self, channels: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Conv1d(channels, hidden, kernel)
        self.second = nn.Conv1d(hidden, hidden, kernel)
        self.across = nn.Conv1d(channels, hidden, 1) if channels != hidden else nn.Identity()
        self.dropout = Dropout(dropout)
        for convolution in (self.first, self.second):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)

    def forward(self, x: Tensor, dilation: int) -> Tensor:
        inner = self.dropout(F.relu(_causal(self.first, x, dilation)))
        inner = self.dropout(F.relu(_causal(self.second, inner, dilation)))
        out: Tensor = F.relu(inner + self.across(x))
        return out


def _causal(convolution: nn.Conv1d, x: Tensor, dilation: int) -> Tensor:
    reach = (convolution.kernel_size[0] - 1) * dilation
    return F.conv1d(F.pad(x, (reach, 0)), convolution.weight, convolution.bias, dilation=dilation)


class ConvolutionalCore(WindowCore):
    """``layers`` rounds of blocks with dilations 1, 2, 4, ... that each see the whole window.

    ``[B, K, D] -> [B, 1, hidden]``, the feature of the newest step. The window is padded with zeros on the left.
    """

    def __init__(
        self, in_features: int, hidden: int, lookback: int, layers: int = 1, dropout: float = 0.0, kernel: int = 3
    ) -> None:
        super().__init__()
        self.out_features = hidden
        self.round = dilations(lookback, kernel)
        widths = [in_features] + [hidden] * (len(self.round) * layers - 1)
        self.blocks = nn.ModuleList(Block(width, hidden, kernel, dropout) for width in widths)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = x.transpose(1, 2)
        last = len(self.blocks) - len(self.round)
        for i, block in enumerate(self.blocks):
            if i > last:
                x = x[..., (x.shape[-1] - 1) % 2 :: 2]
            x = block(x, 1 if i >= last else self.round[i % len(self.round)])
        return x[..., -1:].transpose(1, 2), state


def build_cnn(
    *, in_features: int, hidden: int, lookback: int, layers: int = 1, dropout: float = 0.0, kernel: int = 3
) -> WindowCore:
    """A builder for the registry."""
    return ConvolutionalCore(in_features, hidden, lookback, layers, dropout, kernel)
