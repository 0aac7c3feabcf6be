"""The disk cache: fresh, refreshed, revised, stale, damaged, shared by processes, killed, attacked by names."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines import cache, revise
from pipelines.errors import (
    BusyError,
    NetworkUnavailableError,
    OfflineError,
    RateLimitedError,
    TickerNotFoundError,
)
from pipelines.grid import Grid
from pipelines.sources.base import Fetched, Request
from pipelines.sources.memory import Memory
from pipelines.tickers import fetch, load
from tests.conftest import ROOT
from tests.yahoo_server import YahooServer

DAYS = Grid("D", "XNYS").between(pd.Timestamp("2024-01-02"), pd.Timestamp("2024-06-28"))


def walk(days: pd.DatetimeIndex = DAYS, seed: int = 0) -> pd.DataFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, len(days))))
    return pd.DataFrame({"open": close * 1.001, "close": close, "volume": 1e6}, index=days)


def actions(*rows: tuple[str, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["ds", "kind", "value"])
    return frame.astype({"ds": "datetime64[ns]", "kind": object, "value": "float64"})


def memory(*frames: pd.DataFrame, ticker: str = "A") -> Memory:
    source = Memory(cached=True)
    for frame in frames:
        source.put(ticker, frame, calendar="XNYS")
    return source


def get(source: Memory, folder: Path, **options: bool) -> Fetched:
    return fetch("A", source=source, cache_dir=folder, **options)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".lock")


# -- fresh and refreshed ---------------------------------------------------------------------------
def test_the_second_time_nobody_is_asked(tmp_path: Path) -> None:
    source = memory(walk())
    first, second = get(source, tmp_path), get(source, tmp_path)
    assert len(source.requests) == 1
    pd.testing.assert_frame_equal(first.bars.frame, second.bars.frame, check_freq=False)
    assert (first.fetched_at, first.bars.grid, second.stale_since) == (second.fetched_at, second.bars.grid, None)
    assert len(files(tmp_path)) == 2
    panel = load("A", source=source, cache_dir=tmp_path)
    assert panel.meta["fetched_at"] == first.fetched_at


def test_rows_and_actions_survive_the_disk_bit_for_bit(tmp_path: Path) -> None:
    bars = walk()
    bars.iloc[4, 1] = np.nan
    events = actions(("2024-03-01", "split", 1 / 3), ("2024-04-01", "dividend", 0.1))
    source = Memory(cached=True).put("A", bars, calendar="XNYS", actions=events, meta={"currency": "USD"})
    get(source, tmp_path)
    again = get(source, tmp_path)
    assert again.bars.frame.to_numpy().tobytes() == bars.to_numpy().tobytes()
    pd.testing.assert_frame_equal(again.bars.actions, events)
    assert (again.bars.meta, again.bars.target) == ({"currency": "USD"}, "close")


@pytest.mark.parametrize(
    ("fetched", "now", "fresh"),
    [
        ("2024-06-28 19:00", "2024-06-28 19:10", True),  # minutes ago
        ("2024-06-28 19:00", "2024-06-28 19:50", True),  # the session still runs
        ("2024-06-28 19:00", "2024-06-28 20:20", True),  # closed, but not settled
        ("2024-06-28 19:00", "2024-06-28 20:40", False),  # closed at 20:00 UTC and settled
        ("2024-06-28 20:35", "2024-07-01 19:00", True),  # the weekend and Monday's session bring nothing yet
        ("2024-06-28 20:35", "2024-07-01 20:31", False),
        ("2024-07-03 17:31", "2024-07-05 20:00", True),  # half day (17:00 UTC), then Independence Day
        ("2024-07-03 16:59", "2024-07-03 17:31", False),
        ("2024-06-28 19:00", "2024-06-28 18:00", False),  # the clock was set back
    ],
)
def test_fresh_until_a_session_has_ended(fetched: str, now: str, fresh: bool) -> None:
    bars = memory(walk()).fetch(Request("A"))
    found = Fetched(bars, fetched_at=pd.Timestamp(fetched, tz="UTC").isoformat())
    assert revise.fresh(found, "1d", pd.Timestamp(now, tz="UTC")) is fresh


def test_intraday_bars_age_by_one_bar_and_coins_by_the_day() -> None:
    hourly = replace(memory(walk()).fetch(Request("A")), grid=Grid("h"))
    then = Fetched(hourly, fetched_at="2024-06-28T19:00:00+00:00")
    assert revise.fresh(then, "1h", pd.Timestamp("2024-06-28 19:59", tz="UTC"))
    assert not revise.fresh(then, "1h", pd.Timestamp("2024-06-28 20:01", tz="UTC"))
    daily = Fetched(replace(hourly, grid=Grid("D")), fetched_at="2024-06-29T01:00:00+00:00")
    assert revise.fresh(daily, "1d", pd.Timestamp("2024-06-29 23:00", tz="UTC"))
    assert not revise.fresh(daily, "1d", pd.Timestamp("2024-06-30 00:31", tz="UTC"))


def test_a_refresh_asks_for_the_last_rows_only(tmp_path: Path) -> None:
    source = memory(walk().iloc[:-3], walk())
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert [request.start for request in source.requests] == [None, DAYS[-13]]
    pd.testing.assert_frame_equal(got.bars.frame, walk(), check_freq=False, check_names=False)
    assert (got.revisions, got.notes) == ((), ())
    assert len(files(tmp_path)) == 2


def test_a_refresh_keeps_what_only_the_cache_still_has(tmp_path: Path) -> None:
    source = memory(walk().iloc[:-3], walk().iloc[20:])
    get(source, tmp_path)
    assert len(get(source, tmp_path, refresh=True).bars.frame) == len(DAYS)


# -- revisions -------------------------------------------------------------------------------------
def test_a_moved_price_in_the_overlap_fetches_everything_and_is_reported(tmp_path: Path) -> None:
    revised = walk()
    revised.iloc[-5, 1] *= 1.002
    revised.iloc[3, 1] *= 1.01  # outside the overlap: only the full download shows it
    source = memory(walk(), revised)
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert [request.start is None for request in source.requests] == [True, False, True]
    (change,) = got.revisions
    assert (change["rows_changed"], change["first"][:10]) == (2, f"{DAYS[3]:%Y-%m-%d}")
    assert change["largest_change"] == pytest.approx(0.01 / 1.01)
    assert re.search(r"A: the source revised its data.* 2 rows from 2024-01-05 to .* by up to 0.99%", got.notes[0])
    panel = load("A", source=source, cache_dir=tmp_path)
    assert panel.meta["revisions"][0] == {"ticker": "A", **change}


@pytest.mark.parametrize("lost", [[-2, -1], [-10], [-5]])
def test_rows_that_the_source_no_longer_has_are_said_wherever_they_were(tmp_path: Path, lost: list[int]) -> None:
    """The newest two, the first of the overlap, one within."""
    source = memory(walk(), walk().drop(DAYS[lost]))
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert got.revisions[0]["rows_gone"] == len(lost) and "no longer delivered" in got.notes[0]
    assert len(got.bars.frame) == len(DAYS) - len(lost)


@pytest.mark.parametrize("calendar", ["ASEX", "XSHG", "XBOM"])
def test_freshness_needs_no_more_of_a_calendar_than_it_has(calendar: str) -> None:
    """Athens needs mending under pandas 3.1; Shanghai and Bombay are known to the end of 2026."""
    for now, close in (("2026-11-20 22:00", "2026-11-20"), ("2027-01-05 12:00", None)):
        last = revise._last_close(calendar, pd.Timestamp(now, tz="UTC"))
        assert f"{last:%Y-%m-%d}" == (close or ("2027-01-04" if calendar == "ASEX" else "2027-01-05"))


def test_a_move_within_the_tolerance_and_another_volume_are_no_revision(tmp_path: Path) -> None:
    other = walk()
    other["close"] *= 1 + 9e-5
    other["volume"] *= 2
    source = memory(walk(), other)
    get(source, tmp_path)
    assert get(source, tmp_path, refresh=True).revisions == ()


def test_a_value_that_vanished_is_a_revision_and_one_that_came_is_not(tmp_path: Path) -> None:
    hole = walk()
    hole.iloc[-4, 1] = np.nan
    source = memory(walk(), hole)
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert got.revisions[0]["rows_changed"] == 1
    assert "some are now missing" in got.notes[0]
    source = memory(hole, walk())
    get(source, tmp_path / "b")
    assert get(source, tmp_path / "b", refresh=True).revisions == ()


@pytest.mark.parametrize(("kind", "value"), [("split", 4.0), ("dividend", 0.5)])
def test_a_late_action_among_the_cached_rows_fetches_everything_and_is_reported(
    tmp_path: Path, kind: str, value: float
) -> None:
    source = memory(walk().iloc[:-2])
    source.put("A", walk(), calendar="XNYS", actions=actions((f"{DAYS[-3]:%Y-%m-%d}", kind, value)))
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert len(source.requests) == 3
    assert got.revisions[0]["actions_new"] == [f"2024-06-26 {kind} {value:g}"]
    assert got.revisions[0]["rows_changed"] == 0


@pytest.mark.parametrize(("kind", "value", "requests"), [("split", 4.0, 3), ("dividend", 0.5, 2)])
def test_an_action_behind_the_cached_rows_is_news_and_no_revision(
    tmp_path: Path, kind: str, value: float, requests: int
) -> None:
    """Adjusted prices are those of one download of everything; a split still fetches everything, to look it over."""
    events = actions(("2024-02-01", "dividend", 0.4), (f"{DAYS[-1]:%Y-%m-%d}", kind, value))
    source = Memory(cached=True).put("A", walk().iloc[:-2], calendar="XNYS", actions=events.iloc[:1])
    source.put("A", walk(), calendar="XNYS", actions=events)
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert (got.revisions, got.notes, len(source.requests)) == ((), (), requests)
    pd.testing.assert_frame_equal(got.bars.actions, events)
    panel = load("A", source=source, cache_dir=tmp_path, adjust="total", offline=True)
    assert (panel.meta["revisions"], panel.notes) == ([], ())
    whole = load("A", source=Memory().put("A", walk(), calendar="XNYS", actions=events), adjust="total")
    np.testing.assert_array_equal(panel.column("y"), whole.column("y"))


def test_news_that_is_withdrawn_is_a_revision(tmp_path: Path) -> None:
    """Of a day whose bar was not finished: the split moved every price that was delivered then."""
    source = Memory(cached=True).put(
        "A", walk().iloc[:-2], calendar="XNYS", actions=actions((f"{DAYS[-1]:%Y-%m-%d}", "split", 4.0))
    )
    source.put("A", walk(), calendar="XNYS")
    get(source, tmp_path)
    assert get(source, tmp_path, refresh=True).revisions[0]["actions_gone"] == ["2024-06-28 split 4"]


@pytest.mark.shared
def test_two_vintages_of_apple_are_a_revision(tmp_path: Path, shared_data: Path) -> None:
    """bokeh's file shows the prices of 2013 as traded, mplfinance's the same days after the split of 2014."""

    def read(name: str) -> pd.DataFrame:
        raw = pd.read_csv(shared_data / "stocks" / name, index_col="Date", parse_dates=True)
        return raw[["Open", "High", "Low", "Close", "Volume"]].rename(columns=str.lower)

    old, new = read("bokeh_AAPL.csv"), read("mpf_yahoofinance-AAPL-20040819-20180120.csv")
    source = memory(old, new)
    get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    (change,) = got.revisions
    common = old.index.intersection(new.index)
    assert change["rows_changed"] == len(common) == 2148
    assert (change["first"][:10], change["last"][:10]) == ("2004-08-19", "2013-03-01")
    assert change["rows_gone"] == len(old) - len(common)
    assert change["largest_change"] > 0.85  # seven to one, and fourteen to one before 2005
    np.testing.assert_array_equal(got.bars.frame.to_numpy(), new.to_numpy(np.float64))
    assert "the source revised its data" in got.notes[0]


# -- without the source ----------------------------------------------------------------------------
def test_offline_serves_the_cache_or_says_what_is_missing(tmp_path: Path) -> None:
    source = memory(walk())
    with pytest.raises(OfflineError, match=r"offline: A \(memory, 1d\) is not in the cache") as caught:
        get(source, tmp_path, offline=True)
    assert "forecast data fetch" in (caught.value.hint or "")
    get(source, tmp_path)
    assert len(get(source, tmp_path, offline=True).bars.frame) == len(DAYS)
    assert len(source.requests) == 1


@pytest.mark.parametrize("error", [RateLimitedError("A: slow down."), NetworkUnavailableError("A: no network.")])
def test_a_failed_refresh_serves_old_rows_and_says_so(tmp_path: Path, error: Exception) -> None:
    source = memory(walk()).then("A", error)
    first = get(source, tmp_path)
    got = get(source, tmp_path, refresh=True)
    assert (got.stale_since, got.fetched_at) == (first.fetched_at, first.fetched_at)
    panel = load("A", source=source, cache_dir=tmp_path, refresh=True)
    assert panel.meta["stale_since"] == first.fetched_at
    assert re.search(r"A: stale since \d{4}-\d\d-\d\d \d\d:\d\d UTC, cached rows are used: (slow|no)", panel.notes[-1])


def test_a_failure_without_a_cache_is_the_sources_own(tmp_path: Path) -> None:
    with pytest.raises(RateLimitedError, match="slow down"):
        get(Memory(cached=True).then("A", RateLimitedError("slow down.")), tmp_path)
    assert files(tmp_path) == []


def test_a_ticker_that_is_gone_is_not_served_from_the_cache(tmp_path: Path) -> None:
    source = memory(walk()).then("A", TickerNotFoundError("no A."))
    get(source, tmp_path)
    with pytest.raises(TickerNotFoundError):
        get(source, tmp_path, refresh=True)
    assert len(get(source, tmp_path, offline=True).bars.frame) == len(DAYS)


# -- damage ----------------------------------------------------------------------------------------
def _flip(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 1
    path.write_bytes(bytes(blob))


def _edit(path: Path, key: str, value: object) -> None:
    card = json.loads(path.read_text())
    card[key] = value
    path.write_text(json.dumps(card))


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "a flipped bit in the rows": lambda table, sidecar: _flip(table),
    "rows cut short": lambda table, sidecar: table.write_bytes(table.read_bytes()[:100]),
    "rows deleted": lambda table, sidecar: table.unlink(),
    "sidecar cut short": lambda table, sidecar: sidecar.write_bytes(sidecar.read_bytes()[:100]),
    "sidecar empty": lambda table, sidecar: sidecar.write_bytes(b""),
    "sidecar of another schema": lambda table, sidecar: _edit(sidecar, "schema", 99),
    "an action edited": lambda table, sidecar: _edit(sidecar, "actions", [["2024-01-05T00:00:00", "split", 2.0]]),
    "sidecar is a list": lambda table, sidecar: sidecar.write_text("[]"),
    "sidecar names another file": lambda table, sidecar: _edit(sidecar, "parquet", "../../etc/passwd"),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damage_is_quarantined_and_fetched_again(tmp_path: Path, damage: str) -> None:
    source = memory(walk())
    get(source, tmp_path)
    (table,), (sidecar,) = tmp_path.glob("*.parquet"), tmp_path.glob("*.json")
    DAMAGE[damage](table, sidecar)
    with pytest.raises(OfflineError, match="cannot be used: the cached"):
        get(source, tmp_path, offline=True)
    got = get(source, tmp_path)
    assert len(source.requests) == 2
    assert "quarantine" in got.notes[0]
    pd.testing.assert_frame_equal(got.bars.frame, walk(), check_freq=False, check_names=False)
    assert list((tmp_path / "quarantine").iterdir())
    assert get(source, tmp_path).notes == ()


def test_a_folder_that_cannot_be_written_costs_a_note(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    got = get(memory(walk()), blocked / "cache")
    assert len(got.bars.frame) == len(DAYS)
    assert "not kept in the cache" in got.notes[-1]


# -- list and clear --------------------------------------------------------------------------------
def test_entries_are_listed_and_cleared(tmp_path: Path) -> None:
    source = memory(walk()).put("^B", walk().iloc[:50], calendar="XNYS")
    for name in ("^B", "A"):
        fetch(name, source=source, cache_dir=tmp_path)
    listed = cache.entries(tmp_path)
    assert [(entry.ticker, entry.rows, entry.library) for entry in listed] == [
        ("A", 124, "memory"),
        ("^B", 50, "memory"),
    ]
    assert json.loads(json.dumps(listed[0].to_json()))["start"].startswith("2024-01-02")
    assert [entry.ticker for entry in cache.clear(tmp_path, tickers=["a"])] == ["A"]
    assert [entry.ticker for entry in cache.entries(tmp_path)] == ["^B"]
    cache.clear(tmp_path)
    assert files(tmp_path) == []


def test_an_absent_folder_holds_nothing(tmp_path: Path) -> None:
    assert cache.entries(tmp_path / "none") == []
    assert cache.clear(tmp_path / "none") == []


@pytest.mark.parametrize("tickers", [None, ["a", "B", "C"]])
def test_what_is_being_fetched_stays_and_is_named_and_the_rest_goes(tmp_path: Path, tickers: list[str] | None) -> None:
    import filelock

    source = Memory(cached=True)
    for name in "ABC":
        fetch(name, source=source.put(name, walk(), calendar="XNYS"), cache_dir=tmp_path)
    lock = filelock.FileLock(tmp_path / f"{cache.file_name('memory', 'A', '1d')}.lock", is_singleton=False)
    with lock, pytest.raises(BusyError, match=r"A \(memory, 1d\).*waited 0.1 s; 2 removed") as caught:
        cache.clear(tmp_path, tickers=tickers, deadline=0.1)
    assert (caught.value.hint, caught.value.exit_code) == ("Try again in a moment: forecast data clear A.", 4)
    assert [entry.ticker for entry in cache.entries(tmp_path)] == ["A"]
    assert [entry.ticker for entry in cache.clear(tmp_path, tickers=tickers)] == ["A"]


# -- names -----------------------------------------------------------------------------------------
REAL = [
    *["BRK.B", "BRK-B", "^GSPC", "GSPC", "EURUSD=X", "BTC-USD", "SAP.DE", "M&M.NS", "0P000071W8.TO", "CON", "con"],
    *["NUL", "COM1", "AUX.", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "x\0y", "\u202eLPAA", "\u00e9"],
    *["e\u0301", "A" * 4096, "ГАЗП", "", " ", "a ", "A", "~", "$HOME", "*", "?", "a\nb", "\ud800", "_", "-", "a_b"],
    *["a-b", "a.b"],
]
names = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Cc", "Cf", "Zs")), max_size=60),
    st.sampled_from(REAL),
    st.from_regex(r"\^?[A-Z0-9]{1,6}([.\-=][A-Z]{1,3})?", fullmatch=True),
    st.builds("{}/{}".format, st.sampled_from(["..", "../..", "~", "/"]), st.text(max_size=10)),
    st.integers(1, 4096).map(lambda n: "x" * n),
)


def check_names(tickers: set[str]) -> None:
    """Short ASCII without anything a file system could read as a path, one for each ticker."""
    made = {cache.file_name("yahoo", ticker, "1d") for ticker in tickers}
    assert len(made) == len(tickers)
    for name in made:
        assert re.fullmatch(r"[a-z0-9][a-z0-9_]{0,24}-1d-[0-9a-f]{24}", name)


@given(st.sets(names, max_size=20))
@example({"../x", "..\\x", ".._x"})
def test_names_are_safe_and_distinct(tickers: set[str]) -> None:
    check_names(tickers)


def test_ten_thousand_names_are_safe_and_distinct() -> None:
    rng = random.Random(0)
    alphabet = "AaBb01.^=-_/\\:*?\0\n\u202e\u200dé~ $%"
    tickers = {"".join(rng.choices(alphabet, k=rng.choice([1, 2, 3, 5, 8, 40, 4096]))) for _ in range(12_000)}
    tickers |= {ticker.lower() for ticker in tickers} | set(REAL)
    assert len(tickers) > 10_000
    check_names(tickers)


def test_real_symbols_round_trip_without_collision(tmp_path: Path) -> None:
    source = Memory(cached=True)
    for rank, ticker in enumerate(REAL):
        source.put(ticker, walk(seed=rank).iloc[:5], calendar="XNYS")
        cache.fetch(source, Request(ticker), cache_dir=tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert all(path.is_file() for path in (tmp_path / "cache").iterdir())
    assert sorted(entry.ticker for entry in cache.entries(tmp_path / "cache")) == sorted(REAL)
    for rank, ticker in enumerate(REAL):
        got = cache.fetch(source, Request(ticker), cache_dir=tmp_path / "cache", offline=True)
        np.testing.assert_array_equal(got.bars.frame["close"], walk(seed=rank)["close"].iloc[:5])


def test_what_a_dead_first_writer_left_is_removed(tmp_path: Path) -> None:
    name = cache.file_name("memory", "A", "1d")
    for ending in ("lock", f"{'0' * 16}.parquet", "json.1.2.tmp"):
        (tmp_path / f"{name}.{ending}").touch()
    get(memory(walk()), tmp_path)
    assert len(files(tmp_path)) == 2
    assert not (tmp_path / f"{name}.{'0' * 16}.parquet").exists()


@pytest.mark.slow
def test_ten_thousand_names_write_nothing_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # 20,000 of them take minutes and prove nothing here
    bars = memory(walk().iloc[:5]).fetch(Request("A"))
    tickers: set[str] = set()

    @settings(max_examples=10_000)
    @given(names)
    def write(ticker: str) -> None:
        source = Memory(cached=True).then(ticker, replace(bars, ticker=ticker))
        cache.fetch(source, Request(ticker), cache_dir=tmp_path / "cache")
        tickers.add(ticker)

    write()
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert {entry.ticker for entry in cache.entries(tmp_path / "cache")} == tickers


# -- processes -------------------------------------------------------------------------------------
LOADER = """
import sys
from pipelines.tickers import load
panel = load("AAPL", deadline=60)
print(panel.fingerprint(), panel.meta["fetched_at"], panel.meta["stale_since"])
"""


@pytest.mark.parametrize("count", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_many_processes_make_one_download(tmp_path: Path, count: int) -> None:
    with YahooServer(tmp_path) as yahoo:
        yahoo.put("AAPL", walk().assign(high=200.0, low=50.0))
        yahoo.mode = "slow:0.5"
        environment = {**_environment(), **yahoo.environment(), "XDG_CACHE_HOME": str(tmp_path / "home")}
        started = [
            subprocess.Popen([sys.executable, "-c", LOADER], cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True)
            for _ in range(count)
        ]
        ended = [process.communicate() for process in started]
        downloads = [path for path in yahoo.price_requests if "period1" in path]
    assert [error for _, error in ended] == [""] * count
    assert len({out for out, _ in ended}) == 1
    assert len(downloads) == 1


KILLER = r"""
import os, random, signal, sys, time
from pathlib import Path
import numpy as np, pandas as pd
import filelock, pyarrow.parquet
from pipelines import cache
from pipelines.sources.base import Request
from pipelines.sources.memory import Memory

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
days = pd.date_range("2000-01-01", periods=3000)

