"""Scalers fitted on training rows, kept as plain JSON numbers.

scikit-learn does the fitting (it counts NaN out); the parameters, one ``center`` and one ``unit`` per
column, are ours to store: nothing is pickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import UsageError, did_you_mean

Array = NDArray[np.float64]
Kind = Literal["standard", "robust", "minmax", "none"]
KINDS: tuple[str, ...] = ("standard", "robust", "minmax", "none")


@dataclass(frozen=True)
class Scaler:
    """``(values - center) / unit`` for each column; ``center`` and ``unit`` are ``[C]`` float64."""

    center: Array
    unit: Array

    @classmethod
    def fit(cls, values: Array, kind: Kind = "standard") -> Scaler:
        """Fit on ``values [N, C]``; NaN counts as missing.

        A constant column, or one that is all missing, gets unit 1 (and center 0 if all missing): dividing
        by its spread has no meaning.

        Raises:
            UsageError: ``kind`` is unknown.
        """
        columns = values.shape[1]
        if kind == "none" or not columns:
            return cls(np.zeros(columns), np.ones(columns))
        center, unit = np.zeros(columns), np.ones(columns)
        some = ~np.isnan(values).all(axis=0)
        if some.any():
            center[some], unit[some] = _fit(values[:, some], kind)
        bad = ~np.isfinite(unit) | (unit <= 1e-12 * np.maximum(1.0, np.abs(center)))
        unit[bad] = 1.0
        return cls(center, unit)

    def apply(self, values: Array) -> Array:
        """``[..., C]`` in units of the fit."""
        out: Array = (values - self.center) / self.unit
        return out

    def invert(self, values: Array) -> Array:
        """``[..., C]`` back in natural units."""
        out: Array = values * self.unit + self.center
        return out

    def to_json(self) -> dict[str, list[float]]:
        return {"center": self.center.tolist(), "unit": self.unit.tolist()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Scaler:
        return cls(np.asarray(document["center"], np.float64), np.asarray(document["unit"], np.float64))


def _fit(values: Array, kind: str) -> tuple[Array, Array]:
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    if kind == "standard":
        standard = StandardScaler().fit(values)
        return standard.mean_, standard.scale_
    if kind == "robust":
        robust = RobustScaler(unit_variance=True).fit(values)
        return robust.center_, robust.scale_
    if kind == "minmax":
        minmax = MinMaxScaler().fit(values)
        return minmax.data_min_, minmax.data_range_
    raise UsageError(
        f"scaler {kind!r} is not one of {', '.join(KINDS)}.{did_you_mean(kind, KINDS)}",
        hint="'standard' is the usual choice; 'robust' withstands outliers.",
    )
