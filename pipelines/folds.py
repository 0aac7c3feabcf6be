"""Folds: where a walk-forward evaluation cuts time.

Every fold has a ``cutoff``: training rows are at or before it, test rows after it. Folds are cut on the
union of the panel's time stamps, so that series of different lengths are cut at the same moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import TooShortError, UsageError
from pipelines.panel import Panel

Index = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """One cut. ``train_start <= rows <= cutoff`` train, ``test_start <= rows <= test_end`` test."""

    cutoff: pd.Timestamp
    train_start: pd.Timestamp
    test_start: pd.Timestamp
    test_end: pd.Timestamp

    def train(self, panel: Panel) -> Panel:
        """Training rows: nothing after the cutoff is in it."""
        from dataclasses import replace

        part = panel.up_to(self.cutoff)
        return replace(part, frame=part.frame[part.frame["ds"] >= self.train_start])

    def test(self, panel: Panel) -> pd.DataFrame:
        """Ground truth rows ``unique_id, ds, y``, handed out apart from the inputs."""
        inside = panel.frame["ds"].between(self.test_start, self.test_end)
        return panel.frame.loc[inside, ["unique_id", "ds", "y"]]


def at_least(least: int, flag: str = "", /, **given: float | None) -> None:
    """Refuse the first number of ``given`` that is below ``least``; ``flag`` stands before its name: ``--``.

    Raises:
        UsageError: one is.
    """
    for name, value in given.items():
        if value is not None and not value >= least:
            raise UsageError(
                f"{flag}{name} is {value}, it must be at least {least}.", hint=f"Give {least} or more, or leave it out."
            )


def walk_forward(
    panel: Panel | pd.DatetimeIndex,
    *,
    folds: int = 5,
    test: int,
    gap: int = 0,
    stride: int | None = None,
    max_train: int | None = None,
) -> list[Fold]:
    """Cut time into ``folds`` folds that end with the last row, the first cut earliest.

    With ``stride=None`` test spans touch, as in scikit-learn's ``TimeSeriesSplit(test_size=test, gap=gap)``.

    Args:
        test: rows in each test span.
        gap: rows between the cutoff and the test span that nobody uses (embargo).
        stride: rows between cutoffs; ``test`` by default.
        max_train: sliding instead of expanding training span of at most so many rows.

    Raises:
        UsageError: an argument is out of range.
        TooShortError: there are not enough rows for that many folds.
    """
    stamps = panel if isinstance(panel, pd.DatetimeIndex) else pd.DatetimeIndex(np.unique(panel.ds))
    stride = test if stride is None else stride
    at_least(1, folds=folds, test=test, stride=stride, max_train=max_train)
    at_least(0, gap=gap)
    total = len(stamps)
    first_cut = total - test - gap - (folds - 1) * stride - 1
    if first_cut < 0:
        raise TooShortError(
            f"{total} rows are too few for {folds} folds of {test} test rows, {stride} apart, with a gap of {gap}; "
            f"{folds * stride + test + gap - stride + 1} are needed.",
            hint="Use fewer folds or shorter test spans.",
        )
    out = []
    for k in range(folds):
        cut = first_cut + k * stride
        start = 0 if max_train is None else max(0, cut + 1 - max_train)
        out.append(Fold(stamps[cut], stamps[start], stamps[cut + gap + 1], stamps[cut + gap + test]))
    return out


class WalkForwardSplit:
    """The same folds as a scikit-learn cross-validation splitter over windows.

    ``split(windows)`` takes :class:`pipelines.Windows` (or any ``X`` with ``groups`` = the time stamp of each
    row's origin). Training rows are those whose *targets* end at or before the cutoff, so none of them
    overlaps a test target (purging); ``horizon`` says how far targets reach.
    """

    def __init__(self, n_splits: int = 5, *, test: int, horizon: int = 1, gap: int = 0) -> None:
        at_least(1, n_splits=n_splits, test=test, horizon=horizon)
        at_least(0, gap=gap)
        self.n_splits, self.test, self.horizon, self.gap = n_splits, test, horizon, gap

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[Index, Index]]:
        origins = getattr(X, "origins", groups)
        if origins is None:
            raise UsageError(
                "the splitter got no time stamps.",
                hint="Pass the Windows themselves, or `groups=windows.origins` through cross_val_score.",
            )
        stamps = pd.DatetimeIndex(np.unique(np.asarray(origins)))
        rank = np.searchsorted(stamps.to_numpy(), np.asarray(origins))
        for fold in walk_forward(stamps, folds=self.n_splits, test=self.test, gap=self.gap):
            cut, low, high = (stamps.get_loc(s) for s in (fold.cutoff, fold.test_start, fold.test_end))
            train = np.flatnonzero(rank + self.horizon - 1 <= cut)
            yield train, np.flatnonzero((rank >= low) & (rank <= high))
