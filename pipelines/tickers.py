"""load(): tickers or sample names in, a Panel out: source, cache, adjustment, calendar.

The module is not called ``load`` because importing a submodule of that name would hide the function on the facade.

``start`` and ``end`` are both included, as days on the exchange's clock; a bar belongs to them once it is complete
(:mod:`pipelines.asked`). Prices are adjusted as of the last day asked for (``end``, or ``as_of``): the same question
gives the same numbers next year, whatever splits and dividends come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import adjust as adjusting
from pipelines import cache, sources
from pipelines.asked import Asked, asked, known_by
from pipelines.errors import NoDataInRangeError, UsageError, did_you_mean
from pipelines.grid import Grid
from pipelines.panel import Panel, Role
from pipelines.sources import Bars, Fetched, Request, Source

_LATE = pd.Timedelta(days=10)  # a start on a holiday is no reason to speak
INTERVALS = ("1d", "1wk", "1mo", "1h", "90m", "60m", "30m", "15m", "5m", "2m", "1m")


def load(
    tickers: str | Sequence[str],
    *,
    source: str | Source = "yahoo",
    start: str | pd.Timestamp | None = None,
    end: str | pd.Timestamp | None = None,
    interval: str = "1d",
    target: str | None = None,
    past: str | Sequence[str] = (),
    adjust: adjusting.Basis = "splits",
    as_of: str | pd.Timestamp | None = None,
    calendar: str | None = None,
    offline: bool = False,
    refresh: bool = False,
    deadline: float = 12.0,
    cache_dir: str | Path | None = None,
) -> Panel:
    """Series of one or several tickers on the sessions of their exchange.

    Args:
        tickers: one name or several; each becomes a series of that id.
        source: ``yahoo``, ``sample``, ``memory``, or an object that fetches (:class:`pipelines.sources.Source`).
        start: first day, included.
        end: last day, included; the month (week, hour) that goes on behind it is left out.
        interval: ``1d``, ``1wk``, ``1mo``, ``1h`` or shorter.
        target: column to forecast; the source's own choice (``close`` for prices) by default.
        past: further columns as past covariates, or ``"all"``.
        adjust: ``splits`` (default), ``none`` (as traded) or ``total`` (splits and dividends).
        as_of: pretend to stand at the end of this day: later rows, bars that are not complete by then, and later
            splits and dividends do not exist.
        calendar: put all series on the sessions of this exchange; needed where tickers of different
            exchanges are mixed. Bars on other days are left out and counted in the notes.
        offline: use what the cache holds, ask nobody.
        refresh: ask the source even if the cache is fresh.
        deadline: seconds for each ticker, all retries together.
        cache_dir: folder of the cache; the user's cache folder by default.

    Raises:
        UsageError: an argument is wrong.
        SourceError: the source did not deliver (see the error tree).
    """
    names = _names(tickers)
    span = asked(start, end, as_of)
    adjusting.check_basis(adjust)
    if interval not in INTERVALS:
        raise UsageError(
            f"interval {interval!r} is unknown.{did_you_mean(interval, INTERVALS)}",
            hint=f"Intervals: {', '.join(INTERVALS)}.",
        )
    maker = sources.get(source) if isinstance(source, str) else source
    series = []
    for name in names:
        got = fetch(
            name,
            source=maker,
            interval=interval,
            offline=offline,
            refresh=refresh,
            deadline=deadline,
            cache_dir=cache_dir,
        )
        series.append(_cut(got, span, adjust))
    return _panel(series, target, past, calendar, source=maker.name, interval=interval, basis=adjust, as_of=span.last)


def fetch(
    ticker: str,
    *,
    source: str | Source = "yahoo",
    interval: str = "1d",
    offline: bool = False,
    refresh: bool = False,
    deadline: float = 12.0,
    cache_dir: str | Path | None = None,
) -> Fetched:
    """Everything the source has for one ticker, as traded, through the cache where the source wants one.

    Raises:
        SourceError: the source did not deliver and the cache cannot help.
    """
    maker = sources.get(source) if isinstance(source, str) else source
    if not deadline > 0:
        raise UsageError(f"deadline {deadline!r} is not a positive number of seconds.", hint="Use for instance 12.")
    request = Request(ticker=maker.spell(ticker), interval=interval, deadline=deadline)
    if not maker.cached:
        return Fetched(maker.fetch(request))
    return cache.fetch(maker, request, cache_dir=cache_dir, offline=offline, refresh=refresh)


def _names(tickers: str | Sequence[str]) -> list[str]:
    names = [tickers] if isinstance(tickers, str) else list(tickers)
    if not names:
        raise UsageError("no ticker was given.", hint="Give one, for instance '^GSPC'.")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise UsageError(f"{name!r} is not a ticker.", hint="Give text, for instance '^GSPC'.")
    names = [name.strip() for name in names]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"ticker {twice!r} was given twice.", hint="Name each series once.")
    return names


def _cut(got: Fetched, span: Asked, basis: adjusting.Basis) -> Fetched:
    """Rows in range, adjusted as of the end of the range."""
    bars = got.bars
    frame = bars.frame
    if not len(frame):
        raise NoDataInRangeError(f"{bars.ticker}: the source has no rows.", hint="Try another ticker or interval.")
    low, high = span.between(bars.grid)
    upto, actions = known_by(frame, bars.actions, bars.grid, high)
    prices = adjusting.adjust(upto, actions, basis) if "close" in frame else upto
    rows = prices if low is None else prices[prices.index >= low]
    if not len(rows):
        raise NoDataInRangeError(
            f"{bars.ticker}: no rows between {_show(span.low, 'the beginning')} and {_show(span.last, 'today')}; "
            f"there are rows from {frame.index[0]:%Y-%m-%d} to {frame.index[-1]:%Y-%m-%d}.",
            hint="Change --start or --end.",
        )
    notes = got.notes
    if low is not None and frame.index[0] > low + _LATE:
        late = (
            f"{bars.ticker}: the source has no rows before {_show(frame.index[0], '')}; "
            f"{_show(span.low, '')} was asked for."
        )
        notes = (*notes, late)
    return replace(got, bars=replace(bars, frame=rows, actions=actions), notes=notes)


def _show(stamp: pd.Timestamp | None, instead: str) -> str:
    return instead if stamp is None else f"{stamp:%Y-%m-%d}"


def _panel(
    series: Sequence[Fetched],
    target: str | None,
    past: str | Sequence[str],
    calendar: str | None,
    *,
    source: str,
    interval: str,
    basis: str,
    as_of: pd.Timestamp | None,
) -> Panel:
    grid, name = _common([got.bars for got in series], calendar, target)
    covariates = _covariates(past, series[0].bars, name)
    parts, notes = [], []
    for got in series:
        rows, remarks = _on_grid(got.bars, grid, [name, *covariates])
        part = pd.DataFrame({"unique_id": got.bars.ticker, "ds": rows.index.to_numpy(), "y": rows[name].to_numpy()})
        for column in covariates:
            part[column] = rows[column].to_numpy()
        parts.append(part)
        notes += [*got.bars.notes, *got.notes, *remarks]
        if got.stale_since is not None:
            since = f"{pd.Timestamp(got.stale_since):%Y-%m-%d %H:%M} UTC"
            notes.append(f"{got.bars.ticker}: stale since {since}, cached rows are used: {got.why_stale}")
    roles: dict[str, Role] = dict.fromkeys(covariates, "past")
    ids = ", ".join(got.bars.ticker for got in series[:5]) + (" ..." if len(series) > 5 else "")
    return Panel(
        pd.concat(parts, ignore_index=True),
        grid,
        roles=roles,
        target=name,
        source=f"{source}: {ids}",
        notes=tuple(notes),
        meta=_meta(series, source, interval, basis, as_of),
    )


def _common(bars: Sequence[Bars], calendar: str | None, target: str | None) -> tuple[Grid, str]:
    """The one grid and the one target of all series."""
    grid = bars[0].grid if calendar is None else Grid("D", calendar)
    for one in bars:
        if calendar is None and one.grid != grid:
            raise UsageError(
                f"{bars[0].ticker} lies on {grid} and {one.ticker} on {one.grid}: one panel has one grid.",
                hint="Load them apart, or put all on the sessions of one exchange: load(..., calendar='XNYS').",
            )
    name = target or bars[0].target
    alike = [column for column in bars[0].frame.columns if str(column).casefold() == name.casefold()]
    if name not in bars[0].frame and len(alike) == 1:
        name = alike[0]
    for one in bars:
        if name not in one.frame:
            raise UsageError(
                f"{one.ticker} has no column {name!r}.{did_you_mean(name, list(one.frame.columns))}",
                hint=f"Columns: {', '.join(one.frame.columns)}.",
            )
    return grid, name


def _covariates(past: str | Sequence[str], bars: Bars, target: str) -> list[str]:
    known = [column for column in bars.frame.columns if column != target]
    wanted = [past] if isinstance(past, str) else list(past)
    if wanted == ["all"]:
        return known
    for column in wanted:
        if column not in known:
            raise UsageError(
                f"past covariate {column!r} is not a column of {bars.ticker}.{did_you_mean(column, known)}",
                hint=f"Columns: {', '.join(known) or 'none'}.",
            )
    return wanted


def _on_grid(bars: Bars, grid: Grid, columns: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Bars at the grid's stamps: missing ones become NaN rows, others are left out; both are said."""
    lacking = [column for column in columns if column not in bars.frame]
    if lacking:
        raise UsageError(f"{bars.ticker} has no column {lacking[0]!r}.", hint="Load it apart from the others.")
    frame = bars.frame[columns]
    stamps = grid.between(frame.index[0], frame.index[-1])
    off = frame.index.difference(stamps)
    frame = frame[~frame.index.isin(off)]
    notes = []
    if len(off):
        notes.append(f"{bars.ticker}: {_few(off)} not on {grid} and left out.")
    if not len(frame):
        raise NoDataInRangeError(f"{bars.ticker}: no row lies on {grid}.", hint="Use another calendar.")
    stamps = stamps[(stamps >= frame.index[0]) & (stamps <= frame.index[-1])]
    gone = stamps.difference(frame.index)
    if len(gone):
        notes.append(f"{bars.ticker}: {_few(gone)} of {grid} without a bar, kept as missing.")
    rows = frame.reindex(stamps)
    return rows.where(np.isfinite(rows)), notes


