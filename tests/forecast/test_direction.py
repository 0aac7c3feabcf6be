"""Direction: labels from unscaled returns, honest on noise, significant where returns can be told, and leak-free."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from forecast import direction, frames, metrics
from forecast.backtest import backtest
from forecast.config import Config
from forecast.contenders import FittedNet
from forecast.model import Model, build_network
from forecast.nn.heads import DirectionHead
from forecast.report_charts import chart_data
from forecast.report_data import read_page
from forecast.report_text import sections
from forecast.results import Backtest
from forecast.run import run_fit
from forecast.tensors import device_chunks, tensors_of
from forecast.train import fit
from pipelines.batches import gather
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.plans import pieces_of, plan_streams
from pipelines.spec import PipelineSpec
from tests.forecast.walks import small, walks


def tell(**settings: object) -> Config:
    return small(**{"model.head": "direction", "train.epochs": 12, "data.horizon": 2, **settings})


# -- the head ----------------------------------------------------------------------------------
def test_the_loss_is_log_loss_plus_huber_by_hand() -> None:
    head = DirectionHead(1, 1)
    params = torch.tensor([[0.5, 0.0], [0.5, 2.0], [1.0, -1.0]]).view(1, 3, 1, 2).requires_grad_()
    y = torch.tensor([1.0, 0.2, 0.3]).view(1, 3, 1)
    now = torch.tensor([0.0, 0.2, 0.9]).view(1, 3, 1)  # up, not moved, down
    labels = np.array([1.0, 0.0, 0.0])
    chance = 1 / (1 + np.exp(-np.array([0.0, 2.0, -1.0])))
    log_loss = -np.log(np.where(labels > 0, chance, 1 - chance))
    huber = 0.5 * np.array([0.5, 0.3, 0.7]) ** 2
    loss = head.loss(params, y, torch.ones(1, 3, 1, dtype=torch.bool), now)
    assert loss.item() == pytest.approx(float(np.mean(log_loss + huber)), rel=1e-6)
    assert torch.allclose(head.forecast(params)[0, :, 0, 1].detach(), torch.from_numpy(chance).float())


def test_what_is_masked_cannot_reach_the_direction() -> None:
    head = DirectionHead(2, 3)
    params = torch.randn(2, 4, 3, 2, requires_grad=True)
    y, now, mask = torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.rand(2, 4, 3) < 0.5
    spoiled = torch.where(mask, y, torch.tensor(float("nan")))
    assert head.loss(params, spoiled, mask, now).item() == head.loss(params, y, mask, now).item()
    head.loss(params, spoiled, mask, now).backward()
    assert torch.isfinite(params.grad).all()
    assert torch.count_nonzero(params.grad[~mask]) == 0


@pytest.mark.parametrize("anchor", ["last", "mean", "none"])
@pytest.mark.parametrize("log", [True, False])
def test_labels_are_signs_of_unscaled_returns_whatever_the_anchor(anchor: str, log: bool) -> None:
    """Compared with the last value, not with the anchor; a return of zero is not up."""
    panel = walks(300, seed=4, positive=True)
    y = panel.frame["y"].to_numpy().copy()
    y[100:110] = y[100]  # stands still
    panel = Panel(panel.frame.assign(y=y), panel.grid)
    spec = PipelineSpec(horizon=3, log=log, anchor=anchor, scale="volatility", unit="step", context=5)
    pipeline = Pipeline(spec).fit(panel)
    prepared = pipeline.transform(panel)
    config = tell(**{"data.horizon": 3, "model.skip": 6})
    network = build_network(config, pipeline)
    source = tensors_of(prepared, None, torch.device("cpu"))
    found: dict[int, np.ndarray] = {}
    for chunk in device_chunks(plan_streams(pieces_of(prepared), 2, 16), torch.device("cpu")):
        batch = gather(source, chunk)
        up = network.target(batch) > network.now(batch)
        for b in range(2):
            for t in range(int(chunk.valid[b])):
                found[int(chunk.start[b]) + t] = torch.where(batch.mask[b, t], up[b, t].int(), -1).numpy()
    for row in range(300):
        for h in range(1, 4):
            if row + h < 300:
                assert found[row][h - 1] == (y[row + h] > y[row]), (row, h)


# -- the base rate -----------------------------------------------------------------------------
def test_the_base_rate_knows_only_what_has_happened() -> None:
    panel = walks(40, 25, seed=1)
    y = panel.column("y").copy()
    y[7] = np.nan
    panel = Panel(panel.frame.assign(y=y), panel.grid)
    rows = np.arange(len(panel))
    found = frames.base_rate(panel, rows, 3)
    for row in rows:
        first = 0 if row < 40 else 40
        last = pd.Series(y[first : row + 1]).ffill().to_numpy()
        for h in (1, 2, 3):
            change = y[first + h : row + 1] - last[: max(0, len(last) - h)]
            change = change[~np.isnan(change)]
            assert found[row, h - 1] == pytest.approx(((change > 0).sum() + 1) / (len(change) + 2))
    later = y.copy()
    later[30:40] = 1e6
    moved = frames.base_rate(Panel(panel.frame.assign(y=later), panel.grid), rows, 3)
    assert np.array_equal(moved[:30], found[:30])


# -- what it says ------------------------------------------------------------------------------
def walked(seed: int, phi: float) -> Backtest:
    """Log returns one step ahead on 600 origins, by a net that had 1,800 rows."""
    net = tell(**{"data.kind": "price", "model.hidden": 8, "train.lr": 0.01, "model.dropout": 0.0})
    return backtest(walks(2400, seed=seed, phi=phi, positive=True), [net], test=600, horizon=1)


SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_says_half_and_no_skill(seed: int) -> None:
    result = walked(seed, phi=0.0)
    told = result.verdict["direction"]
    part = result.significance["up"]["gru"]
    assert told["label"] == part["label"] == "no skill"
    assert abs(part["mean"] - 0.5) < 0.05
    assert f"says up with {100 * part['mean']:.0f} %" in told["text"] and "no skill" in told["text"]


@pytest.mark.parametrize("seed", SEEDS)
def test_returns_that_follow_themselves_are_predictable(seed: int) -> None:
    result = walked(seed, phi=0.5)
    told, part = result.verdict["direction"], result.significance["up"]["gru"]
    assert told["label"] == "skill", told["text"]
    assert "is predictable" in told["text"]
    assert part["pvalue"] < 0.01 and part["timing"] < 0.01
    assert part["log_loss"] < part["usual_log_loss"] and part["brier"] < part["usual_brier"]
    assert part["by_step"][0]["hits"] > 0.6


def made(says: np.ndarray, up: np.ndarray, usual: float = 0.5) -> pd.DataFrame:
    """A result frame of one step ahead in which ``says`` was said and ``up`` happened."""
    stamps = pd.date_range("2024-01-01", periods=len(up) + 1, freq="D")
    return pd.DataFrame({
        "unique_id": "a", "ds": stamps[1:], "cutoff": stamps[:-1], "step": 1, "last": 10.0,
        "y": np.where(up, 11.0, 9.0), "usual": usual, "m": 10.0, "m-up": says,
    })  # fmt: skip


def test_a_lucky_constant_is_no_skill() -> None:
    """In a span that went up more often than usual a constant above the base rate has the lower log loss."""
    up = np.random.default_rng(0).random(1500) < 0.62
    part = direction.assess(made(np.full(1500, 0.58), up))["m"]
    assert part["log_loss"] < part["usual_log_loss"] and part["pvalue"] < 0.05
    assert part["label"] == "no skill"


def test_right_in_sign_and_far_too_sure_is_no_skill() -> None:
    rng = np.random.default_rng(0)
    hint = rng.random(1000) < 0.5
    up = np.where(rng.random(1000) < 0.6, hint, ~hint)
    part = direction.assess(made(np.where(hint, 0.9999, 0.0001), up))["m"]
    assert part["timing"] < 0.05 and part["log_loss"] > part["usual_log_loss"]
    assert part["label"] == "no skill"


def test_skill_that_only_many_late_series_show_is_none() -> None:
    """Right where fifty series end, wrong at the two hundred origins of the one long series: the test says worse."""
    rng = np.random.default_rng(0)
    frames = []
    for number in range(51):
        count = 250 if number == 0 else 50
        hint = rng.random(count) < 0.5
        right = rng.random(count) < 0.75
        if number == 0:
            right[:200] = False
        part = made(np.where(hint, 0.7, 0.3), np.where(right, hint, ~hint))
        late = pd.Timedelta(days=250 - count)
        frames.append(part.assign(unique_id=f"s{number}", ds=part["ds"] + late, cutoff=part["cutoff"] + late))
    found = direction.assess(pd.concat(frames, ignore_index=True))["m"]
    assert found["log_loss"] < found["usual_log_loss"] and found["pvalue"] < 0.05 and found["difference"] > 0
    assert found["label"] == "no skill"


def test_scores_by_hand_missing_ones_and_too_few() -> None:
    frame = made(np.array([0.8, 0.4, 0.5]), np.array([True, False, True]))
    table = metrics.score(frame).set_index("model")
    assert list(table.index) == ["m"], "usual and m-up are no models"
    assert table.loc["m", "log_loss"] == pytest.approx(-np.mean(np.log([0.8, 0.6, 0.5])))
    assert table.loc["m", "brier"] == pytest.approx(np.mean([0.04, 0.16, 0.25]))
    assert direction.assess(frame)["m"]["label"] == "too little data"
    frame.loc[1, "m-up"] = np.nan
    table = metrics.score(frame, by=["unique_id"]).set_index("model")
    assert np.isnan(table.loc["m", ["log_loss", "brier"]].to_numpy(np.float64)).all() and table.loc["m", "mae"] >= 0
    assert np.isfinite(metrics.score(frame, missing="skip").set_index("model").loc["m", "log_loss"])
    part = direction.assess(frame)["m"]
    assert part["missing"] == 1 and part["label"] == "no skill"
    assert metrics.log_loss(np.array([1.0]), np.array([0.0]))[0] == pytest.approx(-np.log(metrics.CERTAIN))


# -- the rest of the way -----------------------------------------------------------------------
@pytest.fixture(scope="module")
def model() -> Model:
    return fit(walks(300, 260, positive=True), tell(**{"train.epochs": 2}))


def test_forecasts_carry_the_probability_and_survive_storage(model: Model, tmp_path) -> None:
    ahead = model.predict()
    assert ahead["gru-up"].between(0, 1).all()
    again = Model.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(again.predict(), ahead, check_exact=True)
    panel = model.panel
    ends = panel.offsets[1:] - 1
    np.testing.assert_allclose(model.forecast_rows(panel, ends).up.ravel(), ahead["gru-up"], atol=1e-6)


def test_an_update_equals_reading_again(model: Model, tmp_path) -> None:
    copy = Model.load(model.save(tmp_path / "run"))
    rows = pd.DataFrame({"unique_id": ["a"], "ds": [model.panel.end + pd.Timedelta("1D")], "y": [101.0]})
    copy.update(rows)
    other = Model.load(tmp_path / "run")
    np.testing.assert_allclose(copy.predict()["gru-up"], other.predict(copy.panel)["gru-up"], atol=1e-5)


def test_later_rows_cannot_move_the_probability(model: Model) -> None:
    panel = model.panel
    y = panel.column("y").copy()
    y[200:300] *= 3
    rows = np.arange(150, 200)
    fitted = FittedNet(model)
    before, after = (fitted.forecast(p, rows, 2).up for p in (panel, Panel(panel.frame.assign(y=y), panel.grid)))
    assert np.array_equal(before, after)


def test_fit_says_it_in_scores_verdict_and_report(tmp_path) -> None:
    run = run_fit(walks(400, positive=True), tell(), out=tmp_path / "run")
    told = json.loads(json.dumps(run.to_json()))["validation"]
    assert told["verdict"]["direction"]["model"] == "gru"
    assert {"log_loss", "brier"} <= set(told["scores"][0])
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert told["verdict"]["direction"]["text"] in page
    assert "Is the direction predictable?" in page


@pytest.mark.slow
def test_a_stored_backtest_keeps_it(tmp_path) -> None:
    panel = walks(400, positive=True)
    several = {"seeds": 2, "intervals": "rolling", "calibration": 30, "store": tmp_path / "folds"}
    result = backtest(panel, [tell(**{"train.epochs": 2})], test=60, **several)
    again = backtest(panel, [tell(**{"train.epochs": 2})], test=60, **several)
    assert again.timing["folds_run"] == 0
    pd.testing.assert_frame_equal(again.frame, result.frame, check_exact=True)
    assert result.frame["gru-up"].between(0, 1).all()
    loaded = Backtest.load(result.save(tmp_path / "run"))
    assert loaded.verdict["direction"] == result.verdict["direction"]
    page = read_page(tmp_path / "run")
    part = next(part for part in sections(page, chart_data(page)) if part.name == "direction")
    assert list(part.lead) == [loaded.verdict["direction"]["text"]]
