"""The test double: scripted answers in order, everything it was asked."""

from __future__ import annotations

import doctest

import pandas as pd
import pytest

from pipelines import sources
from pipelines.errors import NoDataInRangeError, RateLimitedError, TickerNotFoundError, UsageError
from pipelines.sources import memory
from pipelines.sources.base import Request
from pipelines.sources.memory import Memory
from pipelines.tickers import load


def bars(rows: int = 5, start: str = "2024-01-01") -> pd.DataFrame:
    index = pd.date_range(start, periods=rows)
    return pd.DataFrame({"close": [float(value) for value in range(1, rows + 1)]}, index=index)


def test_the_example_runs() -> None:
    assert doctest.testmod(memory).attempted > 0
    assert doctest.testmod(memory).failed == 0


def test_answers_come_in_order_and_the_last_repeats() -> None:
    source = Memory().then("X", RateLimitedError("slow down.")).put("X", bars(3)).put("X", bars(4))
    with pytest.raises(RateLimitedError):
        source.fetch(Request("X"))
    assert [len(source.fetch(Request("X")).frame) for _ in range(3)] == [3, 4, 4]
    assert [request.ticker for request in source.requests] == ["X"] * 4


def test_a_start_cuts() -> None:
    source = Memory().put("X", bars(5))
    assert len(source.fetch(Request("X", start=pd.Timestamp("2024-01-04"))).frame) == 2
    with pytest.raises(NoDataInRangeError):
        source.fetch(Request("X", start=pd.Timestamp("2025-01-01")))


def test_an_unknown_ticker_suggests_the_nearest() -> None:
    with pytest.raises(TickerNotFoundError, match=r"Did you mean 'AAPL'\?"):
        Memory().put("AAPL", bars()).fetch(Request("AAPLE"))


def test_unsorted_rows_are_refused() -> None:
    with pytest.raises(UsageError, match="not ascending and unique"):
        Memory().put("X", bars().iloc[::-1])


def test_the_registry_knows_it_by_name() -> None:
    assert sources.names() == ("yahoo", "sample", "memory")
    memory.shared().put("SHARED-TEST", bars())
    assert len(load("SHARED-TEST", source="memory")) == 5
    with pytest.raises(UsageError, match=r"source 'yahho' is unknown. Did you mean 'yahoo'\?"):
        sources.get("yahho")
