"""Regular: infer the grid of a set of time stamps, name what is irregular, move stamps onto a grid.

A grid is inferred only if it holds every stamp. An exchange calendar is inferred only if no stamp
falls on a day without a session and holidays of that exchange are really absent.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import TimeError, TooShortError
from pipelines.grid import Grid
from pipelines.sessions import WEEK
from pipelines.where import Where, plural, shown

_DAY = np.timedelta64(1, "D").astype("timedelta64[ns]")
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SECOND = 1_000_000_000  # ns
_NATURAL = np.array(
    [
        *(part * _SECOND // 1000 for part in (1, 2, 5, 10, 20, 25, 40, 50, 100, 200, 250, 500)),
        *(unit * count * _SECOND for unit in (1, 60) for count in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
        *(3600 * count * _SECOND for count in (1, 2, 3, 4, 6, 8, 12)),
    ]
)  # ns, the steps people choose for a clock
LONG_HOLE = 20  # sessions: a hole this long is a renamed or suspended ticker, not a calendar that does not fit
EXCHANGES = ("XNYS", "XLON", "XTKS", "XETR", "XPAR", "XTSE", "XHKG", "XASX")


def infer(
    stamps: NDArray[np.datetime64], series: NDArray[np.int64], *, name: str, where: Where,
    positions: NDArray[np.int64], prices: bool, tz: str | None, notes: list[str], move: bool = False,
    traded: bool = False,
) -> Grid:  # fmt: skip
    """The grid of ``stamps`` [N] (sorted within each series, no doubles).

    Args:
        stamps: zone-naive.
        series: ``[N]`` code of the series of each stamp.
        name: the time column, for messages.
        where: origin of the rows.
        positions: ``[N]`` row of the frame each stamp came from.
        prices: the table holds prices, so other exchanges than New York are tried too.
        tz: zone of the wall clock, passed on to the grid of sub-daily stamps.
        notes: gets the decision.
        traded: the values are prices, so bars shorter than a day may stop for weekends.
        move: where no grid holds every stamp, take the usual step instead of refusing.

    Raises:
        TooShortError: fewer than two stamps.
        TimeError: no grid holds every stamp.
    """
    unique = distinct(stamps)
    steps = np.diff(stamps)[np.diff(series) == 0]
    if not len(steps):
        raise where.error(
            TooShortError,
            "no series has two rows, so there is nothing to learn from and no frequency to infer.",
            hint="Use more history; --id names the column that tells series of a long file apart.",
        )
    if not (unique.astype("datetime64[D]") == unique).all():
        grid = _of_clock(unique, steps, tz)
        if grid is not None and traded:
            grid = _week(unique, grid, notes)
    else:
        grid = _of_dates(unique, steps, prices)
        if grid is not None and grid.freq == "B":
            grid = _exchange(unique, prices, notes)
    if grid is None and move:
        grid = Grid(alias(usual_step(steps)), tz=tz)
    if grid is None:
        raise irregular_error(stamps, series, usual_step(steps), name, where, positions)
    return grid


def usual_step(steps: NDArray[np.timedelta64]) -> np.timedelta64:
    """The most frequent step, the shortest of several; where steps vary, their median near a natural length.

    They vary if the most frequent is less than half of them and fewer than those that miss it by up to a fifth;
    gaps and nights make steps of other lengths.
    """
    ordered = np.sort(steps)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts = np.diff(np.append(starts, len(ordered)))
    usual = np.timedelta64(ordered[starts[np.argmax(counts)]], "ns")
    missed = np.searchsorted(ordered, [usual * 4 // 5, usual * 6 // 5])
    if 2 * counts.max() >= len(ordered) or missed[1] - missed[0] <= 2 * counts.max():
        return usual
    return _natural(np.timedelta64(ordered[len(ordered) // 2], "ns"))


def _natural(step: np.timedelta64) -> np.timedelta64:
    """The natural step within three per cent of ``step``; else ``step``, in whole seconds if it is long."""
    length = int(step.astype(np.int64))
    day = 86_400 * _SECOND
    near = int(_NATURAL[np.argmin(np.abs(_NATURAL - length))])
    for natural in (near, round(length / day) * day):
        if abs(natural - length) <= 0.03 * length:
            return np.timedelta64(natural, "ns")
    return np.timedelta64(round(length / _SECOND) * _SECOND if length > 100 * _SECOND else length, "ns")


def distinct(stamps: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    """Different stamps in order; for a million stamps far quicker than ``np.unique``, which hashes."""
    ordered = np.sort(stamps)
    values: NDArray[np.datetime64] = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    return values


def alias(step: np.timedelta64) -> str:
    """Pandas' name of a fixed step."""
    length = pd.Timedelta(step)
    if length == length.floor("D"):
        return f"{length.days}D" if length.days > 1 else "D"
    return str(pd.tseries.frequencies.to_offset(length).freqstr)


