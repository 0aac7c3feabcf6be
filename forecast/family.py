"""The family of nets by name, known without torch: what each is, how it reads and how it learns.

A new member is one entry here and one builder in :data:`forecast.nn.cores.CORES` (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forecast.ranges import Choice, Range

BACKTEST_ONLY = ("ETS", "Theta")
"""Methods that ``backtest`` takes beside nets; nothing else does."""
NEUTRAL: Mapping[str, Any] = {"layers": 1, "dropout": 0.0, "bidirectional": False, "variational": False}
"""Settings of the net that a member may lack, and the value they then have."""


def only_in_backtest(name: str) -> str | None:
    """The method of ``backtest`` that is called ``name``, in whatever case; ``None`` for anything else."""
    return next((one for one in BACKTEST_ONLY if one.lower() == name.lower()), None)


@dataclass(frozen=True)
class Member:
    """One kind of net.

    Args:
        about: what it is and what it is for, one line.
        reference: where it comes from.
        streams: reads a series step by step and carries its state; else it reads a window of fixed length.
        windows: can also be trained on windows (every member does one of the two).
        gradient: trained by gradients; else its readout alone is solved for.
        heads: the heads it can have, the default first; empty for all.
        lacks: settings among ``NEUTRAL`` that it has no place for, and why.
        covariates: has a place for them; else it reads the target alone.
        place: must be told which of the fitted series it reads.
        defaults: settings by dotted name whose default is another than that of the rest of the family.
        ranges: what a study of this member searches in place of the settings' own ranges; ``None``: not at all.
    """

    about: str
    reference: str
    streams: bool = True
    windows: bool = True
    gradient: bool = True
    heads: tuple[str, ...] = ()
    lacks: Mapping[str, str] = field(default_factory=dict)
    covariates: bool = True
    place: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, Range | Choice | None] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """How it can read, the default first."""
        return ("stream",) * self.streams + ("window",) * self.windows


_NO_DIRECTION = {
    "bidirectional": "it sees the whole window at once already",
    "variational": "it has no steps over which a mask could stay the same",
}

FAMILY: dict[str, Member] = {
    "rnn": Member(
        "plain recurrent net with tanh units: small and quick, remembers some ten steps",
        "Elman 1990, Finding structure in time, Cognitive Science 14",
    ),
    "rnn-relu": Member(
        "plain recurrent net with ReLU units; begun at the identity (model.init=identity) it remembers longer (IRNN)",
        "Le, Jaitly and Hinton 2015, arXiv 1504.00941",
    ),
    "lstm": Member(
        "long short-term memory: the default; remembers tens of steps, hundreds with model.init=chrono",
        "Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000",
    ),
    "gru": Member(
        "gated recurrent unit: as an LSTM with three quarters of its weights",
        "Cho et al. 2014, arXiv 1406.1078",
    ),
    "esn": Member(
        "echo state network: a fixed random reservoir whose readout is solved for in one pass, without gradients",
        "Jaeger 2001, GMD report 148; Lukosevicius 2012, A practical guide to applying echo state networks",
        windows=False,
        gradient=False,
        heads=("point",),
        lacks={
            "layers": "it is one reservoir, and a larger model.hidden makes a larger one",
            "dropout": "nothing in it is trained; its readout is held back by model.ridge",
            "bidirectional": "it runs forwards as a stream",
            "variational": "nothing in it is trained",
        },
        defaults={"model.hidden": 300, "model.dropout": 0.0},
        ranges={"model.hidden": Range(100, 1000, log=True), "data.k1": None},
    ),
    "mlp": Member(
        "feed-forward net on a window: no recurrence, the comparison a recurrent net has to beat",
        "Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors, Nature 323",
        streams=False,
        lacks=_NO_DIRECTION,
        defaults={"data.mode": "window"},
    ),
    "cnn": Member(
        "dilated causal convolutions over a window (TCN): sees far with few layers, trains in parallel",
        "Bai, Kolter and Koltun 2018, arXiv 1803.01271",
        streams=False,
        lacks=_NO_DIRECTION,
        defaults={"data.mode": "window"},
    ),
    "segrnn": Member(
        "a GRU over segments of a window, all segments ahead decoded at once: strong on long horizons of sensors",
        "Lin et al. 2023, SegRNN, arXiv 2308.11200",
        streams=False,
        lacks={
            "layers": "its GRU is one layer, and a larger model.hidden makes a larger one",
            "bidirectional": "the same GRU reads the window and decodes what is ahead of it",
            "variational": "it has a handful of steps; dropout acts before its last layer",
        },
        covariates=False,
        place=True,
        defaults={
            "data.mode": "window",
            "data.features": "level",
            "data.calendar": False,
            "data.anchor": "last",
            "data.scale": "one",
            "model.hidden": 128,
            "model.skip": 0,
        },
    ),
}
