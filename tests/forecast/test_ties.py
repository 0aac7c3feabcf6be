"""Ties: what a net of float32 means as equal is scored as equal, and nothing else is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from forecast import evidence, inference, metrics, ties, trade

DUST = np.array([1.1e-16, -1.1e-16, 4e-8, -4e-8])  # what float64 and float32 leave


def test_change() -> None:
    nan, inf = np.nan, np.inf
    value = np.array([1 + 1e-13, 1e-7, 1e-5, 1e9 + 1e-2, inf, -inf, nan])
    since = np.array([1.0, 0.0, 0.0, 1e9, 0.0, 0.0, 0.0])
    assert_array_equal(ties.change(value, since, 1.0), [0, 0, 1e-5, value[3] - 1e9, inf, -inf, nan])
    assert_array_equal(ties.change(value, since), [0, 1e-7, 1e-5, value[3] - 1e9, inf, -inf, nan])
    assert ties.change(np.array([3e-20]), np.array([1e-20]), ties.size_of(np.array([3e-20]), np.array([1e-20]))) > 0


def test_one_absurd_reading_makes_no_ties() -> None:
    frame = states(200).assign(m=lambda one: one["last"] + np.where(one["last"] > 0, -0.1, 0.1))
    bad = frame.assign(y=frame["y"].where(frame.index != 40, 1e20), last=frame["last"].where(frame.index != 41, 1e20))
    want, got = metrics.score(frame).iloc[0], metrics.score(bad).iloc[0]
    assert want["direction"] > 0.65 and abs(got["direction"] - want["direction"]) < 0.02
    narrow = {"m-lo-90": lambda one: one["m"] - 0.2, "m-hi-90": lambda one: one["m"] + 0.2}
    for each in (bad.assign(**narrow), bad.assign(**narrow).drop(columns="last")):
        assert metrics.score(each)["coverage_90"].item() < 0.5
    assert ties.size_of(np.array([1.0, 5.0, 7.0, np.nan, 1e20]), np.array([1.0, 3.0, 6.0, 0.0, 0.0])) == 2.0


def test_rounding_of_a_stepwise_series_is_no_change() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(1, 9, 300) / 10
    y, last = level[1:], np.where(rng.random(299) < 0.9, level[1:] * (1 + 2.3e-16), level[:-1])
    assert ties.size_of(y, last) >= 0.099
    assert (ties.change(last + 1e-8, last, ties.size_of(y, last)) == 0).all()


def test_a_forecast_that_stays_but_for_dust_never_moves() -> None:
    walk = np.random.default_rng(0).normal(size=101).cumsum()
    still = 0.3 + np.random.default_rng(1).normal(size=100) * 1e-8
    shift = inference.shift_check(walk[1:], still, walk[:-1])
    assert shift.still == ("the forecast never moves",) and "never moves" in shift.text


def states(n: int = 80) -> pd.DataFrame:
    """Whole numbers, a forecast that is the last of them but for dust, and bounds that are some of them but for it."""
    rng = np.random.default_rng(0)
    level = rng.integers(-1, 3, n + 1).astype(float)
    stamps = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(n), unit="h")
    dust = np.resize(DUST, n)
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "cutoff": stamps - pd.Timedelta(hours=1), "step": 1})
    return frame.assign(last=level[:-1], y=level[1:], m=level[:-1] + dust).assign(
        **{"m-lo-90": dust - 1, "m-hi-90": dust + 2}
    )


def test_a_forecast_of_the_last_value_has_no_direction() -> None:
    frame = states()
    row = metrics.score(frame).iloc[0]
    assert row["direction"] == 0.5
    y, said, last = (frame[name].to_numpy() for name in ("y", "m", "last"))
    assert_array_equal(np.unique(metrics.direction(y, said, last)[y != last]), [0.5])
    for part in evidence._direction(frame, "m", 1):
        assert np.isnan(part["pvalue"]) or part["pvalue"] == 1.0
    assert inference.shift_check(y, said, last).moves == 0


def test_bounds_that_are_values_of_the_series_hold_them() -> None:
    frame = states()
    assert metrics.score(frame)["coverage_90"].item() == 1.0
    assert metrics.score(frame.drop(columns="last"))["coverage_90"].item() == 1.0
    observed = metrics.calibration(frame, "m").set_index("quantile")["observed"]
    assert observed[0.95] == 1.0
    assert observed[0.05] == pytest.approx((frame["y"] == -1).mean())


def test_nothing_is_traded_on_dust() -> None:
    frame = states().assign(last=lambda one: one["last"] + 5, y=lambda one: one["y"] + 5, m=lambda one: one["m"] + 5)
    card = trade.from_frame(frame, "m")
    assert card.table.loc[card.table["strategy"] == "m", "exposure"].eq(0).all()


def test_small_units_and_a_large_level_are_told_apart() -> None:
    frame = states().assign(m=lambda one: one["last"] + 0.1)
    want = metrics.score(frame)["direction"].item()
    values = ["last", "y", "m", "m-lo-90", "m-hi-90"]
    assert want != 0.5
    for changed in (frame[values] * 1e-13, frame[values] + 1e7):
        assert metrics.score(frame.assign(**changed))["direction"].item() == want
