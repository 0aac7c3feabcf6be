"""The scikit-learn face: its own checks, its tools around it, shapes, units, and what is refused."""

from __future__ import annotations

import doctest
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import forecast.sklearn
import pipelines as pl
from forecast.config import Config
from forecast.family import FAMILY, Member
from forecast.sklearn import RecurrentRegressor
from pipelines.batches import Windows
from pipelines.errors import TrainingError, UsageError
from pipelines.panel import Panel

Array = NDArray[np.float64]
EXPECTED_FAILED_CHECKS: dict[str, str] = {}  # name of a check: why it does not apply. None.
LOOKBACK, HORIZON = 12, 3


def quick(**options: Any) -> RecurrentRegressor:
    return RecurrentRegressor(**{"core": "rnn", "hidden": 8, "dropout": 0.0, "epochs": 2, "lr": 0.01, **options})


@pytest.fixture(scope="module")
def wave(make_panel: Callable[..., Panel]) -> Windows:
    """A noisy sine around 50 with a period of 12."""
    t = np.arange(160)
    y = 50 + 4 * np.sin(2 * np.pi * t / 12) + np.random.default_rng(0).normal(0, 0.1, len(t))
    return pl.windows(make_panel(y), LOOKBACK, HORIZON)


@parametrize_with_checks(  # long enough for the R2 of 0.5 that check_regressors_train asks for
    [RecurrentRegressor("rnn", hidden=32, dropout=0.0, epochs=10, lr=0.02)],
    expected_failed_checks=lambda estimator: EXPECTED_FAILED_CHECKS,
)
def test_scikit_learns_own_checks(estimator: RecurrentRegressor, check: Callable[[RecurrentRegressor], None]) -> None:
    check(estimator)


def test_the_example_in_the_docstring() -> None:
    result = doctest.testmod(forecast.sklearn)
    assert result.attempted > 0 and result.failed == 0


# -- accuracy and units ----------------------------------------------------------------------------
@pytest.mark.parametrize("anchor", ["none", "last"])
def test_it_learns(wave: Windows, anchor: str) -> None:
    net = quick(core="gru", hidden=16, epochs=20, lr=0.02, anchor=anchor).fit(wave.X[:110], wave.y[:110])
    assert net.score(wave.X[110:], wave.y[110:]) > 0.95  # of the variance; what is left of 1 is noise and a short fit


def test_the_newest_step_counts_for_every_step_ahead(wave: Windows) -> None:
    net = quick().fit(wave.X, wave.y)
    moved = wave.X[:1].copy()
    moved[0, -1] += 1.0
    assert (net.predict(moved) != net.predict(wave.X[:1])).all()


@pytest.mark.parametrize(("a", "b"), [(1000.0, -7.0), (1e-4, 3.0), (1.0, 1e4)])
def test_predictions_follow_an_affine_change_of_y(wave: Windows, a: float, b: float) -> None:
    plain = quick().fit(wave.X, wave.y).predict(wave.X)
    changed = quick().fit(wave.X, a * wave.y + b).predict(wave.X)
    np.testing.assert_allclose((changed - b) / a, plain, atol=1e-3 * wave.y.std())


@pytest.mark.parametrize("anchor", ["none", "last"])
def test_predictions_follow_an_affine_change_of_the_series(wave: Windows, anchor: str) -> None:
    plain = quick(anchor=anchor).fit(wave.X, wave.y).predict(wave.X)
    changed = quick(anchor=anchor).fit(8 * wave.X - 3, 8 * wave.y - 3).predict(8 * wave.X - 3)
    np.testing.assert_allclose((changed + 3) / 8, plain, atol=1e-3 * wave.y.std())


def test_anchored_to_the_last_value_a_level_never_seen_is_no_hindrance(wave: Windows) -> None:
    net = quick(anchor="last").fit(wave.X, wave.y)
    np.testing.assert_allclose(net.predict(wave.X + 1e4) - 1e4, net.predict(wave.X), atol=1e-6)
    free = quick().fit(wave.X, wave.y)
    assert np.abs(free.predict(wave.X + 1e4) - 1e4).min() > 1e3


