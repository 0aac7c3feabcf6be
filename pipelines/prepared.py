"""The one way values take: from a panel to arrays, by a specification and what was fitted.

values -> logarithm (prices) -> standardised -> last observed value held over gaps -> causal scans -> features
standardised. :class:`pipelines.pipeline.Pipeline` fits the numbers this needs; nothing here learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import UsageError, ValueRangeError
from pipelines.features import (
    Difference,
    Gap,
    Hold,
    Mean,
    Relative,
    Scan,
    State,
    Tail,
    Volatility,
    calendar,
    calendar_parts,
)
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.scale import Scaler
from pipelines.shares import Splits, to_fit
from pipelines.spec import PipelineSpec
from pipelines.where import shown

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Index = NDArray[np.int64]


LEVEL = "level"  # the feature that is the standardised value itself


@dataclass(frozen=True)
class Prepared:
    """What a net reads, all series behind one another; series ``i`` has ``horizon`` spare rows behind its end.

    Row ``t`` of series ``i`` is row ``offsets[i] + t``. Shapes: ``N`` rows with the spare ones, ``S`` series.
    """

    x: Single  # [N, F] features known at the row
    future: Single  # [N, Ff] known-future covariates
    static: Single  # [S, Fs]
    level: Single  # [N + S * context] standardised values; series i starts `context` earlier: i * context more rows
    anchor: Array  # [N]
    scale: Array  # [N]
    observed: NDArray[np.bool_]  # [N] False where the value is missing or the row is spare
    unit: Array  # [H]
    offsets: Index  # [S]
    lengths: Index  # [S] real rows
    context: int
    state: State  # of every scan, behind the last real row


@dataclass(frozen=True)
class Rows:
    """What ``n`` rows say before anything is scanned, the series behind one another."""

    lengths: Index  # [S]
    columns: Mapping[str, Array]  # [n] the target ("y", or its logarithm) and every past covariate
    future: Single  # [n + S * horizon, Ff] known-future covariates, standardised; spare rows behind every series
    calendar: Array  # [n, C]
    static: Single  # [S, Fs] standardised


@dataclass(frozen=True)
class Fitted:
    """Everything learned from training rows; ``to_json`` of it is bitwise equal for equal training rows."""

    ids: tuple[str, ...]
    grid: Mapping[str, str | None]
    season: int
    short: int
    long: int
    step_seconds: float
    past: tuple[str, ...]
    future: tuple[str, ...]
    static: tuple[str, ...]
    gaps: bool
    values: Mapping[str, Scaler]  # "y" and every past covariate: one column per series
    volatility: Array  # [S] training root mean square of one-step differences
    features: Scaler
    future_scaler: Scaler
    static_scaler: Scaler
    unit: Array  # [H]
    until: str
    splits: Splits | None = None  # that the prices of the fit's panel were adjusted for; None: unknown
    unscaled: tuple[str, ...] = ()  # series whose training rows give the target no scale of its own


@dataclass(frozen=True)
class Preparer:
    """Runs panels through the scans of one specification with the numbers of one fit."""

    spec: PipelineSpec
    fitted: Fitted

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of ``Prepared.x``."""
        fitted = self.fitted
        names = [name for name, _, _ in self._bank()]
        names += ["elapsed"] if fitted.gaps else []
        names += [f"{name}:now" for name in fitted.future]
        for part in self.calendar_parts:
            names += [f"{part}:sin", f"{part}:cos"]
        return names

    def values(self, panel: Panel, name: str) -> Array:
        """``[N]`` a column on the share count of the fit, the target as logarithms where the specification says so.

        Raises:
            ValueRangeError: a logarithm is asked for and a value is not positive.
        """
        log = name == "y" and self.spec.log
        values, times = logarithms(panel) if log else panel.column(name), self.to_fit(panel, name)
        if times is None:
            return values
        every = np.repeat(times, panel.lengths)
        return values + np.log(every) if log else values * every

    def to_fit(self, panel: Panel, name: str = "y") -> Array | None:
        """``[S]`` what column ``name`` is multiplied by where shares were split since the fit, else ``None``."""
        return to_fit(panel, name, self.fitted.splits, self.fitted.until)

    @property
    def calendar_parts(self) -> tuple[str, ...]:
        parts = calendar_parts(self.fitted.step_seconds) if self.spec.calendar else ()
        return parts[:1] if self.spec.calendar == "shortest" else parts

    def _bank(self) -> list[tuple[str, str, Scan]]:
        """(name, source column, scan) of every feature that reads values, in the order of the columns."""
        fitted, kind = self.fitted, self.spec.features
        own: list[tuple[str, str, Scan]] = []
        if kind != "level":
            own += [
                ("relative", "y", Relative(fitted.short)),
                ("gap", "y", Gap(fitted.short, fitted.long)),
                ("difference", "y", Difference(1)),
                *([("seasonal", "y", Difference(fitted.season))] if fitted.season > 1 else []),
                *([("volatility", "y", Volatility(fitted.long))] if self.spec.volatility else []),
            ]
        if kind != "relative":
            own.append((LEVEL, "y", Tail(1)))
        for name in fitted.past:
            if kind != "level":
                own += [
                    (f"{name}:relative", name, Relative(fitted.short)),
                    (f"{name}:gap", name, Gap(fitted.short, fitted.long)),
                    (f"{name}:difference", name, Difference(1)),
                ]
            if kind != "relative":
                own.append((f"{name}:{LEVEL}", name, Tail(1)))
        return own

    def _check(self, panel: Panel) -> None:
        if panel.grid.to_json() != dict(self.fitted.grid):
            raise UsageError(
                f"the data is on the grid {panel.grid}, the model was fitted on {Grid(**self.fitted.grid)}.",  # type: ignore[arg-type]
                hint="Give data of the same frequency, calendar and time zone, or fit again.",
            )
        for role in ("past", "future", "static"):
            lacking = [name for name in getattr(self.fitted, role) if panel.roles.get(name) != role]
            if lacking:
                raise UsageError(
                    f"the model was fitted with the {role} covariate {lacking[0]!r}, which the data lacks.",
                    hint=f"Give it too (--{role} {lacking[0]}), or fit again without it.",
                )

    def run(self, panel: Panel, state: State | None, where: Index, raw: bool = False) -> Prepared:
        """All arrays of ``panel``. ``where [S]``: its series in the fitted order. ``raw``: features not yet scaled."""
        self._check(panel)
        return self.arrange(self.rows(panel, where), state, where, raw)

    def rows(self, panel: Panel, where: Index) -> Rows:
        """What the rows of ``panel`` say, whose series are ``where [S]`` in the fitted order."""
        fitted = self.fitted
        stamps = panel.grid.wall_clock(pd.DatetimeIndex(panel.ds))
        # a missing one is the mean of the others
        static = np.nan_to_num(fitted.static_scaler.apply(static_values(panel, fitted.static))).astype(np.float32)
        if self.spec.place:
            static = np.column_stack([static, where.astype(np.float32)])
        return Rows(
            lengths=panel.lengths,
            columns={name: self.values(panel, name) for name in ("y", *fitted.past)},
            future=self._future(panel),
            calendar=calendar(stamps, self.calendar_parts),
            static=static,
        )

    def arrange(self, rows: Rows, state: State | None, where: Index, raw: bool = False) -> Prepared:
        """All arrays of ``rows``, scanned on from ``state`` (from the start where it is ``None``)."""
        fitted, spec, horizon = self.fitted, self.spec, self.spec.horizon
        lengths = rows.lengths
        begins = np.cumsum(lengths) - lengths
        offsets = (begins + horizon * np.arange(len(lengths))).astype(np.int64)
        total = int((lengths + horizon).sum())
        bank = self._bank()
        x = np.zeros((total, len(self.feature_names)), np.float32)
        level = np.zeros(total + len(lengths) * spec.context, np.float32)
        anchor, scale = np.zeros(total), np.ones(total)
        observed = np.zeros(total, np.bool_)
        ends: dict[str, list[tuple[Index, Array]]] = {}
        for block in blocks(lengths):
            steps = int(lengths[block[0]])
            source = begins[block][:, None] + np.arange(steps)
            into = offsets[block][:, None] + np.arange(steps)
            begin = None if state is None else {name: part[block] for name, part in state.items()}
            columns = {name: column[source] for name, column in rows.columns.items()}
            scanned = self.scan(columns, begin, where[block])
            for j, (name, _, _) in enumerate(bank):
                x[into, j] = scanned.features[name]
            if fitted.gaps:
                x[into, len(bank)] = np.log1p(scanned.elapsed)
            anchor[into], scale[into] = scanned.anchor, scanned.scale
            observed[into] = scanned.observed
            tails = (offsets[block] + block * spec.context)[:, None] + np.arange(spec.context + steps)
            level[tails] = scanned.level
            for name, part in scanned.state.items():
                ends.setdefault(name, []).append((block, part))
        at = len(bank) + int(fitted.gaps)
        now = rows.future.shape[1]
        x[:, at : at + now] = rows.future
        real = np.concatenate([np.arange(low, low + n) for low, n in zip(offsets, lengths, strict=True)])
        if rows.calendar.shape[1]:
            x[real, at + now :] = rows.calendar
        if not raw:
            scaled = (x[real] - fitted.features.center.astype(np.float32)) / fitted.features.unit.astype(np.float32)
            x[real] = np.clip(scaled, -spec.clip, spec.clip)
        return Prepared(
            x=x, future=rows.future, static=rows.static, level=level, anchor=anchor, scale=scale, observed=observed,
            unit=fitted.unit, offsets=offsets, lengths=lengths, context=spec.context,
            state={name: _merge(parts, len(lengths)) for name, parts in ends.items()},
        )  # fmt: skip

    def scan(self, columns: Mapping[str, Array], begin: State | None, where: Index) -> Scanned:
        """Scan ``S`` series of equal length; ``columns[name]`` is ``[S, T]`` in natural units or logarithms."""
        fitted, spec = self.fitted, self.spec
        after: State = {}
        held: dict[str, Array] = {}
        elapsed = np.zeros_like(columns["y"])
        for name, values in columns.items():
            scaler = fitted.values[name]
            z = (values - scaler.center[where, None]) / scaler.unit[where, None]
            hold = Hold()
            held[name], since, end = hold.scan_elapsed(z, _take(begin, f"{name}/hold") or hold.init(z[:, 0]))
            after.update({f"{name}/hold/{key}": part for key, part in end.items()})
            if name == "y":
                elapsed = since
        features: dict[str, Array] = {}

        def one(key: str, source: str, operation: Scan) -> Array:
            state = _take(begin, key)
            if state is None and isinstance(operation, Volatility):
                state = operation.init(held[source][:, 0], fitted.volatility[where])
            out, end = operation.scan(held[source], state or operation.init(held[source][:, 0]))
            after.update({f"{key}/{part}": value for part, value in end.items()})
            return out

        for name, source, operation in self._bank():
            features[name] = one(name, source, operation)
        z, typical = held["y"], fitted.volatility[where, None]
        moved = features["volatility"] if "volatility" in features else one("volatility", "y", Volatility(fitted.long))
        volatility = np.maximum(moved, 0.1 * typical)
        features["volatility"] = np.log(volatility / typical)
        anchor = one("anchor", "y", Mean(fitted.short)) if spec.anchor == "mean" else z
        if spec.anchor == "none":
            anchor = np.zeros_like(z)
        scale = volatility if spec.scale == "volatility" else np.ones_like(z)
        tail = Tail(spec.context + 1)
        past = (_take(begin, "context") or tail.init(z[:, 0]))["tail"]
        after["context/tail"] = tail.scan(z, {"tail": past})[1]["tail"]
        level = np.concatenate([past[:, 1:], z], axis=1)
        return Scanned(features, elapsed, anchor, scale, level, ~np.isnan(columns["y"]), after)

    def _future(self, panel: Panel) -> Single:
        """``[N, Ff]`` the known-future covariates, those of the spare rows included; the mean where unknown."""
        fitted, spare = self.fitted, self.spec.horizon
        values = np.nan_to_num(fitted.future_scaler.apply(panel.frame[list(fitted.future)].to_numpy(np.float64)))
        behind = self.behind(panel.future, panel.grid, panel.ids, panel.ds[panel.offsets[1:] - 1], spare)
        out = np.zeros((len(panel) + spare * len(panel.ids), len(fitted.future)), np.float32)
        for i, (low, high) in enumerate(zip(panel.offsets[:-1], panel.offsets[1:], strict=True)):
            end = high + i * spare
            out[low + i * spare : end], out[end : end + spare] = values[low:high], behind[i]
        return out

    def behind(
        self, future: pd.DataFrame | None, grid: Grid, ids: Sequence[str], last: Iterable[Any], steps: int
    ) -> Single:
        """``[S, steps, Ff]`` of ``future``, behind series ``ids`` that end at ``last``; the mean where unknown."""
        names = list(self.fitted.future)
        out = np.zeros((len(ids), steps, len(names)), np.float32)
        if not names or future is None:
            return out
        table = future.set_index(["unique_id", "ds"])[names]
        for i, (name, end) in enumerate(zip(ids, last, strict=True)):
            stamps = grid.after(pd.Timestamp(end), steps)
            rows = table.reindex(pd.MultiIndex.from_product([[name], stamps])).to_numpy(np.float64)
            out[i] = np.nan_to_num(self.fitted.future_scaler.apply(rows))
        return out


