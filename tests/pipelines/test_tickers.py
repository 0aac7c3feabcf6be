"""load(): ranges, covariates, calendars, several tickers, and what it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import NoDataInRangeError, TickerNotFoundError, UsageError
from pipelines.grid import Grid
from pipelines.sources.base import Bars
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


# -- what is known on a day --------------------------------------------------------------------------
def bars_of(freq: str, first: str, count: int, *, actions_: pd.DataFrame | None = None) -> Memory:
    stamps = pd.date_range(first, periods=count, freq=freq)
    return Memory().put("A", pd.DataFrame({"close": np.arange(1.0, count + 1)}, stamps), freq=freq, actions=actions_)


@pytest.mark.parametrize(
    ("freq", "interval", "as_of", "last"),
    [
        ("MS", "1mo", "2020-01-02", "2019-12-01"),
        ("MS", "1mo", "2020-01-30", "2019-12-01"),
        ("MS", "1mo", "2020-01-31", "2020-01-01"),
        ("W-MON", "1wk", "2020-01-06", "2019-12-30"),
        ("W-MON", "1wk", "2020-01-11", "2019-12-30"),
        ("W-MON", "1wk", "2020-01-12", "2020-01-06"),
        ("ME", "1mo", "2020-01-30", "2019-12-31"),  # stamped where they end
        ("ME", "1mo", "2020-01-31", "2020-01-31"),
        ("D", "1d", "2020-01-06", "2020-01-06"),
        ("D", "1d", "2020-01-06 10:00", "2020-01-06"),  # as ever: a day counts by its stamp
        ("B", "1d", "2020-01-05", "2020-01-03"),
        ("D", "1d", pd.Timestamp("2020-01-06 20:00", tz="America/New_York"), "2020-01-06"),  # the 7th in UTC
        ("D", "1d", pd.Timestamp("2020-01-07 05:00", tz="Asia/Tokyo"), "2020-01-07"),  # the 6th in UTC
        ("W-FRI", "1wk", "2020-01-10", "2020-01-10"),  # named by its last day
        ("h", "1h", "2020-01-06", "2020-01-06 23:00"),
        ("h", "1h", "2020-01-06 15:00", "2020-01-06 14:00"),
        ("h", "1h", pd.Timestamp("2020-01-06 15:00", tz="Europe/Paris"), "2020-01-06 13:00"),
    ],
)
def test_a_bar_is_known_once_it_is_complete(freq: str, interval: str, as_of: Any, last: str) -> None:
    market = bars_of(freq, "2019-11-04", 24 * 70 if freq == "h" else 70)
    stood, ended = (load("A", source=market, interval=interval, **{word: as_of}) for word in ("as_of", "end"))
    assert stood.end == ended.end == pd.Timestamp(last)


def test_a_split_inside_a_month_that_goes_on_is_not_known_yet() -> None:
    """Yahoo files it under the first of the month."""
    market = bars_of("MS", "2019-01-01", 24, actions_=actions(("2020-02-01", "split", 4.0)))
    assert load("A", source=market, interval="1mo", as_of="2020-02-20").column("y")[-1] == 13.0
    then = load("A", source=market, interval="1mo", as_of="2020-02-29")
    assert (then.column("y")[-2:] == [13.0 / 4, 14.0]).all()
    assert len(then.meta["series"]["A"]["actions"]) == 1


@pytest.mark.parametrize(
    ("calendar", "zone", "first", "last"),
    [
        ("XASX", "Australia/Sydney", "2024-01-08 10:00", "2024-01-09 15:00"),
        ("XTKS", "Asia/Tokyo", "2024-01-09 09:00", "2024-01-09 14:30"),  # the 8th is a holiday
        ("XNYS", "America/New_York", "2024-01-08 09:30", "2024-01-09 15:30"),
        (None, "America/New_York", "2024-01-08 00:00", "2024-01-09 23:00"),
    ],
)
def test_days_are_those_of_the_exchange(calendar: str | None, zone: str, first: str, last: str) -> None:
    grid = Grid("h", calendar, tz=zone)
    begin = pd.Timestamp("2024-01-04 00:00" if calendar is None else "2024-01-03 20:00")
    stamps = grid.between(begin, pd.Timestamp("2024-01-12 23:00"))
    frame = pd.DataFrame({"close": np.arange(1.0, len(stamps) + 1)}, index=stamps.rename("ds"))
    market = Memory().then("A", Bars("A", frame, "close", grid))
    panel = load("A", source=market, interval="1h", start="2024-01-08", as_of="2024-01-09")
    shown = grid.wall_clock(pd.DatetimeIndex(panel.ds))
    assert [str(stamp)[:16] for stamp in (shown[0], shown[-1])] == [first, last]
    assert panel.meta["as_of"].startswith("2024-01-09T23:59")
    with pytest.raises(NoDataInRangeError, match="between 2030-01-08 and today"):
        load("A", source=market, interval="1h", start="2030-01-08")


def test_the_day_that_clocks_are_put_back_has_all_its_hours() -> None:
    grid = Grid("h", tz="Europe/Paris")
    stamps = grid.between(pd.Timestamp("2024-10-25"), pd.Timestamp("2024-10-29"))
    frame = pd.DataFrame({"close": np.arange(1.0, len(stamps) + 1)}, index=stamps.rename("ds"))
    market = Memory().then("A", Bars("A", frame, "close", grid))
    assert len(load("A", source=market, interval="1h", start="2024-10-27", end="2024-10-27")) == 25
