"""The pipeline learns from training rows only, inverts exactly, and goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import DataError, TooShortError, UsageError, ValueRangeError
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline, missing_future
from pipelines.scale import Scaler
from pipelines.spec import PipelineSpec

SPECS = {
    "price": PipelineSpec(horizon=4, log=True, scale="volatility", unit="step"),
    "sensor": PipelineSpec(horizon=4, anchor="mean", context=30, features="both"),
    "robust": PipelineSpec(horizon=4, scaler="robust"),
    "minmax": PipelineSpec(horizon=4, scaler="minmax", calendar=False),
    "classic": PipelineSpec(horizon=4, anchor="none", unit="one", features="level", calendar=False, scaler="minmax"),
}
UNTIL = "2020-01-09"


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Three hourly series of different lengths, with holes, a past and a known-future covariate and a static one."""
    rng = np.random.default_rng(4)
    parts = []
    for i, n in enumerate((400, 250, 331)):
        y = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
        y[rng.choice(np.arange(5, n - 5), 6, replace=False)] = np.nan
        stamps = pd.date_range("2020-01-01", periods=n, freq="h")
        temp = rng.normal(size=n)
        temp[:3] = np.nan
        parts.append(
            pd.DataFrame(
                {"unique_id": f"s{i}", "ds": stamps, "y": y, "temp": temp, "open": rng.random(n) < 0.5, "size": i}
            )
        )
    return Panel(pd.concat(parts), Grid("h"), {"temp": "past", "open": "future", "size": "static"})


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_fitted_state_depends_on_training_rows_only(panel: Panel, spec: PipelineSpec) -> None:
    """Bitwise: rows behind the training span replaced by noise, by NaN, or gone."""
    fitted = json.dumps(Pipeline(spec).fit(panel, UNTIL).to_json())
    late = panel.frame["ds"] > UNTIL
    for noise in (1e6, np.nan):
        frame = panel.frame.copy()
        frame.loc[late, ["y", "temp", "open"]] = noise
        assert json.dumps(Pipeline(spec).fit(replace(panel, frame=frame), UNTIL).to_json()) == fitted
    assert json.dumps(Pipeline(spec).fit(panel.up_to(UNTIL), UNTIL).to_json()) == fitted
    early = panel.frame.copy()
    early.loc[~late, "y"] *= 1 + 0.01 * np.arange(int((~late).sum())) % 3
    assert json.dumps(Pipeline(spec).fit(replace(panel, frame=early), UNTIL).to_json()) != fitted


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_inversion_is_exact_at_every_origin(panel: Panel, spec: PipelineSpec) -> None:
    pipeline = Pipeline(spec).fit(panel, UNTIL)
    prepared = pipeline.transform(panel)
    for i, name in enumerate(panel.ids):
        y = panel.column("y")[panel.offsets[i] : panel.offsets[i + 1]]
        origin = np.arange(len(y) - 4)
        future = np.stack([y[origin + h] for h in range(1, 5)], axis=1)
        rows, series = prepared.offsets[i] + origin, np.full(len(origin), i)
        anchor, scale = prepared.anchor[rows], prepared.scale[rows]
        residual = pipeline.residual(future, anchor, scale, series)
        back = pipeline.invert(residual, anchor, scale, series)
        seen = ~np.isnan(future)
        assert np.abs(back[seen] / future[seen] - 1).max() < 1e-9, name


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@settings(max_examples=5)
@given(cut=st.integers(1, 249))
def test_advance_equals_transform(panel: Panel, spec: PipelineSpec, cut: int) -> None:
    pipeline = Pipeline(spec).fit(panel, UNTIL)
    whole = pipeline.transform(panel)
    stamp = panel.ds[cut - 1]
    head = pipeline.transform(panel.up_to(stamp))
    tail = replace(panel, frame=panel.frame[panel.frame["ds"] > stamp])
    rest = pipeline.advance(tail, head.state)
    for i in range(3):
        n = int(whole.lengths[i]) - cut
        for name in ("x", "anchor", "scale", "observed"):
            full = getattr(whole, name)[whole.offsets[i] + cut : whole.offsets[i] + cut + n]
            assert np.array_equal(full, getattr(rest, name)[rest.offsets[i] : rest.offsets[i] + n]), name
    assert all(np.array_equal(whole.state[name], rest.state[name]) for name in whole.state)


