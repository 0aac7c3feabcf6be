"""Layout: cleaned rows -> the regular grid, the gaps policy, and the Panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines import regular
from pipelines.errors import DataError, TimeError, ValueRangeError
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.rows import Options, Rows, gap_limit, merged
from pipelines.where import plural, shown

MAX_STAMPS = 50_000_000


def build(rows: Rows, options: Options, *, source: str, meta: Mapping[str, Any]) -> Panel:
    """Rows on their grid, gaps treated, as a Panel.

    Raises:
        DataError, UsageError: as :func:`from_frame`.
    """
    grid, rows = _gridded(rows, options)
    stamps = grid.between(pd.Timestamp(rows.ds.min()), pd.Timestamp(rows.ds.max())).to_numpy().astype("datetime64[ns]")
    rank = np.searchsorted(stamps, rows.ds)
    _say_unpriced(rows, grid, options)
    _check_static(rows)
    parts, ahead, empty = [], [], []
    names = _names(rows)
    for code in range(max(len(rows.ids), 1)):
        at = rows.of(code)
        for target in rows.targets:
            part, later = _place(rows, at, rank, stamps, target, names[code, target])
            if part is None:
                empty.append(names[code, target])
                continue
            parts.append(part)
            ahead.append(later)
    if not parts:
        raise rows.where.error(
            DataError,
            "the target has no value in any row.",
            column=", ".join(rows.targets),
            hint="Choose another column with --target.",
        )
    if empty:
        rows.notes.append(f"{plural(len(empty), 'series')} without any value left out ({', '.join(empty[:3])}).")
    frame = pd.concat(parts, ignore_index=True)
    _say_trimmed(rows, parts)
    frame = fill(frame, options.gaps, grid, rows)
    _say_series(frame, rows.notes)
    future = pd.concat(ahead, ignore_index=True) if options.future else None
    if future is not None and len(future):
        rows.notes.append(f"{plural(len(future), 'row')} behind the last target hold known-future covariates.")
    read = {"targets": list(rows.targets), "id": options.id, "tz": options.tz, "kind": rows.kind}
    meta = {**meta, **{name: value for name, value in read.items() if value is not None}}
    return Panel(
        frame, grid, rows.roles, None if future is None or not len(future) else future,
        target=", ".join(rows.targets) if len(rows.targets) < 4 else f"{len(rows.targets)} columns",
        source=source, notes=tuple(dict.fromkeys(rows.notes)), meta=meta,
    )  # fmt: skip


def _say_unpriced(rows: Rows, grid: Grid, options: Options) -> None:
    """On exchange sessions a lone value that is not positive keeps a column from being taken as a price: said."""
    for name in rows.targets if grid.calendar is not None and options.kind is None and rows.kind == "sensor" else ():
        low = np.flatnonzero(rows.cells[name] <= 0)
        if 0 < len(low) < max(3, 0.01 * len(rows.ds)):
            rows.notes.append(
                f"{name}: not positive in {plural(len(low), 'row')} ({rows.where.lines_of(rows.positions[low])}), so "
                "it is no price; if it is one, --preset price --impossible mask masks what cannot be."
            )


def _names(rows: Rows) -> dict[tuple[int, str], str]:
    """The id of every series: the id column's value, the target's name, or both."""
    ids = rows.ids or [""]
    if len(rows.targets) == 1:
        return {(code, rows.targets[0]): name or rows.targets[0] for code, name in enumerate(ids)}
    return {(code, t): f"{name}/{t}" if name else t for code, name in enumerate(ids) for t in rows.targets}


def _gridded(rows: Rows, options: Options) -> tuple[Grid, Rows]:
    """The grid as asked or inferred, and the rows on it."""
    tz = rows.zone if rows.aware and not rows.daily else None
    if options.calendar is not None:
        grid = _sessions(rows, options)
    elif options.freq is not None:
        grid = Grid(options.freq, tz=tz)
    else:
        grid = regular.infer(
            rows.ds, rows.codes, name=rows.time, where=rows.where, positions=rows.positions, prices=bool(rows.prices),
            tz=tz, notes=rows.notes, move=options.irregular != "refuse", traded=bool(rows.prices or rows.priced),
        )  # fmt: skip
    return grid, _on_grid(rows, grid, options)


def _sessions(rows: Rows, options: Options) -> Grid:
    """The sessions of the exchange that was asked for, or bars within them where the stamps are shorter than days."""
    steps = np.diff(rows.ds)[np.diff(rows.codes) == 0]
    if rows.daily or not len(steps) or regular.usual_step(steps) >= np.timedelta64(1, "D"):
        return Grid(options.freq or "D", options.calendar)
    return Grid(options.freq or regular.alias(regular.usual_step(steps)), options.calendar, tz=rows.zone)


def _on_grid(rows: Rows, grid: Grid, options: Options) -> Rows:
    first, last = pd.Timestamp(rows.ds.min()), pd.Timestamp(rows.ds.max())
    size = (last.value - first.value) / 1e9 / grid.step_seconds  # a Timedelta overflows after 292 years
    if size > MAX_STAMPS:
        raise rows.where.error(
            TimeError,
            f"a grid of {grid} from {shown(first)} to {shown(last)} has {size:,.0f} stamps for {len(rows.ds):,} rows.",
            hint="Give a coarser --freq with --irregular snap.",
        )
    stamps = grid.between(first, last).to_numpy().astype("datetime64[ns]")
    place = np.minimum(np.searchsorted(stamps, rows.ds), max(len(stamps) - 1, 0))
    off = np.flatnonzero(stamps[place] != rows.ds) if len(stamps) else np.arange(len(rows.ds))
    if not len(off):
        return rows
    if options.irregular != "refuse":
        return _moved(rows, grid, options.irregular)
    at = int(off[0])
    raise rows.where.error(
        TimeError,
        f"{_on_the_wall(rows, at)} is no stamp of the grid {grid}; {plural(len(off), 'row')} in all.",
        position=int(rows.positions[at]),
        column=rows.time,
        hint="Leave --freq and --calendar out to have the grid inferred, or move the stamps: --irregular snap or "
        "nearest.",
    )


def _on_the_wall(rows: Rows, at: int) -> str:
    """A stamp as clocks of its zone show it, which is how a file writes it that was read as local time."""
    if not rows.aware or rows.zone in (None, "UTC"):
        return shown(rows.ds[at])
    utc = pd.Timestamp(rows.ds[at])
    wall = utc.tz_localize("UTC").tz_convert(rows.zone).tz_localize(None)
    return f"{wall}, time of {rows.zone} ({utc} in UTC),"


def _moved(rows: Rows, grid: Grid, way: str) -> Rows:
    """The rows with every stamp on the grid: the next of it, or the nearest; several that meet are averaged."""
    expected = regular.grid_from(pd.Timestamp(rows.ds.min()), pd.Timestamp(rows.ds.max()), grid)
    places = {name: regular.places(rows.ds, expected, grid, name) for name in ("snap", "nearest")}
    empty, slots = regular.emptied(rows.codes, places[way])
    other = "nearest" if way == "snap" else "snap"
    instead, _ = regular.emptied(rows.codes, places[other])
    shift = expected[places[way]] - rows.ds
    none = np.timedelta64(0, "ns")
    later, earlier = pd.Timedelta(max(shift.max(), none)), pd.Timedelta(max(-shift.min(), none))
    text = f"{plural(int((shift != 0).sum()), 'stamp')} moved to the {'next' if way == 'snap' else way} stamp of the "
    text += f"grid {grid} (by up to {regular.span(later)}"
    if way == "snap":
        text += ", never earlier)"
    else:
        ahead = int((shift < 0).sum())
        text += f" later and {regular.span(earlier)} earlier"
        text += f"; {plural(ahead, 'row')} stand up to that long before they were measured)" if ahead else ")"
    before = len(rows.ds)
    rows.ds = expected[places[way]]
    rows = merged(rows, "mean")
    shared = before - len(rows.ds)
    rows.notes.append(f"{text}{f'; {shared:,} that met another were averaged with it' if shared else ''}.")
    if empty > 0.1 * slots:
        far = "up to half a step before it was measured" if other == "nearest" else "up to a step after"
        remedy = f"; --irregular {other} would leave {instead:,} (a value may then stand {far})"
        rows.notes.append(
            f"Where stamps met, {empty:,} of {slots:,} stamps of the grid were left without a row"
            f"{remedy if 2 * instead <= empty else '; a coarser --freq leaves fewer'}."
        )
    return rows


def _check_static(rows: Rows) -> None:
    for name in [name for name, role in rows.roles.items() if role == "static"]:
        for code in range(max(len(rows.ids), 1)):
            at = rows.of(code)
            at = at[np.isfinite(rows.cells[name][at])]
            other = np.flatnonzero(rows.cells[name][at] != rows.cells[name][at[:1]])
            if len(other):
                raise rows.where.error(
                    ValueRangeError,
                    f"a static covariate changes from {rows.cells[name][at[0]]:g} to "
                    f"{rows.cells[name][at[other[0]]]:g}.",
                    position=int(rows.positions[at[other[0]]]),
                    column=name,
                    hint="Give it as --past or --future.",
                )


def _place(
    rows: Rows, at: NDArray[np.int64], rank: NDArray[np.int64], stamps: NDArray[np.datetime64], target: str, name: str
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """One series on the grid, from its first to its last value; and the rows after it that hold known-future "
    "columns."""
    values_of = rows.cells[target][at]
    filled = np.flatnonzero(np.isfinite(values_of))
    if not len(filled):
        return None, pd.DataFrame()
    first, last = int(rank[at[filled[0]]]), int(rank[at[filled[-1]]])
    inside = at[(rank[at] >= first) & (rank[at] <= last)]
    data: dict[str, Any] = {"unique_id": name, "ds": stamps[first : last + 1]}
    for column, source in {"y": target, **{covariate: covariate for covariate in rows.roles}}.items():
        placed = np.full(last + 1 - first, np.nan)
        placed[rank[inside] - first] = rows.cells[source][inside]
        if rows.roles.get(column) == "static":
            known = rows.cells[source][at]
            known = known[np.isfinite(known)]
            placed[:] = known[0] if len(known) else np.nan
        data[column] = placed
    part = pd.DataFrame(data)
    part.attrs = {"trimmed": (int(filled[0]), int(len(at) - 1 - filled[-1]))}
    later = at[rank[at] > last]
    names = [column for column, role in rows.roles.items() if role == "future"]
    ahead = pd.DataFrame({"unique_id": name, "ds": rows.ds[later], **{c: rows.cells[c][later] for c in names}})
    return part, ahead.dropna(subset=names, how="all") if names else ahead.iloc[:0]


