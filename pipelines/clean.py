"""Clean: a table as it lies on a disk -> a Panel on a regular grid. Pure functions; every decision becomes a note.

Nothing is repaired in silence: what can be read in one way only is read and said, the rest is refused
with the line, the column and the way out. The one policy that looks ahead is ``gaps="interpolate:N"``,
and its note says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import columns, dates, values
from pipelines.errors import DataError, UsageError
from pipelines.grid import Grid
from pipelines.layout import build
from pipelines.panel import Panel, Role
from pipelines.plausible import possible
from pipelines.prices import check_ohlc
from pipelines.rows import (
    Options,
    Rows,
    in_order,
    in_utc,
    mask_sentinels,
    with_stamps,
    without_doubles,
    without_unfinished,
)
from pipelines.sessions import zone_of
from pipelines.where import Where, plural, shown

__all__ = ["Options", "build", "check_ohlc", "from_frame", "prepare"]

Floats = NDArray[np.float64]


def from_frame(
    frame: pd.DataFrame,
    *,
    time: str | None = None,
    target: str | Sequence[str] | None = None,
    id: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    freq: str | None = None,
    calendar: str | None = None,
    tz: str | None = None,
    gaps: str = "mask",
    irregular: str = "refuse",
    duplicates: str = "error",
    impossible: str = "refuse",
    dayfirst: bool | None = None,
    decimal: str | None = None,
    thousands: str | None = None,
    kind: str | None = None,
    source: str = "memory",
    notes: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
) -> Panel:
    """A Panel from a frame in any order, with gaps, texts and doubled rows.

    Args:
        frame: one row per stamp (and series). A DatetimeIndex counts as a column.
        time: column of the stamps, several joined by ``+``, or a date such as ``"2016-01-01"`` from which
            rows are counted in steps of ``freq``. Found by common names when left out.
        target: column to forecast, or several: each becomes a series. Close for prices.
        id: column that names the series.
        past: covariates known up to now; ``("*",)`` takes every other column of numbers.
        future: covariates known ahead. Rows behind the last target become ``Panel.future``.
        static: covariates with one value per series.
        freq: pandas frequency of the grid; inferred when left out.
        calendar: exchange (``"XNYS"``) whose sessions are the grid.
        tz: zone of the wall clock: stamps without offset are read as its local time and kept in UTC.
        gaps: ``"mask"`` keeps missing rows as NaN, ``"error"`` refuses them, ``"interpolate:N"`` fills runs up to N.
        irregular: ``"refuse"`` stamps off the grid, ``"snap"`` them to the next grid stamp (never earlier), or move
            them to the ``"nearest"`` (up to half a step before the value was measured); means of several.
        duplicates: of one stamp with different values: ``"error"``, or keep ``"first"``, ``"last"``, ``"mean"``.
        impossible: target prices that cannot be (zero, negative, another basis than open, high and low):
            ``"refuse"``, ``"mask"`` or ``"keep"``.
        kind: ``"price"`` or ``"sensor"``: what the target is. Found when left out: a column beside open, high, low
            and close, or called close or price, is a price; other columns may be zero or negative.
        dayfirst: whether ``01/02`` is 1 February; the data must decide when left out.
        decimal, thousands: marks in numbers that are text; found when left out.
        source: where the frame came from, in a few words.
        notes: sentences to put before those of this function in ``Panel.notes``.
        meta: goes to ``Panel.meta``.

    Raises:
        UsageError: an argument is wrong.
        DataError: the data cannot be used; subclasses TimeError, ValueRangeError, TooShortError, FileFormatError.
    """
    if not isinstance(frame, pd.DataFrame):
        raise UsageError(
            f"from_frame got {type(frame).__name__}, expected a pandas DataFrame.",
            hint="Make one, a column of time stamps and one of values: pandas.DataFrame({'ds': stamps, 'y': values}).",
        )
    options = Options(
        time, target or (), id, tuple(past), tuple(future), tuple(static), freq, calendar, tz, gaps, irregular,  # type: ignore[arg-type]
        duplicates, impossible, dayfirst, decimal=decimal, thousands=thousands, kind=kind,
    )  # fmt: skip
    said = list(notes)
    rows = prepare(frame, options, Where.memory(source), said)
    return build(rows, options, source=source, meta=meta or {})


# -- table -> rows --------------------------------------------------------------------------------------


def prepare(frame: pd.DataFrame, options: Options, where: Where, notes: list[str]) -> Rows:
    """Roles, stamps and numbers of a table; sorted, without doubled stamps.

    Raises:
        DataError, UsageError: as :func:`from_frame`.
    """
    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.rename_axis(index=frame.index.name or "ds").reset_index()
    frame = columns.tidy_names(frame.reset_index(drop=True), where, notes)
    if not len(frame):
        raise where.error(DataError, "no rows of data.", hint="Give a table with at least one row.")
    start = columns.start_date(options.time, frame)
    if start is not None and options.freq is None:
        raise UsageError(f"--time {options.time} counts rows from a date, but in which steps?", hint="Give --freq too.")
    if start is not None:
        name, stamps = str(options.time), None
    else:
        name, cells = columns.time_column(frame, options.time, where, notes)
        stamps = dates.parse(cells, name=name, where=where, notes=notes, dayfirst=options.dayfirst)
    taken = [name, *name.split("+")]
    identity = columns.id_column(frame, options.id, taken, where, notes)
    codes, ids = _series(frame, identity, where)
    roles, targets = _roles(frame, options, [*taken, *([identity] if identity else [])], where, notes)
    if start is not None:
        order = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        counted = Grid(str(options.freq), options.calendar).beginning(start, int(order.max()) + 1)
        ds, aware = counted.to_numpy().astype("datetime64[ns]")[order], False
        zone = options.tz
        notes.append(f"Time: rows counted from {shown(ds[0])} in steps of {options.freq}.")
    else:
        assert stamps is not None
        ds, aware, zone = stamps.values, stamps.aware, options.tz or stamps.zone
    prices = columns.price_columns([str(column) for column in frame.columns if column not in taken])
    wanted = dict.fromkeys([*targets, *roles])
    others = frame[[column for column in frame.columns if column not in taken]]
    cells_of = _numbers(others, list(wanted), options, where, notes)
    if set(targets) & set(prices.values()):
        loose = [column for column in prices.values() if column not in wanted]
        cells_of |= _numbers(others, loose, options, where, [], strict=False)
    else:
        prices = {}
    rows = Rows(
        codes, ids, ds, cells_of, np.arange(len(frame)), targets, roles, prices, name, aware, where, zone, notes
    )  # fmt: skip
    rows = with_stamps(rows)
    rows = without_unfinished(rows)
    local = options.tz
    if local is None and options.calendar is not None and not rows.daily:
        local = rows.zone = rows.zone or zone_of(options.calendar)  # clocks at the exchange
    if not aware and local is not None:
        rows = in_utc(rows, local)
    mask_sentinels(rows)
    rows = in_order(rows)
    rows = without_doubles(
        rows, options.duplicates, lambda: None if identity else _forgotten(frame, rows, [*taken, *wanted])
    )
    return possible(rows, options.impossible, options.kind)


def _forgotten(frame: pd.DataFrame, rows: Rows, taken: list[str]) -> str | None:
    return columns.suggest_id(frame.loc[rows.positions], pd.Series(rows.ds), taken)


def _series(frame: pd.DataFrame, identity: str | None, where: Where) -> tuple[NDArray[np.int64], list[str]]:
    if identity is None:
        return np.zeros(len(frame), np.int64), []
    named = frame[identity]
    text = values.tidy(named) if values.is_text(named) else named.astype("str")
    empty = np.flatnonzero((text == "").to_numpy(bool) | named.isna().to_numpy(bool))
    if len(empty):
        raise where.error(
            DataError,
            f"{plural(len(empty), 'row')} without a series id.",
            position=int(empty[0]),
            column=identity,
            hint="Fill the cells or remove the rows.",
        )
    codes, names = pd.factorize(text)
    return codes.astype(np.int64), [str(name) for name in names]


def _roles(
    frame: pd.DataFrame, options: Options, taken: list[str], where: Where, notes: list[str]
) -> tuple[dict[str, Role], tuple[str, ...]]:
    """Covariates with their role, and the targets."""
    roles: dict[str, Role] = {}
    given: tuple[tuple[Role, tuple[str, ...]], ...] = (
        ("future", options.future), ("static", options.static), ("past", tuple(n for n in options.past if n != "*")),
    )  # fmt: skip
    for role, names in given:
        for asked in names:
            name = columns.find(asked, frame, where, f"a {role} covariate")
            if name in taken or roles.get(name, role) != role:
                raise UsageError(
                    f"column {name!r} has two roles: {roles.get(name, 'time or id')} and {role}.", hint="Give it one."
                )
            roles[name] = role
    targets = columns.target_columns(frame, options.target, [*taken, *roles], where, notes)
    keys = [name for name in targets if name in taken]
    if keys:
        raise UsageError(
            f"column {keys[0]!r} is the time or the id, so it is no target.", hint="Choose another --target."
        )
    both = [name for name in targets if name in roles]
    if both:
        raise UsageError(
            f"column {both[0]!r} is the target and a {roles[both[0]]} covariate.",
            hint="Leave it out of the covariates: a forecast always sees the target's past.",
        )
    if "*" in options.past:
        rest = [str(name) for name in frame.columns if str(name) not in (*taken, *roles, *targets)]
        kept = [name for name in rest if columns.numeric_like(frame[name])]
        roles |= dict.fromkeys(kept, "past")
        left = [name for name in rest if name not in kept]
        notes.append(
            f"Past covariates: {', '.join(kept) or 'none'}" + (f" (no numbers: {', '.join(left)})." if left else ".")
        )
    ordered = {str(name): roles[str(name)] for name in frame.columns if str(name) in roles}
    return ordered, targets


def _numbers(
    frame: pd.DataFrame, names: list[str], options: Options, where: Where, notes: list[str], strict: bool = True
) -> dict[str, Floats]:
    """The named columns as float64; the style of numbers is decided from every text column of the table."""
    text = {
        str(name): values.tidy(frame[name])
        for name in frame.columns
        if values.is_text(frame[name]) and columns.numeric_like(frame[name])
    }
    style = values.decide_style(text.items(), where, options.decimal, options.thousands, names)
    if style.decimal == "," and strict:
        notes.append("Numbers are written with a decimal comma.")
    return {
        name: values.to_float(frame[name], name=name, where=where, style=style, notes=notes, strict=strict)
        for name in names
    }
