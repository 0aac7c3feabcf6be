"""The registry of cores, and the recurrent ones: ``(x, state) -> (features, state)``, state tensors batch-first.

A core sees a chunk ``x [B, K, D]`` of any length K and the state the chunk before left, and returns
features ``[B, K, F]`` and the state after the last step. In evaluation mode chunks of any lengths give
what one pass over the whole series gives. States are tuples of tensors ``[B, ...]``, so lanes are
zeroed (``reset_state``) and detached (``detach_state``) without knowing the core.

    >>> import torch
    >>> core = build_core("lstm", in_features=3, hidden=8, layers=2)
    >>> features, state = core(torch.zeros(4, 10, 3), core.initial(4))
    >>> features.shape, [tuple(s.shape) for s in state]
    (torch.Size([4, 10, 8]), [(4, 2, 8), (4, 2, 8)])

On a CPU torch runs an LSTM in oneDNN's fused kernel (forward and backward, about 2.5 times faster)
when every tensor is a float32 CPU tensor (bfloat16 where the processor has it) and
``torch.backends.mkldnn`` is on. Training mode, several layers, both directions, dropout between layers,
variational dropout and ``batch_first`` keep it; float64, float16, ``proj_size``, packed sequences and
``nn.LSTMCell`` fall off it (a test looks at which kernels ran). Under bfloat16 autocast on a processor
without bfloat16 torch 2.13 raises instead. There is no fused plain RNN or GRU; ``gru.py`` is ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from forecast.family import FAMILY, NEUTRAL
from forecast.nn.cnn import build_cnn
from forecast.nn.core import Core, State, detach_state, reset_state
from forecast.nn.dropout import dropout
from forecast.nn.esn import build_esn
from forecast.nn.gru import GRU
from forecast.nn.init import INITS, initialise
from forecast.nn.mlp import build_mlp
from forecast.nn.segrnn import build_segrnn
from pipelines.errors import UsageError, did_you_mean

__all__ = ["CORES", "Core", "RecurrentCore", "State", "build_core", "detach_state", "reset_state"]


class RecurrentCore(Core):
    """rnn, rnn-relu, lstm or gru: stacked, with dropout between layers, one or two directions.

    The state is ``h [B, layers * directions, hidden]``, for an LSTM ``(h, c)``. ``rnn`` holds the
    weights under torch's names and layout. ``variational`` (a rate, 0 is off) is dropout by masks that
    stay the same over the steps of a chunk (Gal & Ghahramani 2016): on what goes from layer to layer
    one mask per lane, on the state that goes from step to step one mask for all lanes, applied to the
    columns of the recurrent matrices so that the fused kernels serve (as in Merity et al. 2017).
    """

    def __init__(
        self, rnn: nn.RNN | nn.LSTM | nn.GRU, *, init: str = "orthogonal", memory: int = 64, variational: float = 0.0
    ) -> None:
        super().__init__()
        self.rnn = rnn
        self.variational = variational
        self.out_features = rnn.hidden_size * (2 if rnn.bidirectional else 1)
        self.streams = not rnn.bidirectional
        self._tensors = 2 if rnn.mode == "LSTM" else 1
        initialise(rnn, init, memory=memory)

    def initial(self, batch: int) -> State:
        weight = next(self.rnn.parameters())
        rows = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
        return tuple(weight.new_zeros(batch, rows, self.rnn.hidden_size) for _ in range(self._tensors))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        layers_first = tuple(tensor.transpose(0, 1).contiguous() for tensor in state)
        after: tuple[Tensor, ...]
        if self.training and (self.variational or self._drops(x)):
            features, after = self._by_layer(x, layers_first)
        elif isinstance(self.rnn, nn.LSTM):
            features, after = self.rnn(x, layers_first)
        else:
            features, last = self.rnn(x, layers_first[0])
            after = (last,)
        return features, tuple(tensor.transpose(0, 1) for tensor in after)

    def newest(self, features: Tensor) -> Tensor:
        if self.streams:
            return features[:, -1:]
        half = self.rnn.hidden_size  # the backward half has read the whole window at the first step
        return torch.cat([features[:, -1:, :half], features[:, :1, half:]], dim=-1)

    def _drops(self, x: Tensor) -> bool:
        """Whether dropout between the layers is ours: torch's own costs a tenth of a step on a CPU."""
        rnn = self.rnn
        return bool(rnn.dropout) and rnn.bias and not rnn.proj_size and x.device.type == "cpu"

    def _by_layer(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Layer by layer in training mode: with masks of the recurrent matrices too where dropout is variational."""
        rnn, rate, sides = self.rnn, self.variational, 2 if self.rnn.bidirectional else 1
        run: Any = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[
            rnn.mode
        ]
        weights = rnn.all_weights
        parts: list[State] = []
        for layer in range(rnn.num_layers):
            if layer:
                x = x * dropout(x.new_ones(x.shape[0], 1, x.shape[2]), rate) if rate else dropout(x, rnn.dropout)
            rows = slice(layer * sides, (layer + 1) * sides)
            masked = [
                [w_ih, w_hh * dropout(w_hh.new_ones(rnn.hidden_size), rate) if rate else w_hh, b_ih, b_hh]
                for w_ih, w_hh, b_ih, b_hh in weights[rows]
            ]
            before = tuple(tensor[rows].contiguous() for tensor in state)
            if isinstance(rnn, GRU) and rnn.usable(x):
                x, last = rnn.layer(x, before[0], masked)
                parts.append((last,))
                continue
            flat = [tensor for side in masked for tensor in side]
            start = before if rnn.mode == "LSTM" else before[0]
            x, *after = run(x, start, flat, True, 1, 0.0, True, rnn.bidirectional, True)
            parts.append(tuple(after))
        return x, tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def _recurrent(kind: str) -> Callable[..., Core]:
    def build(
        *,
        in_features: int,
        hidden: int,
        layers: int = 1,
        dropout: float = 0.0,
        bidirectional: bool = False,
        variational: bool = False,
        init: str = "orthogonal",
        memory: int = 64,
    ) -> Core:
        if init not in INITS:
            raise UsageError(
                f"Unknown init {init!r}.{did_you_mean(init, INITS)}", hint=f"Expected one of {', '.join(INITS)}."
            )
        if init == "chrono" and kind not in ("lstm", "gru"):
            raise UsageError(f"init 'chrono' sets gates; {kind} has none.", hint="Use lstm or gru, or another init.")
        shape: dict[str, Any] = {
            "input_size": in_features,
            "hidden_size": hidden,
            "num_layers": layers,
            "dropout": dropout if layers > 1 and not variational else 0.0,
            "bidirectional": bidirectional,
            "batch_first": True,
        }
        rnn: nn.RNN | nn.LSTM | nn.GRU
        if kind == "lstm":
            rnn = nn.LSTM(**shape)
        elif kind == "gru":
            rnn = GRU(**shape)
        else:
            rnn = nn.RNN(**shape, nonlinearity="relu" if kind == "rnn-relu" else "tanh")
        return RecurrentCore(rnn, init=init, memory=memory, variational=dropout if variational else 0.0)

    return build


CORES: dict[str, Callable[..., Core]] = {
    **{name: _recurrent(name) for name in ("rnn", "rnn-relu", "lstm", "gru")},
    "esn": build_esn,
    "mlp": build_mlp,
    "cnn": build_cnn,
    "segrnn": build_segrnn,
}
"""Name to builder. It takes by keyword those arguments of ``build_core`` that mean anything to it, and its own."""


def build_core(
    name: str,
    in_features: int,
    hidden: int,
    layers: int = 1,
    dropout: float = 0.0,
    bidirectional: bool = False,
    variational: bool = False,
    lookback: int | None = None,
    **options: Any,
) -> Core:
    """Build the core called ``name`` with fresh weights (seed with ``torch.manual_seed``).

    ``dropout`` acts between layers (before the head it is the network's); ``variational`` keeps its masks
    over time and drops the recurrent connections too; ``lookback`` is the length of the windows, for cores that
    must know it. ``options`` go to the core's own builder: recurrent
    cores take ``init`` (see :mod:`forecast.nn.init`) and, for ``"chrono"``, ``memory`` in steps. Raises
    UsageError on an unknown name or option and on sizes that make no network.
    """
    if name not in CORES:
        names = sorted(CORES)
        raise UsageError(f"Unknown core {name!r}.{did_you_mean(name, names)}", hint=f"Known cores: {', '.join(names)}.")
    for what, value in (("in_features", in_features), ("hidden", hidden), ("layers", layers)):
        if value < 1:
            raise UsageError(f"{what} is {value}, expected at least 1.")
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout is {dropout}, expected at least 0 and below 1.")
    builder = CORES[name]
    given = {
        "layers": layers,
        "dropout": dropout,
        "bidirectional": bidirectional,
        "variational": variational,
        "lookback": lookback,
    }
    takes = inspect.signature(builder).parameters
    for what, said in given.items():
        if what in FAMILY[name].lacks and said != NEUTRAL[what]:
            why = FAMILY[name].lacks[what]
            raise UsageError(f"{what} is {said!r}, but {name} has none: {why}.", hint="Leave it out.")
        if what == "lookback" and what in takes and (lookback is None or lookback < 1):
            raise UsageError(f"{name} reads windows and got lookback={lookback}.", hint="Give their length in steps.")
    own = [option for option in takes if option not in given and option not in ("in_features", "hidden")]
    for option in options:
        if option not in own:
            raise UsageError(
                f"Core {name!r} has no option {option!r}.{did_you_mean(option, own)}",
                hint=f"Its options: {', '.join(own)}." if own else None,
            )
    common = {what: said for what, said in given.items() if what in takes}
    return builder(in_features=in_features, hidden=hidden, **common, **options)
