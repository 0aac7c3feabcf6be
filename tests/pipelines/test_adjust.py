"""Adjustment: by hand, by its invariants, and against factor files and prices that others computed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.adjust import adjust, as_traded, dividend_factor, split_factor
from pipelines.errors import UsageError, ValueRangeError

AAPL_SPLITS = {"2000-06-21": 2.0, "2005-02-28": 2.0, "2014-06-09": 7.0, "2020-08-31": 4.0}
# cash per share of the day, as the company published it
AAPL_DIVIDENDS = {
    **dict.fromkeys(["2012-08-09", "2012-11-07", "2013-02-07"], 2.65),
    **dict.fromkeys(["2013-05-09", "2013-08-08", "2013-11-06", "2014-02-06"], 3.05),
    "2014-05-08": 3.29,
    **dict.fromkeys(["2014-08-07", "2014-11-06", "2015-02-05"], 0.47),
    **dict.fromkeys(["2015-05-07", "2015-08-06", "2015-11-05", "2016-02-04"], 0.52),
    **dict.fromkeys(["2016-05-05", "2016-08-04", "2016-11-03", "2017-02-09"], 0.57),
    **dict.fromkeys(["2017-05-11", "2017-08-10", "2017-11-10", "2018-02-09"], 0.63),
    **dict.fromkeys(["2018-05-11", "2018-08-10", "2018-11-08", "2019-02-08"], 0.73),
    **dict.fromkeys(["2019-05-10", "2019-08-09", "2019-11-07", "2020-02-07"], 0.77),
    **dict.fromkeys(["2020-05-08", "2020-08-07"], 0.82),
    **dict.fromkeys(["2020-11-06", "2021-02-05"], 0.205),
}


def table(splits: dict[str, float] | None = None, dividends: dict[str, float] | None = None) -> pd.DataFrame:
    rows = [(pd.Timestamp(day), "split", value) for day, value in (splits or {}).items()]
    rows += [(pd.Timestamp(day), "dividend", value) for day, value in (dividends or {}).items()]
    frame = pd.DataFrame(sorted(rows), columns=["ds", "kind", "value"])
    return frame.astype({"ds": "datetime64[ns]", "kind": object, "value": "float64"})


def closes(values: list[float], start: str = "2024-01-01") -> pd.DataFrame:
    return pd.DataFrame({"close": values, "volume": 10.0}, index=pd.date_range(start, periods=len(values), name="ds"))


def test_a_split_changes_the_rows_before_it() -> None:
    bars = closes([100.0, 102.0, 51.0, 52.0])
    got = adjust(bars, table({"2024-01-03": 2.0}))
    assert got["close"].tolist() == [50.0, 51.0, 51.0, 52.0]
    assert got["volume"].tolist() == [20.0, 20.0, 10.0, 10.0]


def test_a_dividend_changes_the_rows_before_it_by_its_share_of_the_previous_close() -> None:
    bars = closes([100.0, 100.0, 98.0])
    got = adjust(bars, table(dividends={"2024-01-03": 2.0}), "total")
    np.testing.assert_allclose(got["close"], [98.0, 98.0, 98.0], rtol=1e-15)
    assert adjust(bars, table(dividends={"2024-01-03": 2.0}), "splits")["close"].tolist() == [100.0, 100.0, 98.0]


def test_a_dividend_on_the_day_of_a_split_is_per_new_share() -> None:
    bars = closes([100.0, 49.0])
    got = adjust(bars, table({"2024-01-02": 2.0}, {"2024-01-02": 1.0}), "total")
    np.testing.assert_allclose(got["close"], [50.0 * (1 - 1 / 50), 49.0], rtol=1e-15)


def test_the_previous_close_may_be_further_back() -> None:
    bars = closes([100.0, np.nan, 98.0])
    got = adjust(bars, table(dividends={"2024-01-03": 2.0}), "total")
    np.testing.assert_allclose(got["close"], [98.0, np.nan, 98.0], rtol=1e-15)


def test_as_of_hides_what_comes_later() -> None:
    bars, actions = closes([100.0, 102.0, 51.0, 52.0]), table({"2024-01-03": 2.0}, {"2024-01-04": 1.0})
    assert adjust(bars, actions, "total", pd.Timestamp("2024-01-02"))["close"].tolist() == [100.0, 102.0, 51.0, 52.0]
    early = adjust(bars, actions, "total", pd.Timestamp("2024-01-03"))["close"]
    assert early.tolist() == [50.0, 51.0, 51.0, 52.0]


def test_an_impossible_dividend_is_refused() -> None:
    with pytest.raises(ValueRangeError, match=r"dividend of 120 on 2024-01-02 is not below the previous close of 100"):
        adjust(closes([100.0, 98.0]), table(dividends={"2024-01-02": 120.0}), "total")


def test_an_unknown_basis_is_refused() -> None:
    with pytest.raises(UsageError, match=r"adjustment 'split' is unknown. Did you mean 'splits'\?"):
        adjust(closes([1.0]), table(), "split")  # type: ignore[arg-type]


events = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from([0.1, 0.5, 1.5, 2.0, 4.0, 7.0, 20.0])),
    max_size=5,
    unique_by=lambda e: e[0],
)


@given(events, events, st.integers(1, 59), st.integers(0, 2**31))
def test_later_actions_change_no_earlier_return(
    splits: list[tuple[int, float]], cash: list[tuple[int, float]], cut: int, seed: int
) -> None:
    """Returns up to a day are the same, as of that day or as of any later one."""
    days = pd.date_range("2024-01-01", periods=60, name="ds")
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.02, 60)))
    bars = pd.DataFrame({"close": close}, index=days)
    first = days[0]
    actions = table(
        {str((first + pd.Timedelta(days=d)).date()): v for d, v in splits},
        {str((first + pd.Timedelta(days=d)).date()): v / 10 for d, v in cash},
    )
    day = days[cut]
    for basis in ("splits", "total"):
        then = adjust(bars[bars.index <= day], actions, basis, day)["close"].to_numpy()
        now = adjust(bars, actions, basis)["close"].to_numpy()[: cut + 1]
        np.testing.assert_allclose(np.diff(np.log(then)), np.diff(np.log(now)), rtol=0, atol=1e-12)


@given(events, st.integers(0, 2**31))
def test_as_traded_undoes_the_split_adjustment(splits: list[tuple[int, float]], seed: int) -> None:
    days = pd.date_range("2024-01-01", periods=60, name="ds")
    rng = np.random.default_rng(seed)
    bars = pd.DataFrame({name: rng.uniform(1, 500, 60) for name in ("open", "close", "volume")}, index=days)
    actions = table({str((days[0] + pd.Timedelta(days=d)).date()): v for d, v in splits}, {"2024-01-20": 0.5})
    raw, dated = as_traded(bars, actions)
    pd.testing.assert_frame_equal(adjust(raw, dated, "splits"), bars, rtol=1e-12, check_freq=False)


# -- against others --------------------------------------------------------------------------------
def lean(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """LEAN's raw bars and its factors by day (each row of the file holds up to and including its date)."""
    with zipfile.ZipFile(folder / "stocks/lean/daily" / f"{name}.zip").open(f"{name}.csv") as file:
        raw = pd.read_csv(file, header=None, names=["ds", "open", "high", "low", "close", "volume"])
    index = pd.DatetimeIndex(pd.to_datetime(raw.pop("ds"), format="%Y%m%d %H:%M"), name="ds")
    bars = (raw.astype("float64") / [1e4, 1e4, 1e4, 1e4, 1.0]).set_index(index)
    columns = ["ds", "price", "split", "reference"]
    factors = pd.read_csv(folder / "stocks/lean/factor_files" / f"{name}.csv", header=None, names=columns)
    ends = pd.to_datetime(factors["ds"].astype(str), format="%Y%m%d").to_numpy()
    row = np.searchsorted(ends, index.to_numpy(), side="left")
    return bars, factors[["price", "split"]].iloc[row].set_index(index)