def test_a_parameter_set_behind_a_fit_waits_for_the_next(wave: Windows) -> None:
    net = quick().fit(wave.X, wave.y)
    before = net.predict(wave.X)
    np.testing.assert_array_equal(net.set_params(anchor="last", channels=2, hidden=3).predict(wave.X), before)


def test_one_unit_a_channel_keeps_the_shape_of_a_window() -> None:
    x = np.random.default_rng(0).normal(size=(30, 5, 2)) * [1, 1000] + [0, 1e6]
    net = quick().fit(x, x[:, -1, 0])
    assert net.x_scaler_.center.shape == (2,)
    np.testing.assert_allclose(net.x_scaler_.apply(x).std(axis=(0, 1)), 1)


# -- shapes ----------------------------------------------------------------------------------------
def test_flat_windows_fold_to_the_same_net(wave: Windows) -> None:
    x = np.concatenate([wave.X, wave.X**2], axis=2)
    deep = quick().fit(x, wave.y)
    flat = quick(channels=2).fit(x.reshape(len(x), -1), wave.y)
    assert (deep.channels_, deep.lookback_, deep.n_features_in_) == (2, LOOKBACK, 2 * LOOKBACK)
    np.testing.assert_array_equal(deep.predict(x), flat.predict(x))
    np.testing.assert_array_equal(deep.predict(x.reshape(len(x), -1)), deep.predict(x))
    alone = quick().fit(x.reshape(len(x), -1), wave.y)
    assert (alone.channels_, alone.lookback_) == (1, 2 * LOOKBACK)
    assert not np.array_equal(alone.predict(x.reshape(len(x), -1)), deep.predict(x))


def test_predictions_have_the_shape_of_y(wave: Windows) -> None:
    assert quick().fit(wave.X, wave.y[:, 0]).predict(wave.X).shape == (len(wave),)
    assert quick().fit(wave.X, wave.y[:, :1]).predict(wave.X).shape == (len(wave), 1)
    assert quick().fit(wave.X, wave.y).predict(wave.X[:1]).shape == (1, HORIZON)


@pytest.mark.parametrize("core", [name for name, member in FAMILY.items() if member.gradient and member.windows])
def test_every_core_that_learns_by_gradients(core: str, wave: Windows) -> None:
    net = quick(core=core, dropout=None, epochs=3).fit(wave.X, wave.y)
    assert net.config_.data.anchor == ("last" if core == "segrnn" else "none")
    assert np.isfinite(net.predict(wave.X)).all()
    assert net.score(wave.X, wave.y) > -1


@pytest.mark.parametrize("lacks", [{"gradient": False}, {"windows": False}])
def test_a_core_that_learns_otherwise_is_refused(lacks: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILY, "lstm", Member("about", "reference", **lacks))
    with pytest.raises(UsageError, match=r"gradients on windows.*rnn, "):
        quick(core="lstm").fit(X, Y)


def test_settings_reach_the_net_and_the_trainer(wave: Windows) -> None:
    plain = quick(core="lstm").fit(wave.X, wave.y)
    both = quick(core="lstm", settings={"bidirectional": True}).fit(wave.X, wave.y)
    assert both.network_.core.out_features == 2 * plain.network_.core.out_features
    for settings in (
        {"optimizer": "rmsprop"},
        {"train.clip": 0.01},
        {"average": 0},
        {"train__weight_decay": 0.5},
        {"init": "torch"},
    ):
        other = quick(core="lstm", settings=settings).fit(wave.X, wave.y)
        assert np.abs(other.predict(wave.X) - plain.predict(wave.X)).max() > 1e-6, settings


def test_numbers_of_numpy_are_parameters_too(wave: Windows) -> None:
    net = quick(hidden=np.int64(4), lr=np.float32(0.01), epochs=np.int32(1), batch=np.int64(16)).fit(wave.X, wave.y)
    assert net.config_.model.hidden == 4


