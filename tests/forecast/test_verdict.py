"""Verdict: the right label on frames whose truth is known, and never skill out of nothing."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from forecast import evidence, metrics, verdict
from pipelines.errors import UsageError

nan = np.nan


def returns(seed: int, phi: float, n: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    r = np.zeros(n)
    for t in range(1, n):
        r[t] = phi * r[t - 1] + rng.normal()
    return r


def walk_frame(seed: int, phi: float, n: int = 1000) -> pd.DataFrame:
    """One-step forecasts of a walk with AR(1) returns by naive and drift, and by a least-squares AR(1).

    The regression is fitted on the first 700 rows; the frame holds all origins.
    """
    r = returns(seed, phi, n)
    y = 100 + np.cumsum(r)
    slope = float(r[1:699] @ r[2:700] / (r[1:699] @ r[1:699]))
    stamps = pd.date_range("2015-01-01", periods=n, freq="D")
    t = np.arange(1, n - 1)
    return pd.DataFrame(
        {
            "unique_id": "a",
            "ds": stamps[t + 1],
            "cutoff": stamps[t],
            "step": 1,
            "y": y[t + 1],
            "naive": y[t],
            "drift": y[t] + (y[t] - y[0]) / t,
            "AR": y[t] + slope * r[t],
        }
    )


def judged(frame: pd.DataFrame) -> verdict.Comparison:
    start = frame["ds"].iloc[698]
    baseline = verdict.strongest_baseline(frame, ["naive", "drift"], before=start)
    (out,) = verdict.compare(frame[frame["ds"] >= start], ["AR"], baseline)
    return out


def test_random_walks_show_no_skill() -> None:
    labels = [judged(walk_frame(seed, 0.0)).verdict["label"] for seed in range(100)]
    assert labels.count("skill") <= 5


def test_predictable_returns_show_skill() -> None:
    labels = [judged(walk_frame(seed, 0.5)).verdict["label"] for seed in range(100)]
    assert labels.count("skill") >= 95


def test_a_bad_model_is_worse_than_naive() -> None:
    frame = walk_frame(0, 0.0)
    frame["AR"] = frame["naive"] + 1.5 * frame["naive"].diff().fillna(0)
    got = judged(frame)
    assert got.verdict["label"] == "worse than naive"
    assert got.loss > got.baseline_loss
    assert "AR is worse than" in got.verdict["text"]


def test_the_line_a_person_can_repeat() -> None:
    line = verdict.verdict("LSTM", "naive", 0.988, 1.0, 0.34, origins=300, adjusted=True)
    assert line == {
        "label": "no skill",
        "text": "LSTM beats naive by 1.2 % MAE; not significant (DM p = 0.34, Holm); treat as no skill.",
    }
    line = verdict.verdict("LSTM", "drift", 0.9, 1.0, 1e-5, origins=300)
    assert line == {"label": "skill", "text": "LSTM beats drift by 10.0 % MAE; significant (DM p < 0.001)."}


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"pvalue": nan}, "no skill"),
        ({"pvalue": 0.05}, "no skill"),
        ({"pvalue": 0.001}, "skill"),
        ({"pvalue": 0.001, "missing": 1}, "no skill"),
        ({"pvalue": nan, "missing": 100, "origins": 0}, "no skill"),
        ({"pvalue": 0.001, "loss": nan}, "no skill"),
        ({"pvalue": 0.001, "loss": 1.0}, "no skill"),
        ({"pvalue": 0.001, "loss": 1.1}, "worse than naive"),
        ({"pvalue": 0.2, "loss": 1.1}, "no skill"),
        ({"pvalue": 0.001, "origins": 19}, "too little data"),
        ({"pvalue": 0.001, "origins": 79, "overlap": 10}, "too little data"),
        ({"pvalue": 0.001, "origins": 80, "overlap": 10}, "skill"),
        # a series that never moved: there was nothing to forecast
        ({"pvalue": 0.001, "loss": 1.1, "baseline_loss": 0.0}, "no skill"),
    ],
)
def test_labels(options: dict[str, float], label: str) -> None:
    given = {"loss": 0.9, "baseline_loss": 1.0, "origins": 300, **options}
    got = verdict.verdict("M", "naive", **given)  # type: ignore[arg-type]
    assert got["label"] == label
    assert "\n" not in got["text"]


def test_what_was_left_out_everywhere_is_not_too_little_data() -> None:
    frame = panel_frame(np.random.default_rng(0), 0.8)
    frame.loc[frame["unique_id"] == "b", "M"] = nan
    (got,) = verdict.compare(frame, ["M"], "naive")
    assert got.origins == 0 and got.missing == 400 and "left 400 forecasts out" in got.verdict["text"]


def test_a_model_with_gaps_never_takes_the_headline_from_a_whole_one() -> None:
    frame = panel_frame(np.random.default_rng(0), 0.8)
    frame = frame[frame["cutoff"] < pd.Timestamp("2020-01-13")]
    holes = frame.assign(holes=frame["M"].where(np.arange(len(frame)) > 0))
    outcomes = verdict.compare(holes, ["holes", "M"], "naive")
    assert [one.verdict["label"] for one in outcomes] == ["no skill", "too little data"]
    assert evidence.headline(outcomes, "naive")["model"] == "M"


def test_series_without_a_unit_are_not_called_too_little_data() -> None:
    scale = pd.DataFrame({"unique_id": ["a", "b", "c"], "mae": nan, "rmse": nan})
    (got,) = verdict.compare(panel_frame(np.random.default_rng(0), 0.8), ["M"], "naive", scale=scale)
    assert got.verdict["label"] == "too little data" and "naive makes no error" in got.verdict["text"]


def test_the_baseline_is_chosen_before_the_test_span() -> None:
    frame = walk_frame(3, 0.0)
    start = frame["ds"].iloc[700]
    want = verdict.strongest_baseline(frame, ["naive", "drift"], before=start)
    flipped = frame.copy()
    flipped.loc[frame["ds"] >= start, ["naive", "drift"]] = 1e9
    assert verdict.strongest_baseline(flipped, ["naive", "drift"], before=start) == want
    flipped.loc[frame["ds"] < start, want] += 1e6
    assert verdict.strongest_baseline(flipped, ["naive", "drift"], before=start) != want
    with pytest.raises(UsageError, match="no row"):
        verdict.strongest_baseline(frame, ["naive"], before=frame["ds"].min())


def test_a_baseline_with_gaps_is_passed_over() -> None:
    frame = walk_frame(3, 0.0)
    frame["perfect"] = frame["y"]
    frame.loc[5, "perfect"] = nan
    end = frame["ds"].max()
    assert verdict.strongest_baseline(frame, ["perfect", "naive"], before=end) == "naive"
    assert verdict.strongest_baseline(frame, ["perfect"], before=end) == "perfect"


def panel_frame(rng: np.random.Generator, edge: float) -> pd.DataFrame:
    """Three series of very different size, 100 origins, 4 steps; M's errors are ``edge`` times those of naive."""
    rows = []
    for name, unit in (("a", 1.0), ("b", 1e3), ("c", 1e6)):
        for origin in range(100):
            error = unit * rng.normal(size=4)
            for step in range(4):
                y = unit * 10
                rows.append((name, origin + step + 1, origin, y, y + error[step], y + edge * error[step] + unit * 0.01))
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "cutoff", "y", "naive", "M"])
    for column in ("ds", "cutoff"):
        frame[column] = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame[column], unit="D")
    return frame


