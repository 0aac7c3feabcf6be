"""What span of time was asked for, on the clock of each series, and which bars and actions are known by its end.

Days are days on the wall clock of a series' grid (``Grid.tz``; session dates where there is none). A row of a day or a
session counts by its stamp; of a moment that names its zone (20:00 in New York) the day there. Any other bar is stamped
where it begins (months and quarters stamped at their end, and weeks not named by their Monday, excepted) and known once
the next one begins: the bar of January is none on the 20th. Assumption, named: a week ends where the next begins, not
with its last session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import UsageError
from pipelines.grid import Grid

_DAY = pd.Timedelta(days=1)
_TICK = pd.Timedelta(1, "ns")


@dataclass(frozen=True)
class Asked:
    """The span asked for; stamps without a zone are on the wall clock, others UTC.

    Args:
        low: the first moment, or ``None``.
        highs: the last moments, whichever comes first.
    """

    low: pd.Timestamp | None
    highs: tuple[pd.Timestamp, ...]

    @property
    def last(self) -> pd.Timestamp | None:
        """The last moment, read as UTC, for people and records."""
        return min(map(_plain, self.highs), default=None)

    def between(self, grid: Grid) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
        """First and last moment in the stamps of ``grid``."""
        low = None if self.low is None else _stamp(self.low, grid, first=True)
        return low, min((_stamp(high, grid, first=False) for high in self.highs), default=None)


def asked(start: Any, end: Any, as_of: Any) -> Asked:
    """The span from ``start`` to ``end`` or ``as_of``; a plain day as an end means the whole of it.

    Raises:
        UsageError: one is not a date, or they are the wrong way round.
    """
    low, high, known = (_day(value, name) for value, name in ((start, "start"), (end, "end"), (as_of, "as_of")))
    span = Asked(
        low,
        tuple(
            day + _DAY - _TICK if day.tz is None and day == day.normalize() else day
            for day in (high, known)
            if day is not None
        ),
    )
    if low is not None and span.last is not None and _plain(low) > span.last:
        raise UsageError(f"start {low:%Y-%m-%d} is after end {span.last:%Y-%m-%d}.", hint="Swap them.")
    return span


def known_by(
    frame: pd.DataFrame, actions: pd.DataFrame, grid: Grid, high: pd.Timestamp | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bars that are complete at ``high``, and the splits and dividends known with them."""
    if high is None:
        return frame, actions
    stamps = pd.DatetimeIndex(frame.index)
    if _by_stamp(grid):
        return frame[stamps <= high], actions[actions["ds"] <= high]
    ends = stamps + pd.tseries.frequencies.to_offset(grid.freq)
    kept: NDArray[np.bool_] = ends <= high + _TICK
    # what came behind the last of these bars belongs to one that was not complete, whatever day it is filed under
    until = ends[kept].max() if kept.any() else high
    return frame[kept], actions[actions["ds"] < until]


def _by_stamp(grid: Grid) -> bool:
    """Whether a row counts by its stamp alone: days, sessions, and periods that are stamped at their end."""
    unit, _, day = grid.freq.partition("-")
    if unit == "W" and day != "MON":
        return True  # pandas names a week by its last day; a source's own weeks begin on Mondays
    return _daily(grid) or unit.endswith("E")


def _daily(grid: Grid) -> bool:
    return (grid.calendar is not None and not grid.intraday) or grid.freq.partition("-")[0] in ("D", "B", "C")


def _day(value: Any, name: str) -> pd.Timestamp | None:
    if value is None:
        return None
    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name} {value!r} is not a date.", hint="Write it as 2018-12-31.") from error
    if stamp is pd.NaT:
        raise UsageError(f"{name} {value!r} is not a date.", hint="Write it as 2018-12-31.")
    return stamp


def _plain(stamp: pd.Timestamp) -> pd.Timestamp:
    return stamp if stamp.tz is None else stamp.tz_convert("UTC").tz_localize(None)


def _stamp(moment: pd.Timestamp, grid: Grid, *, first: bool) -> pd.Timestamp:
    """``moment`` as ``grid`` stamps it: days without a zone, else UTC."""
    if moment.tz is not None and _daily(grid):
        day = moment.tz_localize(None).normalize()
        return day if first else day + _DAY - _TICK
    if grid.tz is not None and moment.tz is None:
        # of an hour that clocks show twice, the first to begin, the second to end
        moment = moment.tz_localize(grid.tz, ambiguous=first, nonexistent="shift_forward")
    return _plain(moment)
