"""Backtests: nothing later reaches a forecast, folds are pure and stored, everybody is scored alike."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor, StackingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from forecast import baselines, folds_run, metrics, report_charts, report_data, storage
from forecast.backtest import backtest
from forecast.config import Config
from forecast.contenders import Net, Plain, WindowRegressor, distinct, resolve
from forecast.cuts import plan
from forecast.folds_run import Job
from forecast.results import SEED_COLUMNS, Backtest
from forecast.train import fit
from pipelines.errors import ArtifactError, TooShortError, UsageError, ValueRangeError
from pipelines.panel import Panel
from tests.forecast.walks import SMALL, small, walks

ROOT = Path(__file__).resolve().parents[2]


def forecasts(result: Backtest, name: str) -> np.ndarray:
    return result.frame[name].to_numpy(np.float64)


def scores_of(result: Backtest) -> pd.DataFrame:
    return result.scores.set_index("model")


class Holes:
    """Naive, but silent at some origins."""

    name = "holes"

    def __repr__(self) -> str:
        return "Holes()"

    def fit(self, panel: Panel) -> Holes:
        return self

    def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
        out = baselines.Naive().predict(panel, rows, horizon)
        out[::7] = np.nan
        return out


class Momentum(Holes):
    """Yesterday's value and a little of its last change."""

    name = "momentum"

    def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
        y = panel.column("y")
        return np.repeat((y[rows] + 0.05 * (y[rows] - y[rows - 1]))[:, None], horizon, axis=1)


class Oracle:
    """Knows the truth plus a little noise; cheats, for tests of what skill looks like."""

    def __init__(self, panel: Panel, error: float = 0.3) -> None:
        self.y, self.error = panel.column("y"), error

    name = "oracle"

    def __repr__(self) -> str:
        return f"Oracle({self.error})"

    def fit(self, panel: Panel) -> Oracle:
        return self

    def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
        ahead = np.minimum(rows[:, None] + np.arange(1, horizon + 1), len(panel) - 1)
        last = self.y[rows][:, None]
        return last + (1 - self.error) * (self.y[ahead] - last)


