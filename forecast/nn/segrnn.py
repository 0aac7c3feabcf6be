"""SegRNN: a GRU over segments of a window, and a decoder that reads all segments ahead at once (arXiv 2308.11200).

Lin, Lin, Wu, Zhao, Mo and Zhang 2023. With ``w`` values a segment, ``d`` units, ``m = horizon / w`` segments ahead and
``C`` series, the parameters are ``w d + d`` (embedding), ``3 (2 d d + 2 d)`` (one GRU for reading and for decoding),
``(m + C) d / 2`` (places and series) and ``d w + w`` (back to values); a test counts them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from forecast.nn.core import Core, Decoder, State, WindowCore
from forecast.nn.dropout import Dropout
from forecast.nn.gru import GRU
from pipelines.errors import UsageError


class SegmentCore(WindowCore):
    """The reading half: ``[B, lookback, D] -> [B, 1, hidden]``, the state behind the last segment.

    Args:
        hidden, lookback, segment: d, the length of the window, and w, which divides it.
        unit: what the residuals ahead are measured in; the window is measured in the same.

    Reads column 0 of ``x``, the standardised value, with the newest value of the window taken off; to add it again is
    the business of the anchor. Weights begin as torch draws them, as in the published code.
    """

    def __init__(self, hidden: int, lookback: int, segment: int, unit: float = 1.0) -> None:
        super().__init__()
        if segment < 1 or lookback % segment:
            raise UsageError(
                f"a window of {lookback} rows cannot be cut into segments of {segment}.",
                hint="Use a lookback that is a multiple of the segment.",
            )
        self.out_features, self.segment, self.unit = hidden, segment, unit
        self.embed = nn.Sequential(nn.Linear(segment, hidden), nn.ReLU())
        self.rnn = GRU(hidden, hidden, batch_first=True)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        level = x[..., 0]
        segments = ((level - level[:, -1:]) / self.unit).reshape(len(level), -1, self.segment)
        _, last = self.rnn(self.embed(segments))
        return last.transpose(0, 1), state


class SegmentDecoder(Decoder):
    """The decoding half: parallel multi-step forecasting, one step of the core's GRU for every segment ahead.

    Each starts from the state behind the window and reads where its segment lies: an embedding of its place (d/2)
    beside one of the series (d/2), or of the place alone (d) where there is one series. Dropout and a linear map then
    give its ``w`` steps, ``parameters`` numbers each.

    Args:
        core: the core the states come from.
        series: number of fitted series, C.
    """

    def __init__(self, core: SegmentCore, horizon: int, parameters: int, series: int, dropout: float) -> None:
        super().__init__()
        hidden, segment = core.out_features, core.segment
        if horizon % segment:
            raise UsageError(
                f"{horizon} steps ahead cannot be cut into segments of {segment}.",
                hint="Use a horizon that is a multiple of the segment.",
            )
        if series > 1 and hidden % 2:
            raise UsageError(f"hidden is {hidden}; half of it embeds the series.", hint="Use an even model.hidden.")
        self.segment, self.parameters_per_step = segment, parameters
        self.place = nn.Parameter(torch.randn(horizon // segment, hidden // 2 if series > 1 else hidden))
        self.series = nn.Parameter(torch.randn(series, hidden // 2)) if series > 1 else None
        self.dropout = Dropout(dropout)
        self.linear = nn.Linear(hidden, segment * parameters)

    def forward(self, core: Core, features: Tensor, future: Tensor, static: Tensor) -> Tensor:
        """Decodes by the GRU of ``core``; the last column of ``static`` tells which fitted series it is."""
        if not isinstance(core, SegmentCore):
            raise TypeError(f"expected a SegmentCore, got {type(core).__name__}")
        lanes, steps, hidden = features.shape
        count = len(self.place)
        tokens = self.place.expand(lanes, steps, count, -1)
        if self.series is not None:
            tokens = torch.cat(
                [tokens, self.series[static[:, -1].long()][:, None, None].expand(-1, steps, count, -1)], dim=-1
            )
        begin = features[:, :, None].expand(-1, -1, count, -1).reshape(1, -1, hidden)
        decoded, _ = core.rnn(tokens.reshape(-1, 1, hidden), begin)
        flat: Tensor = self.linear(self.dropout(decoded[:, 0]))
        return flat.view(lanes, steps, count * self.segment, self.parameters_per_step)


def build_segrnn(*, in_features: int, hidden: int, lookback: int, segment: int, unit: float = 1.0) -> WindowCore:
    """A builder for the registry; of the ``in_features`` columns the first is read."""
    return SegmentCore(hidden, lookback, segment, unit)
