"""Columns: which column of a table is the time, the series id and the target; recognised by common names, said "
"aloud."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipelines.dates import looks_like_dates, parse
from pipelines.errors import DataError, FileFormatError, TimeError, UsageError, did_you_mean
from pipelines.values import is_missing, is_text, spread, tidy
from pipelines.where import Where

TIME_NAMES = (
    "ds", "datetime", "timestamp", "date time", "date/time", "time stamp", "time", "date", "day", "month", "week",
    "quarter", "year", "period", "index", "datum", "zeit", "fecha", "utc", "local time", "",
)  # fmt: skip
ID_NAMES = (
    "unique id", "item id", "series id", "ts id", "ticker", "symbol", "id", "name", "series", "isin", "sensor id",
    "station id", "device id", "meter id",
)  # fmt: skip
VALUE_NAMES = ("y", "value", "target")
PRICE_NAMES = {
    "open": "open", "high": "high", "low": "low", "close": "close", "volume": "volume",
    "adj close": "adj close", "adjclose": "adj close", "adjusted": "adj close", "adjusted close": "adj close",
    "close adj": "adj close", "vol": "volume", "close last": "close",
}  # fmt: skip
_NUMBER = "[-+(]?[$€£¥₹]? ?[-+]?[0-9.,'’ \u00a0\u202f]*[0-9][.,]?(?:[eE][-+]?[0-9]+)?[%KMB)]?"
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_PART_NAMES = {"yr": "year", "mo": "month", "dd": "day", "hr": "hour", "min": "minute", "sec": "second", "mm": "month"}


def key(name: str) -> str:
    """A name without case, padding and punctuation: ``"Adj_Close "`` -> ``"adj close"``."""
    return re.sub(r"[\s_*.\-]+", " ", name.strip().lower()).strip()


def tidy_names(frame: pd.DataFrame, where: Where, notes: list[str]) -> pd.DataFrame:
    """The frame with text names, stripped and all different; equal twins dropped, differing ones numbered."""
    raw = [str(name) if name is not None else "" for name in frame.columns]
    names = [re.sub(r"\s+", " ", name.replace("\ufeff", "").strip().strip("\"'")).strip() for name in raw]
    names = ["" if name.startswith("Unnamed: ") else name for name in names]
    padded = [new for old, new in zip(raw, names, strict=True) if old != new and old.strip() == new and new]
    if padded:
        notes.append(f"Blanks around column names removed ({', '.join(map(repr, padded[:3]))}).")
    keep, final = [], list(names)
    for position, name in enumerate(names):
        twins = [other for other in range(len(names)) if names[other] == name]
        if len(twins) == 1:
            keep.append(position)
            continue
        first = frame.iloc[:, twins[0]]
        if position == twins[0] or not frame.iloc[:, position].equals(first.rename(frame.columns[position])):
            keep.append(position)
            if any(not frame.iloc[:, other].reset_index(drop=True).equals(first) for other in twins[1:]):
                final[position] = f"{name} ({twins.index(position) + 1})".strip()
        else:
            notes.append(f"Column {name!r} occurs twice with equal cells: the second is left out.")
    renamed = [final[position] for position in keep if final[position] != names[position]]
    if renamed:
        notes.append(f"Columns of one name but different cells are called {', '.join(map(repr, renamed))}.")
    return frame.iloc[:, keep].set_axis([final[position] for position in keep], axis=1)


def find(name: str, frame: pd.DataFrame, where: Where, what: str) -> str:
    """The column a user means by ``name``: exact, or the only one equal without case and punctuation.

    Raises:
        UsageError: there is none.
    """
    columns = [str(column) for column in frame.columns]
    if name in columns:
        return name
    near = [column for column in columns if key(column) == key(name)]
    if len(near) == 1:
        return near[0]
    raise UsageError(
        f"{where.name()} has no column {name!r} for {what}.{did_you_mean(name, columns)}",
        hint=f"Columns: {', '.join(column or '(no name)' for column in columns[:20])}"
        f"{' ...' if len(columns) > 20 else ''}.",
    )


def price_columns(names: Sequence[str]) -> dict[str, str]:
    """``{"open": "AAPL.Open", ...}`` if the columns are prices of one instrument (open, high, low, close), else {}."""
    exact = {PRICE_NAMES[key(name)]: name for name in reversed(names) if key(name) in PRICE_NAMES}
    if {"open", "high", "low", "close"} <= exact.keys():
        return exact
    heads: dict[str, dict[str, str]] = {}
    for name in names:
        match = re.fullmatch(r"(.+?)[._ ]((?:adj[._ ]?)?[a-z]+)", name.strip(), flags=re.IGNORECASE)
        if match and key(match[2]) in PRICE_NAMES:
            heads.setdefault(match[1], {})[PRICE_NAMES[key(match[2])]] = name
    whole = [found for found in heads.values() if {"open", "high", "low", "close"} <= found.keys()]
    return whole[0] if len(whole) == 1 else {}


def named_price(name: str) -> bool:
    """Whether a column on its own is called like a price: close, adjusted close, price, last."""
    return PRICE_NAMES.get(key(name)) in ("close", "adj close") or key(name) in ("price", "last", "last price")


def numeric_like(column: pd.Series) -> bool:
    """Whether most filled cells are numbers in some style."""
    if not is_text(column):
        return True
    if pd.api.types.is_datetime64_any_dtype(column):
        return False
    text = tidy(spread(column, 500))
    text = text[~is_missing(text)]
    if not len(text):
        return False
    number = text.str.fullmatch(_NUMBER) | text.str.lower().isin(["true", "false", "inf", "-inf", "+inf", "infinity"])
    return bool(number.mean() > 0.8)


def _is_empty(column: pd.Series) -> bool:
    if not is_text(column) or pd.api.types.is_datetime64_any_dtype(column):
        return bool(column.isna().all())
    return bool(is_missing(tidy(column)).all())


# -- time ---------------------------------------------------------------------------------------------


def time_column(frame: pd.DataFrame, asked: str | None, where: Where, notes: list[str]) -> tuple[str, pd.Series]:
    """Name and cells of the time; ``asked`` may join columns: ``"Date+Time"``, ``"year+month+day"``.

    Raises:
        TimeError: no column holds dates, or several do.
        UsageError: ``asked`` is not a column.
    """
    names = [str(name) for name in frame.columns]
    if asked is not None:
        if asked not in names and "+" in asked:
            parts = [find(part.strip(), frame, where, "the time") for part in asked.split("+")]
            return asked, joined(frame, parts)
        name = find(asked, frame, where, "the time")
        return name, frame[name]
    split = _split(frame)
    if split:
        name = "+".join(split)
        notes.append(f"Time: dates put together from the columns {', '.join(split)}.")
        return name, joined(frame, split)
    named = sorted(
        (name for name in names if key(name) in TIME_NAMES and _holds_dates(frame[name], name)),
        key=lambda name: TIME_NAMES.index(key(name)),
    )
    found = named or [name for name in names if looks_like_dates(frame[name])]
    if len(found) > 1:
        counts = [frame[name].nunique() for name in found]
        finest = [name for name, count in zip(found, counts, strict=True) if count == max(counts)]
        if len(finest) > 1 and not named:
            raise TimeError(
                f"{where.name()}: columns {', '.join(map(repr, found[:4]))} all hold dates.",
                hint="Choose one with --time.",
            )
        notes.append(f"Time: column {finest[0]!r} (also dates: {', '.join(repr(n) for n in found if n != finest[0])}).")
        return finest[0], frame[finest[0]]
    if not found:
        raise TimeError(
            f"{where.name()}: no column holds dates; columns are "
            f"{', '.join(name or '(no name)' for name in names[:12])}"
            f"{' ...' if len(names) > 12 else ''}.",
            hint="Name it with --time, or count rows from a date: --time 2020-01-01 --freq D.",
        )
    if found[0] == "" or key(found[0]) not in TIME_NAMES:
        notes.append(f"Time: column {found[0] or '(no name)'!r}, the one that holds dates.")
    return found[0], frame[found[0]]


def joined(frame: pd.DataFrame, parts: Sequence[str]) -> pd.Series:
    """One text per row from several columns: calendar parts as ``year-month-day h:m:s``, others with a blank "
    "between."""
    kinds = {_part(name): name for name in parts}
    if "year" in kinds and "month" in kinds and set(kinds) <= set(_PARTS):
        text = _whole(frame[kinds["year"]]) + "-" + _whole(frame[kinds["month"]])
        text = text + "-" + (_whole(frame[kinds["day"]]) if "day" in kinds else "01")
        if "hour" in kinds:
            clock = [_whole(frame[kinds[part]]) if part in kinds else "00" for part in ("minute", "second")]
            text = text + " " + _whole(frame[kinds["hour"]]) + ":" + clock[0] + ":" + clock[1]
        return text
    text = tidy(frame[parts[0]])
    for name in parts[1:]:
        text = text + " " + tidy(frame[name])
    return text.str.strip()


