"""Panel: one or many regular series in long layout, with the roles of their covariates.

The frame has the columns ``unique_id, ds, y`` (the layout of the Nixtla tools) and one column per
covariate. Within a series every stamp of the grid between its first and its last row is present; a
missing value is a row whose ``y`` is NaN. Making such a frame from a file as it lies on a disk is
the work of :mod:`pipelines.clean`; a Panel only refuses what is not one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import DataError, TimeError, UsageError, ValueRangeError, did_you_mean
from pipelines.grid import Grid

Role = Literal["past", "future", "static"]
ROLES: tuple[str, ...] = ("past", "future", "static")
KEYS = ("unique_id", "ds", "y")
_FUTURE = "the future rows"


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """One or many regular series.

    Args:
        frame: columns ``unique_id`` (text), ``ds`` (zone-naive time), ``y`` (float, NaN = missing) and
            one numeric column per covariate; sorted by series, then time. Series keep the order in
            which they first appear.
        grid: the stamps of every series.
        roles: for every covariate ``"past"`` (known up to now), ``"future"`` (known ahead, such as a
            holiday) or ``"static"`` (one value per series). Mandatory: no column without a role.
        future: rows after each series' end that hold the ``"future"`` covariates (``unique_id, ds``
            and those columns); needed to forecast when there are any.
        target: what ``y`` was called where it came from.
        source: where the rows came from, in a few words.
        notes: what loading and cleaning decided, one sentence each, for people.
        meta: facts about the source that travel with the data, JSON only.

    Raises:
        UsageError: a column is missing, or a covariate has no role or an unknown one.
        TimeError: rows are unsorted, doubled or off the grid.
        ValueRangeError: a column is not numeric, or holds an infinite value.
    """

    frame: pd.DataFrame
    grid: Grid
    roles: Mapping[str, Role] = field(default_factory=dict)
    future: pd.DataFrame | None = None
    target: str = "y"
    source: str = "memory"
    notes: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frame = _typed(self.frame, (*KEYS, *self.roles), "the panel")
        extra = [name for name in self.frame.columns if name not in (*KEYS, *self.roles)]
        if extra:
            raise UsageError(
                f"column {extra[0]!r} of the panel has no role.",
                hint="Give every covariate one of past, future or static in `roles`, or drop the column.",
            )
        for name, role in self.roles.items():
            if role not in ROLES:
                raise UsageError(
                    f"role {role!r} of column {name!r} is not one of past, future, static.{did_you_mean(role, ROLES)}",
                    hint="past: known up to now; future: known ahead; static: one value per series.",
                )
        if not len(frame):
            raise DataError("the panel has no rows.", hint="Give at least one row with a time stamp and a value.")
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "roles", dict(self.roles))
        object.__setattr__(self, "meta", dict(self.meta))
        self._check_order()
        if self.future is not None:
            names = self.covariates("future")
            object.__setattr__(self, "future", self._behind(_typed(self.future, ("unique_id", "ds", *names), _FUTURE)))
        for name in self.covariates("static"):
            values = frame.groupby("unique_id", observed=True, sort=False)[name].agg(["min", "max"])
            varies = values.index[values["min"] != values["max"]].tolist()
            varies = [series for series in varies if values.loc[series].notna().all()]
            if varies:
                raise ValueRangeError(
                    f"static covariate {name!r} of series {varies[0]!r} is {values.loc[varies[0], 'min']:g} in one row "
                    f"and {values.loc[varies[0], 'max']:g} in another.",
                    hint="Give it the role past or future, or one value per series.",
                )

    def _behind(self, future: pd.DataFrame) -> pd.DataFrame:
        """The rows of ``future`` that lie behind their series; those inside it are in the frame already."""
        ends = dict(zip(self.ids, self.ds[self.offsets[1:] - 1], strict=True))
        last = future["unique_id"].astype(str).map(ends)
        kept = future[(future["ds"] > last).to_numpy()].reset_index(drop=True)
        double = kept.duplicated(["unique_id", "ds"])
        if double.any():
            row = kept[double].iloc[0]
            raise TimeError(
                f"the future rows hold {row['ds']} of series {row['unique_id']!r} twice.", hint="Keep one of them."
            )
        return kept

    # -- shape ---------------------------------------------------------------------------------
    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Names of the series, in order."""
        return tuple(str(name) for name in self.frame["unique_id"].cat.categories)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """``[S + 1]``: series ``i`` is ``frame.iloc[offsets[i]:offsets[i + 1]]``."""
        counts = np.bincount(self.frame["unique_id"].cat.codes.to_numpy(), minlength=len(self.ids))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """``[S]`` rows of each series, missing ones included."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.frame)

    def column(self, name: str) -> NDArray[np.float64]:
        """``[N]`` one column as float64, all series one after another."""
        values: NDArray[np.float64] = self.frame[name].to_numpy(np.float64)
        return values

    @cached_property
    def ds(self) -> NDArray[np.datetime64]:
        """``[N]`` time stamps."""
        values: NDArray[np.datetime64] = self.frame["ds"].to_numpy()
        return values

    def covariates(self, role: Role) -> list[str]:
        """Names of the covariates with ``role``, in column order."""
        return [name for name, given in self.roles.items() if given == role]

    @property
    def missing(self) -> int:
        """Rows whose target is missing."""
        return int(self.frame["y"].isna().sum())

    @property
    def start(self) -> pd.Timestamp:
        return pd.Timestamp(self.frame["ds"].min())

    @property
    def end(self) -> pd.Timestamp:
        return pd.Timestamp(self.frame["ds"].max())

    # -- parts ---------------------------------------------------------------------------------
    def up_to(self, cutoff: pd.Timestamp | str) -> Panel:
        """Rows with ``ds <= cutoff``; later rows of known-future covariates move to ``future``.

        Raises:
            DataError: nothing is left.
        """
        stamp = pd.Timestamp(cutoff)
        keep = self.frame["ds"] <= stamp
        names = self.covariates("future")
        future = self.future
        if names:
            later = self.frame.loc[~keep, ["unique_id", "ds", *names]]
            future = later if future is None else pd.concat([later, future])
        rows = self.frame[keep]
        if not len(rows):
            raise DataError(
                f"no rows at or before {stamp}; the panel begins at {self.start}.", hint="Use a later cutoff."
            )
        return replace(self, frame=rows, future=future)

    def select(self, ids: Iterable[str]) -> Panel:
        """Only the series in ``ids``, in the panel's order.

        Raises:
            UsageError: an id is unknown.
        """
        wanted = list(ids)
        for name in wanted:
            if name not in self.ids:
                raise UsageError(
                    f"there is no series {name!r}.{did_you_mean(name, self.ids)}",
                    hint=f"Series: {', '.join(self.ids[:10])}{' ...' if len(self.ids) > 10 else ''}.",
                )
        future = None if self.future is None else self.future[self.future["unique_id"].isin(wanted)]
        return replace(self, frame=self.frame[self.frame["unique_id"].isin(wanted)], future=future)

    def append(self, rows: pd.DataFrame) -> Panel:
        """This panel with later ``rows`` (same columns) behind each series.

        Raises:
            TimeError: a row does not continue its series on the grid.
        """
        unknown = set(rows["unique_id"].astype(str)) - set(self.ids)
        if unknown:
            raise UsageError(
                f"series {sorted(unknown)[0]!r} is not in the panel.", hint="Append rows of known series only."
            )
        both = pd.concat([self.frame.astype({"unique_id": object}), rows], ignore_index=True)
        rank = {name: position for position, name in enumerate(self.ids)}
        order = np.argsort(both["unique_id"].map(rank).to_numpy(), kind="stable")
        return replace(self, frame=both.iloc[order])

    def fingerprint(self) -> str:
        """SHA-256 over ids, stamps, values, roles and grid: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        head = [list(self.ids), self.offsets.tolist(), self.grid.to_json(), sorted(self.roles.items())]
        digest.update(repr(head).encode())
        digest.update(np.ascontiguousarray(self.ds).tobytes())
        for name in ("y", *self.roles):
            values = self.column(name)
            digest.update(np.where(np.isnan(values), np.nan, values).tobytes())
        return digest.hexdigest()

    # -- for people ----------------------------------------------------------------------------
    def describe(self) -> dict[str, Any]:
        """What a person asks first: series, rows, span, frequency, gaps."""
        return {
            "series": len(self.ids),
            "rows": len(self),
            "start": str(self.start),
            "end": str(self.end),
            "frequency": str(self.grid),
            "season": self.grid.season,
            "missing": self.missing,
            "target": self.target,
            "covariates": dict(self.roles),
            "source": self.source,
        }

    def __repr__(self) -> str:
        facts = self.describe()
        names = ", ".join(self.ids[:3]) + (" ..." if len(self.ids) > 3 else "")
        covariates = ", ".join(f"{name} ({role})" for name, role in self.roles.items()) or "none"
        return (
            f"Panel: {facts['series']} series ({names}), {facts['rows']:,} rows, target {self.target}\n"
            f"  span        {facts['start']} to {facts['end']}\n"
            f"  frequency   {facts['frequency']}, season {facts['season']}\n"
            f"  missing     {facts['missing']:,} of {facts['rows']:,} rows\n"
            f"  covariates  {covariates}\n"
            f"  source      {self.source}"
        )

    def _repr_html_(self) -> str:
        from html import escape

        head, *rest = repr(self).splitlines()
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(line.split(None, 1)[0])}</th>"
            f"<td style='text-align:left'>{escape(line.split(None, 1)[1])}</td></tr>"
            for line in rest
        )
        return f"<p><b>{escape(head)}</b></p><table>{cells}</table>{self.frame.tail(5).to_html(index=False)}"

    def _check_order(self) -> None:
        codes = self.frame["unique_id"].cat.codes.to_numpy()
        same = codes[1:] == codes[:-1]
        if np.any(np.diff(codes) < 0):
            raise TimeError(
                "the rows of a series are not together.", hint="Sort by series, then time (pipelines.clean does)."
            )
        steps = np.diff(self.ds)
        bad = np.flatnonzero(same & (steps <= np.timedelta64(0, "ns")))
        if len(bad):
            row = int(bad[0]) + 1
            raise TimeError(
                f"series {self.frame['unique_id'].iloc[row]!r}: {self.frame['ds'].iloc[row]} does not come after "
                f"{self.frame['ds'].iloc[row - 1]}.",
                hint="Sort the rows and remove doubled time stamps (pipelines.clean does).",
            )
        self._check_grid(codes)

    def _check_grid(self, codes: NDArray[Any]) -> None:
        """Every series has every stamp of the grid. One date range serves all: each stamp's rank must rise by one."""
        expected = self.grid.between(self.start, self.end).to_numpy()
        rank = np.searchsorted(expected, self.ds)
        off = rank >= len(expected)  # all of them where the grid has no stamp between first and last
        off[~off] = expected[rank[~off]] != self.ds[~off]
        if off.any():
            row = int(np.flatnonzero(off)[0])
            raise TimeError(
                f"series {self.frame['unique_id'].iloc[row]!r}: {self.frame['ds'].iloc[row]} is not a stamp "
                f"of the grid ({self.grid}).",
                hint="Put the rows on a regular grid first (pipelines.from_frame does).",
            )
        holes = np.flatnonzero((codes[1:] == codes[:-1]) & (np.diff(rank) != 1))
        if len(holes):
            row = int(holes[0])
            raise TimeError(
                f"series {self.frame['unique_id'].iloc[row]!r}: no row between {self.frame['ds'].iloc[row]} and "
                f"{self.frame['ds'].iloc[row + 1]}, but the grid ({self.grid}) has stamps there.",
                hint="Put missing rows in with y = NaN (pipelines.from_frame does).",
            )


