"""Dates: a column of text, numbers or stamps -> zone-naive time stamps, never guessed in silence.

Every cell must be written in one way; day and month are told apart by the file or by the user.
Stamps with an offset become UTC, except days (midnight on the wall): those stay calendar dates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.dateforms import FAMILIES, READERS, families
from pipelines.errors import TimeError, UsageError
from pipelines.values import is_missing, is_text, spread, tidy
from pipelines.where import Where, plural


@dataclass(frozen=True)
class Stamps:
    """``values`` [N] datetime64[ns], NaT where the cell is no date.

    ``aware``: they are UTC instants; ``zone``: of the wall clock, if known; ``family``: how they were written.
    """

    values: NDArray[np.datetime64]
    aware: bool = False
    family: str = "ymd"
    zone: str | None = None


def looks_like_dates(column: pd.Series) -> bool:
    """Whether (nearly) every filled cell of a text column is written like a date."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    if not is_text(column):
        return False
    text = tidy(spread(column, 200))
    text = text[~is_missing(text)]
    if not len(text):
        text = tidy(column)
        text = text[~is_missing(text)].iloc[:200]
    if not len(text):
        return False
    kinds = families(text)
    known = ~np.isin(kinds, ["", "epoch", "year", "no century"])
    return bool(known.mean() > 0.9)


