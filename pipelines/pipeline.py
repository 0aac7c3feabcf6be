"""Pipeline: from a panel in natural units to what a net reads, and back. Fitted on training rows only.

The flow for every series: values -> logarithm (prices) -> standardised by the training rows -> last
observed value held over gaps -> causal scans (:mod:`pipelines.features`) -> features standardised over
the training rows of all series.

What a net predicts at origin ``t`` for step ``h`` is a residual,
``(z[t + h] - anchor[t]) / (scale[t] * unit[h])``, where ``z`` is the standardised value, ``anchor`` the last
value, a causal mean or nothing, ``scale`` one or a causal volatility, and ``unit`` the root mean square of that
residual over the training rows, or one. :meth:`Pipeline.invert` undoes it exactly.

Assumptions, named: a series without training rows is scaled like the median of the others, one that never moves there
by 1; ``Fitted.unscaled`` names them and those with fewer than ``LEAST_SCALED`` values; features are
clipped at ``clip`` training standard deviations; a forecast of a log-transformed target is the exponential
of a quantile, so "point" means median there, not mean; prices and volumes that a split after the fit has rescaled are
read on the share count of the fit (:mod:`pipelines.shares`), and :meth:`Pipeline.invert` gives values on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.errors import DataError, TooShortError, UsageError
from pipelines.features import State
from pipelines.grid import Grid
from pipelines.onward import Ahead, ahead_behind, ahead_inside, next_rows, states_at
from pipelines.panel import Panel
from pipelines.prepared import (
    LEVEL,
    Fitted,
    Prepared,
    Preparer,
    blocks,
    logarithms,
    real_rows,
    static_values,
)
from pipelines.scale import Kind, Scaler, spreads
from pipelines.shares import splits_of
from pipelines.spec import PipelineSpec
from pipelines.where import plural, some

Array = NDArray[np.float64]
Index = NDArray[np.int64]
SCHEMA = 1
LEAST_SCALED = 10
"""Training values a scale needs at least: the standard deviation of ten independent ones is off by a quarter."""


class Pipeline:
    """Turns panels into arrays for a net, and a net's output into natural units.

    Example:
        >>> pipeline = Pipeline(PipelineSpec(horizon=5)).fit(panel, until="2015-12-31")  # doctest: +SKIP
        >>> prepared = pipeline.transform(panel)  # doctest: +SKIP
    """

    def __init__(self, spec: PipelineSpec, fitted: Fitted | None = None) -> None:
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
        columns = {"y": logarithms(train) if spec.log else train.column("y")}
        columns |= {name: train.column(name) for name in names["past"]}
        values = {
            name: _fit_series(train, name, column, spec.scaler, where, len(panel.ids))
            for name, column in columns.items()
        }
        seen = train.frame[list(names["future"])].to_numpy(np.float64)
        draft = Fitted(
            ids=panel.ids, grid=grid.to_json(), season=season, short=short, long=long, step_seconds=grid.step_seconds,
            past=names["past"], future=names["future"], static=names["static"], gaps=train.missing > 0,
            values=values, volatility=np.ones(len(panel.ids)), features=Scaler(np.zeros(0), np.ones(0)),
            future_scaler=Scaler.fit(seen), static_scaler=Scaler.fit(static_values(train, names["static"])),
            unit=np.ones(spec.horizon), until=str(train.end), splits=splits_of(panel),
            unscaled=_unscaled(train, columns["y"], spec.scaler, panel.ids),
        )  # fmt: skip
        draft = replace(draft, volatility=self._fit_volatility(train, draft, where))
        raw = Preparer(spec, draft).run(train, None, where, raw=True)
        real = real_rows(raw)
        draft = replace(draft, features=self._fit_features(raw.x[real], draft), unit=self._fit_unit(raw))
        return Pipeline(spec, draft)

    def _fit_volatility(self, train: Panel, draft: Fitted, where: Index) -> Array:
        out = np.full(len(draft.ids), np.nan)
        z = logarithms(train) if self.spec.log else train.column("y")
        for i, (low, high) in enumerate(zip(train.offsets[:-1], train.offsets[1:], strict=True)):
            steps = np.diff(z[low:high])
            steps = steps[~np.isnan(steps)]
            if len(steps):
                out[where[i]] = np.sqrt(np.mean(steps**2)) / draft.values["y"].unit[where[i]]
        usable = out[np.isfinite(out) & (out > 1e-9)]
        typical = float(np.median(usable)) if len(usable) else 1.0
        return np.where(np.isfinite(out) & (out > 1e-9), out, typical)

    def _fit_features(self, x: NDArray[np.float32], draft: Fitted) -> Scaler:
        """Every feature standardised, but for levels: the scaler of the values has done that as it was asked to."""
        scaler = Scaler.fit(x.astype(np.float64), size=1.0)
        names = Preparer(self.spec, draft).feature_names
        done = np.array([name == LEVEL or name.endswith(f":{LEVEL}") for name in names])
        return Scaler(np.where(done, 0.0, scaler.center), np.where(done, 1.0, scaler.unit))

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
        if self.spec.unit == "one":
            return np.ones(horizon)
        unit = np.where(count > 0, rms, pooled) if self.spec.unit == "step" else np.full(horizon, pooled)
        size = 1.0  # of values
        if self.spec.scaler == "none":  # they are in natural units, which may be small
            size = min(1.0, float(np.abs(raw.level).max())) or 1.0
        # nothing ever moved: a unit so small that whatever the net says, the forecast stays where the series is
        return np.where(unit > 1e-9 * size, unit, 1e-3 * size)

    # -- use -----------------------------------------------------------------------------------
    @property
    def fitted(self) -> Fitted:
        if self._fitted is None:
            raise UsageError("the pipeline is not fitted.", hint="Call Pipeline(spec).fit(panel) first.")
        return self._fitted

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of ``Prepared.x``."""
        return Preparer(self.spec, self.fitted).feature_names

    def transform(self, panel: Panel) -> Prepared:
        """Arrays for every row of ``panel``, which must hold the series the pipeline was fitted on (or some)."""
        return Preparer(self.spec, self.fitted).run(panel, None, self.positions(panel.ids))

    def to_fit(self, panel: Panel) -> Array | None:
        """``[S]`` what targets of ``panel`` are multiplied by for the share count of the fit; ``None``: by nothing."""
        return Preparer(self.spec, self.fitted).to_fit(panel)

    def advance(self, rows: Panel, state: State) -> Prepared:
        """Arrays for new ``rows`` that follow those that ended in ``state`` (first axis: the series of ``rows``)."""
        return Preparer(self.spec, self.fitted).run(rows, state, self.positions(rows.ids))

    # -- going on by itself (see pipelines.onward) -----------------------------------------------
    def states_at(self, panel: Panel, rows: Index) -> State:
        """State behind each of the distinct ``rows [M]`` of ``panel``: first axis ``M``, for :meth:`onward`."""
        owner = np.searchsorted(panel.offsets, rows, side="right") - 1
        position = (rows - panel.offsets[owner]).astype(np.int64)
        return states_at(Preparer(self.spec, self.fitted), panel, owner, position, self.positions(panel.ids))

    def ahead_inside(self, panel: Panel, rows: Index, steps: int) -> Ahead:
        """What is known of the ``steps`` rows behind each of ``rows [M]`` of ``panel``."""
        return ahead_inside(Preparer(self.spec, self.fitted), panel, rows, steps)

    def ahead_behind(
        self, grid: Grid, last: Mapping[str, pd.Timestamp], future: pd.DataFrame | None, steps: int
    ) -> Ahead:
        """What is known of the ``steps`` rows behind series that end at ``last``; ``future`` as in a panel."""
        return ahead_behind(Preparer(self.spec, self.fitted), grid, last, future, steps)

    def onward(
        self, ahead: Ahead, step: int, z: Array, static: NDArray[np.float32], state: State, series: Index
    ) -> Prepared:
        """Arrays for the row ``step`` (from 0) behind each of ``M`` origins, if its standardised value is ``z [M]``."""
        preparer = Preparer(self.spec, self.fitted)
        return preparer.arrange(next_rows(preparer, ahead, step, z, static, series), state, series)

    def invert(self, residual: Array, anchor: Array, scale: Array, series: Index) -> Array:
        """Residuals ``[M, H, ...]`` at origins with ``anchor, scale, series [M]`` -> units of the fit, float64."""
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
        for name in ("ids", "past", "future", "static", "unscaled"):
            raw[name] = tuple(raw.get(name, ()))
        return cls(PipelineSpec(**document["spec"]), Fitted(**raw))

    def knowing(self, panel: Panel) -> Pipeline:
        """This pipeline; one written before splits were kept takes those of ``panel``, which it was saved with."""
        if self.fitted.splits is not None:
            return self
        return Pipeline(self.spec, replace(self.fitted, splits=splits_of(panel)))

    def positions(self, ids: Sequence[str]) -> Index:
        """``[S]`` where series ``ids`` stand among the fitted ones.

        Raises:
            UsageError: one was not there when the pipeline was fitted.
        """
        position = {name: i for i, name in enumerate(self.fitted.ids)}
        unknown = [name for name in ids if name not in position]
        if unknown:
            raise UsageError(
                f"series {unknown[0]!r} is none of those fitted: {some(list(self.fitted.ids))}.",
                hint="Leave its rows out, name it as it was called then, or fit again with it.",
            )
        return np.array([position[name] for name in ids], np.int64)


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


