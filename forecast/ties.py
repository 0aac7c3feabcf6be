"""Ties: differences too small to mean anything, which scores count as none.

A net computes in float32, in units of the changes it learned: what it means as "the last value", or as a bound at 0,
comes out up to about 1e-7 of a usual change beside it, and float64 rounds a value at 1e-16 of itself. On a series of
few different values (counts, states, prices in ticks) an exact comparison makes directions and misses of that. Two
values are a tie when they differ by less than a millionth of the size of the series' changes (the median of those that
are not 0, which a few absurd readings do not move), or by less than 1e-12 of themselves. Truth and last value are data,
not computed by a net: of them only the second holds.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESOLUTION = 1e-6
"""Of the size of changes: some roundings of float32 (1.2e-7)."""
ROUNDING = 1e-12
"""Of a value: many roundings of float64 (2.2e-16)."""


def change(value: Floats, since: Floats, size: Floats | float = 0.0) -> Floats:
    """``value - since``, exactly 0 for a tie; ``size`` of the series' changes, 0 where both values are data."""
    gap = value - since
    tolerance = np.fmax(RESOLUTION * np.asarray(size), ROUNDING * np.maximum(np.abs(value), np.abs(since)))
    out: Floats = np.where(np.abs(gap) < tolerance, 0.0, gap)  # beside an infinite bound both are infinite: no tie
    return out


def size_of(y: Floats, last: Floats) -> float:
    """Median size of the changes from ``last`` to ``y`` that are not 0, where both are known; 0 where there is none."""
    gap = np.abs(change(y, last))
    known = gap[np.isfinite(gap) & (gap > 0)]
    return float(np.median(known)) if len(known) else 0.0


def by_series(frame: pd.DataFrame) -> Floats:
    """``[N]`` :func:`size_of` of the series of every row; from its median if there is no column ``last``."""
    series = frame.groupby("unique_id", observed=True, sort=False)
    since = frame["last"] if "last" in frame else series["y"].transform("median")
    y, last = frame["y"].to_numpy(np.float64), since.to_numpy(np.float64)
    found = np.zeros(len(frame))
    for rows in series.indices.values():
        found[rows] = size_of(y[rows], last[rows])
    return found
