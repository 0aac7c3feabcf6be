"""Folds cut where scikit-learn's TimeSeriesSplit cuts, and no training target reaches a test target."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import TimeSeriesSplit

from pipelines.batches import windows
from pipelines.errors import TooShortError, UsageError
from pipelines.folds import WalkForwardSplit, walk_forward

DAYS = pd.date_range("2020-01-01", periods=400, freq="D")


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 9), st.one_of(st.none(), st.integers(20, 100)))
def test_equal_to_scikit_learn(folds: int, test: int, gap: int, most: int | None) -> None:
    if folds < 2:  # scikit-learn wants two or more
        folds = 2
    expected = TimeSeriesSplit(folds, test_size=test, gap=gap, max_train_size=most).split(np.zeros(len(DAYS)))
    for fold, (train, tested) in zip(
        walk_forward(DAYS, folds=folds, test=test, gap=gap, max_train=most), expected, strict=True
    ):
        assert (DAYS[train[0]], DAYS[train[-1]]) == (fold.train_start, fold.cutoff)
        assert (DAYS[tested[0]], DAYS[tested[-1]]) == (fold.test_start, fold.test_end)


def test_stride_moves_the_cuts() -> None:
    cuts = [fold.cutoff for fold in walk_forward(DAYS, folds=3, test=20, stride=5)]
    assert cuts == [DAYS[369], DAYS[374], DAYS[379]]


def test_train_and_test_rows(sensors) -> None:
    fold = walk_forward(sensors, folds=2, test=24, max_train=48)[0]
    train, test = fold.train(sensors), fold.test(sensors)
    assert train.end <= fold.cutoff < test["ds"].min()
    assert train.start == fold.train_start
    assert "y" in test
    assert set(train.ids) <= set(sensors.ids)


def test_no_training_target_reaches_a_test_target(random_walk) -> None:
    horizon = 5
    w = windows(random_walk, lookback=10, horizon=horizon)
    at = np.searchsorted(np.unique(w.origins), w.origins)
    for train, test in WalkForwardSplit(4, test=30, horizon=horizon).split(w):
        assert (at[train].max() + horizon) < at[test].min() + 1
        assert len(test) == 30


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"test": 0}, "^test is 0, it must be at least 1"),
        ({"folds": 0, "test": 5}, "^folds is 0"),
        ({"gap": -1, "test": 5}, "^gap is -1, it must be at least 0"),
        ({"test": 5, "max_train": 0}, "^max_train is 0"),
    ],
)
def test_bad_arguments(bad: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        walk_forward(DAYS, **bad)


def test_a_splitter_names_its_own_argument() -> None:
    with pytest.raises(UsageError, match=r"^n_splits is 0, it must be at least 1"):
        WalkForwardSplit(0, test=5)


def test_too_short() -> None:
    with pytest.raises(TooShortError, match="are needed"):
        walk_forward(DAYS[:30], folds=5, test=10)


def test_a_splitter_without_stamps() -> None:
    with pytest.raises(UsageError, match="time stamps"):
        next(WalkForwardSplit(2, test=5).split(np.zeros((50, 3))))