def version(n):
    return pd.DataFrame({"close": np.full(3000, float(n)), "open": np.full(3000, float(n))}, index=days)

def write(source):
    cache.fetch(source, Request("A"), cache_dir=folder, refresh=True)

def child(job):
    pid = os.fork()  # before any thread of pyarrow exists here
    if pid:
        return pid
    code = 1
    try:
        job()
        code = 0
    finally:
        os._exit(code)

def writer():
    n = 1
    while True:
        n += 1
        write(Memory(cached=True).put("A", version(n)))

def reader():
    got = cache.fetch(Memory(cached=True), Request("A"), cache_dir=folder, offline=True)
    close = got.bars.frame["close"].to_numpy()
    assert len(close) == 3000 and (close == close[0]).all() and close[0] >= 1
    assert (got.bars.frame["open"].to_numpy() == close).all()

def last():
    write(Memory(cached=True).put("A", version(0.5)))

def run(job):
    status = os.waitpid(child(job), 0)[1]
    assert status == 0, (job, status)

def dying(n, step):
    # write version n and die at the step-th call into the system of what touches the disk
    def job():
        left = [step]
        def profile(frame, event, argument):
            if event == "c_call" and inside[0] and argument.__name__ in ("open", "write", "fsync", "replace", "unlink"):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        inside = [False]
        def watched(function):
            def wrapper(*arguments, **keywords):
                inside[0] = True
                try:
                    return function(*arguments, **keywords)
                finally:
                    inside[0] = False
            return wrapper
        cache._replace = watched(cache._replace)
        cache._Slot.sweep = watched(cache._Slot.sweep)
        sys.setprofile(profile)
        write(Memory(cached=True).put("A", version(n)))
    return job

