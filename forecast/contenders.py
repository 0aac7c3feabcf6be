"""Contenders: nets, baselines and scikit-learn regressors look alike to a backtest.

A contender is fitted on the training rows of a fold and forecasts from any origins. Whatever has
``fit(panel)`` and ``predict(panel, rows, horizon) -> [M, H]`` (see :class:`forecast.baselines.Forecaster`) can
take part; it may also have ``intervals(panel, rows, horizon) -> {level: (lo [M, H], hi [M, H])}``. A
scikit-learn regressor is given windows of the last values relative to the newest one.

Assumption, named: a series without training rows in a fold has no forecast there (NaN, and it is counted).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import baselines
from forecast.config import Config
from forecast.forecasts import Forecasts
from forecast.identity import parameters_of, settings_of
from forecast.model import Model
from forecast.pieces import Pieces, forecast_in_pieces
from forecast.spans import Spans, cut_spans, settle
from pipelines.errors import UsageError, did_you_mean
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.prepared import Prepared
from pipelines.scale import Scaler
from pipelines.spec import PipelineSpec

if TYPE_CHECKING:
    from forecast.train import Prepare

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Bounds = dict[int, tuple[Floats, Floats]]
Weights = Mapping[str, NDArray[np.float32]]


class Fitted(Protocol):
    """A contender after its fit."""

    facts: dict[str, Any]
    known: pd.Timestamp | None
    """Forecasts of truths after this stamp are out of sample; ``None``: all are (nothing was learned)."""

    def forecast(self, panel: Panel, rows: Rows, horizon: int) -> Forecasts:
        """Points ``[M, H]``, intervals and chances from the origins ``rows``, natural units."""
        ...

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """What a warm refit goes on from; empty where there is no such thing."""
        ...


class Contender(Protocol):
    """What a backtest runs."""

    @property
    def name(self) -> str: ...

    @property
    def seeded(self) -> bool:
        """Whether several seeds make sense."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON that changes whenever the forecasts may: part of the key finished folds are stored under."""
        ...

    def fit(self, train: Panel, seed: int, start: Weights | None) -> Fitted: ...


# -- nets --------------------------------------------------------------------------------------
SHAPE = ("data.kind", "data.season", "data.anchor", "data.log", "data.scale", "data.unit", "model.skip")
"""Settings that decide which weights a net has and what they mean."""


@dataclass(frozen=True)
class Net:
    """A network by its configuration; nothing is held out of a fold's training rows but the span for stopping.

    ``gaps``: whether the net reads how old the last value is; by default where training values are missing.
    """

    name: str
    config: Config
    pieces: Pieces | None = None
    gaps: bool | None = None
    seeded: bool = field(default=True, init=False)

    def describe(self) -> dict[str, Any]:
        settings = self.config.to_json()
        for irrelevant in ("seed", "threads"):
            settings["train"].pop(irrelevant)
        cut = {} if self.pieces is None else {"pieces": [self.pieces.count, self.pieces.warm]}
        return {"kind": "net", "config": settings, **cut, **({} if self.gaps is None else {"gaps": self.gaps})}

    def settled(self, train: Panel) -> Net:
        """The same net with all that decides its shape settled on ``train``, so that its weights fit later folds."""
        if not np.isfinite(train.column("y")).any():
            return self  # the fit says what is wrong with that
        config = self.config.override(**{"data.holdout": 0})
        found = settle(config, train).to_json()
        chosen = {name: found[name.split(".")[0]][name.split(".")[1]] for name in SHAPE}
        gaps = train.up_to(cut_spans(train, config).train_end).missing > 0
        return replace(self, config=self.config.override(**chosen), gaps=gaps)

    def fit(self, train: Panel, seed: int, start: Weights | None) -> Fitted:
        import torch

        from forecast.train import fit, prepare_rows

        prepare: Prepare | None = None if self.gaps is None else partial(_prepare, prepare_rows, self.gaps)
        initial = None if start is None else {name: torch.from_numpy(np.array(part)) for name, part in start.items()}
        config = self.config.override(**{"data.holdout": 0, "train.seed": seed})
        return FittedNet(fit(train, config, initial=initial, prepare=prepare), self.pieces)


def _prepare(
    usual: Prepare, gaps: bool, panel: Panel, spec: PipelineSpec, spans: Spans
) -> tuple[Pipeline, Prepared]:  # fmt: skip
    """As ``usual``, but the age of the last value is among the features if ``gaps``, whatever the rows hold."""
    pipeline, prepared = usual(panel, spec, spans)
    fitted = pipeline.fitted
    if fitted.gaps == gaps:
        return pipeline, prepared
    other = replace(fitted, gaps=gaps)
    center, unit = fitted.features.center, fitted.features.unit
    if gaps:  # nothing is missing here: always zero
        at = Pipeline(spec, other).feature_names.index("elapsed")
        features = Scaler(np.insert(center, at, 0.0), np.insert(unit, at, 1.0))
    else:
        at = pipeline.feature_names.index("elapsed")
        features = Scaler(np.delete(center, at), np.delete(unit, at))
    pipeline = Pipeline(spec, replace(other, features=features))
    return pipeline, pipeline.transform(panel.up_to(spans.stop_end))