# -- one pass ----------------------------------------------------------------------------------
def test_one_pass_equals_predicting_origin_by_origin() -> None:
    panel = walks(300)
    result = backtest(panel, small(), horizon=3, test=40)
    [cut] = result.folds
    model = fit(panel.up_to(cut["cutoff"]), small(), horizon=3, holdout=0)
    wide = result.frame.pivot(index="cutoff", columns="step", values="gru")
    low = result.frame.pivot(index="cutoff", columns="step", values="gru-lo-90")
    assert len(wide) == 38
    for stamp in wide.index[::5]:
        alone = model.predict(panel.up_to(stamp))
        np.testing.assert_allclose(wide.loc[stamp], alone["gru"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(low.loc[stamp], alone["gru-lo-90"], rtol=1e-6, atol=1e-6)


def test_the_frame_holds_truth_last_value_and_step() -> None:
    panel = walks(200, 150)
    result = backtest(panel, [], horizon=4, test=20, stride=3)
    whole = panel.frame.set_index(["unique_id", "ds"])["y"]
    frame = result.frame
    keys = pd.MultiIndex.from_frame(frame[["unique_id", "ds"]].astype({"unique_id": str}))
    np.testing.assert_array_equal(frame["y"], whole.reindex(keys))
    assert ((frame["ds"] - frame["cutoff"]).dt.days == frame["step"]).all()
    assert sorted(frame["step"].unique()) == [1, 2, 3, 4]
    assert frame["cutoff"].nunique() == 6 and frame.groupby(["unique_id", "cutoff"], observed=True).size().eq(4).all()
    assert list(scores_of(result).index) == list(baselines.ALWAYS)
    np.testing.assert_array_equal(forecasts(result, "naive"), frame["last"])


@pytest.mark.parametrize("skip", [0, pytest.param(8, marks=pytest.mark.slow)])
def test_pieces_come_close_to_the_exact_pass_and_say_how_close(skip: int) -> None:
    panel, config = walks(300, 260), small(**{"model.skip": skip})
    exact = backtest(panel, config, horizon=2, test=100)
    cut = backtest(panel, config, horizon=2, test=100, pieces=4, warm=2)
    off = cut.folds[0]["models"][0]["deviation"]
    first = (cut.frame["unique_id"] == "a").to_numpy()
    step = np.abs(np.diff(panel.select(["a"]).column("y"))).mean()
    assert 1e-5 < off < 0.5 and any("pieces" in note for note in cut.notes)
    assert np.abs(forecasts(cut, "gru") - forecasts(exact, "gru"))[first].max() / step == pytest.approx(off, rel=0.01)
    whole = backtest(panel, config, horizon=2, test=100, pieces=4, warm=300)  # the warm-up is the history
    np.testing.assert_allclose(forecasts(whole, "gru"), forecasts(exact, "gru"), rtol=1e-5)
    with pytest.raises(UsageError, match="windows"):
        backtest(panel, small(**{"data.mode": "window", "data.lookback": 8}), horizon=2, test=20, pieces=2)


# -- folds -------------------------------------------------------------------------------------
def test_no_fold_moves_when_rows_after_its_span_change() -> None:
    panel = walks(260)
    changed = panel.frame.copy()
    changed.loc[changed.index[-30:], "y"] += 1000.0
    kinds: dict[str, Any] = {"horizon": 2, "test": 60, "refit": 30, "config": small()}
    one = backtest(panel, ["gru", "ETS", Ridge()], intervals="split", calibration=30, **kinds)
    two = backtest(replace(panel, frame=changed), ["gru", "ETS", Ridge()], intervals="split", calibration=30, **kinds)
    before = (one.frame["ds"] <= panel.frame["ds"].iloc[-31]).to_numpy()
    assert before.sum() == 59  # 30 first steps, 29 second ones
    for name in ("gru", "ETS", "Ridge", "gru-lo-90", "ETS-hi-90", "drift", "drift-lo-90"):
        np.testing.assert_array_equal(forecasts(one, name)[before], forecasts(two, name)[before])
    assert one.significance["baseline"] == two.significance["baseline"]


def test_a_cold_refit_equals_a_fit_of_its_training_rows_alone() -> None:
    panel = walks(260)
    result = backtest(panel, small(), horizon=2, test=40, refit=20, window=150)
    for cut in result.folds:
        train = panel.up_to(cut["cutoff"])
        train = replace(train, frame=train.frame[train.frame["ds"] >= cut["train_start"]])
        assert len(train) == 150
        model = fit(train, small(), horizon=2, holdout=0)
        rows = np.flatnonzero(
            panel.frame["ds"].isin(result.frame["cutoff"].unique()[cut["fold"] * 20 :][: cut["origins"]])
        )
        part = result.frame[result.frame["cutoff"].isin(panel.frame["ds"].iloc[rows])]
        np.testing.assert_array_equal(part["gru"], model.forecast_rows(panel, rows).point.ravel())


def test_a_warm_refit_says_so_and_goes_on_from_the_weights_before() -> None:
    panel, options = walks(220), {"horizon": 1, "test": 30}
    cold = backtest(panel, small(), refit="cold:10", **options)
    warm = backtest(panel, small(), refit="warm:10", **options)
    assert [fold["models"][0]["start"] for fold in warm.folds] == ["cold", "warm", "warm"]
    assert [fold["models"][0]["start"] for fold in cold.folds] == ["cold"] * 3
    assert "weights of the fold before" in " ".join(warm.notes) and not cold.notes
    first = np.arange(len(cold.frame)) < 10
    np.testing.assert_array_equal(forecasts(cold, "gru")[first], forecasts(warm, "gru")[first])
    assert not np.array_equal(forecasts(cold, "gru")[~first], forecasts(warm, "gru")[~first])


@pytest.mark.slow
def test_a_warm_refit_keeps_the_shape_that_the_first_fold_settled() -> None:
    """Left to itself the skip grows with the training rows, and the age of the last value appears with gaps."""
    panel = walks(420, phi=0.0)
    y = panel.column("y").copy()
    y[300::9] = np.nan
    config = small(**{"model.skip": "auto", "data.kind": "auto", "data.anchor": "auto", "train.epochs": 1})
    late = replace(panel, frame=panel.frame.assign(y=y))  # no gap in the training rows of the first fold
    early = replace(panel, frame=panel.frame.assign(y=np.where(panel.ds < panel.ds[120], y[::-1], panel.column("y"))))
    for data, window in ((late, "expanding"), (early, 200)):
        warm = backtest(data, config, horizon=2, test=120, refit="warm:40", window=window)
        cold = backtest(data, config, horizon=2, test=120, refit="cold:40", window=window)
        assert [fold["models"][0]["start"] for fold in warm.folds] == ["cold", "warm", "warm"]
        shapes = [[fold["models"][0]["parameters"] for fold in one.folds] for one in (warm, cold)]
        assert len(set(shapes[0])) == 1 < len(set(shapes[1])) and shapes[0][0] == shapes[1][0]
        first = warm.frame["cutoff"].isin(warm.frame["cutoff"].unique()[:40]).to_numpy()
        np.testing.assert_array_equal(forecasts(warm, "gru")[first], forecasts(cold, "gru")[first])
        assert np.isfinite(forecasts(warm, "gru")).all()


def test_gap_rows_are_read_but_not_fitted_on() -> None:
    panel = walks(260)
    base = {"horizon": 1, "test": 30, "gap": 10, "config": small()}
    one = backtest(panel, "gru", **base)
    assert pd.Timestamp(one.folds[0]["cutoff"]) == panel.frame["ds"].iloc[-41]
    changed = panel.frame.copy()
    changed.loc[changed.index[-40:-30], "y"] += 5.0
    two = backtest(replace(panel, frame=changed), "gru", **base)
    model = fit(panel.up_to(one.folds[0]["cutoff"]), small(), horizon=1, holdout=0)
    rows = np.arange(229, 259)
    np.testing.assert_array_equal(forecasts(two, "gru"), model.forecast_rows(two.panel, rows).point.ravel())
    assert not np.array_equal(forecasts(one, "gru"), forecasts(two, "gru"))


# -- the store ---------------------------------------------------------------------------------
def test_finished_folds_are_not_repeated_and_damaged_ones_are(tmp_path: Path) -> None:
    panel = walks(220)
    options: dict[str, Any] = {"horizon": 1, "test": 30, "refit": "warm:10", "store": tmp_path, "config": small()}
    first = backtest(panel, ["gru", "ETS"], **options)
    assert (first.timing["folds_run"], first.timing["folds_reused"]) == (6, 0)
    again = backtest(panel, ["gru", "ETS"], **options)
    assert (again.timing["folds_run"], again.timing["folds_reused"]) == (0, 6)
    pd.testing.assert_frame_equal(first.frame, again.frame)
    stored = sorted(tmp_path.glob("*/fold.safetensors"))
    assert len(stored) == 6
    flipped = bytearray(stored[0].read_bytes())
    flipped[-1] ^= 1
    stored[0].write_bytes(flipped)
    (stored[1].parent / "manifest.json").unlink()
    repaired = backtest(panel, ["gru", "ETS"], **options)
    assert (repaired.timing["folds_run"], repaired.timing["folds_reused"]) == (2, 4)
    pd.testing.assert_frame_equal(first.frame, repaired.frame)


@pytest.mark.slow
def test_a_warm_refit_takes_no_cold_fold_from_the_store(tmp_path: Path) -> None:
    panel, options = walks(220), {"horizon": 1, "test": 30, "config": small()}
    warm = backtest(panel, "gru", refit="warm:10", **options)
    backtest(panel, "gru", refit="cold:10", store=tmp_path, **options)
    for reused in (0, 3):
        again = backtest(panel, "gru", refit="warm:10", store=tmp_path, **options)
        assert again.timing["folds_reused"] == reused
        assert [fold["models"][0]["start"] for fold in again.folds] == ["cold", "warm", "warm"]
        pd.testing.assert_frame_equal(again.frame, warm.frame)


def stored_job(panel: Panel, warm: bool) -> Job:
    cuts = tuple(plan(panel, test=10))
    return Job(0, Net("gru", small(**{"data.horizon": 1})), 0, cuts, ("k",), warm, 0)


def test_another_process_may_finish_the_same_fold_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    panel = walks(150)
    job = stored_job(panel, warm=True)
    result = folds_run.run_cut(panel, job, job.cuts[0], 1, None)
    folder = tmp_path / "k"
    folds_run.save_fold(folder, result, job, job.cuts[0])
    stamp = (folder / "fold.json").stat().st_mtime_ns
    folds_run.save_fold(folder, result, job, job.cuts[0])
    assert (folder / "fold.json").stat().st_mtime_ns == stamp  # the first one stands
    bare = replace(result, weights={})
    folds_run.save_fold(tmp_path / "cold", bare, replace(job, warm=False), job.cuts[0])
    assert folds_run.finished(tmp_path / "cold", replace(job, warm=False)) is not None
    assert folds_run.finished(tmp_path / "cold", job) is None  # no weights to go on from
    (folder / "fold.json").write_text("{}")
    folds_run.save_fold(folder, result, job, job.cuts[0])
    again = folds_run.finished(folder, job)
    assert again is not None and again.facts["rows"] == 140
    seal = storage.seal

    def overtaken(target: Path, facts: Any) -> None:
        monkeypatch.setattr(storage, "seal", seal)
        folds_run.save_fold(tmp_path / "race", result, job, job.cuts[0])
        seal(target, facts)

    monkeypatch.setattr(storage, "seal", overtaken)
    folds_run.save_fold(tmp_path / "race", result, job, job.cuts[0])
    assert folds_run.finished(tmp_path / "race", job) is not None
    assert not list(tmp_path.glob(".*"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError):
        folds_run.save_fold(tmp_path / "file" / "k", result, job, job.cuts[0])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folds of a backtest of gru on ``walks(150)``."""
    store = tmp_path_factory.mktemp("stored")
    backtest(walks(150), "gru", horizon=1, test=10, store=store, config=small())
    return store


@pytest.mark.parametrize("change", ["nothing", "data", "settings", "seed", "horizon", "stride"])
def test_a_stored_fold_is_only_used_for_what_it_was(change: str, stored: Path, tmp_path: Path) -> None:
    panel = walks(150)
    store = shutil.copytree(stored, tmp_path / "store")
    options: dict[str, Any] = {"horizon": 1, "test": 10, "store": store, "config": small()}
    if change == "data":
        panel = replace(panel, frame=panel.frame.assign(y=panel.frame["y"] + 1e-9))
    elif change == "settings":
        options["config"] = small(**{"train.lr": 0.003})
    elif change == "seed":
        options["seeds"] = [7]
    elif change != "nothing":
        options[change] = 2
    assert backtest(panel, "gru", **options).timing["folds_reused"] == (change == "nothing")


SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from forecast.backtest import backtest
from tests.forecast.walks import small, walks
store = None if sys.argv[1] == "none" else Path(sys.argv[1])
result = backtest(walks(220), ["gru", "lstm"], horizon=2, test=60, refit=10, store=store, config=small())
result.frame.astype({"unique_id": str}).to_parquet(sys.argv[2])
print(result.timing["folds_run"], result.timing["folds_reused"])
"""


def run_script(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], cwd=ROOT, env=environment, stdout=-1, text=True)


@pytest.mark.slow
def test_a_killed_backtest_goes_on_where_it_was(tmp_path: Path) -> None:
    store, table = tmp_path / "store", tmp_path / "frame"
    with run_script(str(store), str(table)) as victim:
        while victim.poll() is None and len(list(store.glob("[!.]*/manifest.json"))) < 4:
            time.sleep(0.02)
        victim.send_signal(signal.SIGKILL)
    finished = len(list(store.glob("[!.]*/manifest.json")))
    assert victim.returncode == -signal.SIGKILL and 4 <= finished < 12 and not table.exists()
    with run_script(str(store), str(table)) as second:
        said, _ = second.communicate()
    assert said.split() == [str(12 - finished), str(finished)]
    resumed = pd.read_parquet(table)
    # the same in one go, in this process: also what makes a cold refit equal a fresh process
    whole = backtest(walks(220), ["gru", "lstm"], horizon=2, test=60, refit=10, config=small())
    pd.testing.assert_frame_equal(resumed, whole.frame.astype({"unique_id": str}), check_exact=True)


@pytest.mark.slow
def test_two_workers_give_what_one_gives(tmp_path: Path) -> None:
    panel = walks(200)
    options: dict[str, Any] = {"horizon": 2, "test": 20, "refit": 10, "config": small()}
    alone = backtest(panel, ["gru", "ETS", Ridge()], **options)
    both = backtest(panel, ["gru", "ETS", Ridge()], jobs=2, store=tmp_path, **options)
    pd.testing.assert_frame_equal(alone.frame, both.frame, check_exact=True)
    pd.testing.assert_frame_equal(alone.scores, both.scores, check_exact=True)


@pytest.mark.slow
def test_nets_take_turns_in_one_process_and_are_refused_in_threads() -> None:
    panel = walks(150)
    options: dict[str, Any] = {"horizon": 1, "test": 20, "refit": 10, "config": small()}
    with pytest.raises(UsageError, match="threads"):
        backtest(panel, ["gru"], jobs=2, backend="threading", **options)
    alone, both = (backtest(panel, [Ridge()], jobs=n, backend="threading", **options) for n in (1, 2))
    pd.testing.assert_frame_equal(alone.frame, both.frame, check_exact=True)
    job = stored_job(panel, warm=False)  # what a worker of dask with several threads does
    [expected] = folds_run.run_job(panel, job, 1, None, 1)
    with ThreadPoolExecutor(3) as pool:
        for [found] in pool.map(lambda _: folds_run.run_job(panel, job, 1, None, 1), range(3)):
            np.testing.assert_array_equal(found.point, expected.point)


def test_a_backend_nobody_has_is_refused() -> None:
    with pytest.raises(UsageError, match=r"not installed|no backend"):
        backtest(walks(200), ["gru", "lstm"], horizon=1, test=10, jobs=2, backend="ray", config=small())
    with pytest.raises(UsageError, match="no backend"):
        backtest(walks(200), ["gru", "lstm"], horizon=1, test=10, jobs=2, backend="lokey", config=small())


# -- contenders --------------------------------------------------------------------------------
def test_anything_with_fit_and_predict_takes_part() -> None:
    panel = walks(250, 200)
    trees = GradientBoostingRegressor(n_estimators=5)  # one target at a time
    models = [Ridge(), trees, WindowRegressor(Ridge(), lookback=5, name="short"), Holes(), "Theta"]
    result = backtest(panel, models, horizon=2, test=30)
    assert result.models == ["Ridge", "GradientBoostingRegressor", "short", "holes", "Theta"]
    train = panel.select(["a"]).up_to(result.folds[0]["cutoff"])
    short = WindowRegressor(Ridge(), lookback=5, horizon=2).fit(panel.up_to(result.folds[0]["cutoff"]))
    row = len(train) - 1
    expected = short.predict(panel, np.array([row]), 2)[0]
    got = result.frame[(result.frame["unique_id"] == "a") & (result.frame["cutoff"] == train.end)]["short"]
    np.testing.assert_allclose(got, expected)


def test_a_regressor_finds_the_autocorrelation() -> None:
    result = backtest(walks(1000, seed=3), Ridge(), horizon=1, test=300)
    assert result.verdict["label"] == "skill" and result.verdict["model"] == "Ridge"
    assert 0.75 < scores_of(result).loc["Ridge", "mae"] / scores_of(result).loc["naive", "mae"] < 0.93


def test_baselines_run_once_and_equal_names_are_numbered() -> None:
    result = backtest(walks(150), ["naive", small(), small(**{"model.hidden": 3})], horizon=1, test=10)
    assert result.models == ["gru", "gru 2"]
    assert list(result.frame.columns).count("naive") == 1


@pytest.mark.parametrize("name", [*baselines.ALWAYS, "cutoff", "mine-lo-90"])
def test_an_own_model_is_never_dropped_for_its_name(name: str) -> None:
    mine = Holes()
    mine.name = name
    with pytest.raises(UsageError, match=f"cannot be called '{name}'"):
        backtest(walks(150), mine, horizon=1, test=10)


def test_a_baseline_of_another_season_is_no_baseline_that_runs_anyway() -> None:
    panel = walks(150)
    assert backtest(panel, [baselines.SeasonalNaive(), baselines.SeasonalNaive(7)], horizon=1, test=10).models == []
    with pytest.raises(UsageError, match="seasonal naive"):
        backtest(panel, baselines.SeasonalNaive(5), horizon=1, test=10)
    other = baselines.SeasonalNaive(5, name="five")
    assert backtest(panel, [other, other, "ETS"], horizon=1, test=10).models == ["five", "five 2", "ETS"]


def test_numbered_names_stay_distinct() -> None:
    class Named(Holes):
        def __init__(self, name: str) -> None:
            self.name = name

    assert distinct([Plain(Named(name)) for name in ("x", "x 2", "x", "x")]) == ["x", "x 2", "x 3", "x 4"]


@pytest.mark.parametrize("given", ["config", "net", "model"])
def test_threads_are_those_of_the_backtest(given: str) -> None:
    config = small(**{"train.threads": 2, "data.horizon": 3})
    model = {"config": config, "net": Net("gru", config)}.get(given) or fit(walks(150), config)
    contender = resolve(model, Config().override(**{"data.horizon": 1, "train.threads": None}))
    assert isinstance(contender, Net)
    assert contender.config.train.threads is None and contender.config.data.horizon == 1


def stack(depth: int, rate: float = 0.05) -> StackingRegressor:
    """Long enough for its repr to leave out the middle."""
    many = [
        (f"model_{i}", GradientBoostingRegressor(n_estimators=50 + i, max_depth=3 if i != 4 else depth, subsample=0.5))
        for i in range(9)
    ]
    return StackingRegressor(many, final_estimator=GradientBoostingRegressor(learning_rate=rate))


def test_regressors_are_told_apart_by_all_their_parameters() -> None:
    def described(estimator: Any) -> str:
        return json.dumps(Plain(WindowRegressor(estimator)).describe())

    assert repr(stack(2)) == repr(stack(7))  # what this is about
    assert described(stack(2)) == described(stack(2))
    long = np.arange(5000.0)
    other = np.where(long == 2500, 1e-12, long)
    different = [stack(2), stack(7), stack(2, 0.1), Ridge(), Ridge(2.0), Ridge(long), Ridge(other)]
    different += [make_pipeline(FunctionTransformer(function), Ridge()) for function in (np.abs, sorted, stack)]
    assert len({described(one) for one in different}) == len(different)
    with pytest.raises(UsageError, match="settings"):
        described(Ridge(random_state=np.random.RandomState(0)))


@pytest.mark.parametrize("model", ["ltsm", "nave", 3, object()])
def test_what_cannot_take_part_is_refused(model: Any) -> None:
    with pytest.raises(UsageError):
        backtest(walks(150), model, horizon=1, test=10)


def test_the_wrong_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="Did you mean 'lstm'"):
        backtest(walks(150), "ltsm", horizon=1, test=10)


def test_a_wrong_shape_is_named() -> None:
    class Wrong(Holes):
        def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            return np.zeros(len(rows))

    with pytest.raises(UsageError, match="shape"):
        backtest(walks(150), Wrong(), horizon=1, test=10)


def test_a_stored_object_must_name_its_settings(tmp_path: Path) -> None:
    class Nameless:
        def fit(self, panel: Panel) -> None: ...

        def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            return np.zeros((len(rows), horizon))

    with pytest.raises(UsageError, match="__repr__"):
        backtest(walks(150), Nameless(), horizon=1, test=10, store=tmp_path)


# -- scores and verdicts -----------------------------------------------------------------------
def test_missing_forecasts_are_counted_and_shown() -> None:
    result = backtest(walks(200), Holes(), horizon=2, test=50)
    row = scores_of(result).loc["holes"]
    assert row["missing"] == 14 and np.isnan(row["mae"])
    assert result.verdict["label"] == "no skill" and "14" in result.verdict["text"]
    assert any("14 forecasts" in note for note in result.notes)


def test_a_series_without_training_rows_has_no_forecast() -> None:
    panel = walks(200, 25)
    result = backtest(panel, small(), horizon=1, test=40)
    late = (result.frame["unique_id"] == "b").to_numpy()
    assert late.sum() == 24
    assert np.isnan(forecasts(result, "gru")[late]).all() and np.isfinite(forecasts(result, "gru")[~late]).all()
    assert scores_of(result).loc["gru", "missing"] == 24


@pytest.mark.slow
def test_several_seeds_show_their_spread() -> None:
    panel = walks(150)
    result = backtest(panel, ["gru", "ETS"], horizon=1, test=20, seeds=3, config=small())
    assert result.seeds["seed"].tolist() == [0, 1, 2] and set(result.seeds["model"]) == {"gru"}
    assert result.seeds["mae"].nunique() == 3
    assert any("3 seeds" in note for note in result.notes)
    each = [backtest(panel, "gru", horizon=1, test=20, seeds=[seed], config=small()) for seed in range(3)]
    np.testing.assert_allclose(forecasts(result, "gru"), np.mean([forecasts(one, "gru") for one in each], axis=0))
    assert result.seeds["mae"].tolist() == [scores_of(one).loc["gru", "mae"] for one in each]


def test_every_row_of_the_scores_says_where_it_came_from() -> None:
    panel = walks(150, 150)
    result = backtest(panel, ["gru", "ETS"], horizon=2, test=20, seeds=2, config=small())
    for table in (result.scores, result.by_step, result.by_series):
        assert (table["data"] == result.settings["data"][:12]).all()
        assert table["config"].notna().all() and table.groupby("model")["config"].nunique().eq(1).all()
        assert table["versions"].str.contains("torch").all()
        assert set(table.loc[table["model"] == "gru", "seeds"]) == {"0, 1"}
    assert set(result.by_step["step"]) == {1, 2} and set(result.by_series["unique_id"]) == {"a", "b"}


def test_the_strongest_baseline_is_chosen_before_the_test_span() -> None:
    rng = np.random.default_rng(0)
    panel = walks(200)
    noise = rng.standard_normal(200)  # white noise: the mean is strongest, until the level jumps in the test span
    noise[-40:] = np.cumsum(rng.standard_normal(40)) * 20 + 500
    result = backtest(replace(panel, frame=panel.frame.assign(y=noise)), Ridge(), horizon=1, test=40)
    assert result.significance["baseline"] == "mean"
    assert scores_of(result)["mae"][list(baselines.ALWAYS)].idxmin() != "mean"


def test_a_window_limits_what_is_fitted_not_what_the_baseline_to_beat_reads() -> None:
    """A season as long as the window: inside the window alone no season was ever seen."""
    panel = walks(400)
    rng = np.random.default_rng(0)
    wave = 3 * np.sin(2 * np.pi * np.arange(400) / 60) + 0.1 * rng.standard_normal(400)
    panel = replace(panel, frame=panel.frame.assign(y=wave))
    result = backtest(panel, Momentum(), horizon=2, test=80, window=60, config=small(**{"data.season": 60}))
    assert result.significance["baseline"] == "seasonal naive"


def test_no_skill_for_what_beats_the_chosen_baseline_but_not_naive() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(300)
    noise[-60:] = np.cumsum(rng.standard_normal(60)) + 50

    class Behind(Holes):
        name = "behind"

        def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            return baselines.Naive().predict(panel, np.maximum(rows - 1, 0), horizon)

    result = backtest(replace(walks(300), frame=walks(300).frame.assign(y=noise)), Behind(), horizon=1, test=59)
    found = result.significance["models"]["behind"]
    assert (
        result.significance["baseline"] == "mean" and found["pvalue"] < 0.05 and found["loss"] < found["baseline_loss"]
    )
    assert result.verdict["label"] == "no skill" and "not naive" in result.verdict["text"]


def test_skill_is_seen_and_yesterday_is_called_by_its_name() -> None:
    panel = walks(400, phi=0.0)
    result = backtest(panel, [Oracle(panel), Momentum()], horizon=2, test=100)
    assert result.verdict["label"] == "skill" and result.verdict["model"] == "oracle"
    models = result.significance["models"]
    assert not models["oracle"]["shift"]["yesterday"] and models["momentum"]["shift"]["yesterday"]
    assert models["oracle"]["direction"][0]["pvalue"] < 1e-6
    assert [row["step"] for row in models["oracle"]["by_step"]] == [1, 2]
    assert result.significance["confidence_set"]["included"] == ("oracle",)


def test_too_little_data_is_said() -> None:
    assert backtest(walks(200), Ridge(), horizon=1, test=10).verdict["label"] == "too little data"


def test_series_of_different_size_count_alike() -> None:
    panel = walks(300, 300, phi=0.0)  # the second moves ten times as far
    result = backtest(panel, Oracle(panel), horizon=1, test=60)
    found = result.significance["models"]["oracle"]
    assert found["loss"] == pytest.approx(scores_of(result).loc["oracle", "mase"], rel=1e-9)


def test_a_series_that_never_moved_before_the_test_span_is_named() -> None:
    panel = walks(200, 200)
    still = panel.frame["y"].where((panel.frame["unique_id"] != "b").to_numpy() | (np.arange(400) % 200 >= 170), 5.0)
    result = backtest(replace(panel, frame=panel.frame.assign(y=still)), Ridge(), horizon=1, test=30)
    assert any(note.startswith("b: the (seasonal) naive forecast makes no error") for note in result.notes)


def test_series_that_end_before_the_test_span_are_named(tmp_path: Path) -> None:
    panel = walks(200, 200, 200)
    over = (panel.frame["unique_id"] != "c").to_numpy() & (np.arange(600) % 200 >= 120)
    result = backtest(replace(panel, frame=panel.frame[~over].reset_index(drop=True)), Ridge(), horizon=1, test=30)
    assert (
        "a, b: no value in the test span to score by, so scores and verdict are those of 1 series of 3." in result.notes
    )
    assert not any("count alike" in note for note in result.notes)
    drawn = report_charts.chart_data(report_data.read_page(result.save(tmp_path / "run")))["series"]
    assert drawn[0]["id"] == "c", "a chart opens on something to see"


def test_a_series_that_begins_after_the_cutoff_is_named() -> None:
    result = backtest(walks(200, 200, 20), Ridge(), horizon=1, test=30)
    assert any(note.startswith("c: ") and "the other 2 series" in note for note in result.notes)


def test_scores_are_those_of_metrics() -> None:
    result = backtest(walks(200), small(), horizon=2, test=30)
    table = metrics.score(result.frame, ["gru"], by=["step"])
    mine = result.by_step[result.by_step["model"] == "gru"]
    np.testing.assert_array_equal(mine["mae"], table["mae"])
    assert {"coverage_90", "width_90", "crps", "pinball", "direction", "mase", "rmsse", "smape"} <= set(mine.columns)
    assert {row["quantile"] for row in result.calibration["gru"]} == {0.05, 0.25, 0.5, 0.75, 0.95}


# -- intervals and trading ---------------------------------------------------------------------
@pytest.mark.parametrize("method", ["split", "rolling", "adaptive"])
def test_conformal_intervals_go_around_every_model(method: Any) -> None:
    panel = walks(700, phi=0.0)
    result = backtest(panel, Ridge(), horizon=1, test=300, intervals=method, level=80, calibration=150)
    for name in ("Ridge", *baselines.ALWAYS[:2]):
        assert metrics.levels(result.frame, name) == (80.0,)
    assert 0.72 < scores_of(result).loc["Ridge", "coverage_80"] < 0.88
    width = (result.frame["Ridge-hi-80"] - result.frame["Ridge-lo-80"]).round(9)
    assert (width.nunique() == 1) == (method == "split")


def test_split_intervals_of_a_fitted_model_come_from_rows_it_had_not_seen() -> None:
    class Memory(Holes):
        """Remembers its training rows, knows nothing else: its residuals on them say nothing."""

        name = "memory"

        def fit(self, panel: Panel) -> Memory:
            self.seen = dict(zip(panel.ds, panel.column("y"), strict=True))
            return self

        def predict(self, panel: Panel, rows: np.ndarray, horizon: int) -> np.ndarray:
            after = panel.ds[np.minimum(rows + 1, len(panel) - 1)]
            return np.array([[self.seen.get(stamp, 0.0)] for stamp in after])

    panel = walks(400)
    panel = replace(panel, frame=panel.frame.assign(y=np.random.default_rng(1).standard_normal(400)))
    result = backtest(panel, Memory(), horizon=1, test=100, intervals="split", calibration=120)
    assert 0.8 < scores_of(result).loc["memory", "coverage_90"] < 0.99


def test_infinite_widths_are_reported() -> None:
    result = backtest(walks(150), Ridge(), horizon=1, test=30, intervals="rolling", calibration=3)
    assert scores_of(result).loc["Ridge", "infinite_90"] > 0 and any("no bound" in note for note in result.notes)


def test_intervals_of_short_series_come_from_a_fit_on_half_of_them_at_least() -> None:
    """Fewer training rows than calibration origins are asked for: the second fit must not be left without any."""
    result = backtest(walks(150), [Ridge(), "ETS"], horizon=1, test=30, intervals="split")
    table = scores_of(result)
    assert np.isfinite(table.loc[["Ridge", "ETS"], "width_90"]).all()
    assert not any("too few rows" in note for note in result.notes)


def test_a_series_too_short_for_a_method_is_said() -> None:
    result = backtest(walks(200, 38), "ETS", horizon=1, test=30)
    assert any(note.startswith("ETS forecasts like naive") and "b" in note for note in result.notes)


def test_what_cannot_be_traded_is_refused_before_anything_is_fitted() -> None:
    class Never(Holes):
        def fit(self, panel: Panel) -> Never:
            raise AssertionError("fitted")

    panel = walks(200, positive=True)
    night = panel.frame["y"].where(np.arange(200) != 190, 0.0)
    with pytest.raises(UsageError, match="taken for a sensor's values"):
        backtest(panel, Never(), horizon=1, test=60, trade=True)
    asked: dict[str, Any] = {"horizon": 1, "trade": True, "kind": "price"}
    with pytest.raises(TooShortError, match="too few to trade on"):  # a net says that they are prices
        backtest(panel, [Config.make(kind="price", horizon=1)], horizon=1, test=3, trade=True)
    with pytest.raises(ValueRangeError, match="positive prices"):
        backtest(replace(panel, frame=panel.frame.assign(y=night)), Never(), test=60, **asked)
    with pytest.raises(TooShortError, match="too few to trade on"):
        backtest(panel, Never(), test=3, **asked)


def test_a_scorecard_has_costs_and_buy_and_hold() -> None:
    panel = replace(walks(300, positive=True), meta={"kind": "price", "tickers": ["a"]})
    result = backtest(panel, [Oracle(panel), Ridge()], horizon=1, test=60, trade=True, tried=9)
    assert result.trade is not None
    card = result.trade["oracle"]
    assert {row["strategy"] for row in card["rows"]} == {"oracle", "buy and hold"}
    assert [row["costs"] for row in card["rows"]] == [1, 2, 3] * 2 and card["trials"] == 11
    assert any("survivorship" in note for note in card["notes"])
    assert len(card["equity"]["ds"]) == len(card["equity"]["oracle 1x"])


# -- arguments, storage ------------------------------------------------------------------------
@pytest.mark.parametrize(
    "wrong",
    [
        {"intervals": "bayes"}, {"level": 0}, {"level": 100}, {"jobs": 0}, {"seeds": 0}, {"seeds": [1, 1]},
        {"calibration": 0, "intervals": "split"}, {"hidden": 0}, {"horizn": 3}, {"test": -1},
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        backtest(walks(150), "gru", **{"test": 10, **wrong})


def test_too_short_to_train_on() -> None:
    with pytest.raises(TooShortError):
        backtest(walks(40), "gru", horizon=1, test=30)


def test_a_backtest_is_stored_and_read_back(tmp_path: Path) -> None:
    panel = walks(200, 120)
    result = backtest(panel, ["gru", "ETS"], horizon=2, test=30, seeds=2, config=small())
    document = result.to_json()
    assert {"verdict", "scores", "significance", "folds", "timing", "schema"} <= set(document)
    json.dumps(document, allow_nan=False)
    result.save(tmp_path / "run", extra={"note.txt": "x"})
    again = Backtest.load(tmp_path / "run")
    assert again.to_json() == {**document, "run": str(tmp_path / "run")}
    pd.testing.assert_frame_equal(again.frame, result.frame)
    with (tmp_path / "run" / "scores.csv").open("a") as file:
        file.write("edited\n")
    with pytest.raises(ArtifactError):
        Backtest.load(tmp_path / "run")


def test_no_seeds_are_stored_and_read_back_with_their_columns(tmp_path: Path) -> None:
    result = backtest(walks(150), Ridge(), horizon=1, test=10)
    result.save(tmp_path / "run")
    assert list(result.seeds) == list(SEED_COLUMNS) and result.seeds.empty
    pd.testing.assert_frame_equal(Backtest.load(tmp_path / "run").seeds, result.seeds)


def test_the_facade_is_callable_and_a_module() -> None:
    import forecast

    result = forecast.backtest(walks(120), [], horizon=1, test=20)  # type: ignore[operator]
    assert isinstance(result, Backtest) and "Verdict" in repr(result)
    assert forecast.backtest.backtest is backtest  # type: ignore[attr-defined]


def test_a_net_is_described_by_its_settings_but_not_by_threads() -> None:
    one, two = Net("gru", small()), Net("gru", small(**{"train.threads": 2, "train.seed": 5}))
    assert one.describe() == two.describe() != Net("gru", small(**{"train.lr": 0.1})).describe()
    assert SMALL["train.threads"] == 1
