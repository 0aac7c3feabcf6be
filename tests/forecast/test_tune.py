"""Tuning: the seal, the queue of trials, what a stop leaves behind, pruning, and the flow to a saved winner."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

import forecast
from forecast import objective as objectives
from forecast import study as studies
from forecast import study_report
from forecast.config import Config
from forecast.forecasts import Forecasts
from forecast.model import Model
from forecast.objective import Sealed, WalkForward
from forecast.session import attach, folder_of
from forecast.space import make_space
from forecast.study_report import compared, saved
from forecast.tune import Tuned, resume, tune, work_on
from pipelines.errors import ArtifactError, DataError, LeakError, TooShortError, TrainingError, UsageError
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from tests.forecast.walks import walks

TINY: dict[str, Any] = {"horizon": 2, "hidden": 4, "layers": 1, "updates": 4, "core": "gru", "skip": 0}
NARROW: dict[str, Any] = {"lr": {"low": 1e-3, "high": 1e-2, "log": True}, "dropout": {"low": 0.0, "high": 0.4}}
QUICK: dict[str, Any] = {**TINY, "folds": 2, "space": NARROW, "only": True}


@pytest.fixture(scope="module")
def panel() -> Panel:
    """A wave with noise, 300 days: something to learn in a few updates."""
    rng = np.random.default_rng(3)
    y = 10 + np.sin(np.arange(300) / 3) + rng.normal(0, 0.2, 300)
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2020-01-01", periods=300), "y": y})
    return Panel(frame, Grid("D"))


@pytest.fixture(scope="module")
def found(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One finished study of four trials."""
    return tune(panel, trials=4, study=tmp_path_factory.mktemp("tune") / "study", **QUICK)


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies end with their last trial: neither backtest nor winner, which take longer than all else here."""

    def end(session: Any) -> Tuned:
        return Tuned(session.folder, study_report.document(session.study, session.request), {})

    monkeypatch.setattr(sys.modules["forecast.tune"], "_finish", end)


def params_of(folder: Path) -> list[dict[str, Any]]:
    return [trial.params for trial in attach(folder).study.get_trials() if studies.settled(trial)]


# -- the flow ----------------------------------------------------------------------------------
def test_a_study_ends_in_a_run_a_backtest_and_a_comparison(found: Any) -> None:
    folder, document = found.folder, json.loads((found.folder / "study.json").read_text())
    assert document["schema"] == 1
    counts = document["trials"]
    assert (counts["spent"], counts["failed"], counts["repeated"]) == (4, 0, 0)
    assert counts["complete"] + counts["pruned"] == 4
    assert document["best"]["values"][0] == min(row["value"] for row in document["history"] if row["value"])
    assert document["sealed"]["label"] in {"better", "worse", "no difference", "default"}
    assert document["sealed"]["tried"] == 4 and "chosen among 4 configurations" in document["sealed"]["text"]
    assert [one["trials"] for one in document["openings"]] == [4]
    winner = Model.load(folder / "winner")
    assert winner.config.train.lr == document["best"]["config"]["train"]["lr"]
    table = pd.read_csv(folder / "trials.csv")
    assert table["number"].tolist() == [0, 1, 2, 3] and table["train.lr"].between(1e-3, 1e-2).all()
    assert set(document["slices"]) == {"train.lr", "model.dropout"}


def test_the_first_trial_is_the_default_configuration(found: Any) -> None:
    first = attach(found.folder).study.get_trials()[0]
    assert first.params == {"train.lr": 2e-3, "model.dropout": 0.2}


@pytest.mark.usefixtures("unopened")
def test_the_same_seed_gives_the_same_trials_and_the_same_winner(panel: Panel, found: Any, tmp_path: Path) -> None:
    again = tune(panel, trials=4, study=tmp_path / "again", **QUICK)
    assert again.found["best"]["number"] == found.found["best"]["number"]
    assert params_of(again.folder) == params_of(found.folder)
    assert [row["value"] for row in again.found["history"]] == [row["value"] for row in found.found["history"]]
    other = tune(panel, trials=3, study=tmp_path / "other", **{**QUICK, "seed": 1})
    assert params_of(other.folder)[1] != params_of(found.folder)[1]


@pytest.mark.usefixtures("unopened")
def test_ctrl_c_keeps_everything_and_resume_goes_on_as_if_nothing_had_been(
    panel: Panel, found: Any, tmp_path: Path
) -> None:
    def stop(study: optuna.Study, trial: Any) -> None:
        if trial is not None and trial.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(panel, trials=4, study=tmp_path / "s", progress=stop, **QUICK)
    kept = json.loads((tmp_path / "s" / "study.json").read_text())
    assert kept["trials"]["spent"] == 2 and kept["openings"] == []
    rest = resume(tmp_path / "s")
    assert params_of(rest.folder) == params_of(found.folder)
    assert rest.found["best"]["number"] == found.found["best"]["number"]


@pytest.mark.slow
@pytest.mark.usefixtures("unopened")
def test_a_trial_under_way_at_ctrl_c_is_repeated_with_the_same_settings(
    panel: Panel, found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = objectives.fit

    def fit(*args: Any, **kwargs: Any) -> Any:
        calls.append(0)
        if len(calls) == 4:  # the second fold of the second trial
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(objectives, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        tune(panel, trials=3, study=tmp_path / "s", **QUICK)
    rest = resume(tmp_path / "s")
    assert rest.found["trials"]["spent"] == 3 and rest.found["trials"]["repeated"] == 1
    wanted = params_of(found.folder)
    assert sorted(map(str, params_of(rest.folder))) == sorted(map(str, wanted[:3]))


@pytest.mark.slow
def test_more_trials_for_a_finished_study_open_the_seal_again_and_say_so(panel: Panel, tmp_path: Path) -> None:
    tune(panel, trials=2, study=tmp_path / "s", **QUICK)
    more = resume(tmp_path / "s", trials=3)
    assert more.found["trials"]["spent"] == 3
    assert more.sealed["openings"] == 2 and "opened 2 times" in more.sealed["text"]
    assert (tmp_path / "s" / "winner-2").is_dir()


@pytest.mark.usefixtures("unopened")
def test_a_grid_is_tried_once(panel: Panel, tmp_path: Path) -> None:
    settings = {**QUICK, "folds": 1, "space": {"lr": [1e-3, 1e-2]}}
    out = tune(panel, trials=5, study=tmp_path / "s", sampler="grid", **settings)
    assert out.found["budget"] == out.found["trials"]["spent"] == 2
    assert resume(tmp_path / "s", trials=9).found["trials"]["spent"] == 2
    endless = tune(panel, trials=None, timeout=600, study=tmp_path / "t", sampler="grid", **settings)
    assert endless.found["trials"]["spent"] == 2


def test_a_fault_in_one_configuration_is_its_failure(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a trial of another worker's, which would be repeated for ever."""
    calls = []

    def singular(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        raise np.linalg.LinAlgError("Singular matrix")  # a ValueError

    monkeypatch.setattr(objectives, "fit", singular)
    with pytest.raises(TrainingError, match=r"none of 2 trials could be scored; .* unexpected LinAlgError: Singular"):
        tune(panel, trials=2, study=tmp_path / "s", **QUICK)
    assert len(calls) == 2


def test_an_error_of_any_other_objective_goes_on_to_the_caller(tmp_path: Path) -> None:
    storage = studies.open_storage(studies.sqlite_url(tmp_path), heartbeat=60)
    study = studies.create("s", storage, directions=1, facts={})
    studies.fill(study, 2)

    def wrong(trial: optuna.Trial) -> float:
        raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        studies.work(study, wrong)
    studies.close(study)


# -- the sealed span ---------------------------------------------------------------------------
def sealed_on(origins: int, **better: float) -> dict[str, Any]:
    """What is said where tuned errors are ``better`` times the default's; the second series moves 100 times as far."""
    rng = np.random.default_rng(1)
    stamps = pd.date_range("2020-01-01", periods=200 + origins)
    parts, rows = [], []
    for size, (name, factor) in zip((1, 100), better.items(), strict=False):
        y = size * rng.normal(size=len(stamps)).cumsum()
        parts.append(pd.DataFrame({"unique_id": name, "ds": stamps, "y": y}))
        error = size * (np.abs(rng.normal(size=origins)) + 0.5)
        rows.append(pd.DataFrame({
            "unique_id": name, "cutoff": stamps[199:-1], "ds": stamps[200:], "step": 1, "last": y[199:-1],
            "y": y[200:], "tuned": y[200:] + factor * error, "default": y[200:] + error,
        }))  # fmt: skip
    told = {"models": {"tuned": {"verdict": {"text": "tuned beats naive.", "label": "skill"}}}}
    result: Any = SimpleNamespace(
        frame=pd.concat(rows, ignore_index=True), panel=Panel(pd.concat(parts, ignore_index=True), Grid("D")),
        significance=told, settings={"horizon": 1, "stride": 1, "season": 1},
    )  # fmt: skip
    return compared(result, False, 20)


def test_tuned_against_default_is_said_in_the_units_of_its_test() -> None:
    several = sealed_on(100, small=0.8, big=1.05)
    assert several["label"] == "better" and "scaled MAE (DM" in several["text"] and several["unit"] == "scaled MAE"
    assert several["tuned"] < several["default"], "as the sentence says"
    assert sealed_on(100, a=1.2)["label"] == "worse"
    assert sealed_on(100, a=1.0)["label"] == "no difference"
    few = sealed_on(5, a=0.8)
    assert few["label"] == "too little data" and "cannot be said" in few["text"] and few["unit"] == "MAE"


def test_what_the_sealed_span_said_stays(found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = shutil.copytree(found.folder, tmp_path / found.folder.name)
    before = json.loads((study / "study.json").read_text())
    assert before["sealed"]["trial"] == before["best"]["number"]

    def stopped(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["forecast.tune"], "backtest", stopped)
    again = resume(study)  # nothing is left to do: the seal stays as it is
    assert (
        again.sealed == before["sealed"] and again.result is not None and again.found["openings"] == before["openings"]
    )
    with pytest.raises(KeyboardInterrupt):
        resume(study, trials=5)
    after = json.loads((study / "study.json").read_text())
    assert after["sealed"] == before["sealed"] and len(after["openings"]) == 2
    with pytest.raises(ArtifactError, match="holds a tuning study, no fitted model"):
        Model.load(study)
    assert "opened again since" in (study / "report.md").read_text("utf-8")
    (study / "study.json").unlink()
    with pytest.raises(KeyboardInterrupt):
        resume(study)
    assert "stopped before it was written down" in (study / "report.md").read_text("utf-8")


# -- the seal ----------------------------------------------------------------------------------
def test_no_row_of_the_test_span_is_read_before_the_seal_is_opened(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[tuple[bool, pd.Timestamp]] = []
    opened: list[str] = []
    column, transform, fit, opening = Panel.column, Pipeline.transform, Pipeline.fit, Sealed.open

    def spy(real: Callable[..., Any], at: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            reads.append((bool(opened), args[at].end))
            return real(*args, **kwargs)

        return call

    def open_(self: Sealed, reason: str) -> Panel:
        opened.append(reason)
        return opening(self, reason)

    monkeypatch.setattr(Panel, "column", spy(column, 0))
    monkeypatch.setattr(Pipeline, "transform", spy(transform, 1))
    monkeypatch.setattr(Pipeline, "fit", spy(fit, 1))
    monkeypatch.setattr(Sealed, "open", open_)
    tune(panel, trials=2, study=tmp_path / "s", test=60, **QUICK)
    end = panel.ds[len(panel) - 61]
    before = [stamp for late, stamp in reads if not late]
    assert opened == ["final backtest"]
    assert before and max(before) == end
    assert max(stamp for late, stamp in reads if late) == panel.end  # the spy would have seen it


def test_an_objective_that_reads_behind_the_seal_raises(panel: Panel, tmp_path: Path) -> None:
    space = make_space(Config.make(None, **TINY), NARROW, only=True)
    sealed = Sealed.cut(panel, 60)

    class Leaking(WalkForward):
        def _score(self, trial: optuna.Trial, config: Config) -> float:
            return float(sealed.up_to(panel.end).column("y")[-1])

    storage = studies.open_storage(studies.sqlite_url(tmp_path), heartbeat=60)
    study = studies.create("s", storage, directions=1, facts={})
    studies.fill(study, 2)
    with pytest.raises(LeakError, match="sealed until the final backtest"):
        studies.work(study, Leaking(sealed, space, folds=2))


def test_covariates_known_ahead_stop_at_the_seal(panel: Panel) -> None:
    from dataclasses import replace

    wide = replace(panel, frame=panel.frame.assign(holiday=1.0), roles={"holiday": "future"})
    sealed = Sealed.cut(wide, 60)
    assert sealed.development.future is None and sealed.end == panel.ds[239]
    part = sealed.up_to("2020-03-01")
    assert part.end == pd.Timestamp("2020-03-01")


# -- failures and pruning ----------------------------------------------------------------------
@pytest.mark.usefixtures("unopened")
def test_a_nan_loss_fails_its_trial_and_never_wins(panel: Panel, tmp_path: Path) -> None:
    space = {"lr": [2e-3, 1e30]}
    out = tune(panel, trials=2, study=tmp_path / "s", sampler="grid", **{**QUICK, "space": space})
    assert out.found["best"]["params"] == {"train.lr": 2e-3}
    [failure] = out.found["failures"]
    assert "loss" in failure["reason"] and out.found["trials"]["failed"] == 1
    [trial] = [one for one in attach(out.folder).study.get_trials() if one.params == {"train.lr": 1e30}]
    assert trial.state == TrialState.FAIL


def test_a_study_without_any_score_says_why(panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of 2 trials could be scored; the first failed because"):
        tune(panel, trials=2, study=tmp_path / "s", sampler="grid", **{**QUICK, "space": {"lr": [1e29, 1e30]}})
    assert json.loads((tmp_path / "s" / "study.json").read_text())["openings"] == []


@pytest.mark.usefixtures("unopened")
def test_folds_prune_and_a_pruned_trial_costs_less(panel: Panel, tmp_path: Path) -> None:
    """The errors of a net that learns nothing are above the best's in every block of the first fold."""
    settings = {**QUICK, "updates": 60, "hidden": 8, "folds": 3, "space": {"lr": [1e-2, 1e-9]}}
    out = tune(panel, trials=2, study=tmp_path / "s", sampler="grid", seed=bad_last(), **settings)
    assert out.found["trials"]["pruned"] == 1
    states = {trial.state: len(trial.user_attrs["folds"]) for trial in attach(out.folder).study.get_trials()}
    assert states[TrialState.PRUNED] < states[TrialState.COMPLETE] == 3
    assert out.found["saved"]["trials"] == 1


def bad_last() -> int:
    """A seed with which Optuna's grid tries the useful rate first."""
    for seed in range(20):
        points = [0, 1]
        np.random.RandomState(seed).shuffle(points)
        if points == [0, 1]:
            return seed
    raise RuntimeError("no such seed")


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_epochs_prune(panel: Panel, pruner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate that learns nothing falls behind within the first fold."""
    from forecast import train

    monkeypatch.setattr(train, "CHECK_UPDATES", 4)
    monkeypatch.setattr(objectives, "CHECK_UPDATES", 4)
    base = Config.make(None, **{**TINY, "hidden": 8, "updates": 60, "patience": 50, "lanes": 1})
    space = make_space(base, {"lr": [1e-2, 1e-9]}, only=True)
    study = optuna.create_study(pruner=studies.make_pruner(pruner, 15))
    walked = WalkForward(Sealed.cut(panel, 60), space, folds=2, by_epoch=True)
    for lr in [1e-2] * 4 + [1e-9] * (4 if pruner == "hyperband" else 1):
        study.enqueue_trial({"train.lr": lr})
    study.optimize(walked, n_trials=len(study.get_trials()))
    pruned = [trial for trial in study.get_trials() if trial.state == TrialState.PRUNED]
    assert any(trial.params["train.lr"] == 1e-9 for trial in pruned)
    whole = max(len(trial.intermediate_values) for trial in study.get_trials() if trial.state == TrialState.COMPLETE)
    assert all(len(trial.intermediate_values) < whole and "folds" not in trial.user_attrs for trial in pruned)


def test_saved_time_counts_pruned_trials() -> None:
    def made(state: TrialState, seconds: float) -> optuna.trial.FrozenTrial:
        value = 1.0 if state == TrialState.COMPLETE else None
        return optuna.create_trial(state=state, value=value, user_attrs={"seconds": seconds})

    trials = [made(TrialState.COMPLETE, 10), made(TrialState.COMPLETE, 20), made(TrialState.PRUNED, 4)]
    assert saved(trials) == {"trials": 1, "seconds": 11.0}


def test_a_setting_searched_in_one_trial_only_is_weighed_without_a_warning() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("train.lr", 0, 1)
        if trial.suggest_categorical("model.core", ["lstm", "rnn"]) == "rnn":
            value += trial.suggest_float("train.clip", 0, 1)
        return value

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for core in ("rnn", "lstm", "lstm", "lstm", "lstm"):
        study.enqueue_trial({"model.core": core})
    study.optimize(objective, n_trials=5)
    with pytest.warns(UserWarning, match="less than 2 trials"):
        optuna.importance.get_param_importances(study)  # as Optuna has it
    assert "train.lr" in study_report.importances(study)


# -- cheap by design ---------------------------------------------------------------------------
def test_rows_are_prepared_once_per_fold_not_once_per_trial(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = objectives.prepare_rows
    monkeypatch.setattr(objectives, "prepare_rows", lambda *given: made.append(0) or real(*given))
    space = make_space(Config.make(None, **TINY), NARROW, only=True)
    study = optuna.create_study(sampler=studies.make_sampler("random", space, 0))
    study.optimize(WalkForward(Sealed.cut(panel, 60), space, folds=2), n_trials=3)
    assert len(made) == 2


def test_the_score_is_the_error_in_units_of_naive(panel: Panel) -> None:
    """A forecaster that says what naive says scores one, whatever the metric."""
    from forecast import baselines

    class Like:
        def forecast(self, panel: Panel, rows: Any, horizon: int) -> Forecasts:
            point = baselines.make("naive", 1).predict(panel, rows, horizon)
            return Forecasts(rows, point, {90: (point, point)})

    space = make_space(Config.make(None, **TINY), NARROW, only=True)
    for metric in ("mae", "pinball"):
        walked = WalkForward(Sealed.cut(panel, 60), space, folds=2, metric=metric)  # type: ignore[arg-type]
        for fold in walked.folds:
            blocks, off, scored = walked._blocks(fold, Like())  # type: ignore[arg-type]
            assert scored == fold.truths
            assert np.mean(blocks) == pytest.approx(1.0, abs=0.03)  # blocks differ by an origin
            assert off == pytest.approx(0.9)


@pytest.fixture(scope="module")
def late() -> Panel:
    """Two waves, the second of which begins behind the first fold's cutoff."""
    from pipelines.grid import Grid

    stamps, rng = pd.date_range("2020-01-01", periods=300), np.random.default_rng(3)
    y = 10 + np.sin(np.arange(300) / 3) + rng.normal(0, 0.2, 300)
    parts = [pd.DataFrame({"unique_id": name, "ds": stamps[at:], "y": y[at:]}) for name, at in (("a", 0), ("b", 170))]
    return Panel(pd.concat(parts, ignore_index=True), Grid("D"))


@pytest.mark.usefixtures("unopened")
def test_a_series_that_begins_late_is_scored_where_it_can_be(late: Panel, tmp_path: Path) -> None:
    out = tune(late, trials=2, study=tmp_path / "s", **QUICK)
    assert out.found["trials"]["failed"] == 0
    first, second = out.found["best"]["folds"]
    assert first["missing"] > 0 and second["missing"] == 0
    assert all(np.isfinite(fold["error"]) for fold in (first, second))


def test_windows_of_all_lengths_are_scored_on_the_same_origins(late: Panel, tmp_path: Path) -> None:
    """Origins in front of the longest window searched count for no configuration."""
    base = Config.make(None, **{**TINY, "mode": "window", "lookback": 5})
    walked = WalkForward(Sealed.cut(late, 60), make_space(base, {"lookback": [5, 40]}, only=True), folds=2)
    study = optuna.create_study()
    folds = []
    for lookback in (5, 40):
        study.enqueue_trial({"data.lookback": lookback})
        study.optimize(walked, n_trials=1)
        folds.append(study.trials[-1].user_attrs["folds"])
    assert [fold["missing"] for fold in folds[0]] == [fold["missing"] for fold in folds[1]]
    short = WalkForward(Sealed.cut(late, 60), make_space(base, NARROW, only=True), folds=2)
    assert sum(len(fold.rows) for fold in short.folds) > sum(len(fold.rows) for fold in walked.folds)


def test_a_trial_that_could_forecast_nothing_says_why(late: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = WalkForward(Sealed.cut(late, 60), make_space(Config.make(None, **TINY), NARROW, only=True), folds=2)
    monkeypatch.setattr(Model, "reaches", lambda self, panel, rows: np.zeros(len(rows), bool))
    with pytest.raises(studies.TrialFailed, match=r"nothing of fold 0 could be forecast: its \d+ values lie in series"):
        walked(optuna.create_study().ask())


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        ({}, 1), ({"core": "cnn", "lookback": 30}, 30), ({"bidirectional": True, "lookback": 30}, 30),
        ({"mode": "window", "space": {"lookback": {"low": 10, "high": 90}}}, 90),
        ({"space": {"core": ["gru", "mlp"]}, "lookback": 30}, 30), ({"space": {"core": ["gru", "rnn"]}}, 1),
    ],
)  # fmt: skip
def test_the_longest_window_of_a_space(settings: dict[str, Any], longest: int) -> None:
    given = {**NARROW, **settings.pop("space", {})}
    assert objectives.longest_window(make_space(Config.make(None, **settings), given, only=True)) == longest


# -- samplers ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "kind"), [("tpe", "TPESampler"), ("random", "RandomSampler"), ("grid", "GridSampler"), ("gp", "GPSampler")]
)
def test_samplers_are_optunas(name: str, kind: str) -> None:
    sampler = studies.make_sampler(name, make_space(Config.make(None, **TINY), {"lr": [1e-3, 1e-2]}, only=True), 0)
    optuna.create_study(sampler=sampler).ask()
    assert isinstance(sampler, studies.PerTrial)
    assert type(sampler.inner) is getattr(optuna.samplers, kind)


@pytest.mark.parametrize("name", studies.SAMPLERS)
def test_samplers_take_every_seed_that_a_net_takes(name: str) -> None:
    space = make_space(Config.make(None, **TINY), {"lr": [1e-3, 1e-2]}, only=True)
    optuna.create_study(sampler=studies.make_sampler(name, space, (1 << 64) - 1)).ask()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.usefixtures("unopened")
def test_gp_searches_by_a_gaussian_process(panel: Panel, tmp_path: Path) -> None:
    """After its ten random trials it tries what Optuna's own GPSampler, given the same history, would try."""
    out = tune(
        panel, trials=12, study=tmp_path / "s", sampler="gp", pruner="none", **{**QUICK, "folds": 1, "updates": 2}
    )
    assert out.found["trials"]["complete"] == 12 and out.found["sampler"] == "gp"
    trials = attach(out.folder).study.get_trials()
    ours, before = trials[11], trials[:11]
    own = int(np.random.SeedSequence([0, 11]).generate_state(1)[0])
    plain = optuna.create_study(sampler=optuna.samplers.GPSampler(seed=own))
    plain.add_trials(before)
    again = plain.ask(ours.distributions)
    assert again.params == pytest.approx(ours.params, rel=1e-6)
    random = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=own)).ask(ours.distributions)
    assert random.params != pytest.approx(ours.params, rel=1e-3)


# -- two objectives ----------------------------------------------------------------------------
@pytest.mark.usefixtures("unopened")
def test_two_objectives_give_a_front(panel: Panel, tmp_path: Path) -> None:
    out = tune(panel, trials=3, study=tmp_path / "s", also="coverage", **QUICK)
    assert out.found["objectives"] == ["error", "coverage"]
    values = [one["values"] for one in out.found["front"]]
    assert values == sorted(values) and len(values) >= 1
    assert all(a[1] > b[1] for a, b in itertools.pairwise(values))  # less error, worse coverage
    assert out.found["best"]["values"] == values[0]


# -- refusals ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sampler": "tp"}, "Did you mean 'tpe'"),
        ({"pruner": "medain"}, "Did you mean 'median'"),
        ({"metric": "mea"}, "no metric 'mea'"),
        ({"trials": None}, "neither trials nor a timeout"),
        ({"trials": 0}, "trials is 0, it must be at least 1"),
        ({"also": "seconds", "pruner": "median"}, "does not prune"),
        ({"pruner": "median", "space": {"anchor": ["last", "mean"]}}, "data.anchor changes the unit"),
        ({"metric": "pinball", "head": "point"}, "need a net with intervals"),
        ({"test": 1}, "a sealed span of 1 rows"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(
    panel: Panel, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tune(panel, study=tmp_path / "s", **{**QUICK, **given})
    assert not (tmp_path / "s").exists()


def test_too_short_a_series_is_refused_before_anything_is_written(panel: Panel, tmp_path: Path) -> None:
    short = panel.up_to("2020-01-12")
    with pytest.raises(TooShortError):
        tune(short, study=tmp_path / "s", **QUICK)
    assert not (tmp_path / "s").exists()


def test_covariates_that_end_too_early_are_refused_before_anything_is_written(panel: Panel, tmp_path: Path) -> None:
    """The winner could not forecast: said before the trials, not after the sealed span was opened."""
    known = Panel(panel.frame.assign(p=1.0), panel.grid, {"p": "future"})
    with pytest.raises(DataError, match="known-future"):
        tune(known, study=tmp_path / "s", **QUICK)
    assert not (tmp_path / "s").exists()


def test_a_name_that_a_shared_storage_has_leaves_no_folder_behind(panel: Panel, tmp_path: Path, unopened: None) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    tune(panel, trials=1, study=tmp_path / "one" / "x", storage=url, **QUICK)
    other = Panel(panel.frame.assign(y=panel.frame["y"] * 2), panel.grid)
    with pytest.raises(UsageError, match="has a study 'x' already"):
        tune(other, trials=1, study=tmp_path / "two" / "x", storage=url, **QUICK)
    assert not (tmp_path / "two" / "x").exists()


def test_a_folder_is_not_paired_with_another_study_of_its_name(panel: Panel, tmp_path: Path, unopened: None) -> None:
    other = Panel(panel.frame.assign(y=panel.frame["y"] * 2), panel.grid)
    urls = [f"sqlite:///{tmp_path / name}.db" for name in "ab"]
    for data, url in zip((panel, other), urls, strict=True):
        tune(data, trials=1, study=tmp_path / url[-4] / "x", storage=url, **QUICK)
    with pytest.raises(ArtifactError, match="has other data than"):
        resume(tmp_path / "a" / "x", storage=urls[1])


def test_no_study_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no study"):
        resume(tmp_path / "none")
    with pytest.raises(UsageError, match="cannot be called"):
        folder_of("a b")


# -- storage -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://joe:s3cret@db.example/optuna",
        "postgresql+psycopg://db.example/optuna?user=joe&password=s3cret",
    ],
)
def test_passwords_are_masked(url: str) -> None:
    assert "s3cret" not in studies.masked(url) and "db.example" in studies.masked(url)
    error = RuntimeError(f"cannot open {url}: bad password s3cret")
    assert "s3cret" not in studies._without_secrets(url, error)


def test_a_storage_that_cannot_be_reached_says_so_without_the_password(panel: Panel, tmp_path: Path) -> None:
    url = "postgresql+psycopg://joe:s3cret@127.0.0.1:9/none"
    with pytest.raises(UsageError, match="cannot be used") as caught:
        tune(panel, study=tmp_path / "s", storage=url, **QUICK)
    assert "s3cret" not in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_an_empty_queue_makes_no_trial(tmp_path: Path) -> None:
    study = studies.create(
        "s", studies.open_storage(studies.sqlite_url(tmp_path), heartbeat=60), directions=1, facts={}
    )
    studies.fill(study, 3)
    studies.work(study, lambda trial: 1.0)
    studies.work(study, lambda trial: 1.0)
    assert [trial.number for trial in study.get_trials()] == [0, 1, 2]
    assert studies.top_up(study, 5) == 2 and studies.top_up(study, 5) == 0


WORKER = """
import os, sys, time, random
import optuna
from pathlib import Path
from forecast import study as studies
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
study = studies.load("s", studies.open_storage(sys.argv[4], heartbeat=int(sys.argv[3])))
from forecast.config import Config
from forecast.space import make_space
study.sampler = studies.make_sampler("random", make_space(Config()), 0)
def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    trial.set_user_attr("pid", os.getpid())
    time.sleep(seconds * random.random())
    return x * x
print("ready", flush=True)
if len(sys.argv) > 5:  # so many each, and no queue
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study.optimize(objective, n_trials=int(sys.argv[5]))
else:
    studies.work(study, objective)
"""


def workers(
    folder: Path, count: int, seconds: float, url: str | None = None, heartbeat: int = 1, each: int | None = None
) -> list[subprocess.Popen[str]]:
    more = [str(heartbeat), url or studies.sqlite_url(folder), *([] if each is None else [str(each)])]
    return [
        subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(seconds), *more], stderr=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]  # fmt: skip


def shared_study(folder: Path, trials: int, url: str | None = None) -> optuna.Study:
    storage = studies.open_storage(url or studies.sqlite_url(folder), heartbeat=1)
    study = studies.create("s", storage, directions=1, facts={})
    studies.fill(study, trials)
    return study


def spent_exactly(study: optuna.Study, trials: int) -> None:
    found = study.get_trials()
    assert [trial.number for trial in found] == list(range(len(found)))
    assert not [trial for trial in found if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
    assert sum(trial.state == TrialState.COMPLETE for trial in found) == trials


def hammer(folder: Path, processes: int, trials: int, url: str | None = None, each: int | None = None) -> None:
    """Many processes at one study at once: a shared budget, or without one ``each`` makes that many of its own."""
    study = shared_study(folder, 0 if each else trials, url)
    for worker in workers(folder, processes, 0.0, url, heartbeat=60, each=each):  # nobody is taken for dead
        _, errors = worker.communicate(timeout=500)
        assert worker.returncode == 0, errors
    spent_exactly(study, trials)
    assert len(study.get_trials()) == trials
    values = [trial.params["x"] for trial in study.get_trials()]
    assert len(set(values)) == trials  # no two workers draw the same
    counts = Counter(trial.user_attrs["pid"] for trial in study.get_trials())
    assert len(counts) > 1 if each is None else list(counts.values()) == [each] * processes
    studies.close(study)


def massacre(folder: Path, kills: int, trials: int, url: str | None = None) -> None:
    """Keep two workers at it and kill one every now and then, whatever it is doing."""
    study = shared_study(folder, trials, url)
    rng = np.random.default_rng(0)
    crew = workers(folder, 2, 0.3, url)
    for _ in range(kills):
        victim = crew.pop(0)
        assert victim.stdout is not None
        victim.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.5)))
        victim.send_signal(signal.SIGKILL)
        victim.communicate()
        crew += workers(folder, 1, 0.3, url)
    done = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    best = min(done, key=lambda trial: trial.value, default=None)
    for worker in crew:
        _, errors = worker.communicate(timeout=500)
        assert worker.returncode == 0, errors
    while studies.top_up(study, trials):  # as the main process does: killed between failing and repeating a trial
        studies.work(study, lambda trial: trial.suggest_float("x", -1, 1) ** 2)
    spent_exactly(study, trials)
    if best is not None:
        kept = study.get_trials()[best.number]
        assert (kept.state, kept.value, kept.params) == (best.state, best.value, best.params)
        assert study.best_value <= best.value
    repeats = [trial for trial in study.get_trials() if studies.history_of(trial)]
    assert kills < 10 or repeats  # else nobody was killed at work, and nothing is shown here
    studies.close(study)


