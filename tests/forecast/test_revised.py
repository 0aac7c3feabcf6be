"""Values of the rows of a run that newer data gives otherwise are said, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

import forecast
import pipelines as pl
from forecast.revised import notes_on_revisions
from pipelines.sources.memory import Memory
from pipelines.tickers import load
from tests.splits import FIT, market


@pytest.fixture(scope="module")
def model(make_panel):
    rng = np.random.default_rng(0)
    return forecast.fit(make_panel(rng.normal(size=(200,)).cumsum() + 90), core="rnn", hidden=4, epochs=1, threads=1)


def test_values_that_changed_are_counted_and_the_first_is_shown(model) -> None:
    saved = model.panel
    frame = saved.frame.copy()
    frame.loc[[40, 41, 199], "y"] += 5
    frame.loc[7, "y"] = np.nan
    (note,) = notes_on_revisions(model.pipeline, saved, pl.Panel(frame, saved.grid))
    first = saved.frame.iloc[40]
    assert note.startswith("3 values differ from those that the run holds of the same 199 rows (first ")
    assert f"{first['y'] + 5:,.6g}, was {first['y']:,.6g}" in note


def test_rounding_newer_rows_and_other_stamps_say_nothing(model) -> None:
    saved = model.panel
    rounded = saved.frame.assign(y=saved.frame["y"] * (1 + 1e-6))
    assert notes_on_revisions(model.pipeline, saved, pl.Panel(rounded, saved.grid)) == []
    later = saved.frame.assign(ds=saved.grid.after(saved.end, 200), y=1.0)
    assert notes_on_revisions(model.pipeline, saved, pl.Panel(later, saved.grid)) == []


def test_a_dividend_since_is_no_revision_of_prices_adjusted_for_it(model) -> None:
    saved = pl.Panel(model.panel.frame, model.panel.grid, meta={"adjust": "total"})
    frame = saved.frame.assign(y=saved.frame["y"] * 0.9975)
    assert notes_on_revisions(model.pipeline, saved, pl.Panel(frame, saved.grid)) == []
    assert notes_on_revisions(model.pipeline, model.panel, pl.Panel(frame, saved.grid))[0].startswith("200 values")
    frame.loc[50, "y"] += 5
    (note,) = notes_on_revisions(model.pipeline, saved, pl.Panel(frame, saved.grid))
    assert note.startswith("1 value differs")


def test_a_zero_but_for_rounding_is_no_revision(model) -> None:
    zero = model.panel.frame.assign(y=model.panel.frame["y"].where(model.panel.frame.index % 3 > 0, 1e-17))
    saved = pl.Panel(zero, model.panel.grid)
    again = pl.Panel(zero.assign(y=zero["y"].round(9)), saved.grid)
    assert notes_on_revisions(model.pipeline, saved, again) == []


def test_a_split_since_is_no_revision() -> None:
    """Prices on the new share count are read on that of the fit."""
    source = market(Memory(), ratio=20.0)
    before, after = load("A", source=source, end=str(FIT.date())), load("A", source=source)
    assert abs(after.column("y")[0] / before.column("y")[0] - 1) > 0.5
    model = forecast.fit(before, core="rnn", hidden=4, epochs=1, threads=1)
    assert notes_on_revisions(model.pipeline, before, after) == []