def test_what_is_not_said_is_as_in_forecast_fit(wave: Windows) -> None:
    config = RecurrentRegressor(epochs=1, loss="huber").fit(wave.X, wave.y).config_
    expected = Config.make({"model": {"head": "point", "skip": 0}, "train": {"epochs": 1, "threads": 1}})
    assert (config.model, config.train, config.data.lanes) == (expected.model, expected.train, 32)


def test_epochs_follow_from_the_updates(wave: Windows) -> None:
    net = quick(epochs=None, batch=50, settings={"updates": 9}).fit(wave.X, wave.y)
    assert net.config_.train.epochs == 3  # three updates a pass


@pytest.mark.parametrize(
    ("core", "settings", "said"),
    [
        ("lstm", {"kernel": 9}, r"model\.kernel=9 does nothing"),
        ("lstm", {"model.segment": 3}, r"model\.segment=3 does nothing"),
        ("lstm", {"updates": 3}, r"train\.updates=3 does nothing: train\.epochs"),
    ],
)
def test_settings_that_do_nothing_are_warned_of(wave: Windows, core: str, settings: dict[str, Any], said: str) -> None:
    plain = quick(core=core).fit(wave.X, wave.y).predict(wave.X)
    with pytest.warns(UserWarning, match=said) as caught:
        net = quick(core=core, settings=settings).fit(wave.X, wave.y)
    assert [one.filename for one in caught] == [__file__]
    np.testing.assert_array_equal(net.predict(wave.X), plain)


@pytest.mark.parametrize("core", [name for name, member in FAMILY.items() if member.gradient and member.windows])
def test_parameters_alone_are_not_warned_of(core: str) -> None:  # warnings are errors here
    RecurrentRegressor(core, hidden=4, epochs=1, batch=8, lr=0.01).fit(X, Y)


def test_a_grid_search_is_warned_once(wave: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast.sklearn, "_TOLD", set())
    net = quick(hidden=2, epochs=1, settings={"classes": 3})
    with pytest.warns(UserWarning, match="does nothing") as caught:
        GridSearchCV(net, {"lr": [0.01, 0.1]}, cv=2, error_score="raise").fit(wave.X, wave.y)
    assert len(caught) == 1


def test_segments_that_do_not_fit_are_told_in_columns() -> None:
    with pytest.raises(UsageError, match="X has windows of 12 columns, no multiple of segment = 5") as caught:
        quick(core="segrnn", settings={"segment": 5}).fit(np.ones((20, 12)), np.ones((20, 5)))
    assert "--" not in str(caught.value)
    with pytest.raises(UsageError, match="y has targets of 3 columns, no multiple of segment = 4"):
        quick(core="segrnn", settings={"segment": 4}).fit(np.ones((20, 12)), np.ones((20, 3)))


# -- chance ----------------------------------------------------------------------------------------
def test_equal_random_states_give_equal_predictions(wave: Windows) -> None:
    def predictions(state: Any) -> Array:
        torch.seed()  # what torch's own generator stands at has no say
        return quick(random_state=state, dropout=0.3).fit(wave.X, wave.y).predict(wave.X)

    np.testing.assert_array_equal(predictions(3), predictions(3))
    np.testing.assert_array_equal(predictions(np.random.RandomState(3)), predictions(np.random.RandomState(3)))
    assert not np.array_equal(predictions(3), predictions(4))
    assert not np.array_equal(predictions(None), predictions(None))


def test_a_fit_leaves_torch_as_it_was(wave: Windows) -> None:
    torch.manual_seed(5)
    before, count = torch.get_rng_state(), torch.get_num_threads()
    quick(settings={"threads": 1}).fit(wave.X, wave.y).predict(wave.X)
    assert torch.equal(before, torch.get_rng_state()) and torch.get_num_threads() == count


@pytest.mark.filterwarnings("ignore")  # as in the test of cross-validation in threads
def test_fits_in_threads_do_not_share_their_chance(wave: Windows) -> None:
    nets = [quick(dropout=0.3, epochs=5, random_state=seed) for seed in range(4)]
    alone = [clone(net).fit(wave.X, wave.y).predict(wave.X) for net in nets]
    together = joblib.Parallel(4, backend="threading")(joblib.delayed(net.fit)(wave.X, wave.y) for net in nets)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other.predict(wave.X))