def test_a_worker_killed_before_its_first_heartbeat_is_noticed(tmp_path: Path) -> None:
    study = shared_study(tmp_path, 2)
    lost = study.get_trials()[0]
    study._storage.set_trial_state_values(lost._trial_id, state=TrialState.RUNNING)  # claimed, and nothing after that
    studies.work(study, lambda trial: trial.suggest_float("x", -1, 1))
    found = study.get_trials()
    assert found[lost.number].state == TrialState.FAIL
    assert [studies.history_of(trial) for trial in found] == [[], [], [lost.number]]
    spent_exactly(study, 2)


def test_a_worker_taken_for_dead_drops_its_trial_and_goes_on(tmp_path: Path) -> None:
    """A laptop asleep: another worker failed the trial and repeats it."""
    study = shared_study(tmp_path, 2)
    seen: list[int] = []

    def objective(trial: optuna.Trial) -> float:
        seen.append(trial.number)
        if len(seen) == 1:
            study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
            studies.fill(study, 1)
        return float(trial.number)

    studies.work(study, objective)
    assert seen == [0, 1, 2]
    spent_exactly(study, 2)


@pytest.mark.slow
def test_two_processes_share_a_budget(tmp_path: Path) -> None:
    hammer(tmp_path, processes=2, trials=30)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(tmp_path: Path) -> None:
    massacre(tmp_path, kills=2, trials=6)


