"""Sessions: the days, and the bars within them, that an exchange trades; calendars of ``exchange_calendars``.

pandas 3.1 calls ``_add_datetime`` of a date offset where earlier ones called ``_apply``, which is all that four offsets
of exchange_calendars 4.13 define: Tel Aviv lost its holidays and Sundays, Bombay and Seoul their Saturdays, and Athens
could not be built. :func:`_mend` gives those offsets the name that pandas calls.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import TimeError, UsageError, did_you_mean


def check_calendar(name: str) -> None:
    """Refuse the name of a calendar that does not exist.

    Raises:
        UsageError: it does not.
    """
    import exchange_calendars as xc

    known = xc.get_calendar_names(include_aliases=True)
    if name not in known:
        raise UsageError(
            f"exchange calendar {name!r} is unknown.{did_you_mean(name, known)}",
            hint="See exchange_calendars.get_calendar_names().",
        )


@lru_cache(maxsize=1)
def _mend() -> None:
    from exchange_calendars import tase_holidays
    from exchange_calendars.pandas_extensions import offsets

    def next_open(self: Any, other: Any) -> Any:
        """The next day that is one by its own week: ``_apply`` of this class calls a name that pandas 3.1 lacks."""
        moved = pd.Timestamp(other) + pd.Timedelta(days=1)
        while True:
            week, span = self._custom_business_day_for(moved, with_interval=True)
            found = week.rollforward(moved)
            if found <= span.right:
                return found
            moved = span.right + pd.Timedelta(days=1)

    if hasattr(pd.offsets.BaseOffset, "_apply"):
        return  # a pandas that calls it
    composite = offsets.CompositeCustomBusinessDay
    for kind in (composite, offsets.OrthodoxEaster, tase_holidays._HolidayOffset, tase_holidays._YomKippurEveObserved):
        if "_add_datetime" not in vars(kind):
            kind._add_datetime = next_open if kind is composite else kind._apply
            kind._supports_daily_offset_mask = False


def _kind(name: str) -> Any:
    """The class of a calendar; building one takes half a second."""
    from exchange_calendars import calendar_utils

    return calendar_utils._default_calendar_factories[calendar_utils.resolve_alias(name)]


def zone_of(name: str) -> str:
    """The time zone of an exchange."""
    check_calendar(name)
    return str(_kind(name).tz)


@lru_cache(maxsize=16)
def _calendar(name: str, first_year: int, last_year: int) -> Any:
    import exchange_calendars as xc

    _mend()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # exchange_calendars 4 uses what pandas 3.1 will drop
        kind = _kind(name)
        earliest, latest = kind.bound_min(), kind.bound_max()
        start, end = pd.Timestamp(first_year, 1, 1), pd.Timestamp(last_year, 12, 31)
        start = start if earliest is None else max(start, earliest)
        end = end if latest is None else min(end, latest)
        try:
            return xc.get_calendar(name, start=start, end=end)
        except (ValueError, NotImplementedError) as error:  # some calendars contradict themselves in some years
            raise TimeError(
                f"calendar {name} cannot be built for {start.year} to {end.year} ({str(error)[:80]}).",
                hint="Use freq='B' or 'D' without a calendar.",
            ) from error


def days(name: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Sessions from ``first`` to ``last``, both included."""
    # whole decades, so that a few cached calendars serve every call
    calendar = _calendar(name, first.year // 10 * 10, last.year // 10 * 10 + 9)
    stamps: pd.DatetimeIndex = calendar.sessions
    low, high = np.searchsorted(
        stamps.to_numpy(), [first.normalize().to_datetime64(), last.normalize().to_datetime64()]
    )
    high += int(high < len(stamps) and stamps[high] == last.normalize())
    return pd.DatetimeIndex(stamps[low:high].to_numpy(), freq=None)


def last_close(name: str, before: pd.Timestamp) -> pd.Timestamp:
    """The last close at or before ``before`` (UTC).

    Raises:
        TimeError: the calendar cannot be built, or does not reach that far.
    """
    calendar = _calendar(name, before.year // 10 * 10, before.year // 10 * 10 + 9)
    past = calendar.closes[calendar.closes <= before]
    if past.empty or before.tz_localize(None).normalize() > calendar.last_session:
        raise TimeError(
            f"calendar {name} has sessions from {calendar.first_session:%Y-%m-%d} to {calendar.last_session:%Y-%m-%d}, "
            f"{before:%Y-%m-%d} was asked for.",
            hint="Use freq='B' or 'D' without a calendar.",
        )
    return pd.Timestamp(past.iloc[-1])


WEEK = "24/5"  # currencies: open around the clock from Monday to Friday


def weekday_bars(freq: str, tz: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
    """Stamps (UTC) from ``first`` in steps of ``freq`` that are no Saturday or Sunday on the clocks of ``tz``."""
    stamps = pd.date_range(first, last, freq=freq)
    day = stamps.tz_localize("UTC").tz_convert(tz).day_of_week
    return pd.DatetimeIndex(stamps[day < 5].to_numpy(), freq=None)


def bars(name: str, step_seconds: float, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
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
def bars_a_day(name: str, step_seconds: float) -> int:
    """Bars of a usual session."""
    if name == WEEK:
        return round(86_400 / step_seconds)
    year = bars(name, step_seconds, pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31"))
    count = len(days(name, pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31")))
    return round(len(year) / count)