def _whole(column: pd.Series) -> pd.Series:
    return tidy(column).str.replace(r"\.0+$", "", regex=True).str.zfill(2)


def _part(name: str) -> str:
    return _PART_NAMES.get(key(name), key(name))


def _split(frame: pd.DataFrame) -> list[str]:
    """Columns that make a date only together: year, month, day, ... or a date and a time of day."""
    kinds = {_part(str(name)): str(name) for name in reversed(list(frame.columns))}
    whole = any(looks_like_dates(frame[name]) for name in frame.columns if _part(str(name)) not in _PARTS)
    parts = [kinds[part] for part in _PARTS if part in kinds]
    if "year" in kinds and "month" in kinds and not whole and all(numeric_like(frame[name]) for name in parts):
        return parts
    day, clock = kinds.get("date"), kinds.get("time") or kinds.get("hour")
    if day and clock and looks_like_dates(frame[day]) and is_text(frame[clock]):
        text = tidy(frame[clock])
        if text.str.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?").mean() > 0.9:
            return [day, clock]
    return []


def _holds_dates(column: pd.Series, name: str) -> bool:
    if looks_like_dates(column):
        return True
    if pd.api.types.is_bool_dtype(column) or not numeric_like(column):
        return is_text(column) and key(name) not in ("", "index") and not numeric_like(column)
    head = tidy(column.dropna().iloc[:50]).str.replace(r"\.0$", "", regex=True)
    shape = r"[12]\d{3}" if key(name) in ("year", "date", "ds", "time", "period", "index", "") else r"\d{10}|\d{13}"
    if key(name) in ("index", "") and not head.str.fullmatch(r"1[6-9]\d{2}|20\d{2}").all():
        return False
    if bool(head.str.fullmatch(rf"{shape}|\d{{10}}(?:\.\d+)?|\d{{13}}|\d{{16}}|\d{{19}}|\d{{8}}").mean() > 0.9):
        return True
    # a date column in a way of writing that only parse() can name (a year without century) is still the time
    return bool(head.str.fullmatch(r"\d{1,2}[-/.]\d{1,2}").mean() > 0.9) and key(name) not in ("", "index")


