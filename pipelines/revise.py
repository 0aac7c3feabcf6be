"""When cached bars are fresh, how they are refreshed, and what counts as a revision.

Bars are as traded, so an old and a new download agree where nothing was revised, whatever splits and
dividends came in between: one dated behind the rows that were cached is news, no revision. After such a split
everything is fetched again all the same, because the source then writes its whole history anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipelines import sessions
from pipelines.errors import NoDataInRangeError, TimeError
from pipelines.sources.base import Bars, Fetched, Request, Source
from pipelines.where import plural

TOLERANCE = 1e-4
OVERLAP = 10
# what an exchange needs to publish the last bar after the close, and how soon asking again is pointless
SETTLE = pd.Timedelta(minutes=30)
_RECENT = pd.Timedelta(minutes=15)
_INTRADAY_DAYS = {"1m": 7, "2m": 60, "5m": 60, "15m": 60, "30m": 60, "90m": 60, "1h": 730, "60m": 730}


def fetched_at(found: Fetched) -> pd.Timestamp:
    return pd.Timestamp(found.fetched_at)


def fresh(found: Fetched, interval: str, now: pd.Timestamp) -> bool:
    """Whether nothing new can have appeared since the entry was fetched."""
    age = now - fetched_at(found)
    if age < pd.Timedelta(0):
        return False  # fetched "in the future": a clock was set back, so it says nothing
    if interval not in ("1d", "1wk", "1mo"):
        return bool(age < pd.Timedelta(seconds=found.bars.grid.step_seconds))
    if age < _RECENT:
        return True
    last = _last_close(found.bars.grid.calendar if interval == "1d" else "XNYS", now - SETTLE)
    return bool(fetched_at(found) >= last + SETTLE)


def _last_close(calendar: str | None, before: pd.Timestamp) -> pd.Timestamp:
    """The last close of a session at or before ``before`` (UTC); days end at midnight UTC without a calendar."""
    if calendar is None:
        return before.floor("D")
    try:
        return sessions.last_close(calendar, before)
    except TimeError:  # a calendar that ends before today, or cannot be built: as without one
        return before.floor("D")


def renew(source: Source, request: Request, old: Fetched | None) -> Fetched:
    """Ask the source: the last rows again where there is an entry, everything where they disagree."""
    start = None if old is None else _overlap_start(old, request.interval)
    if old is None or start is None:
        bars = source.fetch(request)
        return _fetched(bars) if old is None else _revised(old, bars)
    try:
        tail = source.fetch(replace(request, start=start))
    except NoDataInRangeError:
        return _revised(old, source.fetch(request))
    if _same(old.bars, tail, start):
        return replace(_fetched(_extend(old.bars, tail, start)), revisions=old.revisions)
    return _revised(old, source.fetch(request))


def _fetched(bars: Bars) -> Fetched:
    return Fetched(bars, fetched_at=pd.Timestamp.now("UTC").isoformat(timespec="microseconds"))


def _overlap_start(old: Fetched, interval: str) -> pd.Timestamp | None:
    """First stamp to fetch again; ``None`` where the source no longer has rows that old."""
    start = pd.Timestamp(old.bars.frame.index[-min(OVERLAP, len(old.bars.frame))]).normalize()
    days = _INTRADAY_DAYS.get(interval)
    if days is not None and start < pd.Timestamp.now("UTC").tz_localize(None) - pd.Timedelta(days=days):
        return None
    return start


def _same(old: Bars, tail: Bars, start: pd.Timestamp) -> bool:
    """Whether the overlap agrees and no action is new but dividends behind the old rows."""
    before = old.frame[old.frame.index >= start]
    moved, _, _ = _difference(before, tail.frame)
    gone = before.index.difference(tail.frame.index)
    known, now = _action_set(old.actions[old.actions["ds"] >= start]), _action_set(tail.actions)
    news = {action for action in now - known if action[0] > old.frame.index[-1] and action[1] != "split"}
    return not len(moved) and not len(gone) and known == now - news


def _difference(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex, float]:
    """Stamps whose prices moved by more than the tolerance, stamps that vanished, and the largest relative move.

    A value that was missing and now is there is news, not a revision. Volumes are revised all the time and
    are left out where there are prices.
    """
    common = old.index.intersection(new.index)
    columns = [name for name in old.columns if name in new.columns and (name != "volume" or len(old.columns) == 1)]
    a = old.loc[common, columns].to_numpy(np.float64)
    b = new.loc[common, columns].to_numpy(np.float64)
    scale = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(np.float64).tiny)
    change = np.where(np.isnan(a), 0.0, np.where(np.isnan(b), np.inf, np.abs(a - b) / scale))
    worst = change.max(axis=1, initial=0.0)
    inside = old.index[old.index >= new.index[0]] if len(new) else old.index[:0]
    moved = pd.DatetimeIndex(common[worst > TOLERANCE])
    return moved, pd.DatetimeIndex(inside.difference(new.index)), float(worst.max(initial=0.0))


def _action_set(actions: pd.DataFrame) -> set[tuple[Any, ...]]:
    # six digits: as-traded dividends are computed from today's share count and back
    return {(day, str(kind), f"{value:.6g}") for day, kind, value in actions.itertuples(index=False)}


def _extend(old: Bars, tail: Bars, start: pd.Timestamp) -> Bars:
    """Old rows before the overlap, the source's rows from there on."""
    frame = pd.concat([old.frame[old.frame.index < start], tail.frame])
    actions = pd.concat([old.actions[old.actions["ds"] < start], tail.actions], ignore_index=True)
    return replace(tail, frame=frame, actions=actions, grid=old.grid)


