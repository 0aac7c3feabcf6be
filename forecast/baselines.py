"""Baselines: the opponents every network has to beat, in natural units.

Assumptions. A missing value is replaced by the last observed one (LOCF); where nothing was observed
yet, the forecast is NaN. The forecast at an origin uses rows at or before it, whatever the panel holds
after it. :class:`ETS` and :class:`Theta` estimate their parameters in ``fit`` and keep them; at later
origins only their states move on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError, did_you_mean
from pipelines.panel import Panel

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


class Forecaster(Protocol):
    """Anything that can take part in a backtest."""

    @property
    def name(self) -> str:
        """Column name in result frames."""
        ...

    def fit(self, panel: Panel) -> Self:
        """Learn from the training rows, all of ``panel``."""
        ...

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        """``[M, H]`` forecasts in natural units of the ``horizon`` steps after each origin.

        Args:
            panel: history; may reach past the origins, which must not change the answer.
            rows: ``[M]`` origins as row positions in ``panel.frame``.
        """
        ...


@dataclass(frozen=True)
class Naive:
    """The last observed value, for every step."""

    name: str = "naive"

    def fit(self, panel: Panel) -> Self:
        return self

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        rows = checked_rows(panel, rows, horizon)
        return np.repeat(_at(panel.column("y"), last_seen(panel)[rows])[:, None], horizon, axis=1)


@dataclass(frozen=True)
class Drift:
    """The straight line through the first and the last observed value (Hyndman & Athanasopoulos, 5.2)."""

    name: str = "drift"

    def fit(self, panel: Panel) -> Self:
        return self

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        rows = checked_rows(panel, rows, horizon)
        y, seen = panel.column("y"), last_seen(panel)
        last, first = seen[rows], _first_seen(panel)[rows]
        span = np.maximum(last - first, 1)  # one observation: no slope, the naive forecast
        slope = (_at(y, last) - _at(y, first)) / span
        ahead = rows[:, None] + np.arange(1, horizon + 1) - last[:, None]
        line: Floats = _at(y, last)[:, None] + slope[:, None] * ahead
        return line


@dataclass(frozen=True)
class SeasonalNaive:
    """The last observed value of the same place in the season; ``season=None`` takes the grid's.

    Before a whole season was seen, the last observed value.
    """

    season: int | None = None
    name: str = "seasonal naive"

    def fit(self, panel: Panel) -> Self:
        return self

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        rows = checked_rows(panel, rows, horizon)
        season = panel.grid.season if self.season is None else self.season
        if season < 1:
            raise UsageError(f"season is {season}, it must be at least 1.", hint="Leave it out to take the data's.")
        steps = np.arange(1, horizon + 1)
        back = steps - season * -(-steps // season)  # 1 - season .. 0
        source = rows[:, None] + back
        inside = source >= _starts(panel)[rows][:, None]
        same = np.where(inside, _last_seen_in_season(panel, season)[np.where(inside, source, 0)], -1)
        fallback = last_seen(panel)[rows][:, None]
        return _at(panel.column("y"), np.where(same >= 0, same, fallback))


@dataclass(frozen=True)
class HistoricalMean:
    """The mean of all values observed so far."""

    name: str = "mean"

    def fit(self, panel: Panel) -> Self:
        return self

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        rows = checked_rows(panel, rows, horizon)
        y, mean = panel.column("y"), np.empty(len(panel))
        # one sum per series: a running sum over all would round by what other series hold
        for low, high in zip(panel.offsets[:-1], panel.offsets[1:], strict=True):
            part = y[low:high]
            count = np.cumsum(~np.isnan(part))
            total = np.cumsum(np.nan_to_num(part))
            mean[low:high] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.repeat(mean[rows][:, None], horizon, axis=1)


@dataclass
class _PerSeries:
    """What ETS and Theta share: one model per series, states run on from the start of its training span."""

    season: int | None = None
    models: dict[str, tuple[np.datetime64, Any]] = field(default_factory=dict, init=False, repr=False)
    short: tuple[str, ...] = field(default=(), init=False)
    """Series with too few or constant training rows: they get the naive forecast."""

    def fit(self, panel: Panel) -> Self:
        season = panel.grid.season if self.season is None else self.season
        self.models, short = {}, []
        for name, low, high in _series(panel):
            y = panel.column("y")[low:high]
            seen = np.flatnonzero(~np.isnan(y))
            if len(seen) < 12 or np.ptp(y[seen]) == 0:
                short.append(name)
                continue
            begin = int(seen[0])
            # a season needs three whole cycles to be told from noise
            cycle = season if season > 1 and high - low - begin >= 3 * season else 1
            self.models[name] = (panel.ds[low + begin], self._estimate(_filled(y[begin:]), cycle))
        self.short = tuple(short)
        return self

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        rows = checked_rows(panel, rows, horizon)
        out = Naive().predict(panel, rows, horizon)
        for name, low, high in _series(panel):
            mine = np.flatnonzero((rows >= low) & (rows < high))
            if name in self.short or not len(mine):
                continue
            if name not in self.models:
                raise UsageError(f"series {name!r} was not in the panel of fit().", hint="Fit on all series.")
            begin, model = self.models[name]
            start = low + int(np.searchsorted(panel.ds[low:high], begin))
            if start >= high or panel.ds[start] != begin:
                raise UsageError(
                    f"the history of series {name!r} lacks {begin}, where its training span began.",
                    hint="Give the history from there on.",
                )
            late = mine[rows[mine] >= start]
            out[mine[rows[mine] < start]] = np.nan  # before the training span there is no state
            # rows after the last origin are left out, not just ignored
            upto = int(rows[late].max()) + 1 if len(late) else start
            if len(late):
                out[late] = self._run(model, _filled(panel.column("y")[start:upto]), rows[late] - start, horizon)
        return out

    def _estimate(self, y: Floats, season: int) -> Any:
        raise NotImplementedError

    def _run(self, model: Any, y: Floats, origins: Rows, horizon: int) -> Floats:
        raise NotImplementedError


@dataclass
class ETS(_PerSeries):
    """Exponential smoothing, additive with damped trend and, given three cycles, a season (statsmodels ETSModel)."""

    name: str = "ETS"

    def _estimate(self, y: Floats, season: int) -> Any:
        model = _ets(y, season, {})
        initial = {"initial_level": model.initial_level, "initial_trend": model.initial_trend}
        if season > 1:
            initial["initial_seasonal"] = model.initial_seasonal
        with _quiet():
            fitted = _ets(y, season, initial).fit(disp=False)
        params = np.asarray(fitted.params)
        return season, initial, params, float(params[list(fitted.param_names).index("damping_trend")])

    def _run(self, model: Any, y: Floats, origins: Rows, horizon: int) -> Floats:
        season, initial, params, phi = model
        with _quiet():
            states = _ets(y, season, initial).smooth(params)
        steps = np.arange(1, horizon + 1)
        out: Floats = np.asarray(states.level)[origins, None] + np.asarray(states.slope)[origins, None] * np.cumsum(
            phi**steps
        )
        if season > 1:
            source = origins[:, None] + steps - season * -(-steps // season)
            known = np.concatenate([np.asarray(initial["initial_seasonal"]), np.asarray(states.season)])
            out = out + known[source + season]
        return out


@dataclass
class Theta(_PerSeries):
    """The Theta method with theta = 2 (Assimakopoulos & Nikolopoulos 2000; statsmodels ThetaModel)."""

    name: str = "Theta"

    def _estimate(self, y: Floats, season: int) -> Any:
        from statsmodels.tsa.forecasting.theta import ThetaModel

        with _quiet():
            fitted = ThetaModel(y, period=max(season, 2), deseasonalize=season > 1, method="auto").fit()
            factors = np.asarray(fitted.forecast_components(season).seasonal) if season > 1 else np.zeros(1)
        # forecast_components begins at the step after the training span; turn it back to its start
        factors = np.roll(factors, len(y) % season)
        seasonal = season > 1 and fitted.model.deseasonalize
        kind = "none" if not seasonal else "mul" if fitted.model.method.startswith("mul") else "add"
        return float(fitted.params["alpha"]), float(fitted.params["b0"]), kind, factors

    def _run(self, model: Any, y: Floats, origins: Rows, horizon: int) -> Floats:
        from scipy.signal import lfilter

        alpha, slope, kind, factors = model
        steps = np.arange(1, horizon + 1)
        now = factors[np.arange(len(y)) % len(factors)]
        ahead = factors[(origins[:, None] + steps) % len(factors)]
        level = y / now if kind == "mul" else y - now if kind == "add" else y
        smooth, _ = lfilter([alpha], [1.0, alpha - 1.0], level, zi=[(1 - alpha) * level[0]])
        seen = origins[:, None] + 1.0
        grown = (1 - (1 - alpha) ** seen) / alpha if alpha > 0 else seen
        out: Floats = smooth[origins, None] + 0.5 * slope * (steps - 1 + grown)
        return out * ahead if kind == "mul" else out + ahead if kind == "add" else out


ALWAYS = ("naive", "drift", "seasonal naive", "mean")
"""Baselines that run in every backtest."""

_MAKERS: dict[str, Any] = {
    "naive": lambda season: Naive(),
    "drift": lambda season: Drift(),
    "seasonal naive": SeasonalNaive,
    "mean": lambda season: HistoricalMean(),
    "ETS": ETS,
    "Theta": Theta,
}


def names() -> tuple[str, ...]:
    """Names that :func:`make` knows."""
    return tuple(_MAKERS)


def make(name: str, season: int | None = None) -> Forecaster:
    """The baseline called ``name`` (letter case, ``-`` and ``_`` do not matter), not fitted yet.

    Raises:
        UsageError: no baseline has that name.
    """
    wanted = name.strip().lower().replace("-", " ").replace("_", " ")
    for known, maker in _MAKERS.items():
        if known.lower() == wanted:
            made: Forecaster = maker(season)
            return made
    raise UsageError(
        f"there is no baseline {name!r}.{did_you_mean(name, names())}", hint=f"Known: {', '.join(names())}."
    )


def last_seen(panel: Panel) -> Rows:
    """``[N]`` for every row the last row of its series, up to itself, whose target is there; -1 if none."""
    here = np.arange(len(panel))
    seen = np.maximum.accumulate(np.where(np.isnan(panel.column("y")), -1, here))
    return np.where(seen >= _starts(panel), seen, -1)


def checked_rows(panel: Panel, rows: Rows, horizon: int) -> Rows:
    """``rows`` as ``int64[M]``.

    Raises:
        UsageError: a row is outside the panel or no whole number, or the horizon is not positive.
    """
    if horizon < 1:
        raise UsageError(f"horizon is {horizon}, it must be at least 1.", hint="Ask for one step or more.")
    given = np.asarray(rows)
    whole = given.dtype.kind in "iu" or not given.size
    if given.ndim != 1 or not whole or (given.size and (given.min() < 0 or given.max() >= len(panel))):
        got = f"{given.min()} to {given.max()}" if whole and given.size else f"{given.dtype} {list(given.shape)}"
        raise UsageError(
            f"origins must be row positions 0 to {len(panel) - 1} of the panel, in one dimension; got {got}.",
            hint="A position is a whole number that panel.frame.iloc takes; np.flatnonzero makes them of a mask.",
        )
    return given.astype(np.int64, copy=False)


def _series(panel: Panel) -> list[tuple[str, int, int]]:
    bounds = panel.offsets.tolist()
    return list(zip(panel.ids, bounds[:-1], bounds[1:], strict=True))


def _starts(panel: Panel) -> Rows:
    """``[N]`` first row of the series each row belongs to."""
    return np.repeat(panel.offsets[:-1], panel.lengths)


def _first_seen(panel: Panel) -> Rows:
    """``[N]`` first observed row of the series, -1 while nothing was observed."""
    seen = last_seen(panel)
    found = np.flatnonzero(~np.isnan(panel.column("y")))
    at = np.searchsorted(found, _starts(panel))
    first = np.append(found, -1)[np.minimum(at, len(found))]
    return np.where(seen >= 0, first, -1)


def _last_seen_in_season(panel: Panel, season: int) -> Rows:
    """``[N]`` like :func:`last_seen`, among the rows of the same place in the season."""
    starts, here = _starts(panel), np.arange(len(panel))
    phase = (here - starts) % season
    order = np.lexsort((here, phase, starts))
    group = np.concatenate([[True], (np.diff(starts[order]) != 0) | (np.diff(phase[order]) != 0)])
    begin = np.maximum.accumulate(np.where(group, here, 0))
    seen = np.maximum.accumulate(np.where(np.isnan(panel.column("y"))[order], -1, here))
    out = np.empty(len(panel), np.int64)
    out[order] = np.where(seen >= begin, order[np.maximum(seen, 0)], -1)
    return out


def _at(values: Floats, index: Rows) -> Floats:
    """``values[index]``, NaN where the index is -1."""
    picked: Floats = np.where(index >= 0, values[np.maximum(index, 0)], np.nan)
    return picked


def _filled(y: Floats) -> Floats:
    """Missing values replaced by the last observed one; the first is observed."""
    here = np.maximum.accumulate(np.where(np.isnan(y), 0, np.arange(len(y))))
    filled: Floats = y[here]
    return filled


def _ets(y: Floats, season: int, initial: dict[str, Any]) -> Any:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    cycle: dict[str, Any] = {"seasonal": "add", "seasonal_periods": season} if season > 1 else {}
    method = "known" if initial else "heuristic"
    return ETSModel(y, error="add", trend="add", damped_trend=True, initialization_method=method, **cycle, **initial)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the optimiser's notes on convergence: the scores say what a fit is worth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