def test_panels_are_scaled_and_one_origin_is_one_observation() -> None:
    frame = panel_frame(np.random.default_rng(0), 0.8)
    scale = pd.DataFrame({"unique_id": ["a", "b", "c"], "mae": [1.0, 1e3, 1e6], "rmse": 1.0})
    table = verdict.losses_by_origin(frame, ["naive", "M"], scale=scale)
    assert table.shape == (100, 2)
    part = frame[frame["cutoff"] == table.index[7]]
    unit = part["unique_id"].map({"a": 1.0, "b": 1e3, "c": 1e6})
    assert table["M"].iloc[7] == pytest.approx(((part["y"] - part["M"]).abs() / unit).mean())
    (got,) = verdict.compare(frame, ["M"], "naive", scale=scale)
    assert (got.origins, got.overlap) == (100, 4)
    assert got.verdict["label"] == "skill"
    assert got.loss / got.baseline_loss == pytest.approx(0.8, abs=0.01)
    assert "scaled MAE" in got.verdict["text"]
    assert verdict.compare(frame, ["M"], "naive", scale=scale, stride=4)[0].overlap == 1
    constant = scale.assign(mae=[1.0, nan, 1e6])
    dropped = verdict.losses_by_origin(frame, ["M"], scale=constant)
    kept = part[part["unique_id"] != "b"]
    want = ((kept["y"] - kept["M"]).abs() / kept["unique_id"].map({"a": 1.0, "c": 1e6})).mean()
    assert dropped["M"].iloc[7] == pytest.approx(want)


