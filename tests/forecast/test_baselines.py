"""Baselines: right by definition, causal, and equal to statsmodels where they lean on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from forecast import baselines
from forecast.baselines import ETS, Drift, HistoricalMean, Naive, SeasonalNaive, Theta
from pipelines.errors import UsageError
from pipelines.panel import Panel

nan = np.nan
MakePanel = Callable[..., Panel]


@pytest.fixture
def two(make_panel: MakePanel) -> Panel:
    return make_panel({"a": [1, 2, nan, 4, 5, nan], "b": [nan, 10, 30, nan]})


def test_naive_repeats_the_last_observed_value(two: Panel) -> None:
    got = Naive().fit(two).predict(two, np.array([0, 2, 5, 6, 9]), 2)
    assert_array_equal(got, [[1, 1], [2, 2], [5, 5], [nan, nan], [30, 30]])


def test_drift_runs_through_first_and_last(two: Panel) -> None:
    got = Drift().fit(two).predict(two, np.array([0, 3, 5, 6, 7, 9]), 2)
    # at row 5 the last value is one step old; at row 9 of series b two points, 20 a step, one step old
    assert_allclose(got, [[1, 1], [5, 6], [7, 8], [nan, nan], [10, 10], [70, 90]])


def test_mean_counts_observed_values_only(two: Panel) -> None:
    got = HistoricalMean().predict(two, np.array([2, 5, 6, 9]), 1)[:, 0]
    assert_allclose(got, [1.5, 3.0, nan, 20.0])


def test_seasonal_naive_by_definition(make_panel: MakePanel) -> None:
    rng = np.random.default_rng(3)
    y = {name: rng.normal(size=n) for name, n in (("a", 40), ("b", 23))}
    for column in y.values():
        column[rng.random(len(column)) < 0.3] = nan
    panel, season, horizon = make_panel(y), 5, 12
    rows = np.arange(len(panel))
    got = SeasonalNaive(season).predict(panel, rows, horizon)

    want = np.full((len(panel), horizon), nan)
    for name, low, high in (("a", 0, 40), ("b", 40, 63)):
        column = y[name]
        for t in range(high - low):
            for k in range(1, horizon + 1):
                same = [s for s in range(t + 1) if (t + k - s) % season == 0 and not np.isnan(column[s])]
                seen = [s for s in range(t + 1) if not np.isnan(column[s])]
                if same or seen:
                    want[low + t, k - 1] = column[(same or seen)[-1]]
    assert_array_equal(got, want)


def test_the_season_comes_from_the_grid(sensors: Panel) -> None:
    rows = sensors.offsets[1:] - 1
    assert_array_equal(SeasonalNaive().predict(sensors, rows, 30), SeasonalNaive(24).predict(sensors, rows, 30))


ALL = ["naive", "drift", "seasonal naive", "mean", "ETS", "Theta"]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("poison", [1e6, nan])
def test_the_future_cannot_reach_a_forecast(sensors: Panel, name: str, poison: float) -> None:
    train = sensors.select(["s1", "s2"]).up_to("2020-01-09 00:00")
    panel = sensors.select(["s1", "s2"])
    model = baselines.make(name, season=24).fit(train)
    rows = np.array([150, 200, 220, 400 + 199, 400 + 215])
    cut = {0: 220, 1: 400 + 215}
    y = panel.column("y").copy()
    y[cut[0] + 1 : 400] = poison
    y[cut[1] + 1 :] = poison
    changed = replace(panel, frame=panel.frame.assign(y=y))
    assert_array_equal(model.predict(panel, rows, 30), model.predict(changed, rows, 30))
    for row in rows:  # one origin at a time, on history that ends there
        stamp = panel.ds[row]
        alone = panel.select([panel.ids[int(row >= 400)]]).up_to(stamp)
        if alone.ds[0] <= train.ds[0]:
            want = model.predict(alone, np.array([len(alone) - 1]), 30)
            assert_allclose(model.predict(panel, np.array([row]), 30), want, rtol=1e-12)


@pytest.mark.parametrize("season", [1, 12])
def test_ets_continues_statsmodels(make_panel: MakePanel, season: int) -> None:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    rng = np.random.default_rng(4)
    t = np.arange(120)
    y = 50 + 0.3 * t + 5 * np.sin(2 * np.pi * t / 12) + rng.normal(size=120)
    panel = make_panel(y, freq="MS")
    cycle = {"seasonal": "add", "seasonal_periods": 12} if season > 1 else {}
    model = ETSModel(
        y[:100], error="add", trend="add", damped_trend=True, initialization_method="heuristic", **cycle
    ).fit(disp=False)
    ours = ETS(season).fit(panel.up_to(str(panel.frame["ds"][99])))
    assert_allclose(ours.predict(panel, np.array([99]), 20)[0], model.forecast(20), rtol=1e-3)
    # with our own parameters at a later origin, equal to statsmodels' filter over all of it
    _, (_, initial, params, _) = ours.models["a"]
    later = ETSModel(
        y[:115], error="add", trend="add", damped_trend=True, initialization_method="known", **cycle, **initial
    ).smooth(params)
    assert_allclose(ours.predict(panel, np.array([114]), 20)[0], later.forecast(20), rtol=1e-9)


@pytest.mark.parametrize(("season", "offset"), [(1, 0), (12, 50), (12, -50)])
def test_theta_continues_statsmodels(make_panel: MakePanel, season: int, offset: float) -> None:
    from statsmodels.tsa.forecasting.theta import ThetaModel

    rng = np.random.default_rng(5)
    t = np.arange(100)
    y = offset + 0.3 * t + 5 * np.sin(2 * np.pi * t / 12) + rng.normal(size=100)
    panel = make_panel(np.concatenate([y, rng.normal(size=5)]), freq="MS")
    want = ThetaModel(y, period=12, deseasonalize=season > 1).fit().forecast(17)
    ours = Theta(season).fit(panel.up_to(str(panel.frame["ds"][99])))
    assert_allclose(ours.predict(panel, np.array([99]), 17)[0], want, rtol=1e-6)


def test_short_and_constant_series_get_the_naive_forecast(make_panel: MakePanel) -> None:
    panel = make_panel({"long": np.sin(np.arange(60.0)), "short": [1.0, 2.0, 3.0], "flat": np.full(60, 7.0)})
    for model in (ETS(1).fit(panel), Theta(1).fit(panel)):
        assert model.short == ("short", "flat")
        got = model.predict(panel, np.array([62, 122]), 2)
        assert_array_equal(got, [[3, 3], [7, 7]])


def test_a_history_that_begins_too_late_is_refused(random_walk: Panel) -> None:
    model = ETS().fit(random_walk)
    tail = replace(random_walk, frame=random_walk.frame.iloc[100:])
    with pytest.raises(UsageError, match="lacks"):
        model.predict(tail, np.array([50]), 3)


def test_unknown_series_name_and_rows_are_refused(random_walk: Panel, make_panel: MakePanel) -> None:
    with pytest.raises(UsageError, match="not in the panel of fit"):
        ETS().fit(random_walk).predict(make_panel({"z": np.arange(20.0)}), np.array([3]), 1)
    with pytest.raises(UsageError, match="Did you mean 'drift'"):
        baselines.make("drif")
    for rows, horizon in (([600], 1), ([-1], 1), ([[0]], 1), ([0], 0)):
        with pytest.raises(UsageError):
            Naive().predict(random_walk, np.array(rows), horizon)


def test_names_are_forgiving() -> None:
    assert baselines.make("Seasonal_Naive", 7) == SeasonalNaive(7)
    assert [baselines.make(name).name for name in baselines.names()] == ALL
    assert set(baselines.ALWAYS) < set(baselines.names())
