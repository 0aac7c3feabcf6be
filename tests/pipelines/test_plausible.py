"""What counts as a price, which prices are refused or masked, and which values are said to rule a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.check import check_file
from pipelines.clean import from_frame
from pipelines.errors import UsageError, ValueRangeError
from pipelines.plausible import SAID
from pipelines.sources.files import read_file
from tests.pipelines.test_clean import bars, walk
from tests.pipelines.test_files import refuses, said


def lone(close: Any, name: str = "close", **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"Date": pd.date_range("2024-01-01", periods=len(close), freq="B"), name: close, **more})


@pytest.mark.parametrize("name", ["close", "Adj Close", "price", "Last"])
@pytest.mark.parametrize("price", [0.0, -3.0])
def test_a_lone_price_of_zero_or_less_is_refused_masked_or_kept_as_a_sensor(name: str, price: float) -> None:
    close = walk()
    close[7] = price
    with refuses(ValueRangeError, f"row 8, column {name!r}", f"a price of {price:g}", "--impossible mask"):
        from_frame(lone(close, name))
    masked = from_frame(lone(close, name), impossible="mask")
    assert np.flatnonzero(np.isnan(masked.column("y"))).tolist() == [7]
    assert said(masked, f"{name}: 1 impossible price masked (row 8)")
    for kept in (from_frame(lone(close, name), impossible="keep"), from_frame(lone(close, name), kind="sensor")):
        assert kept.column("y")[7] == price
        assert kept.meta["kind"] == "sensor"


def test_a_price_of_zero_in_one_series_of_a_panel_names_its_row() -> None:
    close = walk()
    close[7] = 0.0
    rows = pd.concat([lone(walk(), ticker="A"), lone(close, ticker="B")], ignore_index=True)
    with refuses(ValueRangeError, "row 68, column 'close'", "--impossible mask"):
        from_frame(rows)
    panel = from_frame(rows, impossible="mask")
    assert panel.select(["A"]).missing == 0
    assert panel.select(["B"]).missing == 1


def test_what_is_no_price_may_be_negative_in_any_row() -> None:
    spread = walk() - 90
    spread[50] = -3.0
    panel = from_frame(lone(spread, "spread"))
    assert panel.column("y")[50] == -3
    assert panel.meta["kind"] == "sensor"
    masked = from_frame(lone(spread, "spread"), impossible="mask")
    assert masked.missing == 0
    assert said(masked, "No target is a price, so nothing was masked")
    with refuses(ValueRangeError, "row 51, column 'spread'", "a price of -3", "--preset sensor"):
        from_frame(lone(spread, "spread"), kind="price")
    assert from_frame(lone(spread, "spread"), kind="price", impossible="mask").missing == (spread <= 0).sum()


def test_power_prices_that_are_often_negative_are_no_price() -> None:
    close = walk(400)
    close[::50] = -5.0
    panel = from_frame(lone(close, "price"))
    assert panel.missing == 0
    assert said(panel, "price: negative in 8 rows, so it is not taken as a price")


def test_a_lone_value_that_is_not_positive_on_exchange_sessions_is_said() -> None:
    close = walk()
    close[7] = 0.0
    days = from_frame(lone(close, "AAPL"), calendar="XNYS", irregular="snap")
    assert said(days, "AAPL: not positive in 1 row (row 8), so it is no price")


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with refuses(UsageError, "kind 'prices'", "Did you mean 'price'?"):
        from_frame(lone(walk()), kind="prices")


def test_a_value_that_rules_a_fit_is_said_once_and_what_does_not_is_not() -> None:
    close = walk(300)
    close[100] *= 100
    panel = from_frame(lone(close))
    (note,) = [note for note in panel.notes if note.startswith("Look at")]
    assert note.startswith("Look at row 101: close rises to ")
    assert "back in the row after: a hundredfold step" in note
    sensor = np.random.default_rng(0).normal(20, 1, 300)
    sensor[40] = 2000.0
    (note,) = [note for note in from_frame(lone(sensor, "y")).notes if note.startswith("Look at")]
    assert note.startswith("Look at row 41: 1 value far from all others: 2000 (row 41)")
    sensor[40] = 29.0  # far from its neighbours, but no more than a part of the spread
    assert not said(from_frame(lone(sensor, "y")), "Look at")
    assert not said(from_frame(lone(walk(300) * np.where(np.arange(300) % 2, 1.0, 1.5))), "Look at")  # it is like that
    wild = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.12, 300)))
    wild[200:] *= 1.5 * wild[199] / wild[200]  # no split: a move among others of that size
    assert not said(from_frame(lone(wild)), "Look at")


ROWS = 1440
HOURS = np.arange(ROWS)


@pytest.mark.parametrize("bad", [1e9, -1e9, 65535.0])
@pytest.mark.parametrize(
    ("first", "count"),
    [(0, 1), (0, 5), (700, 1), (700, 3), (700, 4), (700, 5), (700, 8), *((-count, count) for count in range(1, 9))],
)
def test_garbage_is_said_wherever_it_is_and_in_a_row(tmp_path: Path, first: int, count: int, bad: float) -> None:
    sensor = np.random.default_rng(0).uniform(30, 70, ROWS)
    first %= ROWS
    sensor[first : first + count] = bad
    rows = pd.DataFrame({"stamp": pd.date_range("2024-01-01", periods=ROWS, freq="h"), "value": sensor})
    rows.to_csv(tmp_path / "f.csv", index=False)
    (note,) = [note for note in read_file(tmp_path / "f.csv").notes if note.startswith(SAID)]
    lines = ", ".join(str(first + 2 + i) for i in range(min(count, 3)))
    lines = lines if count > 3 else " and ".join(lines.rsplit(", ", 1))
    assert note.startswith(f"Look at line {first + 2}: {count} value{'s' * (count > 1)} far from all others: {bad:g}")
    assert f"{lines}{f' and {count - 3} more' if count > 3 else ''}); the middle nine tenths lie within 3" in note
    report = check_file(tmp_path / "f.csv")
    (found,) = report.findings
    assert (report.verdict, found.code, found.row, found.count) == ("usable", "outliers", first + 2, count)
    assert note == f"{SAID}line {found.row}: {found.message} {found.hint}"


def test_a_stuck_day_and_scattered_garbage_are_said_too() -> None:
    rng = np.random.default_rng(0)
    for at in (np.arange(600, 720), rng.choice(ROWS, 60, replace=False)):
        sensor = 50 + 20 * np.sin(HOURS * np.pi / 12) + rng.normal(0, 1, ROWS)
        sensor[at] = 1e9
        assert said(from_frame(lone(sensor, "y")), f"{len(at)} values far from all others: 1e+09")
    flat = np.full(ROWS, 45.0)
    flat[-2:] = 1e9  # a sensor that never moves
    assert said(from_frame(lone(flat, "y")), "2 values far from all others")
    huge = rng.normal(0, 1, ROWS)
    huge[-1] = 1e300  # its square is no number
    assert said(from_frame(lone(huge, "y")), "1 value far from all others")


TRUE = {
    "level shift": lambda r: r.normal(50, 1, ROWS) + 450 * (HOURS > 900),
    "level shift in the last rows": lambda r: r.normal(50, 1, ROWS) + 100 * (HOURS >= ROWS - 8),
    "switched off in the last rows": lambda r: np.where(HOURS >= ROWS - 8, 0.0, r.normal(2000, 5, ROWS)),
    "switched on in the last rows": lambda r: 100.0 * (HOURS >= ROWS - 8),
    "growth": lambda r: np.exp(HOURS / 70) * r.lognormal(0, 0.1, ROWS),
    "doubling": lambda r: 2.0 ** np.arange(60),
    "counter": lambda r: 1e6 + np.cumsum(r.poisson(3, ROWS)),
    "counter that starts again": lambda r: np.cumsum(r.poisson(3, ROWS)) % 3500.0,
    "walk": lambda r: np.cumsum(r.normal(0, 1, ROWS)),
    "log-normal": lambda r: r.lognormal(0, 2, ROWS),
    "Pareto": lambda r: r.pareto(1.5, ROWS),
    "Student with three degrees": lambda r: r.standard_t(3, ROWS),
    "Cauchy": lambda r: r.standard_cauchy(ROWS),
    "rain": lambda r: r.lognormal(0, 1.5, ROWS) * (r.random(ROWS) < 0.02),
    "rare demand": lambda r: r.integers(1, 50, ROWS) * (r.random(ROWS) < 0.005) * 1.0,
    "rare peaks": lambda r: r.normal(50, 5, ROWS) + r.uniform(200, 1000, ROWS) * (r.random(ROWS) < 0.01),
    "peaks of some rows": lambda r: r.normal(50, 5, ROWS) + 500 * np.repeat(r.random(ROWS // 4) < 0.008, 4),
    "a burst": lambda r: r.normal(0, 1, ROWS) * (1 + 30 * (np.abs(HOURS - 1300) < 5)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUE)
def test_what_is_the_way_of_a_series_is_not_said(name: str) -> None:
    for seed in range(10):
        panel = from_frame(lone(TRUE[name](np.random.default_rng(seed)), "y"))
        assert not said(panel, "Look at"), seed


def test_a_code_for_a_fault_is_said_however_scattered() -> None:
    rng = np.random.default_rng(0)
    for count, code in ((5, 500.0), (8, 500.0), (9, 200.0), (10, 1000.0)):
        values = rng.normal(50, 5, 1000)
        values[rng.choice(np.arange(10, 990, 10), count, replace=False)] = code
        assert said(from_frame(lone(values, "y")), "Look at"), (count, code)


def test_an_unfinished_last_bar_is_said_because_a_forecast_starts_from_it() -> None:
    rows = bars(walk())
    rows.loc[59, "Volume"] = 2e4
    assert said(from_frame(rows), "Look at row 60: the last bar has 2% of the usual volume")
    assert not said(from_frame(bars(walk())), "Look at")
