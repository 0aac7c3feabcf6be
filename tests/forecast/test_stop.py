"""Intervals are pushed out by what the stop span shows; tests/forecast/test_train.py has those of direct forecasts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forecast
from forecast.config import Config
from forecast.stop import corrections
from pipelines.grid import Grid
from pipelines.panel import Panel


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


ROWS = 400  # of which 280 to train on and 60 to stop by


def beside(name: str) -> Panel:
    """A healthy series around 10 and one that ``name`` describes, whose training rows say nothing of its scale."""
    rng = np.random.default_rng(0)
    hours = np.arange(ROWS)
    wild = {
        "good": np.zeros(0),
        "still": np.where(hours < 280, 5.0, 5 + 1000 * np.sin(hours / 5)),
        "late": 1e5 * (10 + rng.normal(size=100)),
        "few": np.concatenate([10 + 1e-3 * np.arange(3), 10 + rng.normal(size=120)]),
    }[name]
    stamps = pd.date_range("2020-01-01", periods=ROWS, freq="h")
    good = 10 + np.sin(2 * np.pi * hours / 24) + np.random.default_rng(1).normal(0, 0.3, ROWS)
    parts = [pd.DataFrame({"unique_id": "good", "ds": stamps, "y": good})]
    if len(wild):
        parts.append(pd.DataFrame({"unique_id": name, "ds": stamps[-len(wild) :], "y": wild}))
    return Panel(pd.concat(parts, ignore_index=True), Grid("h"))


def fit_beside(name: str, **settings: object) -> tuple[forecast.Model, float, float]:
    """The model, its stop loss and the widest 90 % interval of the healthy series."""
    small = {"horizon": 2, "hidden": 4, "updates": 60, "threads": 1, "kind": "sensor"}
    model = forecast.fit(beside(name), Config.make(**{**small, **settings}))
    frame = model.predict().query("unique_id == 'good'")
    width = (frame[f"{model.name}-hi-90"] - frame[f"{model.name}-lo-90"]).max()
    return model, model.facts["training"]["best_stop_loss"], float(width)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="lstm"),
        pytest.param({"strategy": "recursive"}, id="recursive", marks=pytest.mark.slow),
        pytest.param({"core": "esn"}, id="esn"),
    ],
)
def test_a_series_without_a_scale_of_its_own_rules_no_other(settings: dict[str, object]) -> None:
    """Before, the loss here was 1e2 to 1e4, and 90 % of a series around 10 from -1e2 to 1e2 and wider."""
    alone, loss, width = fit_beside("good", **settings)
    assert alone.facts["left_out"] == [] == alone.facts["notes"]
    for name in ("still", "late", "few"):
        model, other_loss, other_width = fit_beside(name, **settings)
        assert other_loss < 3 * loss and other_width < 1.5 * width, name
        assert model.facts["left_out"] == [name]
        (note,) = model.facts["notes"]
        assert note.startswith(
            f"{name}: fewer than 10 values, or a spread of zero as data.scaler measures it, up to 2020"
        )


def test_a_panel_of_such_series_alone_is_stopped_by_them(make_panel: Callable[..., Panel]) -> None:
    hours = np.arange(ROWS)
    wild = np.where(hours < 280, 5.0, 5 + np.sin(hours / 5))
    model = forecast.fit(make_panel({"a": wild, "b": 2 * wild}, freq="h"), horizon=2, hidden=4, updates=20, threads=1)
    assert model.facts["left_out"] == [] and model.pipeline.fitted.unscaled == ("a", "b")
    assert np.isfinite(model.facts["training"]["best_stop_loss"])


def test_a_series_is_kept_where_the_others_have_no_target_in_the_stop_span(make_panel: Callable[..., Panel]) -> None:
    hours = np.arange(ROWS)
    ended = np.where(hours < 280, np.sin(hours / 4), np.nan)
    still = np.where(hours < 280, 5.0, 5 + np.sin(hours / 5))
    panel = make_panel({"ended": ended, "still": still}, freq="h")
    assert forecast.fit(panel, horizon=2, hidden=4, updates=20, threads=1).facts["left_out"] == []


@pytest.mark.slow
def test_who_was_left_out_is_said(tmp_path: Path) -> None:
    from forecast.run import run_fit

    config = Config.make(horizon=2, hidden=4, updates=20, threads=1, kind="sensor")
    run = run_fit(beside("late"), config, out=tmp_path / "run")
    (note,) = run.to_json()["notes"]
    assert note.startswith("late: ")
    assert "<li>late: fewer than 10 values" in (tmp_path / "run" / "report.html").read_text("utf-8")
    assert forecast.Model.load(tmp_path / "run").facts["notes"] == [note]
    assert forecast.Model.load(tmp_path / "run").pipeline.fitted.unscaled == ("late",)
    found = forecast.backtest(beside("late"), [config], test=40)
    assert any("training rows (hardly a value, or a spread of zero): late." in note for note in found.notes)
