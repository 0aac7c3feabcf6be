"""Feed-forward core: the window laid out flat, through layers of ReLU units. No recurrence: the plain comparison."""

from __future__ import annotations

from torch import Tensor, nn

from forecast.nn.core import State, WindowCore
from forecast.nn.dropout import Dropout


class FeedForwardCore(WindowCore):
    """``layers`` times linear, ReLU, and dropout between; ``[B, lookback, D] -> [B, 1, hidden]``.

    Weights are He normal (He et al. 2015, arXiv 1502.01852), biases zero. The order of the steps is in the weights
    alone: every step of the window has its own, so a window of another length does not fit.
    """

    def __init__(self, in_features: int, hidden: int, lookback: int, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.out_features = hidden
        parts: list[nn.Module] = []
        width = in_features * lookback
        for layer in range(layers):
            if layer and dropout:
                parts.append(Dropout(dropout))
            linear = nn.Linear(width, hidden)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            parts += [linear, nn.ReLU()]
            width = hidden
        self.layers = nn.Sequential(*parts)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.layers(x.flatten(1))[:, None], state


def build_mlp(*, in_features: int, hidden: int, lookback: int, layers: int = 1, dropout: float = 0.0) -> WindowCore:
    """A builder for the registry."""
    return FeedForwardCore(in_features, hidden, lookback, layers, dropout)