@pytest.mark.shared
def test_published_apple_actions_give_leans_factors(shared_data: Path) -> None:
    """Raw prices of LEAN and what Apple published, against LEAN's own factor file, which saw neither."""
    bars, factors = lean(shared_data, "aapl")
    actions = table(AAPL_SPLITS, AAPL_DIVIDENDS)
    ours = adjust(bars, actions, "total")["close"]
    theirs = bars["close"] * factors["price"] * factors["split"]
    ratio = ours / theirs
    assert abs(float(ratio.median()) - 1) < 1e-6
    # the rows that differ: LEAN wrote 1/56 as 0.0178571, off by 2.4e-6, between the splits of 2000 and 2005
    differ = ratio[(ratio - 1).abs() > 1e-6]
    span = (f"{differ.index[0]:%Y-%m-%d}", f"{differ.index[-1]:%Y-%m-%d}")
    print(f"{len(differ)} rows differ by more than 1e-6: {span[0]} to {span[1]}, by {differ.max() - 1:.1e}")
    assert (len(differ), span) == (1176, ("2000-06-21", "2005-02-25"))
    np.testing.assert_allclose(differ * (0.0178571 * 56), 1.0, rtol=1e-6)
    shares = split_factor(pd.DatetimeIndex(bars.index), actions)
    np.testing.assert_allclose(shares, factors["split"], rtol=3e-6)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["aapl", "googl", "qqq"])
