"""What counts as a price, which prices are refused or masked, and which values are said to rule a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.clean import from_frame
from pipelines.errors import UsageError, ValueRangeError
from tests.pipelines.test_clean import bars, walk
from tests.pipelines.test_files import refuses, said


def lone(close: Any, name: str = "close", **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"Date": pd.date_range("2024-01-01", periods=len(close), freq="B"), name: close, **more})


@pytest.mark.parametrize("name", ["close", "Adj Close", "price", "Last"])
@pytest.mark.parametrize("price", [0.0, -3.0])
def test_a_lone_price_of_zero_or_less_is_refused_masked_or_kept_as_a_sensor(name: str, price: float) -> None:
    close = walk()
    close[7] = price
    with refuses(ValueRangeError, f"row 8, column {name!r}", f"a price of {price:g}", "--impossible mask"):
        from_frame(lone(close, name))
    masked = from_frame(lone(close, name), impossible="mask")
    assert np.flatnonzero(np.isnan(masked.column("y"))).tolist() == [7]
    assert said(masked, f"{name}: 1 impossible price masked (row 8)")
    for kept in (from_frame(lone(close, name), impossible="keep"), from_frame(lone(close, name), kind="sensor")):
        assert kept.column("y")[7] == price
        assert kept.meta["kind"] == "sensor"


def test_a_price_of_zero_in_one_series_of_a_panel_names_its_row() -> None:
    close = walk()
    close[7] = 0.0
    rows = pd.concat([lone(walk(), ticker="A"), lone(close, ticker="B")], ignore_index=True)
    with refuses(ValueRangeError, "row 68, column 'close'", "--impossible mask"):
        from_frame(rows)
    panel = from_frame(rows, impossible="mask")
    assert panel.select(["A"]).missing == 0
    assert panel.select(["B"]).missing == 1


def test_what_is_no_price_may_be_negative_in_any_row() -> None:
    spread = walk() - 90
    spread[50] = -3.0
    panel = from_frame(lone(spread, "spread"))
    assert panel.column("y")[50] == -3
    assert panel.meta["kind"] == "sensor"
    masked = from_frame(lone(spread, "spread"), impossible="mask")
    assert masked.missing == 0
    assert said(masked, "No target is a price, so nothing was masked")
    with refuses(ValueRangeError, "row 51, column 'spread'", "a price of -3", "--preset sensor"):
        from_frame(lone(spread, "spread"), kind="price")
    assert from_frame(lone(spread, "spread"), kind="price", impossible="mask").missing == (spread <= 0).sum()


def test_power_prices_that_are_often_negative_are_no_price() -> None:
    close = walk(400)
    close[::50] = -5.0
    panel = from_frame(lone(close, "price"))
    assert panel.missing == 0
    assert said(panel, "price: negative in 8 rows, so it is not taken as a price")


def test_a_lone_value_that_is_not_positive_on_exchange_sessions_is_said() -> None:
    close = walk()
    close[7] = 0.0
    days = from_frame(lone(close, "AAPL"), calendar="XNYS", irregular="snap")
    assert said(days, "AAPL: not positive in 1 row (row 8), so it is no price")


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with refuses(UsageError, "kind 'prices'", "Did you mean 'price'?"):
        from_frame(lone(walk()), kind="prices")


def test_a_value_that_rules_a_fit_is_said_once_and_what_does_not_is_not() -> None:
    close = walk(300)
    close[100] *= 100
    panel = from_frame(lone(close))
    (note,) = [note for note in panel.notes if note.startswith("Look at")]
    assert note.startswith("Look at row 101: close rises to ")
    assert "back in the row after: a hundredfold step" in note
    sensor = np.random.default_rng(0).normal(20, 1, 300)
    sensor[40] = 2000.0
    (note,) = [note for note in from_frame(lone(sensor, "y")).notes if note.startswith("Look at")]
    assert note.startswith("Look at row 41: 1 value far from its neighbours: 2000 (row 41)")
    sensor[40] = 29.0  # far from its neighbours, but no more than a part of the spread
    assert not said(from_frame(lone(sensor, "y")), "Look at")
    assert not said(from_frame(lone(walk(300) * np.where(np.arange(300) % 2, 1.0, 1.5))), "Look at")  # it is like that
    wild = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.12, 300)))
    wild[200:] *= 1.5 * wild[199] / wild[200]  # no split: a move among others of that size
    assert not said(from_frame(lone(wild)), "Look at")


def test_an_unfinished_last_bar_is_said_because_a_forecast_starts_from_it() -> None:
    rows = bars(walk())
    rows.loc[59, "Volume"] = 2e4
    assert said(from_frame(rows), "Look at row 60: the last bar has 2% of the usual volume")
    assert not said(from_frame(bars(walk())), "Look at")
