"""Grid: which time stamps a regular series has, and which come next.

A grid is either a pandas frequency (``"h"``, ``"15min"``, ``"MS"``) or the sessions of an exchange
(``calendar="XNYS"``, the names of ``exchange_calendars``), or bars within those sessions. Time stamps are
always zone-naive: for exchanges they are session dates, for sensors with a known zone they are UTC
and ``tz`` names the zone that clocks on the wall show.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import TimeError, UsageError, did_you_mean

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Grid:
    """The time stamps of a regular series.

    Args:
        freq: pandas frequency alias. With ``calendar`` it is ``"D"``, one row per session, or shorter than a
            day with a ``tz``: bars counted from the open of each session.
        calendar: exchange calendar code such as ``"XNYS"``; ``None`` for plain frequencies.
        tz: time zone of the wall clock when stamps are UTC; only used for calendar features and display.
    """

    freq: str
    calendar: str | None = None
    tz: str | None = None

    def __post_init__(self) -> None:
        try:
            offset = pd.tseries.frequencies.to_offset(self.freq)
        except ValueError as error:
            raise UsageError(
                f"frequency {self.freq!r} is not a pandas frequency.",
                hint="Use for instance 'h', '15min', 'D', 'B', 'W-SUN', 'MS', 'YS'.",
            ) from error
        if offset.n < 1:
            raise UsageError(f"frequency {self.freq!r} does not go forward.", hint="Use for instance 'h'.")
        object.__setattr__(self, "freq", offset.freqstr)
        if self.calendar is not None:
            if self.freq != "D" and (self.tz is None or self.step_seconds >= _DAY_SECONDS):
                raise UsageError(
                    f"calendar {self.calendar!r} with frequency {self.freq!r}: exchange calendars give daily sessions.",
                    hint="Use freq='D', or leave the calendar out.",
                )
            _check_calendar(self.calendar)

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """All stamps of the grid from ``first`` to ``last``, both included; ``first`` is on the grid."""
        if self.calendar is None:
            return pd.date_range(first, last, freq=self.freq)
        if self.intraday:
            return _bars(self.calendar, self.step_seconds, first, last)
        return _sessions(self.calendar, first, last)

    def after(self, last: pd.Timestamp, n: int) -> pd.DatetimeIndex:
        """The ``n`` stamps that follow ``last``."""
        if self.calendar is None:
            offset = pd.tseries.frequencies.to_offset(self.freq)
            return pd.date_range(last + offset, periods=n, freq=self.freq)
        span = pd.Timedelta(days=int(n / (self.season if self.intraday else 1) * 2 + 30))
        sessions = self.between(last, last + span)
        sessions = sessions[sessions > last]
        if len(sessions) < n:
            raise TimeError(
                f"calendar {self.calendar} has only {len(sessions)} stamps after {last:%Y-%m-%d}, {n} were asked for.",
                hint="Use a shorter horizon.",
            )
        return sessions[:n]

    @property
    def intraday(self) -> bool:
        """Whether these are bars within exchange sessions: stamps are UTC, each the beginning of its bar."""
        return self.calendar is not None and self.freq != "D"

    @property
    def step_seconds(self) -> float:
        """Nominal length of one step in seconds (a session counts as a day, a month as 30.4 days)."""
        stamps = pd.date_range("2000-01-01", periods=13, freq=self.freq)
        return float((stamps[-1] - stamps[0]).total_seconds() / 12)

    @property
    def season(self) -> int:
        """Steps in the season an analyst would expect: a day of hours, a week of days, a year of months.

        Exchange sessions have 5 to a week. Assumption: the shortest usual cycle that spans at least
        two steps; series without one (yearly) get 1.
        """
        if self.calendar is not None and self.intraday:
            return max(2, _bars_a_day(self.calendar, self.step_seconds))
        if self.calendar is not None or self.freq == "B":
            return 7 if self.calendar == "24/7" else 5
        step = self.step_seconds
        if step <= _DAY_SECONDS / 2:
            return max(2, round(_DAY_SECONDS / step))
        if step < 1.5 * _DAY_SECONDS:
            return 7
        year = 365.25 * _DAY_SECONDS
        return max(1, round(year / step)) if step < 0.6 * year else 1

    def wall_clock(self, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """What clocks on the wall show at ``stamps`` (differs only where ``tz`` is set)."""
        if self.tz is None:
            return stamps
        return stamps.tz_localize("UTC").tz_convert(self.tz).tz_localize(None)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        if self.calendar is not None:
            return f"{self.calendar} sessions" + (f", {self.freq} bars" if self.intraday else "")
        return self.freq if self.tz is None else f"{self.freq} ({self.tz})"


def _check_calendar(name: str) -> None:
    import exchange_calendars as xc

    known = xc.get_calendar_names(include_aliases=True)
    if name not in known:
        raise UsageError(
            f"exchange calendar {name!r} is unknown.{did_you_mean(name, known)}",
            hint="See exchange_calendars.get_calendar_names().",
        )


@lru_cache(maxsize=16)
def _calendar(name: str, first_year: int, last_year: int) -> Any:
    import exchange_calendars as xc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # exchange_calendars 4 uses what pandas 3.1 will drop
        start, end = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
        try:
            kind = xc.get_calendar(name)
            bounds = (kind.bound_min(), kind.bound_max())
            if bounds[0] is not None:
                start = max(start, bounds[0])
            if bounds[1] is not None:
                end = min(end, bounds[1])
            return xc.get_calendar(name, start=start, end=end)
        except ValueError as error:  # some calendars contradict themselves in some years (XTAE in 4.13)
            raise TimeError(
                f"calendar {name} cannot be built for {start.year} to {end.year} ({str(error)[:80]}).",
                hint="Use freq='B' or 'D' without a calendar.",
            ) from error


def _sessions(name: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    # whole decades, so that a few cached calendars serve every call
    calendar = _calendar(name, first.year // 10 * 10, last.year // 10 * 10 + 9)
    sessions: pd.DatetimeIndex = calendar.sessions
    low, high = np.searchsorted(
        sessions.to_numpy(), [first.normalize().to_datetime64(), last.normalize().to_datetime64()]
    )
    high += int(high < len(sessions) and sessions[high] == last.normalize())
    return pd.DatetimeIndex(sessions[low:high].to_numpy(), freq=None)


def _bars(name: str, step_seconds: float, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Beginnings (UTC) of the bars of every session: open, open + step, ... before the close; anew after a break."""
    low, high = first - pd.Timedelta(days=2), last + pd.Timedelta(days=2)
    table = _calendar(name, low.year // 10 * 10, high.year // 10 * 10 + 9).schedule.loc[low.normalize() : high]
    opens, closes, lunch, back = (
        table[column].dt.tz_localize(None).to_numpy("datetime64[ns]")
        for column in ("open", "close", "break_start", "break_end")
    )
    split = ~np.isnat(lunch)  # a session with a break is two: bars begin anew after it
    begins = np.concatenate([opens, back[split]])
    ends = np.concatenate([np.where(split, lunch, closes), closes[split]])
    order = np.argsort(begins)
    begins, ends = begins[order], ends[order]
    step = np.timedelta64(round(step_seconds * 1e9), "ns")
    counts = -((begins - ends) // step)
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    stamps = np.repeat(begins, counts) + rank * step
    return pd.DatetimeIndex(stamps[(stamps >= first.to_datetime64()) & (stamps <= last.to_datetime64())])


@lru_cache(maxsize=64)
def _bars_a_day(name: str, step_seconds: float) -> int:
    """Bars of a usual session."""
    year = _bars(name, step_seconds, pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31"))
    days = len(_sessions(name, pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31")))
    return round(len(year) / days)
