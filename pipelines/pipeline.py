"""Pipeline: from a panel in natural units to what a net reads, and back. Fitted on training rows only.

The flow for every series: values -> logarithm (prices) -> standardised by the training rows -> last
observed value held over gaps -> causal scans (:mod:`pipelines.features`) -> features standardised over
the training rows of all series.

What a net predicts at origin ``t`` for step ``h`` is a residual,
``(z[t + h] - anchor[t]) / (scale[t] * unit[h])``, where ``z`` is the standardised value, ``anchor`` the last
value or a causal mean, ``scale`` one or a causal volatility, and ``unit`` the root mean square of that
residual over the training rows. :meth:`Pipeline.invert` undoes it exactly.

Assumptions, named: a series without training rows is scaled like the median of the others; features are
clipped at ``clip`` training standard deviations; a forecast of a log-transformed target is the exponential
of a quantile, so "point" means median there, not mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import DataError, TooShortError, UsageError, ValueRangeError
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
from pipelines.scale import Kind, Scaler

Array = NDArray[np.float64]
Single = NDArray[np.float32]
Index = NDArray[np.int64]
SCHEMA = 1


@dataclass(frozen=True)
class PipelineSpec:
    """What to do with the values; nothing here is learned from data.

    Args:
        horizon: steps ahead that are predicted, ``H``.
        log: predict the logarithm (prices: residuals are log returns).
        anchor: what residuals are relative to: the ``"last"`` value, or the causal ``"mean"`` over ``short``.
        scale: residuals in units of ``"one"`` (training spread) or of the causal ``"volatility"``.
        horizon_unit: one ``unit`` per step ahead instead of one for all (prices: near steps move less).
        scaler: how values are standardised.
        season, short, long: steps; ``None`` means the season of the grid, about one and about seven of them.
        level: also show the net the standardised value itself, not only differences and relative values.
        calendar: also show time of day, week and year.
        context: how many values before each origin a linear skip reads (0: none).
        clip: features beyond this many training standard deviations are cut off.
    """

    horizon: int
    log: bool = False
    anchor: Literal["last", "mean"] = "last"
    scale: Literal["one", "volatility"] = "one"
    horizon_unit: bool = False
    scaler: Kind = "standard"
    season: int | None = None
    short: int | None = None
    long: int | None = None
    level: bool = False
    calendar: bool = True
    context: int = 0
    clip: float = 10.0

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise UsageError(f"horizon is {self.horizon}, it must be at least 1.", hint="Use --horizon 1 or more.")


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
class _Fitted:
    """Everything learned from training rows; ``to_json`` of it is bitwise equal for equal training rows."""

    ids: tuple[str, ...]
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


class Pipeline:
    """Turns panels into arrays for a net, and a net's output into natural units.

    Example:
        >>> pipeline = Pipeline(PipelineSpec(horizon=5)).fit(panel, until="2015-12-31")  # doctest: +SKIP
        >>> prepared = pipeline.transform(panel)  # doctest: +SKIP
    """

    def __init__(self, spec: PipelineSpec, fitted: _Fitted | None = None) -> None:
        self.spec = spec
        self._fitted = fitted

    # -- fitting -------------------------------------------------------------------------------
    def fit(self, panel: Panel, until: pd.Timestamp | str | None = None) -> Pipeline:
        """A fitted copy, from rows with ``ds <= until`` (all rows by default) and from nothing else.

        Raises:
            TooShortError: no series has more than ``horizon + 1`` observed training rows.
            ValueRangeError: a logarithm is asked for and a training value is not positive.
        """
        train = panel if until is None else panel.up_to(until)
        grid, spec = panel.grid, self.spec
        most = int(train.lengths.max())
        if most < spec.horizon + 2:
            raise TooShortError(
                f"the longest series has {most} training rows; a horizon of {spec.horizon} needs at least "
                f"{spec.horizon + 2}.",
                hint="Use a shorter horizon, a later cutoff or more data.",
            )
        season = spec.season or grid.season
        short = spec.short or max(season, 5)
        long = spec.long or (7 * short if grid.step_seconds < 43_200 else 4 * short)
        names = {role: tuple(panel.covariates(role)) for role in ("past", "future", "static")}
        position = {name: i for i, name in enumerate(panel.ids)}
        where = np.array([position[name] for name in train.ids])
        values = {
            name: _fit_series(train, self._values(train, name), spec.scaler, where, len(panel.ids))
            for name in ("y", *names["past"])
        }
        seen = train.frame[list(names["future"])].to_numpy(np.float64)
        draft = _Fitted(
            ids=panel.ids, season=season, short=short, long=long, step_seconds=grid.step_seconds,
            past=names["past"], future=names["future"], static=names["static"], gaps=train.missing > 0,
            values=values, volatility=np.ones(len(panel.ids)), features=Scaler(np.zeros(0), np.ones(0)),
            future_scaler=Scaler.fit(seen), static_scaler=Scaler.fit(_static(train, names["static"])),
            unit=np.ones(spec.horizon), until=str(train.end),
        )  # fmt: skip
        draft = replace(draft, volatility=self._fit_volatility(train, draft, where))
        raw = Pipeline(spec, draft)._run(train, None, where, raw=True)
        real = _real_rows(raw)
        draft = replace(draft, features=Scaler.fit(raw.x[real].astype(np.float64)), unit=self._fit_unit(raw))
        return Pipeline(spec, draft)

    def _fit_volatility(self, train: Panel, draft: _Fitted, where: Index) -> Array:
        out = np.full(len(draft.ids), np.nan)
        z = self._values(train, "y")
        for i, (low, high) in enumerate(zip(train.offsets[:-1], train.offsets[1:], strict=True)):
            steps = np.diff(z[low:high])
            steps = steps[~np.isnan(steps)]
            if len(steps):
                out[where[i]] = np.sqrt(np.mean(steps**2)) / draft.values["y"].unit[where[i]]
        usable = out[np.isfinite(out) & (out > 1e-9)]
        typical = float(np.median(usable)) if len(usable) else 1.0
        return np.where(np.isfinite(out) & (out > 1e-9), out, typical)

    def _fit_unit(self, raw: Prepared) -> Array:
        """Root mean square residual of every step ahead over targets inside the training rows."""
        horizon = self.spec.horizon
        total, count = np.zeros(horizon), np.zeros(horizon)
        rows = np.flatnonzero(raw.observed)
        last = (raw.offsets + raw.lengths)[np.searchsorted(raw.offsets, rows, side="right") - 1]
        series = np.searchsorted(raw.offsets, rows, side="right") - 1
        shift = raw.context * (series + 1)
        for h in range(1, horizon + 1):
            ok = rows + h < last
            ok[ok] &= raw.observed[rows[ok] + h]
            at = rows[ok]
            residual = (raw.level[at + h + shift[ok]] - raw.anchor[at]) / raw.scale[at]
            total[h - 1], count[h - 1] = float(residual @ residual), len(at)
        if not count.any():
            raise TooShortError(
                f"no training row has an observed value up to {horizon} steps later.",
                hint="Use a shorter horizon or fill the gaps.",
            )
        rms = np.sqrt(total / np.maximum(count, 1))
        pooled = float(np.sqrt(total.sum() / count.sum()))
        unit = np.where(count > 0, rms, pooled) if self.spec.horizon_unit else np.full(horizon, pooled)
        # nothing ever moved: a unit so small that whatever the net says, the forecast stays where the series is
        return np.where(unit > 1e-9, unit, 1e-3)

    # -- use -----------------------------------------------------------------------------------
    @property
    def fitted(self) -> _Fitted:
        if self._fitted is None:
            raise UsageError("the pipeline is not fitted.", hint="Call Pipeline(spec).fit(panel) first.")
        return self._fitted

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of ``Prepared.x``."""
        fitted = self.fitted
        names = [name for name, _, _ in self._bank()]
        names += ["elapsed"] if fitted.gaps else []
        names += [f"{name}:now" for name in fitted.future]
        for part in self._calendar_parts():
            names += [f"{part}:sin", f"{part}:cos"]
        return names

    def transform(self, panel: Panel) -> Prepared:
        """Arrays for every row of ``panel``, which must hold the series the pipeline was fitted on (or some)."""
        return self._run(panel, None, self.positions(panel.ids))

    def advance(self, rows: Panel, state: State) -> Prepared:
        """Arrays for new ``rows`` that follow those that ended in ``state`` (first axis: the series of ``rows``)."""
        return self._run(rows, state, self.positions(rows.ids))

    def invert(self, residual: Array, anchor: Array, scale: Array, series: Index) -> Array:
        """Residuals ``[M, H, ...]`` at origins with ``anchor, scale, series [M]`` -> natural units, float64."""
        extra = (1,) * (residual.ndim - 2)
        shape = (-1, 1, *extra)
        unit = self.fitted.unit.reshape((1, -1, *extra))
        z = anchor.reshape(shape) + np.asarray(residual, np.float64) * scale.reshape(shape) * unit
        scaler = self.fitted.values["y"]
        natural: Array = z * scaler.unit[series].reshape(shape) + scaler.center[series].reshape(shape)
        return np.exp(natural) if self.spec.log else natural

    def residual(self, natural: Array, anchor: Array, scale: Array, series: Index) -> Array:
        """The inverse of :meth:`invert` for ``natural [M, H]``."""
        scaler = self.fitted.values["y"]
        values = np.log(natural) if self.spec.log else np.asarray(natural, np.float64)
        z = (values - scaler.center[series, None]) / scaler.unit[series, None]
        out: Array = (z - anchor[:, None]) / (scale[:, None] * self.fitted.unit)
        return out

    # -- storage -------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        fitted = {
            name: value.to_json()
            if isinstance(value, Scaler)
            else value.tolist()
            if isinstance(value, np.ndarray)
            else value
            for name, value in vars(self.fitted).items()
            if name != "values"
        }
        fitted["values"] = {name: scaler.to_json() for name, scaler in self.fitted.values.items()}
        return {"schema": SCHEMA, "spec": asdict(self.spec), "fitted": fitted}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Pipeline:
        if document.get("schema") != SCHEMA:
            raise DataError(
                f"pipeline document has schema {document.get('schema')!r}, this version reads {SCHEMA}.",
                hint="Fit again, or use the version that wrote it.",
            )
        raw = dict(document["fitted"])
        raw["values"] = {name: Scaler.from_json(part) for name, part in raw["values"].items()}
        for name in ("features", "future_scaler", "static_scaler"):
            raw[name] = Scaler.from_json(raw[name])
        for name in ("volatility", "unit"):
            raw[name] = np.asarray(raw[name], np.float64)
        for name in ("ids", "past", "future", "static"):
            raw[name] = tuple(raw[name])
        return cls(PipelineSpec(**document["spec"]), _Fitted(**raw))

    # -- the one way values take -----------------------------------------------------------------
    def _values(self, panel: Panel, name: str) -> Array:
        values = panel.column(name)
        if name != "y" or not self.spec.log:
            return values
        bad = np.flatnonzero(values <= 0)
        if len(bad):
            row = panel.frame.iloc[int(bad[0])]
            raise ValueRangeError(
                f"series {row['unique_id']!r} is {row['y']:g} at {row['ds']}; log returns need positive values.",
                hint="Treat the data as a sensor (--kind sensor) or repair the row.",
            )
        return np.log(values)

    def positions(self, ids: Sequence[str]) -> Index:
        """``[S]`` where series ``ids`` stand among the fitted ones.

        Raises:
            UsageError: one was not there when the pipeline was fitted.
        """
        position = {name: i for i, name in enumerate(self.fitted.ids)}
        unknown = [name for name in ids if name not in position]
        if unknown:
            raise UsageError(
                f"series {unknown[0]!r} was not there when the pipeline was fitted.",
                hint="Fit again with it, or select known series.",
            )
        return np.array([position[name] for name in ids], np.int64)

    def _calendar_parts(self) -> tuple[str, ...]:
        return calendar_parts(self.fitted.step_seconds) if self.spec.calendar else ()

    def _bank(self) -> list[tuple[str, str, Scan]]:
        """(name, source column, scan) of every feature that reads values, in the order of the columns."""
        fitted, spec = self.fitted, self.spec
        own: list[tuple[str, str, Scan]] = [
            ("relative", "y", Relative(fitted.short)),
            ("gap", "y", Gap(fitted.short, fitted.long)),
            ("difference", "y", Difference(1)),
            ("volatility", "y", Volatility(fitted.long)),
        ]
        if fitted.season > 1:
            own.insert(3, ("seasonal", "y", Difference(fitted.season)))
        if spec.level:
            own.append(("level", "y", Tail(1)))
        for name in fitted.past:
            own += [
                (f"{name}:relative", name, Relative(fitted.short)),
                (f"{name}:gap", name, Gap(fitted.short, fitted.long)),
                (f"{name}:difference", name, Difference(1)),
            ]
        return own

    def _run(self, panel: Panel, state: State | None, where: Index, raw: bool = False) -> Prepared:
        """All arrays of ``panel``. ``where [S]``: its series in the fitted order. ``raw``: features not yet scaled."""
        fitted, spec, horizon = self.fitted, self.spec, self.spec.horizon
        lengths = panel.lengths
        offsets = np.concatenate([[0], np.cumsum(lengths + horizon)])[:-1].astype(np.int64)
        total = int((lengths + horizon).sum())
        bank = self._bank()
        x = np.zeros((total, len(self.feature_names)), np.float32)
        level = np.zeros(total + len(lengths) * spec.context, np.float32)
        anchor, scale = np.zeros(total), np.ones(total)
        observed = np.zeros(total, np.bool_)
        ends: dict[str, list[tuple[Index, Array]]] = {}
        columns = {name: self._values(panel, name) for name in ("y", *fitted.past)}
        for block in _blocks(lengths):
            steps = int(lengths[block[0]])
            source = panel.offsets[block][:, None] + np.arange(steps)
            rows = offsets[block][:, None] + np.arange(steps)
            begin = None if state is None else {name: part[block] for name, part in state.items()}
            scanned = self._scan_block({name: column[source] for name, column in columns.items()}, begin, where[block])
            for j, (name, _, _) in enumerate(bank):
                x[rows, j] = scanned.features[name]
            if fitted.gaps:
                x[rows, len(bank)] = np.log1p(scanned.elapsed)
            anchor[rows], scale[rows] = scanned.anchor, scanned.scale
            observed[rows] = scanned.observed
            into = (offsets[block] + block * spec.context)[:, None] + np.arange(spec.context + steps)
            level[into] = scanned.level
            for name, part in scanned.state.items():
                ends.setdefault(name, []).append((block, part))
        future, now = self._future(panel, offsets, total)
        at = len(bank) + int(fitted.gaps)
        x[:, at : at + now.shape[1]] = now
        stamps = panel.grid.wall_clock(pd.DatetimeIndex(panel.ds))
        real = np.concatenate([np.arange(low, low + n) for low, n in zip(offsets, lengths, strict=True)])
        parts = calendar(stamps, self._calendar_parts())
        if parts.shape[1]:
            x[real, at + now.shape[1] :] = parts
        if not raw:
            scaled = (x[real] - fitted.features.center.astype(np.float32)) / fitted.features.unit.astype(np.float32)
            x[real] = np.clip(scaled, -spec.clip, spec.clip)
        static = fitted.static_scaler.apply(_static(panel, fitted.static)).astype(np.float32)
        return Prepared(
            x=x, future=future, static=static, level=level, anchor=anchor, scale=scale, observed=observed,
            unit=fitted.unit, offsets=offsets, lengths=lengths, context=spec.context,
            state={name: _merge(parts_, len(lengths)) for name, parts_ in ends.items()},
        )  # fmt: skip

    def _scan_block(self, columns: Mapping[str, Array], begin: State | None, where: Index) -> _Scanned:
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

        def scan(key: str, source: str, operation: Scan) -> Array:
            state = _take(begin, key)
            if state is None and isinstance(operation, Volatility):
                state = operation.init(held[source][:, 0], fitted.volatility[where])
            out, end = operation.scan(held[source], state or operation.init(held[source][:, 0]))
            after.update({f"{key}/{part}": value for part, value in end.items()})
            return out

        for name, source, operation in self._bank():
            features[name] = scan(name, source, operation)
        z, typical = held["y"], fitted.volatility[where, None]
        volatility = np.maximum(features["volatility"], 0.1 * typical)
        features["volatility"] = np.log(volatility / typical)
        anchor = scan("anchor", "y", Mean(fitted.short)) if spec.anchor == "mean" else z
        scale = volatility if spec.scale == "volatility" else np.ones_like(z)
        tail = Tail(spec.context + 1)
        past = (_take(begin, "context") or tail.init(z[:, 0]))["tail"]
        after["context/tail"] = tail.scan(z, {"tail": past})[1]["tail"]
        level = np.concatenate([past[:, 1:], z], axis=1)
        return _Scanned(features, elapsed, anchor, scale, level, ~np.isnan(columns["y"]), after)

    def _future(self, panel: Panel, offsets: Index, total: int) -> tuple[Single, Single]:
        """``([N, Ff] with spare rows filled, [N, Ff] for features)`` of the known-future covariates."""
        fitted, horizon = self.fitted, self.spec.horizon
        names = list(fitted.future)
        out = np.zeros((total, len(names)), np.float32)
        if not names:
            return out, out
        ahead = None if panel.future is None else panel.future.set_index(["unique_id", "ds"])[names]
        values = fitted.future_scaler.apply(panel.frame[names].to_numpy(np.float64))
        for i, name in enumerate(panel.ids):
            low, high = panel.offsets[i], panel.offsets[i + 1]
            out[offsets[i] : offsets[i] + high - low] = np.nan_to_num(values[low:high])
            if ahead is None:
                continue
            stamps = panel.grid.after(pd.Timestamp(panel.ds[high - 1]), horizon)
            rows = ahead.reindex(pd.MultiIndex.from_product([[name], stamps])).to_numpy(np.float64)
            out[offsets[i] + high - low : offsets[i] + high - low + horizon] = np.nan_to_num(
                fitted.future_scaler.apply(rows)
            )
        return out, out


