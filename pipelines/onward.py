"""Onward: going on from any row as if a forecast had come true, for recursive forecasts.

What that takes, for ``M`` origins side by side: the state of every scan at each of them, what is known ahead, and the
next row. Assumption, named: past covariates are not known ahead and count as missing, so they are held at their last
value as over any gap; the forecast value counts as observed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.features import State, calendar
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.prepared import Preparer, Rows

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Ahead:
    """What is known of the ``T`` rows behind each of ``M`` origins."""

    future: Single  # [M, T, Ff] known-future covariates, standardised
    calendar: Array  # [M, T, C]


def strides(series: Index, position: Index) -> Iterator[tuple[Index, Index, int]]:
    """The rows between distinct origins ``(series, position) [M]``, from each origin of a series to its next.

    Yields ``(origins [G], first [G], count)``: the ``count`` rows up to each of ``G`` origins of different series, from
    position ``first`` on, which is 0 at the first origin of a series and else lies behind the origin before.
    """
    order = np.lexsort((position, series))
    owner, end = series[order], position[order] + 1
    place = np.arange(len(order))
    fresh = np.concatenate([[True], owner[1:] != owner[:-1]])
    first = np.where(fresh, 0, np.concatenate([[0], end[:-1]]))
    rank = place - np.maximum.accumulate(np.where(fresh, place, 0))
    for k in range(int(rank.max()) + 1 if len(rank) else 0):
        at = np.flatnonzero(rank == k)
        counts = end[at] - first[at]
        for count in np.unique(counts):
            some = at[counts == count]
            yield order[some], first[some], int(count)


def states_at(preparer: Preparer, panel: Panel, series: Index, position: Index, where: Index) -> State:
    """The state of every scan behind rows ``position [M]`` of ``series [M]``, arrays ``[M, ...]``.

    Args:
        where: ``[S]`` the panel's series in the fitted order.
    """
    columns = {name: preparer.values(panel, name) for name in ("y", *preparer.fitted.past)}
    now: State = {}
    out: State = {}
    for origins, first, count in strides(series, position):
        which = series[origins]
        source = (panel.offsets[which] + first)[:, None] + np.arange(count)
        begin = {name: part[which] for name, part in now.items()} if first[0] else None
        after = preparer.scan({name: column[source] for name, column in columns.items()}, begin, where[which]).state
        for name, part in after.items():
            if name not in out:
                now[name] = np.zeros((len(panel.ids), *part.shape[1:]))
                out[name] = np.zeros((len(series), *part.shape[1:]))
            now[name][which] = out[name][origins] = part
    return out


def ahead_inside(preparer: Preparer, panel: Panel, rows: Index, steps: int) -> Ahead:
    """What is known behind the rows ``rows [M]`` of ``panel``, which may lie before its end or be the end itself."""
    owner = np.searchsorted(panel.offsets, rows, side="right") - 1
    future = np.zeros((len(rows), steps, len(preparer.fitted.future)), np.float32)
    cycles = np.zeros((len(rows), steps, 2 * len(preparer.calendar_parts)))
    if not future.shape[2] and not cycles.shape[2]:
        return Ahead(future, cycles)
    table = panel.frame[list(preparer.fitted.future)].to_numpy(np.float64)
    for i in np.unique(owner):
        low, high = panel.offsets[i], panel.offsets[i + 1]
        mine = np.flatnonzero(owner == i)
        last = {panel.ids[i]: pd.Timestamp(panel.ds[high - 1])}
        behind = ahead_behind(preparer, panel.grid, last, panel.future, steps)
        inside = np.nan_to_num(preparer.fitted.future_scaler.apply(table[low:high])).astype(np.float32)
        at = (rows[mine] - low)[:, None] + np.arange(1, steps + 1)
        future[mine] = np.concatenate([inside, behind.future[0]])[at]
        stamps = panel.grid.wall_clock(pd.DatetimeIndex(panel.ds[low:high]))
        cycles[mine] = np.concatenate([calendar(stamps, preparer.calendar_parts), behind.calendar[0]])[at]
    return Ahead(future, cycles)


def ahead_behind(
    preparer: Preparer, grid: Grid, last: Mapping[str, pd.Timestamp], future: pd.DataFrame | None, steps: int
) -> Ahead:
    """What is known behind the series that end at the stamps ``last``, in their order."""
    parts = preparer.calendar_parts
    cycles = np.zeros((len(last), steps, 2 * len(parts)))
    if parts:
        for i, end in enumerate(last.values()):
            cycles[i] = calendar(grid.wall_clock(grid.after(end, steps)), parts)
    return Ahead(preparer.behind(future, grid, list(last), last.values(), steps), cycles)


def next_rows(preparer: Preparer, ahead: Ahead, step: int, z: Array, static: Single, where: Index) -> Rows:
    """The row ``step`` (from 0) behind each origin, if its standardised value is ``z [M]``."""
    scaler, count = preparer.fitted.values["y"], len(z)
    unknown = {name: np.full(count, np.nan) for name in preparer.fitted.past}
    spare = preparer.spec.horizon
    return Rows(
        lengths=np.ones(count, np.int64),
        columns={"y": z * scaler.unit[where] + scaler.center[where], **unknown},
        future=ahead.future[:, step : step + 1 + spare].reshape(count * (1 + spare), -1),
        calendar=ahead.calendar[:, step],
        static=static,
    )
