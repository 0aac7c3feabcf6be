"""Intervals are pushed out by what the stop span shows; tests/forecast/test_train.py has those of direct forecasts."""

from __future__ import annotations

import numpy as np

import forecast


def test_intervals_are_calibrated_on_recursive_forecasts(make_panel) -> None:
    """AR(1) with coefficient 0.95: what is said at step 8 knows nothing of the doubt before it, its interval does."""
    rng = np.random.default_rng(0)
    y = np.zeros(2000)
    for t in range(1, len(y)):
        y[t] = 0.95 * y[t - 1] + rng.normal()
    data = make_panel(y, freq="h")
    model = forecast.fit(data, strategy="recursive", horizon=8, hidden=4, updates=150, threads=1, skip=0, k1=16)
    rows = np.arange(1700, len(y) - 8)
    found = model.forecast_rows(data, rows)
    truth = y[rows[:, None] + np.arange(1, 9)]
    low, high = found.bounds[90]
    covered = ((truth >= low) & (truth <= high)).mean(axis=0)
    assert (covered > 0.8).all() and (covered < 0.98).all()
    model.calibration = {}
    low, high = model.forecast_rows(data, rows).bounds[90]
    assert ((truth >= low) & (truth <= high)).mean(axis=0)[-1] < 0.8
