"""Yahoo through unmodified yfinance, against a loopback TLS proxy with scripted and recorded answers."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import (
    NetworkUnavailableError,
    NoDataInRangeError,
    RateLimitedError,
    SourceError,
    TickerNotFoundError,
    UpstreamMalformedError,
)
from pipelines.grid import Grid
from pipelines.sources.base import Request
from pipelines.sources.yahoo import Yahoo
from pipelines.tickers import load
from tests.yahoo_server import YahooServer

FAST = Yahoo(pause=0.005)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YahooServer]:
    import yfinance
    from yfinance.data import SingletonMeta

    # yfinance remembers time zones of tickers in a file; not in the home of the person who runs this
    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("zones")))
    with YahooServer(tmp_path_factory.mktemp("yahoo")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment().items():
            patch.setenv(name, value)
        SingletonMeta._instances.clear()  # yfinance keeps one session, made with the environment of its day
        yield running
        SingletonMeta._instances.clear()


@pytest.fixture
def yahoo(server: YahooServer) -> YahooServer:
    server.reset()
    return server


def sessions(first: str, last: str, calendar: str = "XNYS") -> pd.DatetimeIndex:
    return Grid("D", calendar).between(pd.Timestamp(first), pd.Timestamp(last))


def walk(days: pd.DatetimeIndex, seed: int = 0) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(days))))
    columns = {"open": close * 1.001, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1e6}
    return pd.DataFrame(columns, index=days)


@pytest.fixture
def aapl(yahoo: YahooServer) -> pd.DataFrame:
    bars = walk(sessions("2020-01-02", "2021-12-31"))
    yahoo.put("AAPL", bars, splits={"2020-08-31": 4.0}, dividends={"2020-02-07": 0.1925, "2021-05-07": 0.22})
    return bars


# -- what comes back -------------------------------------------------------------------------------
def test_bars_become_as_traded_and_the_panel_split_adjusted(aapl: pd.DataFrame) -> None:
    bars = FAST.fetch(Request("AAPL"))
    before = bars.frame.index < "2020-08-31"
    np.testing.assert_allclose(bars.frame["close"], aapl["close"] * np.where(before, 4.0, 1.0), rtol=1e-12)
    np.testing.assert_allclose(bars.frame["volume"], np.where(before, 0.25e6, 1e6), rtol=1e-12)
    rows = [(f"{day:%Y-%m-%d}", kind, round(value, 9)) for day, kind, value in bars.actions.itertuples(index=False)]
    assert rows == [("2020-02-07", "dividend", 0.77), ("2020-08-31", "split", 4.0), ("2021-05-07", "dividend", 0.22)]
    panel = load("aapl", source=FAST)
    assert panel.ids == ("AAPL",)
    np.testing.assert_allclose(panel.column("y"), aapl["close"], rtol=1e-12)
    assert str(panel.grid) == "XNYS sessions"
    assert panel.meta["currency"] == "USD"


def test_a_range_that_ends_before_a_split_knows_nothing_of_it(aapl: pd.DataFrame) -> None:
    panel = load("AAPL", source=FAST, end="2020-08-28")
    np.testing.assert_allclose(panel.column("y"), 4 * aapl["close"][:"2020-08-28"], rtol=1e-12)
    assert [action["kind"] for action in panel.meta["series"]["AAPL"]["actions"]] == ["dividend"]


def test_the_unfinished_session_is_left_out_and_said(yahoo: YahooServer) -> None:
    bars = walk(sessions("2024-01-02", "2024-03-01"))
    opens = int(pd.Timestamp("2024-03-01 09:30", tz="America/New_York").timestamp())
    later = int(pd.Timestamp.now("UTC").timestamp()) + 3600
    yahoo.put("AAPL", bars, regular=(opens, later))
    panel = load("AAPL", source=FAST)
    assert panel.end == pd.Timestamp("2024-02-29")
    assert any("the bar of 2024-03-01 is not finished and was left out" in note for note in panel.notes)


def test_a_last_row_without_a_close_is_left_out_and_a_hole_is_kept(yahoo: YahooServer) -> None:
    bars = walk(sessions("2024-01-02", "2024-03-01"))
    bars.iloc[-1, :4] = np.nan
    bars.iloc[10, :4] = np.nan
    bars = bars.drop(bars.index[20])
    yahoo.put("AAPL", bars)
    panel = load("AAPL", source=FAST)
    assert panel.end == pd.Timestamp("2024-02-29")
    assert panel.missing == 2
    assert any("had no close" in note for note in panel.notes)
    assert any("1 stamp (2024-01-31) of XNYS sessions without a bar, kept as missing" in note for note in panel.notes)


def test_seven_years_of_sessions_have_no_padding_and_thanksgiving_is_skipped(yahoo: YahooServer) -> None:
    yahoo.put("AAPL", walk(sessions("2018-01-02", "2024-12-31")))
    panel = load("AAPL", source=FAST)
    assert (panel.missing, len(panel)) == (0, 1761)
    early = load("AAPL", source=FAST, end="2024-11-27")
    assert [f"{day:%m-%d}" for day in early.grid.after(early.end, 2)] == ["11-29", "12-02"]


@pytest.mark.parametrize(
    ("symbol", "meta", "grid"),
    [
        ("SAP.DE", {"exchangeName": "GER", "exchangeTimezoneName": "Europe/Berlin"}, "XETR sessions"),
        ("BTC-USD", {"instrumentType": "CRYPTOCURRENCY", "exchangeTimezoneName": "UTC"}, "D"),
        ("EURUSD=X", {"instrumentType": "CURRENCY", "exchangeTimezoneName": "Europe/London"}, "B"),
        ("ODD.XX", {"exchangeName": "???", "exchangeTimezoneName": "Asia/Dhaka"}, "B"),
    ],
)
def test_the_calendar_follows_the_exchange(yahoo: YahooServer, symbol: str, meta: dict[str, Any], grid: str) -> None:
    days = {"XETR sessions": sessions("2024-01-02", "2024-06-28", "XETR"), "D": pd.date_range("2024-01-01", periods=90)}
    index = days.get(grid, pd.bdate_range("2024-01-01", periods=90))
    yahoo.put(symbol, walk(index), meta=meta, opens="00:00")
    panel = load(symbol, source=FAST)
    assert (str(panel.grid), panel.missing) == (grid, 0)
    assert any("weekdays are used" in note for note in panel.notes) == (symbol == "ODD.XX")


def test_a_calendar_that_does_not_fit_is_not_believed(yahoo: YahooServer) -> None:
    yahoo.put("AAPL", walk(pd.bdate_range("1999-01-01", "2002-12-31").union(pd.date_range("2003-01-01", "2003-06-30"))))
    panel = load("AAPL", source=FAST)
    assert str(panel.grid) in ("B", "D")
    assert any("of the bars lie on sessions of XNYS" in note for note in panel.notes)


@pytest.mark.parametrize(
    ("interval", "freq", "index"),
    [
        ("1wk", "W-MON", pd.date_range("2023-01-02", periods=40, freq="W-MON")),
        ("1mo", "MS", pd.date_range("2020-01-01", periods=40, freq="MS")),
    ],
)
def test_weeks_and_months(yahoo: YahooServer, interval: str, freq: str, index: pd.DatetimeIndex) -> None:
    yahoo.put("AAPL", walk(index), opens="00:00")
    panel = load("AAPL", source=FAST, interval=interval)
    assert (panel.grid.freq, len(panel), panel.missing) == (freq, 40, 0)


def test_the_week_still_running_is_left_out(yahoo: YahooServer) -> None:
    monday = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    monday -= pd.Timedelta(days=monday.weekday())
    yahoo.put("AAPL", walk(pd.date_range(end=monday, periods=20, freq="W-MON")), opens="00:00")
    panel = load("AAPL", source=FAST, interval="1wk")
    assert panel.end == monday - pd.Timedelta(days=7)


@pytest.mark.parametrize(("interval", "freq"), [("1h", "h"), ("90m", "90min"), ("5m", "5min")])
def test_bars_within_sessions_have_no_nights(yahoo: YahooServer, interval: str, freq: str) -> None:
    grid = Grid(freq, "XNYS", tz="America/New_York")
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    index = grid.between(today - pd.Timedelta(days=40), today - pd.Timedelta(days=1))
    yahoo.put("AAPL", walk(index))
    panel = load("AAPL", source=FAST, interval=interval)
    assert (panel.grid, len(panel), panel.missing) == (grid, len(index), 0)
    assert any(note.startswith(f"AAPL: Yahoo keeps {interval} bars for ") for note in panel.notes)
    early = load("AAPL", source=FAST, interval=interval, start="2020-01-01")
    assert any("the source has no rows before" in note and "2020-01-01 was asked for" in note for note in early.notes)


def test_hours_of_coins_run_around_the_clock(yahoo: YahooServer) -> None:
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    meta = {"instrumentType": "CRYPTOCURRENCY", "exchangeTimezoneName": "UTC"}
    yahoo.put("BTC-USD", walk(pd.date_range(today - pd.Timedelta(days=30), periods=700, freq="h")), meta=meta)
    panel = load("BTC-USD", source=FAST, interval="1h")
    assert (str(panel.grid), len(panel), panel.missing) == ("h (UTC)", 700, 0)


@pytest.mark.parametrize(("interval", "freq"), [("1h", "h"), ("15m", "15min")])
def test_weekends_of_currencies_are_no_gaps(yahoo: YahooServer, interval: str, freq: str) -> None:
    grid = Grid(freq, "24/5", tz="Europe/London")
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    index = grid.between(today - pd.Timedelta(days=40), today - pd.Timedelta(days=1))
    meta = {"instrumentType": "CURRENCY", "exchangeTimezoneName": "Europe/London"}
    yahoo.put("EURUSD=X", walk(index), meta=meta)
    panel = load("EURUSD=X", source=FAST, interval=interval)
    assert (panel.grid, len(panel), panel.missing) == (grid, len(index), 0)


def test_tel_aviv_has_its_own_week(yahoo: YahooServer) -> None:
    index = sessions("2024-01-02", "2024-12-31", "XTAE")
    assert (index.day_of_week == 6).sum() > 40
    yahoo.put("TEVA.TA", walk(index), meta={"exchangeName": "TLV", "exchangeTimezoneName": "Asia/Jerusalem"})
    panel = load("TEVA.TA", source=FAST)
    assert (str(panel.grid), panel.missing) == ("XTAE sessions", 0)


def test_a_calendar_that_cannot_be_built_is_said_and_not_an_error(yahoo: YahooServer) -> None:
    index = pd.bdate_range("2015-01-05", "2016-12-30")  # XSAU is known from 2021 on
    yahoo.put("2222.SR", walk(index), meta={"exchangeName": "SAU", "exchangeTimezoneName": "Asia/Riyadh"})
    panel = load("2222.SR", source=FAST)
    assert (str(panel.grid), panel.missing) == ("B", 0)
    assert any("calendar XSAU cannot be built" in note and "weekdays are used" in note for note in panel.notes)


def test_a_refresh_asks_for_the_tail_and_a_new_split_for_everything(yahoo: YahooServer) -> None:
    bars = walk(sessions("2022-01-03", "2024-06-28"))
    yahoo.put("AAPL", bars.iloc[:-5])
    load("AAPL", source=FAST)
    yahoo.put("AAPL", bars.iloc[:-2])
    asked = len(yahoo.price_requests)
    grown = load("AAPL", source=FAST, refresh=True)
    (tail,) = yahoo.price_requests[asked:]
    since = pd.Timestamp(int(tail.split("period1=")[1].split("&")[0]), unit="s")
    assert f"{since:%Y-%m-%d}" == f"{bars.index[-15]:%Y-%m-%d}"
    np.testing.assert_allclose(grown.column("y"), bars["close"].iloc[:-2], rtol=1e-12)
    assert grown.meta["revisions"] == []

    yahoo.put("AAPL", bars.iloc[:-1], dividends={f"{bars.index[-2]:%Y-%m-%d}": 0.24})
    asked = len(yahoo.price_requests)
    paid = load("AAPL", source=FAST, refresh=True)
    assert (paid.meta["revisions"], paid.notes, len(yahoo.price_requests) - asked) == ([], (), 1)
    assert [action["value"] for action in paid.meta["series"]["AAPL"]["actions"]] == [0.24]

    later = bars.copy()  # four for one on the last day: Yahoo now shows a quarter of every earlier price
    later.loc[later.index[:-1], ["open", "high", "low", "close"]] /= 4
    yahoo.put("AAPL", later, splits={f"{bars.index[-1]:%Y-%m-%d}": 4.0}, dividends={f"{bars.index[-2]:%Y-%m-%d}": 0.06})
    split = load("AAPL", source=FAST, refresh=True)
    assert (split.meta["revisions"], split.notes) == ([], ())
    assert "period1=-" in yahoo.price_requests[-1]  # everything, to look it over
    np.testing.assert_allclose(split.column("y"), later["close"], rtol=1e-12)
    before = load("AAPL", source=FAST, end="2024-06-26")
    np.testing.assert_allclose(before.column("y"), grown.column("y"), rtol=1e-12)


# -- what goes wrong -------------------------------------------------------------------------------
FAILURES: list[tuple[str, type[SourceError], str]] = [
    ("429", RateLimitedError, r"AAPL: Yahoo limits our requests \(status 429\) \(5 attempts, deadline 8 s in total\)"),
    ("500", UpstreamMalformedError, "server error 500"),
    ("503", UpstreamMalformedError, "server error 503"),
    ("html", UpstreamMalformedError, "not JSON: '<!DOCTYPE html>"),
    ("down", UpstreamMalformedError, "not JSON: 'Will be right back'"),
    ("null", UpstreamMalformedError, r"is not a price chart"),
    ("truncated", UpstreamMalformedError, "not JSON"),
    ("no-timestamps", UpstreamMalformedError, "not a price chart: 'timestamp' is missing"),
    ("422", NoDataInRangeError, "requested range must be within the last 30 days"),
    ("reset", NetworkUnavailableError, "the connection failed"),
]


@pytest.mark.parametrize(("fault", "kind", "message"), FAILURES, ids=[row[0] for row in FAILURES])
def test_every_failure_has_its_type_and_blames_nobody(
    yahoo: YahooServer, aapl: pd.DataFrame, fault: str, kind: type[SourceError], message: str
) -> None:
    yahoo.mode = fault
    with pytest.raises(kind, match=message) as caught:
        FAST.fetch(Request("AAPL", deadline=8))
    assert type(caught.value) is kind
    assert caught.value.exit_code == 4
    assert "delisted" not in str(caught.value)
    assert fault == "422" or "--source sample" in (caught.value.hint or "")


def test_a_silent_server_ends_at_the_deadline(yahoo: YahooServer, aapl: pd.DataFrame) -> None:
    yahoo.mode = "hang"
    with pytest.raises(NetworkUnavailableError, match=r"did not answer in time \(\d attempts, deadline 1 s in total\)"):
        FAST.fetch(Request("AAPL", deadline=1.0))
    assert len(yahoo.price_requests) >= 2, "a silent first attempt leaves time for a second"


def test_an_unknown_ticker_is_quoted_and_not_retried(yahoo: YahooServer) -> None:
    with pytest.raises(TickerNotFoundError, match="Yahoo has no ticker NOPE; it says: 'No data found, symbol may be"):
        FAST.fetch(Request("NOPE"))
    assert len(yahoo.price_requests) <= 2  # yfinance itself asks twice, with another cookie
    with pytest.raises(TickerNotFoundError, match="share classes with a dash: BRK-B"):
        FAST.fetch(Request("BRK.B"))


def test_recovery_after_two_rate_limits(yahoo: YahooServer, aapl: pd.DataFrame) -> None:
    yahoo.script("429", "429", "429", "429")  # two attempts, two requests each
    assert len(FAST.fetch(Request("AAPL")).frame) == len(aapl)


def test_a_bad_answer_is_not_replayed_from_yfinances_memory(yahoo: YahooServer) -> None:
    yahoo.put("FRESH", walk(sessions("2024-01-02", "2024-03-01")))  # its time zone is not known yet
    yahoo.script("null")
    assert len(FAST.fetch(Request("FRESH")).frame) == 42


def test_a_failed_name_lookup_is_not_retried(aapl: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    from curl_cffi.requests.exceptions import DNSError
    from yfinance.data import YfData

    asked: list[str] = []

    def nowhere(url: str, **_: object) -> None:
        asked.append(url)
        raise DNSError("Failed to perform, curl: (6) Could not resolve host: query2.finance.yahoo.com. See https://x")

    monkeypatch.setattr(YfData()._session, "get", nowhere)
    with pytest.raises(NetworkUnavailableError) as caught:
        FAST.fetch(Request("AAPL"))
    assert "the name query2.finance.yahoo.com could not be looked up (1 attempt, deadline 12 s" in str(caught.value)
    assert "--source sample" in str(caught.value)
    assert len([url for url in asked if "chart" in url]) == 1


def test_an_empty_range_is_said(yahoo: YahooServer) -> None:
    yahoo.put("AAPL", walk(sessions("2024-01-02", "2024-03-01")).iloc[:0])
    with pytest.raises(NoDataInRangeError, match="knows AAPL but delivered no 1d bars"):
        FAST.fetch(Request("AAPL"))


def test_yahoos_limits_are_said_before_asking(yahoo: YahooServer) -> None:
    start = pd.Timestamp.now("UTC").tz_localize(None) - pd.Timedelta(days=90)
    with pytest.raises(NoDataInRangeError, match="Yahoo keeps 5m bars of AAPL for 60 days"):
        FAST.fetch(Request("AAPL", "5m", start=start))
    assert yahoo.requests == []


@pytest.mark.parametrize("ticker", ["../x", "A\0B", "AA PL", "ГАЗП", "A" * 4096, "‮LPAA", "", "US0378331005", "?x=1"])
def test_impossible_symbols_are_refused_without_a_request(yahoo: YahooServer, ticker: str) -> None:
    with pytest.raises(TickerNotFoundError) as caught:
        FAST.fetch(Request(ticker))
    assert len(caught.value.message) < 120
    assert yahoo.requests == []


def test_yfinances_switches_are_put_back(yahoo: YahooServer, aapl: pd.DataFrame) -> None:
    from yfinance import base
    from yfinance.config import YfConfig
    from yfinance.data import YfData

    filters, log = list(warnings.filters), logging.getLogger("yfinance")
    before = (YfConfig.debug.hide_exceptions, YfConfig.network.retries, base._tz_info_fetch_ctr, list(log.filters))
    yahoo.script("500")
    FAST.fetch(Request("AAPL"))
    yahoo.mode = "null"
    with pytest.raises(UpstreamMalformedError):
        FAST.fetch(Request("AAPL"))
    assert before == (YfConfig.debug.hide_exceptions, YfConfig.network.retries, base._tz_info_fetch_ctr, log.filters)
    assert "get" not in vars(YfData()._session)
    assert warnings.filters == filters


def test_threads_take_turns_and_leave_the_switches_as_they_were(yahoo: YahooServer) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from yfinance.config import YfConfig

    frames = {f"T{rank}": walk(sessions("2024-01-02", "2024-03-01"), seed=rank) for rank in range(6)}
    for symbol, bars in frames.items():
        yahoo.put(symbol, bars)
    with ThreadPoolExecutor(6) as pool:
        panels = list(pool.map(lambda symbol: load(symbol, source=FAST), frames))
    for (symbol, bars), panel in zip(frames.items(), panels, strict=True):
        assert panel.ids == (symbol,)
        np.testing.assert_allclose(panel.column("y"), bars["close"], rtol=1e-12)
    assert YfConfig.debug.hide_exceptions is True


def test_nothing_is_written_to_the_screen(
    yahoo: YahooServer, aapl: pd.DataFrame, capfd: pytest.CaptureFixture[str]
) -> None:
    yahoo.script("500", "html", "429")
    FAST.fetch(Request("AAPL"))
    assert capfd.readouterr() == ("", "")


# -- recorded answers ------------------------------------------------------------------------------
RECORDED = {
    "chart-AAPL-2020-08-31-to-2020-11-07.json": ("AAPL", "XNYS sessions", 49),
    "historical-via-chart-MSFT-dividends-2021-02-01-to-2022-01-31.csv.json": ("MSFT", "XNYS sessions", 252),
    "chart-EURUSD=X-2020-01-01-to-2020-01-03.json": ("EURUSD=X", "B", 3),
    "chart-BTC-USD-2020-01-01-to-2020-01-03.json": ("BTC-USD", "D", 3),
    "chart-0P000071W8.TO-2020-01-01-to-2020-01-03.json": ("0P000071W8.TO", "XTSE sessions", 1),
    "chart-QQQ-2020-01-01-to-2020-01-03.json": ("QQQ", "XNYS sessions", 1),
    "rs_history_chart_AAPL.json": ("AAPL", "XNYS sessions", 127),
    "rs_history_chart_GS2C.DE.json": ("GS2C.DE", "XETR sessions", 5),
}


def recorded(path: Path) -> dict[str, Any]:
    raw = json.loads(path.read_text())
    found: dict[str, Any] = raw["response"]["bodyJson"] if "response" in raw else raw
    return found


@pytest.mark.shared
@pytest.mark.parametrize("name", list(RECORDED))
def test_recorded_answers_of_the_real_yahoo(yahoo: YahooServer, shared_data: Path, name: str) -> None:
    symbol, grid, rows = RECORDED[name]
    yahoo.raw[symbol] = recorded(shared_data / "yahoo_chart" / name)
    panel = load(symbol, source=FAST)
    assert (panel.ids, str(panel.grid)) == ((symbol,), grid)
    assert abs(len(panel) - rows) <= 1  # the bar still being traded when it was recorded
    assert panel.missing == 0


@pytest.mark.shared
def test_a_recorded_answer_without_stamps_is_an_empty_range(yahoo: YahooServer, shared_data: Path) -> None:
    name = "chart-AAPL-2025-02-01-to-2025-02-02-includePrePost-false-interval-1m.json"
    yahoo.raw["AAPL"] = recorded(shared_data / "yahoo_chart" / name)
    with pytest.raises(NoDataInRangeError):
        FAST.fetch(Request("AAPL", "1m"))


def test_this_process_asks_nobody_but_the_loopback_server(yahoo: YahooServer) -> None:
    assert os.environ["HTTPS_PROXY"].startswith("http://127.0.0.1:")
