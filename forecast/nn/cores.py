"""Recurrent cores: ``(x, state) -> (features, state)``, every state tensor batch-first.

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
when every tensor is a float32 CPU tensor (bfloat16 where the processor has it), the batch is not
empty, no layer is a projection and ``torch.backends.mkldnn`` is on. Training mode, several layers,
both directions, dropout between layers and ``batch_first`` keep it. float64, float16 under gradients,
``proj_size`` and packed sequences fall off it. It has no fused plain RNN or GRU; ``gru.py`` is ours.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from forecast.nn.gru import GRU
from forecast.nn.init import initialise
from pipelines.errors import UsageError, did_you_mean

State = tuple[Tensor, ...]


class Core(nn.Module):
    """Base of all cores.

    ``out_features`` is F; ``streams`` says whether chunks may be fed one after another (False where a
    feature looks ahead inside its chunk, as in bidirectional cores: those read windows).
    """

    out_features: int
    streams: bool

    def initial(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        """The state before the first step, zeros ``[batch, ...]`` (default: device and dtype of the weights)."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """``x [B, K, D]`` and a state to features ``[B, K, F]`` and the state after step K."""
        raise NotImplementedError


def reset_state(state: State, reset: Tensor) -> State:
    """Zero the lanes where ``reset [B]`` (bool) holds; the others pass unchanged, bit for bit.

    Selects instead of multiplying, so NaN or infinity in a lane that is reset is gone.
    """
    return tuple(
        torch.where(reset.view(-1, *[1] * (tensor.dim() - 1)), tensor.new_zeros(()), tensor) for tensor in state
    )


def detach_state(state: State) -> State:
    """The same values, cut from the graph: where truncated BPTT truncates."""
    return tuple(tensor.detach() for tensor in state)


class RecurrentCore(Core):
    """rnn, rnn-relu, lstm or gru: stacked, with dropout between layers, one or two directions.

    The state is ``h [B, layers * directions, hidden]``, for an LSTM ``(h, c)``. ``rnn`` holds the
    weights under torch's names and layout.
    """

    def __init__(self, rnn: nn.RNN | nn.LSTM | nn.GRU, *, init: str = "orthogonal") -> None:
        super().__init__()
        self.rnn = rnn
        self.out_features = rnn.hidden_size * (2 if rnn.bidirectional else 1)
        self.streams = not rnn.bidirectional
        self._tensors = 2 if rnn.mode == "LSTM" else 1
        initialise(rnn, identity=init == "identity")

    def initial(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> State:
        weight = self.rnn.weight_ih_l0
        rows = self.rnn.num_layers * (2 if self.rnn.bidirectional else 1)
        shape = (batch, rows, self.rnn.hidden_size)
        return tuple(
            torch.zeros(shape, device=device or weight.device, dtype=dtype or weight.dtype)
            for _ in range(self._tensors)
        )

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        layers_first = tuple(tensor.transpose(0, 1).contiguous() for tensor in state)
        if isinstance(self.rnn, nn.LSTM):
            features, after = self.rnn(x, layers_first)
        else:
            features, last = self.rnn(x, layers_first[0])
            after = (last,)
        return features, tuple(tensor.transpose(0, 1) for tensor in after)


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
    ) -> Core:
        shape: dict[str, Any] = {
            "input_size": in_features,
            "hidden_size": hidden,
            "num_layers": layers,
            "dropout": dropout if layers > 1 else 0.0,
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
        return RecurrentCore(rnn, init=init)

    return build


CORES: dict[str, Callable[..., Core]] = {name: _recurrent(name) for name in ("rnn", "rnn-relu", "lstm", "gru")}
"""Name to builder; a builder takes keyword arguments only, ``in_features`` and ``hidden`` among them."""


def build_core(
    name: str,
    in_features: int,
    hidden: int,
    layers: int = 1,
    dropout: float = 0.0,
    bidirectional: bool = False,
    variational: bool = False,
    **options: Any,
) -> Core:
    """Build the core called ``name`` with fresh weights (seed with ``torch.manual_seed``).

    ``options`` go to the core's own builder. Raises UsageError on an unknown name or option.
    """
    if name not in CORES:
        known = sorted(CORES)
        raise UsageError(
            f"Unknown core {name!r}.{did_you_mean(name, known)}",
            hint=f"Known cores: {', '.join(known)}.",
        )
    builder = CORES[name]
    known = list(inspect.signature(builder).parameters)
    for option in options:
        if option not in known:
            raise UsageError(f"Core {name!r} has no option {option!r}.{did_you_mean(option, known)}")
    return builder(
        in_features=in_features,
        hidden=hidden,
        layers=layers,
        dropout=dropout,
        bidirectional=bidirectional,
        variational=variational,
        **options,
    )