def parse(column: pd.Series, *, name: str, where: Where, notes: list[str], dayfirst: bool | None = None) -> Stamps:
    """Time stamps of a column.

    Args:
        column: text, whole numbers or stamps, ``[N]``.
        name: its name, for messages.
        where: its origin, for messages.
        notes: gets one sentence for every decision.
        dayfirst: ``01/02`` is 1 February (True) or January 2 (False); None: the file must decide.

    Raises:
        TimeError: a cell is no date, two ways of writing are mixed, day and month cannot be told
            apart, offsets are mixed with stamps that have none, or the year has no century.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return _typed(column, name, notes)
    text = tidy(column if is_text(column) else _as_whole_numbers(column, name, where))
    text = text.reset_index(drop=True)
    kinds = families(text)
    odd = np.flatnonzero(kinds == "")
    kinds[odd[is_missing(text.iloc[odd])]] = "missing"
    missing = kinds == "missing"
    family = _main_family(text, kinds, name, where)
    good = np.flatnonzero(kinds == family)
    wrong = np.flatnonzero((kinds != family) & ~missing)
    dropped = _edges(wrong, good)
    if len(dropped):
        cells = ", ".join(repr(str(text.iloc[p])[:40]) for p in dropped[:3])
        notes.append(f"{where.lines_of(dropped).capitalize()} left out: {cells} in {name} is no date like the others.")
    inner = np.setdiff1d(wrong, dropped)
    if len(inner):
        raise _stranger(text, kinds, family, int(inner[0]), len(inner), name, where, int(good[0]))
    cells = text.iloc[good]
    values = np.full(len(text), np.datetime64("NaT", "ns"))
    parsed, aware = READERS[family](cells, name, where, notes, dayfirst, good)
    values[good] = _bounded(parsed, cells, good, name, where)
    return Stamps(values, aware, family)


def _main_family(text: pd.Series, kinds: NDArray[np.str_], name: str, where: Where) -> str:
    counts = pd.Series(kinds).value_counts()
    known = counts[[kind for kind in counts.index if kind not in ("", "missing")]]
    if not len(known):
        position = int(np.flatnonzero(kinds == "")[0]) if (kinds == "").any() else 0
        cell = str(text.iloc[position])[:40] if len(text) else ""
        raise where.error(
            TimeError,
            f"{cell!r} is not a date in any way of writing we know.",
            position=position,
            column=name,
            hint="Name the column of dates with --time, or write dates as 2024-01-31 or 2024-01-31 13:00.",
        )
    family = str(known.index[0])
    if family == "no century":
        position = int(np.flatnonzero(kinds == family)[0])
        raise where.error(
            TimeError,
            f"{text.iloc[position]!r} has no year with a century, so its place in time is unknown.",
            position=position,
            column=name,
            hint="Write four-digit years, or count rows from a date: --time 2001-01-01 --freq MS.",
        )
    return family


def _edges(wrong: NDArray[np.int64], good: NDArray[np.int64]) -> NDArray[np.int64]:
    """Wrong cells before the first or after the last good one (titles, footers, live quotes): at most three."""
    outer = wrong[(wrong < good[0]) | (wrong > good[-1])]
    few: NDArray[np.int64] = outer if len(outer) <= 3 and len(good) > len(outer) else outer[:0]
    return few


def _stranger(
    text: pd.Series,
    kinds: NDArray[np.str_],
    family: str,
    position: int,
    count: int,
    name: str,
    where: Where,
    first: int,
) -> Exception:
    called = {key: words for key, _, words in FAMILIES}
    more = f" ({plural(count - 1, 'row')} more like it)" if count > 1 else ""
    if kinds[position]:
        return where.error(
            TimeError,
            f"two date formats in one column: {text.iloc[position]!r} is {called[str(kinds[position])]}, "
            f"but {text.iloc[first]!r} ({where.lines_of([first])}) is {called[family]}{more}.",
            position=position,
            column=name,
            hint="Write all dates of the column in one way.",
        )
    return where.error(
        TimeError,
        f"{str(text.iloc[position])[:40]!r} is not a date like {text.iloc[first]!r}{more}.",
        position=position,
        column=name,
        hint="Correct or remove the row.",
    )


def _bounded(
    stamps: pd.Series, cells: pd.Series, positions: NDArray[np.int64], name: str, where: Where
) -> NDArray[np.datetime64]:
    bad = np.flatnonzero(stamps.isna().to_numpy(bool))
    if not len(bad):
        year = stamps.dt.year.to_numpy()
        bad = np.flatnonzero((year < 1678) | (year > 2261))
    if len(bad):
        raise where.error(
            TimeError,
            f"{cells.iloc[int(bad[0])]!r} is no date of the calendar between 1678 and 2261.",
            position=int(positions[bad[0]]),
            column=name,
            hint="Correct or remove the row.",
        )
    values: NDArray[np.datetime64] = stamps.astype("datetime64[ns]").to_numpy()
    return values


def _typed(column: pd.Series, name: str, notes: list[str]) -> Stamps:
    if column.dt.tz is None:
        return Stamps(column.astype("datetime64[ns]").to_numpy())
    wall = column.dt.tz_localize(None)
    if bool((wall.dropna() == wall.dropna().dt.normalize()).all()) and len(column) > 1:
        notes.append(f"{name}: every stamp is midnight in {column.dt.tz}: read as calendar dates.")
        return Stamps(wall.astype("datetime64[ns]").to_numpy())
    utc = column.dt.tz_convert("UTC").dt.tz_localize(None)
    zone = str(column.dt.tz)
    notes.append(f"{name}: local time of {zone}, kept in UTC.")
    return Stamps(utc.astype("datetime64[ns]").to_numpy(), aware=True, zone=None if zone == "UTC" else zone)


def _as_whole_numbers(column: pd.Series, name: str, where: Where) -> pd.Series:
    values = column.to_numpy(np.float64, na_value=np.nan)
    if np.any(np.isfinite(values) & (values != np.round(values))):
        position = int(np.flatnonzero(np.isfinite(values) & (values != np.round(values)))[0])
        raise where.error(
            TimeError,
            f"{values[position]!r} is a number, not a date.",
            position=position,
            column=name,
            hint="Name the column of dates with --time.",
        )
    return column.astype("Int64").astype("str")


def check_zone(tz: str) -> str:
    """``tz`` if pandas knows it.

    Raises:
        UsageError: it does not.
    """
    try:
        pd.Timestamp("2020-01-01", tz=tz)
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise UsageError(
            f"time zone {tz!r} is unknown.", hint="Use a name such as Europe/Berlin, UTC or Etc/GMT-1."
        ) from error
    return tz


def localize(
    values: NDArray[np.datetime64], tz: str, *, groups: NDArray[np.int64], name: str, where: Where, notes: list[str],
    positions: NDArray[np.int64],
) -> NDArray[np.datetime64]:  # fmt: skip
    """Wall-clock stamps in ``tz`` -> UTC stamps, both ``[N]``.

    In the hour that autumn repeats, the first time a stamp occurs (per group, in the direction the file
    runs) is summer time and the second is winter time; one that occurs once is taken as summer time and said.

    Raises:
        TimeError: a stamp lies in the hour that spring skips.
    """
    index = pd.DatetimeIndex(values)
    summer = index.tz_localize(tz, ambiguous=np.ones(len(index), bool), nonexistent="NaT")
    winter = index.tz_localize(tz, ambiguous=np.zeros(len(index), bool), nonexistent="NaT")
    lost = np.flatnonzero(summer.isna() & ~index.isna())
    if len(lost):
        raise where.error(
            TimeError,
            f"{index[int(lost[0])]} does not exist in {tz}: clocks skipped that hour"
            f"{f' ({len(lost) - 1:,} more rows)' if len(lost) > 1 else ''}.",
            position=int(positions[lost[0]]),
            column=name,
            hint="If the logger keeps winter time all year give a fixed zone (--tz Etc/GMT-1 is UTC+1); "
            "otherwise correct the stamps.",
        )
    double = np.flatnonzero(np.asarray(summer != winter) & ~index.isna())
    if len(double):
        keys = pd.DataFrame({"group": groups[double], "ds": values[double]})
        backwards = np.sum(np.diff(values) < np.timedelta64(0)) > len(values) / 2
        rank = (keys[::-1] if backwards else keys).groupby(["group", "ds"]).cumcount().sort_index().to_numpy()
        size = keys.groupby(["group", "ds"])["ds"].transform("size").to_numpy()
        summer = summer.where(~np.isin(np.arange(len(index)), double[rank >= 1]), winter)
        if (size == 1).any():
            lone = positions[double[size == 1]]
            notes.append(
                f"{name}: {plural(len(lone), 'stamp')} in the repeated hour of {tz} occur once "
                f"({where.lines_of(lone)}): "
                "read as summer time; the second hour is missing."
            )
        if (size > 1).any():
            notes.append(f"{name}: the repeated hour of {tz} told apart by order.")
    utc: NDArray[np.datetime64] = summer.tz_convert("UTC").tz_localize(None).to_numpy().astype("datetime64[ns]")
    return utc