def _revised(old: Fetched, full: Bars) -> Fetched:
    """Everything anew, with a record of what changed; rows older than the source now goes stay if they still fit."""
    moved, gone, largest = _difference(old.bars.frame, full.frame)
    first = full.frame.index[0]
    older = old.bars.frame[old.bars.frame.index < first]
    bars = full
    lost = len(gone)
    if len(older):
        common = old.bars.frame.index.intersection(full.frame.index)
        if len(common) and not len(moved):
            before = old.bars.actions[old.bars.actions["ds"] < first]
            bars = replace(
                full,
                frame=pd.concat([older, full.frame]),
                actions=pd.concat([before, full.actions], ignore_index=True),
            )
        else:
            lost += len(older)
    was, now = _action_set(old.bars.actions), _action_set(bars.actions)
    added = sorted(_plain({action for action in now - was if action[0] <= old.bars.frame.index[-1]}))
    removed = sorted(_plain(was - now))
    if not (len(moved) or lost or added or removed):
        return replace(_fetched(bars), revisions=old.revisions)
    record = {
        "found_at": pd.Timestamp.now("UTC").isoformat(timespec="seconds"),
        "previous_fetch": old.fetched_at,
        "rows_changed": len(moved),
        "first": None if not len(moved) else moved[0].isoformat(),
        "last": None if not len(moved) else moved[-1].isoformat(),
        "largest_change": None if not np.isfinite(largest) else largest,
        "rows_gone": lost,
        "actions_new": added,
        "actions_gone": removed,
    }
    note = f"{bars.ticker}: {_sentence(record)}"
    return replace(_fetched(bars), revisions=(*old.revisions, record), notes=(note,))


def _plain(actions: set[tuple[Any, ...]]) -> list[str]:
    return [f"{day:%Y-%m-%d} {kind} {value}" for day, kind, value in actions]


def _sentence(record: dict[str, Any]) -> str:
    """The revision in words."""
    parts = []
    if record["rows_changed"]:
        size = record["largest_change"]
        parts.append(
            f"{plural(record['rows_changed'], 'row')} from {record['first'][:10]} to {record['last'][:10]} changed"
            + (f" by up to {size:.2%}" if size is not None else ", some are now missing")
        )
    if record["rows_gone"]:
        gone = record["rows_gone"]
        parts.append(f"{plural(gone, 'row')} {'is' if gone == 1 else 'are'} no longer delivered")
    for key, word in (("actions_new", "new"), ("actions_gone", "withdrawn")):
        if record[key]:
            more = f" and {len(record[key]) - 1} more" if len(record[key]) > 1 else ""
            parts.append(f"{word}: {record[key][0]}{more}")
    return "the source revised its data, so all rows were fetched again: " + "; ".join(parts) + "."