@pytest.mark.slow
def test_eight_processes_share_two_hundred_trials(tmp_path: Path) -> None:
    hammer(tmp_path, processes=8, trials=200)


@pytest.mark.slow
def test_eight_processes_make_twenty_five_trials_each(tmp_path: Path) -> None:
    hammer(tmp_path, processes=8, trials=200, each=25)


@pytest.mark.slow
def test_fifty_kills_leave_no_trial_running_and_the_budget_exact(tmp_path: Path) -> None:
    massacre(tmp_path, kills=50, trials=150)


# -- workers and the command line --------------------------------------------------------------
@pytest.mark.usefixtures("unopened")
def test_a_worker_joins_by_name_and_brings_the_same_data(panel: Panel, tmp_path: Path) -> None:
    url = studies.sqlite_url(tmp_path)

    def stop(study: optuna.Study, trial: Any) -> None:
        if trial is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(panel, trials=3, study=tmp_path / "far", storage=url, progress=stop, **QUICK)
    with pytest.raises(ArtifactError, match="the data differs"):
        work_on("far", storage=url, panel=panel.up_to("2020-10-01"))
    assert work_on("far", storage=url, panel=panel) == 2
    done = resume(tmp_path / "far", storage=url)
    assert done.found["trials"]["spent"] == 3


