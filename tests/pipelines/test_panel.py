"""A panel is regular, typed and says what it is; anything else is refused with the row and the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError, TimeError, UsageError, ValueRangeError
from pipelines.grid import Grid
from pipelines.panel import Panel


def frame(n: int = 5, name: str = "a", **columns) -> pd.DataFrame:
    stamps = pd.date_range("2024-01-01", periods=n, freq="h")
    return pd.DataFrame({"unique_id": name, "ds": stamps, "y": np.arange(float(n)), **columns})


def test_shape_and_order() -> None:
    panel = Panel(pd.concat([frame(3, "z"), frame(2, "a")]), Grid("h"))
    assert panel.ids == ("z", "a")
    assert panel.offsets.tolist() == [0, 3, 5]
    assert panel.lengths.tolist() == [3, 2]
    assert panel.missing == 0
    assert len(panel) == 5


def test_ids_become_text() -> None:
    assert Panel(frame().assign(unique_id=7), Grid("h")).ids == ("7",)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (lambda f: f.drop(columns="y"), UsageError, "lacks column 'y'"),
        (lambda f: f.assign(temp=1.0), UsageError, "'temp' of the panel has no role"),
        (lambda f: f.iloc[:0], DataError, "no rows"),
        (lambda f: f.iloc[::-1], TimeError, "does not come after"),
        (lambda f: f.iloc[[0, 1, 1, 2]], TimeError, "does not come after"),
        (lambda f: f.drop(index=2), TimeError, "no row between 2024-01-01 01:00:00 and 2024-01-01 03:00:00"),
        (lambda f: f.assign(ds=f["ds"] + pd.to_timedelta([0, 0, 1, 0, 0], "m")), TimeError, "not a stamp of"),
        (lambda f: f.assign(y=[1, 2, np.inf, 4, 5]), ValueRangeError, "infinite at 2024-01-01 02:00:00"),
        (lambda f: f.assign(y=list("abcde")), ValueRangeError, "not numeric"),
        (lambda f: f.assign(ds=f["ds"].dt.tz_localize("UTC")), TimeError, "zone"),
        (lambda f: f.assign(ds=[pd.NaT, *f["ds"][1:]]), TimeError, "without a time stamp"),
    ],
)  # fmt: skip
def test_what_is_refused(change, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        Panel(change(frame()), Grid("h"))


@pytest.mark.parametrize(
    ("grid", "days"),
    [
        (Grid("D", "XNYS"), ["2024-01-06"]),
        (Grid("D", "XNYS"), ["2024-01-06", "2024-01-07"]),
        (Grid("D", "XNYS"), ["2024-01-05", "2024-01-06"]),
        (Grid("h", "XNYS", "America/New_York"), ["2024-01-06 15:00"]),
        (Grid("MS"), ["2024-01-15"]),
        (Grid("B"), ["2024-01-06"]),
    ],
    ids=str,
)
def test_days_between_which_the_grid_has_no_stamp_are_off_it(grid: Grid, days: list[str]) -> None:
    rows = pd.DataFrame({"unique_id": "a", "ds": pd.to_datetime(days), "y": 1.0})
    with pytest.raises(TimeError, match="is not a stamp of the grid"):
        Panel(rows, grid)


def test_series_must_be_together() -> None:
    mixed = pd.concat([frame(2, "a"), frame(2, "b"), frame(3, "a").tail(1)])
    with pytest.raises(TimeError, match="not together"):
        Panel(mixed, Grid("h"))


def test_roles() -> None:
    with pytest.raises(UsageError, match="Did you mean 'past'"):
        Panel(frame(temp=1.0), Grid("h"), {"temp": "pats"})  # type: ignore[dict-item]
    panel = Panel(frame(temp=1.0, open=0.0), Grid("h"), {"temp": "past", "open": "future"})
    assert panel.covariates("future") == ["open"]


def test_up_to_keeps_known_future_rows() -> None:
    panel = Panel(frame(temp=1.0, open=2.0), Grid("h"), {"temp": "past", "open": "future"})
    part = panel.up_to("2024-01-01 02:00")
    assert len(part) == 3
    assert part.future is not None
    assert list(part.future.columns) == ["unique_id", "ds", "open"]
    assert len(part.future) == 2
    with pytest.raises(DataError, match="no rows at or before"):
        panel.up_to("2023-01-01")


def test_select_and_append() -> None:
    panel = Panel(pd.concat([frame(3, "a"), frame(3, "b")]), Grid("h"))
    assert panel.select(["b"]).ids == ("b",)
    with pytest.raises(UsageError, match="no series 'c'"):
        panel.select(["c"])
    longer = panel.append(frame(4, "a").tail(1))
    assert longer.lengths.tolist() == [4, 3]
    with pytest.raises(TimeError):
        panel.append(frame(6, "a").tail(1))
    with pytest.raises(UsageError, match="not in the panel"):
        panel.append(frame(4, "c").tail(1))


def test_fingerprint() -> None:
    one = Panel(frame(), Grid("h"))
    assert one.fingerprint() == Panel(frame(), Grid("h")).fingerprint()
    assert one.fingerprint() != Panel(frame().assign(y=[0, 1, 2, 3, 4.0000001]), Grid("h")).fingerprint()
    assert one.fingerprint() != Panel(frame(), Grid("h", tz="Europe/Berlin")).fingerprint()


def test_repr_says_span_frequency_and_gaps() -> None:
    panel = Panel(frame().assign(y=[1, np.nan, 3, 4, 5]), Grid("h"))
    for piece in ("2024-01-01 00:00:00", "h, season 24", "1 of 5 rows"):
        assert piece in repr(panel)
    evil = Panel(frame(name="<script>alert(1)</script>"), Grid("h"))
    assert "<script>" not in evil._repr_html_()


def test_sessions_have_no_weekends_or_holidays() -> None:
    grid = Grid("D", "XNYS")
    days = grid.after(pd.Timestamp("2024-11-27"), 3)
    assert [str(day.date()) for day in days] == ["2024-11-29", "2024-12-02", "2024-12-03"]  # Thanksgiving is the 28th
    assert len(grid.between(pd.Timestamp("2024-01-02"), pd.Timestamp("2024-12-31"))) == 252


def test_sessions_across_decades() -> None:
    grid = Grid("D", "XNYS")
    assert len(grid.between(pd.Timestamp("1999-01-04"), pd.Timestamp("2018-12-31"))) == 5031


@pytest.mark.parametrize(
    ("freq", "season"), [("15min", 96), ("h", 24), ("D", 7), ("B", 5), ("W-SUN", 52), ("MS", 12), ("QS", 4), ("YS", 1)]
)
def test_seasons(freq: str, season: int) -> None:
    assert Grid(freq).season == season


def test_bad_grids() -> None:
    with pytest.raises(UsageError, match="not a pandas frequency"):
        Grid("every now and then")
    with pytest.raises(UsageError, match="unknown"):
        Grid("D", "XNYZ")
    with pytest.raises(UsageError, match="daily sessions"):
        Grid("h", "XNYS")


def test_a_static_covariate_does_not_vary() -> None:
    with pytest.raises(ValueRangeError, match="is 1 in one row and 2 in another"):
        Panel(frame(size=[1.0, 1, 1, 1, 2]), Grid("h"), {"size": "static"})


def test_more_grids() -> None:
    assert Grid("12h").season == 2
    assert Grid("D", "24/7").season == 7
    with pytest.raises(UsageError, match="forward"):
        Grid("-1h")


def test_wall_clock() -> None:
    stamps = pd.DatetimeIndex(["2024-07-01 00:00"])
    assert Grid("h", tz="Europe/Berlin").wall_clock(stamps)[0] == pd.Timestamp("2024-07-01 02:00")
    assert Grid("h").wall_clock(stamps)[0] == stamps[0]