def _few(stamps: pd.DatetimeIndex) -> str:
    text = ", ".join(f"{stamp:%Y-%m-%d}" if stamp == stamp.normalize() else str(stamp) for stamp in stamps[:3])
    return f"{len(stamps)} stamp{'s' if len(stamps) != 1 else ''} ({text}{', ...' if len(stamps) > 3 else ''})"


def _meta(
    series: Sequence[Fetched], source: str, interval: str, basis: str, as_of: pd.Timestamp | None
) -> dict[str, Any]:
    stale = [got.stale_since for got in series if got.stale_since is not None]
    fetched = [got.fetched_at for got in series if got.fetched_at is not None]
    currencies = {got.bars.meta.get("currency") for got in series}
    prices = all(got.bars.target in adjusting.PRICES for got in series)
    return {
        "source": source,
        "kind": "price" if prices else None,
        "tickers": [got.bars.ticker for got in series],
        "interval": interval,
        "adjust": basis,
        "as_of": None if as_of is None else as_of.isoformat(),
        "currency": currencies.pop() if len(currencies) == 1 else None,
        "fetched_at": min(fetched) if fetched else None,
        "stale_since": min(stale) if stale else None,
        "revisions": [{"ticker": got.bars.ticker, **change} for got in series for change in got.revisions],
        "series": {
            got.bars.ticker: {
                **got.bars.meta,
                "fetched_at": got.fetched_at,
                "stale_since": got.stale_since,
                "actions": [
                    {"date": f"{day:%Y-%m-%d}", "kind": str(kind), "value": float(value)}
                    for day, kind, value in got.bars.actions.itertuples(index=False)
                ],
            }
            for got in series
        },
    }
