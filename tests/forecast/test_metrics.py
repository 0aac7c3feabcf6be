"""Metrics: by hand on small arrays, equal to utilsforecast where it is right, and not fooled where it is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from utilsforecast import losses

from forecast import metrics
from pipelines.errors import UsageError
from pipelines.panel import Panel

nan, inf = np.nan, np.inf


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two series, three cutoffs, two steps; model A with an 80 % and a 50 % interval, model B a point."""
    rng = np.random.default_rng(0)
    rows = []
    for name, unit in (("x", 1.0), ("z", 50.0)):
        for origin in range(3):
            cutoff = pd.Timestamp("2021-01-01") + pd.Timedelta(days=origin)
            for step in (1, 2):
                y, f, g = unit * (5 + rng.normal(size=3))
                rows.append((name, cutoff + pd.Timedelta(days=step), cutoff, y, unit * 5, f, g))
    out = pd.DataFrame(rows, columns=["unique_id", "ds", "cutoff", "y", "last", "A", "B"])
    spread = np.where(out["unique_id"] == "x", 1.0, 50.0)
    for level, wide in ((80, 1.3), (50, 0.7)):
        out[f"A-lo-{level}"], out[f"A-hi-{level}"] = out["A"] - wide * spread, out["A"] + wide * spread
    return out


def one(table: pd.DataFrame, model: str) -> pd.Series:
    (row,) = (row for _, row in table[table["model"] == model].iterrows())
    return row


def test_columns_are_told_apart(frame: pd.DataFrame) -> None:
    assert metrics.models_of(frame) == ["A", "B"]
    assert metrics.levels(frame, "A") == (50, 80)
    assert metrics.levels(frame, "B") == ()
    assert metrics.quantiles(frame, "A") == {0.1: "A-lo-80", 0.25: "A-lo-50", 0.5: "A", 0.75: "A-hi-50", 0.9: "A-hi-80"}
    assert_array_equal(metrics.steps(frame), [1, 2] * 6)


def test_pooled_scores_by_hand(frame: pd.DataFrame) -> None:
    table = metrics.score(frame)
    assert list(table["model"]) == ["A", "B"]
    row, error = one(table, "A"), (frame["y"] - frame["A"]).to_numpy()
    assert (row["n"], row["missing"]) == (12, 0)
    assert_allclose(row["mae"], np.abs(error).mean())
    assert_allclose(row["rmse"], np.sqrt((error**2).mean()))
    assert_allclose(row["smape"], (np.abs(error) / (frame["y"].abs() + frame["A"].abs())).mean())
    inside = (frame["A-lo-80"] <= frame["y"]) & (frame["y"] <= frame["A-hi-80"])
    assert_allclose(row["coverage_80"], inside.mean())
    assert_allclose(row["width_80"], (frame["A-hi-80"] - frame["A-lo-80"]).mean())
    right = np.sign(frame["y"] - frame["last"]) == np.sign(frame["A"] - frame["last"])
    assert_allclose(row["direction"], right.mean())
    columns = metrics.quantiles(frame, "A")
    loss = {q: metrics.pinball(frame["y"].to_numpy(), frame[c].to_numpy(), q).mean() for q, c in columns.items()}
    assert_allclose(row["pinball"], np.mean(list(loss.values())))
    cells = [0.175, 0.2, 0.25, 0.2, 0.175]
    assert_allclose(row["crps"], 2 * sum(w * v for w, v in zip(cells, loss.values(), strict=True)))


def test_a_point_forecast_has_the_crps_of_its_error(frame: pd.DataFrame) -> None:
    row = one(metrics.score(frame), "B")
    assert_allclose(row["crps"], row["mae"])
    assert_allclose(row["pinball"], row["mae"] / 2)
    assert np.isnan(row["coverage_80"])