@pytest.mark.usefixtures("unopened")
@pytest.mark.parametrize("preset", [["--preset", "price"], []])
def test_a_worker_reads_its_file_as_the_study_did(
    preset: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A price below zero is masked where the column is said to be a price, which the worker's flags do not say."""
    from forecast.cli import main

    monkeypatch.chdir(tmp_path)
    y = walks(260, positive=True).column("y").copy()
    y[40] = -1.0
    pd.DataFrame({"t": pd.date_range("2021-01-01", periods=260), "v": y}).to_csv("a.csv", index=False)
    file = ["--csv", "a.csv", "--time", "t", "--target", "v", "--impossible", "mask"]
    small = ["--horizon", "2", "--folds", "1", "--set", "updates=4", "--set", "hidden=4", "--only-ranges"]
    url = studies.sqlite_url(tmp_path)

    def call(*args: str) -> int:
        monkeypatch.setattr(sys, "argv", ["forecast", *args, *file, "--storage", url, "--json"])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    assert call("tune", "--study", "far", "--trials", "1", "--range", "dropout=0.0:0.3", *small, *preset) == 0
    study = attach(tmp_path / "runs" / "far").study
    study.set_user_attr("budget", 2)
    studies.fill(study, 1)
    (tmp_path / "runs").rename(tmp_path / "gone")  # another machine has no folder of it
    capsys.readouterr()
    assert call("tune-worker", "--study", "far") == 0, capsys.readouterr().err
    assert json.loads(capsys.readouterr().out)["trials"] == 1


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    y = walks(260).column("y")
    pd.DataFrame({"t": pd.date_range("2021-01-01", periods=260), "v": y}).to_csv(tmp_path / "a.csv", index=False)
    command = [sys.executable, "-m", "forecast"]
    flags = ["--csv", "a.csv", "--time", "t", "--target", "v", "--horizon", "2", "--study", "s", "--folds", "2"]
    flags += ["--set", "updates=4", "--set", "hidden=4", "--range", "dropout=0.0:0.3", "--only-ranges", "--trials", "2"]

    def call(*args: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "COLUMNS": "160"}
        return subprocess.run([*command, *args], cwd=tmp_path, capture_output=True, text=True, env=env, check=False)

    done = call("tune", *flags, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["folder"] == "runs/s" and document["trials"]["spent"] == 2
    more = call("tune", "--resume", "--trials", "3", "--jobs", "2")  # the newest study under runs/
    assert more.returncode == 0, more.stderr
    assert "Verdict" in more.stdout and "3 trials" in more.stdout and "opened 2 times" in more.stdout
    assert (tmp_path / "runs" / "s" / "worker-1.log").read_text().startswith("This worker finished")


def test_a_study_goes_on_with_what_it_began_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from forecast.cli import main

    for flags in (["--horizon", "3"], ["--ticker", "A"], ["--sampler", "gp"], ["--range", "lr=1:2"]):
        monkeypatch.setattr(sys, "argv", ["forecast", "tune", "--resume", "--study", "s", *flags])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        assert f"{flags[0]} does not go with --resume" in capsys.readouterr().err.replace("\n", " ")


def test_the_facade() -> None:
    assert forecast.tune is not None and callable(forecast.tune)


# -- PostgreSQL --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    from tests import postgres

    if not os.environ.get("NEED_POSTGRES"):  # where the server is known to be, a skip would hide that it is not found
        if postgres.binaries() is None:
            pytest.skip("no PostgreSQL server here (Debian: apt-get install postgresql)")
        pytest.importorskip("psycopg", reason="no psycopg here")
    with postgres.server() as url:
        yield url


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The server with no study in it."""
    yield postgres
    storage = studies.open_storage(postgres, heartbeat=1)
    for study in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=study, storage=storage)
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("each", [None, 25])
def test_eight_processes_make_two_hundred_trials_on_postgresql(database: str, tmp_path: Path, each: int | None) -> None:
    hammer(tmp_path, processes=8, trials=200, url=database, each=each)


@pytest.mark.slow
def test_fifty_kills_leave_no_trial_running_on_postgresql(database: str, tmp_path: Path) -> None:
    massacre(tmp_path, kills=50, trials=150, url=database)


@pytest.mark.slow
@pytest.mark.usefixtures("unopened")
def test_a_study_on_postgresql_is_resumed_and_keeps_no_password(panel: Panel, database: str, tmp_path: Path) -> None:
    from tests.postgres import PASSWORD

    def stop(study: optuna.Study, trial: Any) -> None:
        if trial is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(panel, trials=3, study=tmp_path / "pg", storage=database, progress=stop, **QUICK)
    with pytest.raises(UsageError, match="is not kept"):
        resume(tmp_path / "pg")
    assert work_on("pg", storage=database, panel=panel) == 2
    assert resume(tmp_path / "pg", storage=database).found["trials"]["spent"] == 3
    wrong = database.replace("joe:", "joe:x")
    with pytest.raises(UsageError, match="cannot be used") as caught:
        resume(tmp_path / "pg", storage=wrong)
    for secret in (PASSWORD, PASSWORD.replace("/", "%2F")):
        assert secret not in str(caught.value)
        for file in (tmp_path / "pg").rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