class FittedNet:
    """A :class:`forecast.model.Model` as a backtest sees it."""

    def __init__(self, model: Model, pieces: Pieces | None = None) -> None:
        self.model, self.pieces = model, pieces
        self.known: pd.Timestamp | None = pd.Timestamp(model.facts["spans"]["train_end"])
        training = {name: value for name, value in model.facts["training"].items() if name != "checks"}
        self.facts: dict[str, Any] = {"training": training, "parameters": model.facts["parameters"]}
        if model.facts.get("left_out"):
            self.facts["left_out"] = model.facts["left_out"]

    def forecast(self, panel: Panel, rows: Rows, horizon: int) -> Forecasts:
        fitted = set(self.model.pipeline.fitted.ids)
        known = [name for name in panel.ids if name in fitted]
        part, inside, at = restrict(panel, rows, known)
        if self.pieces is None or not len(at):
            found = self.model.forecast_rows(part, at)
        else:
            found, off = forecast_in_pieces(self.model, part, at, self.pieces)
            self.facts["deviation"] = max(off, self.facts.get("deviation", 0.0))
        bounds = {k: (_scatter(low, inside), _scatter(high, inside)) for k, (low, high) in found.bounds.items()}
        up = None if found.up is None else _scatter(found.up, inside)
        return Forecasts(rows, _scatter(found.point, inside), bounds, up)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        return {name: weight.detach().numpy().copy() for name, weight in self.model.network.named_parameters()}


def restrict(panel: Panel, rows: Rows, ids: Sequence[str]) -> tuple[Panel, NDArray[np.bool_], Rows]:
    """``panel`` with the series ``ids`` only, which of ``rows`` are inside, and their positions there."""
    if len(ids) == len(panel.ids):
        return panel, np.ones(len(rows), np.bool_), rows
    wanted = np.isin(panel.ids, list(ids))
    kept = np.repeat(wanted, panel.lengths)
    place = np.cumsum(kept) - 1
    inside = kept[rows]
    return panel.select(ids), inside, place[rows[inside]].astype(np.int64)


def _scatter(values: Floats, inside: NDArray[np.bool_]) -> Floats:
    out = np.full((len(inside), *values.shape[1:]), np.nan)
    out[inside] = values
    return out


# -- anything with fit and predict -------------------------------------------------------------
@dataclass(frozen=True)
class Plain:
    """A :class:`forecast.baselines.Forecaster`; every fold fits a copy of its own."""

    forecaster: Any
    seeded: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        return str(getattr(self.forecaster, "name", type(self.forecaster).__name__))

    def describe(self) -> dict[str, Any]:
        one = self.forecaster
        settings = one.settings() if isinstance(one, WindowRegressor) else settings_of(one)
        return {"kind": type(one).__qualname__, "settings": settings}

    def fit(self, train: Panel, seed: int, start: Weights | None) -> Fitted:
        mine = copy.deepcopy(self.forecaster)
        fitted = mine.fit(train)
        return FittedPlain(mine if fitted is None else fitted, train)


class FittedPlain:
    """A fitted forecaster as a backtest sees it."""

    def __init__(self, forecaster: Any, train: Panel) -> None:
        self.forecaster, self.ids = forecaster, train.ids
        always = isinstance(
            forecaster, baselines.Naive | baselines.Drift | baselines.SeasonalNaive | baselines.HistoricalMean
        )
        self.known: pd.Timestamp | None = None if always else train.end
        short = list(getattr(forecaster, "short", ()))
        self.facts: dict[str, Any] = {"naive_instead": short} if short else {}

    def forecast(self, panel: Panel, rows: Rows, horizon: int) -> Forecasts:
        seen = set(panel.ids if self.known is None else self.ids)
        known = [name for name in panel.ids if name in seen]
        part, inside, at = restrict(panel, rows, known)
        point = np.asarray(self.forecaster.predict(part, at, horizon), np.float64)
        if point.shape != (len(at), horizon):
            raise UsageError(
                f"{type(self.forecaster).__name__}.predict gave shape {point.shape} for {len(at)} origins and a "
                f"horizon of {horizon}.",
                hint="predict(panel, rows, horizon) returns one row per origin and one column per step.",
            )
        given = self.forecaster.intervals(part, at, horizon) if hasattr(self.forecaster, "intervals") else {}
        bounds = {
            int(k): (_scatter(np.asarray(low), inside), _scatter(np.asarray(high), inside))
            for k, (low, high) in given.items()
        }
        return Forecasts(rows, _scatter(point, inside), bounds)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        return {}


