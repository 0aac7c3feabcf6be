"""Rows: typed rows of one or many series, and the steps that order them and take out what cannot be.

Each step returns rows and adds a sentence to ``notes`` when it changed something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import dates, values
from pipelines.errors import TimeError, UsageError, did_you_mean
from pipelines.panel import Role
from pipelines.where import Where, plural, shown

Floats = NDArray[np.float64]
IRREGULAR = ("refuse", "snap", "nearest")
DUPLICATES = ("error", "first", "last", "mean")
IMPOSSIBLE = ("refuse", "mask", "keep")
KINDS = ("price", "sensor")


@dataclass(frozen=True)
class Options:
    """How to read a table; the arguments of :func:`from_frame`.

    Raises:
        UsageError: a policy or the zone is unknown.
    """

    time: str | None = None
    target: tuple[str, ...] = ()
    id: str | None = None
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    freq: str | None = None
    calendar: str | None = None
    tz: str | None = None
    gaps: str = "mask"
    irregular: str = "refuse"
    duplicates: str = "error"
    impossible: str = "refuse"
    dayfirst: bool | None = None
    decimal: str | None = None
    thousands: str | None = None
    kind: str | None = None

    def __post_init__(self) -> None:
        for name in ("target", "past", "future", "static"):
            given = getattr(self, name)
            object.__setattr__(self, name, (given,) if isinstance(given, str) else tuple(given or ()))
        for name, known in (("irregular", IRREGULAR), ("duplicates", DUPLICATES), ("impossible", IMPOSSIBLE)):
            given = getattr(self, name)
            if given not in known:
                raise UsageError(
                    f"{name} {given!r} is not one of {', '.join(known)}.{did_you_mean(str(given), known)}",
                    hint=f"The default is {known[0]!r}.",
                )
        for name, marks in (("decimal", (".", ",")), ("thousands", (".", ",", "'", " ", ""))):
            given = getattr(self, name)
            if given is not None and given not in marks:
                raise UsageError(f"{name} mark {given!r} is not one of {marks}.", hint="Leave it out to have it found.")
        if self.kind is not None and self.kind not in KINDS:
            raise UsageError(
                f"kind {self.kind!r} is not one of {', '.join(KINDS)}.{did_you_mean(str(self.kind), KINDS)}",
                hint="Leave it out to have it found: a column called close or price is one.",
            )
        gap_limit(self.gaps)
        if self.tz is not None:
            dates.check_zone(self.tz)


def gap_limit(gaps: str) -> int | None:
    """Longest run of missing rows that ``gaps`` fills; 0 for ``mask``, None for ``error``.

    Raises:
        UsageError: it is none of ``error``, ``mask``, ``interpolate:N``.
    """
    if gaps in ("mask", "error"):
        return 0 if gaps == "mask" else None
    name, _, number = gaps.partition(":")
    if name == "interpolate" and number.isdigit() and int(number) > 0:
        return int(number)
    raise UsageError(
        f"gaps {gaps!r} is not one of error, mask, "
        f"interpolate:N.{did_you_mean(name, ('error', 'mask', 'interpolate'))}",
        hint="For instance interpolate:3 fills runs of at most three missing rows.",
    )


@dataclass
class Rows:
    """A table with typed columns, sorted by series, then time, without doubled stamps.

    Args:
        codes: ``[N]`` series of each row.
        ids: names of the series, by code.
        ds: ``[N]`` zone-naive stamps.
        cells: ``[N]`` per target and covariate, and per price column of a price file.
        positions: ``[N]`` row of the frame.
        targets: the target column(s).
        roles: of the covariates.
        prices: kind -> column, for a price file.
        time: what the time column is called.
        aware: the stamps are UTC instants.
        zone: of the wall clock, where the stamps or the user named one.
        priced: the targets that are prices: positive, forecast as log returns.
        kind: ``price`` or ``sensor`` where the caller or a value that is not positive settles it.
    """

    codes: NDArray[np.int64]
    ids: list[str]
    ds: NDArray[np.datetime64]
    cells: dict[str, Floats]
    positions: NDArray[np.int64]
    targets: tuple[str, ...]
    roles: dict[str, Role]
    prices: dict[str, str]
    time: str
    aware: bool
    where: Where
    zone: str | None = None
    notes: list[str] = field(default_factory=list)
    priced: tuple[str, ...] = ()
    kind: str | None = None

    def of(self, code: int) -> NDArray[np.int64]:
        """Row numbers of one series; only once the rows are in order."""
        low, high = np.searchsorted(self.codes, [code, code + 1])
        return np.arange(low, high)

    @property
    def daily(self) -> bool:
        """Whether every stamp is a midnight."""
        return bool((self.ds.astype("datetime64[D]") == self.ds).all())

    def take(self, index: NDArray[Any]) -> Rows:
        """The rows at ``index`` (positions or a mask)."""
        cells = {name: column[index] for name, column in self.cells.items()}
        return Rows(
            self.codes[index], self.ids, self.ds[index], cells, self.positions[index], self.targets, self.roles,
            self.prices, self.time, self.aware, self.where, self.zone, self.notes,
            self.priced, self.kind,
        )  # fmt: skip


def with_stamps(rows: Rows) -> Rows:
    lost = np.isnat(rows.ds)
    if not lost.any():
        return rows
    known = np.flatnonzero(~lost)
    holds = np.zeros(len(lost), bool)
    for name in rows.targets:
        holds |= np.isfinite(rows.cells[name])
    # rows before the first and after the last stamp are titles, totals or live quotes: already named by dates.parse
    inner = np.flatnonzero(lost & holds)
    inner = inner[(inner > known[0]) & (inner < known[-1])]
    if len(inner):
        raise rows.where.error(
            TimeError,
            f"a value without a time stamp{f' ({len(inner) - 1:,} more rows)' if len(inner) > 1 else ''}.",
            position=int(inner[0]),
            column=rows.time,
            hint="Fill in the stamp or remove the row.",
        )
    return rows.take(~lost)


def without_unfinished(rows: Rows) -> Rows:
    """Drop a last bar stamped with a time of day in a table of days: a live quote of an unfinished session."""
    days = rows.ds.astype("datetime64[D]") == rows.ds
    odd = np.flatnonzero(~days)
    if len(odd) != 1 or len(rows.ds) < 5 or rows.ds[odd[0]] != rows.ds.max():
        return rows
    place = rows.where.lines_of(rows.positions[odd])
    rows.notes.append(f"{place.capitalize()} left out: {pd.Timestamp(rows.ds[odd[0]])} is an unfinished day.")
    return rows.take(days)


def in_utc(rows: Rows, tz: str) -> Rows:
    if rows.daily:
        rows.notes.append(f"The stamps are days, so the zone {tz} changes nothing.")
        return rows
    utc = dates.localize(
        rows.ds, tz, groups=rows.codes, name=rows.time, where=rows.where, notes=rows.notes, positions=rows.positions
    )
    rows.notes.append(f"{rows.time}: read as local time of {tz} and kept in UTC.")
    rows.ds, rows.aware = utc, True
    return rows


def mask_sentinels(rows: Rows) -> None:
    """Codes such as -9999 become NaN, and that is said."""
    for name, column in rows.cells.items():
        for code, at in values.mask_sentinels(column).items():
            column[at] = np.nan
            rows.notes.append(
                f"{name}: {code:g} read as missing in {plural(len(at), 'row')} "
                f"({rows.where.lines_of(rows.positions[at])})."
            )


def in_order(rows: Rows) -> Rows:
    same = np.diff(rows.codes) == 0
    back = np.diff(rows.ds) < np.timedelta64(0)
    backwards = int((same & back).sum())
    order = np.lexsort((np.arange(len(rows.ds)), rows.ds, rows.codes))
    if backwards and backwards >= 0.9 * (same & (np.diff(rows.ds) != np.timedelta64(0))).sum():
        rows.notes.append("Rows were newest first: turned round.")
        order = np.lexsort((-np.arange(len(rows.ds)), rows.ds, rows.codes))
    elif backwards:
        at = rows.positions[np.flatnonzero(same & back) + 1]
        rows.notes.append(
            f"Rows were not in order of time ({plural(backwards, 'backward step')}, {rows.where.lines_of(at)}): sorted."
        )
    return rows if (order == np.arange(len(order))).all() else rows.take(order)


def without_doubles(rows: Rows, policy: str, forgotten: Callable[[], str | None]) -> Rows:
    double = np.flatnonzero((np.diff(rows.codes) == 0) & (np.diff(rows.ds) == np.timedelta64(0))) + 1
    if not len(double):
        return rows
    equal = np.ones(len(double), bool)
    for column in rows.cells.values():
        left, right = column[double], column[double - 1]
        equal &= (left == right) | (np.isnan(left) & np.isnan(right))
    if equal.all():
        rows.notes.append(
            f"{plural(len(double), 'row')} repeated an earlier one exactly "
            f"({rows.where.lines_of(rows.positions[double])}): "
            "left out."
        )
        policy = "first"
    if policy == "error":
        raise _double_error(rows, double[~equal], forgotten())
    if not equal.all():
        words = {"first": "the first is kept", "last": "the last is kept", "mean": "their mean is taken"}[policy]
        rows.notes.append(f"{plural(int((~equal).sum()), 'time stamp')} occurred twice with different values: {words}.")
    return merged(rows, policy)


def merged(rows: Rows, policy: str) -> Rows:
    """One row per series and stamp."""
    new = np.ones(len(rows.ds), bool)
    new[1:] = (np.diff(rows.codes) != 0) | (np.diff(rows.ds) != np.timedelta64(0))
    starts = np.flatnonzero(new)
    if policy == "mean":
        kept = rows.take(starts)
        sizes = np.diff(np.append(starts, len(rows.ds)))
        for name, column in rows.cells.items():
            filled = np.add.reduceat(np.isfinite(column).astype(np.float64), starts)
            total = np.add.reduceat(np.nan_to_num(column), starts)
            mean = np.divide(total, filled, out=np.full(len(starts), np.nan), where=filled > 0)
            kept.cells[name] = np.where(sizes == 1, column[starts], mean)
        return kept
    return rows.take(starts if policy == "first" else np.append(starts[1:], len(rows.ds)) - 1)


def _double_error(rows: Rows, double: NDArray[np.int64], forgotten: str | None) -> Exception:
    at = int(double[0])
    former, latter = sorted((int(rows.positions[at - 1]), int(rows.positions[at])))
    stamp = pd.Timestamp(rows.ds[at])
    place = rows.where.lines_of([former]) if rows.where.files is None else rows.where.at(former)
    series = f" of series {rows.ids[int(rows.codes[at])]!r}" if rows.ids else ""
    hint = "Keep one with --duplicates first, last or mean."
    repeated = np.unique(rows.ds[double])
    autumn = (
        stamp.month in (3, 4, 9, 10, 11) and stamp.hour <= 3 and repeated[-1] - repeated[0] < np.timedelta64(2, "h")
    )
    if forgotten is not None:
        hint = f"Column {forgotten!r} tells the rows apart: --id {forgotten!r}."
    elif stamp != stamp.normalize() and autumn:
        hint = "If clocks were set back that night, say where: --tz Europe/Berlin for instance. " + hint
    return rows.where.error(
        TimeError,
        f"{shown(stamp)}{series} occurs in {place} and again with different values "
        f"({plural(len(double), 'stamp')} in all).",
        position=latter,
        column=rows.time,
        hint=hint,
    )
