"""Initial weights of recurrent layers in torch's parameter layout.

Recurrent matrices are orthogonal per gate block (Saxe et al. 2014), input matrices Xavier uniform per
gate block (Glorot & Bengio 2010), biases zero, an LSTM's forget-gate bias one (Gers et al. 2000,
Jozefowicz et al. 2015). ``identity`` starts the recurrent matrices at the identity, for ReLU networks
(IRNN, Le et al. 2015). All draws come from torch's global generator.
"""

from __future__ import annotations

import torch
from torch import nn

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


@torch.no_grad()
def initialise(rnn: nn.RNNBase, *, identity: bool = False) -> None:
    """Draw new weights for every layer and direction of ``rnn`` (nn.RNN, nn.LSTM or nn.GRU).

    torch adds two bias vectors, so the forget gate's one sits in ``bias_ih`` alone and their sum is one.
    """
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
            elif identity:
                nn.init.eye_(block)
            else:
                nn.init.orthogonal_(block)