# -- scikit-learn's tools --------------------------------------------------------------------------
@pytest.mark.parametrize(
    "backend",
    [
        # filters of warnings belong to the process: threads undo one another's
        pytest.param("threading", marks=pytest.mark.filterwarnings("ignore")),
        pytest.param("loky", marks=pytest.mark.slow),  # a process loads torch for seconds
    ],
)
def test_cross_validation_side_by_side_is_cross_validation(wave: Windows, backend: str) -> None:
    cv = TimeSeriesSplit(2, gap=HORIZON - 1)
    with joblib.parallel_config(backend):
        two = cross_val_score(quick(dropout=0.2), wave.flat, wave.y, cv=cv, n_jobs=2, error_score="raise")
    one = cross_val_score(quick(dropout=0.2), wave.flat, wave.y, cv=cv, error_score="raise")
    np.testing.assert_array_equal(one, two)


def test_the_folds_of_pipelines(wave: Windows) -> None:
    cv = pl.WalkForwardSplit(3, test=20, horizon=HORIZON)
    scores = cross_val_score(
        quick(), wave.X, wave.y, groups=wave.origins, cv=cv, scoring="neg_mean_absolute_error", error_score="raise"
    )
    assert scores.shape == (3,) and np.isfinite(scores).all()
    train, test = next(cv.split(wave))
    by_hand = -np.abs(quick().fit(wave.X[train], wave.y[train]).predict(wave.X[test]) - wave.y[test]).mean()
    assert scores[0] == pytest.approx(by_hand, rel=1e-12)


def test_behind_a_scaler_and_under_a_grid_search(wave: Windows) -> None:
    pipe = make_pipeline(StandardScaler(), quick())
    grid = {"recurrentregressor__hidden": [2, 8], "recurrentregressor__settings": [None, {"average": 0}]}
    search = GridSearchCV(pipe, grid, cv=TimeSeriesSplit(2), error_score="raise").fit(wave.flat, wave.y)
    assert len(search.cv_results_["params"]) == 4
    assert search.predict(wave.flat).shape == wave.y.shape
    best = clone(pipe).set_params(**search.best_params_).fit(wave.flat, wave.y)
    np.testing.assert_array_equal(best.predict(wave.flat), search.predict(wave.flat))


def test_cross_val_predict_keeps_rows_in_their_place(wave: Windows) -> None:
    out = cross_val_predict(quick(epochs=10), wave.X, wave.y, cv=3)
    assert np.corrcoef(out[:, 0], wave.y[:, 0])[0, 1] > 0.8


def test_a_copy_on_disk_predicts_alike(wave: Windows, tmp_path: Path) -> None:
    net = quick(core="lstm", anchor="last").fit(wave.X, wave.y)
    joblib.dump(net, tmp_path / "net.joblib")
    for mode in (None, "r"):
        again = joblib.load(tmp_path / "net.joblib", mmap_mode=mode)
        np.testing.assert_array_equal(again.predict(wave.X), net.predict(wave.X))
    assert again.fit(wave.X, wave.y) is again  # and can be trained again
    np.testing.assert_array_equal(again.predict(wave.X), net.predict(wave.X))


def test_parameters_are_got_set_and_cloned() -> None:
    net = RecurrentRegressor("gru", hidden=5, settings={"bidirectional": True})
    assert net.get_params()["hidden"] == 5 and net.set_params(hidden=6) is net
    copy = clone(net)
    assert copy is not net and copy.get_params() == net.get_params()
    assert repr(net) == "RecurrentRegressor(core='gru', hidden=6, settings={'bidirectional': True})"