def test_features_are_scaled_by_training_rows(panel: Panel) -> None:
    pipeline = Pipeline(SPECS["sensor"]).fit(panel, UNTIL)
    prepared = pipeline.transform(panel.up_to(UNTIL))
    rows = np.concatenate([np.arange(a, a + n) for a, n in zip(prepared.offsets, prepared.lengths, strict=True)])
    other = [i for i, name in enumerate(pipeline.feature_names) if name != "level"]  # scaled where it is observed
    assert prepared.x[rows][:, other].mean(axis=0) == pytest.approx(np.zeros(len(other)), abs=1e-3)
    spread = prepared.x[rows].std(axis=0)
    assert spread == pytest.approx(np.ones(len(spread)), abs=0.05)
    assert prepared.x.shape[1] == len(pipeline.feature_names)


def test_the_classic_reads_and_predicts_scaled_values(panel: Panel) -> None:
    spec = PipelineSpec(horizon=4, anchor="none", unit="one", features="level", calendar=False, scaler="minmax")
    pipeline = Pipeline(spec).fit(panel, UNTIL)
    prepared = pipeline.transform(panel)
    train = prepared.x[: int(panel.up_to(UNTIL).lengths[0])]
    assert set(pipeline.feature_names) - {"elapsed", "open:now"} <= {"level", "temp:level"}
    assert (float(train[:, 0].min()), float(train[:, 0].max())) == pytest.approx((0.0, 1.0))
    assert not prepared.anchor.any() and np.array_equal(prepared.unit, np.ones(4))
    y = panel.column("y")[:1][:, None].repeat(4, axis=1)
    zeros, where = np.zeros(1), np.zeros(1, np.int64)
    z = pipeline.residual(y, zeros, np.ones(1), where)
    assert z[0, 0] == pytest.approx(prepared.x[0, 0], abs=1e-6)  # the target is what the net reads, a step later
    assert pipeline.invert(z, zeros, np.ones(1), where) == pytest.approx(y)


def test_outliers_are_clipped(panel: Panel) -> None:
    frame = panel.frame.copy()
    frame.loc[300, "y"] = 1e9
    pipeline = Pipeline(SPECS["sensor"]).fit(panel, UNTIL)
    assert np.abs(pipeline.transform(replace(panel, frame=frame)).x).max() == 10.0


def test_elapsed_time_is_a_feature_where_values_are_missing(panel: Panel, make_panel) -> None:
    pipeline = Pipeline(SPECS["sensor"]).fit(panel, UNTIL)
    assert "elapsed" in pipeline.feature_names
    assert "elapsed" not in Pipeline(SPECS["sensor"]).fit(make_panel(np.arange(60.0))).feature_names


def test_a_series_that_begins_later_is_scaled_like_the_others(make_panel) -> None:
    rng = np.random.default_rng(0)
    early = make_panel({"a": rng.normal(5, 2, 200), "b": rng.normal(9, 2, 200)}, freq="h").frame
    late = make_panel({"c": rng.normal(7, 2, 50)}, freq="h", start="2020-01-08").frame
    panel = Panel(pd.concat([early.astype({"unique_id": str}), late.astype({"unique_id": str})]), Grid("h"))
    scaler = Pipeline(PipelineSpec(horizon=2)).fit(panel, "2020-01-07").fitted.values["y"]
    assert scaler.center[2] == pytest.approx(np.median(scaler.center[:2]))


