"""Trade: the delay, the costs and the published formulas by hand; no profit from thin air."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from forecast import trade
from pipelines.errors import TooShortError, UsageError, ValueRangeError

nan = np.nan


def row(card: trade.Scorecard, strategy: str = "model", costs: float = 1) -> pd.Series:
    table = card.table
    (found,) = (one for _, one in table[(table["strategy"] == strategy) & (table["costs"] == costs)].iterrows())
    return found


def test_delay_and_costs_by_hand() -> None:
    prices = np.array([100.0, 110.0, 99.0, 108.9, 98.01, 107.811])  # +10 %, -10 %, +10 %, -10 %, +10 %
    signal = np.array([1.0, 1.0, -1.0, -1.0, 9.0, 9.0])  # held over bars 2 to 5: long, long, short, short
    card = trade.scorecard(prices, signal, bps=100, multiples=(0, 1, 2))
    assert_allclose(card.equity["model 0x"], np.cumprod([0.9, 1.1, 1.1, 0.9]))
    # entry costs 1 %, turning round 2 %
    assert_allclose(card.equity["model 1x"], np.cumprod([0.89, 1.1, 1.08, 0.9]))
    assert_allclose(card.equity["model 2x"], np.cumprod([0.88, 1.1, 1.06, 0.9]))
    assert_allclose(card.equity["buy and hold 1x"], np.cumprod([0.89, 1.1, 0.9, 1.1]))
    assert row(card)["turnover"] == pytest.approx(3 / 4 * 252)
    assert row(card)["exposure"] == 1
    assert row(card)["total"] == pytest.approx(0.89 * 1.1 * 1.08 * 0.9 - 1)
    assert row(card)["bars"] == 4
    assert row(card, costs=0)["max_drawdown"] == pytest.approx(1 - 0.9 * 1.1 * 1.1 * 0.9 / (0.9 * 1.1 * 1.1))


def test_knowing_tomorrow_does_not_help_a_trader_who_is_a_bar_late() -> None:
    rng = np.random.default_rng(0)
    r = 0.01 * rng.normal(size=3000)
    prices = 100 * np.cumprod(1 + r)
    ahead = np.append(r[1:], 0.0)  # the return of the next bar, which is over when the trade is made
    late = row(trade.scorecard(prices, ahead, bps=0))
    assert abs(late["sharpe"]) < 3 * late["sharpe_se"]
    after = np.append(r[2:], [0.0, 0.0])  # the one it can still earn
    assert row(trade.scorecard(prices, after, bps=0))["sharpe"] > 10


def test_the_future_of_signal_and_price_changes_nothing_before() -> None:
    rng = np.random.default_rng(1)
    prices, signal = 100 * np.exp(np.cumsum(0.01 * rng.normal(size=60))), rng.normal(size=60)
    for rule in ("sign", "long", "size"):
        whole = trade.scorecard(prices, signal, rule=rule).equity  # type: ignore[arg-type]
        part = trade.scorecard(prices[:40], signal[:40], rule=rule).equity  # type: ignore[arg-type]
        assert_allclose(whole.iloc[:38], part, rtol=1e-12)


def test_positions() -> None:
    signal = np.array([0.5, -2.0, nan, 0.0, 4.0])
    assert_array_equal(trade.positions(signal), [1, -1, 0, 0, 1])
    assert_array_equal(trade.positions(signal, "long"), [1, 0, 0, 0, 1])
    assert_allclose(trade.positions(signal, "size"), [0.5, -2 / 2.5, 0, 0, 1])
    with pytest.raises(UsageError, match="no rule"):
        trade.positions(signal, "all in")  # type: ignore[arg-type]


def test_sharpe_and_its_error_by_hand() -> None:
    net = np.array([0.01, -0.02, 0.03, 0.01])
    ratio = 0.0075 / math.sqrt((0.0025**2 + 0.0275**2 + 0.0225**2 + 0.0025**2) / 3)
    assert trade.sharpe(net) == pytest.approx(ratio)
    # normal returns: Lo's sqrt((1 + SR^2 / 2) / (n - 1))
    assert trade.sharpe_error(0.3, 101) == pytest.approx(math.sqrt((1 + 0.045) / 100))
    assert trade.sharpe_error(0.3, 101, skew=-1, kurtosis=5) == pytest.approx(math.sqrt((1 + 0.3 + 0.09) / 100))
    assert math.isnan(trade.sharpe(np.full(5, 0.01)))


def test_the_error_of_the_sharpe_ratio_is_its_spread() -> None:
    rng = np.random.default_rng(2)
    ratios = [trade.sharpe(0.1 + rng.normal(size=250)) for _ in range(2000)]
    assert np.std(ratios) == pytest.approx(trade.sharpe_error(0.1, 250), rel=0.05)


def test_deflated_sharpe_of_the_paper() -> None:
    """Bailey & Lopez de Prado 2014, numerical example: a ratio of 2.5 over five years, the best of 100 trials."""
    ratio, variance = 2.5 / math.sqrt(250), 0.5 / 250
    assert trade.deflated_sharpe(ratio, 1250, -3, 10, 100, variance) == pytest.approx(0.9004, abs=5e-5)
    assert trade.deflated_sharpe(ratio, 1250, -3, 10, 46, variance) == pytest.approx(0.9505, abs=5e-5)
    assert trade.deflated_sharpe(0.0, 1250, 0, 3, 1) == pytest.approx(0.5)


def test_the_best_of_many_lucky_ones_is_deflated() -> None:
    rng = np.random.default_rng(6)
    prices = 100 * np.cumprod(1 + 0.01 * rng.normal(size=500))
    cards = [trade.scorecard(prices, rng.normal(size=500), bps=0, trials=50) for _ in range(50)]
    sharpes = [row(card)["sharpe"] for card in cards]
    best = cards[int(np.argmax(sharpes))]
    assert row(best)["sharpe"] > 2 * row(best)["sharpe_se"]  # looks good alone
    assert row(best)["deflated"] < 0.9
    assert best.trials == 50
    alone = trade.scorecard(prices, rng.normal(size=500), trials=50, trial_sharpes=[0.1, 0.1, nan])
    assert 0 <= row(alone)["deflated"] <= 1


def test_drawdown() -> None:
    assert trade.max_drawdown(np.array([1.2, 0.6, 0.9, 1.3])) == pytest.approx(0.5)
    assert trade.max_drawdown(np.array([0.8, 0.9])) == pytest.approx(0.2)
    assert trade.max_drawdown(np.array([1.1, 1.2])) == 0
    assert_array_equal(trade.growth(np.array([0.5, -1.5, 0.5])), [1.5, 0, 0])


def test_several_series_in_equal_weights() -> None:
    a = np.array([100.0, 100.0, 110.0, 121.0, 121.0])
    b = np.array([nan, nan, 50.0, 50.0, 55.0])  # begins late
    up = np.ones((5, 2))
    card = trade.scorecard(np.column_stack([a, b]), up, bps=0, multiples=(1,))
    assert_allclose(card.equity["model 1x"], np.cumprod([1.1, 1.05, 1.05]))
    assert_allclose(card.equity["model 1x"], card.equity["buy and hold 1x"])
    assert any("equal weights" in note for note in card.notes)


def test_missing_signals_are_counted_and_not_held() -> None:
    prices, signal = np.full(10, 5.0), np.ones(10)
    signal[2:5] = nan
    card = trade.scorecard(prices, signal, bps=10)
    assert card.missing == 3
    assert row(card)["exposure"] == pytest.approx(5 / 8)
    assert math.isnan(row(card, "buy and hold")["deflated"])


def test_notes_and_line() -> None:
    rng = np.random.default_rng(4)
    prices = 100 * np.cumprod(1 + 0.01 * rng.normal(size=300))
    card = trade.scorecard(prices, rng.normal(size=300), name="LSTM", trials=4)
    assert trade.SURVIVORSHIP in card.notes
    assert trade.SURVIVORSHIP not in trade.scorecard(prices, prices, chosen_by_hand=False).notes
    assert card.text.startswith("After 10 bp: LSTM ")
    assert "buy and hold" in card.text
    assert "4 trials" in card.text
    assert list(card.table["strategy"]) == ["LSTM"] * 3 + ["buy and hold"] * 3
    assert card.table["costs"].tolist() == [1, 2, 3] * 2
    mine = card.table[card.table["strategy"] == "LSTM"]
    assert mine["total"].is_monotonic_decreasing
    again = json.loads(json.dumps(card.to_json(), allow_nan=False))
    assert again["rows"][3]["deflated"] is None


def test_from_a_result_frame() -> None:
    rng = np.random.default_rng(5)
    price = 100 * np.cumprod(1 + 0.01 * rng.normal(size=52))
    stamps = pd.date_range("2020-01-01", periods=52, freq="D")
    rows = [
        {"unique_id": "a", "cutoff": stamps[t], "ds": stamps[t + k], "y": price[t + k], "last": price[t]}
        for t in range(50)
        for k in (1, 2)
    ]
    frame = pd.DataFrame(rows)
    frame["M"] = frame["last"] * (1 + 0.01 * rng.normal(size=100))
    first = frame.iloc[::2]
    want = trade.scorecard(price[:50], (first["M"] / first["last"] - 1).to_numpy(), name="M")
    got = trade.from_frame(frame.sample(frac=1, random_state=0), "M")
    pd.testing.assert_frame_equal(got.table, want.table)
    assert list(got.equity.index) == list(stamps[2:50])
    assert row(trade.from_frame(frame, "M", stride=5), "M")["volatility"] == pytest.approx(
        row(want, "M")["volatility"] / math.sqrt(5)
    )
    with pytest.raises(UsageError, match="lacks column 'last'"):
        trade.from_frame(frame.drop(columns="last"), "M")


def test_wrong_calls_say_so() -> None:
    with pytest.raises(UsageError, match="do not fit"):
        trade.scorecard(np.ones(5), np.ones(4))
    with pytest.raises(UsageError, match="out of range"):
        trade.scorecard(np.ones(5), np.ones(5), trials=0)
    with pytest.raises(ValueRangeError, match="positive"):
        trade.scorecard(np.array([1.0, -1, 1, 1]), np.ones(4))
    with pytest.raises(TooShortError):
        trade.scorecard(np.ones(3), np.ones(3))