def test_actions_read_from_lean_give_its_factors(shared_data: Path, name: str) -> None:
    bars, factors = lean(shared_data, name)
    steps = factors / factors.shift(-1)
    rows = []
    for day, (price, split) in zip(bars.index[1:], steps.to_numpy()[:-1], strict=True):
        previous = bars["close"].iloc[bars.index.get_loc(day) - 1]
        if split != 1:
            rows.append((day, "split", round(1 / split, 4)))
        if price != 1:
            rows.append((day, "dividend", previous * split * (1 - price)))
    actions = pd.DataFrame(rows, columns=["ds", "kind", "value"]).astype({"kind": object, "value": "float64"})
    last = factors.iloc[-1]
    ours = adjust(bars, actions, "total")["close"] * last["price"] * last["split"]
    ratio = ours / (bars["close"] * factors["price"] * factors["split"])
    assert abs(float(ratio.median()) - 1) < 1e-6
    differ = ratio[(ratio - 1).abs() > 1e-6]
    assert len(differ) == (1176 if name == "aapl" else 0), differ  # the rounding named above


@pytest.mark.shared
def test_leans_raw_prices_adjusted_as_of_2018_are_what_yahoo_showed_then(shared_data: Path) -> None:
    bars, _ = lean(shared_data, "aapl")
    yahoo = pd.read_csv(
        shared_data / "stocks/mpf_yahoofinance-AAPL-20040819-20180120.csv", index_col=0, parse_dates=True
    )
    then = yahoo.index[-1]
    actions = table(AAPL_SPLITS, AAPL_DIVIDENDS)
    common = bars.index.intersection(yahoo.index)
    assert len(common) == len(yahoo) == 3379
    for basis, column in (("splits", "Close"), ("total", "Adj Close")):
        ours = adjust(bars[bars.index <= then], actions, basis, then)["close"][common]  # type: ignore[arg-type]
        ratio = ours / yahoo[column][common]
        differ = ratio[(ratio - 1).abs() > 1e-3]
        worst = ", ".join(f"{day:%Y-%m-%d} {value - 1:+.2%}" for day, value in differ.iloc[:5].items())
        print(f"{basis}: median {ratio.median() - 1:+.1e}; {len(differ)} rows differ by over 0.1 %: {worst} ...")
        assert abs(float(ratio.median()) - 1) < 2e-4
        # LEAN's close is the last trade, Yahoo's the official one: they part on some days before 2013
        assert len(differ) < 0.05 * len(common)
        assert differ.index[-1] < pd.Timestamp("2014-01-01")


def test_a_dividend_before_the_first_row_changes_nothing() -> None:
    bars = closes([10.0, 11.0])
    factor = dividend_factor(bars["close"], table(dividends={"2023-12-01": 1.0, "2024-01-01": 1.0}))
    assert factor.tolist() == [1.0, 1.0]
