"""The leak check: every planted leak is found by the check that should find it, and honest models stay clean."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

import forecast.train
from forecast import baselines
from forecast.audit import Audit, _Auditor, audit, audit_run
from forecast.backtest import backtest
from forecast.disturb import FLAVOURS, disturbed, place, with_hole
from forecast.model import Model
from forecast.train import fit
from pipelines.errors import LeakError, UsageError
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline, Prepared
from tests.forecast.planted import LEAKS, Clean
from tests.forecast.walks import small, walks

FOUND_BY = {
    "scaler fitted on everything": {"fitted", "forecast after refit"},
    ".shift(-1) feature": {"forecast", "forecast after a gap"},
    "centred rolling mean": {"forecast", "forecast after a gap"},
    "back-fill": {"forecast after a gap"},
    "target off by one": {"fitted", "forecast after refit"},
    "origin off by one": {"forecast", "forecast after a gap"},
    "selection on the test span": {"selected", "fitted", "forecast after refit"},
}


SEEDS = [pytest.param(range(2), id="2"), pytest.param(range(2, 20), id="18 more", marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: str(leak.name))
def test_a_planted_leak_is_found_with_every_seed(leak: type[Clean], seeds: range) -> None:
    for seed in seeds:
        report = audit(leak(), walks(220, seed=seed), horizon=2, origins=5, seed=seed)
        assert not report.clean, f"seed {seed}"
        assert {one.check for one in report.findings} & FOUND_BY[leak.name], f"seed {seed}"


@pytest.mark.parametrize("seeds", SEEDS)
def test_the_honest_one_is_clean_with_every_seed(seeds: range) -> None:
    for seed in seeds:
        report = audit(Clean(), walks(220, seed=seed), horizon=2, origins=5, seed=seed)
        assert report.clean, report.text
        assert report.counts["forecasts"] > 100 and report.counts["refits"] == 12 and not report.notes


@pytest.mark.parametrize("name", [*baselines.ALWAYS, "ETS", "Theta"])
def test_baselines_are_clean(name: str) -> None:
    report = audit(name, walks(150, 90, seed=1), horizon=3, origins=4, cutoffs=1)
    assert report.clean, report.text


def test_a_finding_names_origin_step_and_size() -> None:
    class Peeks(Clean):
        def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            out = super().predict(panel, rows, horizon)
            late = np.asarray(rows) == 50
            out[late, 1] += panel.column("y")[51] if len(panel) > 51 else 7.0
            return out

    panel = walks(60)
    report = audit(Peeks(), panel, horizon=2, origins=100, cutoffs=0)
    assert {(one.origin, one.step) for one in report.findings} == {(str(panel.frame["ds"].iloc[50]), 2)}
    assert {one.future for one in report.findings} == set(FLAVOURS)
    assert all(one.series == "a" and one.size > 0 for one in report.findings)
    with pytest.raises(LeakError, match="LEAK"):
        report.raise_if_leaking()
    document = report.to_json()
    json.dumps(document, allow_nan=False)
    assert document["clean"] is False and len(document["findings"]) == len(report.findings)


def test_failing_only_when_the_future_changes_is_a_leak() -> None:
    class Strict(Clean):
        def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            if np.isnan(panel.column("y")[-1]):
                raise ValueError("the last row is missing")
            return super().predict(panel, rows, horizon)

    report = audit(Strict(), walks(160), horizon=1, origins=3, cutoffs=0)
    assert {one.future for one in report.findings if one.check == "forecast"} == {"missing values"}
    assert "the last row is missing" in report.findings[0].text


# -- the toolkit's own pipeline ----------------------------------------------------------------
class FitsOnEverything(Pipeline):
    def fit(self, panel: Panel, until: pd.Timestamp | str | None = None) -> Pipeline:
        return super().fit(panel)


class LooksAhead(Pipeline):
    def transform(self, panel: Panel) -> Prepared:
        prepared = super().transform(panel)
        x = prepared.x.copy()
        x[:-1, 0] = x[1:, 0]
        return replace(prepared, x=x)


class CentredFeature(Pipeline):
    def transform(self, panel: Panel) -> Prepared:
        prepared = super().transform(panel)
        x = prepared.x.copy()
        x[:, 2] = pd.Series(x[:, 2]).rolling(5, center=True, min_periods=1).mean()
        return replace(prepared, x=x)


class FillsBackwards(Pipeline):
    def transform(self, panel: Panel) -> Prepared:
        return super().transform(replace(panel, frame=panel.frame.assign(y=panel.frame["y"].bfill())))


class AnchorOffByOne(Pipeline):
    def transform(self, panel: Panel) -> Prepared:
        prepared = super().transform(panel)
        anchor = prepared.anchor.copy()
        anchor[:-1] = anchor[1:]
        return replace(prepared, anchor=anchor)


def trained(panel: Panel, pipeline: type[Pipeline] | None = None) -> Model:
    model = fit(panel, small(), horizon=2)
    if pipeline is not None:
        model.pipeline = pipeline(model.pipeline.spec, model.pipeline.fitted)
    return model


@pytest.mark.parametrize("pipeline", [LooksAhead, CentredFeature, AnchorOffByOne, FillsBackwards])
def test_a_leak_in_the_pipeline_of_a_model_is_found(pipeline: type[Pipeline]) -> None:
    report = audit(trained(walks(200), pipeline), origins=3, cutoffs=0)
    checks = {one.check for one in report.findings}
    assert checks == ({"forecast after a gap"} if pipeline is FillsBackwards else {"forecast", "forecast after a gap"})


def test_a_pipeline_fitted_on_everything_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = trained(walks(200))
    monkeypatch.setattr(forecast.train, "Pipeline", FitsOnEverything)
    report = audit(model, origins=2, cutoffs=1)
    moved = {one.series for one in report.findings if one.check == "fitted"}
    assert any(name.startswith("pipeline") for name in moved) and any(name.startswith("weight") for name in moved)
    assert {one.check for one in report.findings} >= {"fitted", "forecast after refit"}


def test_early_stopping_that_looks_past_its_span_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = forecast.train.cut_spans

    def late(panel: Panel, config: Any, *more: Any, **named: Any) -> Any:
        return replace(honest(panel, config, *more, **named), stop_end=panel.end, stop=panel.lengths)

    model = trained(walks(200))
    monkeypatch.setattr(forecast.train, "cut_spans", late)
    report = audit(model, origins=2, cutoffs=2)
    assert {"fitted", "selected"} & {one.check for one in report.findings}


@pytest.mark.parametrize("kind", ["sensor", "price"])
def test_a_trained_net_is_clean(kind: str) -> None:
    panel = walks(200, 150, positive=kind == "price")
    report = audit(fit(panel, small(**{"data.kind": kind}), horizon=2), origins=4, cutoffs=2)
    assert report.clean, report.text
    assert report.counts["refits"] == 8


@pytest.mark.slow
def test_trained_nets_are_clean_with_every_seed() -> None:
    for seed in range(20):
        panel = walks(220, 160, seed=seed, positive=bool(seed % 2))
        settings = small(**{"data.kind": "price" if seed % 2 else "sensor", "train.seed": seed})
        report = audit(fit(panel, settings, horizon=3), origins=4, cutoffs=1, seed=seed)
        assert report.clean, f"seed {seed}: {report.text}"


@pytest.mark.parametrize(
    "mode", [{"data.mode": "window", "data.lookback": 12}, {"model.skip": 8, "data.anchor": "mean"}]
)
def test_windows_and_the_skip_are_clean(mode: dict[str, Any]) -> None:
    report = audit(fit(walks(180), small(**mode), horizon=2), origins=3, cutoffs=1)
    assert report.clean, report.text


def test_known_future_covariates_stay_and_past_ones_go() -> None:
    panel = walks(180)
    frame = panel.frame.assign(holiday=np.arange(180) % 7 == 0, load=panel.frame["y"] * 2)
    ahead = pd.DataFrame({"unique_id": "a", "ds": panel.grid.after(panel.end, 2), "holiday": [0.0, 1.0]})
    panel = Panel(frame, panel.grid, {"holiday": "future", "load": "past"}, future=ahead)
    cutoff = pd.Timestamp(panel.ds[99])
    other = disturbed(panel, cutoff, "noise", np.random.default_rng(0))
    np.testing.assert_array_equal(other.column("holiday"), panel.column("holiday"))
    assert (other.column("load")[100:] != panel.column("load")[100:]).all()
    np.testing.assert_array_equal(other.frame.iloc[:100], panel.frame.iloc[:100])
    report = audit(fit(panel, small(), horizon=2), origins=3, cutoffs=1)
    assert report.clean, report.text


# -- disturbed panels --------------------------------------------------------------------------
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_only_the_future_changes_and_prices_stay_positive(flavour: str) -> None:
    panel = walks(120, 60, positive=True)
    cutoff = pd.Timestamp(panel.ds[80])
    other = disturbed(panel, cutoff, flavour, np.random.default_rng(0))
    assert other.up_to(cutoff).frame.equals(panel.up_to(cutoff).frame)
    later = other.frame[other.frame["ds"] > cutoff]
    if flavour == "nothing":
        assert not len(later)
    elif flavour == "missing values":
        assert later["y"].isna().all()
    else:
        mine = panel.frame[panel.frame["ds"] > cutoff]
        assert (later["y"] > 0).all() and (later["y"].to_numpy() != mine["y"].to_numpy()).all()


def test_rows_find_their_place_when_rows_are_dropped() -> None:
    panel = walks(50, 20, 40)
    other = panel.up_to(panel.ds[35])
    rows = np.array([3, 30, 75, 84])
    at = place(panel, other, rows)
    assert other.frame.iloc[at]["ds"].tolist() == panel.frame.iloc[rows]["ds"].tolist()
    assert (
        other.frame.iloc[at]["unique_id"].astype(str).tolist()
        == panel.frame.iloc[rows]["unique_id"].astype(str).tolist()
    )


def test_a_hole_takes_the_newest_rows() -> None:
    panel = walks(30)
    hole = with_hole(panel, pd.Timestamp(panel.ds[20]))
    assert np.flatnonzero(np.isnan(hole.column("y"))).tolist() == [19, 20]


# -- run folders -------------------------------------------------------------------------------
def test_run_folders_of_fit_and_backtest_are_audited(tmp_path: Path) -> None:
    panel = walks(200)
    trained(panel).save(tmp_path / "fit")
    assert audit(tmp_path / "fit", origins=2, cutoffs=1).clean
    backtest(panel, ["gru", "ETS"], horizon=2, test=20, config=small()).save(tmp_path / "backtest")
    report = audit_run(tmp_path / "backtest", origins=2, cutoffs=1)
    assert report.clean and report.counts["refits"] == 8  # the net and ETS, four futures each


def test_a_baseline_set_otherwise_is_not_audited_in_its_place(tmp_path: Path) -> None:
    backtest(walks(150), baselines.ETS(12), horizon=1, test=20).save(tmp_path / "backtest")
    with pytest.raises(UsageError, match="not one forecast could be compared"):
        audit_run(tmp_path / "backtest", origins=2, cutoffs=1)


def test_a_folder_of_which_nothing_can_be_audited_is_no_proof(tmp_path: Path) -> None:
    backtest(walks(150), Ridge(), horizon=1, test=20).save(tmp_path / "backtest")
    with pytest.raises(UsageError, match="not one forecast could be compared") as found:
        audit_run(tmp_path / "backtest", origins=2, cutoffs=1)
    assert "Ridge" in str(found.value.hint)


def test_a_probability_that_moves_is_found_whatever_the_unit_of_the_series() -> None:
    """Steps of a million: their tolerance is one, more than a probability can ever move."""

    class Told:
        chances = True

        def __init__(self, panel: Panel) -> None:
            self.panel = panel

        def __call__(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            ahead = panel.column("y")[np.minimum(rows + 1, len(panel) - 1)]
            up = np.nan_to_num(ahead > panel.column("y")[rows]).astype(float)
            return np.column_stack([np.zeros(len(rows)), up])

    panel = walks(150)
    panel = replace(panel, frame=panel.frame.assign(y=1e6 * panel.column("y")))
    auditor = _Auditor(panel, 1, np.random.default_rng(0), 1e-6, Audit("told"))
    auditor.forecasts(Told(panel), 6)
    assert auditor.report.findings and auditor.report.findings[0].step == 1


def test_the_command_exits_with_six_on_a_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecast import cli

    trained(walks(200)).save(tmp_path / "run")
    command = ["forecast", "audit", str(tmp_path / "run"), "--origins", "2", "--cutoffs", "0", "--json"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as clean:
        cli.main()
    assert clean.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["clean"] is True
    honest = Pipeline.transform

    def ahead(self: Pipeline, panel: Panel) -> Prepared:
        prepared = honest(self, panel)
        return replace(prepared, anchor=np.roll(prepared.anchor, -1))

    monkeypatch.setattr(Pipeline, "transform", ahead)
    with pytest.raises(SystemExit) as leak:
        cli.main()
    assert leak.value.code == LeakError.exit_code
    assert json.loads(capsys.readouterr().out)["clean"] is False
    assert json.loads((tmp_path / "run" / "audit.json").read_text())["clean"] is False


@pytest.mark.parametrize("subject", [3, "nave"])
def test_what_cannot_be_audited_is_refused(subject: Any) -> None:
    with pytest.raises(UsageError):
        audit(subject, walks(150), horizon=1)


def test_no_data_no_audit() -> None:
    with pytest.raises(UsageError, match="no data"):
        audit("naive")
