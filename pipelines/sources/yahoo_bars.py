"""What Yahoo delivered, as bars: naive stamps, prices as traded, dated splits and dividends, only what is finished."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipelines.adjust import as_traded
from pipelines.errors import NoDataInRangeError
from pipelines.grid import Grid
from pipelines.sources.base import Bars, no_actions
from pipelines.sources.exchanges import daily_grid, intraday_grid, pandas_freq, step

# how many days back Yahoo keeps bars shorter than a day
LIMIT_DAYS = {"1m": 7, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "1h": 730, "60m": 730}


def bars_of(symbol: str, interval: str, frame: pd.DataFrame, meta: dict[str, Any]) -> Bars:
    """yfinance's frame as our bars: naive stamps, as traded, only finished."""
    daily = interval in ("1d", "1wk", "1mo")
    index = pd.DatetimeIndex(frame.index)
    stamps = index.tz_localize(None) if daily else index.tz_convert("UTC").tz_localize(None)
    stamps = pd.DatetimeIndex(stamps.to_numpy("datetime64[ns]"), name="ds")
    names = ("open", "high", "low", "close", "volume")
    bars = pd.DataFrame({name: frame[name.title()].to_numpy(np.float64) for name in names}, index=stamps)
    actions = _actions(frame, stamps)
    order = np.argsort(stamps.to_numpy(), kind="stable")
    bars = bars.iloc[order]
    bars = bars[~bars.index.duplicated(keep="last")]
    bars, notes = _finished(symbol, interval, bars, meta)
    bars, actions = as_traded(bars, actions)
    grid, note = _grid(symbol, interval, bars, meta)
    if interval in LIMIT_DAYS:
        notes.append(f"{symbol}: Yahoo keeps {interval} bars for {LIMIT_DAYS[interval]} days.")
    return Bars(
        ticker=symbol,
        frame=bars,
        target="close",
        grid=grid,
        actions=actions,
        meta={
            "currency": meta.get("currency"),
            "exchange": meta.get("fullExchangeName") or meta.get("exchangeName"),
            "timezone": meta.get("exchangeTimezoneName"),
            "kind": meta.get("instrumentType"),
            "title": meta.get("longName") or meta.get("shortName"),
        },
        notes=(*notes, *([f"{symbol}: {note}"] if note else [])),
    )


def _actions(frame: pd.DataFrame, stamps: pd.DatetimeIndex) -> pd.DataFrame:
    """Splits and cash per share (dividends and, for funds, capital gains), by ex-date."""
    cash = frame["Dividends"].to_numpy(np.float64)
    if "Capital Gains" in frame:
        cash = cash + frame["Capital Gains"].to_numpy(np.float64)
    splits = frame["Stock Splits"].to_numpy(np.float64)
    rows = [(day, "split", ratio) for day, ratio in zip(stamps, splits, strict=True) if ratio > 0 and ratio != 1]
    rows += [(day, "dividend", amount) for day, amount in zip(stamps, cash, strict=True) if amount > 0]
    if not rows:
        return no_actions()
    table = pd.DataFrame(sorted(rows), columns=["ds", "kind", "value"])
    return table.astype({"ds": "datetime64[ns]", "kind": object, "value": "float64"})


def _finished(symbol: str, interval: str, bars: pd.DataFrame, meta: dict[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """Without trailing rows that have no close, and without the bar that is still being traded."""
    notes = []
    valid = np.flatnonzero(bars["close"].notna().to_numpy())
    kept = bars.iloc[: valid[-1] + 1] if len(valid) else bars.iloc[:0]
    if len(kept) < len(bars) and len(kept):
        notes.append(f"{symbol}: {len(bars) - len(kept)} row(s) after {kept.index[-1]} had no close and were left out.")
    now = pd.Timestamp.now("UTC")
    if len(kept) and now < _closes(kept.index[-1], interval, meta):
        notes.append(f"{symbol}: the bar of {_label(kept.index[-1], interval)} is not finished and was left out.")
        kept = kept.iloc[:-1]
    if not len(kept):
        raise NoDataInRangeError(
            f"Yahoo has no finished {interval} bar of {symbol} in the range.", hint="Use an earlier --start."
        )
    return kept, notes


def _closes(stamp: pd.Timestamp, interval: str, meta: dict[str, Any]) -> pd.Timestamp:
    """When the bar at ``stamp`` is complete (UTC)."""
    zone = str(meta.get("exchangeTimezoneName") or "UTC")
    if interval not in ("1d", "1wk", "1mo"):
        return stamp.tz_localize("UTC") + step(interval)
    regular = ((meta.get("currentTradingPeriod") or {}).get("regular")) or {}
    if interval == "1d" and regular.get("start") and regular.get("end"):
        opens = pd.Timestamp(int(regular["start"]), unit="s", tz="UTC").tz_convert(zone)
        if opens.date() == stamp.date():
            return pd.Timestamp(int(regular["end"]), unit="s", tz="UTC")
    after = stamp + (pd.DateOffset(months=1) if interval == "1mo" else step(interval))
    return pd.Timestamp(after).tz_localize(zone, nonexistent="shift_forward", ambiguous=True).tz_convert("UTC")


def _label(stamp: pd.Timestamp, interval: str) -> str:
    return f"{stamp:%Y-%m-%d}" if interval in ("1d", "1wk", "1mo") else f"{stamp} UTC"


def _grid(symbol: str, interval: str, bars: pd.DataFrame, meta: dict[str, Any]) -> tuple[Grid, str | None]:
    if interval == "1d":
        return daily_grid(meta, pd.DatetimeIndex(bars.index))
    if interval in ("1wk", "1mo"):
        return Grid(pandas_freq(interval)), None
    return intraday_grid(meta, pd.DatetimeIndex(bars.index), pandas_freq(interval))