def _of_clock(unique: NDArray[np.datetime64], steps: NDArray[np.timedelta64], tz: str | None) -> Grid | None:
    step = usual_step(steps)
    if (steps == step).mean() < 0.5 or ((unique - unique[0]) % step != np.timedelta64(0)).any():
        return None
    return Grid(alias(step), tz=tz)


def _week(unique: NDArray[np.datetime64], grid: Grid, notes: list[str]) -> Grid:
    """Monday to Friday for prices that stop at weekends only; where they stop at night too, the way out is said."""
    index = pd.DatetimeIndex(unique)
    if (grid.wall_clock(index).day_of_week >= 5).any() or index[-1] - index[0] < pd.Timedelta(days=10):
        return grid
    week = Grid(grid.freq, WEEK, tz=grid.tz or "UTC")
    share = len(unique) / len(week.between(index[0], index[-1]))
    if share < 0.9:
        notes.append(
            f"Frequency: {grid}, without bars on weekends and {1 - share:.0%} missing on other days; "
            "--calendar XNYS for instance reads the bars of an exchange's sessions, so that nights are no gaps."
        )
        return grid
    notes.append(f"Frequency: {grid} from Monday to Friday, around the clock (24/5): weekends are no gaps.")
    return week


def _of_dates(unique: NDArray[np.datetime64], steps: NDArray[np.timedelta64], prices: bool) -> Grid | None:
    """The sparsest usual grid of days that holds every stamp; between equals weekdays win only for prices."""
    index = pd.DatetimeIndex(unique)
    first, last = index[0], index[-1]
    month, day = _MONTHS[first.month - 1], _DAYS[first.day_of_week]
    gap = int(np.gcd.reduce((steps // _DAY).astype(np.int64)))
    names = [f"YS-{month}", f"YE-{month}", f"QS-{month}", f"QE-{month}", "MS", "ME", "BMS", "BME"]
    names += [f"W-{day}", *([f"{gap}D"] if gap > 1 else []), *(["B", "D"] if prices else ["D", "B"])]
    best, fewest = None, 0
    for freq in names:
        expected = pd.date_range(first, last, freq=freq)
        if (best is None or len(expected) < fewest) and index.isin(expected).all():
            best, fewest, grid_stamps = freq, len(expected), expected
    if best is None:
        return None
    rank = grid_stamps.get_indexer(index)
    # calendar months differ in length, so regular means: next on the grid, for at least half of the steps
    return Grid(best) if len(rank) < 3 or (np.diff(rank) == 1).mean() >= 0.5 else None


def _exchange(unique: NDArray[np.datetime64], prices: bool, notes: list[str]) -> Grid:
    """Exchange sessions if they explain the weekdays that are absent, else plain weekdays; said either way."""
    first, last = pd.Timestamp(unique[0]), pd.Timestamp(unique[-1])
    weekdays = pd.date_range(first, last, freq="B").to_numpy()
    absent = weekdays[~np.isin(weekdays, unique)]
    if not len(absent):
        notes.append("Frequency: weekdays (B); no holiday in the span tells an exchange, --calendar XNYS names one.")
        return Grid("B")
    fits: list[tuple[str, int, str]] = []
    why = ""
    for name in EXCHANGES if prices else EXCHANGES[:1]:
        sessions = Grid("D", name).between(first, last).to_numpy()
        extra = unique[~np.isin(unique, sessions)]
        if len(extra):
            why = why or f"; {plural(len(extra), 'date')} ({shown(extra[0])} first) are no {name} sessions"
            continue
        loose, holes = _loose(~np.isin(sessions, unique))
        explained = int((~np.isin(absent, sessions)).sum())
        if loose > max(1, len(unique) // 300) or explained <= loose:
            why = why or f"; {plural(loose, f'{name} session')} would be missing"
            continue
        told = f"{plural(loose, 'session')} missing" if loose else "every session is there"
        told += f", besides {plural(holes, 'long hole')}: a renamed or suspended ticker" if holes else ""
        fits.append((name, explained, told))
        if name == EXCHANGES[0]:
            break
    if not fits:
        notes.append(
            f"Frequency: weekdays (B), {plural(len(absent), 'weekday')} absent{why}; --calendar names an exchange."
        )
        return Grid("B")
    name, explained, told = fits[0]
    also = f"; {', '.join(other for other, _, _ in fits[1:])} would fit too: --calendar chooses" if fits[1:] else ""
    notes.append(f"Calendar: {name}, recognised by {plural(explained, 'weekday')} without trade ({told}{also}).")
    return Grid("D", name)


def _loose(missing: NDArray[np.bool_]) -> tuple[int, int]:
    """How many missing sessions lie outside of long holes, and how many long holes there are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths <= LONG_HOLE].sum()), int((lengths > LONG_HOLE).sum())


def irregular_error(
    stamps: NDArray[np.datetime64], series: NDArray[np.int64], step: np.timedelta64, name: str, where: Where,
    positions: NDArray[np.int64],
) -> Exception:  # fmt: skip
    """The refusal of irregular stamps: how many steps differ, where the first is, what to do."""
    same = np.diff(series) == 0
    steps = np.diff(stamps)
    odd = np.flatnonzero(same & (steps != step))
    at = int(odd[0]) + 1 if len(odd) else 1
    longest = pd.Timedelta(steps[same].max())
    away = _away(stamps, step)
    hint = f"Put them on a grid with --irregular snap --freq {alias(step)} (a coarser --freq averages)."
    if away <= step / 10:
        hint = (
            f"All lie within {span(pd.Timedelta(away))} of a grid: --irregular nearest --freq {alias(step)} moves each "
            "to its nearest stamp, so a value may stand up to that long before it was measured (--irregular snap "
            "moves them later only)."
        )
    return where.error(
        TimeError,
        f"irregular steps: {len(odd):,} of {int(same.sum()):,} differ from the usual {span(pd.Timedelta(step))}; the "
        "first "
        f"runs from {shown(stamps[at - 1])} to {shown(stamps[at])}, the longest is {span(longest)}.",
        position=int(positions[at]),
        column=name,
        hint=hint,
    )


def _away(stamps: NDArray[np.datetime64], step: np.timedelta64) -> np.timedelta64:
    """How far any stamp lies from the grid in steps of ``step`` from the midnight before the first."""
    behind = (stamps - stamps.min().astype("datetime64[D]")).astype("timedelta64[ns]") % step
    return np.timedelta64(np.minimum(behind, step - behind).max(), "ns")


def span(length: pd.Timedelta) -> str:
    """A length of time for people: ``2 d 3 h``."""
    days, rest = divmod(int(length.total_seconds()), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    parts = [
        f"{count} {word}" for count, word in ((days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")) if count
    ]
    return " ".join(parts[:2]) or (f"{length.total_seconds() * 1000:g} ms" if length else "0 s")


def grid_from(first: pd.Timestamp, last: pd.Timestamp, grid: Grid) -> NDArray[np.datetime64]:
    """Stamps of a grid that covers ``first`` to ``last``, anchored at round clock times; the first of them lies
    before ``first``, the last behind ``last``."""
    begin = first.normalize()
    if grid.calendar is not None:
        month = pd.Timedelta(days=30)
        sessions: NDArray[np.datetime64] = grid.between(begin - month, last + month).to_numpy()
        return sessions.astype("datetime64[ns]")
    offset = pd.tseries.frequencies.to_offset(grid.freq)
    end = last + 2 * pd.Timedelta(seconds=grid.step_seconds) + pd.Timedelta(days=1)
    stamps = pd.date_range(offset.rollforward(begin) - offset, end, freq=offset)
    values: NDArray[np.datetime64] = stamps.to_numpy().astype("datetime64[ns]")
    return values


def places(stamps: NDArray[np.datetime64], expected: NDArray[np.datetime64], grid: Grid, way: str) -> NDArray[np.int64]:
    """``[N]`` the position in ``expected``, stamps of the grid, that each of ``stamps`` goes to.

    Args:
        way: ``"snap"`` to the stamp at or just after it, so that no value is known before it was measured, or
            ``"nearest"``, at most half a step earlier.
    """
    after = np.searchsorted(expected, stamps, side="left")
    if way == "snap":
        return after
    half = np.timedelta64(round(grid.step_seconds * 5e8), "ns")
    back = stamps - expected[np.maximum(after - 1, 0)]
    return after - ((after > 0) & (back < expected[after] - stamps) & (back <= half))


def emptied(series: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[int, int]:
    """Stamps of the grid without a row although there are rows enough, and all stamps of the grid.

    Args:
        series: ``[N]`` code of the series of each row, in order.
        places: ``[N]`` position of each row on the grid, in order within a series.
    """
    begins = np.flatnonzero(np.concatenate([[True], np.diff(series) != 0]))
    sizes = np.diff(np.append(begins, len(series)))
    slots = places[begins + sizes - 1] - places[begins] + 1
    new = np.concatenate([[True], (np.diff(series) != 0) | (np.diff(places) != 0)])
    filled = np.add.reduceat(new.astype(np.int64), begins)
    return int((np.minimum(sizes, slots) - filled).sum()), int(slots.sum())
