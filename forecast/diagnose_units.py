"""Saturation: the share of gate activations that stay shut or open, of tanh units at their ends, of ReLU units dead.

A gate or unit at its end has next to no slope, so no gradient passes through it (Glorot and Bengio 2010; for gates
Karpathy, Johnson and Fei-Fei 2015, arXiv 1506.02078). A gate is shut below ``SHUT``, open above ``OPEN``; a tanh unit
is saturated beyond ``END``; a ReLU unit is dead if it was zero at every step looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from forecast.nn.cores import RecurrentCore, State
from forecast.nn.network import Network

SHUT, OPEN, END = 0.05, 0.95, 0.95


@dataclass(frozen=True)
class Units:
    """One kind of unit of one layer, shares between 0 and 1.

    Args:
        kind: ``"gate"``, ``"tanh"`` or ``"relu"``.
        low: gates below ``SHUT``, tanh units below ``-END``, ReLU units at zero.
        high: gates above ``OPEN``, tanh units above ``END``; 0 for ReLU.
        dead: of the units, those that never left zero; ReLU only.
    """

    layer: str
    name: str
    kind: str
    low: float
    high: float
    dead: float = 0.0

    @property
    def text(self) -> str:
        if self.kind == "gate":
            return f"{_percent(self.low)} shut, {_percent(self.high)} open"
        if self.kind == "tanh":
            return f"{_percent(self.low + self.high)} beyond {END:g}"
        return f"{_percent(self.dead)} of the units dead, {_percent(self.low)} of the values zero"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@torch.no_grad()
def saturation(network: Network, x: Tensor, static: Tensor, state: State) -> list[Units]:
    """Of every layer of ``network`` while it reads ``x [N, K, F]`` from ``state``; evaluation mode."""
    training = network.training
    network.eval()
    try:
        if isinstance(network.core, RecurrentCore):
            if static.shape[-1]:
                x = torch.cat([x, static[:, None].expand(-1, x.shape[1], -1)], dim=-1)
            return list(_recurrent(network.core.rnn, x, state))
        convolved = any(isinstance(module, nn.Conv1d) for module in network.core.modules())
        listener = _Listener(convolved)
        with listener:
            network.run(x, static, state)
        return listener.found
    finally:
        network.train(training)


class _Listener(TorchFunctionMode):
    """Hears every ReLU and tanh while it is on, called as a function or as a module."""

    def __init__(self, convolved: bool) -> None:
        super().__init__()
        self.convolved, self.found = convolved, list[Units]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        kind = "relu" if func in (nn.functional.relu, torch.relu, Tensor.relu) else "tanh"
        if kind == "relu" or func in (torch.tanh, Tensor.tanh):
            values = (
                out.transpose(1, -1) if self.convolved and out.dim() == 3 else out
            )  # a convolution's units are axis 1
            self.found.append(_unit(f"activation {len(self.found) + 1}", f"{kind} units", kind, values))
        return out


def _recurrent(rnn: nn.RNNBase, x: Tensor, state: State) -> Iterator[Units]:
    """Layer by layer: what a gate was follows from the inputs and the states before each step."""
    sides = 2 if rnn.bidirectional else 1
    for layer in range(rnn.num_layers):
        outputs = []
        for side in range(sides):
            row = layer * sides + side
            name = f"layer {layer + 1}" + (" backward" if side else "")
            steps = x.flip(1) if side else x
            begin = tuple(part[:, row] for part in state)
            hidden = _run(rnn, steps, begin, rnn.all_weights[row])
            before = torch.cat([begin[0][:, None], hidden[:, :-1]], dim=1)
            for what, kind, values in _gates(rnn, steps, before, hidden, rnn.all_weights[row]):
                yield _unit(name, what, kind, values)
            outputs.append(hidden.flip(1) if side else hidden)
        x = torch.cat(outputs, dim=-1)


def _run(rnn: nn.RNNBase, x: Tensor, begin: State, weights: Any) -> Tensor:
    """``[N, K, H]`` the hidden states of one direction of one layer."""
    run: Any = {"LSTM": torch.lstm, "GRU": torch.gru, "RNN_TANH": torch.rnn_tanh, "RNN_RELU": torch.rnn_relu}[rnn.mode]
    first = [part[None].contiguous() for part in begin]
    out: Tensor = run(x, first if rnn.mode == "LSTM" else first[0], list(weights), True, 1, 0.0, False, False, True)[0]
    return out


def _gates(
    rnn: nn.RNNBase, x: Tensor, before: Tensor, hidden: Tensor, weights: Any
) -> Iterator[tuple[str, str, Tensor]]:
    if rnn.mode.startswith("RNN"):
        yield "units", "relu" if rnn.mode == "RNN_RELU" else "tanh", hidden
        return
    w_ih, w_hh, b_ih, b_hh = weights
    ours = nn.functional.linear(x, w_ih, b_ih)
    theirs = nn.functional.linear(before, w_hh, b_hh)
    if rnn.mode == "LSTM":
        shut, keep, candidate, out = (ours + theirs).chunk(4, dim=-1)
        yield "input gate", "gate", shut.sigmoid()
        yield "forget gate", "gate", keep.sigmoid()
        yield "output gate", "gate", out.sigmoid()
        yield "candidate", "tanh", candidate.tanh()
        return
    size = rnn.hidden_size
    reset, update = (ours[..., : 2 * size] + theirs[..., : 2 * size]).sigmoid().chunk(2, dim=-1)
    yield "reset gate", "gate", reset
    yield "update gate", "gate", update
    yield "candidate", "tanh", (ours[..., 2 * size :] + reset * theirs[..., 2 * size :]).tanh()


def _unit(layer: str, name: str, kind: str, values: Tensor) -> Units:
    if kind == "relu":
        zero = values <= 0
        dead = zero.flatten(0, -2).all(0).double().mean()
        return Units(layer, name, kind, float(zero.double().mean()), 0.0, float(dead))
    low, high = (SHUT, OPEN) if kind == "gate" else (-END, END)
    return Units(layer, name, kind, float((values < low).double().mean()), float((values > high).double().mean()))
