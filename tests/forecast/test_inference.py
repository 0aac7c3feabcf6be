"""Inference: fixed values from the published formulas (exact fractions), size under the null, no claim of nothing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from forecast import inference
from pipelines.errors import UsageError

nan = np.nan
Y = np.array([1.0, 2.0, 1.5, 3.0, 2.5, 4.0, 3.0, 3.5, 5.0, 4.5, 4.0, 6.0])
A = np.array([1.2, 1.6, 1.9, 2.7, 2.9, 3.5, 3.6, 3.1, 4.4, 4.9, 4.1, 5.2])
B = np.array([0.5, 1.0, 2.0, 1.5, 3.0, 2.5, 4.0, 3.0, 3.5, 5.0, 4.5, 4.0])


def test_diebold_mariano_one_step_by_hand() -> None:
    # d_t = (y - a)^2 - (y - b)^2; for h = 1 the variance is g0 and HLN's factor sqrt((n - 1) / n)
    d = (Y - A) ** 2 - (Y - B) ** 2
    assert_allclose(d, [-0.21, -0.84, -0.09, -2.16, -0.09, -2.0, -0.64, -0.09, -1.89, -0.09, -0.24, -3.36], atol=1e-12)
    mean = -11.7 / 12
    g0 = sum((x - mean) ** 2 for x in d) / 12
    want = mean / math.sqrt(g0 / 12) * math.sqrt(11 / 12)
    got = inference.diebold_mariano(Y, A, B)
    assert abs(got.statistic - want) < 1e-9
    assert abs(got.statistic - -3.063659499591507) < 1e-9
    assert abs(got.pvalue - 2 * stats.t.cdf(want, 11)) < 1e-9
    assert got.pvalue_overlap == got.pvalue == got.evidence
    assert (got.n, got.missing) == (12, 0)


def test_diebold_mariano_three_steps_by_hand() -> None:
    # Bartlett kernel with lags h - 1 = 2: g0 + 2 (2/3 g1 + 1/3 g2); the published one would weigh by 1
    d = np.abs(Y - A) - np.abs(Y - B)
    e = d - d.mean()
    g = [float((e[j:] * e[: 12 - j]).sum()) / 12 for j in range(3)]
    variance = g[0] + 2 * (2 / 3 * g[1] + 1 / 3 * g[2])
    factor = math.sqrt((12 + 1 - 6 + 3 * 2 / 12) / 12)
    want = d.mean() / math.sqrt(variance / 12) * factor
    got = inference.diebold_mariano(Y, A, B, horizon=3, loss="absolute")
    assert abs(got.statistic - want) < 1e-9
    assert abs(got.statistic - -5.975155172783631) < 1e-9
    assert abs(got.pvalue - 2 * stats.t.cdf(want, 11)) < 1e-9
    rectangular = g[0] + 2 * (g[1] + g[2])
    assert abs(d.mean() / math.sqrt(rectangular / 12) * factor - got.statistic) > 0.1
    # two cosines at n = 12, h = 3
    t = (np.arange(12) + 0.5) / 12
    weights = [math.sqrt(2 / 12) * float((np.cos(math.pi * j * t) * d).sum()) for j in (1, 2)]
    overlap = 2 * stats.t.cdf(d.mean() / math.sqrt(np.mean(np.square(weights)) / 12), 2)
    assert abs(got.pvalue_overlap - overlap) < 1e-9
    assert got.evidence == max(got.pvalue, got.pvalue_overlap)


def test_undefined_tests_are_no_evidence() -> None:
    for first, second, horizon in ((A, A, 1), (Y + 1, Y - 1, 1), (Y + 3, Y + 1, 1), (A, B, 12)):
        got = inference.diebold_mariano(Y, first, second, horizon=horizon)
        assert math.isnan(got.pvalue)
        assert got.evidence == 1.0
    assert inference.diebold_mariano(Y[:1], A[:1], B[:1]).evidence == 1.0


def test_missing_losses_are_counted() -> None:
    a = A.copy()
    a[3] = nan
    got = inference.diebold_mariano(Y, a, B)
    assert (got.n, got.missing) == (11, 1)
    keep = np.arange(12) != 3
    assert got.statistic == inference.diebold_mariano(Y[keep], A[keep], B[keep]).statistic


def test_wrong_calls_say_so() -> None:
    with pytest.raises(UsageError, match="do not pair"):
        inference.compare_losses(Y, A[:5])
    with pytest.raises(UsageError, match="horizon is 0"):
        inference.compare_losses(Y, A, horizon=0)


def overlapping(rng: np.random.Generator, n: int, h: int) -> np.ndarray:
    """Errors of h-step forecasts of a random walk: sums of h shocks, overlapping."""
    shocks = rng.normal(size=n + h - 1)
    return np.lib.stride_tricks.sliding_window_view(shocks, h).sum(axis=1)


def test_size_under_the_null() -> None:
    """1,000 null simulations at n = 30, h = 10 reject at most 9 % at nominal 5 %; statsmodels' defaults do not."""
    from statsmodels.tsa.stattools import diebold_mariano_test

    rng, n, h, runs = np.random.default_rng(0), 30, 10, 1000
    zeros, default, squared, absolute = np.zeros(n), 0, 0, 0
    for _ in range(runs):
        a, b = overlapping(rng, n, h), overlapping(rng, n, h)
        squared += inference.diebold_mariano(zeros, a, b, horizon=h).pvalue < 0.05
        absolute += inference.diebold_mariano(zeros, a, b, horizon=h, loss="absolute").evidence < 0.05
        default += diebold_mariano_test(zeros, a, b, horizon=h).pvalue < 0.05
    assert squared <= 0.09 * runs
    assert absolute <= 0.09 * runs
    assert default > 0.2 * runs


