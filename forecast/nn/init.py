"""Initial weights of recurrent layers in torch's parameter layout.

Recurrent matrices are orthogonal per gate block (Saxe et al. 2014), input matrices Xavier uniform per
gate block (Glorot & Bengio 2010), biases zero, an LSTM's forget-gate bias one (Gers et al. 2000,
Jozefowicz et al. 2015). ``identity`` starts the recurrent matrices at the identity, for ReLU networks
(IRNN, Le et al. 2015). ``chrono`` opens the gates that keep, each for a time of its own between one and
``memory`` steps (Tallec & Ollivier 2018, arXiv 1804.11188): a forget gate of one half loses a gradient in
ten steps, and nothing farther back can then be learned. ``torch`` leaves torch's own uniform draw.
All draws come from torch's global generator. Nets are float32 whatever torch's default type is (:func:`single`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

INITS = ("orthogonal", "identity", "chrono", "torch")
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@contextmanager
def single() -> Iterator[None]:
    """What is made inside is float32, and drawn as such, where the caller made another type torch's default."""
    before = torch.get_default_dtype()
    if before == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@torch.no_grad()
def initialise(rnn: nn.RNNBase, how: str = "orthogonal", *, memory: int = 64) -> None:
    """Draw new weights for every layer and direction of ``rnn`` (nn.RNN, nn.LSTM or nn.GRU).

    torch adds two bias vectors, so the forget gate's one sits in ``bias_ih`` alone and their sum is one.

    Args:
        how: one of ``INITS``.
        memory: steps the longest-lived units of ``chrono`` keep.
    """
    if how == "torch":
        rnn.reset_parameters()
        return
    gates = _GATES[rnn.mode]
    for name, parameter in rnn.named_parameters():
        if name.startswith("bias"):
            parameter.zero_()
            if rnn.mode == "LSTM" and name.startswith("bias_ih"):
                parameter[rnn.hidden_size : 2 * rnn.hidden_size].fill_(1.0)
            continue
        for block in parameter.chunk(gates):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(block)
            elif how == "identity":
                nn.init.eye_(block)
            else:
                nn.init.orthogonal_(block)
    if how == "chrono":
        _open_gates(rnn, memory)


def _open_gates(rnn: nn.RNNBase, memory: int) -> None:
    """Forget gates (torch's update gate of a GRU is one) at ``log U(1, memory - 1)``, input gates at minus that."""
    size = rnn.hidden_size
    for name, bias in rnn.named_parameters():
        if name.startswith("bias_ih"):
            keep = torch.empty(size).uniform_(1.0, max(memory - 1.0, 1.0)).log()
            bias[size : 2 * size] = keep
            if rnn.mode == "LSTM":
                bias[:size] = -keep