@dataclass
class WindowRegressor:
    """A scikit-learn regressor on windows: the last ``lookback`` values relative to the newest, to its next changes.

    Reads ``y`` only. Missing values are held; an origin with fewer than ``lookback`` rows has no forecast.
    """

    estimator: Any
    lookback: int = 20
    horizon: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        self.name = self.name or type(self.estimator).__name__
        self._fitted: Any = None

    def settings(self) -> dict[str, Any]:
        """Plain JSON that tells this one from others."""
        return {"lookback": self.lookback, "horizon": self.horizon, "estimator": parameters_of(self.estimator)}

    def fit(self, panel: Panel) -> WindowRegressor:
        from sklearn.base import clone
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.utils import get_tags

        from pipelines.batches import windows

        made = windows(panel, self.lookback, self.horizon)
        recent = made.X[:, :, 0]
        last = recent[:, -1:]
        model = clone(self.estimator)
        if self.horizon > 1 and not get_tags(model).target_tags.multi_output:
            model = MultiOutputRegressor(model)
        target = made.y - last
        self._fitted = model.fit((recent - last)[:, :-1], target[:, 0] if self.horizon == 1 else target)
        return self

    def predict(self, panel: Panel, rows: Rows, horizon: int) -> Floats:
        y = panel.column("y")
        seen = baselines.last_seen(panel)
        held = np.where(seen >= 0, y[np.maximum(seen, 0)], np.nan)
        owner = np.searchsorted(panel.offsets, rows, side="right") - 1
        out = np.full((len(rows), self.horizon), np.nan)
        at = rows[:, None] + np.arange(1 - self.lookback, 1)
        ok = at[:, 0] >= panel.offsets[owner]
        recent = held[np.maximum(at, 0)]
        ok &= ~np.isnan(recent).any(axis=1)
        if ok.any():
            last = recent[ok][:, -1:]
            change = np.asarray(self._fitted.predict((recent[ok] - last)[:, :-1]), np.float64)
            out[ok] = last + change.reshape(len(last), self.horizon)
        return out[:, :horizon]


# -- from what people write --------------------------------------------------------------------
def resolve(model: Any, config: Config, season: int | None = None, pieces: Pieces | None = None) -> Contender:
    """A contender from a name, a :class:`Config`, a fitted ``Model`` (its configuration), a regressor or an object.

    Args:
        config: settings of nets that are given by name; its horizon and threads are everyone's.
        pieces: how nets read the test span if not in one pass.

    Raises:
        UsageError: nothing of that name, or an object without ``fit`` and ``predict``.
    """
    horizon = config.data.horizon
    shared = {"data.horizon": horizon, "train.threads": config.train.threads}
    if isinstance(model, str):
        return _named(model, config, season, pieces)
    if isinstance(model, Config):
        return Net(model.model.core, model.override(**shared), pieces)
    if isinstance(model, Net):
        return replace(model, config=model.config.override(**shared), pieces=model.pieces or pieces)
    if hasattr(model, "forecast_rows") and isinstance(getattr(model, "config", None), Config):
        return Net(model.name, model.config.override(**shared), pieces)
    if hasattr(model, "describe") and hasattr(model, "seeded"):
        return model  # type: ignore[no-any-return]
    if hasattr(model, "get_params") and hasattr(model, "fit") and hasattr(model, "predict"):
        return Plain(WindowRegressor(model, lookback=max(20, 2 * (season or 1)), horizon=horizon))
    if isinstance(model, WindowRegressor):
        return Plain(WindowRegressor(model.estimator, model.lookback, horizon, model.name))
    if hasattr(model, "fit") and hasattr(model, "predict"):
        return Plain(model)
    raise UsageError(
        f"{type(model).__name__} cannot take part in a backtest.",
        hint="Give a name, a Config, a scikit-learn regressor, or an object with fit(panel) and "
        "predict(panel, rows, horizon).",
    )


def _named(name: str, config: Config, season: int | None, pieces: Pieces | None) -> Contender:
    from forecast.nn.cores import CORES

    if name in CORES:
        return Net(name, config.override(**{"model.core": name}), pieces)
    try:
        return Plain(baselines.make(name, season))
    except UsageError:
        known = [*CORES, *baselines.names()]
        raise UsageError(
            f"there is no model {name!r}.{did_you_mean(name, known)}", hint=f"Models: {', '.join(known)}."
        ) from None


def runs_anyway(one: Contender, season: int, usual: int) -> bool:
    """Whether ``one`` is a baseline that takes part in every backtest; ``usual``: the season of the grid."""
    if one.name not in baselines.ALWAYS or not isinstance(one, Plain):
        return False
    made = [baselines.make(one.name, each) for each in ((season, None) if season == usual else (season,))]
    return type(one.forecaster) is type(made[0]) and one.forecaster in made


def distinct(contenders: Sequence[Contender]) -> list[str]:
    """Column names: the contenders' own, numbered where two are alike.

    Raises:
        UsageError: a name would collide with a column of the result frame.
    """
    names: list[str] = []
    for one in contenders:
        if one.name in baselines.ALWAYS:
            raise UsageError(
                f"a model cannot be called {one.name!r}: that baseline takes part in every backtest.",
                hint="Give the model another name.",
            )
        if one.name in ("unique_id", "ds", "cutoff", "y", "last", "step") or re.search(r"-(lo|hi)-[\d.]+$", one.name):
            raise UsageError(f"a model cannot be called {one.name!r}.", hint="That is a column of the result frame.")
        name, count = one.name, 1
        while name in names:
            count += 1
            name = f"{one.name} {count}"
        names.append(name)
    return names
