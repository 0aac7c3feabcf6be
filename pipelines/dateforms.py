"""Date forms: the ways people write dates, how each is recognised and how each is read."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import TimeError
from pipelines.where import Where

_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
_ZONE = r"(?: ?(?:Z|UTC|[+-]\d{2}:?\d{2}|[+-]\d{2}))?"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
# name of the way of writing, pattern, what people call it
FAMILIES: tuple[tuple[str, str, str], ...] = (
    ("ymd", rf"\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}(?:[T ]+{_TIME}{_ZONE})?", "year-month-day"),
    # ten digits that make a date and an hour are one; as seconds since 1970 they would lie in 2030 or later
    (
        "compact",
        r"\d{8}(?:[T ]?\d{2}:?\d{2}(?::?\d{2})?)?|(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
        r"(?:[01]\d|2[0-3])",
        "yyyymmdd",
    ),
    ("month", r"\d{4}[-/.]\d{1,2}|\d{4}[ -]?M\d{1,2}", "year-month"),
    ("quarter", r"\d{4}[ -]?Q[1-4]", "year-quarter"),
    ("year", r"[12]\d{3}", "year"),
    (
        "numeric",
        rf"\d{{1,2}}([-/.])\d{{1,2}}\1(?:\d{{4}}|\d{{2}})(?:,?[T ]+{_TIME}(?: ?[AaPp][Mm])?)?",
        "day/month/year",
    ),
    ("epoch", r"\d{10}(?:\.\d+)?|\d{13}|\d{16}|\d{19}", "seconds since 1970"),
    ("words", rf"(?i:[a-z, ]*\d{{0,2}}[-/ .,]*(?:{_MONTHS})[a-z]*[-/ .,]*.*\d)", "month by name"),
    ("no century", r"\d{1,2}[-/.]\d{1,2}", "year without century"),
)
_WORD_FORMATS = (
    "%b %d %Y", "%B %d %Y", "%d %b %Y", "%d %B %Y", "%Y %b %d", "%Y %B %d",
    "%d %b %y", "%b %Y", "%B %Y", "%b %y", "%Y %b",
)  # fmt: skip


def families(text: pd.Series) -> NDArray[np.str_]:
    kinds = np.full(len(text), "", dtype="<U12")
    # the usual way of writing is found for all cells at once, the others cell by cell
    kinds[text.str.fullmatch(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?").to_numpy(bool)] = "ymd"
    for family, pattern, _ in FAMILIES:
        todo = np.flatnonzero(kinds == "")
        if not len(todo):
            break
        compiled = re.compile(pattern)
        cells = text.iloc[todo]
        kinds[todo[[compiled.fullmatch(str(cell)) is not None for cell in cells]]] = family
    return kinds


# -- readers: (cells, name, where, notes, dayfirst, positions) -> stamps, aware ---------------------


def _read_ymd(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    if not cells.str.contains("-", regex=False).iloc[0]:
        cells = cells.str.replace(r"^(\d{4})[/.](\d{1,2})[/.]", r"\1-\2-", regex=True)
    cells = cells.str.replace(r" ?UTC$", "Z", regex=True).str.replace(" Z", "Z", regex=False)
    cells = cells.str.replace(r"(\d),(\d+)", r"\1.\2", regex=True)
    cells = cells.str.replace(r" ([+-]\d{2}:?\d{0,2})$", r"\1", regex=True)
    if cells.str.len().nunique() > 1 or len(cells.iloc[0]) < 10:
        cells = cells.str.replace(r"(?<![\d.])(\d)(?!\d)", r"0\1", regex=True)
    offset = cells.str.extract(r":\d\d(?:\.\d+)?(Z|[+-]\d{2}:?(?:\d{2})?)$", expand=False)
    with_zone = offset.notna().to_numpy(bool)
    if not with_zone.any():
        return pd.to_datetime(cells, format="ISO8601", errors="coerce"), False
    dates_only = (cells.str.len() <= 10).to_numpy(bool)
    if not with_zone.all():
        lone = int(np.flatnonzero(~with_zone)[0])
        raise where.error(
            TimeError,
            f"{cells.iloc[lone]!r} has no UTC offset, but {cells[with_zone].iloc[0]!r} has one"
            f"{' (a date without a time)' if dates_only[lone] else ''}.",
            position=int(positions[lone]),
            column=name,
            hint="Write all stamps with an offset, or none.",
        )
    wall = pd.to_datetime(
        cells.str.replace(r"(Z|[+-]\d{2}:?(?:\d{2})?)$", "", regex=True), format="ISO8601", errors="coerce"
    )
    kinds = sorted(offset.unique())
    if bool((wall == wall.dt.normalize()).all()) and len(cells) > 1:
        notes.append(f"{name}: every stamp is midnight on the wall ({', '.join(kinds[:3])}): read as calendar dates.")
        return wall, False
    mixed = f"mixed UTC offsets ({', '.join(kinds[:4])})" if len(kinds) > 1 else f"stamps carry {kinds[0]}"
    if kinds != ["Z"]:
        notes.append(f"{name}: {mixed}: read as instants and kept in UTC.")
    return pd.to_datetime(cells, format="ISO8601", errors="coerce", utc=True).dt.tz_localize(None), True


def _read_compact(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    digits = cells.str.replace(r"\D", "", regex=True).str.pad(14, side="right", fillchar="0")
    return pd.to_datetime(digits, format="%Y%m%d%H%M%S", errors="coerce"), False


def _read_month(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    parts = cells.str.extract(r"^(\d{4})\D+(\d{1,2})$")
    notes.append(f"{name}: months are stamped with their first day.")
    return pd.to_datetime(parts[0] + "-" + parts[1].str.zfill(2) + "-01", format="%Y-%m-%d", errors="coerce"), False


def _read_quarter(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    month = (cells.str[-1].astype("int64") * 3 - 2).astype("str").str.zfill(2)
    notes.append(f"{name}: quarters are stamped with their first day.")
    return pd.to_datetime(cells.str[:4] + "-" + month + "-01", format="%Y-%m-%d", errors="coerce"), False


def _read_year(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    notes.append(f"{name}: years are stamped with their first day.")
    return pd.to_datetime(cells + "-01-01", format="%Y-%m-%d", errors="coerce"), False


def _read_epoch(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    whole = cells.str.split(".").str[0]
    if whole.str.len().nunique() > 1:
        raise where.error(
            TimeError,
            "numbers of different length: seconds and milliseconds since 1970 cannot be told apart.",
            position=int(positions[0]),
            column=name,
            hint="Write all stamps in one unit.",
        )
    unit = {10: "s", 13: "ms", 16: "us", 19: "ns"}[len(whole.iloc[0])]
    word = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}[unit]
    notes.append(f"{name}: numbers read as {word} since 1970, UTC.")
    numbers = cells.astype("float64") if unit == "s" else cells.astype("int64")
    return pd.to_datetime(numbers, unit=unit, errors="coerce"), True


def _read_words(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    plain = cells.str.replace(r"(?i)^(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[., ]+", "", regex=True)
    clock = plain.str.extract(rf"({_TIME}(?: ?[AaPp][Mm])?)$", expand=False)
    timed = bool(clock.notna().any())
    day = plain.str.replace(rf"[T ]*{_TIME}(?: ?[AaPp][Mm])?$", "", regex=True)
    day = (
        day.str.replace(r"(?<=\d)(?:st|nd|rd|th)\b", "", regex=True)
        .str.replace(r"[-/.,\s]+", " ", regex=True)
        .str.strip()
    )
    best = pd.Series(pd.NaT, index=cells.index)
    for pattern in _WORD_FORMATS:
        made = pd.to_datetime(day, format=pattern, errors="coerce")
        if made.notna().sum() > best.notna().sum():
            best = made
        if best.notna().all():
            break
    if timed:
        best = best + _clock(clock.fillna("0:00"))
    return best, False


def _read_numeric(
    cells: pd.Series, name: str, where: Where, notes: list[str], dayfirst: bool | None, positions: NDArray[np.int64]
) -> tuple[pd.Series, bool]:
    parts = cells.str.extract(r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4}|\d{2})(?:,?[T ]+(.*))?$")
    first, second = parts[0].astype("int64").to_numpy(), parts[1].astype("int64").to_numpy()
    year = parts[2].astype("int64").to_numpy()
    if (parts[2].str.len() == 2).any():
        year = np.where(year < 100, np.where(year < 69, 2000 + year, 1900 + year), year)
        notes.append(f"{name}: two-digit years read as 1969 to 2068.")
    clock = _clock(parts[3]) if parts[3].notna().any() else None

    def build(day: NDArray[np.int64], month: NDArray[np.int64]) -> pd.Series:
        made = pd.to_datetime(
            pd.DataFrame({"year": year, "month": month, "day": day}, index=cells.index), errors="coerce"
        )
        return made if clock is None else made + clock

    order = _day_order(first, second, cells, name, where, dayfirst, positions)
    if order is None:
        readings = {True: build(first, second), False: build(second, first)}
        order = _decided_by_steps(readings)
        if order is None:
            raise where.error(
                TimeError,
                f"{cells.iloc[0]!r} can be day/month or month/day, and no row of the file decides it.",
                position=int(positions[0]),
                column=name,
                hint="Say --dayfirst or --no-dayfirst (dayfirst=True or False).",
            )
        notes.append(
            f"{name}: {cells.iloc[0]!r} read as {'day/month/year' if order else 'month/day/year'}: only so are the "
            f"steps regular ({'--no-dayfirst' if order else '--dayfirst'} turns it round)."
        )
        return readings[order], False
    if dayfirst is None:
        witness = cells.iloc[int(np.flatnonzero((first if order else second) > 12)[0])]
        notes.append(f"{name}: read as {'day/month/year' if order else 'month/day/year'} ({witness!r} decides it).")
    return (build(first, second) if order else build(second, first)), False


def _day_order(
    first: NDArray[np.int64], second: NDArray[np.int64], cells: pd.Series, name: str, where: Where,
    dayfirst: bool | None, positions: NDArray[np.int64],
) -> bool | None:  # fmt: skip
    """True: day first, False: month first, None: open."""
    day_first, month_first = np.flatnonzero(first > 12), np.flatnonzero(second > 12)
    if len(day_first) and len(month_first):
        one, two = (day_first, month_first) if len(day_first) <= len(month_first) else (month_first, day_first)
        raise where.error(
            TimeError,
            f"two date formats in one column: {cells.iloc[int(one[0])]!r} can only be "
            f"{'day/month' if one is day_first else 'month/day'}, {cells.iloc[int(two[0])]!r} "
            f"({where.lines_of(positions[two[:1]])}) only the other way round.",
            position=int(positions[one[0]]),
            column=name,
            hint="Write all dates in one way, best as 2024-01-31.",
        )
    against = month_first if dayfirst else day_first
    if dayfirst is not None and len(against):
        raise where.error(
            TimeError,
            f"{cells.iloc[int(against[0])]!r} cannot be {'day/month' if dayfirst else 'month/day'}.",
            position=int(positions[against[0]]),
            column=name,
            hint=f"Use {'--no-dayfirst' if dayfirst else '--dayfirst'}, or leave it out: the file decides it.",
        )
    if dayfirst is not None:
        return dayfirst
    return None if not len(day_first) and not len(month_first) else bool(len(day_first))


def _decided_by_steps(readings: dict[bool, pd.Series]) -> bool | None:
    """The one reading whose steps are regular (all days, weekdays, weeks, months or one fixed step), if only one is."""
    regular = {}
    for order, stamps in readings.items():
        index = pd.DatetimeIndex(stamps.dropna().drop_duplicates().sort_values())
        steps = np.diff(index.to_numpy())
        fixed = len(steps) > 2 and bool((steps == steps[0]).all())
        months = (
            len(steps) > 2
            and bool((index.day == 1).all())
            and bool((np.diff(index.year * 12 + index.month) == 1).all())
        )
        regular[order] = (fixed or months) and stamps.notna().all()
    if regular[True] == regular[False]:
        return None
    return regular[True]


def _clock(text: pd.Series) -> pd.Series:
    """``13:05``, ``1:05:07 PM`` -> time since midnight."""
    parts = text.fillna("0:00").str.extract(r"^(\d{1,2}):(\d{2})(?::(\d{2}(?:[.,]\d+)?))? ?([AaPp][Mm])?$")
    hours = parts[0].astype("float64")
    half = parts[3].str.lower()
    hours = hours.where(half.isna(), hours % 12 + 12 * (half == "pm").astype("float64"))
    seconds = parts[2].str.replace(",", ".", regex=False).astype("float64").fillna(0.0)
    return pd.to_timedelta(hours * 3600 + parts[1].astype("float64") * 60 + seconds, unit="s")


READERS = {
    "ymd": _read_ymd, "compact": _read_compact, "month": _read_month, "quarter": _read_quarter, "year": _read_year,
    "numeric": _read_numeric, "epoch": _read_epoch, "words": _read_words,
}  # fmt: skip
