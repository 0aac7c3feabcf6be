"""Samples: what the cards promise is what the packages deliver, on grids without phantom rows."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from pipelines import catalog
from pipelines.catalog import Card
from pipelines.errors import TickerNotFoundError, UsageError
from pipelines.tickers import load


@pytest.mark.parametrize("card", catalog.cards(), ids=lambda card: card.name)
def test_every_card_is_what_its_loader_delivers(card: Card) -> None:
    panel = load(card.name, source="sample", past="all")
    assert panel.ids == (card.series,)
    assert panel.target == card.target
    assert (len(panel), panel.missing) == (card.rows, card.missing)
    assert (f"{panel.start:%Y-%m-%d}", f"{panel.end:%Y-%m-%d}") == (card.start, card.end)
    assert tuple(panel.covariates("past")) == card.covariates
    assert hashlib.sha256(panel.column("y").tobytes()).hexdigest() == card.sha256
    assert (panel.grid.calendar, panel.meta["currency"]) == (card.calendar, card.currency)


def test_the_s_and_p_500_lies_on_the_sessions_of_its_exchange() -> None:
    panel = load("^GSPC", source="sample")
    assert str(panel.grid) == "XNYS sessions"
    assert panel.missing == 0
    assert [f"{day:%Y-%m-%d}" for day in panel.grid.after(panel.end, 3)] == ["2019-01-02", "2019-01-03", "2019-01-04"]
    assert panel.column("y")[-1] == pytest.approx(2506.850098)


def test_a_week_without_a_measurement_stays_missing() -> None:
    panel = load("co2", source="sample")
    assert panel.grid.freq == "W-SAT"
    assert np.isnan(panel.column("y")[panel.ds == np.datetime64("1958-05-10")]).all()
    assert panel.missing == 59


def test_an_alias_is_resolved_and_said() -> None:
    panel = load("spx", source="sample")
    assert panel.ids == ("^GSPC",)
    assert any("'spx' read as sample ^GSPC" in note for note in panel.notes)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(TickerNotFoundError, match=r"no sample named '\^GSPD'\. Did you mean '\^GSPC'\?"):
        load("^GSPD", source="sample")


def test_a_sample_has_one_frequency() -> None:
    with pytest.raises(UsageError, match=r"sample 'co2' has one frequency \(W-SAT\)"):
        load("co2", source="sample", interval="1wk")


def test_both_ends_are_included_and_two_indices_make_a_panel() -> None:
    panel = load(["^GSPC", "^IXIC"], source="sample", start="2010-01-04", end="2010-01-08")
    assert panel.ids == ("^GSPC", "^IXIC")
    assert panel.lengths.tolist() == [5, 5]
    assert panel.end == pd.Timestamp("2010-01-08")


def test_samples_of_different_grids_do_not_mix() -> None:
    with pytest.raises(UsageError, match=r"\^GSPC lies on XNYS sessions and co2 on W-SAT"):
        load(["^GSPC", "co2"], source="sample")
