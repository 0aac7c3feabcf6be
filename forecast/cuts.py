"""Cuts: the origins of a backtest and the folds they belong to.

The last ``test`` stamps of a panel are the test span. Its first origin is the stamp before it, further ones
follow every ``stride`` stamps as long as all ``horizon`` steps lie in the data. Models fitted at a cutoff
forecast from the origins ``gap`` stamps later on, until the next refit; they read the rows in the gap, they
were not fitted on them (embargo). Purging needs no further mask: a fit gets no row after its cutoff, so no
training target can cross it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import TooShortError, UsageError
from pipelines.folds import Fold, at_least
from pipelines.panel import Panel

Index = NDArray[np.int64]
Kind = Literal["never", "cold", "warm"]
REFITS = 5  # folds when a refit is asked for without a cadence


@dataclass(frozen=True)
class Refit:
    """When models are fitted again.

    ``kind``: ``"never"`` (once, before the test span), ``"cold"`` (from scratch, as a fresh process would) or
    ``"warm"`` (nets go on from the weights of the fold before; everything else is fitted from scratch).
    ``every``: stamps between refits.
    """

    kind: Kind = "never"
    every: int | None = None

    @classmethod
    def parse(cls, value: str | int | Refit) -> Refit:
        """``"never"``, ``20`` or ``"20"`` (cold), ``"cold"``, ``"warm"``, ``"cold:20"``, ``"warm:20"``.

        Raises:
            UsageError: anything else.
        """
        if isinstance(value, Refit):
            return value
        text = str(value).strip().lower()
        kind, _, every = ("cold", "", text) if text.isdecimal() else text.partition(":")
        number = int(every) if every.isdecimal() else None
        if kind not in ("never", "cold", "warm") or (every and not number) or (kind == "never" and every):
            raise UsageError(
                f"refit {value!r} is not understood.",
                hint="Use never, a number of steps (refits from scratch), cold, warm, cold:N or warm:N.",
            )
        return cls(kind, number)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return self.kind if self.every is None else f"{self.kind}, every {self.every}"


@dataclass(frozen=True)
class Cut:
    """One fold: fitted on ``fold.train(panel)``, forecasts from ``origins`` (stamps, ascending)."""

    number: int
    fold: Fold
    origins: NDArray[np.datetime64]

    def rows(self, panel: Panel) -> Index:
        """Positions in ``panel.frame`` of the origins, in every series that has a row there, ascending."""
        return np.flatnonzero(np.isin(panel.ds, self.origins)).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        return {
            "fold": self.number,
            "cutoff": str(self.fold.cutoff),
            "train_start": str(self.fold.train_start),
            "test_start": str(self.fold.test_start),
            "test_end": str(self.fold.test_end),
            "origins": len(self.origins),
        }


def plan(
    panel: Panel | pd.DatetimeIndex,
    *,
    test: int,
    horizon: int = 1,
    stride: int = 1,
    gap: int = 0,
    refit: str | int | Refit = "never",
    window: Literal["expanding"] | int = "expanding",
) -> list[Cut]:
    """The folds of a backtest, earliest first.

    With ``horizon=1, stride=1`` and a refit every ``test / k`` stamps these are the folds of scikit-learn's
    ``TimeSeriesSplit(k, test_size=test // k, gap=gap)``; with a refit at every origin, those of sktime's
    expanding (or, with ``window``, sliding) window splitter with ``fh = 1..horizon, step_length=stride``.

    Args:
        test: stamps in the test span.
        stride: stamps between origins.
        gap: stamps between a cutoff and the first origin that follows.
        window: ``"expanding"``, or the largest number of training stamps.

    Raises:
        UsageError: an argument is out of range.
        TooShortError: the test span does not hold one horizon, or leaves nothing to train on.
    """
    stamps = panel.to_numpy() if isinstance(panel, pd.DatetimeIndex) else np.unique(panel.ds)
    again = Refit.parse(refit)
    sliding = None if window == "expanding" else window
    if isinstance(sliding, str):
        raise UsageError(f"window is {window!r}.", hint="Use 'expanding' or a number of rows.")
    at_least(1, test=test, horizon=horizon, stride=stride, window=sliding)
    at_least(0, gap=gap)
    total = len(stamps)
    first = total - test - 1
    origins = np.arange(max(first, 0), total - horizon, stride)
    if first - gap < 0 or not len(origins):
        raise TooShortError(
            f"{total} rows cannot hold a test span of {test} with a horizon of {horizon} and a gap of {gap}.",
            hint="Use a shorter test span or horizon, or more history.",
        )
    every = test if again.kind == "never" else again.every or max(1, -(-test // REFITS))
    block = (origins - first) // every
    cuts = []
    for number, k in enumerate(np.unique(block)):
        mine = origins[block == k]
        cut = int(mine[0]) - gap
        start = 0 if sliding is None else max(0, cut + 1 - int(sliding))
        fold = Fold(*(pd.Timestamp(stamps[i]) for i in (cut, start, int(mine[0]) + 1, int(mine[-1]) + horizon)))
        cuts.append(Cut(number, fold, stamps[mine]))
    return cuts


def check_test(test: int | float, flag: str = "") -> None:
    """Refuse a test span that is neither a number of rows nor a share of them; ``flag`` stands before its name.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(test, bool) or not test > 0 or (test >= 1 and test % 1):
        raise UsageError(f"{flag}test is {test!r}.", hint="Give a number of rows (300) or a share of them (0.2).")


def check_range(flag: str = "", /, *, level: int, jobs: int) -> None:
    """Refuse a coverage that is no per cent, and no workers; ``flag`` stands before their names.

    Raises:
        UsageError: one is out of range.
    """
    if not 0 < level < 100:
        raise UsageError(f"{flag}level is {level}, expected per cent: 1 to 99.", hint="Such as 90.")
    if jobs == 0:
        raise UsageError(f"{flag}jobs is 0, expected a number of workers.", hint="Use 1, or -1 for one per core.")


def test_rows(panel: Panel, test: int | float) -> int:
    """Stamps in the test span: ``test`` itself, or that share (below 1) of the panel's stamps.

    Raises:
        UsageError: neither a number of rows nor a share.
    """
    check_test(test)
    return int(test) if test >= 1 else max(1, round(test * len(np.unique(panel.ds))))
