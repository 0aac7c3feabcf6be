"""Newest values in another unit than the training's are said; drift, trends and growth are not."""

from __future__ import annotations

import numpy as np
import pytest

import forecast
from forecast.elsewhere import notes_on_level, ranges_of

RNG = np.random.default_rng(0)
WAVE = 10 + 3 * np.sin(np.arange(300) / 4)
GROWN = 100 * np.exp(np.cumsum(RNG.normal(0.01, 0.01, 600)))  # some 400-fold, as much again as in the first half
FLAT = np.r_[100 + RNG.normal(0, 1, 300), 100 * np.exp(np.linspace(0, np.log(9), 300))]
SPARSE = np.where(np.arange(600) % 50 == 0, 1000.0, 0.0)


def told(make_panel, training, newer, *, log: bool = False) -> list[str]:
    panel = make_panel(np.r_[training, newer])
    return notes_on_level(panel, ranges_of(panel, np.array([len(training)])), log=log)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("times", [1000, 100, 0.01, 0.001])
def test_another_unit_is_said(make_panel, times: float, log: bool) -> None:
    (note,) = told(make_panel, WAVE, times * WAVE, log=log)
    assert note.startswith("a: its newest values lie far from those that training saw of it (a: about ")
    (below,) = told(make_panel, -WAVE, -times * WAVE)
    assert below.startswith("a: ")


def test_values_about_zero_and_constants_in_another_unit_are_said(make_panel) -> None:
    assert told(make_panel, WAVE - 10, 1000 * (WAVE - 10))
    assert told(make_panel, np.full(50, 5.0), np.full(50, 5000.0))
    assert told(make_panel, WAVE, np.r_[np.full(30, np.nan), 1000 * WAVE, np.nan])


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(
    ("training", "newer"),
    [
        (WAVE, WAVE), (WAVE, WAVE + 30), (WAVE, np.zeros(30)), (WAVE, 5 * WAVE), (GROWN[:300], GROWN[300:560]),
        (FLAT[:300], FLAT[300:]), (SPARSE[:300], SPARSE[300:]), (np.zeros(300), WAVE), (WAVE, np.full(9, np.nan)),
        (np.linspace(0, 100, 100), np.linspace(100, 1000, 900)), (np.full(50, np.nan), WAVE), (WAVE * 1000, WAVE * 300),
        (np.full(50, 5.0), np.full(50, 15.0)), (WAVE, np.r_[WAVE, np.full(9, 1e6)]),
    ],
)  # fmt: skip
def test_drift_trends_growth_and_rest_are_not_said(make_panel, training, newer, log: bool) -> None:
    assert told(make_panel, training, newer, log=log) == []


def test_a_model_says_it_of_new_rows_and_an_old_run_says_nothing(make_panel, tmp_path) -> None:
    fitted = {"a": WAVE, "b": 2 * WAVE, "late": np.r_[np.full(290, np.nan), WAVE[:10]]}
    model = forecast.fit(make_panel(fitted), horizon=2, hidden=4, epochs=1)
    assert not any("newest values" in note for note in model.notes)
    model.save(tmp_path / "run")
    model = forecast.Model.load(tmp_path / "run")
    model.predict(make_panel({"a": 1000 * WAVE, "b": 2 * WAVE}, start="2021-01-01"))
    (note,) = [note for note in model.notes if "newest values" in note]
    assert note.startswith("a: its newest values") and "training saw 7.0" in note
    model.predict(make_panel({"a": 1000 * WAVE, "b": 2000 * WAVE}, start="2021-01-01"))
    assert any(note.startswith("a, b: their newest values lie far from") for note in model.notes)
    del model.facts["ranges"]
    assert not any("newest values" in note for note in model.notes)
