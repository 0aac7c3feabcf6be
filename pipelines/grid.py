"""Grid: which time stamps a regular series has, and which come next.

A grid is either a pandas frequency (``"h"``, ``"15min"``, ``"MS"``) or the sessions of an exchange
(``calendar="XNYS"``, the names of ``exchange_calendars``), or bars within those sessions. Time stamps are
always zone-naive: for exchanges they are session dates, for sensors with a known zone they are UTC
and ``tz`` names the zone that clocks on the wall show.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from pipelines import sessions
from pipelines.errors import TimeError, UsageError

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True)
class Grid:
    """The time stamps of a regular series.

    Args:
        freq: pandas frequency alias. With ``calendar`` it is ``"D"``, one row per session, or shorter than a
            day with a ``tz``: bars counted from the open of each session; with ``"24/5"`` around the clock from
            Monday to Friday of ``tz``.
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
            sessions.check_calendar(self.calendar)

    def between(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """All stamps of the grid from ``first`` to ``last``, both included; ``first`` is on the grid."""
        if self.calendar is None:
            return pd.date_range(first, last, freq=self.freq)
        if self.intraday and self.calendar == sessions.WEEK:
            return sessions.weekday_bars(self.freq, str(self.tz), first, last)
        if self.intraday:
            return sessions.bars(self.calendar, self.step_seconds, first, last)
        return sessions.days(self.calendar, first, last)

    def beginning(self, start: pd.Timestamp, n: int) -> pd.DatetimeIndex:
        """The first ``n`` stamps at or behind ``start``."""
        if self.calendar is None:
            return pd.date_range(start, periods=n, freq=self.freq)
        return self.after(start - pd.Timedelta(1, "ns"), n)

    def after(self, last: pd.Timestamp, n: int) -> pd.DatetimeIndex:
        """The ``n`` stamps that follow ``last``."""
        if self.calendar is None:
            offset = pd.tseries.frequencies.to_offset(self.freq)
            return pd.date_range(last + offset, periods=n, freq=self.freq)
        span = pd.Timedelta(days=int(n / (self.season if self.intraday else 1) * 2 + 30))
        stamps = self.between(last, last + span)
        stamps = stamps[stamps > last]
        if len(stamps) < n:
            raise TimeError(
                f"calendar {self.calendar} has only {len(stamps)} stamps after {last:%Y-%m-%d}, {n} were asked for.",
                hint="Use a shorter horizon.",
            )
        return stamps[:n]

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
            return max(2, sessions.bars_a_day(self.calendar, self.step_seconds))
        if self.calendar is not None or self.freq == "B":
            return 7 if self.calendar == "24/7" else 5
        step = self.step_seconds
        if step <= _DAY_SECONDS / 2:
            return max(2, round(_DAY_SECONDS / step))
        if step < 1.5 * _DAY_SECONDS:
            return 7
        year = 365.25 * _DAY_SECONDS
        return max(1, round(year / step)) if step < 0.6 * year else 1

    @property
    def steps_a_year(self) -> float:
        """Steps in a year: of an exchange 252 sessions of as many bars as each has, more where it closes less often."""
        if self.calendar is None and self.freq != "B":
            return 365.25 * _DAY_SECONDS / self.step_seconds
        bars = sessions.bars_a_day(self.calendar, self.step_seconds) if self.calendar and self.intraday else 1
        return {"24/7": 365.25, sessions.WEEK: 365.25 * 5 / 7}.get(self.calendar or "", 252.0) * bars

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
