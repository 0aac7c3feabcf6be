"""A split after the fit moves no forecast but to the new share count, however the model reads prices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import forecast
from forecast.model import Model
from forecast.pieces import Pieces, forecast_in_pieces
from pipelines.errors import UsageError
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.sources.memory import Memory
from pipelines.tickers import load
from tests.splits import FIT, SPLIT, market

TINY: dict[str, Any] = {"hidden": 4, "epochs": 1, "threads": 1, "horizon": 3}
KINDS: dict[str, dict[str, Any]] = {
    "stream": {},
    "levels": {"mode": "window", "lookback": 20, "log": False, "features": "level", "anchor": "none"},
    "recursive": {"strategy": "recursive"},
}


@pytest.fixture(scope="module")
def plain() -> Memory:
    return market(Memory())


@pytest.fixture(scope="module")
def split() -> Memory:
    return market(Memory(), ratio=20.0)


def read(source: Memory, **options: Any) -> Panel:
    return load("A", source=source, past=["volume", "open"], **options)


@pytest.fixture(scope="module")
def models(split: Memory) -> dict[str, Model]:
    return {kind: forecast.fit(read(split, end=str(FIT.date())), **TINY, **KINDS[kind]) for kind in KINDS}


def values(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    return frame.drop(columns=["unique_id", "ds", "cutoff"]).to_numpy(np.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_agree_with_and_without_a_later_split(
    models: dict[str, Model], plain: Memory, split: Memory, kind: str, tmp_path: Path
) -> None:
    model = models[kind]
    one = values(model.predict(read(plain)))
    np.testing.assert_allclose(one[:, 0], read(plain).column("y")[-1], rtol=0.3)
    other = values(model.predict(read(split)))
    np.testing.assert_allclose(other * 20, one, rtol=1e-5)
    again = Model.load(model.save(tmp_path / "run"))  # stands behind the split
    np.testing.assert_allclose(values(again.predict()) * 20, one, rtol=1e-5)
    rows = np.arange(len(read(plain)) - 8, len(read(plain)))
    before, after = (model.forecast_rows(read(source), rows) for source in (plain, split))
    np.testing.assert_allclose(after.point * 20, before.point, rtol=1e-5)
    np.testing.assert_allclose(after.bounds[90][1] * 20, before.bounds[90][1], rtol=1e-5)


def test_rows_behind_a_split_go_on_as_the_whole_history(models: dict[str, Model], split: Memory) -> None:
    model, whole = models["stream"], read(split)
    direct = values(model.predict(whole))
    model.read(whole.up_to(SPLIT))
    model.update(whole.frame[whole.frame["ds"] > SPLIT])
    np.testing.assert_allclose(values(model.predict()), direct, rtol=1e-5)


def test_rows_behind_a_split_that_the_history_does_not_reach_are_refused(split: Memory, plain: Memory) -> None:
    """The fit knew it, so they and the history would be read on two share counts."""
    model = forecast.fit(read(split), **TINY)
    model.read(read(split, end=str(FIT.date())))
    rows = read(plain).frame
    with pytest.raises(UsageError, match="behind a split of shares"):
        model.update(rows[rows["ds"] > FIT])


def test_pieces_are_on_the_new_share_count_too(models: dict[str, Model], split: Memory) -> None:
    whole = read(split)
    rows = np.arange(len(whole) - 30, len(whole) - 5)
    found, apart = forecast_in_pieces(models["stream"], whole, rows, Pieces(2, 200))
    assert apart < 0.5
    np.testing.assert_allclose(found.point, models["stream"].forecast_rows(whole, rows).point, rtol=0.02)


def test_a_run_saved_before_splits_were_kept_takes_those_of_its_rows(
    models: dict[str, Model], plain: Memory, split: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models["stream"]
    model.read(read(split, end=str(FIT.date())))
    whole = Pipeline.to_json

    def older(self: Pipeline) -> dict[str, Any]:
        document = whole(self)
        document["fitted"].pop("splits")
        return document

    monkeypatch.setattr(Pipeline, "to_json", older)
    old = Model.load(model.save(tmp_path / "old"))
    monkeypatch.undo()
    np.testing.assert_allclose(values(old.predict(read(split))) * 20, values(model.predict(read(plain))), rtol=1e-5)


def test_an_audit_on_rows_behind_a_split_is_clean(models: dict[str, Model], split: Memory) -> None:
    assert forecast.audit(models["stream"], read(split), origins=4, cutoffs=0).clean
