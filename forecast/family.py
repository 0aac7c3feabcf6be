"""The family of nets by name, known without torch: what each is, how it reads and how it learns.

A new member is one entry here and one builder in :data:`forecast.nn.cores.CORES` (a test compares the two).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One kind of net.

    Args:
        about: what it is and what it is for, one line.
        reference: where it comes from.
        streams: reads a series step by step and carries its state; else it reads a window of fixed length.
        gradient: trained by gradients; else its readout alone is solved for.
        heads: the heads it can have, the default first; empty for all.
    """

    about: str
    reference: str
    streams: bool = True
    gradient: bool = True
    heads: tuple[str, ...] = ()


FAMILY: dict[str, Member] = {
    "rnn": Member(
        "plain recurrent net with tanh units: small and quick, remembers some ten steps",
        "Elman 1990, Finding structure in time, Cognitive Science 14",
    ),
    "rnn-relu": Member(
        "plain recurrent net with ReLU units begun at the identity (IRNN): remembers longer than tanh",
        "Le, Jaitly and Hinton 2015, arXiv 1504.00941",
    ),
    "lstm": Member(
        "long short-term memory: the default, remembers hundreds of steps",
        "Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000",
    ),
    "gru": Member(
        "gated recurrent unit: as an LSTM with three quarters of its weights",
        "Cho et al. 2014, arXiv 1406.1078",
    ),
}