def test_a_model_that_leaves_hard_forecasts_out_has_no_skill() -> None:
    frame = panel_frame(np.random.default_rng(1), 0.5)
    frame.loc[[3, 17], "M"] = nan
    frame.loc[5, "y"] = nan
    (got,) = verdict.compare(frame, ["M"], "naive")
    assert got.missing == 2
    assert got.origins == 98
    assert got.verdict["label"] == "no skill"
    assert "left 2 forecasts out" in got.verdict["text"]


def test_holm_over_the_models_tried() -> None:
    frame = walk_frame(5, 0.5)
    for i in range(20):
        frame[f"copy{i}"] = frame["naive"] + 1e-3 * np.random.default_rng(100 + i).normal(size=len(frame))
    frame = frame[frame["ds"] >= frame["ds"].iloc[698]]
    (alone,) = verdict.compare(frame, ["AR"], "naive")
    many = verdict.compare(frame, ["AR", *[f"copy{i}" for i in range(20)]], "naive")
    assert many[0].test == alone.test
    assert many[0].pvalue == pytest.approx(21 * alone.pvalue)
    assert "Holm" in many[0].verdict["text"]
    assert "Holm" not in alone.verdict["text"]


def test_the_losses_are_the_scores() -> None:
    frame = walk_frame(6, 0.0)
    (got,) = verdict.compare(frame, ["AR"], "naive")
    scores = metrics.score(frame).set_index("model")["mae"]
    assert got.loss == pytest.approx(scores["AR"])
    assert got.baseline_loss == pytest.approx(scores["naive"])
    (got,) = verdict.compare(frame, ["AR"], "naive", loss="squared")
    assert math.sqrt(got.loss) == pytest.approx(metrics.score(frame).set_index("model").loc["AR", "rmse"])


def test_wrong_calls_say_so() -> None:
    frame = walk_frame(0, 0.0)
    for models in ([], ["naive"], ["AR", "AR"]):
        with pytest.raises(UsageError, match="not a comparison"):
            verdict.compare(frame, models, "naive")
    with pytest.raises(UsageError, match="Did you mean 'naive'"):
        verdict.compare(frame, ["AR"], "naiv")


def test_absurd_losses_are_told_by_their_factor() -> None:
    text = verdict.verdict("lstm", "naive", 3e27, 3.0, 0.001, origins=500)["text"]
    assert text == "lstm is worse than naive by a factor of 1e+27 in MAE; significant (DM p = 0.001)."
    assert "by 899.0 % MAE" in verdict.verdict("lstm", "naive", 29.97, 3.0, 0.001, origins=500)["text"]
