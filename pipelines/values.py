"""Values: the text of a cell -> a float, with one style of decimal and thousands marks per file.

The style is decided from all columns at once and refused when the file leaves it open: reading
``1,234`` wrongly is off by a thousand. Words for "missing" become NaN and are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import FileFormatError, ValueRangeError
from pipelines.where import Where, plural

MISSING_WORDS = frozenset(
    [
        "",
        "na",
        "n/a",
        "#n/a",
        "#n/a n/a",
        "nan",
        "null",
        "none",
        "?",
        "-",
        "--",
        "---",
        ".",
        "..",
        "missing",
        "<na>",
        "nat",
        "nil",
        "#value!",
        "#div/0!",
        "*",
        "m",
    ]
)
SENTINELS = (-9999.0, -999.0, -99999.0, -999.9, -9999.9, -999.99, -99.99, -99.9, 9999.0, 99999.0, 999999.0, 1e20, -1e30)

_COMMA_THOUSANDS = r"[+-]?\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?"  # 1,234,567.8 and 12,34,567
_DOT_THOUSANDS = r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d*)?"
_BLANKS = "[ '’\u00a0\u202f]"  # thousands marks that are never a decimal mark
_SPACED = rf"[+-]?\d{{1,3}}(?:{_BLANKS}\d{{3}})+(?:[.,]\d*)?"


@dataclass(frozen=True)
class Style:
    """How numbers are written: the decimal mark and the thousands mark (``""`` when there is none)."""

    decimal: str = "."
    thousands: str = ","


def is_text(column: pd.Series) -> bool:
    """Whether a column holds text (or anything that is not a number or a truth value)."""
    return not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def tidy(column: pd.Series) -> pd.Series:
    """Text of every cell: stripped, missing cells empty, typographic minus signs made plain."""
    text = column.astype("str").fillna("").str.strip()
    if text.str.contains("\u2212", regex=False).any():
        text = text.str.replace("\u2212", "-", regex=False)
    return text


def spread(column: pd.Series, most: int) -> pd.Series:
    """At most ``most`` cells, evenly spread from the first to the last."""
    if len(column) <= most:
        return column
    return column.iloc[np.linspace(0, len(column) - 1, most).astype(np.int64)]


def is_missing(text: pd.Series) -> NDArray[np.bool_]:
    """``[N]`` cells that say "missing" in a word we know, the empty cell included."""
    unique = text.unique()
    words = [word for word in unique if str(word).lower() in MISSING_WORDS]
    found: NDArray[np.bool_] = text.isin(words).to_numpy(bool)
    return found


def decide_style(
    columns: Iterable[tuple[str, pd.Series]], where: Where, decimal: str | None = None, thousands: str | None = None,
    wanted: Collection[str] | None = None,
) -> Style:  # fmt: skip
    """The style of a file, from the tidy text of its number-like columns.

    Args:
        columns: name and tidy text of each.
        where: the origin, for messages.
        decimal: what the user said, ``"."`` or ``","``.
        thousands: what the user said, one mark.
        wanted: columns that will be read, all by default: a point that can be either matters in these alone.

    Raises:
        FileFormatError: the file mixes two decimal marks, or every mark in it could be either.
    """
    if decimal is not None:
        return Style(decimal, thousands if thousands is not None else ("," if decimal == "." else "."))
    if thousands is not None:
        return Style("," if thousands == "." else ".", thousands)
    evidence: dict[str, tuple[int, str, str]] = {}  # kind -> first position, column, cell
    for name, text in columns:
        marked = text[text.str.contains(",", regex=False)]
        for kind, found in _evidence(text, marked).items():
            if kind == "either" and "." in found[1] and wanted is not None and name not in wanted:
                continue
            evidence.setdefault(kind, (found[0], name, found[1]))
    comma = "comma decimal" in evidence or "dot thousands" in evidence
    dot = "dot decimal" in evidence or "comma thousands" in evidence
    if comma and dot:
        left = evidence.get("comma decimal") or evidence["dot thousands"]
        right = evidence.get("dot decimal") or evidence["comma thousands"]
        raise where.error(
            FileFormatError,
            f"{left[2]!r} is written with a decimal comma, but {right[2]!r} ({where.lines_of([right[0]])}, "
            f"column {right[1]!r}) with a decimal point.",
            position=left[0],
            column=left[1],
            hint="Say which it is with --decimal , or --decimal . (decimal=), or clean the other cells.",
        )
    if comma:
        return Style(",", ".")
    if not dot and "either" in evidence:
        position, name, cell = evidence["either"]
        mark = "," if "," in cell else "."
        raise where.error(
            FileFormatError,
            f"{cell!r} can be read as {cell.replace(mark, '')} or as {cell.replace(mark, '.')}, "
            "and no other cell of the file decides it.",
            position=position,
            column=name,
            hint=f"Say --thousands {mark} or --decimal {mark} (thousands= or decimal=).",
        )
    return Style(".", ",")


def _evidence(text: pd.Series, marked: pd.Series) -> dict[str, tuple[int, str]]:
    """First position and cell of every kind of evidence in one column."""
    found: dict[str, tuple[int, str]] = {}

    def look(kind: str, cells: pd.Series, pattern: str) -> None:
        hit = cells.str.fullmatch(pattern).to_numpy(bool)
        if hit.any():
            where = int(np.flatnonzero(hit)[0])
            found[kind] = (int(cells.index[where]), str(cells.iloc[where]))

    text = text.reset_index(drop=True)
    dotted = text[text.str.contains(".", regex=False)]
    look("dot decimal", dotted, r"[^\d]*\d*\.(?:\d{0,2}|\d{4,}|\d+[eE][+-]?\d+)[^\d]*|[^\d]*(?:0|\d{4,})\.\d+[^\d]*")
    if len(dotted) and dotted.str.fullmatch(r"[^\d]*[1-9]\d{0,2}\.\d{3}[^\d]*").all():
        bare = text[text.str.fullmatch(r"[^\d.,]*\d+[^\d.,]*").to_numpy(bool)].str.count(r"\d")
        if len(bare) and bare.max() < 4:
            look("either", dotted, r".*")  # 950 beside 1.012: decimals would write 950.000, thousands 1.950
    look("dot thousands", dotted, r"[^\d]*\d{1,3}(?:\.\d{3}){2,}(?:,\d*)?[^\d]*|[^\d]*\d{1,3}\.\d{3},\d+[^\d]*")
    if len(marked):
        marked = marked.set_axis(np.flatnonzero(text.str.contains(",", regex=False).to_numpy(bool)))
        look("comma decimal", marked, r"[^\d]*\d*,(?:\d{0,2}|\d{4,})[^\d]*|[^\d]*(?:0|\d{4,}),\d+[^\d]*")
        look(
            "comma thousands",
            marked,
            r"[^\d]*\d{1,3}(?:,\d{2,3})+,\d{3}(?:\.\d*)?[^\d]*|[^\d]*\d{1,3},\d{3}\.\d*[^\d]*",
        )
        look("either", marked, r"[^\d]*[1-9]\d{0,2},\d{3}[^\d]*")
    return found


def to_float(
    column: pd.Series, *, name: str, where: Where, style: Style, notes: list[str], strict: bool = True
) -> NDArray[np.float64]:
    """One column as float64 ``[N]``; words for "missing" are NaN.

    Raises:
        ValueRangeError: a cell is no number (only when ``strict``; otherwise it becomes NaN), or is infinite.
    """
    if not is_text(column):
        values: NDArray[np.float64] = column.astype("float64").to_numpy(np.float64, copy=True)
        return _finite(values, name, where) if strict else values
    text = tidy(column)
    # mark by mark: pyarrow searches plain text in no time, a pattern of these marks goes cell by cell through Python
    marked = any(text.str.contains(mark, regex=False).any() for mark in f",{_BLANKS[1:-1]}")
    if style.decimal == "." and not marked:
        numbers = pd.to_numeric(text, errors="coerce").to_numpy(np.float64, copy=True, na_value=np.nan)
    else:
        numbers = np.full(len(text), np.nan)
    missing = np.isnan(numbers)
    missing[missing] = is_missing(text[missing])
    todo = np.isnan(numbers) & ~missing
    if todo.any():
        numbers[todo] = _spelled(text[todo], name, style, notes)
    words = missing & (text != "").to_numpy(bool)
    if words.any():
        kinds = ", ".join(repr(word) for word in text[words].unique()[:3])
        notes.append(f"{name}: {plural(int(words.sum()), 'cell')} saying {kinds} read as missing.")
    bad = np.isnan(numbers) & ~missing
    if bad.any() and strict:
        position = int(np.flatnonzero(bad)[0])
        more = f" ({int(bad.sum()) - 1:,} more like it)" if bad.sum() > 1 else ""
        raise where.error(
            ValueRangeError,
            f"{str(text.iloc[position])[:60]!r} is not a number{more}.",
            position=position,
            column=name,
            hint="Correct the cell, or empty it if the value is missing.",
        )
    return _finite(numbers, name, where) if strict else numbers


def _spelled(text: pd.Series, name: str, style: Style, notes: list[str]) -> NDArray[np.float64]:
    """Cells that are not plain numbers: truth values, thousands marks, currency signs, percent, K/M/B."""
    lower = text.str.lower()
    if lower.isin(["true", "false", "yes", "no", "t", "f", "y", "n"]).all():
        notes.append(f"{name}: true and false read as 1 and 0.")
        return np.asarray(lower.isin(["true", "yes", "t", "y"]), dtype=np.float64)
    cells = text
    sign = cells.str.fullmatch(r"\(.*\)").to_numpy(bool)
    if sign.any():
        cells = cells.where(~sign, "-" + cells.str.strip("()"))
    bare = cells.str.replace(r"[$€£¥₹]|\b(?:USD|EUR|GBP)\b", "", regex=True).str.strip()
    if not bare.equals(cells):
        notes.append(f"{name}: currency signs removed.")
    percent = bare.str.endswith("%").to_numpy(bool)
    if percent.any():
        notes.append(f"{name}: percent signs removed; values are in percent.")
        bare = bare.str.removesuffix("%").str.strip()
    factor = np.ones(len(bare))
    for suffix, size in (("K", 1e3), ("M", 1e6), ("B", 1e9)):
        hit = bare.str.fullmatch(rf"[+-]?[\d.,]+ ?{suffix}").to_numpy(bool)
        factor[hit] = size
    if (factor != 1).any():
        notes.append(f"{name}: the letters K, M, B read as thousand, million, billion.")
        bare = bare.where(factor == 1, bare.str[:-1].str.strip())
    spaced = bare.str.fullmatch(_SPACED).to_numpy(bool)
    bare = bare.where(~spaced, bare.str.replace(_BLANKS, "", regex=True))
    grouped = spaced.copy()
    if style.thousands in (",", "."):
        hit = bare.str.fullmatch(_COMMA_THOUSANDS if style.thousands == "," else _DOT_THOUSANDS).to_numpy(bool)
        grouped |= hit
        bare = bare.where(~hit, bare.str.replace(style.thousands, "", regex=False))
    elif style.thousands:
        bare = bare.str.replace(style.thousands, "", regex=False)
    if grouped.any():
        notes.append(f"{name}: thousands separators removed in {plural(int(grouped.sum()), 'row')}.")
    if style.decimal == ",":
        # a point that is left is no thousands mark, so the cell is in another style: not a number
        bare = bare.where(~bare.str.contains(".", regex=False), "x").str.replace(",", ".", regex=False)
    numbers = pd.to_numeric(bare, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.asarray(numbers * factor, dtype=np.float64)


def _finite(values: NDArray[np.float64], name: str, where: Where) -> NDArray[np.float64]:
    bad = np.flatnonzero(np.isinf(values))
    if len(bad):
        more = f" ({len(bad) - 1:,} more)" if len(bad) > 1 else ""
        raise where.error(
            ValueRangeError,
            f"the value is infinite{more}.",
            position=int(bad[0]),
            column=name,
            hint="Correct the cell, or empty it if the value is missing.",
        )
    return values


def mask_sentinels(values: NDArray[np.float64]) -> dict[float, NDArray[np.int64]]:
    """Positions of numbers that stand for "missing": a usual code such as -9999, far from every other value.

    Assumption: a code counts only if its distance to the nearest other value is more than three times
    the span (and size) of all other values; positive codes must occur at least twice.
    """
    found: dict[float, NDArray[np.int64]] = {}
    finite = values[np.isfinite(values)]
    codes = [code for code in SENTINELS if np.any(finite == code)]
    if not codes:
        return found
    rest = finite[~np.isin(finite, codes)]
    if not len(rest):
        return found
    low, high = float(rest.min()), float(rest.max())
    reach = 3 * max(high - low, abs(low), abs(high), 1e-9)
    for code in codes:
        where = np.flatnonzero(values == code)
        if max(low - code, code - high) > reach and (code < 0 or len(where) > 1):
            found[code] = where
    return found