def _say_trimmed(rows: Rows, parts: list[pd.DataFrame]) -> None:
    first = sum(part.attrs["trimmed"][0] for part in parts)
    last = sum(part.attrs["trimmed"][1] for part in parts)
    if first:
        rows.notes.append(f"{plural(first, 'leading row')} without a target left out.")
    if last:
        rows.notes.append(f"{plural(last, 'trailing row')} without a target left out.")
    for part in parts:
        part.attrs = {}


def fill(frame: pd.DataFrame, gaps: str, grid: Grid, rows: Rows) -> pd.DataFrame:
    """The gaps policy on a frame ``unique_id, ds, y, covariates``, and what was found, as a note.

    Raises:
        TimeError: a row is missing and ``gaps`` is ``"error"``.
    """
    holes = np.flatnonzero(frame["y"].isna().to_numpy(bool))
    if not len(holes):
        return frame
    named = f" of {frame['unique_id'].iloc[holes[0]]!r}" if frame["unique_id"].nunique() > 1 else ""
    said = (
        f"{plural(len(holes), 'row')} of {len(frame):,} on the grid ({grid}) have no target, "
        f"the first{named} at {shown(frame['ds'].iloc[holes[0]])}"
    )
    limit = gap_limit(gaps)
    if limit is None:
        before = frame["ds"].iloc[holes[0] - 1]
        place = rows.positions[np.flatnonzero(rows.ds == before.to_datetime64())[:1]]
        raise rows.where.error(
            TimeError,
            f"{said} (after {shown(before)}).",
            position=int(place[0]) if len(place) else None,
            column=rows.time,
            hint="Use --gaps mask to train around them, or --gaps interpolate:N.",
        )
    edges = np.flatnonzero(
        np.diff(np.concatenate([[False], frame["y"].isna().to_numpy(bool), [False]]).astype(np.int8))
    )
    lengths = edges[1::2] - edges[::2]
    if limit == 0:
        rows.notes.append(
            f"{said}; masked ({plural(len(lengths), 'gap')}, the longest {plural(int(lengths.max()), 'row')})."
        )
        return frame
    return _interpolated(frame, edges, lengths, limit, said, rows)


