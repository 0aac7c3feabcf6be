"""Bars within exchange sessions: real openings, half days, lunch breaks, daylight saving, no nights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import UsageError
from pipelines.grid import Grid
from pipelines.panel import Panel

NEW_YORK = Grid("h", "XNYS", tz="America/New_York")


def clock(stamps: pd.DatetimeIndex) -> list[str]:
    return [f"{stamp:%d %H:%M}" for stamp in stamps]


def test_hours_of_new_york_begin_at_the_open_and_skip_nights_and_thanksgiving() -> None:
    ahead = NEW_YORK.wall_clock(NEW_YORK.after(pd.Timestamp("2024-11-27 19:30"), 7))
    assert clock(ahead) == ["27 15:30", "29 09:30", "29 10:30", "29 11:30", "29 12:30", "02 09:30", "02 10:30"]
    assert (NEW_YORK.season, str(NEW_YORK)) == (7, "XNYS sessions, h bars")


def test_daylight_saving_moves_utc_and_not_the_wall() -> None:
    stamps = NEW_YORK.between(pd.Timestamp("2024-03-08"), pd.Timestamp("2024-03-12"))
    assert clock(stamps)[::7] == ["08 14:30", "11 13:30"]
    assert clock(NEW_YORK.wall_clock(stamps))[::7] == ["08 09:30", "11 09:30"]


def test_a_lunch_break_has_no_bars() -> None:
    hong_kong = Grid("h", "XHKG", tz="Asia/Hong_Kong")
    stamps = hong_kong.wall_clock(hong_kong.between(pd.Timestamp("2024-11-28"), pd.Timestamp("2024-11-28 23:00")))
    assert clock(stamps) == ["28 09:30", "28 10:30", "28 11:30", "28 13:00", "28 14:00", "28 15:00"]


def test_a_decade_has_no_seam() -> None:
    stamps = NEW_YORK.between(pd.Timestamp("2019-12-30"), pd.Timestamp("2020-01-03 23:00"))
    assert len(stamps) == 4 * 7


def test_a_panel_of_two_years_of_hours_has_no_gaps() -> None:
    stamps = NEW_YORK.between(pd.Timestamp("2023-01-03 14:30"), pd.Timestamp("2024-12-31 20:30"))
    frame = pd.DataFrame({"unique_id": "A", "ds": stamps, "y": np.arange(len(stamps), dtype=float)})
    panel = Panel(frame, NEW_YORK)
    assert (len(panel), panel.missing) == (502 * 7 - 5 * 3, 0)  # five half days of four bars


@pytest.mark.parametrize("options", [{"freq": "h"}, {"freq": "W-MON", "tz": "America/New_York"}])
def test_bars_need_a_zone_and_fit_in_a_day(options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="exchange calendars give daily sessions"):
        Grid(calendar="XNYS", **options)


# -- currencies ---------------------------------------------------------------------------------------------


def test_hours_of_currencies_skip_the_weekend_of_london() -> None:
    week = Grid("h", "24/5", tz="Europe/London")
    winter = week.after(pd.Timestamp("2024-01-05 22:00"), 3)
    assert clock(winter) == ["05 23:00", "08 00:00", "08 01:00"]
    summer = week.after(pd.Timestamp("2024-07-05 21:00"), 3)
    assert clock(summer) == ["05 22:00", "07 23:00", "08 00:00"]
    assert (week.season, str(week)) == (24, "24/5 sessions, h bars")


@pytest.mark.parametrize(
    ("grid", "steps"),
    [
        (NEW_YORK, 252 * 7),
        (Grid("D", calendar="XNYS"), 252),
        (Grid("B"), 252),
        (Grid("h"), 24 * 365.25),
        (Grid("h", "24/5", tz="UTC"), 24 * 365.25 * 5 / 7),
        (Grid("D"), 365.25),
    ],
)
def test_a_year_has_as_many_steps_as_there_are_bars_in_its_sessions(grid: Grid, steps: float) -> None:
    assert grid.steps_a_year == pytest.approx(steps)