@dataclass(frozen=True)
class Scanned:
    """What the scans of ``S`` series of ``T`` steps gave."""

    features: dict[str, Array]
    elapsed: Array
    anchor: Array
    scale: Array
    level: Array
    observed: NDArray[np.bool_]
    state: State


def logarithms(panel: Panel) -> Array:
    """``[N]`` logarithms of the target.

    Raises:
        ValueRangeError: a value is not positive.
    """
    values = panel.column("y")
    bad = np.flatnonzero(values <= 0)
    if len(bad):
        row = panel.frame.iloc[int(bad[0])]
        more = f" ({len(bad) - 1:,} more not above zero)" if len(bad) > 1 else ""
        error = ValueRangeError(
            f"{panel.source}: column {panel.target!r} of series {row['unique_id']!r} is {row['y']:g} at "
            f"{shown(row['ds'])}{more}; log returns need positive values.",
            hint="Treat the data as a sensor (--preset sensor, without data.log), or mask it (--impossible mask), or "
            "repair the row.",
        )
        error.column = panel.target
        raise error
    return np.log(values)


def static_values(panel: Panel, names: tuple[str, ...]) -> Array:
    first = panel.frame.iloc[panel.offsets[:-1]][list(names)]
    values: Array = first.to_numpy(np.float64)
    return values


def real_rows(prepared: Prepared) -> Index:
    return np.concatenate([np.arange(low, low + n) for low, n in zip(prepared.offsets, prepared.lengths, strict=True)])


def blocks(lengths: Index) -> Iterator[Index]:
    """Indices of series with equal length, so that they are scanned side by side."""
    order = np.argsort(lengths, kind="stable")
    cuts = np.flatnonzero(np.diff(lengths[order])) + 1
    yield from np.split(order, cuts)


def _take(state: State | None, prefix: str) -> State | None:
    if state is None:
        return None
    return {name[len(prefix) + 1 :]: part for name, part in state.items() if name.startswith(f"{prefix}/")}


def _merge(parts: list[tuple[Index, Array]], total: int) -> Array:
    out = np.zeros((total, *parts[0][1].shape[1:]))
    for block, part in parts:
        out[block] = part
    return out