def _stamps(column: pd.Series, what: str) -> pd.Series:
    if pd.api.types.infer_dtype(column) in ("integer", "floating", "mixed-integer-float", "boolean"):
        raise TimeError(
            f"the time stamps of {what} are numbers ({column.iloc[0]}, ...).",
            hint="Convert them, for example by pandas.to_datetime(column, unit='s').",
        )
    try:
        return pd.to_datetime(column)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TimeError(
            f"the time stamps of {what} cannot be read ({reason}).", hint="Convert them by pandas.to_datetime first."
        ) from error


def _typed(frame: pd.DataFrame, names: Sequence[str], what: str) -> pd.DataFrame:
    """The named columns with their types: id as category in order of appearance, ds as datetime64[ns], rest float64."""
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        raise UsageError(
            f"{what} lacks column {lacking[0]!r}; it has {', '.join(map(str, frame.columns))}.",
            hint="The layout is unique_id, ds, y and the covariates named in `roles`.",
        )
    double = frame.columns[frame.columns.duplicated()]
    if len(double):
        raise UsageError(f"{what} has several columns called {double[0]!r}.", hint="Keep or rename one of them.")
    columns: dict[str, Any] = {}
    text = frame["unique_id"].astype(str)
    columns["unique_id"] = pd.Categorical(text, categories=pd.unique(text), ordered=False)
    stamps = _stamps(frame["ds"], what)
    if stamps.dt.tz is not None:
        raise TimeError(
            f"{what} has time stamps with a zone ({stamps.dt.tz}).",
            hint="Convert to UTC, drop the zone and give it to the Grid as `tz` (pipelines.from_frame does).",
        )
    if stamps.isna().any():
        raise TimeError(f"{what} has a row without a time stamp.", hint="Drop or repair such rows.")
    columns["ds"] = stamps.astype("datetime64[ns]").to_numpy()
    for name in names:
        if name in columns:
            continue
        try:
            values = frame[name].astype("float64").to_numpy()
        except (TypeError, ValueError) as error:
            raise ValueRangeError(
                f"column {name!r} of {what} is not numeric ({error}).", hint="Encode it as numbers first."
            ) from error
        if np.isinf(values).any():
            row = int(np.flatnonzero(np.isinf(values))[0])
            raise ValueRangeError(
                f"column {name!r} of {what} is infinite at {stamps.iloc[row]}.", hint="Make it NaN if it is missing."
            )
        columns[name] = values
    return pd.DataFrame(columns)
