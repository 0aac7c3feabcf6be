"""Recursive forecasts: exactly what reading one's own forecasts row by row gives, at every origin, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forecast
from forecast import recursion
from forecast.config import Config
from forecast.contenders import FittedNet
from forecast.family import FAMILY
from forecast.model import Model
from forecast.pieces import Pieces
from pipelines.errors import UsageError
from pipelines.grid import Grid
from pipelines.panel import Panel

STEPS = 5
TINY = {"strategy": "recursive", "horizon": STEPS, "hidden": 8, "epochs": 2, "threads": 1}
SPARE = 2 * STEPS  # known-future rows behind the end


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Three hourly series with gaps and one covariate of every role; the known-future one reaches beyond the end."""
    rng = np.random.default_rng(1)
    rows, future = [], []
    for name, length in (("s1", 300), ("s2", 260), ("s3", 300)):
        total = length + SPARE
        holiday = (np.arange(total) % 10 == 0).astype(float)
        y = 10 + 3 * np.sin(2 * np.pi * np.arange(total) / 24) + holiday + rng.normal(0, 0.3, total)
        y[rng.choice(np.arange(5, length - 5), 5, replace=False)] = np.nan
        stamps = pd.date_range("2020-01-01", periods=total, freq="h")
        frame = pd.DataFrame({"unique_id": name, "ds": stamps, "y": y, "temperature": rng.normal(size=total)})
        frame["holiday"], frame["size"] = holiday, float(length)
        rows.append(frame[:length])
        future.append(frame.loc[length:, ["unique_id", "ds", "holiday"]])
    roles = {"temperature": "past", "holiday": "future", "size": "static"}
    return Panel(pd.concat(rows, ignore_index=True), Grid("h"), roles, future=pd.concat(future, ignore_index=True))


@pytest.fixture(scope="module", params=["stream", "window"])
def model(request: pytest.FixtureRequest, panel: Panel) -> Model:
    own = {"skip": 30} if request.param == "stream" else {"lookback": 24, "core": "gru", "anchor": "mean"}
    return forecast.fit(panel, mode=request.param, **TINY, **own)


def by_hand(model: Model, panel: Panel, known: pd.DataFrame) -> np.ndarray:
    """``[S, H]``: forecast one step, read it with ``update`` as if it had been observed, and so on."""
    model.read(panel)
    said = []
    for _ in range(STEPS):
        one = model.predict().groupby("unique_id", sort=False).head(1).reset_index(drop=True)
        said.append(one[model.name].to_numpy())
        rows = one[["unique_id", "ds"]].assign(y=one[model.name], temperature=np.nan)
        rows = rows.merge(known, on=["unique_id", "ds"], how="left")
        rows["size"] = rows["unique_id"].map(panel.frame.groupby("unique_id", observed=True)["size"].first().to_dict())
        model.update(rows.astype({"size": float}))
    return np.array(said).T


def test_equals_reading_its_own_forecasts_row_by_row(model: Model, panel: Panel) -> None:
    assert panel.future is not None
    rolled = model.predict(panel)[model.name].to_numpy().reshape(-1, STEPS)
    np.testing.assert_allclose(rolled, by_hand(model, panel, panel.future), rtol=1e-6)
    assert len(model.pipeline.fitted.unit) == 1 == model.network.head.horizon