def test_by_series_equals_utilsforecast(frame: pd.DataFrame) -> None:
    table = metrics.score(frame, ["A", "B"], by=["unique_id"]).pivot(index="unique_id", columns="model", values="rmse")
    want = losses.rmse(frame.drop(columns="cutoff"), ["A", "B"]).set_index("unique_id")
    assert_allclose(table[["A", "B"]], want)


def test_mase_and_rmsse_equal_utilsforecast(frame: pd.DataFrame, make_panel: Callable[..., Panel]) -> None:
    rng = np.random.default_rng(1)
    train = make_panel({"x": rng.normal(size=40), "z": 50 * rng.normal(size=30)})
    scale = metrics.naive_scale(train, season=7)
    table = metrics.score(frame, ["A"], by=["unique_id"], scale=scale).set_index("unique_id")
    plain = frame.drop(columns="cutoff")
    history = train.frame.astype({"unique_id": str})
    for ours, theirs in (("mase", losses.mase), ("rmsse", losses.rmsse)):
        want = theirs(plain, ["A"], seasonality=7, train_df=history).set_index("unique_id")["A"]
        assert_allclose(table[ours], want)


def test_by_step(frame: pd.DataFrame) -> None:
    table = metrics.score(frame, ["A"], by=["step"])
    assert list(table["step"]) == [1, 2]
    for step in (1, 2):
        part = frame[metrics.steps(frame) == step]
        assert_allclose(table.set_index("step").loc[step, "mae"], (part["y"] - part["A"]).abs().mean())
    both = metrics.score(frame, by=["unique_id", "step"])
    assert len(both) == 2 * 2 * 2
    assert both["n"].eq(3).all()


def test_a_missing_forecast_counts_and_is_shown(frame: pd.DataFrame) -> None:
    frame.loc[4, "A"] = nan
    row = one(metrics.score(frame), "A")
    assert (row["n"], row["missing"]) == (12, 1)
    assert np.isnan([row["mae"], row["rmse"], row["crps"], row["coverage_80"], row["direction"]]).all()
    assert one(metrics.score(frame), "B")["missing"] == 0
    skipped = one(metrics.score(frame, missing="skip"), "A")
    assert skipped["missing"] == 1
    assert_allclose(skipped["mae"], (frame["y"] - frame["A"]).abs().mean())
    by_step = metrics.score(frame, ["A"], by=["step"])
    assert_array_equal(by_step["missing"], [1, 0])
    assert_array_equal(by_step["mae"].isna(), [True, False])
    frame.loc[7, "A-lo-80"] = nan  # half an interval is no interval
    assert one(metrics.score(frame), "A")["missing"] == 2


def test_a_missing_truth_is_not_scored(frame: pd.DataFrame) -> None:
    frame.loc[[0, 3], "y"] = nan
    row = one(metrics.score(frame), "A")
    assert (row["n"], row["missing"]) == (10, 0)
    assert_allclose(row["mae"], (frame["y"] - frame["A"]).abs().mean())
    with pytest.raises(UsageError, match="known truth"):
        metrics.score(frame.assign(y=nan))


def test_a_constant_series_has_no_mase(frame: pd.DataFrame, make_panel: Callable[..., Panel]) -> None:
    train = make_panel({"x": np.full(40, 3.0), "z": np.arange(40.0)})
    scale = metrics.naive_scale(train, season=1)
    assert_array_equal(scale["mae"], [nan, 1.0])
    table = metrics.score(frame, ["A"], by=["unique_id"], scale=scale).set_index("unique_id")
    assert np.isnan(table.loc["x", "mase"])
    assert table.loc["z", "mase"] == pytest.approx(table.loc["z", "mae"])
    assert list(table["unscaled"]) == [1, 0]
    pooled = one(metrics.score(frame, ["A"], scale=scale), "A")
    assert pooled["unscaled"] == 1
    assert pooled["mase"] == pytest.approx(table.loc["z", "mase"])


