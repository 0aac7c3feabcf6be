"""Sessions that exchange_calendars 4.13 loses on pandas 3.1: other weeks, holidays and Easters than New York's."""

from __future__ import annotations

import pandas as pd

from pipelines.grid import Grid


def traded(calendar: str, first: str, last: str) -> list[str]:
    return [f"{day:%a %d}" for day in Grid("D", calendar).between(pd.Timestamp(first), pd.Timestamp(last))]


def test_tel_aviv_trades_on_sundays_until_2026_and_not_on_yom_kippur() -> None:
    assert traded("XTAE", "2024-10-06", "2024-10-15") == [
        "Sun 06", "Mon 07", "Tue 08", "Wed 09", "Thu 10", "Sun 13", "Mon 14", "Tue 15",
    ]  # fmt: skip
    assert traded("XTAE", "2025-12-28", "2026-01-09")[-7:] == [
        "Thu 01", "Sun 04", "Mon 05", "Tue 06", "Wed 07", "Thu 08", "Fri 09",
    ]  # fmt: skip
    after = Grid("D", "XTAE").after(pd.Timestamp("2024-10-10"), 3)  # Yom Kippur began on Friday
    assert [f"{day:%a %d}" for day in after] == ["Sun 13", "Mon 14", "Tue 15"]


def test_athens_keeps_its_own_easter_and_bombay_its_saturday() -> None:
    assert traded("ASEX", "2024-05-01", "2024-05-08") == ["Thu 02", "Tue 07", "Wed 08"]
    assert "Sat 20" in traded("XBOM", "2024-01-15", "2024-01-26")
