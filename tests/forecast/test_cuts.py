"""Folds and origins: equal to scikit-learn's and sktime's splitters, never a target outside the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import TimeSeriesSplit

from forecast.cuts import Cut, Refit, plan, test_rows
from pipelines.errors import TooShortError, UsageError

STAMPS = pd.date_range("2024-01-01", periods=40, freq="D")


def as_rows(cuts: list[Cut], stamps: pd.DatetimeIndex = STAMPS) -> list[tuple[list[int], list[int]]]:
    def between(low: pd.Timestamp, high: pd.Timestamp) -> list[int]:
        return list(range(stamps.get_loc(low), stamps.get_loc(high) + 1))

    return [
        (between(cut.fold.train_start, cut.fold.cutoff), between(cut.fold.test_start, cut.fold.test_end))
        for cut in cuts
    ]


@pytest.mark.parametrize(
    ("splits", "test", "gap", "most"), [(4, 5, 0, None), (3, 7, 2, None), (5, 4, 3, 9), (2, 1, 0, 6)]
)
def test_folds_are_those_of_scikit_learn(splits: int, test: int, gap: int, most: int | None) -> None:
    theirs = TimeSeriesSplit(splits, test_size=test, gap=gap, max_train_size=most).split(np.zeros(len(STAMPS)))
    window = "expanding" if most is None else most
    mine = plan(STAMPS, test=splits * test, gap=gap, refit=test, window=window)  # type: ignore[arg-type]
    assert as_rows(mine) == [(train.tolist(), rows.tolist()) for train, rows in theirs]


# sktime is not installed. Its documented rule: the first cutoff is row `initial_window - 1` (`window_length - 1` when
# sliding), the next follow `step_length` rows apart while `cutoff + max(fh)` is a row; test rows are `cutoff + fh`,
# training rows all up to the cutoff, or the last `window_length` of them. By hand for 12 rows, fh = [1, 2], step 2:
EXPANDING = [([0, 1, 2, 3, 4], [5, 6]), ([0, 1, 2, 3, 4, 5, 6], [7, 8]), ([0, 1, 2, 3, 4, 5, 6, 7, 8], [9, 10])]
SLIDING = [([0, 1, 2, 3, 4], [5, 6]), ([2, 3, 4, 5, 6], [7, 8]), ([4, 5, 6, 7, 8], [9, 10])]


@pytest.mark.parametrize(("window", "expected"), [("expanding", EXPANDING), (5, SLIDING)])
def test_folds_are_those_of_sktime(window: object, expected: list[tuple[list[int], list[int]]]) -> None:
    stamps = STAMPS[:12]
    cuts = plan(stamps, test=12 - 5, horizon=2, stride=2, refit="cold:2", window=window)  # type: ignore[arg-type]
    assert as_rows(cuts, stamps) == expected
    assert [len(cut.origins) for cut in cuts] == [1, 1, 1]


def test_without_refit_there_is_one_fold_and_every_target_exists() -> None:
    [cut] = plan(STAMPS, test=10, horizon=3)
    assert cut.fold.cutoff == STAMPS[29] and cut.fold.test_end == STAMPS[39]
    assert list(cut.origins) == list(STAMPS[29:37].to_numpy())


def test_the_gap_lies_between_the_cutoff_and_the_first_origin() -> None:
    cuts = plan(STAMPS, test=12, horizon=2, gap=3, refit=6, stride=3)
    for cut in cuts:
        assert STAMPS.get_loc(pd.Timestamp(cut.origins[0])) - STAMPS.get_loc(cut.fold.cutoff) == 3
    every = np.concatenate([cut.origins for cut in cuts])
    assert set(np.diff(every)) == {np.timedelta64(3, "D")}


@pytest.mark.parametrize(
    ("given", "kind", "every"),
    [("never", "never", None), (20, "cold", 20), ("7", "cold", 7), ("warm", "warm", None), ("cold:3", "cold", 3)],
)
def test_refit_as_people_write_it(given: str | int, kind: str, every: int | None) -> None:
    assert Refit.parse(given) == Refit(kind, every)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["sometimes", "0", "warm:x", "never:3", "-5", "warm:"])
def test_a_refit_nobody_understands_is_refused(given: str) -> None:
    if given == "warm:":
        assert Refit.parse(given) == Refit("warm", None)
        return
    with pytest.raises(UsageError, match="refit"):
        Refit.parse(given)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"test": 40}, TooShortError),
        ({"test": 10, "horizon": 11}, TooShortError),
        ({"test": 10, "gap": 30}, TooShortError),
        ({"test": 10, "stride": 0}, UsageError),
        ({"test": 10, "gap": -1}, UsageError),
        ({"test": 10, "window": 0}, UsageError),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        plan(STAMPS, **options)  # type: ignore[arg-type]


test_rows.__test__ = False  # type: ignore[attr-defined]  # a function of the module under test, not a test


@pytest.mark.parametrize("test", [0, -3, 2.5, True])
def test_a_test_span_is_rows_or_a_share(test: float) -> None:
    from tests.forecast.walks import walks

    assert test_rows(walks(200), 0.2) == 40 and test_rows(walks(200), 30) == 30
    with pytest.raises(UsageError, match="share"):
        test_rows(walks(200), test)