def test_series_without_a_scale_of_their_own_are_named(make_panel) -> None:
    rng = np.random.default_rng(0)
    blip = np.full(50, 7.0)
    blip[20] = 8.0
    series = {"still": np.full(50, 7.1), "blip": blip, "good": rng.normal(size=50) * 1e-9, "gone": np.full(50, np.nan)}
    series["nine"] = np.where(np.arange(50) < 9, rng.normal(size=50), np.nan)
    series["ten"] = np.where(np.arange(50) < 10, rng.normal(size=50), np.nan)
    panel = make_panel(series, freq="h")
    spec = PipelineSpec(horizon=2)
    pipeline = Pipeline(spec).fit(panel)
    assert pipeline.fitted.unscaled == ("still", "gone", "nine")
    assert Pipeline.from_json(json.loads(json.dumps(pipeline.to_json()))).fitted.unscaled == ("still", "gone", "nine")
    assert Pipeline(replace(spec, scaler="robust")).fit(panel).fitted.unscaled == ("still", "blip", "gone", "nine")
    assert Pipeline(replace(spec, scaler="none")).fit(panel).fitted.unscaled == ()
    old = pipeline.to_json()
    del old["fitted"]["unscaled"]
    assert Pipeline.from_json(old).fitted.unscaled == ()


def test_json_round_trip(panel: Panel) -> None:
    pipeline = Pipeline(SPECS["price"]).fit(panel, UNTIL)
    again = Pipeline.from_json(json.loads(json.dumps(pipeline.to_json())))
    assert np.array_equal(again.transform(panel).x, pipeline.transform(panel).x)
    with pytest.raises(DataError, match="schema 7"):
        Pipeline.from_json({**pipeline.to_json(), "schema": 7})


def test_a_missing_static_covariate_is_the_mean(make_panel) -> None:
    parts = [
        make_panel({name: np.arange(60.0)}).frame.astype({"unique_id": str}).assign(altitude=altitude)
        for name, altitude in (("a", 1000.0), ("b", 1010.0), ("c", np.nan))
    ]
    panel = Panel(pd.concat(parts), Grid("D"), {"altitude": "static"})
    prepared = Pipeline(PipelineSpec(horizon=2)).fit(panel).transform(panel)
    assert prepared.static[:, 0].tolist() == [-1.0, 1.0, 0.0]


def test_a_logarithm_of_nothing(make_panel) -> None:
    values = np.arange(1.0, 60)
    values[20] = 0
    with pytest.raises(ValueRangeError, match="is 0 at 2020-01-21"):
        Pipeline(SPECS["price"]).fit(make_panel(values))


def test_unfitted_and_unknown(panel: Panel, make_panel) -> None:
    with pytest.raises(UsageError, match="not fitted"):
        Pipeline(SPECS["price"]).transform(panel)
    fitted = Pipeline(SPECS["robust"]).fit(make_panel(np.arange(50.0)))
    with pytest.raises(UsageError, match="is none of those fitted: a"):
        fitted.transform(make_panel({"zz": np.arange(50.0)}))


def test_too_short(make_panel) -> None:
    with pytest.raises(TooShortError, match="needs at least 6"):
        Pipeline(SPECS["price"]).fit(make_panel(np.arange(1.0, 5)))
    with pytest.raises(UsageError, match="horizon"):
        PipelineSpec(horizon=0)


def test_missing_future_names_what_lacks() -> None:
    last = {"a": pd.Timestamp("2020-01-01 10:00")}
    rows = pd.DataFrame(
        {"unique_id": ["a", "a"], "ds": pd.to_datetime(["2020-01-01 11:00", "2020-01-01 12:00"]), "h": [1.0, np.nan]}
    )
    lacking = missing_future(Grid("h"), last, rows, ["h"], 3)
    assert [stamp.hour for _, stamp, _ in lacking] == [12, 13]
    assert missing_future(Grid("h"), last, None, [], 3) == []


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax", "none"])
def test_scalers_invert(kind) -> None:
    values = np.random.default_rng(0).normal(3, 5, (100, 4))
    values[5, 2] = np.nan
    scaler = Scaler.fit(values, kind)
    again = Scaler.from_json(json.loads(json.dumps(scaler.to_json())))
    np.testing.assert_allclose(again.invert(again.apply(values)), values, rtol=1e-12)


