"""Conformal intervals: coverage as promised, nothing used before it is known, infinite widths left visible."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from forecast import conformal, metrics
from pipelines.errors import UsageError

nan, inf = np.nan, np.inf


def test_split_takes_the_right_rank() -> None:
    scores = np.arange(1.0, 20.0)[::-1, None]  # 19 scores: the 18th smallest for 90 %
    assert_array_equal(conformal.split(scores, 90), [18])
    assert_array_equal(conformal.split(scores[:9], 90), [19])
    assert_array_equal(conformal.split(scores[:8], 90), [inf])  # 8 scores cannot promise 90 %
    assert_array_equal(conformal.split(np.array([[3.0, nan]] * 9), 90), [3, inf])
    assert_array_equal(conformal.split(np.empty((0, 2)), 90), [inf, inf])


def test_split_covers_when_scores_are_exchangeable() -> None:
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal(size=(201, 4000)))
    covered = (scores[200] <= conformal.split(scores[:200], 90)).mean()
    assert 0.885 <= covered <= 0.915


def test_rolling_by_definition() -> None:
    rng = np.random.default_rng(1)
    scores = rng.random((60, 3))
    scores[rng.random(scores.shape) < 0.1] = nan
    delay, window = np.array([1, 2, 5]), 20
    got = conformal.rolling(scores, delay, 80, window=window)
    for i in range(60):
        for c, late in enumerate(delay):
            past = scores[max(0, i - late - window + 1) : max(0, i - late + 1), c]
            past = np.sort(past[~np.isnan(past)])
            rank = math.ceil((len(past) + 1) * 0.8 - 1e-9)
            assert got.reach[i, c] == (past[rank - 1] if 0 < rank <= len(past) else inf)
    assert (got.level == 0.8).all()
    assert got.infinite == np.isinf(got.reach).sum() > 0


def test_adaptive_by_definition() -> None:
    scores = np.abs(np.random.default_rng(2).normal(size=(300, 1)))
    late, rate = 3, 0.1
    got = conformal.adaptive(scores, np.array([late]), 90, window=50, rate=rate)
    miss = 0.1
    for i in range(300):
        j = i - late
        if j >= 0 and np.isfinite(conformal.split(scores[max(0, j - late - 49) : max(0, j - late + 1)], 90)[0]):
            miss += rate * (0.1 - float(scores[j, 0] > got.reach[j, 0]))
        assert got.level[i, 0] == pytest.approx(1 - miss)
        past = np.sort(scores[max(0, i - late - 49) : max(0, i - late + 1), 0])
        rank = math.ceil((len(past) + 1) * min(1 - miss, 1) - 1e-9)
        want = inf if rank > len(past) or miss <= 0 or not len(past) else past[max(rank - 1, 0)]
        assert got.reach[i, 0] == want
    assert np.ptp(got.level) > 0.1


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05]), st.integers(1, 30), st.integers(1, 6))
def test_no_score_is_used_before_it_is_known(seed: int, rate: float, cut: int, late: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((40, 2))
    delay = np.array([late, 1])
    changed = scores.copy()
    # what is known at origin `cut`: scores of origins up to cut - delay
    for column, wait in enumerate(delay):
        changed[max(0, cut - wait + 1) :, column] = rng.choice([1e6, nan, 0.0])
    before, after = (conformal.adaptive(values, delay, 60, window=10, rate=rate).reach for values in (scores, changed))
    assert_array_equal(before[: cut + 1], after[: cut + 1])


def jump(seed: int, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """AR(1) whose volatility jumps threefold after a third; one-step forecasts by the true coefficient."""
    rng = np.random.default_rng(seed)
    sigma = np.where(np.arange(n) < n // 3, 1.0, 3.0)
    y = np.zeros(n)
    for t in range(1, n):
        y[t] = 0.7 * y[t - 1] + sigma[t] * rng.normal()
    return y[1:], 0.7 * y[:-1]


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4))])
def test_adaptive_survives_a_jump_in_volatility_and_static_does_not(seed: int) -> None:
    y, forecast = jump(seed)
    scores = conformal.point_scores(y, forecast)[:, None]
    start = 500
    static = (scores[start:] <= conformal.split(scores[:start], 90)).mean()
    online = conformal.adaptive(scores, np.array([1]), 90)
    covered = (scores[start:] <= online.reach[start:]).mean()
    assert 0.88 <= covered <= 0.92
    assert static < 0.80
    # not by being infinite
    assert np.isinf(online.reach[start:]).mean() < 0.05


def result_frame(seed: int = 0, origins: int = 300, horizon: int = 3) -> pd.DataFrame:
    """Two walks, naive forecasts at every step of both, an origin a day."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, unit in (("a", 1.0), ("b", 20.0)):
        y = unit * np.cumsum(rng.normal(size=origins + horizon))
        origin, step = (grid.ravel() for grid in np.mgrid[0:origins, 1 : horizon + 1])
        parts.append(pd.DataFrame({"unique_id": name, "ds": origin + step, "cutoff": origin, "y": y[origin + step]}))
        parts[-1]["M"] = y[origin]
    frame = pd.concat(parts, ignore_index=True)
    for column in ("ds", "cutoff"):
        frame[column] = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame[column], unit="D")
    return frame


@pytest.mark.parametrize("method", conformal.METHODS)
def test_frames_are_covered_per_step_and_series(method: conformal.Method) -> None:
    frame = result_frame(origins=900)
    first = pd.Timestamp("2020-01-01") + pd.Timedelta(days=200)
    early, late = frame[frame["cutoff"] < first], frame[frame["cutoff"] >= first]
    got = conformal.conformalize(late, ["M"], method=method, level=80, calibration=early)
    assert list(got.columns) == [*frame.columns, "M-lo-80", "M-hi-80"]
    assert_array_equal(got.index, late.index)
    table = metrics.score(got, by=["unique_id", "step"])
    assert_allclose(table["coverage_80"], 0.8, atol=0.1)
    width = table.set_index(["unique_id", "step"])["width_80"]
    assert (width.xs("b") > 10 * width.xs("a")).all()
    assert width["a"].is_monotonic_increasing
    assert_allclose((got["M-lo-80"] + got["M-hi-80"]) / 2, got["M"])


