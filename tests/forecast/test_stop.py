"""Intervals are pushed out by what the stop span shows; tests/forecast/test_train.py has those of direct forecasts."""

from __future__ import annotations

import numpy as np
import pytest

import forecast
from forecast.stop import corrections


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


def test_far_steps_with_few_scores_are_not_narrowed(make_panel) -> None:
    """160 rows, 24 steps: the stop span has one origin for the last step, and its score pulled both bounds in."""
    rng = np.random.default_rng(0)
    y = np.zeros(210)
    for t in range(1, len(y)):
        y[t] = 0.8 * y[t - 1] + rng.normal()
    y = 10 + 3 * np.sin(2 * np.pi * np.arange(160) / 24) + y[50:]
    model = forecast.fit(make_panel(y, freq="h"), horizon=24, hidden=16, updates=150, threads=1)
    push = model.calibration[90]
    assert push[15] > 0, "nine scores, as many as 90 % needs"
    assert (push[16:] > 0).all()
    frame = model.predict()
    width = (frame["lstm-hi-90"] - frame["lstm-lo-90"]).to_numpy()
    assert width[16:].min() > 0.9 * width[15]


def test_steps_with_enough_scores_have_the_conformal_correction() -> None:
    scores = np.random.default_rng(0).normal(size=(40, 3))
    found = corrections(scores, np.ones((40, 3)), 90)
    assert found.tolist() == np.sort(scores, axis=0)[37 - 1].tolist(), "ceil(41 * 0.9) = 37"


def test_a_step_with_few_scores_takes_what_the_nearest_step_with_enough_supports() -> None:
    scores = np.full((12, 4), np.nan)
    scores[:, 0] = 5.0
    scores[:9, 1] = np.arange(9) / 10  # the largest of nine: 0.8
    scores[:5, 2] = -1.0
    scores[:2, 3] = -3.0
    widths = np.tile([1.0, 2.0, 3.0, 4.0], (6, 1))
    assert corrections(scores, widths, 90) == pytest.approx([5.0, 0.8, 1.2, 1.6]), "as a share of the mean width"
    assert corrections(scores, np.zeros((6, 4)), 90) == pytest.approx([5.0, 0.8, 0.8, 0.8]), "a net without intervals"
    scores[0, 3] = 2.5
    assert corrections(scores, widths, 90)[3] == 2.5, "its own largest score says more"
    scores[:9, 1] = -np.arange(9.0)
    scores[:2, 3] = np.nan
    assert corrections(scores, widths, 90).tolist() == [5.0, 0.0, 0.0, 0.0]


def test_where_no_step_has_enough_scores_the_one_with_most_stands_in() -> None:
    scores = np.array([[0.3, -0.5], [0.1, np.nan], [np.nan, np.nan]])
    assert corrections(scores, np.ones((3, 2)), 90).tolist() == [0.3, 0.3]
    assert corrections(scores - 1, np.ones((3, 2)), 90).tolist() == [0.0, 0.0]
    assert corrections(np.full((3, 2), np.nan), np.ones((3, 2)), 90).tolist() == [0.0, 0.0]
