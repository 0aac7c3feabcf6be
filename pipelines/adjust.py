"""Splits and dividends, point in time: prices as they looked on a chosen day.

Bars are kept as traded, with dated actions beside them. An action with ex-date ``d`` changes the
rows before ``d``, and only if ``d <= as_of``: what happens after ``as_of`` moves nothing. Method:
the cumulative factors of CRSP, ``1 / ratio`` for a split and ``1 - dividend / previous close`` for a
dividend (also what Yahoo's Adj Close and the LEAN factor files hold).
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import UsageError, ValueRangeError, did_you_mean

Basis = Literal["none", "splits", "total"]
BASES: tuple[str, ...] = get_args(Basis)
PRICES = ("open", "high", "low", "close")


def check_basis(basis: str) -> None:
    """Refuse an unknown basis.

    Raises:
        UsageError: ``basis`` is not one of none, splits, total.
    """
    if basis not in BASES:
        raise UsageError(
            f"adjustment {basis!r} is unknown.{did_you_mean(basis, BASES)}",
            hint="none: as traded; splits: comparable share counts; total: splits and dividends.",
        )


def split_factor(
    stamps: pd.DatetimeIndex, actions: pd.DataFrame, as_of: pd.Timestamp | None = None
) -> NDArray[np.float64]:
    """``[N]`` what as-traded prices at ``stamps`` are multiplied by so that splits up to ``as_of`` are undone."""
    splits = _known(actions, "split", as_of)
    return _before(stamps, splits["ds"], 1.0 / splits["value"].to_numpy(np.float64))


def dividend_factor(close: pd.Series, actions: pd.DataFrame, as_of: pd.Timestamp | None = None) -> NDArray[np.float64]:
    """``[N]`` what prices are multiplied by so that dividends up to ``as_of`` count as reinvested.

    Args:
        close: as-traded closes, indexed by time.
        actions: splits are needed too: on a day with both, the dividend is per new share.

    Raises:
        ValueRangeError: a dividend is at least as large as the close before it.
    """
    dividends = _known(actions, "dividend", as_of)
    splits = _known(actions, "split", as_of)
    whole = close.ffill().to_numpy(np.float64)
    factors = np.ones(len(dividends))
    for row, (day, cash) in enumerate(zip(dividends["ds"], dividends["value"], strict=True)):
        before = int(np.searchsorted(close.index.to_numpy(), day.to_datetime64())) - 1
        if before < 0 or np.isnan(whole[before]):
            continue  # no row before it: there is nothing to change
        ratio = float(np.prod(splits.loc[splits["ds"] == day, "value"].to_numpy(np.float64)))
        previous = whole[before] / ratio
        if not 0 <= cash < previous:
            raise ValueRangeError(
                f"the dividend of {cash:g} on {day:%Y-%m-%d} is not below the previous close of {previous:g}.",
                hint="The source is wrong there; load with adjust='splits'.",
            )
        factors[row] = 1.0 - cash / previous
    return _before(pd.DatetimeIndex(close.index), dividends["ds"], factors)


def adjust(
    bars: pd.DataFrame, actions: pd.DataFrame, basis: Basis = "splits", as_of: pd.Timestamp | None = None
) -> pd.DataFrame:
    """As-traded bars on another basis.

    Args:
        bars: indexed by time; open, high, low, close and volume where present, other columns are kept as they are.
        actions: columns ``ds, kind, value`` (see :class:`pipelines.sources.base.Bars`).
        basis: ``none`` returns the bars as traded; ``splits`` makes share counts comparable (what charts
            show as Close); ``total`` also reinvests dividends (Adj Close).
        as_of: only actions with an ex-date up to here are known; ``None`` means all.

    Returns:
        A new frame. Volume follows splits only.
    """
    check_basis(basis)
    result = bars.copy()
    if basis == "none" or not len(bars) or not len(actions):
        return result
    stamps = pd.DatetimeIndex(bars.index)
    shares = split_factor(stamps, actions, as_of)
    factor = shares if basis == "splits" else shares * dividend_factor(bars["close"], actions, as_of)
    for name in PRICES:
        if name in result:
            result[name] = result[name].to_numpy(np.float64) * factor
    if "volume" in result:
        result["volume"] = result["volume"].to_numpy(np.float64) / shares
    return result


def as_traded(bars: pd.DataFrame, actions: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Undo the split adjustment of a source that delivers prices and dividends on today's share count (Yahoo does).

    Returns:
        Bars and actions as of each day: exact inverse of ``adjust(..., "splits")``.
    """
    shares = split_factor(pd.DatetimeIndex(bars.index), actions)
    raw = bars.copy()
    for name in PRICES:
        if name in raw:
            raw[name] = raw[name].to_numpy(np.float64) / shares
    if "volume" in raw:
        raw["volume"] = raw["volume"].to_numpy(np.float64) * shares
    dated = actions.copy()
    cash = dated["kind"].to_numpy() == "dividend"
    scale = split_factor(pd.DatetimeIndex(dated["ds"]), actions)
    dated["value"] = np.where(cash, dated["value"].to_numpy(np.float64) / scale, dated["value"].to_numpy(np.float64))
    return raw, dated


def _known(actions: pd.DataFrame, kind: str, as_of: pd.Timestamp | None) -> pd.DataFrame:
    rows = actions[actions["kind"] == kind]
    return rows if as_of is None else rows[rows["ds"] <= as_of]


def _before(stamps: pd.DatetimeIndex, days: pd.Series, factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[N]`` for each stamp the product of ``factors`` whose day comes after it."""
    order = np.argsort(days.to_numpy(), kind="stable")
    later = np.concatenate([np.cumprod(factors[order][::-1])[::-1], [1.0]])
    rank = np.searchsorted(days.to_numpy()[order], stamps.to_numpy(), side="right")
    product: NDArray[np.float64] = later[rank]
    return product