def require_future(panel: Panel, last: Mapping[str, pd.Timestamp], horizon: int) -> None:
    """Refuse a panel whose known-future covariates do not reach ``horizon`` steps behind the stamps ``last``.

    Raises:
        DataError: a value is missing; the first is named.
    """
    lacking = missing_future(panel.grid, last, panel.future, panel.covariates("future"), horizon)
    if lacking:
        series, stamp, covariate = lacking[0]
        raise DataError(
            f"the forecast needs {plural(len(lacking), 'known-future value')} more, the first is {covariate!r} "
            f"of series {series!r} at {stamp}.",
            hint="Give rows for the whole horizon with these columns filled and the target empty.",
        )


def _fit_series(train: Panel, name: str, values: Array, kind: Kind, where: Index, total: int) -> Scaler:
    """One center and unit per fitted series, from its training rows; the median of the others where it has none."""
    center, unit = np.full(total, np.nan), np.full(total, np.nan)
    for block in blocks(train.lengths):
        rows = train.offsets[block][:, None] + np.arange(int(train.lengths[block[0]]))
        fitted = Scaler.fit(values[rows].T, kind)
        some = ~np.isnan(values[rows]).all(axis=1)
        center[where[block[some]]], unit[where[block[some]]] = fitted.center[some], fitted.unit[some]
    known = ~np.isnan(center)
    if not known.any():
        what = "the target" if name == "y" else f"covariate {name!r}"
        raise DataError(
            f"{what} has no value at all in the training rows.", hint="Leave the column out, or use more history."
        )
    return Scaler(np.where(known, center, np.median(center[known])), np.where(known, unit, np.median(unit[known])))


def _unscaled(train: Panel, values: Array, kind: Kind, ids: Sequence[str]) -> tuple[str, ...]:
    """Those of ``ids`` whose training ``values`` are too few for a scale, or do not move; none if nothing is scaled."""
    if kind == "none":
        return ()
    good = np.zeros(len(train.ids), np.bool_)
    for block in blocks(train.lengths):
        rows = train.offsets[block][:, None] + np.arange(int(train.lengths[block[0]]))
        many = block[(~np.isnan(values[rows])).sum(axis=1) >= LEAST_SCALED]
        if len(many):
            good[many] = spreads(values[train.offsets[many][:, None] + np.arange(rows.shape[1])].T, kind)
    scaled = {name for name, own in zip(train.ids, good, strict=True) if own}
    return tuple(name for name in ids if name not in scaled)