# -- what comes in ---------------------------------------------------------------------------------
def test_tables_keep_their_names(wave: Windows) -> None:
    table = pd.DataFrame(wave.flat, columns=[f"lag{i}" for i in range(LOOKBACK, 0, -1)])
    net = quick().fit(table, pd.DataFrame(wave.y))
    assert list(net.feature_names_in_) == list(table.columns)
    np.testing.assert_array_equal(net.predict(table), quick().fit(wave.X, wave.y).predict(wave.X))
    with pytest.raises(ValueError, match="feature names should match"):
        net.predict(table[table.columns[::-1]])


@pytest.mark.parametrize(
    "change", [np.asarray, np.float32, lambda x: x.astype(object), lambda x: x.tolist(), np.asfortranarray]
)
def test_arrays_of_any_make(wave: Windows, change: Callable[[Array], Any]) -> None:
    x, y = np.round(wave.X, 2).astype(np.float32).astype(np.float64), wave.y.astype(np.float32).astype(np.float64)
    expected = quick().fit(x, y).predict(x)
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(quick().fit(change(x), change(y)).predict(change(x)), expected)


def test_windows_are_not_written_to(wave: Windows) -> None:
    x, y = wave.X.copy(), wave.y.copy()
    quick(anchor="last").fit(x, y).predict(x)
    np.testing.assert_array_equal(x, wave.X)
    np.testing.assert_array_equal(y, wave.y)


def test_what_never_moves(wave: Windows) -> None:
    constant = quick().fit(wave.X, np.full(len(wave), 7.0)).predict(wave.X)
    np.testing.assert_allclose(constant, 7.0, atol=1.0)
    still = quick(anchor="last").fit(np.full((20, 5), 3.0), np.full(20, 3.0))
    assert np.isfinite(still.predict(np.full((2, 5), 3.0))).all()


HOLE = np.where(np.arange(60).reshape(20, 3) == 7, np.nan, 1.0)
X, Y = np.arange(60.0).reshape(20, 3), np.arange(20.0)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (HOLE, Y, "Input X contains NaN"),
        (HOLE[..., None], Y, "Input X contains NaN"),
        (X, np.where(Y == 3, np.nan, Y), "Input y contains NaN"),
        (X, np.where(Y == 3, np.inf, Y), "Input y contains infinity"),
        (X[:1], Y[:1], r"1 sample\(s\)"),
        (X[:0], Y[:0], r"0 sample\(s\)"),
        (X[:, :0], Y, r"0 feature\(s\)"),
        (X, Y[:-1], "inconsistent numbers of samples"),
        (X, Y.reshape(20, 1, 1), "dim 3"),
        (X.reshape(20, 3, 1, 1), Y, "dim 4"),
        (Y, Y, "Reshape your data"),
        (X.astype(str), Y, "dtype='numeric' is not compatible"),
        (X, Y.astype(str), "dtype='numeric' is not compatible"),
        (np.full((20, 3), "a", object), Y, "could not convert string"),
        (X, np.full(20, "a", object), "could not convert string"),
        (X + 1j, Y, "Complex data"),
        (X, Y + 1j, "Complex data"),
        (X, None, "requires y"),
        (None, Y, "Expected 2D array"),
    ],
)
def test_data_that_is_refused(x: Any, y: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        quick().fit(x, y)


@pytest.mark.parametrize(("x", "y"), [(csr_array(X), Y), (X, csr_array(Y[:, None]))])
def test_sparse_data_is_refused(x: Any, y: Any) -> None:
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        quick().fit(x, y)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"core": "lstmm"}, "Did you mean 'lstm'"),
        ({"core": ["lstm"]}, "model.core"),
        ({"hidden": 0}, "model.hidden"),
        ({"hidden": "many"}, "model.hidden"),
        ({"layers": 0}, "model.layers"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"loss": "r2"}, "model.loss"),
        ({"epochs": 0}, "train.epochs"),
        ({"batch": 0}, "batch is 0"),
        ({"batch": "auto"}, "batch is 'auto'"),
        ({"lr": -1.0}, "train.lr"),
        ({"anchor": "mean"}, "'none' or 'last'"),
        ({"core": "segrnn", "anchor": "none"}, "anchor is 'none'"),
        ({"core": "segrnn", "channels": 3}, "first channel alone; here channels is 3"),
        ({"channels": 2}, "no whole steps of 2 channels"),
        ({"channels": 0}, "at least 1"),
        ({"channels": 1.5}, "whole number"),
        ({"channels": True}, "channels is True"),
        ({"core": None}, "core is None, expected the name of a net"),
        ({"batch": True}, "batch is True, expected a number"),
        ({"epochs": np.True_}, "epochs is .*True"),
        ({"core": "segrnn", "settings": {"segment": 2}}, "X has windows of 3 columns.*Give X with 4 columns"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"random_state": -1}, "between 0 and"),
        ({"settings": {"hiden": 3}}, "Did you mean"),
        ({"settings": {"hidden": 3}}, "Use hidden="),
        ({"settings": {"train.seed": 3}}, "Use random_state="),
        ({"settings": {"clip": 3}}, "ambiguous"),
        ({"settings": {"horizon": 3}}, "how a panel becomes windows"),
        ({"settings": {"head": "quantile"}}, "one number per step"),
        ({"settings": {"skip": 3}}, "no longer past"),
        ({"settings": {"patience": 3}}, "no stop span"),
        ({"settings": [1]}, "expected a mapping"),
        ({"settings": {"accelerator": "warp"}}, "accelerator"),
    ],
)
def test_parameters_that_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        quick(**options).fit(X, Y)