@dataclass(frozen=True)
class _Scanned:
    features: dict[str, Array]
    elapsed: Array
    anchor: Array
    scale: Array
    level: Array
    observed: NDArray[np.bool_]
    state: State


def missing_future(
    grid: Grid, last: Mapping[str, pd.Timestamp], future: pd.DataFrame | None, names: Sequence[str], horizon: int
) -> list[tuple[str, pd.Timestamp, str]]:
    """(series, stamp, covariate) of every known-future value that a forecast of ``horizon`` steps lacks.

    Args:
        last: last stamp of every series.
        future: rows behind the series, or ``None``.
        names: known-future covariates.
    """
    if not names:
        return []
    have = set()
    if future is not None:
        for name in names:
            rows = future.loc[future[name].notna(), ["unique_id", "ds"]]
            have |= {(str(series), stamp, name) for series, stamp in zip(rows["unique_id"], rows["ds"], strict=True)}
    return [
        (series, stamp, name)
        for series, end in last.items()
        for stamp in grid.after(end, horizon)
        for name in names
        if (series, stamp, name) not in have
    ]


def _fit_series(train: Panel, values: Array, kind: Kind, where: Index, total: int) -> Scaler:
    """One center and unit per fitted series, from its training rows; the median of the others where it has none."""
    center, unit = np.full(total, np.nan), np.full(total, np.nan)
    for block in _blocks(train.lengths):
        rows = train.offsets[block][:, None] + np.arange(int(train.lengths[block[0]]))
        fitted = Scaler.fit(values[rows].T, kind)
        some = ~np.isnan(values[rows]).all(axis=1)
        center[where[block[some]]], unit[where[block[some]]] = fitted.center[some], fitted.unit[some]
    known = ~np.isnan(center)
    if not known.any():
        raise DataError("no series has an observed value in the training rows.", hint="Use a later cutoff.")
    return Scaler(np.where(known, center, np.median(center[known])), np.where(known, unit, np.median(unit[known])))


def _static(panel: Panel, names: tuple[str, ...]) -> Array:
    first = panel.frame.iloc[panel.offsets[:-1]][list(names)]
    values: Array = np.nan_to_num(first.to_numpy(np.float64))
    return values


def _real_rows(prepared: Prepared) -> Index:
    return np.concatenate([np.arange(low, low + n) for low, n in zip(prepared.offsets, prepared.lengths, strict=True)])


def _blocks(lengths: Index) -> Iterator[Index]:
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