def _interpolated(
    frame: pd.DataFrame, edges: NDArray[np.int64], lengths: NDArray[np.int64], limit: int, said: str, rows: Rows
) -> pd.DataFrame:
    """Short runs filled on a straight line; a run never touches the end of a series, because series are trimmed."""
    past = [name for name, role in rows.roles.items() if role == "past"]
    done = frame.copy()
    short = lengths <= limit
    for name in ("y", *past):
        column = done[name].to_numpy(np.float64, copy=True)
        for begin, end in zip(edges[::2][short], edges[1::2][short], strict=True):
            inside = np.arange(begin, end)
            todo = inside[np.isnan(column[inside])]
            column[todo] = np.interp(todo, [begin - 1, end], [column[begin - 1], column[end]])
        done[name] = column
    left = int(lengths[~short].sum())
    rows.notes.append(
        f"{said}; {plural(int(lengths[short].sum()), 'row')} in runs up to {limit} interpolated from both sides (a "
        "live forecast "
        f"would not know the later one){f', {left:,} in longer runs masked' if left else ''}."
    )
    return done


def _say_series(frame: pd.DataFrame, notes: list[str]) -> None:
    """Constant and identical series, said."""
    grouped = frame.groupby("unique_id", observed=True, sort=False)["y"]
    spread = grouped.max() - grouped.min()
    flat = [str(name) for name in spread.index[spread == 0] if grouped.get_group(name).notna().sum() > 1]
    if flat:
        notes.append(
            f"{plural(len(flat), 'series')} constant: {', '.join(flat[:3])}; scores relative to naive are undefined."
        )
    twins = identical_series(frame)
    if twins:
        notes.append(f"Identical series under different ids: {', '.join(f'{a} = {b}' for a, b in twins[:3])}.")


def identical_series(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of ids whose stamps and values are the same (constant series aside)."""
    seen: dict[bytes, str] = {}
    twins = []
    if frame["unique_id"].nunique() < 2:
        return []
    for name, part in frame.groupby("unique_id", observed=True, sort=False):
        column = part["y"].to_numpy(np.float64)
        if len(column) < 3 or np.nanmin(column) == np.nanmax(column):
            continue
        digest = part["ds"].to_numpy().tobytes() + column.tobytes()
        if digest in seen:
            twins.append((seen[digest], str(name)))
        seen.setdefault(digest, str(name))
    return twins