def test_windows_of_another_width_are_refused(wave: Windows) -> None:
    with pytest.raises(NotFittedError):
        quick().predict(wave.X)
    net = quick().fit(wave.X, wave.y)
    with pytest.raises(ValueError, match="X has 11 features, but RecurrentRegressor is expecting 12"):
        net.predict(wave.X[:, 1:])
    with pytest.raises(UsageError, match="X has 2 channels, the net was fitted on 1"):
        net.predict(wave.X.reshape(len(wave), -1, 2))
    with pytest.raises(UsageError, match="X has 1 channels, the parameter channels says 2"):
        quick(channels=2).fit(wave.X, wave.y)


def test_training_that_explodes_says_so(wave: Windows) -> None:
    with pytest.raises(TrainingError, match="loss is"):
        quick(core="rnn-relu", lr=1e30, epochs=30, settings={"train.clip": 0}).fit(wave.X, wave.y)


# -- names and imports -----------------------------------------------------------------------------
def test_scikit_learn_is_not_hidden() -> None:
    import sklearn

    assert sklearn.__name__ == "sklearn" and sklearn is not forecast.sklearn
    assert issubclass(RecurrentRegressor, sklearn.base.BaseEstimator)


def test_scikit_learn_loads_only_when_asked(root: Path) -> None:
    code = "import sys, forecast; print({'torch', 'sklearn', 'forecast.sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "set()", done.stderr


def test_nothing_is_printed(wave: Windows, capfd: pytest.CaptureFixture[str], tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    quick().fit(wave.X, wave.y).predict(wave.X)
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_a_loaded_net_is_small(wave: Windows) -> None:
    """What is kept is the net, not the windows it saw."""
    many = np.repeat(wave.X, 20, axis=0)
    sizes = []
    for x in (wave.X, many):
        file = io.BytesIO()
        joblib.dump(quick(epochs=1).fit(x, x[:, -1, 0]), file)
        sizes.append(len(file.getvalue()))
    assert abs(sizes[0] - sizes[1]) < 100


def test_small_units_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 6)), rng.normal(size=80)
    usual = quick().fit(X, y).predict(X)
    small = quick().fit(2.0**-43 * X, 2.0**-43 * y).predict(2.0**-43 * X)
    np.testing.assert_allclose(small / 2.0**-43, usual, rtol=1e-6, atol=1e-9)


def test_no_windows_to_predict_are_refused_as_scikit_learn_does() -> None:
    net = RecurrentRegressor("rnn", hidden=2, epochs=1).fit(
        np.ones((20, 4, 2)) * np.arange(20)[:, None, None], np.arange(20)
    )
    with pytest.raises(ValueError, match=r"0 sample\(s\)"):
        net.predict(np.ones((0, 4, 2)))
