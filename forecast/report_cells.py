"""Cells, tables and sections of a report, and how numbers are written in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, and what it is sorted by (``None``: missing)."""

    text: str
    value: float | str | None = None


@dataclass(frozen=True)
class Table:
    """``head``: name and whether its column holds numbers; ``marked``: rows set off from the others."""

    head: Sequence[tuple[str, bool]]
    rows: Sequence[Sequence[Cell]]
    marked: frozenset[int] = frozenset()
    sortable: bool = False


@dataclass(frozen=True)
class Section:
    """``name``: anchor; ``lead``: findings; ``charts``: (id, caption, png name or none); ``notes``: small print."""

    name: str
    heading: str
    lead: Sequence[str] = ()
    charts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = field(default=())
    png: str = ""


def cell(value: Any) -> Cell:
    """A number of four or more figures; text as it is."""
    if isinstance(value, str):
        return Cell(value, value)
    known = as_float(value)
    return Cell(number(known), None if math.isnan(known) else known)


def count(value: Any) -> Cell:
    known = as_float(value)
    return Cell("-") if math.isnan(known) else Cell(f"{known:,.0f}", known)


def percent(value: Any, digits: int = 1) -> Cell:
    known = as_float(value)
    return Cell("-") if math.isnan(known) else Cell(f"{100 * known:.{digits}f} %", known)


def signed(value: float) -> Cell:
    """A relative change, with its sign."""
    return Cell("-") if math.isnan(value) else Cell(f"{100 * value:+.1f} %".replace("-", "−"), value)


def pvalue(value: Any) -> Cell:
    known = as_float(value)
    return Cell("-") if math.isnan(known) else Cell("< 0.001" if known < 0.001 else f"{known:.3f}", known)


def number(value: float) -> str:
    """About five figures, thousands separated; a dash for what is missing."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "infinite"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e7 or size < 1e-4:
        return f"{value:.4g}"
    return f"{value:,.{max(0, min(8, 4 - math.floor(math.log10(size))))}f}"


def as_float(value: Any) -> float:
    """NaN for what is missing or text."""
    return math.nan if value is None or isinstance(value, str) else float(value)
