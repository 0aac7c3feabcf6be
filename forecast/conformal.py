"""Conformal intervals around any model's forecasts: split, rolling, and adaptive for series that drift.

A score says how badly a truth missed its forecast (:func:`point_scores`, :func:`interval_scores`); an
interval reaches as far as a quantile of past scores. **No score is used before it is known**: that of
step k only once k steps have passed since its origin. Where too few scores are known for the level asked
for, the interval is infinite, and stays so in the frame: :func:`forecast.metrics.score` reports the share.

Guarantees. Split covers at least ``level`` on average if scores are exchangeable, which drift breaks.
Adaptive (Gibbs & Candes 2021) covers ``level`` in the long run whatever the series does, because misses
widen and hits narrow the next intervals; its price is an infinite interval now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import metrics
from pipelines.errors import UsageError, did_you_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Literal["split", "rolling", "adaptive"]

METHODS: tuple[Method, ...] = ("split", "rolling", "adaptive")
WINDOW = 250
"""Newest known scores that rolling and adaptive intervals look at."""
RATE = 0.02
"""How far one miss moves the adaptive level (gamma of the paper, which uses 0.005 on 5,000 days)."""


@dataclass(frozen=True)
class Reach:
    """How far intervals reach at every origin.

    Args:
        reach: ``[n, C]`` to add above and subtract below, in units of y; infinite where unbounded.
        level: ``[n, C]`` share aimed at when the interval was made (constant unless adaptive).
    """

    reach: Floats
    level: Floats

    @property
    def infinite(self) -> int:
        """Intervals without bound."""
        return int(np.isinf(self.reach).sum())


# -- scores ------------------------------------------------------------------------------------
def point_scores(y: Floats, forecast: Floats) -> Floats:
    """``|y - f|``: intervals symmetric around the forecast."""
    return metrics.absolute(y, forecast)


def interval_scores(y: Floats, low: Floats, high: Floats) -> Floats:
    """``max(low - y, y - high)``: how far outside; negative inside (Romano, Patterson & Candes 2019)."""
    score: Floats = np.maximum(low - y, y - high)
    return score


def delays(horizon: int, stride: int = 1) -> Ints:
    """``[H]`` origins that pass until the truth of each step is known, with ``stride`` steps between origins."""
    return -(-np.arange(1, horizon + 1) // stride)


# -- arrays ------------------------------------------------------------------------------------
def split(scores: Floats, level: float) -> Floats:
    """``[C]`` reach from the calibration ``scores`` ``[m, C]``, NaN where missing.

    The ``ceil((m + 1) level)``-th smallest score; infinite if there are fewer.
    """
    share = _share(level)
    return _quantile(np.sort(np.asarray(scores, np.float64).T, axis=1), np.full(scores.shape[1], share))


def rolling(scores: Floats, delay: Ints, level: float, *, window: int = WINDOW) -> Reach:
    """Reach at every origin from the newest ``window`` known scores; see :func:`adaptive` for the arguments."""
    return adaptive(scores, delay, level, window=window, rate=0.0)


def adaptive(scores: Floats, delay: Ints, level: float, *, window: int = WINDOW, rate: float = RATE) -> Reach:
    """Adaptive conformal inference (Gibbs & Candes 2021, equation 2), every column on its own.

    The miss rate aimed at moves by ``rate * (target - missed)`` whenever an outcome becomes known. Aims
    below 0 give an infinite interval, aims above 1 the smallest score.

    Args:
        scores: ``[n, C]`` by origin in time order, NaN where the truth is missing (such a row teaches nothing).
        delay: ``[C]`` or ``[n, C]`` origins that pass until a score is known, at least 1 (:func:`delays`); of a column
            a later score is known no earlier.
        level: coverage in per cent, 90 for 90 %.
        window: newest known scores to take quantiles of.
        rate: 0 for a fixed level.

    Cost: a sort of ``C x window`` values per origin.

    Raises:
        UsageError: an argument is out of range.
    """
    share = _share(level)
    scores, delay = np.asarray(scores, np.float64), np.asarray(delay, np.int64)
    fits = scores.ndim == 2 and delay.shape in (scores.shape, scores.shape[1:])
    if not fits or (delay.size and delay.min() < 1):
        raise UsageError(
            f"scores {scores.shape} and delays {delay.shape} do not fit, or a delay is below 1.",
            hint="Scores are [origins, columns], delays one per column or per score; a score is known an origin later "
            "at best.",
        )
    if window < 1 or rate < 0:
        raise UsageError(f"window={window}, rate={rate} are out of range.", hint="window >= 1, rate >= 0.")
    n, columns = scores.shape
    since = np.minimum(np.arange(n)[:, None] + delay, n)  # [n, C] the origin at which a score is known; n: never
    if (np.diff(since, axis=0) < 0).any():
        raise UsageError("a score is known before an earlier one of its column.", hint="Give origins in time order.")
    padded = np.concatenate([np.full((columns, window), np.nan), scores.T], axis=1)  # before the first: an empty window
    past = np.empty((columns, window))
    count = np.zeros(columns, np.int64)  # scores known so far
    miss = np.full(columns, 1 - share)
    reach, aims = np.empty((n, columns)), np.empty((n, columns))
    learning, here = np.zeros((n, columns), bool), np.arange(columns)
    for i in range(n):
        while (fresh := (count < n) & (since[np.minimum(count, n - 1), here] <= i)).any():
            if rate:
                j = np.minimum(count, n - 1)
                teaches = fresh & learning[j, here] & ~np.isnan(scores[j, here])
                missed = scores[j, here] > reach[j, here]
                miss = np.where(teaches, miss + rate * (1 - share - missed), miss)
            count += fresh
        for known in np.unique(count):  # few: columns of one step ahead know as many
            alike = count == known
            past[alike] = padded[alike, known : known + window]
        past.sort(axis=1)
        aims[i] = 1 - miss
        reach[i] = _quantile(past, aims[i])
        # an interval that had too few scores for the target says nothing about the aim
        learning[i] = np.isfinite(_quantile(past, np.full(columns, share)))
    return Reach(reach, aims)


def _quantile(ordered: Floats, share: Floats) -> Floats:
    """``[C]`` conformal quantile of every row of ``ordered`` ``[C, m]``, ascending with NaN last."""
    count = (~np.isnan(ordered)).sum(axis=1)
    # the small term keeps 0.9 * 10 from becoming 9.000000000000002
    rank = np.ceil((count + 1) * np.minimum(share, 1.0) - 1e-9).astype(np.int64)
    inside = np.clip(rank - 1, 0, max(ordered.shape[1] - 1, 0))
    if not ordered.shape[1]:
        return np.full(len(ordered), np.inf)
    picked = np.take_along_axis(ordered, inside[:, None], axis=1)[:, 0]
    out: Floats = np.where((rank > count) | (share >= 1) | (count == 0), np.inf, picked)
    return out


def _share(level: float) -> float:
    if not 0 < level < 100:
        raise UsageError(f"level is {level}, it must lie between 0 and 100.", hint="90 means 90 % of truths inside.")
    return level / 100


# -- result frames -----------------------------------------------------------------------------
def conformalize(
    frame: pd.DataFrame,
    models: Sequence[str],
    *,
    method: Method = "adaptive",
    level: float = 90,
    calibration: pd.DataFrame | None = None,
    around: Literal["point", "interval"] = "point",
    window: int = WINDOW,
    rate: float = RATE,
) -> pd.DataFrame:
    """``frame`` with the columns ``<model>-lo-<level>`` and ``-hi-`` made conformal, per series and step.

    Args:
        frame: result frame whose truths are used as they become known, never earlier.
        models: columns to give intervals.
        method: ``"split"`` takes the calibration rows only; ``"rolling"`` and ``"adaptive"`` start from them
            and go on learning.
        calibration: result frame of cutoffs before those of ``frame``; needed by ``"split"``. Truths after the
            first cutoff of ``frame`` are left out of a split.
        around: ``"point"`` is symmetric around the forecast, ``"interval"`` widens or narrows the interval of
            the same level that the model brought along.

    Raises:
        UsageError: an unknown method, no calibration rows to split on, or no interval to go around.
    """
    if method not in METHODS:
        raise UsageError(
            f"there is no method {method!r}.{did_you_mean(method, METHODS)}", hint=f"Known: {', '.join(METHODS)}."
        )
    if around not in ("point", "interval"):
        raise UsageError(f"around={around!r} is neither 'point' nor 'interval'.", hint="'point' works for any model.")
    metrics.check(frame, models)
    first = frame["cutoff"].min()
    earlier = frame.iloc[:0] if calibration is None else calibration[calibration["cutoff"] < first]
    if method == "split" and not len(earlier):
        raise UsageError(
            "split conformal intervals need calibration rows with cutoffs before those of the frame.",
            hint="Give `calibration`, or use method='adaptive', which learns on the way.",
        )
    both = pd.concat([earlier, frame], ignore_index=True)
    place = _Places(both)
    out = frame.copy()
    for model in models:
        center = _around(both, model, level, around)
        scores = interval_scores(both["y"].to_numpy(np.float64), *center)
        if method == "split":
            late = (both["ds"] > first).to_numpy() | (np.arange(len(both)) >= len(earlier))
            grid = place.spread(np.where(late, np.nan, scores))
            reach = np.broadcast_to(split(grid, level), grid.shape)
        else:
            used = rate if method == "adaptive" else 0.0
            reach = adaptive(place.spread(scores), place.delay, level, window=window, rate=used).reach
        width = reach[place.origin, place.column]
        low, high = center[0] - width, center[1] + width
        crossed = low > high  # narrowed to nothing: the middle of what was left
        low[crossed] = high[crossed] = (low[crossed] + high[crossed]) / 2
        names = metrics.interval(model, level)
        out[names[0]], out[names[1]] = low[len(earlier) :], high[len(earlier) :]
    return out


def _around(frame: pd.DataFrame, model: str, level: float, around: str) -> tuple[Floats, Floats]:
    low, high = (model, model) if around == "point" else metrics.interval(model, level)
    if low not in frame.columns or high not in frame.columns:
        raise UsageError(
            f"the result frame has no {level:g} % interval of {model!r} to go around.", hint="Use around='point'."
        )
    return frame[low].to_numpy(np.float64), frame[high].to_numpy(np.float64)


class _Places:
    """Where rows of a result frame go in an array ``[origins, series x steps]``, and when each truth is known."""

    def __init__(self, frame: pd.DataFrame) -> None:
        step = metrics.steps(frame) - 1
        series, names = pd.factorize(frame["unique_id"].astype(str))
        cutoffs = np.unique(frame["cutoff"].to_numpy())
        self.origin: Ints = np.searchsorted(cutoffs, frame["cutoff"].to_numpy()).astype(np.int64)
        self.column: Ints = (series * (step.max() + 1) + step).astype(np.int64)
        self.shape = (len(cutoffs), len(names) * (int(step.max()) + 1))
        since = np.zeros(self.shape, np.int64)  # the first cutoff at which a truth is known
        since[self.origin, self.column] = np.searchsorted(cutoffs, frame["ds"].to_numpy())
        since = np.maximum.accumulate(since, axis=0)
        self.delay: Ints = np.maximum(since - np.arange(len(cutoffs))[:, None], 1)

    def spread(self, values: Floats) -> Floats:
        """``[origins, series x steps]``, NaN where there is no row."""
        out = np.full(self.shape, np.nan)
        out[self.origin, self.column] = values
        return out