# -- id and target ------------------------------------------------------------------------------------


def id_column(
    frame: pd.DataFrame, asked: str | None, taken: Sequence[str], where: Where, notes: list[str]
) -> str | None:
    """The column that names the series: as asked, or one with a common name that repeats its values."""
    if asked is not None:
        return find(asked, frame, where, "the series id")
    for wanted in ID_NAMES:
        for name in map(str, frame.columns):
            if key(name) != wanted or name in taken:
                continue
            count = frame[name].nunique()
            text = is_text(frame[name]) and not numeric_like(frame[name])
            if 0 < count < max(len(frame), 2) and (text or wanted.endswith("id")) and count <= len(frame) / 2:
                notes.append(f"Series: column {name!r} ({count} {'value' if count == 1 else 'values'}).")
                return name
    return None


def target_columns(
    frame: pd.DataFrame, asked: Sequence[str], taken: Sequence[str], where: Where, notes: list[str]
) -> tuple[str, ...]:
    """The column(s) to forecast: as asked, the Close of a price file, or the only column of numbers.

    Raises:
        UsageError: several could be meant.
        FileFormatError: none holds numbers.
    """
    if asked:
        return tuple(dict.fromkeys(find(name, frame, where, "the target") for name in asked))
    names = [str(name) for name in frame.columns if str(name) not in taken]
    prices = price_columns(names)
    if prices:
        notes.append(f"Target: {prices['close']} (a price file; choose another with --target).")
        return (prices["close"],)
    empty = [name for name in names if _is_empty(frame[name])]
    if empty:
        notes.append(f"{', '.join(empty[:5])}: no value at all, passed over.")
    names = [name for name in names if name not in empty]
    numbers = [name for name in names if numeric_like(frame[name]) and not _counts_rows(frame[name], name)]
    usual = [name for name in numbers if key(name) in VALUE_NAMES]
    if len(numbers) == 1 or len(usual) == 1:
        chosen = numbers[0] if len(numbers) == 1 else usual[0]
        notes.append(f"Target: {chosen}.")
        return (chosen,)
    if not numbers and empty:
        raise where.error(
            DataError,
            f"no value in any row of {', '.join(map(repr, empty[:5]))}, and no other column holds numbers.",
            column=empty[0],
            hint="Was the export cut off? Otherwise name the column to forecast with --target.",
        )
    if not numbers:
        raise where.error(
            FileFormatError,
            f"no column holds numbers; columns are {', '.join(map(str, frame.columns[:12]))}.",
            hint="Name the column to forecast with --target.",
        )
    raise _several(numbers, where)


def _several(numbers: Sequence[str], where: Where) -> UsageError | DataError:
    return UsageError(
        f"{where.name()}: {len(numbers)} columns could be the target: {', '.join(numbers[:10])}"
        f"{' ...' if len(numbers) > 10 else ''}.",
        hint=f"Choose one with --target, for instance --target {numbers[0]!r}; give several and each is a series.",
    )


def _counts_rows(column: pd.Series, name: str) -> bool:
    """Whether a column without a name (or called index) only counts the rows."""
    if key(name) not in ("", "index", "unnamed: 0"):
        return False
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return bool(len(numbers) > 1 and (np.diff(numbers) == 1).all())


def suggest_id(frame: pd.DataFrame, stamps: pd.Series, taken: Sequence[str]) -> str | None:
    """A column whose values, with the time, make every row different: most likely the forgotten id."""
    for name in map(str, frame.columns):
        if name in taken or not 1 < frame[name].nunique() <= len(frame) / 2:
            continue
        if not pd.DataFrame({"a": frame[name].to_numpy(), "b": stamps.to_numpy()}).duplicated().any():
            return name
    return None


def start_date(asked: str | None, frame: pd.DataFrame) -> pd.Timestamp | None:
    """The date rows are counted from, when ``--time`` gives a date (``2016-01-01``) and no column of that name."""
    if asked is None or asked in map(str, frame.columns) or not re.fullmatch(r"\d{4}-\d{2}-\d{2}([T ].*)?", asked):
        return None
    stamps = parse(pd.Series([asked]), name="--time", where=Where.memory("--time"), notes=[])
    return pd.Timestamp(stamps.values[0])