@pytest.mark.parametrize("method", conformal.METHODS)
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_no_truth_after_a_cutoff_reaches_its_intervals(method: conformal.Method, stride: int) -> None:
    frame = result_frame(origins=120)
    days = (frame["cutoff"] - frame["cutoff"].min()).dt.days
    frame = frame[days % stride == 0]
    first, cut = (pd.Timestamp("2020-01-01") + pd.Timedelta(days=d) for d in (60, 90))
    changed = frame.copy()
    changed.loc[changed["ds"] > cut, "y"] = 1e6
    made = [
        conformal.conformalize(
            one[one["cutoff"] >= first], ["M"], method=method, level=70, calibration=one[one["cutoff"] < first]
        )
        for one in (frame, changed)
    ]
    upto = made[0]["cutoff"] <= cut
    for name in ("M-lo-70", "M-hi-70"):
        assert_array_equal(made[0].loc[upto, name], made[1].loc[upto, name])
        if method != "split":
            assert (made[0].loc[~upto, name] != made[1].loc[~upto, name]).any()


@pytest.mark.parametrize("method", ["rolling", "adaptive"])
def test_a_stride_of_origins_waits_for_a_truth_no_longer_than_the_truth_takes(method: conformal.Method) -> None:
    """Calibration a day apart, origins three days apart: the third step is known one origin later."""
    frame = result_frame(origins=200)
    days = (frame["cutoff"] - frame["cutoff"].min()).dt.days
    late = frame[(days >= 140) & ((days - 140) % 3 == 0)].copy()
    first = late["cutoff"].min()
    late["M"] = late["y"] + 1e3  # everything is far off from the first origin on
    got = conformal.conformalize(late, ["M"], method=method, level=50, window=1, calibration=frame[days < 140])
    last = got[metrics.steps(got) == 3]
    reach = (last["M-hi-50"] - last["M-lo-50"]) / 2
    assert (reach[last["cutoff"] == first] < 500).all()
    assert_allclose(reach[last["cutoff"] > first], 1e3)


def test_a_score_known_before_an_earlier_one_is_refused() -> None:
    with pytest.raises(UsageError, match="time order"):
        conformal.rolling(np.zeros((4, 1)), np.array([[3], [1], [1], [1]]), 90)


def test_order_of_rows_does_not_matter() -> None:
    frame = result_frame(origins=80)
    mixed = frame.sample(frac=1, random_state=0)
    got = conformal.conformalize(mixed, ["M"], level=80).sort_index()
    pd.testing.assert_frame_equal(got, conformal.conformalize(frame, ["M"], level=80))


def test_infinite_widths_are_reported() -> None:
    frame = result_frame(origins=40)
    got = conformal.conformalize(frame, ["M"], level=90)
    table = metrics.score(got, by=["step"])
    # the first nine scores of a column are not enough, and step k knows them k origins late
    assert_allclose(table["infinite_90"], [9 / 40, 10 / 40, 11 / 40], atol=2 / 40)
    assert np.isinf(table["width_90"]).all()


def test_around_an_interval_keeps_its_shape() -> None:
    frame = result_frame(origins=600)
    frame["M-lo-90"], frame["M-hi-90"] = frame["M"] - 0.1, frame["M"] + 0.3
    got = conformal.conformalize(frame, ["M"], method="rolling", level=90, around="interval")
    settled = got[got["cutoff"] > got["cutoff"].min() + pd.Timedelta(days=100)]
    below, above = settled["M"] - settled["M-lo-90"], settled["M-hi-90"] - settled["M"]
    assert_allclose(above - below, 0.2, atol=1e-9)
    assert metrics.score(settled)["coverage_90"][0] == pytest.approx(0.9, abs=0.04)
    wide = frame.assign(**{"M-lo-90": frame["M"] - 1e4, "M-hi-90": frame["M"] + 1e4})
    shrunk = conformal.conformalize(wide, ["M"], method="rolling", level=90, around="interval").tail(50)
    assert (shrunk["M-hi-90"] - shrunk["M-lo-90"] < 500).all()
    assert (shrunk["M-hi-90"] >= shrunk["M-lo-90"]).all()


def test_delays() -> None:
    assert_array_equal(conformal.delays(5), [1, 2, 3, 4, 5])
    assert_array_equal(conformal.delays(5, stride=2), [1, 1, 2, 2, 3])


def test_wrong_calls_say_so() -> None:
    frame = result_frame(origins=5)
    with pytest.raises(UsageError, match="Did you mean 'adaptive'"):
        conformal.conformalize(frame, ["M"], method="adaptiv")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="need calibration"):
        conformal.conformalize(frame, ["M"], method="split")
    with pytest.raises(UsageError, match="no 90 % interval"):
        conformal.conformalize(frame, ["M"], around="interval")
    with pytest.raises(UsageError, match="neither"):
        conformal.conformalize(frame, ["M"], around="both")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="between 0 and 100"):
        conformal.conformalize(frame, ["M"], level=100)
    with pytest.raises(UsageError, match="delay is below 1"):
        conformal.adaptive(np.ones((4, 1)), np.array([0]), 90)
    with pytest.raises(UsageError, match="out of range"):
        conformal.adaptive(np.ones((4, 1)), np.array([1]), 90, window=0)