def test_every_origin_forecasts_as_if_it_were_the_last_row(
    model: Model, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.array([100, 250, 251, 299, 300 + 100, 300 + 101, 559, 560 + 240, 560 + 250])
    found = model.forecast_rows(panel, rows)
    for i, row in enumerate(rows):
        owner = int(np.searchsorted(panel.offsets, row, side="right") - 1)
        part = panel.select([panel.ids[owner]]).up_to(panel.ds[row])
        own = model.predict(part)
        assert set(own["cutoff"]) == {panel.ds[row]}
        np.testing.assert_allclose(found.point[i], own[model.name], rtol=1e-6)
        np.testing.assert_allclose(found.bounds[90][0][i], own[f"{model.name}-lo-90"], rtol=1e-6)
    monkeypatch.setattr(recursion, "SIDE_BY_SIDE", 4)
    np.testing.assert_allclose(model.forecast_rows(panel, rows).point, found.point, rtol=1e-6)
    twice = model.forecast_rows(panel, np.array([251, 100, 251]))
    np.testing.assert_allclose(twice.point, found.point[[2, 0, 2]], rtol=1e-6)


def test_an_origin_without_a_whole_window_has_no_forecast(model: Model, panel: Panel) -> None:
    first = (model.lookback or 1) - 1  # a stream forecasts from its first row on
    found = model.forecast_rows(panel, np.array([0, max(first - 1, 0), first]))
    assert np.isnan(found.point[:2]).all() == (model.lookback is not None)
    assert np.isfinite(found.point[2]).all()


KINDS = [(core, "auto") for core in FAMILY if core != "segrnn"]
KINDS += [("lstm", head) for head in ("point", "gaussian", "student-t", "categorical")]


@pytest.mark.parametrize(("core", "head"), KINDS, ids=["-".join(kind) for kind in KINDS])
def test_every_core_and_head(core: str, head: str, panel: Panel, tmp_path: Path) -> None:
    data = panel.select(["s2"])
    model = forecast.fit(data, Config.make(None, core=core, head=head, lookback=12, **TINY))
    frame = model.predict()
    numbers = frame.drop(columns=["unique_id", "ds", "cutoff"]).to_numpy(np.float64)
    assert numbers.shape == (STEPS, 5) and np.isfinite(numbers).all()
    np.testing.assert_allclose(model.forecast_rows(data, np.array([len(data) - 1])).point[0], frame[core], rtol=1e-6)
    assert forecast.load(model.save(tmp_path / "run")).predict().equals(frame)


def test_known_future_values_reach_the_steps_they_belong_to(model: Model, panel: Panel) -> None:
    """A holiday at step 3 moves steps 3 to 5 and no earlier one; a past covariate is held, and its future unread."""
    origin = 200
    base = model.forecast_rows(panel, np.array([origin])).point[0]
    frame = panel.frame.copy()
    frame.loc[origin + 3, "holiday"] += 1
    moved = model.forecast_rows(Panel(frame, panel.grid, panel.roles, future=panel.future), np.array([origin])).point[0]
    assert np.array_equal(moved[:2], base[:2]) and (moved[2:] != base[2:]).all()
    frame = panel.frame.copy()
    frame.loc[origin + 1 : 299, ["y", "temperature"]] = 99.0
    later = Panel(frame, panel.grid, panel.roles, future=panel.future)
    assert np.array_equal(model.forecast_rows(later, np.array([origin])).point[0], base)


@pytest.mark.slow
def test_saved_and_audited(model: Model, panel: Panel, tmp_path: Path) -> None:
    frame = model.predict(panel)
    again = forecast.load(model.save(tmp_path / "run"))
    assert again.predict().equals(frame)
    refits = int(model.lookback is None)  # one of the two modes is enough
    found = forecast.audit(again, origins=3, cutoffs=refits)
    assert found.clean, found
    assert found.counts["forecasts"] > 0 and found.counts.get("refits", 0) == 4 * refits


def test_a_backtest_scores_every_step(panel: Panel) -> None:
    config = Config.make(None, **TINY, mode="stream")
    found = forecast.backtest(panel, [config], test=40, stride=8, calibration=10)
    frame = found.frame
    assert set(frame["step"]) == set(range(1, STEPS + 1)) and frame["lstm"].notna().all()


def test_what_cannot_be_recursive_says_why(model: Model, panel: Panel) -> None:
    with pytest.raises(UsageError, match="direction"):
        Config.make(None, strategy="recursive", head="direction")
    with pytest.raises(UsageError, match="segrnn"):
        Config.make(None, strategy="recursive", core="segrnn")
    if model.lookback is None:
        with pytest.raises(UsageError, match="recursive"):
            FittedNet(model, Pieces(2)).forecast(panel, np.array([100, 200]), STEPS)
