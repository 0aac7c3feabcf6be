"""Forecasters with a leak planted in each, and the same one without: an autoregression on scaled differences.

``fit(panel, until)`` is handed all rows. The honest one uses those up to ``until``; every other breaks one rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pipelines.panel import Panel

LAGS = 3


class Clean:
    """Least squares of the next change on the last three, scaled; one series."""

    name = "clean"
    lags = LAGS

    def __init__(self) -> None:
        self.mean, self.spread, self.weights = 0.0, 1.0, np.zeros(self.lags)

    # -- parts that leaks replace
    def filled(self, y: np.ndarray) -> np.ndarray:
        return pd.Series(y).ffill().to_numpy()

    def scaler_rows(self, y: np.ndarray, known: int) -> np.ndarray:
        return y[:known]

    def features(self, steps: np.ndarray) -> np.ndarray:
        """``[T, lags]``: the change at the row and before."""
        return np.stack([np.concatenate([np.zeros(k), steps[: len(steps) - k]]) for k in range(self.lags)], axis=1)

    def training_rows(self, known: int) -> np.ndarray:
        return np.arange(self.lags, known - 1)  # the target of row t is row t + 1

    def predict_rows(self, rows: np.ndarray, total: int) -> np.ndarray:
        return rows

    # -- the procedure
    def fit(self, panel: Panel, until: pd.Timestamp) -> Any:
        y = self.filled(panel.column("y"))
        known = int(np.searchsorted(panel.ds, until.to_datetime64(), side="right"))
        rows = self.scaler_rows(y, known)
        self.mean, self.spread = float(np.mean(rows)), float(np.std(rows)) or 1.0
        z = (y - self.mean) / self.spread
        steps = np.diff(z, prepend=z[0])
        at = self.training_rows(min(known, len(y)))
        target = z[np.minimum(at + 1, len(z) - 1)] - z[at]
        x = self.features(steps)[at]
        self.weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(x.shape[1]), x.T @ target)
        return self

    def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
        y = self.filled(panel.column("y"))
        z = (y - self.mean) / self.spread
        x = self.features(np.diff(z, prepend=z[0]))
        at = self.predict_rows(np.asarray(rows), len(y))
        one = y[rows] + self.spread * (x[at] @ self.weights)
        return np.repeat(one[:, None], horizon, axis=1)

    def state(self) -> dict[str, Any]:
        return {"mean": self.mean, "spread": self.spread, "weights": self.weights}


class ScalerOnEverything(Clean):
    name = "scaler fitted on everything"

    def scaler_rows(self, y: np.ndarray, known: int) -> np.ndarray:
        return y


class ShiftedFeature(Clean):
    name = ".shift(-1) feature"

    def features(self, steps: np.ndarray) -> np.ndarray:
        return super().features(pd.Series(steps).shift(-1).fillna(0.0).to_numpy())


class CentredMean(Clean):
    name = "centred rolling mean"

    def features(self, steps: np.ndarray) -> np.ndarray:
        return super().features(pd.Series(steps).rolling(5, center=True, min_periods=1).mean().to_numpy())


class BackFill(Clean):
    name = "back-fill"

    def filled(self, y: np.ndarray) -> np.ndarray:
        return pd.Series(y).bfill().ffill().to_numpy()


class TargetOffByOne(Clean):
    """Trains on one target too many: the first row after the cutoff."""

    name = "target off by one"

    def training_rows(self, known: int) -> np.ndarray:
        return np.arange(self.lags, known)


class OriginOffByOne(Clean):
    """Reads the row it is to forecast."""

    name = "origin off by one"

    def predict_rows(self, rows: np.ndarray, total: int) -> np.ndarray:
        return np.minimum(rows + 1, total - 1)


class SelectedOnTheTestSpan(Clean):
    """Chooses between no change and the autoregression by the error after the cutoff."""

    name = "selection on the test span"

    def fit(self, panel: Panel, until: pd.Timestamp) -> Any:
        super().fit(panel, until)
        known = int(np.searchsorted(panel.ds, until.to_datetime64(), side="right"))
        y = panel.column("y")
        rows = np.arange(known, len(y) - 1)
        errors = []
        for shrink in (0.0, 0.5, 1.0):
            forecast = y[rows] + shrink * (self.predict(panel, rows, 1)[:, 0] - y[rows]) if len(rows) else np.zeros(0)
            errors.append(np.nansum((y[rows + 1] - forecast) ** 2))
        self.shrink = (0.0, 0.5, 1.0)[int(np.argmin(errors))]
        self.weights = self.weights * self.shrink
        return self

    def state(self) -> dict[str, Any]:
        return {**super().state(), "selected shrinkage": self.shrink}


LEAKS = (
    ScalerOnEverything,
    ShiftedFeature,
    CentredMean,
    BackFill,
    TargetOffByOne,
    OriginOffByOne,
    SelectedOnTheTestSpan,
)