def test_power_where_there_is_a_difference() -> None:
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        a, b = overlapping(rng, 300, 5), overlapping(rng, 300, 5)
        found += inference.diebold_mariano(np.zeros(300), 0.65 * a, b, horizon=5, loss="absolute").evidence < 0.05
    assert found >= 80


def test_holm_by_hand_and_nan() -> None:
    assert_allclose(inference.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert_allclose(inference.holm([0.02, nan]), [0.04, 1.0])
    assert_allclose(inference.holm([nan]), [1.0])
    assert len(inference.holm([])) == 0
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(0).random(20) ** 3
    assert_allclose(inference.holm(p), multipletests(p, method="holm")[1])


def test_pesaran_timmermann_by_hand() -> None:
    change = np.array([1, 1, -1, 1, -1, -1, 1, -1, 1, 1], float)
    forecast = np.array([1, 1, -1, -1, -1, 1, 1, -1, 1, -1], float)
    # up shares 0.6 and 0.5, 7 of 10 met, 0.5 expected by chance
    n, pz, px = 10, 0.6, 0.5
    v = 0.5 * 0.5 / n
    w = ((2 * pz - 1) ** 2 * px * (1 - px) + (2 * px - 1) ** 2 * pz * (1 - pz)) / n
    w += 4 * pz * px * (1 - pz) * (1 - px) / n**2
    want = (0.7 - 0.5) / math.sqrt(v - w)
    got = inference.pesaran_timmermann(change, forecast)
    assert (got.hits, got.n) == (0.7, 10)
    assert abs(got.expected - 0.5) < 1e-12
    assert abs(got.statistic - want) < 1e-9
    assert abs(got.statistic - 1.360827634879543) < 1e-9
    assert abs(got.pvalue - 0.5 * math.erfc(want / math.sqrt(2))) < 1e-9


def test_pesaran_timmermann_where_nothing_can_be_said() -> None:
    change = np.array([1.0, -1, 1, -1, 1])
    for forecast in (np.zeros(5), np.ones(5), -np.ones(5)):
        assert math.isnan(inference.pesaran_timmermann(change, forecast).pvalue)
    assert math.isnan(inference.pesaran_timmermann(np.ones(5), change).pvalue)
    assert inference.pesaran_timmermann(np.full(5, nan), change).n == 0
    assert inference.pesaran_timmermann(np.append(change, 1.0), np.append(change, nan)).n == 5


def test_pesaran_timmermann_thins_overlapping_spans() -> None:
    rng = np.random.default_rng(2)
    rejected = 0
    for _ in range(300):
        x, z = overlapping(rng, 200, 10), overlapping(rng, 200, 10)
        got = inference.pesaran_timmermann(z, x, horizon=10)
        assert got.n == 20
        rejected += got.pvalue < 0.05
    assert rejected <= 30
    assert inference.pesaran_timmermann(z, z, horizon=10).pvalue < 1e-4


def test_confidence_set_keeps_the_best_and_drops_the_worse() -> None:
    rng = np.random.default_rng(3)
    base = rng.exponential(size=(300, 1))
    losses = pd.DataFrame(base + 0.3 * rng.exponential(size=(300, 3)), columns=["a", "b", "bad"])
    losses["bad"] += 0.4
    got = inference.model_confidence_set(losses)
    assert got.included == ("a", "b")
    assert got.pvalues["bad"] < 0.1
    assert got.n == 300


def test_confidence_set_survives_what_breaks_arch() -> None:
    rng = np.random.default_rng(4)
    a = rng.exponential(size=100)
    losses = pd.DataFrame({"a": a, "twin": a, "shifted": a + 1, "holes": a, "empty": nan, "other": a[::-1]})
    losses.loc[3, "holes"] = nan
    losses.loc[100] = nan  # no truth
    got = inference.model_confidence_set(losses)
    assert got.incomplete == ("holes", "empty")
    assert dict(got.alike) == {"twin": "a"}
    assert got.pvalues["twin"] == got.pvalues["a"]
    assert got.pvalues["shifted"] == 0
    assert got.included == ("a", "twin", "other")
    assert got.n == 100
    level = pd.DataFrame({"a": a, "rolled": np.roll(a, 50)})  # equal means
    assert inference.model_confidence_set(level).included == ("a", "rolled")
    assert inference.model_confidence_set(losses[["a"]]).included == ("a",)
    assert inference.model_confidence_set(losses[["a", "twin"]]).included == ("a", "twin")
    assert inference.model_confidence_set(losses[["empty"]]).included == ()
    assert inference.model_confidence_set(losses[["a", "other"]].head(1)).included == ("a", "other")


def test_confidence_set_repeats() -> None:
    losses = pd.DataFrame(np.random.default_rng(5).exponential(size=(80, 3)), columns=list("abc"))
    assert inference.model_confidence_set(losses, seed=1) == inference.model_confidence_set(losses, seed=1)


def walk(seed: int, phi: float, n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Levels and returns of a walk whose returns are AR(1)."""
    rng = np.random.default_rng(seed)
    r = np.zeros(n)
    for t in range(1, n):
        r[t] = phi * r[t - 1] + rng.normal()
    return 100 + np.cumsum(r), r


def test_yesterdays_price_is_called_by_its_name() -> None:
    level, _ = walk(0, 0.0)
    last, y = level[1:-1], level[2:]
    noise = np.random.default_rng(9).normal(scale=0.1, size=len(last))
    for forecast in (last, last + noise, 0.98 * last + 2):
        got = inference.shift_check(y, forecast, last)
        assert got.yesterday
        assert got.with_last > 0.9 > 0.2 > abs(got.with_truth)
        assert "is the last value" in got.text and "changes correlate" in got.text
    assert f"correlates {got.with_change:.2f} with what happened, p = {got.pvalue:.3f})" in got.text
    assert inference.shift_check(y, last, last).moves == 0
    assert "adds to the last value never varies" in inference.shift_check(y, last, last).text
    near = inference.shift_check(y, y + noise, last)
    assert not near.yesterday
    assert near.text.endswith(f"{near.with_truth:.2f} with those of the truth).")


def test_an_honest_forecast_near_the_last_price_is_not_called_so() -> None:
    level, r = walk(1, 0.5)
    last, y, forecast = level[1:-1], level[2:], level[1:-1] + 0.5 * r[1:-1]
    got = inference.shift_check(y, forecast, last)
    assert got.with_last > got.with_truth  # which alone would be the last value: what it adds decides
    assert got.pvalue < 1e-6
    assert not got.yesterday
    assert "not just" in got.text
    assert f"what it adds to the last value correlates {got.with_change:.2f} with what happened, p < 0.001" in got.text


def test_shift_check_with_nothing_to_see() -> None:
    level, _ = walk(2, 0.0, 50)
    got = inference.shift_check(level[1:], np.full(49, 100.0), level[:-1])
    assert math.isnan(got.with_last)
    assert not got.yesterday
    assert got.text == "The forecast never moves: the shift check has nothing to compare."
    got = inference.shift_check(np.full(49, 3.0), level[1:], np.full(49, 3.0))
    assert got.text == "The truth never moves; the last value never moves: the shift check has nothing to compare."
    got = inference.shift_check(level[1:], 0.1 * np.arange(49), level[:-1])
    assert got.text.startswith("The forecast always moves by the same amount:")
    assert "too little data" in inference.shift_check(level[:3], level[:3], level[:3]).text
    assert not inference.shift_check(level[:2], level[:2], level[:2]).yesterday
