"""load(): ranges, covariates, calendars, several tickers, and what it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import NoDataInRangeError, TickerNotFoundError, UsageError
from pipelines.grid import Grid
from pipelines.sources.memory import Memory
from pipelines.tickers import load


def walk(days: pd.DatetimeIndex, seed: int = 0) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(days))))
    return pd.DataFrame({"open": close * 1.001, "close": close, "volume": 1e6}, index=days)


SESSIONS = Grid("D", "XNYS").between(pd.Timestamp("2024-01-02"), pd.Timestamp("2024-12-31"))


def source() -> Memory:
    return Memory().put("A", walk(SESSIONS), calendar="XNYS").put("B", walk(SESSIONS, 1), calendar="XNYS")


def test_covariates_are_past_and_asked_for() -> None:
    assert load("A", source=source()).roles == {}
    assert load("A", source=source(), past="volume").roles == {"volume": "past"}
    assert load("A", source=source(), past=["open", "volume"]).roles == {"open": "past", "volume": "past"}
    assert load("A", source=source(), past="all", target="open").roles == {"close": "past", "volume": "past"}
    with pytest.raises(UsageError, match=r"past covariate 'volumen' is not a column of A\. Did you mean 'volume'\?"):
        load("A", source=source(), past="volumen")
    with pytest.raises(UsageError, match=r"A has no column 'clse'\. Did you mean 'close'\?"):
        load("A", source=source(), target="clse")


def test_start_and_end_are_included() -> None:
    panel = load("A", source=source(), start="2024-07-03", end="2024-07-05")
    assert [f"{stamp:%m-%d}" for stamp in panel.frame["ds"]] == ["07-03", "07-05"]
    hourly = pd.DataFrame({"close": np.arange(48.0)}, index=pd.date_range("2024-01-01", periods=48, freq="h"))
    panel = load("H", source=Memory().put("H", hourly, freq="h"), end="2024-01-01")
    assert len(panel) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": "2024-05-01", "end": "2024-04-01"}, "start 2024-05-01 is after end 2024-04-01"),
        ({"start": "soon"}, "start 'soon' is not a date"),
        ({"interval": "1day"}, r"interval '1day' is unknown. Did you mean '1d'\?"),
        ({"adjust": "split"}, r"adjustment 'split' is unknown. Did you mean 'splits'\?"),
        ({"deadline": 0}, "deadline 0 is not a positive number"),
        ({"deadline": float("nan")}, "deadline nan is not a positive number"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load("A", source=source(), **options)


@pytest.mark.parametrize(("tickers", "message"), [([], "no ticker"), (["A", "A"], "'A' was given twice"), ([""], "''")])
def test_wrong_tickers_are_refused(tickers: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(tickers, source=source())


def test_an_empty_range_says_what_there_is() -> None:
    with pytest.raises(NoDataInRangeError, match="there are rows from 2024-01-02 to 2024-12-31"):
        load("A", source=source(), start="2030-01-01")


def test_missing_sessions_are_rows_and_strange_days_are_left_out() -> None:
    bars = pd.concat([walk(SESSIONS.delete([5, 6])), walk(pd.DatetimeIndex(["2024-12-25"]))]).sort_index()
    panel = load("A", source=Memory().put("A", bars, calendar="XNYS"))
    assert (len(panel), panel.missing) == (len(SESSIONS), 2)
    assert "A: 1 stamp (2024-12-25) not on XNYS sessions and left out." in panel.notes
    assert any("A: 2 stamps (2024-01-09, 2024-01-10) of XNYS sessions without a bar" in note for note in panel.notes)


def test_different_exchanges_need_one_calendar() -> None:
    coins = (
        Memory().put("A", walk(SESSIONS), calendar="XNYS").put("BTC", walk(pd.date_range("2024-01-01", "2024-12-31")))
    )
    with pytest.raises(UsageError, match="A lies on XNYS sessions and BTC on D: one panel has one grid"):
        load(["A", "BTC"], source=coins)
    panel = load(["A", "BTC"], source=coins, calendar="XNYS")
    assert panel.lengths.tolist() == [len(SESSIONS)] * 2
    assert panel.missing == 0
    assert any(note.startswith("BTC: 114 stamps") and "left out" in note for note in panel.notes)


def test_one_bad_ticker_of_several_is_named() -> None:
    with pytest.raises(TickerNotFoundError, match="'C'"):
        load(["A", "C"], source=source())


def test_meta_is_json_and_says_where_the_rows_came_from() -> None:
    panel = load(["A", "B"], source=source(), end="2024-06-28")
    meta = json.loads(json.dumps(dict(panel.meta)))
    assert (meta["source"], meta["tickers"], meta["stale_since"], meta["adjust"]) == (
        "memory",
        ["A", "B"],
        None,
        "splits",
    )
    assert meta["as_of"].startswith("2024-06-28")
    assert panel.source == "memory: A, B"


def actions(*rows: tuple[str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["ds", "kind", "value"])
    return frame.astype({"ds": "datetime64[ns]", "kind": object})


def test_as_of_cuts_rows_and_actions_and_a_later_split_moves_no_return() -> None:
    bars = walk(SESSIONS)
    split = Memory().put("A", bars, calendar="XNYS", actions=actions(("2024-10-01", "split", 10.0)))
    then = load("A", source=split, as_of="2024-09-02")
    assert then.end == pd.Timestamp("2024-08-30")
    np.testing.assert_array_equal(then.column("y"), bars["close"][:"2024-09-02"])
    now = load("A", source=split)
    assert now.column("y")[0] == pytest.approx(bars["close"].iloc[0] / 10)
    rows = len(then)
    np.testing.assert_allclose(
        np.diff(np.log(now.column("y")[:rows])), np.diff(np.log(then.column("y"))), rtol=0, atol=1e-12
    )
    raw = load("A", source=split, adjust="none")
    np.testing.assert_array_equal(raw.column("y"), bars["close"])


def test_infinite_prices_become_missing() -> None:
    bars = walk(SESSIONS)
    bars.iloc[3, 1] = np.inf
    assert load("A", source=Memory().put("A", bars, calendar="XNYS")).missing == 1


def test_a_column_is_known_whatever_its_case() -> None:
    """Sources differ: Open at Yahoo, open in the samples."""
    assert load("^GSPC", source="sample", target="Open").target == "open"
