"""From a ticker to a forecast as a person does it: the command in a process of its own, unmodified yfinance, a
loopback Yahoo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.grid import Grid
from tests.conftest import ROOT
from tests.yahoo_server import YahooServer

QUICK = ["--epochs", "1", "--horizon", "3", "--set", "model.hidden=4", "--set", "model.layers=1", "--threads", "1"]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[YahooServer]:
    with YahooServer(tmp_path_factory.mktemp("yahoo")) as running:
        yield running


@pytest.fixture
def yahoo(server: YahooServer) -> YahooServer:
    server.reset()
    days = Grid("D", "XNYS").between(pd.Timestamp("2018-01-02"), pd.Timestamp("2024-11-27"))
    close = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(days))))
    columns = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1e6}
    server.put("AAPL", pd.DataFrame(columns, index=days), splits={"2020-08-31": 4.0}, dividends={"2024-11-08": 0.25})
    return server


@pytest.fixture
def forecast(yahoo: YahooServer, tmp_path: Path) -> Command:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **yahoo.environment(), "XDG_CACHE_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-m", "forecast", *arguments]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_ticker_is_fitted_and_the_second_run_asks_for_no_prices(
    yahoo: YahooServer, forecast: Command, tmp_path: Path
) -> None:
    yahoo.script("429", "429")
    first = forecast("fit", "--ticker", "AAPL", "--json", "--out", str(tmp_path / "run"), *QUICK)
    assert (first.returncode, first.stderr) == (0, "")
    document = json.loads(first.stdout)
    assert (document["series"]["rows"], document["series"]["missing"]) == (1739, 0)
    # Thanksgiving is skipped, and so is the weekend
    assert [row["ds"][:10] for row in document["forecast"]] == ["2024-11-29", "2024-12-02", "2024-12-03"]
    facts = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert _find(facts, "stale_since") == [None]

    asked = len(yahoo.price_requests)
    second = forecast("fit", "--ticker", "AAPL", "--json", "--out", str(tmp_path / "again"), *QUICK)
    assert second.returncode == 0
    assert json.loads(second.stdout)["forecast"] == document["forecast"]
    assert len(yahoo.price_requests) == asked


def _find(value: Any, key: str) -> list[Any]:
    """Every value under ``key`` at the shallowest level that has it."""
    if not isinstance(value, dict):
        return []
    if key in value:
        return [value[key]]
    return [found for inner in value.values() for found in _find(inner, key)]


FAULTS = {
    "429": "Yahoo limits our requests (status 429) (5 attempts, deadline 12 s in total)",
    "500": "Yahoo answered with server error 500",
    "html": "not JSON",
    "null": "is not a price chart",
    "no-timestamps": "'timestamp' is missing",
    "reset": "the connection failed",
    "hang": "the server did not answer in time",
}


@pytest.mark.parametrize(
    "fault", [name if name == "html" else pytest.param(name, marks=pytest.mark.slow) for name in FAULTS]
)
def test_a_fault_is_one_sentence_and_exit_code_four(yahoo: YahooServer, forecast: Command, fault: str) -> None:
    yahoo.mode = fault
    done = forecast("fit", "--ticker", "AAPL", "--json")
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "delisted" not in done.stderr
    assert FAULTS[fault] in done.stderr
    assert "--source sample" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == 4


def test_an_unknown_ticker_is_named(forecast: Command) -> None:
    done = forecast("fit", "--ticker", "NOPE")
    assert (done.returncode, done.stdout) == (4, "")
    assert "Yahoo has no ticker NOPE; it says: 'No data found, symbol may be delisted'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_stale_rows_are_used_visibly_and_recorded(yahoo: YahooServer, forecast: Command, tmp_path: Path) -> None:
    assert forecast("data", "fetch", "AAPL").returncode == 0
    yahoo.mode = "500"
    fetched = forecast("data", "fetch", "AAPL", "--refresh")
    assert fetched.returncode == 0
    assert "AAPL: stale since" in fetched.stdout
    listed = json.loads(forecast("data", "list", "--json").stdout)
    assert [entry["ticker"] for entry in listed["cache"]] == ["AAPL"]
    offline = forecast("fit", "--ticker", "AAPL", "--offline", "--json", "--out", str(tmp_path / "run"), *QUICK)
    assert offline.returncode == 0
    assert forecast("data", "clear", "AAPL").returncode == 0
    lacking = forecast("fit", "--ticker", "AAPL", "--offline")
    assert lacking.returncode == 4
    assert "offline: AAPL (yahoo, 1d) is not in the cache" in lacking.stderr


def test_without_a_network_one_sentence_names_the_deadline_and_the_samples(tmp_path: Path) -> None:
    """A name that nobody can look up, by way of a proxy that does not exist."""
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environment |= {"HTTPS_PROXY": "http://proxy.invalid:9", "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "forecast", "fit", "--ticker", "^GSPC"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    sentence = "^GSPC: no prices from Yahoo: the name proxy.invalid could not be looked up (1 attempt, deadline 12 s"
    assert sentence in done.stderr
    assert "--source sample" in done.stderr
    assert "Traceback" not in done.stderr
