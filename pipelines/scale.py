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
ROUNDING = 1e-12
"""A spread is that of rounding up to this share of the values; float64 has about 16 digits, sums lose a few."""
SMALL = 1e-6
"""Columns of nothing larger are fitted in larger units, out of reach of thresholds that are absolute."""
KINDS: tuple[str, ...] = ("standard", "robust", "minmax", "none")


@dataclass(frozen=True)
class Scaler:
    """``(values - center) / unit`` for each column; ``center`` and ``unit`` are ``[C]`` float64."""

    center: Array
    unit: Array

    @classmethod
    def fit(cls, values: Array, kind: Kind = "standard", *, size: float | None = None) -> Scaler:
        """Fit on ``values [N, C]``; NaN counts as missing.

        A constant column, or one that is all missing, gets unit 1 (and center 0 if all missing): dividing
        by its spread has no meaning. Constant is what spreads by no more than rounding does: ``ROUNDING`` times its
        center or ``size``.

        Args:
            size: of the values a column is made of, where that is known: 1 for what is computed from standardised
                values. By default the largest of the column itself, at most 1, so that small units make no difference.

        Raises:
            UsageError: ``kind`` is unknown.
        """
        columns = values.shape[1]
        if kind == "none" or not columns:
            return cls(np.zeros(columns), np.ones(columns))
        center, unit = np.zeros(columns), np.ones(columns)
        some = ~np.isnan(values).all(axis=0)
        largest = np.zeros(columns)
        if some.any():
            largest[some] = np.nanmax(np.abs(values[:, some]), axis=0)
            center[some], unit[some] = _fit_small(values[:, some], kind, largest[some])
        usual = np.minimum(1.0, largest) if size is None else size
        bad = ~np.isfinite(unit) | (unit <= ROUNDING * np.maximum(usual, np.abs(center)))
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


def spreads(values: Array, kind: str) -> NDArray[np.bool_]:
    """``[C]`` whether the columns of ``values [N, C]``, none all missing, spread by more than rounding does.

    A robust scaler looks at the quartiles.
    """
    if kind == "robust":
        low, high = np.nanpercentile(values, (25, 75), axis=0)
    else:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    out: NDArray[np.bool_] = high - low > ROUNDING * np.nanmax(np.abs(values), axis=0)
    return out


def _fit_small(values: Array, kind: str, largest: Array) -> tuple[Array, Array]:
    """As :func:`_fit`; columns of small values are fitted in other units, by a power of two, and come back exactly.

    scikit-learn takes a quartile range below 2e-15 for none, and squares leave float64 below 1e-154.
    """
    small = (largest > 0) & (largest < SMALL)
    if not small.any():
        return _fit(values, kind)
    shift = np.where(small, np.frexp(largest)[1] + 2, 0)  # below a quarter, so is every spread; none is said to be 1
    center, unit = _fit(np.ldexp(values, -shift), kind)
    unit = np.where(small & (unit > 0.5), 0.0, unit)
    return np.ldexp(center, shift), np.ldexp(unit, shift)


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