def every_step():
    for step in range(10_000):
        status = os.waitpid(child(dying(step + 2, step)), 0)[1]
        run(reader)
        if status == 0:
            return step
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status

rng = random.Random(int(sys.argv[3]))
run(lambda: write(Memory(cached=True).put("A", version(1))))
for _ in range(kills):
    pid = child(writer)
    time.sleep(rng.uniform(0.0, 0.12))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    run(reader)
steps = every_step()
assert steps >= 9, steps
run(last)
print(sorted(path.suffix for path in folder.iterdir() if path.is_file()))
"""


@pytest.mark.slow
def test_a_writer_killed_at_any_moment_leaves_a_whole_entry(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path), "50", "7"],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['.json', '.lock', '.parquet']"
    assert not (tmp_path / "quarantine").exists()


def test_a_lock_that_is_never_released_ends_at_the_deadline(tmp_path: Path) -> None:
    import filelock

    source = memory(walk())
    tmp_path.joinpath("c").mkdir()
    lock = filelock.FileLock(tmp_path / "c" / f"{cache.file_name('memory', 'A', '1d')}.lock", is_singleton=False)
    with lock, pytest.raises(NetworkUnavailableError, match=r"another process has been fetching it for 0\.2 s"):
        fetch("A", source=source, cache_dir=tmp_path / "c", deadline=0.2)
    first = get(source, tmp_path / "c")
    with lock:
        got = fetch("A", source=source, cache_dir=tmp_path / "c", deadline=0.2, refresh=True)
    assert got.stale_since == first.fetched_at


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