def test_scalers_agree_with_scikit_learn() -> None:
    from sklearn.preprocessing import RobustScaler, StandardScaler

    values = np.random.default_rng(0).normal(3, 5, (100, 4))
    np.testing.assert_allclose(Scaler.fit(values).apply(values), StandardScaler().fit_transform(values))
    np.testing.assert_allclose(
        Scaler.fit(values, "robust").apply(values), RobustScaler(unit_variance=True).fit_transform(values)
    )


def test_constant_and_empty_columns_get_unit_one() -> None:
    scaler = Scaler.fit(np.array([[1e9, np.nan], [1e9, np.nan]]))
    assert scaler.unit.tolist() == [1.0, 1.0]
    assert scaler.center.tolist() == [1e9, 0.0]


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
@pytest.mark.parametrize("factor", [2.0**-43, 2.0**-60, 2.0**-600, 2.0**40])
def test_units_make_no_difference_to_a_scaler(kind, factor: float) -> None:
    values = np.random.default_rng(0).normal(3, 5, (100, 4))
    values[5, 2] = np.nan
    values[:, 3] = 0.1  # constant
    usual, other = Scaler.fit(values, kind), Scaler.fit(values * factor, kind)
    assert (other.center == usual.center * factor).all()
    assert (other.unit[:3] == usual.unit[:3] * factor).all()
    if kind != "robust":  # scikit-learn's is 1 / 1.35 there
        assert usual.unit[3] == other.unit[3] == 1.0


def test_small_numbers_that_only_rounding_makes_are_constant() -> None:
    noise = np.cos(np.pi * np.arange(101) + np.pi / 2)[:, None]  # 1e-16 to 1e-13
    assert Scaler.fit(noise, size=1.0).unit.tolist() == [1.0]
    assert Scaler.fit(noise).unit[0] < 1e-12, "a column that is no more than that is one in small units"
    assert Scaler.fit(1.0 + noise / 1000).unit.tolist() == [1.0]


@pytest.mark.parametrize("scaler", ["standard", "none"])
def test_small_units_give_the_same_residuals(make_panel, scaler) -> None:
    y = np.sin(np.arange(200) / 4) + np.random.default_rng(0).normal(0, 0.1, 200)
    spec = PipelineSpec(horizon=3, scaler=scaler)
    found = []
    for factor in (1.0, 1e-13):
        panel = make_panel(factor * y, freq="h")
        pipeline = Pipeline(spec).fit(panel)
        prepared = pipeline.transform(panel)
        ahead = factor * (y[:150, None] + np.zeros(3))
        at = slice(20, 170)
        found.append(pipeline.residual(ahead, prepared.anchor[at], prepared.scale[at], np.zeros(150, np.int64)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6, atol=1e-9)


def test_an_unknown_scaler() -> None:
    with pytest.raises(UsageError, match="Did you mean 'standard'"):
        Scaler.fit(np.ones((3, 1)), "standart")  # type: ignore[arg-type]


def test_volatility_and_cycles_beyond_the_shortest_can_be_left_out(make_panel) -> None:
    panel = make_panel(np.sin(np.arange(200) / 4) + 3, freq="h")
    everything = Pipeline(PipelineSpec(horizon=4)).fit(panel).feature_names
    fewer = Pipeline(PipelineSpec(horizon=4, volatility=False, calendar="shortest")).fit(panel).feature_names
    assert set(everything) - set(fewer) == {"volatility", "weekday:sin", "weekday:cos"}
    assert "hour:sin" in fewer