def test_steps_are_counted_before_rows_without_a_truth_are_left_out() -> None:
    stamps = pd.date_range("2021-01-01", periods=6, freq="D")
    cutoff = np.repeat(stamps[:4], 2)
    ds = cutoff + pd.to_timedelta(np.tile([1, 2], 4), unit="D")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "cutoff": cutoff, "y": np.tile([1.0, 5.0], 4), "A": 0.0})
    frame.loc[[0, 2], "y"] = nan
    table = metrics.score(frame, by=["step"]).set_index("step")
    assert table["n"].tolist() == [2, 4] and table["mae"].tolist() == [1.0, 5.0]
    assert metrics.calibration(frame, "A", by=["step"]).set_index("step")["n"].tolist() == [2, 4]


def test_a_series_too_short_for_its_season_is_measured_by_the_naive_forecast(make_panel: Callable[..., Panel]) -> None:
    scale = metrics.naive_scale(make_panel({"a": [1.0, nan, 4.0, 4.0], "b": [1.0, 2.0]}), season=2)
    assert_allclose(scale[["mae", "rmse"]], [[3, 3], [1, 1]])
    with pytest.raises(UsageError):
        metrics.naive_scale(make_panel([1.0, 2.0]), season=0)


def test_infinite_widths_are_reported(frame: pd.DataFrame) -> None:
    frame.loc[0, ["A-lo-80", "A-hi-80"]] = [-inf, inf]
    row = one(metrics.score(frame), "A")
    assert row["width_80"] == inf
    assert row["infinite_80"] == pytest.approx(1 / 12)
    assert np.isfinite(row["width_50"])


def test_crps_from_quantiles_approaches_the_normal_closed_form() -> None:
    y = np.linspace(-2, 2, 9)
    q = (np.arange(200) + 0.5) / 200
    grid = np.broadcast_to(stats.norm.ppf(q), (9, 200))
    want = y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi)
    assert_allclose(metrics.crps(y, grid, q), want, atol=2e-3)


def test_direction_by_hand() -> None:
    y = np.array([2.0, 0.0, 1.0, 2.0, nan, 2.0])
    f = np.array([3.0, 3.0, 3.0, 1.0, 3.0, nan])
    assert_array_equal(metrics.direction(y, f, np.ones(6)), [1, 0, nan, 0.5, nan, nan])


def test_calibration_of_a_calibrated_and_of_an_overconfident_model() -> None:
    rng = np.random.default_rng(2)
    n = 20_000
    y = rng.normal(size=n)
    stamps = pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(n), unit="h")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "cutoff": stamps - pd.Timedelta(hours=1), "y": y})
    for name, wide in (("good", 1.0), ("narrow", 0.5)):
        frame[name] = 0.0
        frame[f"{name}-lo-90"], frame[f"{name}-hi-90"] = wide * stats.norm.ppf([0.05, 0.95])
    good = metrics.calibration(frame, "good")
    assert_allclose(good["observed"], good["quantile"], atol=0.01)
    narrow = metrics.calibration(frame, "narrow").set_index("quantile")["observed"]
    assert narrow[0.05] > 0.15
    assert narrow[0.95] < 0.85
    assert list(metrics.calibration(frame.head(4), "good", by=["step"])["n"]) == [4, 4, 4]


def test_wrong_calls_say_so(frame: pd.DataFrame) -> None:
    with pytest.raises(UsageError, match="Did you mean 'AB'"):
        metrics.score(frame.rename(columns={"A": "AB"}), ["ABC"])
    with pytest.raises(UsageError, match="lacks column 'cutoff'"):
        metrics.score(frame.drop(columns="cutoff"))
    with pytest.raises(UsageError, match="cannot score by"):
        metrics.score(frame, by=["ds"])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="neither"):
        metrics.score(frame, missing="drop")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no model"):
        metrics.score(frame[["unique_id", "ds", "cutoff", "y"]])
