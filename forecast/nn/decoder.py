"""Encoder and decoder: a second recurrent net that begins where the first one stands and runs over the steps ahead.

The encoder is the core. What it has made of the rows up to an origin begins the decoder through a learned map and a
tanh (Cho et al. 2014, arXiv 1406.1078, appendix A.1.2; also Sutskever et al. 2014, arXiv 1409.3215), an LSTM's cell
through the same map without it: of an LSTM read as a stream the state is at hand at every step, its cell is not. The
decoder has one layer of the core's kind and width.

At every step ahead it reads a learned vector for the step and the known-future covariates of that step, not its own
output before (the unconditioned decoder of Srivastava et al. 2015, arXiv 1502.04681). Reason: heads give quantiles,
densities or classes, of which no single number is the output to read; teacher forcing would train it on inputs that it
never meets when it forecasts (exposure bias, Bengio et al. 2015, arXiv 1506.03099); and all steps of all origins run in
one call of the fused kernel. A net that reads its own forecasts is ``data.strategy=recursive``.

Cost: every origin is decoded, so an update of ``B`` lanes and ``K`` steps runs ``B K`` steps of the encoder and
``B K H`` of the decoder, and keeps as much for the backward pass, about ``10 B K H hidden`` numbers. The direct head
pays one matrix product instead. In window mode ``K`` is 1, and the decoder costs ``H / lookback`` of the encoder.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from forecast.nn.core import Core, Decoder
from forecast.nn.cores import build_core
from forecast.nn.dropout import Dropout

PLACE = 16  # length of the vector that names a step ahead
AT_ONCE = 1 << 22  # numbers the decoder's features may hold where no gradient needs them


class RecurrentDecoder(Decoder):
    """One recurrent layer over the ``H`` steps ahead of every origin, each projected to its parameters.

    Args:
        kind: rnn, rnn-relu, lstm or gru.
        features: width of what the encoder hands over.
        future: known-future covariates.
        parameters: of the head, for each step ahead.
        init: initial recurrent weights (see :mod:`forecast.nn.init`); what suits the kind for ``None``.
    """

    def __init__(
        self, kind: str, features: int, hidden: int, horizon: int, future: int, parameters: int, dropout: float,
        init: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.hidden, self.parameters_per_step = hidden, parameters
        self.place = nn.Parameter(torch.randn(horizon, PLACE))
        begun: dict[str, Any] = {} if init is None else {"init": init, "memory": horizon}
        self.core = build_core(kind, PLACE + future, hidden, **begun)
        self.bridge = nn.Linear(features, hidden * len(self.core.initial(1)))
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, parameters)

    def forward(self, core: Core, features: Tensor, future: Tensor, static: Tensor) -> Tensor:
        lanes, steps, _ = features.shape
        begin = self.bridge(self.dropout(features)).flatten(0, 1)
        known = future.flatten(0, 1)
        size = len(begin)
        if not torch.is_grad_enabled():
            size = max(1, AT_ONCE // (len(self.place) * self.hidden))
        parts = [self._decode(*part) for part in zip(torch.split(begin, size), torch.split(known, size), strict=True)]
        return torch.cat(parts).view(lanes, steps, len(self.place), self.parameters_per_step)

    def _decode(self, begin: Tensor, known: Tensor) -> Tensor:
        """``[N, hidden or twice that]``, ``[N, H, Ff]`` -> ``[N, H, P]``."""
        first, *rest = torch.split(begin[:, None], self.hidden, dim=-1)
        places = self.place.expand(len(begin), -1, -1)
        decoded, _ = self.core(torch.cat([places, known.to(places)], dim=-1), (torch.tanh(first), *rest))
        params: Tensor = self.linear(self.dropout(decoded))
        return params
