"""Trade: what a forecast would have earned after costs, with buy-and-hold always beside it.

Assumptions, on purpose on the dull side. A forecast made at the close of bar t is traded at the close of
bar t + 1 and earns the return of bar t + 2 (one bar of delay). Trading costs a fixed share of what changes
hands; positions are shares of equity, brought back to size every bar for free. No interest, no financing,
no tax, no dividends unless the prices hold them. Several series are held in equal weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from forecast import metrics, ties
from pipelines.errors import TooShortError, UsageError, ValueRangeError

Floats = NDArray[np.float64]
Rule = Literal["sign", "long", "size"]

BUY_AND_HOLD = "buy and hold"
SURVIVORSHIP = (
    "The tickers were chosen by hand, today: those that failed or were delisted are not among them, so this "
    "history is survivorship-biased and flatters every strategy that buys."
)
_EULER = 0.5772156649015329


@dataclass(frozen=True)
class Scorecard:
    """Outcome of :func:`scorecard`.

    Args:
        table: one row per strategy (the model, then buy-and-hold) and multiple of the costs: ``strategy, costs``
            (multiple), ``bps``, ``bars``, ``total`` and ``annual`` (returns), ``volatility`` (a year),
            ``sharpe`` (a year), ``sharpe_se``, ``deflated`` (probability that the true Sharpe ratio is
            above 0 given the trials; NaN for buy-and-hold), ``max_drawdown`` (share), ``turnover`` (times
            equity a year), ``exposure`` (mean absolute position).
        equity: ``[bars]`` growth of 1, one column per row of the table, ``"<strategy> <multiple>x"``.
        trials: models and trials the deflated Sharpe ratio allows for.
        missing: signals that were missing; no position was held on them.
        notes: what a reader must know, one sentence each.
    """

    table: pd.DataFrame
    equity: pd.DataFrame
    trials: int
    missing: int
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """One line: the model after single costs beside buy-and-hold."""
        mine, held = (self.table[self.table["strategy"] == name].iloc[0] for name in self.table["strategy"].unique())
        parts = [
            f"{row['strategy']} {row['annual']:+.1%} a year (Sharpe {row['sharpe']:.2f} ± {row['sharpe_se']:.2f}, "
            f"worst fall {row['max_drawdown']:.0%})"
            for row in (mine, held)
        ]
        odds = f"probability of a Sharpe ratio above 0, deflated for {self.trials} trials: {mine['deflated']:.0%}"
        return f"After {mine['bps']:g} bp: {'; '.join(parts)}; {odds}."

    def to_json(self) -> dict[str, Any]:
        """Table rows, notes and the line; NaN as null."""
        rows = self.table.astype(object).where(self.table.notna(), None).to_dict("records")
        return {
            "text": self.text,
            "rows": rows,
            "trials": self.trials,
            "missing": self.missing,
            "notes": list(self.notes),
        }


def positions(signal: Floats, rule: Rule = "sign") -> Floats:
    """``[T, ...]`` share of equity to hold, from forecast returns known at the same row; -1 to 1, 0 where missing.

    ``"sign"`` is long or short, ``"long"`` long or out, ``"size"`` the forecast in units of twice its mean
    size so far (causal), cut at 1.
    """
    signal = np.asarray(signal, np.float64)
    there = np.nan_to_num(signal)
    if rule == "sign":
        return np.sign(there)
    if rule == "long":
        return (there > 0).astype(np.float64)
    if rule == "size":
        seen = np.maximum(np.cumsum(~np.isnan(signal), axis=0), 1)
        usual = 2 * np.cumsum(np.abs(there), axis=0) / seen
        held: Floats = np.clip(np.divide(there, usual, out=np.zeros_like(there), where=usual > 0), -1.0, 1.0)
        return held
    raise UsageError(f"there is no rule {rule!r}.", hint="Use 'sign', 'long' or 'size'.")


def scorecard(
    prices: Floats,
    signal: Floats,
    *,
    name: str = "model",
    rule: Rule = "sign",
    bps: float = 10.0,
    multiples: Sequence[float] = (1, 2, 3),
    periods: float = 252.0,
    trials: int = 1,
    trial_sharpes: Sequence[float] | None = None,
    chosen_by_hand: bool = True,
) -> Scorecard:
    """Trade on a forecast and count what is left.

    Args:
        prices: ``[T]`` or ``[T, S]`` close at every bar, NaN before a series begins or where missing
                (no position is held over such a bar).
        signal: like ``prices``: the return forecast at that close, NaN where there is none.
        rule: see :func:`positions`.
        bps: cost of trading one equity's worth, in hundredths of a per cent.
        multiples: of the cost, each a row.
        periods: bars a year.
        trials: models and settings that were tried, this one included.
        trial_sharpes: Sharpe ratios a year of all of them, for their spread; without it the spread that luck
            alone gives at this length.
        chosen_by_hand: adds the note on survivorship.

    Raises:
        UsageError: shapes that differ, or options out of range.
        ValueRangeError: a price is not positive.
        TooShortError: fewer than four bars.
    """
    prices, signal = (np.asarray(values, np.float64) for values in (prices, signal))
    if prices.shape != signal.shape or prices.ndim not in (1, 2):
        raise UsageError(
            f"prices {prices.shape} and signal {signal.shape} do not fit.", hint="Both are [bars] or [bars, series]."
        )
    if bps < 0 or periods <= 0 or trials < 1 or not len(multiples) or min(multiples) < 0:
        raise UsageError(
            f"bps={bps}, periods={periods}, trials={trials}, multiples={list(multiples)} are out of range.",
            hint="Costs are not negative, there is at least one trial and one multiple.",
        )
    if (prices <= 0).any():
        raise ValueRangeError(
            f"a price is {np.nanmin(prices):g}; returns need positive prices.", hint="Trade on prices, not on changes."
        )
    if len(prices) < 4:
        raise TooShortError(f"{len(prices)} bars are too few to trade on.", hint="Give at least four.")
    prices, signal = (values.reshape(len(values), -1) for values in (prices, signal))
    returns = prices[1:] / prices[:-1] - 1  # [T - 1, S], bar 1 on
    # decided at t, traded at t + 1, earns bar t + 2
    held = positions(signal, rule)[:-2]
    rows, curves = [], {}
    for strategy, weight in ((name, held), (BUY_AND_HOLD, np.ones_like(held))):
        gross, turnover, exposure = _portfolio(returns[1:], weight)
        for multiple in multiples:
            net = gross - turnover * multiple * bps / 1e4
            facts = _facts(net, periods)
            deflated = math.nan
            if strategy == name:
                spread = None if trial_sharpes is None else np.asarray(trial_sharpes, np.float64) / math.sqrt(periods)
                deflated = _deflated(net, trials, spread)
            rows.append(
                {"strategy": strategy, "costs": multiple, "bps": multiple * bps, **facts, "deflated": deflated,
                 "turnover": turnover.mean() * periods, "exposure": exposure}
            )  # fmt: skip
            curves[f"{strategy} {multiple:g}x"] = growth(net)
    notes = ["A forecast is traded one bar after it is made; returns are net of costs, without interest."]
    if returns.shape[1] > 1:
        notes.append("Several series are held in equal weights, buy-and-hold too.")
    if chosen_by_hand:
        notes.append(SURVIVORSHIP)
    missing = int((np.isnan(signal[:-2]) & ~np.isnan(prices[:-2])).sum())
    return Scorecard(pd.DataFrame(rows), pd.DataFrame(curves), trials, missing, tuple(notes))


def from_frame(
    frame: pd.DataFrame, model: str, *, stride: int = 1, periods: float = 252.0, **options: Any
) -> Scorecard:
    """:func:`scorecard` of a model's one-step forecasts in a result frame with the column ``last``.

    Prices are the last observed values at the cutoffs, the signal is the forecast change in relation to them.

    Args:
        stride: bars between cutoffs; a position is then held for as many.
        periods: bars a year.
        options: of :func:`scorecard`.
    """
    metrics.check(frame, [model])
    if "last" not in frame.columns:
        raise UsageError("the result frame lacks column 'last'.", hint="It is the value observed at the cutoff.")
    first = frame[metrics.steps(frame) == 1].astype({"unique_id": str})
    now = first["last"]
    moved = ties.change(first[model].to_numpy(np.float64), now.to_numpy(np.float64), ties.by_series(first)) != 0
    first = first.assign(**{model: first[model].where(moved, now)})
    last = first.pivot(index="cutoff", columns="unique_id", values="last").sort_index()
    ahead = first.pivot(index="cutoff", columns="unique_id", values=model).sort_index()
    card = scorecard(
        last.to_numpy(np.float64),
        (ahead / last - 1).to_numpy(np.float64),
        name=model,
        periods=periods / stride,
        **options,
    )
    bars = pd.DatetimeIndex(last.index[2:])
    return Scorecard(card.table, card.equity.set_index(bars), card.trials, card.missing, card.notes)


def growth(net: Floats) -> Floats:
    """``[n]`` growth of 1 through the returns ``net``; nothing comes back from a loss of everything."""
    return np.cumprod(np.maximum(1.0 + net, 0.0), dtype=np.float64)


def max_drawdown(equity: Floats) -> float:
    """Largest fall from a peak, as a share of it, starting from 1."""
    whole = np.concatenate([[1.0], equity])
    return float(np.max(1 - whole / np.maximum.accumulate(whole)))


def sharpe(net: Floats) -> float:
    """Mean over standard deviation, per bar; NaN if the returns do not vary."""
    spread = float(np.std(net, ddof=1)) if len(net) > 1 else 0.0
    return float(np.mean(net)) / spread if spread > 1e-15 else math.nan


def sharpe_error(ratio: float, n: int, skew: float = 0.0, kurtosis: float = 3.0) -> float:
    """Standard error of a Sharpe ratio per bar over ``n`` bars (Lo 2002; Mertens 2002 for skew and kurtosis)."""
    return math.sqrt(max(0.0, 1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2) / (n - 1))


def deflated_sharpe(
    ratio: float, n: int, skew: float, kurtosis: float, trials: int, variance: float | None = None
) -> float:
    """Probability that the true Sharpe ratio is above what the best of ``trials`` lucky ones would show.

    Source: Bailey & Lopez de Prado 2014, equations 1 and 2. One trial gives their probabilistic Sharpe ratio.

    Args:
        ratio: per bar.
        n: bars.
        variance: of the trials' ratios per bar; by default what luck alone gives, ``1 / (n - 1)``.
    """
    from scipy import stats

    bar = 0.0
    if trials > 1:
        spread = math.sqrt(1 / (n - 1) if variance is None else variance)
        best = (1 - _EULER) * stats.norm.ppf(1 - 1 / trials) + _EULER * stats.norm.ppf(1 - 1 / (trials * math.e))
        bar = spread * float(best)
    error = sharpe_error(ratio, n, skew, kurtosis)
    return float(stats.norm.cdf((ratio - bar) / error)) if error > 0 else math.nan


def _portfolio(returns: Floats, held: Floats) -> tuple[Floats, Floats, float]:
    """Gross returns ``[n]``, turnover ``[n]`` and mean absolute position, equal weights over the series that trade."""
    trades = ~np.isnan(returns)
    weight = np.where(trades, held, 0.0) / np.maximum(trades.sum(axis=1, keepdims=True), 1)
    before = np.concatenate([np.zeros((1, weight.shape[1])), weight[:-1]])
    gross: Floats = (weight * np.nan_to_num(returns)).sum(axis=1)
    return gross, np.abs(weight - before).sum(axis=1), float(np.abs(weight).sum(axis=1).mean())


def _moments(net: Floats) -> tuple[float, float]:
    deviation = net - net.mean()
    variance = float((deviation**2).mean())
    if variance <= 1e-30:
        return 0.0, 3.0
    return float((deviation**3).mean()) / variance**1.5, float((deviation**4).mean()) / variance**2


def _facts(net: Floats, periods: float) -> dict[str, float]:
    equity, ratio, year = growth(net), sharpe(net), math.sqrt(periods)
    end = float(equity[-1])
    error = math.nan if math.isnan(ratio) else sharpe_error(ratio, len(net), *_moments(net)) * year
    return {
        "bars": len(net),
        "total": end - 1,
        "annual": end ** (periods / len(net)) - 1,
        "volatility": float(np.std(net, ddof=1)) * year,
        "sharpe": ratio * year,
        "sharpe_se": error,
        "max_drawdown": max_drawdown(equity),
    }


def _deflated(net: Floats, trials: int, sharpes: Floats | None) -> float:
    ratio = sharpe(net)
    if math.isnan(ratio):
        return math.nan
    finite = np.empty(0) if sharpes is None else sharpes[np.isfinite(sharpes)]
    variance = float(np.var(finite, ddof=1)) if len(finite) > 1 else None
    return deflated_sharpe(ratio, len(net), *_moments(net), trials, variance)
