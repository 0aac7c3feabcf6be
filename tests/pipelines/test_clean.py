"""Cleaning: time stamps, order, doubles, gaps, grids and prices become one regular panel, or a refusal with its "
"place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.clean import Options, check_ohlc, from_frame
from pipelines.errors import DataError, TimeError, TooShortError, UsageError, ValueRangeError
from pipelines.grid import Grid
from pipelines.panel import Panel
from pipelines.regular import usual_step
from pipelines.where import Where
from tests.pipelines.test_files import refuses, said


def frame(stamps: Any, y: Any = None, **more: Any) -> pd.DataFrame:
    """Columns ``ds, y`` and more; ``y`` counts from 1 when left out."""
    stamps = list(stamps)
    return pd.DataFrame({"ds": stamps, "y": np.arange(1.0, len(stamps) + 1) if y is None else y, **more})


def ds(panel: Panel) -> list[str]:
    return [str(stamp) for stamp in pd.DatetimeIndex(panel.ds)]


def hourly(count: int, start: str = "2024-01-01") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq="h")


# -- dates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-30", "2024-01-31", "2024-02-01"],
        ["2024/01/30", "2024/01/31", "2024/02/01"],
        ["2024.1.30", "2024.1.31", "2024.2.1"],
        ["2024-1-30", "2024-1-31", "2024-2-1"],
        ["20240130", "20240131", "20240201"],
        ["30/01/2024", "31/01/2024", "01/02/2024"],
        ["30.1.2024", "31.1.2024", "1.2.2024"],
        ["1/30/2024", "1/31/2024", "2/1/2024"],
        ["30-Jan-2024", "31-Jan-2024", "01-Feb-2024"],
        ["Jan 30 2024", "Jan 31 2024", "Feb 1 2024"],
        ["January 30, 2024", "January 31, 2024", "February 1, 2024"],
        ["Tue, 30 Jan 2024", "Wed, 31 Jan 2024", "Thu, 1 Feb 2024"],
        ["30/01/24", "31/01/24", "01/02/24"],
        [20240130, 20240131, 20240201],
        ["2024-01-30 00:00:00", "2024-01-31", "2024-02-01 00:00"],
    ],
    ids=str,
)
def test_one_date_in_many_ways_of_writing(cells: list[Any]) -> None:
    panel = from_frame(frame(cells), time="ds")
    assert ds(panel) == ["2024-01-30 00:00:00", "2024-01-31 00:00:00", "2024-02-01 00:00:00"]


@pytest.mark.parametrize(
    "cells",
    [
        ["2024-01-30 22:00", "2024-01-30 23:00", "2024-01-31 00:00"],
        ["2024-01-30T22:00:00.000", "2024-01-30T23:00:00.000", "2024-01-31T00:00:00.000"],
        ["2024-01-30T22:00:00Z", "2024-01-30T23:00:00Z", "2024-01-31T00:00:00Z"],
        ["2024-01-30 22:00:00 UTC", "2024-01-30 23:00:00 UTC", "2024-01-31 00:00:00 UTC"],
        ["2024-01-31 00:00:00+02:00", "2024-01-31 01:00:00+02:00", "2024-01-31 02:00:00+02:00"],
        ["2024-01-31 00:00:00 +0200", "2024-01-31 01:00:00 +0200", "2024-01-31 02:00:00 +0200"],
        ["1/30/2024 10:00 PM", "1/30/2024 11:00 PM", "1/31/2024 12:00 AM"],
        ["30 Jan 2024 22:00", "30 Jan 2024 23:00", "31 Jan 2024 00:00"],
        ["20240130 22:00", "20240130 23:00", "20240131 00:00"],
        [1706652000, 1706655600, 1706659200],
        ["1706652000000", "1706655600000", "1706659200000"],
    ],
    ids=str,
)
def test_one_hour_in_many_ways_of_writing(cells: list[Any]) -> None:
    panel = from_frame(frame(cells), time="ds")
    assert ds(panel) == ["2024-01-30 22:00:00", "2024-01-30 23:00:00", "2024-01-31 00:00:00"]
    assert panel.grid.freq == "h"


@pytest.mark.parametrize(
    ("cells", "freq", "first"),
    [
        (["2023-11", "2023-12", "2024-01"], "MS", "2023-11-01 00:00:00"),
        (["2023M11", "2023M12", "2024M01"], "MS", "2023-11-01 00:00:00"),
        (["2023-Q3", "2023-Q4", "2024-Q1"], "QS-OCT", "2023-07-01 00:00:00"),
        (["2022", "2023", "2024"], "YS-JAN", "2022-01-01 00:00:00"),
        (["Nov 2023", "Dec 2023", "Jan 2024"], "MS", "2023-11-01 00:00:00"),
    ],
)
def test_months_quarters_and_years(cells: list[str], freq: str, first: str) -> None:
    panel = from_frame(frame(cells), time="ds")
    assert (panel.grid.season, ds(panel)[0]) == ({"MS": 12, "QS-OCT": 4, "YS-JAN": 1}[freq], first)


def test_two_date_formats_in_one_column_are_refused() -> None:
    cells = ["2024-01-01", "2024-01-02", "03.01.2024", "2024-01-04", "2024-01-05"]
    with refuses(TimeError, "row 3, column 'ds'", "two date formats", "'03.01.2024'", "'2024-01-01'"):
        from_frame(frame(cells))


def test_day_first_and_month_first_in_one_column_are_refused() -> None:
    with refuses(TimeError, "row 3", "two date formats", "'1/13/2024'", "'13/1/2024'"):
        from_frame(frame(["12/1/2024", "13/1/2024", "1/13/2024", "14/1/2024", "15/1/2024"]))


def test_ambiguous_day_and_month_are_refused_unless_the_user_or_the_file_decides() -> None:
    open_cells = ["01/02/2024", "01/03/2024", "02/04/2024"]
    with refuses(TimeError, "row 1, column 'ds'", "day/month or month/day", "--dayfirst"):
        from_frame(frame(open_cells))
    assert ds(from_frame(frame(open_cells), dayfirst=True, freq="D"))[0] == "2024-02-01 00:00:00"
    assert ds(from_frame(frame(open_cells), dayfirst=False, freq="D"))[0] == "2024-01-02 00:00:00"
    decided = from_frame(frame(["01/02/2024", "13/02/2024", "25/02/2024"]))
    assert ds(decided)[0] == "2024-02-01 00:00:00"
    assert said(decided, "'13/02/2024' decides it")


def test_regular_steps_decide_day_and_month_and_that_is_said() -> None:
    panel = from_frame(frame([f"01/{month:02d}/2023" for month in range(1, 13)] + ["01/01/2024"]))
    assert panel.grid.freq == "MS"
    assert said(panel, "only so are the steps regular")


def test_dayfirst_against_the_file_is_refused() -> None:
    with refuses(TimeError, "row 2", "'1/13/2024' cannot be day/month"):
        from_frame(frame(["1/12/2024", "1/13/2024", "1/14/2024"]), dayfirst=True)


def test_a_date_that_is_none_is_refused() -> None:
    with refuses(TimeError, "row 2, column 'ds'", "'2023-02-30' is no date"):
        from_frame(frame(["2023-02-28", "2023-02-30", "2023-03-02"]))
    with refuses(TimeError, "row 3", "'soon' is not a date like '2024-01-01'"):
        from_frame(frame(["2024-01-01", "2024-01-02", "soon", "2024-01-04", "2024-01-05"]))


def test_a_year_without_century_is_refused_with_the_way_out() -> None:
    with refuses(TimeError, "row 1, column 'ds'", "no year with a century", "--time 2001-01-01 --freq MS"):
        from_frame(frame(["1-01", "1-02", "1-03"]), time="ds")


def test_a_value_without_a_stamp_is_refused() -> None:
    with refuses(TimeError, "row 2, column 'ds'", "a value without a time stamp"):
        from_frame(frame(["2024-01-01", "", "2024-01-03"]))


# -- zones ----------------------------------------------------------------------------------------------


def test_mixed_offsets_are_instants_in_utc_and_said() -> None:
    wall = pd.date_range("2024-10-27", periods=6, freq="h", tz="Europe/Berlin")
    panel = from_frame(frame(wall.map(str)))
    assert ds(panel) == [str(stamp) for stamp in wall.tz_convert("UTC").tz_localize(None)]
    assert said(panel, "mixed UTC offsets")


def test_days_with_mixed_offsets_stay_days() -> None:
    cells = [f"2024-03-{day} 00:00:00+01:00" for day in (29, 30, 31)]
    panel = from_frame(frame([*cells, "2024-04-01 00:00:00+02:00"]))
    assert ds(panel)[-1] == "2024-04-01 00:00:00"
    assert panel.grid.freq == "D"


def test_stamps_with_and_without_offset_are_refused() -> None:
    with refuses(TimeError, "row 2", "has no UTC offset"):
        from_frame(frame(["2024-01-01 00:00:00+01:00", "2024-01-01 01:00:00", "2024-01-01 02:00:00+01:00"]))


def test_local_time_with_a_zone_is_kept_in_utc_through_both_clock_changes() -> None:
    for start in ("2024-03-30 20:00", "2024-10-26 20:00"):
        wall = pd.date_range(start, periods=12, freq="h", tz="Europe/Berlin")
        panel = from_frame(frame(wall.tz_localize(None)), tz="Europe/Berlin")
        assert ds(panel) == [str(stamp) for stamp in wall.tz_convert("UTC").tz_localize(None)]
        assert panel.missing == 0
        assert panel.grid.tz == "Europe/Berlin"


def test_the_repeated_hour_is_told_apart_newest_first_too() -> None:
    wall = pd.date_range("2024-10-26 20:00", periods=12, freq="30min", tz="Europe/Berlin")
    wall = wall.append(pd.date_range(wall[-1], periods=8, freq="30min", inclusive="right"))
    panel = from_frame(frame(wall.tz_localize(None)[::-1], np.arange(len(wall))[::-1]), tz="Europe/Berlin")
    assert panel.column("y").tolist() == list(range(len(wall)))


def test_a_collapsed_autumn_hour_leaves_one_hour_missing_and_says_so() -> None:
    wall = (
        pd.date_range("2024-10-26 22:00", periods=8, freq="h", tz="Europe/Berlin").tz_localize(None).drop_duplicates()
    )
    panel = from_frame(frame(wall), tz="Europe/Berlin")
    assert panel.missing == 1
    assert said(panel, "occur once (row 5): read as summer time; the second hour is missing")


def test_a_stamp_in_the_hour_spring_skips_is_refused() -> None:
    with refuses(
        TimeError, "row 3, column 'ds'", "2024-03-31 02:00:00 does not exist in Europe/Berlin", "--tz Etc/GMT-1"
    ):
        from_frame(frame(hourly(5, "2024-03-31")), tz="Europe/Berlin")


def test_the_doubled_hour_without_a_zone_is_refused_and_the_zone_suggested() -> None:
    wall = pd.date_range("2024-10-26 22:00", periods=8, freq="h", tz="Europe/Berlin").tz_localize(None)
    with refuses(TimeError, "row 6", "occurs in row 5", "--tz Europe/Berlin"):
        from_frame(frame(wall))


def test_a_frame_with_a_zone_is_kept_in_utc_and_its_zone_remembered() -> None:
    stamps = pd.date_range("2024-10-26 20:00", periods=12, freq="h", tz="Europe/Berlin")
    panel = from_frame(frame(stamps))
    assert panel.grid.tz == "Europe/Berlin"
    assert ds(panel)[0] == "2024-10-26 18:00:00"
    assert said(panel, "local time of Europe/Berlin, kept in UTC")
    days = from_frame(frame(pd.date_range("2024-10-25", periods=5, freq="D", tz="Europe/Berlin")))
    assert (days.grid.tz, ds(days)[0]) == (None, "2024-10-25 00:00:00")


def test_an_unknown_zone_is_refused() -> None:
    with refuses(UsageError, "time zone 'Mars/Olympus' is unknown"):
        from_frame(frame(hourly(3)), tz="Mars/Olympus")


# -- order and doubles ----------------------------------------------------------------------------------


def test_newest_first_and_disorder_are_sorted_and_said() -> None:
    stamps = hourly(6)
    newest = from_frame(frame(stamps[::-1]))
    assert newest.column("y").tolist() == [6, 5, 4, 3, 2, 1]
    assert said(newest, "newest first")
    mixed = from_frame(frame(stamps[[0, 2, 1, 3, 4, 5]]))
    assert mixed.column("y").tolist() == [1, 3, 2, 4, 5, 6]
    assert said(mixed, "1 backward step, row 3")


def test_exact_doubles_are_left_out_and_said() -> None:
    stamps = hourly(4)[[0, 1, 1, 2, 3]]
    panel = from_frame(frame(stamps, [1.0, 2, 2, 3, 4]))
    assert panel.column("y").tolist() == [1, 2, 3, 4]
    assert said(panel, "1 row repeated an earlier one exactly (row 3)")


def test_doubles_with_different_values_are_refused_or_settled_as_asked() -> None:
    rows = frame(hourly(4)[[0, 1, 1, 2, 3]], [1.0, 2, 4, 5, 6])
    with refuses(TimeError, "memory, row 3, column 'ds'", "occurs in row 2", "--duplicates"):
        from_frame(rows)
    kept = {policy: from_frame(rows, duplicates=policy).column("y").tolist() for policy in ("first", "last", "mean")}
    assert kept == {"first": [1, 2, 5, 6], "last": [1, 4, 5, 6], "mean": [1, 3, 5, 6]}


# -- grids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "freq",
    ["min", "5min", "15min", "h", "6h", "D", "W-WED", "MS", "ME", "QS-JAN", "QE-MAR", "YS-JAN", "YE-DEC", "BME", "10D"],
)
def test_the_frequency_is_inferred(freq: str) -> None:
    panel = from_frame(frame(pd.date_range("2023-01-04" if freq == "10D" else "2023-01-01", periods=40, freq=freq)))
    assert panel.grid.freq == freq


def test_a_phase_off_the_hour_is_kept() -> None:
    panel = from_frame(frame(pd.date_range("2024-01-01 00:15:01", periods=5, freq="h")))
    assert ds(panel)[0] == "2024-01-01 00:15:01"
    assert panel.grid.freq == "h"


@pytest.mark.parametrize("given", [[1, 2, 3], pd.Series([1.0, 2.0]), None, "data.csv"])
def test_what_is_no_frame_is_refused(given: Any) -> None:
    with refuses(UsageError, f"from_frame got {type(given).__name__}, expected a pandas DataFrame"):
        from_frame(given)


def test_as_text_a_refusal_ends_with_the_arguments_of_the_flags_its_hint_names() -> None:
    with refuses(TimeError, "--time 2020-01-01 --freq D. (In Python: time=, freq=.)"):
        from_frame(pd.DataFrame({"a": [1, 2]}))
    with refuses(UsageError, "each is a series. (In Python: target=.)") as caught:
        from_frame(frame(hourly(3), x=[1.0, 2.0, 3.0]).rename(columns={"y": "w"}))
    assert "Python" not in caught.value.hint  # which is what the command line shows
    said = {
        "Say --dayfirst or --no-dayfirst (dayfirst=True or False).": "",
        "If this is no price: --preset sensor, or --as-of a day.": " (In Python: kind='sensor', as_of=.)",
        "Use --preset stacked-lstm or --lookback 5.": "",
        "Use a larger --horizon; --horizon 3 for instance.": " (In Python: horizon=.)",
    }
    for hint, end in said.items():
        assert str(UsageError("Wrong.", hint=hint)) == f"Wrong. {hint}{end}"


def test_one_row_gives_no_frequency() -> None:
    with refuses(TooShortError, "no frequency to infer", "Use more history"):
        from_frame(frame(["2024-01-01"]))
    assert len(from_frame(frame(["2024-01-01"]), freq="D")) == 1


def test_irregular_stamps_are_refused_or_snapped_to_the_next_stamp() -> None:
    rows = frame(pd.Timestamp("2024-01-01") + pd.to_timedelta([0, 10, 20, 33, 37, 50, 60], unit="min"))
    with refuses(
        TimeError, "row 4, column 'ds'", "irregular steps: 3 of 6 differ from the usual 10 min", "--irregular snap"
    ):
        from_frame(rows)
    panel = from_frame(rows, irregular="snap")
    assert ds(panel) == [str(stamp) for stamp in pd.date_range("2024-01-01", periods=7, freq="10min")]
    assert np.array_equal(panel.column("y"), [1, 2, 3, np.nan, 4.5, 6, 7], equal_nan=True)
    assert said(panel, "2 stamps moved to the next stamp of the grid 10min (by up to 7 min")
    assert said(panel, "never earlier")


@settings(max_examples=40)
@given(st.lists(st.integers(0, 100_000), min_size=5, max_size=60, unique=True))
def test_snapping_never_moves_a_value_into_its_past(seconds: list[int]) -> None:
    stamps = pd.Timestamp("2024-01-01") + pd.to_timedelta(sorted(seconds), unit="s")
    elapsed = np.asarray(sorted(seconds), dtype=np.float64)
    panel = from_frame(frame(stamps, elapsed), irregular="snap", freq="5min")
    at = (panel.ds - np.datetime64("2024-01-01")) / np.timedelta64(1, "s")
    known = ~np.isnan(panel.column("y"))
    assert (at[known] >= panel.column("y")[known]).all()
    assert (at[known] - panel.column("y")[known] < 300).all()


def jittered(*seconds: int, n: int = 40) -> pd.DataFrame:
    """Hourly rows with values 1, 2, ... whose clock is off by ``seconds``, again and again."""
    return frame(pd.Timestamp("2024-01-01") + pd.to_timedelta(3600 * np.arange(n) + np.resize(seconds, n), unit="s"))


SWAY = (28, -25, 3, 11, -19, 30, -2, -30, 17, 0, -9)


def test_where_steps_vary_the_usual_is_their_median_near_a_natural_length() -> None:
    minutes = np.timedelta64(60_000_000_000, "ns")
    for steps, usual in (
        ((59, 61, 62, 58, 64, 57, 55, 60, 63), 60),  # no step is half of them
        ((60, 60, 60, 60, 61, 59), 60),
        ((37, 37, 37, 38), 37),  # exact but for one: as it is, natural or not
        ((10, 20, 30, 20, 40, 10, 30), 10),  # gaps of an exact series
        ((240, 240, 1200, 1200, 1140, 1200, 240, 1380), 240),  # two bars a day, an early close
        ((36, 38, 37, 41, 33), 37),  # no natural step near
    ):
        assert usual_step(np.array(steps) * minutes) == usual * minutes


def test_stamps_near_a_grid_are_refused_with_the_way_to_the_nearest() -> None:
    with refuses(
        TimeError, "differ from the usual 1 h;", "All lie within 30 s of a grid", "--irregular nearest --freq h moves"
    ):
        from_frame(jittered(*SWAY))


@pytest.mark.parametrize("freq", [None, "h"])
def test_nearest_takes_a_stamp_to_the_nearest_of_the_grid(freq: str | None) -> None:
    panel = from_frame(jittered(*SWAY), irregular="nearest", freq=freq)
    assert ds(panel) == [str(stamp) for stamp in pd.date_range("2024-01-01", periods=40, freq="h")]
    assert panel.column("y").tolist() == list(range(1, 41))
    assert said(
        panel, "37 stamps moved to the nearest stamp of the grid h (by up to 30 s later and 30 s earlier; 19 rows"
    )
    assert said(panel, "rows stand up to that long before they were measured)")
    before = frame(pd.to_datetime(["2023-12-31 23:59:58", "2024-01-01 01:00:01", "2024-01-01 01:59:59"]))
    assert ds(from_frame(before, irregular="nearest", freq="h"))[0] == "2024-01-01 00:00:00"
    exact = from_frame(frame(hourly(5, "2024-01-01 00:30")), irregular="nearest")
    assert ds(exact)[0] == "2024-01-01 00:30:00" and not said(exact, "moved")


def test_a_clock_that_is_always_late_is_told_without_negative_lengths() -> None:
    late = from_frame(jittered(*[abs(second) + 3 for second in SWAY]), irregular="nearest")
    assert late.missing == 0 and said(late, "(by up to 0 s later and ")
    early = from_frame(jittered(*[-abs(second) - 3 for second in SWAY]), irregular="nearest", freq="h")
    assert early.missing == 0 and said(early, "s later and 0 s earlier)")


def test_nearest_never_goes_back_more_than_half_a_step() -> None:
    halves = frame(
        pd.to_datetime(["2024-01-01T00:00:00", "2024-01-01T01:29:59", "2024-01-01T02:30:00", "2024-01-01T04:00:00"])
    )
    panel = from_frame(halves, irregular="nearest", freq="h")
    assert np.array_equal(panel.column("y"), [1, 2, np.nan, 3, 4], equal_nan=True)
    week = frame(pd.to_datetime(["2024-01-03", "2024-01-06", "2024-01-09", "2024-01-10"]))  # a Saturday
    assert ds(from_frame(week, irregular="nearest", calendar="XNYS"))[1:] == [
        f"2024-01-{day} 00:00:00" for day in ("04", "05", "08", "09", "10")
    ]
    assert np.isnan(from_frame(week, irregular="nearest", calendar="XNYS").column("y")[2])
    tuesday = frame(pd.to_datetime(["2024-01-02", "2024-01-09", "2024-01-16"]))
    assert ds(from_frame(tuesday, irregular="nearest", freq="W-MON"))[0] == "2024-01-01 00:00:00"


def test_snapping_that_leaves_many_stamps_empty_names_nearest() -> None:
    panel = from_frame(jittered(*SWAY), irregular="snap")
    assert panel.grid.freq == "h" and panel.missing > 5
    assert said(
        panel, f"{panel.missing} of {len(panel)} stamps of the grid were left without a row; --irregular nearest"
    )
    late = from_frame(jittered(*[1800 + second for second in SWAY]), irregular="nearest")
    assert said(late, "--irregular snap would leave 0 (a value may then stand up to a step after)")
    assert not said(from_frame(jittered(1, 2, 4, 7, 11), irregular="snap", freq="h"), "without a row")
    assert not said(from_frame(jittered(*SWAY), irregular="snap", freq="8h"), "without a row")


def test_a_frequency_that_the_rows_do_not_have_is_refused_never_resampled() -> None:
    with refuses(TimeError, "row 2", "is no stamp of the grid 2h"):
        from_frame(frame(hourly(5)), freq="2h")


def test_a_stamp_off_the_sessions_is_shown_as_written() -> None:
    with refuses(TimeError, "2024-01-01 00:00:00, time of America/New_York (2024-01-01 05:00:00 in UTC), is no stamp"):
        from_frame(frame(hourly(30)), calendar="XNYS")


def test_series_may_differ_in_span_but_share_one_grid() -> None:
    rows = pd.concat(
        [frame(hourly(4)).assign(unique_id="a"), frame(hourly(3, "2024-01-01 02:00")).assign(unique_id="b")]
    )
    panel = from_frame(rows, id="unique_id")
    assert panel.lengths.tolist() == [4, 3]


# -- calendars ------------------------------------------------------------------------------------------


def sessions(first: str, last: str) -> pd.DatetimeIndex:
    from pipelines.grid import Grid

    return Grid("D", "XNYS").between(pd.Timestamp(first), pd.Timestamp(last))


def test_new_york_sessions_are_recognised_without_phantom_rows() -> None:
    panel = from_frame(frame(sessions("2018-01-02", "2024-12-31")))
    assert panel.grid.calendar == "XNYS"
    assert panel.missing == 0
    assert said(panel, "Calendar: XNYS")


def test_a_few_missing_sessions_are_masked_on_the_calendar() -> None:
    stamps = sessions("2018-01-02", "2020-12-31")
    panel = from_frame(frame(stamps.delete([100, 300])))
    assert (panel.grid.calendar, panel.missing) == ("XNYS", 2)


def test_all_weekdays_are_weekdays_and_never_an_exchange() -> None:
    panel = from_frame(frame(pd.date_range("2020-01-01", periods=400, freq="B")))
    assert str(panel.grid) == "B"
    assert said(panel, "no holiday in the span tells an exchange")


def test_a_date_without_session_speaks_against_the_exchange_and_that_is_said() -> None:
    stamps = sessions("2020-01-02", "2020-12-31").append(pd.DatetimeIndex(["2020-12-25"])).sort_values()
    panel = from_frame(frame(stamps))
    assert str(panel.grid) == "B"
    assert said(panel, "1 date (2020-12-25 first) are no XNYS sessions")


def test_a_renamed_ticker_is_a_long_hole_on_the_calendar() -> None:
    stamps = sessions("2015-01-02", "2020-12-31")
    panel = from_frame(frame(stamps.delete(range(200, 500))))
    assert (panel.grid.calendar, panel.missing) == ("XNYS", 300)
    assert said(panel, "1 long hole: a renamed or suspended ticker")


def test_a_calendar_as_asked_refuses_what_is_no_session() -> None:
    rows = frame(pd.to_datetime(["2024-11-27", "2024-11-28", "2024-11-29"]))
    with refuses(TimeError, "row 2", "2024-11-28 is no stamp of the grid XNYS sessions"):
        from_frame(rows, calendar="XNYS")


# -- gaps and covariates --------------------------------------------------------------------------------


def holed() -> pd.DataFrame:
    return frame(hourly(10).delete([3, 6, 7]), [0.0, 1, 2, 4, 5, 8, 9], load=np.arange(7.0))


def test_gaps_are_masked_refused_or_interpolated() -> None:
    masked = from_frame(holed(), target="y", past=["load"])
    assert np.flatnonzero(np.isnan(masked.column("y"))).tolist() == [3, 6, 7]
    assert np.isnan(masked.column("load")[[3, 6, 7]]).all()
    assert said(masked, "3 rows of 10 on the grid (h) have no target, the first at 2024-01-01 03:00:00; masked (2 gaps")
    with refuses(TimeError, "row 3", "2024-01-01 03:00:00", "--gaps mask"):
        from_frame(holed(), target="y", gaps="error")
    short = from_frame(holed(), target="y", gaps="interpolate:1", past=["load"])
    assert short.column("y")[3] == 3.0
    assert short.column("load")[3] == 2.5
    assert np.flatnonzero(np.isnan(short.column("y"))).tolist() == [6, 7]
    assert said(short, "a live forecast would not know")
    assert from_frame(holed(), target="y", gaps="interpolate:2").column("y").tolist() == list(range(10))


def test_interpolation_never_reaches_into_the_next_series() -> None:
    rows = pd.concat(
        [
            frame(hourly(3), [1.0, np.nan, 3]).assign(unique_id="a"),
            frame(hourly(3), [9.0, np.nan, 7]).assign(unique_id="b"),
        ]
    )
    panel = from_frame(rows, gaps="interpolate:1")
    assert panel.column("y").tolist() == [1, 2, 3, 9, 8, 7]


@pytest.mark.parametrize("gaps", ["interpolate", "interpolate:0", "interpolate:x", "fill", ""])
def test_an_unknown_gaps_policy_is_refused(gaps: str) -> None:
    with refuses(UsageError, "is not one of error, mask, interpolate:N"):
        Options(gaps=gaps)


@pytest.mark.parametrize("name", ["irregular", "duplicates", "impossible"])
def test_an_unknown_policy_is_refused(name: str) -> None:
    with refuses(UsageError, f"{name} 'whatever' is not one of"):
        Options(**{name: "whatever"})


def test_rows_behind_the_last_target_become_the_known_future() -> None:
    rows = frame(hourly(6), [1, 2, 3, 4, np.nan, np.nan], holiday=[0, 0, 1, 0, 1, 0])
    panel = from_frame(rows, target="y", future=["holiday"])
    assert len(panel) == 4
    assert panel.future is not None
    assert panel.future["holiday"].tolist() == [1, 0]
    assert [str(stamp) for stamp in panel.future["ds"]] == ["2024-01-01 04:00:00", "2024-01-01 05:00:00"]


def test_edges_without_a_target_are_trimmed_and_said() -> None:
    panel = from_frame(frame(hourly(6), [np.nan, 2, 3, np.nan, 5, np.nan]))
    assert len(panel) == 4
    assert said(panel, "1 leading row without a target")
    assert said(panel, "1 trailing row without a target")


def test_a_target_without_any_value_is_refused() -> None:
    with refuses(DataError, "the target has no value in any row", "--target"):
        from_frame(frame(hourly(3), [np.nan] * 3), target="y")


def test_roles() -> None:
    rows = pd.concat(
        [frame(hourly(3), size=s, temp=[1.0, 2, 3]).assign(unique_id=n) for n, s in (("a", 5.0), ("b", 7.0))]
    )
    panel = from_frame(rows, target="y", past=["*"], static=["size"])
    assert panel.roles == {"size": "static", "temp": "past"}
    assert panel.column("size").tolist() == [5, 5, 5, 7, 7, 7]
    with refuses(ValueRangeError, "row 2, column 'temp'", "a static covariate changes from 1 to 2"):
        from_frame(rows, target="y", static=["temp"])
    with refuses(UsageError, "'temp' has two roles"):
        from_frame(rows, target="y", static=["temp"], past=["temp"])
    with refuses(UsageError, "'y' is the target and a past covariate"):
        from_frame(rows, target="y", past=["y"])


def test_constant_and_identical_series_are_said() -> None:
    rows = pd.concat(
        [
            frame(hourly(4), y).assign(unique_id=n)
            for n, y in (("a", [1.0, 2, 3, 4]), ("b", [1.0, 2, 3, 4]), ("c", [5.0] * 4))
        ]
    )
    panel = from_frame(rows)
    assert said(panel, "Identical series under different ids: a = b")
    assert said(panel, "1 series constant: c")


def test_the_frame_is_not_changed() -> None:
    rows = frame(hourly(6), [1.0, -9999, 3, 4, 5, 6])
    before = rows.copy(deep=True)
    from_frame(rows)
    pd.testing.assert_frame_equal(rows, before)


def test_a_datetime_index_counts_as_a_column() -> None:
    rows = pd.DataFrame({"y": [1.0, 2, 3]}, index=hourly(3))
    assert from_frame(rows, source="mine", notes=["First."]).notes[0] == "First."


# -- prices ---------------------------------------------------------------------------------------------


def bars(close: Any, **more: Any) -> pd.DataFrame:
    close = np.asarray(close, dtype=np.float64)
    made = {
        "Open": close,
        "High": close * 1.01,
        "Low": close * 0.99,
        "Close": close,
        "Volume": np.full(len(close), 1e6),
    }
    made = {name: np.array(column) for name, column in made.items()} | more
    return pd.DataFrame({"Date": pd.date_range("2024-01-01", periods=len(close), freq="B"), **made})


def walk(count: int = 60) -> Any:
    return 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, count)))


@pytest.mark.parametrize("price", [0.0, -3.0])
def test_a_price_of_zero_or_less_is_refused_or_masked(price: float) -> None:
    rows = bars(walk())
    rows.loc[7, "Close"] = price
    with refuses(ValueRangeError, "row 8, column 'Close'", f"a price of {price:g}", "--impossible mask"):
        from_frame(rows)
    assert from_frame(rows, impossible="mask").missing == 1
    assert from_frame(rows, impossible="keep").column("y")[7] == price


# -- bars shorter than a day --------------------------------------------------------------------------------


def intraday(stamps: Any) -> pd.DataFrame:
    return bars(walk(len(stamps))).assign(Date=stamps)


def test_hours_that_stop_for_weekends_only_run_from_monday_to_friday() -> None:
    week = Grid("h", "24/5", tz="UTC")
    stamps = week.between(pd.Timestamp("2024-01-01"), pd.Timestamp("2024-02-02 21:00"))
    for rows in (intraday(stamps), intraday(stamps)[["Date", "Close"]]):
        panel = from_frame(rows)
        assert (panel.grid, panel.missing, len(panel)) == (week, 0, len(stamps))
        assert said(panel, "weekends are no gaps")
    sensor = from_frame(intraday(stamps)[["Date", "Close"]].rename(columns={"Close": "load"}))
    assert (sensor.grid, sensor.missing > 0) == (Grid("h"), True)


@pytest.mark.parametrize("aware", [True, False])
def test_hours_of_an_exchange_that_is_named_are_its_sessions(aware: bool) -> None:
    grid = Grid("h", "XNYS", tz="America/New_York")
    stamps = grid.between(pd.Timestamp("2024-03-01 14:30"), pd.Timestamp("2024-04-12 19:30"))
    local = stamps.tz_localize("UTC").tz_convert("America/New_York")
    rows = intraday(local.astype(str) if aware else local.tz_localize(None))
    panel = from_frame(rows, calendar="XNYS")
    assert (panel.grid, panel.missing, len(panel)) == (grid, 0, len(stamps))
    assert panel.ds[0] == stamps[0]
    plain = from_frame(rows)
    assert plain.missing > len(stamps)
    assert said(plain, "--calendar XNYS for instance")


def test_a_close_on_another_basis_is_refused_masked_or_avoided() -> None:
    rows = bars(walk())
    rows.loc[:19, "Close"] *= 2
    with refuses(ValueRangeError, "row 1, column 'Close'", "20 rows", "2.00 times Open", "--target 'Open'"):
        from_frame(rows)
    assert len(from_frame(rows, target="Open")) == 60
    assert len(from_frame(rows, impossible="mask")) == 40


@pytest.mark.parametrize(
    ("factor", "words"), [(0.5, "close to 2 for 1, most likely a split"), (0.01, "a hundredfold step")]
)
def test_an_unadjusted_split_and_a_hundredfold_jump_are_said(factor: float, words: str) -> None:
    close = walk()
    close[30:] *= factor
    panel = from_frame(bars(close))
    assert said(panel, words)
    assert said(panel, "Look at row 31")


def test_a_split_that_the_adjusted_close_does_not_show_names_that_column() -> None:
    close = walk()
    adjusted = close.copy()
    close[:30] *= 3
    panel = from_frame(bars(close, **{"Adj Close": adjusted}))
    assert said(panel, "a split of about 3 for 1 that Close was not adjusted for. Use --target 'Adj Close'")


def test_a_live_quote_behind_the_last_day_is_left_out() -> None:
    rows = bars(walk(10))
    rows["Date"] = rows["Date"].astype(str)
    rows.loc[9, "Date"] = "2024-01-12 13:45:10"
    panel = from_frame(rows)
    assert len(panel) == 9
    assert said(panel, "Row 10 left out: 2024-01-12 13:45:10 is an unfinished day")


def test_check_ohlc_points_at_impossible_bars() -> None:
    rows = bars(walk())
    rows.loc[3, "High"] = 1.0
    rows.loc[5, "Low"] = 1e4
    rows.loc[8, "Open"] = 0.0
    cells = {name.lower(): rows[name].to_numpy() for name in ("Open", "High", "Low", "Close", "Volume")}
    names = {name: name.title() for name in cells}
    found = check_ohlc(
        cells, rows["Date"].to_numpy(), names=names, where=Where.memory(), positions=np.arange(len(rows))
    )
    assert {(finding.code, finding.row, finding.column) for finding in found} >= {
        ("high_below", 4, "High"), ("low_above", 6, "Low"), ("price_not_positive", 9, "Open"),
    }  # fmt: skip


# -- properties -----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    freq=st.sampled_from(["5min", "h", "D", "W-SUN", "MS"]),
    keep=st.lists(st.booleans(), min_size=12, max_size=60),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_the_order_and_the_gaps_the_panel_holds_every_value_at_its_stamp(
    freq: str, keep: list[bool], seed: int
) -> None:
    stamps = pd.date_range("2023-01-01", periods=len(keep), freq=freq)
    mask = np.array(keep)
    mask[[0, -1]] = True
    rows = frame(stamps, np.arange(len(keep), dtype=np.float64))[mask]
    shuffled = rows.sample(frac=1, random_state=seed % 2**31)
    panel = from_frame(shuffled, freq=freq)
    expected = np.where(mask, np.arange(len(keep)), np.nan)
    assert np.array_equal(panel.column("y"), expected, equal_nan=True)
    assert (panel.ds == stamps.to_numpy()).all()
